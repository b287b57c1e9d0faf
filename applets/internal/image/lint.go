package image

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"path"
	"strings"
)

// Prefixes of the names that delete others when a layer is unpacked (image-spec layer.md, "Whiteouts").
const (
	whiteout = ".wh."
	opaque   = ".wh..wh..opq"
)

// entryTypes are those that engines unpack: files (also GNU's sparse ones), hard and symbolic links, devices,
// directories and FIFOs.
const entryTypes = "0\x00S123456"

// Limits of a name and of what is between two slashes, in bytes (Linux's PATH_MAX less the zero, NAME_MAX): no
// engine can unpack what is longer.
const (
	maxPath = 4095
	maxBase = 255
)

// readSize is how much of a layer is read at once, in bytes.
const readSize = 256 << 10

// source reads a tar and remembers how far it came and whether it hit the end.
type source struct {
	from discarder
	read int64
	end  bool
}

type discarder interface {
	io.Reader
	Discard(n int) (discarded int, err error)
}

func newSource(r io.Reader) *source {
	d, ok := r.(discarder)
	if !ok {
		d = bufio.NewReaderSize(r, readSize)
	}
	return &source{from: d}
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.from.Read(p)
	return n, s.note(n, err)
}

func (s *source) note(n int, err error) error {
	s.read += int64(n)
	s.end = s.end || err == io.EOF
	return err
}

// Seek goes on from where it is, for tar.Reader to pass over content without a copy of it. What ends before is there seen
// by the next Read.
func (s *source) Seek(offset int64, whence int) (int64, error) {
	if whence != io.SeekCurrent || offset < 0 {
		return 0, errors.ErrUnsupported
	}
	for offset > 0 {
		n, err := s.from.Discard(int(min(offset, readSize)))
		offset -= int64(n)
		if s.note(n, err) == io.EOF {
			break
		}
		if err != nil {
			return 0, err
		}
	}
	return s.read, nil
}

// lint reads a layer's tar to its end and tells what would make engines refuse it, unpack it outside the
// root, or drop something silently. again opens the same tar once more, for what one pass in constant
// memory cannot see: the targets of hard links, and names that are out of order.
func lint(r io.Reader, again func() (io.Reader, error)) error {
	seed := maphash.MakeSeed()
	c := checks{links: linkCheck{seed, map[uint64]bool{}}, names: nameCheck{seed, map[uint64]use{}}}
	if err := scan(r, c.first); err != nil {
		return err
	}
	if len(c.links.wanted) == 0 && !c.ordered.broken {
		return nil
	}
	if len(c.kept) == mostKept { // and perhaps not all
		r, err := again()
		if err != nil {
			return err
		}
		return rescan(r, c.second)
	}
	for _, e := range c.kept {
		if err := c.second(e); err != nil {
			return err
		}
	}
	return nil
}

// checks are those that see more than one entry.
type checks struct {
	ordered orderCheck
	links   linkCheck
	names   nameCheck
	kept    []*entry // the first ones: to read a tar again takes as long as to read it
}

// mostKept bounds what is kept to some 10 MiB; tests lower it.
var mostKept = 16 << 10

func (c *checks) first(e *entry) error {
	if err := e.check(); err != nil {
		return err
	}
	if len(c.kept) < mostKept {
		c.kept = append(c.kept, e)
	}
	c.links.want(e)
	return c.ordered.add(e)
}

func (c *checks) second(e *entry) error {
	if c.ordered.broken {
		if err := c.names.add(e); err != nil {
			return err
		}
	}
	return c.links.add(e)
}

// rescan is scan for a tar that was found whole; it seeks over content where it can.
func rescan(r io.Reader, see func(*entry) error) error {
	for t := tar.NewReader(r); ; {
		h, err := t.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		if err := see(newEntry(h)); err != nil {
			return err
		}
	}
}

