// Package tarball reads tars of all kinds: v7, ustar, pax and GNU's, as tar programs, engines and build systems
// write them. A Reader reads one entry after another; a Source is a root file system in a tar as a tree, for the packers
// of package archive; a Stack is several layers as one tree.
package tarball

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/ctbox/ctbox/applets/internal/archive"
)

const blockSize = archive.TarBlock

// Type flags (POSIX.1-2017 pax, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format").
const (
	Regular   = '0' // also for what the tar says as NUL, or GNU's 'S'
	Link      = '1'
	Symlink   = '2'
	Char      = '3'
	Block     = '4'
	Directory = '5' // also for what v7 says as a file whose name ends in a slash
	FIFO      = '6'

	contiguous  = '7' // a file, too
	extended    = 'x'
	extendedSun = 'X'
	global      = 'g'
	longName    = 'L'
	longTarget  = 'K'
	sparse      = 'S'
	dumpDir     = 'D' // GNU's directory, with a list of what it held as content
	volumeLabel = 'V'
)

// maxExtra bounds what comes before the header of an entry, and the map of a sparse file, in bytes.
const maxExtra = 1 << 20

// A Header is what a tar says of an entry. What it holds is valid until Next is called again.
type Header struct {
	Name, Target []byte // as they stand in the tar
	Kind         byte
	Mode         uint32 // 07777
	UID, GID     uint32
	Major, Minor uint32
	Size         int64 // bytes of the file, with its holes
	Sec, Nsec    int64 // time of modification
	Xattrs       []archive.Xattr

	Start  int64    // offset of the entry's first header
	Offset int64    // offset of its content
	Stored int64    // bytes of content in the tar
	Data   []Extent // of a sparse file: what is stored, in order; nil for others
	Sparse bool
}

// An Extent is a part of a file that is not a hole, in bytes.
type Extent struct{ Offset, Size int64 }

// A Reader reads the headers of a tar, and passes over content that is not asked for.
type Reader struct {
	from  discarder
	off   int64 // bytes read so far
	next  int64 // where the next header begins
	block [blockSize]byte
	extra extra
	head  Header
	err   error
}

// discarder is what bufio.Reader is.
type discarder interface {
	io.Reader
	Discard(n int) (discarded int, err error)
}

// readSize is how much of a tar is read at once, in bytes.
const readSize = 256 << 10

// NewReader reads r. Where r can seek or has Discard, as bufio.Reader has, content is passed over with it.
func NewReader(r io.Reader) *Reader {
	switch r := r.(type) {
	case discarder:
		return &Reader{from: r}
	case *io.SectionReader:
		return &Reader{from: &seeker{bufio.NewReaderSize(r, headerSize), r}}
	}
	return &Reader{from: bufio.NewReaderSize(r, readSize)}
}

// headerSize is more than most headers, in bytes.
const headerSize = 4 << 10

// seeker passes over content without reading it, but for its last byte.
type seeker struct {
	*bufio.Reader
	section *io.SectionReader
}

func (s *seeker) Discard(n int) (int, error) {
	if n <= s.Buffered() {
		return s.Reader.Discard(n)
	}
	at, err := s.section.Seek(int64(n-s.Buffered()), io.SeekCurrent)
	if err != nil {
		return 0, err
	}
	s.Reset(s.section)
	if _, err := s.section.ReadAt(make([]byte, 1), at-1); err != nil {
		return 0, err
	}
	return n, nil
}

// Next goes to the next entry. At the end of the archive, which is two blocks of zeros and nothing else after them, it
// returns io.EOF.
func (r *Reader) Next() (*Header, error) {
	if r.err != nil {
		return nil, r.err
	}
	if r.err = r.advance(); r.err != nil {
		return nil, r.err
	}
	return &r.head, nil
}

// Read reads what the tar has of the entry's content: of a sparse file, the extents one after another.
func (r *Reader) Read(p []byte) (int, error) {
	left := r.head.Offset + r.head.Stored - r.off
	if left <= 0 || r.err != nil {
		return 0, io.EOF
	}
	n, err := r.from.Read(p[:min(int64(len(p)), left)])
	r.off += int64(n)
	if err == io.EOF && int64(n) < left {
		err = r.cut()
	}
	return n, err
}

func (r *Reader) advance() error {
	if err := r.skip(r.next - r.off); err != nil {
		return err
	}
	r.head = Header{Start: r.off, Xattrs: r.head.Xattrs[:0], Data: r.head.Data[:0]}
	r.extra.reset()
	for {
		if err := r.fill(r.block[:]); err != nil {
			return err
		}
		if r.block == [blockSize]byte{} {
			return r.end()
		}
		if !checksum(&r.block) {
			return r.bad()
		}
		size, ok := number(r.block[124:136])
		if !ok || size < 0 {
			return r.bad()
		}
		switch kind := r.block[156]; kind {
		case extended, extendedSun, global, longName, longTarget:
			if err := r.read(kind, size); err != nil {
				return err
			}
		case volumeLabel: // the name of the whole
			if err := r.skip(padded(size)); err != nil {
				return err
			}
		default:
			return r.entry(kind, size)
		}
	}
}

