package tarball

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync"

	"github.com/ctbox/ctbox/applets/internal/archive"
	"github.com/ctbox/ctbox/applets/internal/compress"
	"github.com/ctbox/ctbox/applets/internal/list"
	"github.com/ctbox/ctbox/applets/internal/output"
)

// A Source is what unpacking a tar as root would give, without unpacking it. Of a name that is there more than once the
// last entry counts, as with all who unpack. A directory that only names below it tell of has mode 0755 and
// owner 0:0.
type Source struct {
	tar   io.ReaderAt
	still func() error // reports a tar that is written to
	spool *os.File     // with all of tar, or nil
	index index
	links map[int64]int64  // from the places of hard links to those of the files
	names map[int64]uint32 // how many links lead to a file
	views sync.Pool

	layer bool // names that begin ".wh." delete

	Twice, Implied Count // what a user may want to know
}

// A Count is how many names something is true of, and the first of them.
type Count struct {
	N     int
	First string
}

func (c *Count) add(name []byte) {
	if c.N == 0 {
		c.First = list.Quote(name)
	}
	c.N++
}

// Open reads the headers of the tar r. If that is neither a plain regular file nor a part of one, all of it is first
// copied, without its compression, to a file without a name in TMPDIR. The source stays usable as long as r is.
func Open(r io.Reader) (*Source, error) { return open(r, "", false) }

// open is Open. The content must have the digest diffID, unless that is "".
func open(r io.Reader, diffID string, layer bool) (*Source, error) {
	s := &Source{links: map[int64]int64{}, names: map[int64]uint32{}, layer: layer, still: func() error { return nil }}
	err := s.open(r, diffID)
	if err == nil {
		err = s.read()
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Source) open(r io.Reader, diffID string) error {
	if at := s.inPlace(r); at != nil {
		z, method, err := compress.NewReader(section(at, 0))
		if err != nil {
			return err
		}
		defer z.Close()
		if method == "none" {
			s.tar = at
			return verify(io.Discard, z, diffID)
		}
	}
	z, _, err := compress.NewReader(r)
	if err != nil {
		return err
	}
	defer z.Close()
	if s.spool, err = output.Unnamed(""); err != nil {
		return err
	}
	s.tar = s.spool
	return verify(s.spool, z, cmp.Or(diffID, unknown))
}

// unknown is the digest of what may be anything.
const unknown = "?"

// verify copies r to w, and compares its digest. If nothing is known of it, and nothing wanted, it need not be read.
func verify(w io.Writer, r io.Reader, diffID string) error {
	switch diffID {
	case "":
		return nil
	case unknown:
		_, err := io.Copy(w, r)
		return err
	}
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(w, h), r); err != nil {
		return err
	}
	if got := fmt.Sprintf("sha256:%x", h.Sum(nil)); got != diffID {
		return fmt.Errorf("its content has the digest %s, not %s", got, diffID)
	}
	return nil
}

// inPlace is what of r can be read at any place, or nil.
func (s *Source) inPlace(r io.Reader) io.ReaderAt {
	switch r := r.(type) {
	case *io.SectionReader:
		return r
	case *os.File:
		was, err := r.Stat()
		if err != nil || !was.Mode().IsRegular() {
			return nil
		}
		if at, err := r.Seek(0, io.SeekCurrent); err != nil || at != 0 {
			return nil // it is to be read from there on
		}
		s.still = func() error {
			now, err := r.Stat()
			if err == nil && (now.Size() != was.Size() || !now.ModTime().Equal(was.ModTime())) {
				err = archive.ErrRacing
			}
			return err
		}
		return r
	}
	return nil
}

func section(r io.ReaderAt, from int64) *io.SectionReader {
	return io.NewSectionReader(r, from, 1<<63-1-from)
}

// Close releases what the source holds.
func (s *Source) Close() error {
	s.index.close()
	if s.spool != nil {
		return s.spool.Close()
	}
	return nil
}

// hardLink is a link whose file is not found yet.
type hardLink struct {
	at     int64
	target []byte
}

// read makes the index.
func (s *Source) read() error {
	var links []hardLink
	b := builder{index: &s.index, layer: s.layer}
	if err := b.parents(nil); err != nil {
		return err
	}
	for r := NewReader(section(s.tar, 0)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if err := b.add(h); err != nil {
			return fmt.Errorf("%s: %w", list.Quote(h.Name), err)
		}
		if h.Kind == Link {
			target, err := canonical(nil, h.Target)
			if err != nil {
				return fmt.Errorf("%s: hard link to %s: %w", list.Quote(h.Name), list.Quote(h.Target), err)
			}
			links = append(links, hardLink{h.Start, target})
		}
	}
	check := checker{source: s}
	if err := s.index.sort(check.see); err != nil {
		return err
	}
	if err := check.end(); err != nil {
		return err
	}
	return s.resolve(links)
}

