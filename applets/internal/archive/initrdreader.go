package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/cavaliergopher/cpio"

	"github.com/ctbox/ctbox/applets/internal/compress"
	"github.com/ctbox/ctbox/applets/internal/list"
)

// An InitrdReader reads what Linux unpacks as its initramfs: archives of the newc format, plain or compressed,
// one after another. What the kernel would pass over, leave out or stop at while it boots on (init/initramfs.c)
// is an error here; but whether the directory of a name exists is not looked at.
type InitrdReader struct {
	outer   *offsetReader // the initrd
	inner   *offsetReader // a compressed segment's content, or nil
	stream  io.ReadCloser // what inner reads
	method  string        // of stream
	window  int64         // the largest of all streams
	segment int           // the current archive
	state   initrdState

	compressed bool // some segment is

	raw   []byte // header, name and, of a symlink, target of entry, padded, as they are stored
	entry InitrdEntry
	body  io.Reader // the content of entry
	left  int64     // bytes of it that outer or inner still has
	pad   int       // zeros after that
	sum   *checksum // of what is read, if the record has one
	err   error
}

type initrdState int

const (
	atStart    initrdState = iota
	inArchive              // records follow
	afterPlain             // a plain archive has ended
	afterZip               // a compressed stream has ended, or in one an archive has
)

// NewInitrdReader returns a reader of the initrd r. Where r is a regular file, content of plain segments that
// is not asked for is not read.
func NewInitrdReader(r io.Reader) *InitrdReader {
	return &InitrdReader{outer: newOffsetReader(r), segment: -1}
}

// Close frees the decoder. It does not close what is read.
func (r *InitrdReader) Close() error {
	if r.stream != nil {
		r.stream.Close()
	}
	r.stream, r.inner = nil, nil
	r.err = os.ErrClosed
	return nil
}

// Next goes to the next file. At the end of the last segment it returns io.EOF; an initrd that is cut off
// is io.ErrUnexpectedEOF. The entry is valid until the next call.
func (r *InitrdReader) Next() (*InitrdEntry, error) {
	if r.err == nil {
		r.err = r.next()
	}
	if r.err != nil {
		return nil, r.err
	}
	return &r.entry, nil
}

