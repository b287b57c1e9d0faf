package archive

import (
	"crypto/sha256"
	"hash"
	"io"

	"github.com/ctbox/ctbox/applets/internal/list"
)

// A stream reads one large file after another ahead of its reader and digests it there, so that reading and digesting
// go on beside writing.
type stream struct {
	hash  hash.Hash
	spare [][]byte

	full    chan piece
	free    chan []byte
	current []byte // the buffer that the reader is at
	left    []byte // of it
	err     error
}

// A piece is what one call to Read gave.
type piece struct {
	buf []byte
	n   int
	err error
}

// A stream has so many buffers of so many bytes.
const (
	streamBuffers = 3
	streamBuffer  = 256 << 10
)

// begin starts to read c to its end; unproven content is digested. end must be called before c is closed.
func (s *stream) begin(c io.Reader, unproven bool) {
	if s.hash == nil {
		s.hash = sha256.New()
		for range streamBuffers {
			s.spare = append(s.spare, make([]byte, streamBuffer))
		}
	}
	s.hash.Reset()
	s.full, s.free = make(chan piece, streamBuffers), make(chan []byte, streamBuffers)
	for _, buf := range s.spare {
		s.free <- buf
	}
	s.current, s.left, s.err = nil, nil, nil
	var h hash.Hash
	if unproven {
		h = s.hash
	}
	go ahead(c, h, s.free, s.full)
}

// ahead fills buffers until there is an error, which may be the end, or until free is closed.
func ahead(c io.Reader, h hash.Hash, free <-chan []byte, full chan<- piece) {
	defer close(full)
	for buf := range free {
		n, err := c.Read(buf)
		if h != nil {
			h.Write(buf[:n])
		}
		if n == 0 && err == nil {
			err = io.ErrNoProgress
		}
		full <- piece{buf, n, err}
		if err != nil {
			return
		}
	}
}

// Read reads what is next of the file.
func (s *stream) Read(p []byte) (int, error) {
	if len(s.left) == 0 {
		var err error
		if s.left, err = s.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.left)
	s.left = s.left[n:]
	return n, nil
}

// next gives what is next of the file, valid until it is called again. Before that, Read must not have been called.
func (s *stream) next() ([]byte, error) {
	for s.err == nil {
		if s.current != nil {
			s.free <- s.current
		}
		p := <-s.full
		if s.current, s.err = p.buf, p.err; p.n > 0 {
			return p.buf[:p.n], nil
		}
	}
	return nil, s.err
}

// end waits until the file is read no more.
func (s *stream) end() {
	close(s.free)
	for range s.full {
		// what nobody will read
	}
}

// sum is the digest of a file that was read to its end.
func (s *stream) sum() (d list.Digest) {
	s.hash.Sum(d[:0])
	return d
}
