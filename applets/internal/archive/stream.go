package archive

import (
	"crypto/sha256"
	"hash"
	"io"

	"github.com/ctbox/ctbox/applets/internal/list"
)

// A stream reads one large file after another and digests it beside its reader: who writes what comes out of it is about as
// busy with reading and writing as another processor is with the digest.
type stream struct {
	hash  hash.Hash
	spare chan []byte // buffers that nobody needs; the one that next gave last may be among them

	from    io.Reader
	hashing chan []byte      // what was read, to be digested
	hashed  chan list.Digest // of all
	left    []byte           // what Read is at
}

// A stream has so many buffers of so many bytes.
const (
	streamBuffers = 3
	streamBuffer  = 256 << 10
)

// begin starts with c. end must be called before c is closed.
func (s *stream) begin(c io.Reader) {
	if s.hash == nil {
		s.hash = sha256.New()
		s.spare = make(chan []byte, streamBuffers)
		for range streamBuffers {
			s.spare <- make([]byte, streamBuffer)
		}
	}
	s.from, s.left = c, nil
	s.hashing, s.hashed = make(chan []byte, streamBuffers), make(chan list.Digest)
	go s.digest()
}

func (s *stream) digest() {
	s.hash.Reset()
	for p := range s.hashing {
		s.hash.Write(p)
		s.spare <- p[:cap(p)]
	}
	s.hashed <- list.Digest(s.hash.Sum(nil))
}

// next gives what is next of the file, valid until it is called again.
func (s *stream) next() ([]byte, error) {
	buf := <-s.spare
	n, err := s.from.Read(buf)
	switch {
	case n > 0:
		err = nil // it will come again
	case err == nil:
		err = io.ErrNoProgress
	}
	s.hashing <- buf[:n]
	return buf[:n], err
}

// Read reads what is next of the file.
func (s *stream) Read(p []byte) (n int, err error) {
	if len(s.left) == 0 {
		if s.left, err = s.next(); err != nil {
			return 0, err
		}
	}
	n = copy(p, s.left)
	s.left = s.left[n:]
	return n, nil
}

// end gives the digest of what was read.
func (s *stream) end() list.Digest {
	close(s.hashing)
	return <-s.hashed
}
