package wire

import (
	"encoding/binary"
	"errors"
	"sync/atomic"
	"unsafe"
)

// Shared is the size of the shared memory, in bytes.
const Shared = 4 << 20

// The layout of the shared memory: one page of counters, each in a cache line of its own, then a buffer for each direction.
const (
	tokenAt  = 0
	outAt    = 64  // head, written by the guest, and 64 further the tail, written by the host
	inAt     = 192 // head, written by the host, and 64 further the tail, written by the guest
	lineSize = 64
	page     = 4096
	bufSize  = (Shared - 2*page) / 2
)

// A Memory is the shared memory, as one side sees it.
type Memory struct{ b []byte }

// NewMemory takes mapped memory of Shared bytes. Its start must be aligned to a page, as mmap(2) does it.
func NewMemory(b []byte) *Memory { return &Memory{b[:Shared:Shared]} }

// Reset makes both directions empty and writes the token. The guest does so before it says Hello.
func (m *Memory) Reset(token uint64) {
	clear(m.b[:page])
	binary.LittleEndian.PutUint64(m.b[tokenAt:], token)
}

// Token is what Reset wrote.
func (m *Memory) Token() uint64 { return binary.LittleEndian.Uint64(m.b[tokenAt:]) }

// Out is the direction from the guest to the host.
func (m *Memory) Out(bell *Bell) *Pipe { return m.pipe(outAt, page, bell) }

// In is the direction from the host to the guest.
func (m *Memory) In(bell *Bell) *Pipe { return m.pipe(inAt, page+bufSize, bell) }

func (m *Memory) pipe(counters, data int, bell *Bell) *Pipe {
	p := &Pipe{
		head: (*atomic.Uint64)(unsafe.Pointer(&m.b[counters])),
		tail: (*atomic.Uint64)(unsafe.Pointer(&m.b[counters+lineSize])),
		data: m.b[data : data+bufSize : data+bufSize],
		bell: bell,
		rung: make(chan struct{}, 1),
	}
	bell.listen(p.rung)
	return p
}

// A Pipe is one direction. One side only reads and the other only writes, each from one goroutine.
//
// Head and tail count bytes since the start. A side rings the other's bell only if that may be waiting: each stores its own
// counter first and loads the other's after that, so of two that act at once at least one sees what the other did.
type Pipe struct {
	head, tail *atomic.Uint64
	data       []byte
	bell       *Bell
	rung       chan struct{}
}

var errCounters = errors.New("counters in the shared memory are damaged")

// Write writes all of b, waiting for room.
func (p *Pipe) Write(b []byte) (int, error) {
	total := len(b)
	for len(b) > 0 {
		head, tail := p.head.Load(), p.tail.Load()
		used := head - tail
		if used > bufSize {
			return total - len(b), errCounters
		}
		if used == bufSize {
			if err := p.wait(head, tail); err != nil {
				return total - len(b), err
			}
			continue
		}
		at := int(head % bufSize)
		n := copy(p.data[at:min(bufSize, at+int(bufSize-used))], b)
		b = b[n:]
		p.head.Store(head + uint64(n))
		if p.tail.Load() == head { // the reader had read everything
			if err := p.bell.Ring(); err != nil {
				return total - len(b), err
			}
		}
	}
	return total, nil
}

// Read waits for bytes.
func (p *Pipe) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	for {
		head, tail := p.head.Load(), p.tail.Load()
		used := head - tail
		if used > bufSize {
			return 0, errCounters
		}
		if used == 0 {
			if err := p.wait(head, tail); err != nil {
				return 0, err
			}
			continue
		}
		at := int(tail % bufSize)
		n := copy(b, p.data[at:min(bufSize, at+int(used))])
		p.tail.Store(tail + uint64(n))
		var err error
		if p.head.Load()-tail >= bufSize { // the writer may have found it full
			err = p.bell.Ring()
		}
		return n, err
	}
}

// wait returns when the bell was rung since the last time, or with the error that ended the bell. What was written before
// the end is still to be read, so the counters get a last look: at what they were when the caller decided to wait, because
// of a ring and an end that are both there by now, select may choose the end.
func (p *Pipe) wait(head, tail uint64) error {
	select {
	case <-p.rung:
		return nil
	case <-p.bell.dead:
	}
	if p.head.Load() != head || p.tail.Load() != tail {
		return nil
	}
	return p.bell.err
}