// A builder adds the entries of a tar to an index.
type builder struct {
	index *index
	layer bool
	name  []byte
	dir   []byte // whose record, and those of all above it, are there
}

func (b *builder) add(h *Header) (err error) {
	if kind := h.kind(); kind < Regular || kind > FIFO {
		return fmt.Errorf("entry of unknown type %q", h.Kind)
	}
	if b.name, err = canonical(b.name, h.Name); err != nil {
		return err
	}
	kind := h.kind()
	if b.layer {
		if b.name, kind, err = deletion(b.name, kind); err != nil {
			return err
		}
	}
	switch kind {
	case whiteout:
	case opaque: // the directory is there
		err = b.parents(b.name)
	default:
		err = b.parents(list.Parent(b.name))
	}
	if err != nil {
		return err
	}
	return b.index.add(record{b.name, h.Start, kind})
}

// parents adds what a name needs above it.
func (b *builder) parents(dir []byte) error {
	if dir == nil {
		if b.dir == nil {
			b.dir = append(b.dir, list.Root...)
			return b.index.add(record{b.dir, implied, Directory})
		}
		return nil
	}
	if bytes.Equal(dir, b.dir) {
		return nil
	}
	for at := dir; len(at) > len(list.Root) && !bytes.Equal(at, b.dir) && !list.Below(b.dir, at); at = list.Parent(at) {
		if err := b.index.add(record{at, implied, Directory}); err != nil {
			return err
		}
	}
	b.dir = append(b.dir[:0], dir...)
	return nil
}

// canonical is a name of a tar as lists have it: any number of "./" before it and of slashes after it do not count.
func canonical(buf, name []byte) ([]byte, error) {
	for bytes.HasPrefix(name, []byte("./")) {
		name = bytes.TrimLeft(name[2:], "/")
		if len(name) == 0 {
			name = []byte(list.Root)
		}
	}
	if trimmed := bytes.TrimRight(name, "/"); len(trimmed) > 0 {
		name = trimmed
	}
	return list.Canonical(buf, name)
}

// A checker sees the records of an index, and judges the last of each name.
type checker struct {
	source *Source
	rec    record
	name   []byte
	times  int
	tree   list.Tree
}

func (c *checker) see(r *record) error {
	if r.kind == whiteout || r.kind == opaque {
		return nil
	}
	if len(c.name) > 0 && !bytes.Equal(r.name, c.name) {
		if err := c.end(); err != nil {
			return err
		}
	}
	if r.at != implied {
		c.times++
	}
	c.name = append(c.name[:0], r.name...)
	c.rec = *r
	return nil
}

// end judges a name that is complete.
func (c *checker) end() error {
	kind := uint32(list.Regular)
	if c.rec.kind == Directory {
		kind = list.Directory
	}
	switch {
	case c.times > 1:
		c.source.Twice.add(c.name)
	case c.rec.at == implied && len(c.name) > len(list.Root):
		c.source.Implied.add(c.name)
	case len(c.name) == len(list.Root) && kind != list.Directory:
		return errors.New("the root is not a directory")
	}
	if _, err := c.tree.Add(&list.Record{Name: c.name, ID: list.ID{Mode: kind}}); err != nil {
		return fmt.Errorf("%s: %w", list.Quote(c.name), err)
	}
	c.times = 0
	return nil
}

// resolve finds the files of hard links: of a name that is there more than once, the last before the link.
func (s *Source) resolve(links []hardLink) error {
	v := s.view()
	defer s.views.Put(v)
	for _, l := range links {
		at, kind, ok, err := v.find(l.target, l.at)
		switch {
		case err != nil:
			return err
		case !ok || at == implied:
			return fmt.Errorf("hard link to %s, which is not before it in the tar", list.Quote(l.target))
		case kind == Directory:
			return fmt.Errorf("hard link to %s, a directory", list.Quote(l.target))
		}
		if file, ok := s.links[at]; ok {
			at = file
		}
		s.links[l.at] = at
		s.names[at]++
	}
	return nil
}

// A view is what one goroutine at a time needs to look at a source.
type view struct {
	source *Source
	finder
	head   *bufio.Reader
	reader Reader
	at     int64 // of what reader has read last, or nothing
}

const nothing = -2

func (s *Source) view() *view {
	if v, ok := s.views.Get().(*view); ok {
		return v
	}
	return &view{source: s, finder: finder{index: &s.index}, head: bufio.NewReaderSize(nil, headerSize), at: nothing}
}

// header is what the tar says of name, and where; of a directory that it only implies, nil.
func (v *view) header(name []byte) (*Header, error) {
	at, _, ok, err := v.find(name, 1<<63-1)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fs.ErrNotExist
	}
	if file, ok := v.source.links[at]; ok {
		at = file
	}
	if at == implied {
		return nil, nil
	}
	if at != v.at {
		v.head.Reset(section(v.source.tar, at))
		v.reader = Reader{from: v.head, off: at, next: at, extra: v.reader.extra, head: v.reader.head}
		v.at = nothing
		if _, err := v.reader.Next(); err != nil {
			return nil, err
		}
		v.at = at
	}
	return &v.reader.head, nil
}

