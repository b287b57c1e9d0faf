package image

import (
	"crypto/sha256"
	"hash"
	"io"
)

// A copier copies a file beside its reader, who gets the same bytes, and digests them: to read and to write takes about as long
// as to digest and to look at what is there.
type copier struct {
	hash hash.Hash
	free chan []byte
	full chan []byte
	err  error  // why there is no more; set before full is closed
	at   []byte // the buffer that the reader is at
	left []byte // of it
}

// newCopier begins to copy. stop must be called before r and w are used otherwise.
func newCopier(w io.Writer, r io.Reader) *copier {
	const buffers = 3 // one for each side, and one between
	c := &copier{hash: sha256.New(), free: make(chan []byte, buffers), full: make(chan []byte, buffers)}
	for range buffers {
		c.free <- make([]byte, readSize)
	}
	go c.copy(w, r)
	return c
}

func (c *copier) copy(w io.Writer, r io.Reader) {
	defer close(c.full)
	for buf := range c.free {
		n, err := r.Read(buf)
		if _, e := w.Write(buf[:n]); e != nil {
			c.err = e
			return
		}
		c.full <- buf[:n]
		if err != nil {
			c.err = err
			return
		}
	}
}

// Read gives what was copied.
func (c *copier) Read(p []byte) (int, error) {
	if len(c.left) == 0 {
		if c.at != nil {
			c.free <- c.at[:readSize]
		}
		if c.at = <-c.full; c.at == nil {
			return 0, c.err
		}
		c.hash.Write(c.at)
		c.left = c.at
	}
	n := copy(p, c.left)
	c.left = c.left[n:]
	return n, nil
}

// stop waits until nothing is copied any more.
func (c *copier) stop() {
	close(c.free)
	for range c.full {
		// what nobody will read
	}
}
