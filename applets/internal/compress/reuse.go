package compress

import (
	"bytes"
	"io"
)

// GzipVersion changes whenever method "gzip" at its default level gives other bytes for some input, by other cuts or by another
// version of the library. A test has an example of what it gives.
const GzipVersion = "1"

// GzipHeader begins each member that method "gzip" writes: no name, no time, and 255 (unknown) as its system (RFC 1952, 2.3).
const GzipHeader = "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"

// A Reuse has members of streams that were written before, for a Writer to copy where it would make the same. The zero Reuse
// has none.
type Reuse struct {
	known map[[trailerLen]byte]*io.SectionReader // by their trailers, which find what may be the same, and prove nothing
}

// Add takes note of a member, which method "gzip" of this GzipVersion has written at its default level. It must stay readable
// while the Reuse is used.
func (u *Reuse) Add(member *io.SectionReader) error {
	var key [trailerLen]byte
	if _, err := member.ReadAt(key[:], member.Size()-trailerLen); err != nil {
		return err
	}
	if u.known == nil {
		u.known = map[[trailerLen]byte]*io.SectionReader{}
	}
	u.known[key] = member
	return nil
}

// copied makes p the member that a Writer has made of the same content, if it is known. That the content is the same is proved
// by unpacking it.
func (p *member) copied(u *Reuse, end []byte) bool {
	const slack = 1 << 10 // no member is larger than its content and so many bytes
	if u == nil {
		return false
	}
	old, ok := u.known[[trailerLen]byte(end)]
	if !ok || old.Size() > int64(len(p.in)+slack) {
		return false
	}
	p.out.Grow(int(old.Size()))
	packed := p.out.AvailableBuffer()[:old.Size()]
	if _, err := old.ReadAt(packed, 0); err != nil {
		return false
	}
	p.out.Write(packed)
	in, left := bytes.NewReader(packed), rest(p.in)
	if p.unpack.Reset(in) != nil {
		return false
	}
	p.unpack.Multistream(false)
	_, err := io.Copy(&left, &p.unpack)
	return err == nil && len(left) == 0 && in.Len() == 0
}

// A rest is what is still to be written to it.
type rest []byte

func (r *rest) Write(p []byte) (int, error) {
	if !bytes.HasPrefix(*r, p) {
		return 0, io.ErrShortWrite
	}
	*r = (*r)[len(p):]
	return len(p), nil
}
