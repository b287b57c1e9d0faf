package wire

import (
	"io"
	"sync"
)

// A Bell is a line on which a byte, whatever it is, means "look into the shared memory".
type Bell struct {
	w       io.Writer
	writing sync.Mutex
	mu      sync.Mutex
	ears    []chan struct{}
	dead    chan struct{}
	err     error // why it is dead
}

// NewBell listens on r and rings on w, the same line's two directions. r is read until it fails.
func NewBell(r io.Reader, w io.Writer) *Bell {
	b := &Bell{w: w, dead: make(chan struct{})}
	go b.hear(r)
	return b
}

// Ring wakes the other side.
func (b *Bell) Ring() error {
	b.writing.Lock()
	defer b.writing.Unlock()
	_, err := b.w.Write([]byte{'!'})
	return err
}

func (b *Bell) listen(ear chan struct{}) {
	b.mu.Lock()
	b.ears = append(b.ears, ear)
	b.mu.Unlock()
}

func (b *Bell) hear(r io.Reader) {
	var buf [64]byte
	for {
		n, err := r.Read(buf[:])
		if n > 0 {
			b.mu.Lock()
			for _, ear := range b.ears {
				select {
				case ear <- struct{}{}:
				default: // it has yet to act on an earlier one, and will see all then
				}
			}
			b.mu.Unlock()
		}
		if err != nil {
			b.err = err
			close(b.dead)
			return
		}
	}
}
