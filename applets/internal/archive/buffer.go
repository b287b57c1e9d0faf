package archive

import (
	"hash"
	"io"
	"os"
)

// A buffer collects what an archive consists of, for large writes. What it is lent and goes to a plain file is not copied.
type buffer struct {
	w     io.Writer
	plain *os.File // w, if it is a plain file

	buf []byte // the first n bytes are to be written
	n   int

	parts [][]byte // for a plain file: what is to be written, in order, of the first from bytes of buf and of what was lent
	from  int
	size  int // bytes in parts
}

// Bytes and parts to be written at once.
const (
	bufferSize  = 512 << 10
	bufferParts = 128
)

func newBuffer(w io.Writer) buffer {
	b := buffer{w: w, buf: make([]byte, bufferSize)}
	if isPlain(w) {
		b.plain = w.(*os.File)
	}
	return b
}

// copy takes exactly size bytes of c and adds them to h if that is not nil. It reads into the free end of the buffer,
// so that content is copied only once.
func (b *buffer) copy(c io.Reader, size int64, h hash.Hash) error {
	const enough = 64 << 10
	left := size
	if h == nil {
		switch c := c.(type) {
		case *stream:
			return b.pass(c, size)
		case *file:
			sent, err := b.send(c, size)
			if left -= sent; err != nil {
				return err
			}
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

// pass writes exactly size bytes of s, as they come.
func (b *buffer) pass(s *stream, size int64) error {
	err := b.flush()
	for size > 0 && err == nil {
		var p []byte
		if p, err = s.next(); int64(len(p)) > size || err == io.EOF {
			err = ErrRacing
		}
		if err == nil {
			_, err = b.w.Write(p)
		}
		size -= int64(len(p))
	}
	if err != nil {
		return err
	}
	return atEnd(s)
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

// lend writes p, which stays valid until settle.
func (b *buffer) lend(p []byte) error {
	const few = 512
	if b.plain == nil || len(p) < few {
		return b.write(p)
	}
	b.close()
	b.parts = append(b.parts, p)
	if b.size += len(p); b.size < bufferSize && len(b.parts) < bufferParts {
		return nil
	}
	return b.flush()
}

// close makes the end of buf a part.
func (b *buffer) close() {
	if b.from < b.n {
		b.parts = append(b.parts, b.buf[b.from:b.n])
		b.size += b.n - b.from
		b.from = b.n
	}
}

// settle writes what was lent.
func (b *buffer) settle() error {
	if len(b.parts) == 0 {
		return nil
	}
	return b.flush()
}

func (b *buffer) flush() (err error) {
	if b.plain != nil {
		b.close()
		err = writev(b.plain, b.parts)
	} else {
		_, err = b.w.Write(b.buf[:b.n])
	}
	b.n, b.from, b.parts, b.size = 0, 0, b.parts[:0], 0
	return err
}
