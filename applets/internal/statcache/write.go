package statcache

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
)

// An Update makes the next cache from the last one and from what a run finds. What is called stands in the order of
// names. As long as nothing is new, nothing is written: for most runs, all of it stays as it was.
type Update struct {
	Old  func() *Scanner // from the begin of the last cache
	Out  io.Writer
	kept int // entries of the last cache that are in the next one, all before the first change
	w    *writer
	err  error
}

// Keep says that the next entry of the last cache, e, still holds.
func (u *Update) Keep(e *Entry) {
	if u.w == nil {
		u.kept++
		return
	}
	u.Add(e)
}

// Drop says that the next entry of the last cache, or the rest of that, holds no more.
func (u *Update) Drop() {
	if u.w != nil || u.err != nil {
		return
	}
	u.w = &writer{out: u.Out}
	u.err = u.w.begin()
	old := u.Old()
	for range u.kept {
		e, err := old.Next()
		if err != nil {
			u.err = errors.Join(u.err, whole(err, errDamaged))
			return
		}
		u.Add(e)
	}
}

// Add says what was found by this run.
func (u *Update) Add(e *Entry) {
	u.Drop()
	if u.err == nil {
		u.err = u.w.add(e)
	}
}

// Close ends the next cache. It reports whether that differs from the last one; if not, nothing was written.
func (u *Update) Close() (changed bool, err error) {
	if u.w != nil && u.err == nil {
		u.err = u.w.close()
	}
	return u.w != nil, u.err
}

type writer struct {
	out   io.Writer
	sum   [sumSize]byte
	block []byte // room for the head, and entries
	name  []byte // of the last entry
}

func (w *writer) begin() error {
	w.sum = sha256.Sum256([]byte(magic))
	w.block = make([]byte, headSize, headSize+blockSize+4<<10)
	_, err := io.WriteString(w.out, magic)
	return err
}

var errOrder = errors.New("names are not in order")

func (w *writer) add(e *Entry) error {
	if string(e.Name) <= string(w.name) {
		return errOrder
	}
	w.block = e.appendTo(w.block, w.name)
	w.name = append(w.name[:0], e.Name...)
	if len(w.block) < headSize+blockSize {
		return nil
	}
	return w.flush()
}

// flush writes a block.
func (w *writer) flush() error {
	entries := w.block[headSize:]
	head := w.block[:headSize]
	copy(head[4:], w.sum[:])
	w.sum = sha256.Sum256(w.block[headSize-sumSize:])
	copy(head[4:], w.sum[:])
	binary.LittleEndian.PutUint32(head, uint32(len(entries)))
	_, err := w.out.Write(w.block)
	w.block = w.block[:headSize]
	return err
}

func (w *writer) close() error {
	if len(w.block) > headSize {
		if err := w.flush(); err != nil {
			return err
		}
	}
	return w.flush()
}
