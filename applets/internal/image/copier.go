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
	const buffers, size = 6, 128 << 10 // the fastest, but others are not much slower
	c := &copier{hash: sha256.New(), free: make(chan []byte, buffers), full: make(chan []byte, buffers)}
	for range buffers {
		c.free <- make([]byte, size)
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
	b, err := c.take(len(p))
	return copy(p, b), err
}

// Discard passes over at most n bytes.
func (c *copier) Discard(n int) (int, error) {
	b, err := c.take(n)
	return len(b), err
}

// take gives at most n bytes, valid until it is called again.
func (c *copier) take(n int) (b []byte, err error) {
	if len(c.left) == 0 {
		if c.at != nil {
			c.free <- c.at[:cap(c.at)]
		}
		if c.at = <-c.full; c.at == nil {
			return nil, c.err
		}
		c.hash.Write(c.at)
		c.left = c.at
	}
	n = min(n, len(c.left))
	b, c.left = c.left[:n], c.left[n:]
	return b, nil
}

// stop waits until nothing is copied any more.
func (c *copier) stop() {
	close(c.free)
	for range c.full {
		// what nobody will read
	}
}