// scan calls see for each entry and checks that the archive is whole: its two zero blocks are there, and
// nothing but zeros after them. A header about all entries that follow is a comment, as git archive writes it: engines pass
// over it, and other readers may call a file "../x" by it.
func scan(r io.Reader, see func(*entry) error) error {
	src := newSource(r)
	t := tar.NewReader(src)
	for {
		start := src.read
		h, err := t.Next()
		switch {
		case err == io.EOF && src.end:
			return src.cut()
		case err == io.EOF:
			return src.zeros()
		case errors.Is(err, io.ErrUnexpectedEOF):
			return src.cut()
		case errors.Is(err, tar.ErrHeader) && start == 0:
			return errors.New("is not a tar archive")
		case errors.Is(err, tar.ErrHeader):
			return fmt.Errorf("bad header near byte %d", src.read-blockSize)
		case err != nil:
			return err
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			if _, comment := h.PAXRecords["comment"]; !comment || len(h.PAXRecords) > 1 {
				return errors.New("global header, which engines ignore")
			}
			continue
		}
		if err := see(newEntry(h)); err != nil {
			return err
		}
	}
}

func (s *source) cut() error {
	if s.read == 0 {
		return errors.New("is empty, not a tar archive")
	}
	return fmt.Errorf("truncated at byte %d", s.read)
}