// look calls see with what the tar says of name.
func (s *Source) look(name []byte, see func(*Header) error) error {
	v := s.view()
	defer s.views.Put(v)
	h, err := v.header(name)
	if err == nil {
		err = see(h)
	}
	return err
}

// Walk calls each for all names, in list order.
func (s *Source) Walk(each func(name []byte) error) error { return s.index.walk(each) }

// types are those of inode(7), by type flag.
var types = [...]uint32{
	Regular - '0': list.Regular, Symlink - '0': list.Symlink, Char - '0': list.CharDevice, Block - '0': list.BlockDevice,
	Directory - '0': list.Directory, FIFO - '0': list.FIFO,
}

// Stat is that of archive.Source.
func (s *Source) Stat(name []byte) (st archive.Stat, err error) {
	err = s.look(name, func(h *Header) error {
		if h == nil {
			st = archive.Stat{Mode: list.Directory | 0o755, Nlink: 1}
			return nil
		}
		st = archive.Stat{
			Mode: types[h.kind()-'0'] | h.Mode, UID: h.UID, GID: h.GID, Major: h.Major, Minor: h.Minor,
			Ino: uint64(h.Start) + 1, Nlink: 1 + uint64(s.names[h.Start]),
			Size: h.Size, Sec: h.Sec, Nsec: h.Nsec, CSec: h.Sec, CNsec: h.Nsec,
		}
		return nil
	})
	return st, err
}

// HasRoot reports whether the tar has an entry for the root directory.
func (s *Source) HasRoot() bool { return hasRoot(s) }

func hasRoot(src archive.Source) bool {
	st, err := src.Stat([]byte(list.Root))
	return err == nil && st.Ino != 0
}

// Readlink is that of archive.Source.
func (s *Source) Readlink(name []byte) (target []byte, err error) {
	err = s.look(name, func(h *Header) error {
		if h == nil || h.Kind != Symlink {
			return errors.New("is not a symbolic link")
		}
		target = slices.Clone(h.Target)
		return nil
	})
	return target, err
}

// Xattrs is that of archive.Source.
func (s *Source) Xattrs(name []byte) (attrs []archive.Xattr, err error) {
	err = s.look(name, func(h *Header) error {
		if h != nil {
			attrs = slices.Clone(h.Xattrs)
		}
		return nil
	})
	return attrs, err
}

// Open is that of archive.Source.
func (s *Source) Open(name []byte, st archive.Stat) (c archive.Content, err error) {
	err = s.look(name, func(h *Header) error {
		if h == nil || h.kind() != Regular || uint64(h.Start)+1 != st.Ino {
			return archive.ErrChanged
		}
		c = &content{source: s, attrs: slices.Clone(h.Xattrs), at: h.Offset, size: h.Size, data: extents(h)}
		return nil
	})
	return c, err
}

func extents(h *Header) []Extent {
	if h.Sparse {
		return slices.Clone(h.Data)
	}
	return []Extent{{0, h.Size}}
}

// content is that of a file: in the tar one extent after another, with nothing for holes.
type content struct {
	source *Source
	attrs  []archive.Xattr
	size   int64
	pos    int64    // in the file
	at     int64    // in the tar
	data   []Extent // from pos on
}

// Read gives zeros for holes.
func (c *content) Read(p []byte) (int, error) {
	left := c.size - c.pos
	if left == 0 {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), left)]
	for len(c.data) > 0 && c.data[0].Size == 0 {
		c.data = c.data[1:]
	}
	if len(c.data) == 0 || c.pos < c.data[0].Offset {
		if len(c.data) > 0 {
			p = p[:min(int64(len(p)), c.data[0].Offset-c.pos)]
		}
		clear(p)
		c.pos += int64(len(p))
		return len(p), nil
	}
	d := &c.data[0]
	n, err := c.source.tar.ReadAt(p[:min(int64(len(p)), d.Size)], c.at)
	d.Offset, d.Size = d.Offset+int64(n), d.Size-int64(n)
	c.pos, c.at = c.pos+int64(n), c.at+int64(n)
	if err == io.EOF && n > 0 {
		err = nil
	}
	return n, err
}

func (c *content) Close() error                     { return nil }
func (c *content) Xattrs() ([]archive.Xattr, error) { return c.attrs, nil }

// Unchanged reports a tar that is written to.
func (c *content) Unchanged() error { return c.source.still() }

// Shared is a source whose users do not close it.
type Shared struct{ archive.Source }

// Close does nothing.
func (Shared) Close() error { return nil }