// Read reads the content of the current file.
func (r *InitrdReader) Read(p []byte) (int, error) {
	if r.body == nil {
		return 0, io.EOF
	}
	n, err := r.body.Read(p)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

func (r *InitrdReader) next() error {
	if err := r.finish(); err != nil {
		return err
	}
	for {
		if r.state != inArchive {
			if err := r.begin(); err != nil {
				return err
			}
			continue
		}
		end, err := r.record()
		if err != nil || !end {
			return err
		}
		r.state = afterZip
		if r.inner == nil {
			r.state = afterPlain
		}
	}
}

// Offset is how many bytes of the initrd were read or passed over: its length, when Next has returned io.EOF.
func (r *InitrdReader) Offset() int64 { return r.outer.offset() }

// Window is the most memory, in bytes, that the decoder of a stream so far must hold (compress.Window).
func (r *InitrdReader) Window() int64 { return r.window }

// Compressed says whether a compressed segment was met.
func (r *InitrdReader) Compressed() bool { return r.compressed }

// in is what archives are read from now.
func (r *InitrdReader) in() *offsetReader {
	if r.inner != nil {
		return r.inner
	}
	return r.outer
}

// finish passes over the rest of the current entry.
func (r *InitrdReader) finish() error {
	if r.sum != nil {
		if _, err := io.Copy(io.Discard, r.body); err != nil {
			return err
		}
	}
	skip := r.left + int64(r.pad)
	r.body, r.left, r.pad, r.sum = nil, 0, 0, nil
	if err := r.in().skip(skip); err != nil {
		return r.truncated(err)
	}
	return nil
}

// begin finds the next archive: zeros are passed over, and a compressed stream is entered or left.
func (r *InitrdReader) begin() error {
	in := r.in()
	first, err := in.skipZeros()
	switch {
	case err == io.EOF && r.inner != nil:
		return r.leave()
	case err == io.EOF && r.state == atStart:
		return errors.New("not an initrd: there is nothing but zeros in it")
	case err != nil:
		return err
	case r.state == afterPlain && in.offset()&3 != 0, r.inner != nil && in.offset()&3 != 0:
		return r.wrong("begins at no multiple of 4")
	case first == '0' && in.offset()&3 == 0:
		return r.archive()
	case r.inner != nil:
		return r.wrong("junk after an archive in a compressed segment")
	case first == '0':
		return r.wrong("begins at no multiple of 4")
	}
	return r.enter()
}

func (r *InitrdReader) archive() error {
	r.segment++
	r.state = inArchive
	return nil
}

// enter begins to read a compressed stream, in which an archive must come at once.
func (r *InitrdReader) enter() error {
	if err := r.refuse(); err != nil {
		return err
	}
	r.window = max(r.window, compress.Window(r.outer.br))
	stream, method, err := compress.NewStream(r.outer.br)
	if errors.Is(err, compress.ErrNotCompressed) {
		if r.state == atStart && r.outer.offset() == 0 {
			return errors.New("not an initrd: neither a newc archive nor compressed")
		}
		return r.wrong("neither a newc archive nor compressed")
	} else if err != nil {
		return err
	}
	r.compressed = true
	r.stream, r.method, r.inner = stream, method, newOffsetReader(stream)
	return r.archive()
}

// initrdZipHead is what refuse looks at: an xz block header to its filters, with numbers of 9 bytes before them.
const initrdZipHead = 40

// refuse knows what the decoders of the kernel do not take (vmlinux with all of CONFIG_RD_*).
func (r *InitrdReader) refuse() error {
	head, err := r.outer.br.Peek(initrdZipHead)
	if err != nil && err != io.EOF {
		return err
	}
	head = append(head[:len(head):len(head)], make([]byte, initrdZipHead-len(head))...)
	switch {
	case bytes.HasPrefix(head, []byte("\x1f\x8b")) && head[3]&0x16 != 0:
		return errors.New("gzip with a header checksum, extra field or comment, which the kernel does not take: use gzip")
	case bytes.HasPrefix(head, []byte("\xfd7zXZ\x00")) && head[7] > 1:
		return errors.New("xz with a check that the kernel cannot verify: use xz --check=crc32")
	case bytes.HasPrefix(head, []byte("\xfd7zXZ\x00")) && !isPlainXz(head[12:]):
		return errors.New("xz with filters that the kernel may not have: use xz --check=crc32 without filters")
	case bytes.HasPrefix(head, []byte("\x04\x22\x4d\x18")):
		return errors.New("lz4 in its frame format, which the kernel does not take: use lz4 -l")
	case head[0]&0xf0 == 0x50 && string(head[1:4]) == "\x2a\x4d\x18":
		return errors.New("zstd that begins with a frame to skip, which the kernel does not: use zstd")
	}
	return nil
}

// isPlainXz reports whether the first block of an xz stream has LZMA2 as its only filter, or that for x86 code before
// it (The .xz File Format 1.2.1, 3.1 and 5.3). No kernel has the delta filter; others have that for their machine.
func isPlainXz(block []byte) bool {
	flags, filters := block[1], block[2:]
	for sizes := flags>>6&1 + flags>>7; sizes > 0 && len(filters) > 0; filters = filters[1:] {
		if filters[0] < 0x80 {
			sizes-- // the last byte of a number
		}
	}
	lzma2, x86 := []byte{0x21}, []byte{0x04, 0x00, 0x21}
	return block[0] == 0 || // the index of an empty stream
		flags&3 == 0 && bytes.HasPrefix(filters, lzma2) || flags&3 == 1 && bytes.HasPrefix(filters, x86)
}

// leave ends a compressed stream.
func (r *InitrdReader) leave() error {
	r.stream.Close()
	r.stream, r.inner = nil, nil
	r.state = afterZip
	return nil
}

// wrong is an error at the current place.
func (r *InitrdReader) wrong(what string) error {
	place := "byte"
	if r.inner != nil {
		place = r.method + " content, byte"
	}
	return fmt.Errorf("segment %d: %s %d: %s", r.segment+1, place, r.in().offset(), what)
}

// truncated says why an archive ends early; other errors stay as they are.
func (r *InitrdReader) truncated(err error) error {
	if err != io.EOF && err != io.ErrUnexpectedEOF {
		return err
	}
	if r.inner != nil && err == io.EOF {
		if next, _ := r.outer.br.Peek(2); r.method == "gzip" && string(next) == "\x1f\x8b" {
			return errors.New("several gzip members for one archive: the kernel unpacks only the first")
		}
	}
	return fmt.Errorf("archive without its end: %w", io.ErrUnexpectedEOF)
}

// record reads the header and the name of a record, and the target of a symlink.
func (r *InitrdReader) record() (end bool, err error) {
	in := r.in()
	head, err := in.br.Peek(initrdHead)
	if magic := head[:min(6, len(head))]; len(magic) == 6 {
		if err := checkMagic(magic); err != nil {
			return false, r.wrong(err.Error())
		}
	}
	if err != nil {
		return false, r.truncated(err)
	}
	f, ok := readInitrdHeader(head)
	if !ok {
		return false, r.wrong("header with something else than hexadecimal digits")
	}
	if f.nameSize < 1 || f.nameSize > initrdPathMax {
		return false, r.wrong(fmt.Sprintf("name of %d bytes", f.nameSize))
	}
	length := align4(initrdHead + int(f.nameSize))
	isLink := f.mode&list.TypeMask == list.Symlink
	if isLink {
		if f.size < 1 || f.size > initrdPathMax {
			return false, r.wrong(fmt.Sprintf("symbolic link with a target of %d bytes", f.size))
		}
		length += int(f.size)
	}
	whole, err := in.br.Peek(length)
	if err != nil {
		return false, r.truncated(err)
	}
	if whole[initrdHead+f.nameSize-1] != 0 {
		return false, r.wrong("name without a NUL at its end")
	}
	r.raw = append(r.raw[:0], whole...)
	return r.parse(f, bytes.Clone(whole))
}

// parse takes a whole record's bytes as an entry. The checksum is set to 0 because the package refuses some that
// the kernel ignores.
func (r *InitrdReader) parse(f initrdHeader, record []byte) (end bool, err error) {
	name, _, _ := bytes.Cut(record[initrdHead:initrdHead+f.nameSize], []byte{0})
	if string(name) == initrdTrailer {
		return r.trailer(f, len(record))
	}
	copy(record[initrdHead-8:], "00000000")
	h, err := cpio.NewReader(bytes.NewReader(record)).Next()
	if err == nil {
		r.entry = InitrdEntry{
			Name: canonicalName(name), Mode: f.mode, UID: uint32(h.Uid), GID: uint32(h.Guid),
			Time: uint32(h.ModTime.Unix()), Ino: uint32(h.Inode), Links: uint32(h.Links),
			Dev: f.dev, Major: f.rdev[0], Minor: f.rdev[1], Size: int64(f.size), Segment: r.segment,
		}
		err = r.entry.check()
	}
	if err != nil {
		return false, r.wrong(fmt.Sprintf("%q: %s", name, err))
	}
	r.in().br.Discard(len(record))
	r.left, r.pad = int64(f.size), -int(f.size)&3
	if f.mode&list.TypeMask == list.Symlink { // the package sees none where the mode has more bits than 0777
		r.left, r.body = 0, bytes.NewReader(record[len(record)-int(f.size):])
		return false, nil
	}
	r.body = &content{r}
	if f.magic == "070702" && f.size > 0 {
		r.sum = &checksum{want: f.check}
	}
	return false, nil
}

// trailer ends an archive. Content that it claims to have is passed over, as the kernel does.
func (r *InitrdReader) trailer(f initrdHeader, length int) (bool, error) {
	in := r.in()
	in.br.Discard(length)
	if f.mode&list.TypeMask == list.Symlink {
		f.size = 0 // it was part of the record
	}
	if err := in.skip((int64(f.size) + 3) &^ 3); err != nil {
		return false, r.truncated(err)
	}
	return true, nil
}

// content reads the current entry's content.
type content struct{ r *InitrdReader }

func (c *content) Read(p []byte) (int, error) {
	r := c.r
	if r.left == 0 {
		return 0, r.sum.verify()
	}
	n, err := r.in().Read(p[:min(int64(len(p)), r.left)])
	r.left -= int64(n)
	r.sum.add(p[:n])
	if err != nil {
		return n, r.truncated(err)
	}
	return n, nil
}

// A checksum is that of a 070702 record: the sum of all bytes. A nil one takes everything.
type checksum struct{ sum, want uint32 }

func (c *checksum) add(p []byte) {
	if c == nil {
		return
	}
	for _, b := range p {
		c.sum += uint32(b)
	}
}

func (c *checksum) verify() error {
	if c != nil && c.sum != c.want {
		return errors.New("checksum of the content does not match")
	}
	return io.EOF
}

func align4(n int) int { return (n + 3) &^ 3 }