// read reads a header that belongs to the one after it.
func (r *Reader) read(kind byte, size int64) error {
	if size > maxExtra {
		return fmt.Errorf("header of more than %d bytes before byte %d", maxExtra, r.off)
	}
	text := r.extra.room(kind, int(size))
	if err := r.fill(text); err != nil {
		return err
	}
	if err := r.skip(archive.TarPadding(size)); err != nil {
		return err
	}
	if kind == global {
		return r.global(text)
	}
	return nil
}

// entry takes the header of an entry, and what came before it.
func (r *Reader) entry(kind byte, size int64) error {
	h := &r.head
	h.Kind, h.Size = kind, size
	if !r.ustar() {
		return r.bad()
	}
	if err := r.extra.apply(h); err != nil {
		return fmt.Errorf("%w before byte %d", err, r.off)
	}
	r.classify()
	h.Stored = h.Size
	if h.kind() != Regular {
		h.Size = 0
	}
	if err := r.sparseMap(kind); err != nil {
		return err
	}
	h.Offset = r.off
	if h.Stored > 1<<62 {
		return r.cut() // no file is so long
	}
	r.next = r.off + padded(h.Stored)
	return nil
}

// classify makes one kind of several that are unpacked alike. Only files have content, whatever the size of others says.
func (r *Reader) classify() {
	h := &r.head
	switch h.Kind {
	case 0, Regular, sparse:
		h.Kind = Regular
		if n := len(h.Name); r.block[156] == 0 && n > 0 && h.Name[n-1] == '/' {
			h.Kind = Directory
		}
	case Link, Symlink, Char, Block, Directory, FIFO:
		h.Size = 0
	}
}

// kind is that of what is unpacked.
func (h *Header) kind() byte {
	switch h.Kind {
	case dumpDir:
		return Directory
	case contiguous:
		return Regular
	}
	return h.Kind
}

// ustar takes what the block holds.
func (r *Reader) ustar() bool {
	b, h := &r.block, &r.head
	h.Name, h.Target = r.extra.name(b), until0(b[157:257])
	ok := true
	take := func(field []byte, most int64) uint32 {
		n, good := number(field)
		ok = ok && good && n >= 0 && n <= most
		return uint32(n)
	}
	h.Mode = take(b[100:108], 1<<32-1) & 0o7777
	h.UID, h.GID = take(b[108:116], 1<<32-1), take(b[116:124], 1<<32-1)
	if h.Kind == Char || h.Kind == Block {
		h.Major, h.Minor = take(b[329:337], 1<<32-1), take(b[337:345], 1<<32-1)
	}
	mtime, good := number(b[136:148])
	h.Sec = mtime
	return ok && good
}

// end reads on to the end: padding to a record is common, but a second archive would be lost in silence.
func (r *Reader) end() error {
	if err := r.fill(r.block[:]); err != nil {
		return err
	}
	for {
		if r.block != [blockSize]byte{} {
			return errors.New("data after the end of the archive (two archives joined?)")
		}
		n, err := io.ReadFull(r.from, r.block[:])
		r.off += int64(n)
		clear(r.block[n:])
		switch {
		case err == io.EOF:
			return io.EOF
		case err != nil && err != io.ErrUnexpectedEOF:
			return err
		}
	}
}

// fill reads all of p.
func (r *Reader) fill(p []byte) error {
	n, err := io.ReadFull(r.from, p)
	r.off += int64(n)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return r.cut()
	}
	return err
}

// skip passes over n bytes.
func (r *Reader) skip(n int64) error {
	for n > 0 {
		done, err := r.from.Discard(int(min(n, 1<<30)))
		n -= int64(done)
		r.off += int64(done)
		if err == io.EOF {
			return r.cut()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// ErrEmpty is the error of no bytes at all.
var ErrEmpty = errors.New("is empty, not a tar archive")

// cut is the error of a tar that ends too early.
func (r *Reader) cut() error {
	switch {
	case r.off == 0:
		return ErrEmpty
	case r.off < blockSize:
		return errors.New("is not a tar archive")
	}
	return fmt.Errorf("truncated after byte %d", r.off)
}

// bad is the error of a block that is no header.
func (r *Reader) bad() error {
	if r.off == blockSize {
		return errors.New("is not a tar archive")
	}
	return fmt.Errorf("bad header at byte %d", r.off-blockSize)
}

func padded(size int64) int64 { return size + archive.TarPadding(size) }
