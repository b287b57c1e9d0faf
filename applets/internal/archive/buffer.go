package archive

import (
	"hash"
	"io"
)

// A buffer collects what an archive consists of, for large writes.
type buffer struct {
	w   io.Writer
	buf []byte // the first n bytes are to be written
	n   int
}

func newBuffer(w io.Writer) buffer { return buffer{w: w, buf: make([]byte, 512<<10)} }

// copy takes exactly size bytes of c and adds them to h if that is not nil. It reads into the free end of the buffer,
// so that content is copied only once.
func (b *buffer) copy(c io.Reader, size int64, h hash.Hash) error {
	const enough = 64 << 10
	left := size
	if f, ok := c.(*file); ok && h == nil {
		sent, err := b.send(f, size)
		if left -= sent; err != nil {
			return err
		}
	}
	for left > 0 {
		if len(b.buf)-b.n < enough {
			if err := b.flush(); err != nil {
				return err
			}
		}
		n, err := take(c, b.buf[b.n:min(int64(len(b.buf)), int64(b.n)+left)], h)
		if err != nil {
			return err
		}
		b.n += n
		left -= int64(n)
	}
	return atEnd(c)
}

func (b *buffer) write(p []byte) error {
	for len(p) > 0 {
		if b.n == len(b.buf) {
			if err := b.flush(); err != nil {
				return err
			}
		}
		n := copy(b.buf[b.n:], p)
		b.n += n
		p = p[n:]
	}
	return nil
}

func (b *buffer) flush() error {
	_, err := b.w.Write(b.buf[:b.n])
	b.n = 0
	return err
}