// zeros reads on to the end: padding to a record is common, but a second archive would be lost in silence.
func (s *source) zeros() error {
	var block [8 * blockSize]byte
	for {
		n, err := s.Read(block[:])
		if len(bytes.Trim(block[:n], "\x00")) > 0 {
			return errors.New("data after the end of the archive (two archives joined?)")
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// An entry is what the checks need of a tar header.
type entry struct {
	*tar.Header
	name    string // without "./" and the slash at the end
	key     string // name, or the name that this whiteout deletes
	deleted bool   // it is a whiteout, also an opaque one
}

func newEntry(h *tar.Header) *entry {
	e := &entry{Header: h, name: canonical(h.Name)}
	e.key = e.name
	dir, base := path.Split(e.name)
	if rest, ok := strings.CutPrefix(base, whiteout); ok {
		e.deleted = true
		if base != opaque {
			e.key = dir + rest
		}
	}
	return e
}

func canonical(name string) string {
	for strings.HasPrefix(name, "./") {
		name = strings.TrimLeft(name[2:], "/")
	}
	if name = strings.TrimRight(name, "/"); name == "" {
		return "."
	}
	return name
}

func (e *entry) isDir() bool { return e.Typeflag == tar.TypeDir && !e.deleted }

// errorf puts the name before an error: what is needed of it, for it may have a megabyte.
func (e *entry) errorf(format string, args ...any) error {
	return fmt.Errorf("%.1000q: %s", e.Name, fmt.Sprintf(format, args...))
}

// check is what an entry shows by itself.
func (e *entry) check() error {
	if err := safe(e.Name, e.name); err != nil {
		return e.errorf("%s", err)
	}
	switch {
	case !strings.ContainsRune(entryTypes, rune(e.Typeflag)):
		return e.errorf("entry of unknown type %q", e.Typeflag)
	case e.name == "." && e.Typeflag != tar.TypeDir:
		return e.errorf("the root is not a directory")
	case e.deleted && !validBase(strings.TrimPrefix(path.Base(e.name), whiteout)):
		return e.errorf("deletes no name")
	case e.Typeflag == tar.TypeChar && e.Devmajor == 0 && e.Devminor == 0:
		return e.errorf("character device 0:0, which deletes the name in an engine")
	case e.Typeflag == tar.TypeLink:
		if err := safe(e.Linkname, canonical(e.Linkname)); err != nil {
			return e.errorf("hard link to %q: %s", e.Linkname, err)
		}
	}
	for key, value := range e.PAXRecords {
		if key == "GNU.sparse.name" && value != e.Name || strings.HasSuffix(key, "size") && strings.HasPrefix(key, "GNU.sparse.") && value != fmt.Sprint(e.Size) {
			return e.errorf("has another name or size for readers that take it for a sparse file")
		}
	}
	return nil
}

func validBase(s string) bool { return s != "" && s != "." && s != ".." }

// safe refuses names that lead out of the root, or to the same file by another spelling.
func safe(raw, name string) error {
	switch {
	case raw == "":
		return errors.New("empty name")
	case strings.HasPrefix(raw, "/"):
		return errors.New("absolute name")
	case name == ".":
		return nil
	case len(name) > maxPath:
		return fmt.Errorf("name longer than %d bytes", maxPath)
	}
	for elem := range strings.SplitSeq(name, "/") {
		switch elem {
		case "..":
			return errors.New(`".." in the name`)
		case ".", "":
			return errors.New("name is not in its simplest form")
		}
		if len(elem) > maxBase {
			return fmt.Errorf("part of the name longer than %d bytes", maxBase)
		}
	}
	return nil
}

// orderCheck finds duplicates and names below a file as long as names come in increasing order, as they do
// in ctbox's own layers; its memory is bounded by the length of a name.
type orderCheck struct {
	last   string
	files  []string // earlier names that are not directories and may yet be a prefix of what comes
	broken bool
}

func (c *orderCheck) add(e *entry) error {
	if c.broken || e.name == "." {
		return nil
	}
	if e.key <= c.last && c.last != "" {
		if e.key == c.last {
			return e.errorf("is there twice")
		}
		c.broken = true
		return nil
	}
	c.last = e.key
	for len(c.files) > 0 {
		top := c.files[len(c.files)-1]
		if strings.HasPrefix(e.key, top+"/") {
			return e.errorf("is below %q, which is not a directory", top)
		}
		if e.key < top+"/" {
			break
		}
		c.files = c.files[:len(c.files)-1]
	}
	if !e.isDir() {
		c.files = append(c.files, e.key)
	}
	return nil
}

// linkCheck finds hard links whose target is not earlier in the same layer; its memory grows with the
// number of links only.
type linkCheck struct {
	seed   maphash.Seed
	wanted map[uint64]bool // true once the name was seen
}

func (c *linkCheck) want(e *entry) {
	if e.Typeflag == tar.TypeLink {
		c.wanted[maphash.String(c.seed, canonical(e.Linkname))] = false
	}
}

func (c *linkCheck) add(e *entry) error {
	if e.Typeflag == tar.TypeLink && !c.wanted[maphash.String(c.seed, canonical(e.Linkname))] {
		return e.errorf("hard link to %q, which is not before it in this layer", e.Linkname)
	}
	key := maphash.String(c.seed, e.name)
	if _, ok := c.wanted[key]; ok && e.Typeflag != tar.TypeDir && !e.deleted {
		c.wanted[key] = true
	}
	return nil
}

// use is what a name was used for.
type use byte

const (
	asParent use = 1 << iota // something is below it
	asDir
	asOther
)

// nameCheck is orderCheck for any order; it remembers a 64-bit hash of each name and of each directory above
// one. Two of a million names share a hash with a probability of 3 in 10^8.
type nameCheck struct {
	seed maphash.Seed
	seen map[uint64]use
}

func (c *nameCheck) add(e *entry) error {
	if e.name == "." {
		return nil
	}
	key, as := maphash.String(c.seed, e.key), asOther
	if e.isDir() {
		as = asDir
	}
	switch old := c.seen[key]; {
	case old&(asDir|asOther) != 0:
		return e.errorf("is there twice")
	case old&asParent != 0 && as == asOther:
		return e.errorf("is not a directory, but has names below it")
	}
	c.seen[key] |= as
	for dir := path.Dir(e.key); dir != "." && dir != "/"; dir = path.Dir(dir) {
		hash := maphash.String(c.seed, dir)
		switch old := c.seen[hash]; {
		case old&asOther != 0:
			return e.errorf("is below %q, which is not a directory", dir)
		case old&asParent != 0:
			return nil // and so are those above it
		}
		c.seen[hash] |= asParent
	}
	return nil
}
