package archive

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/list"
)

// Walk calls each with the name of everything below d and of d itself (".") in list order; a name is valid until each
// returns. With oneFS it does not go into directories of other file systems, though it names them. Directories that cannot
// be read are told to fail, and the walk goes on. An error of each ends the walk.
//
// Memory is that of the names in the directories from the root to the current one.
func (d *Dir) Walk(oneFS bool, each func(name []byte) error, fail func(error)) error {
	return d.walk(walker{oneFS: oneFS, each: each, fail: fail})
}

func (d *Dir) walk(w walker) error {
	own := d.Share()
	defer own.Close()
	own.alone = true
	w.dir, w.buf = own, make([]byte, direntBuffer)
	st, err := own.Stat([]byte(list.Root))
	if err != nil {
		return err
	}
	w.dev = st.Dev
	if err := w.each([]byte(list.Root)); err != nil {
		return err
	}
	return w.walk(append(make([]byte, 0, usualPath), list.Root...))
}

type walker struct {
	dir   *Dir
	feed  *feeder // if not nil, it is told more than names
	stats []*Stat // with a cache, of directories whose names are still to come; the next one is the last
	each  func([]byte) error
	fail  func(error)
	oneFS bool
	dev   uint64
	buf   []byte     // for readdir
	spare []*entries // of directories that are done and were small
}

// cache is that of the feeder, or nil.
func (w *walker) cache() *Cache {
	if w.feed == nil {
		return nil
	}
	return w.feed.cache
}

// usualPath is longer than most paths, in bytes.
const usualPath = 1 << 10

// walk names everything below the directory name.
//
// List order is not depth first: "./a-b" comes between "./a" and "./a/x". So a directory is two entries here, its name
// and its name with a slash, and what is below it comes at the place of the second.
func (w *walker) walk(name []byte) error {
	entries, err := w.read(name)
	if err != nil {
		w.fail(fmt.Errorf("%s: %w", list.Quote(name), err))
		return nil
	}
	// All levels of the recursion share one buffer: each writes only behind its own name.
	path := append(name, '/')
	for _, start := range entries.starts {
		entry := entries.name(start)
		full := append(path, entry...)
		if entry[len(entry)-1] != '/' {
			err = w.name(full, start&marked != 0)
		} else {
			err = w.walk(full[:len(full)-1])
		}
		if err != nil {
			return err
		}
	}
	if len(entries.chunks) <= 1 {
		w.spare = append(w.spare, entries)
	}
	return nil
}

// name brings a name, whose type is known if it is marked. With a cache, what a directory is must be known when its names
// come; it is asked for here, so that nobody need ask again.
func (w *walker) name(name []byte, marked bool) error {
	if c := w.cache(); marked && c != nil {
		if st, err := w.dir.Stat(name); err == nil {
			c.walked = &st
		}
		w.stats = append(w.stats, c.walked)
	} else if marked || c != nil {
		w.feed.leaf = true
	}
	return w.each(name)
}

// read lists one directory, sorted. How many directories stay open does not depend on depth.
func (w *walker) read(name []byte) (*entries, error) {
	c := w.cache()
	if !w.oneFS && c == nil {
		return w.list(name)
	}
	st, err := w.stat(name)
	if err != nil {
		return nil, err
	}
	if w.oneFS && st.Dev != w.dev {
		return w.empty(), nil
	}
	if c == nil {
		return w.list(name)
	}
	if names, ok := c.listing(w.dir, name, &st); ok {
		e := w.empty()
		e.fill(names)
		e.markDirs()
		return e, nil
	}
	begun := c.now()
	e, err := w.list(name)
	if err != nil {
		return nil, err
	}
	if now, err := w.dir.Stat(name); err == nil && now == st && begun.after(&st) {
		c.listed(e.names())
	}
	e.markDirs()
	return e, nil
}

// stat describes a directory whose names come now.
func (w *walker) stat(name []byte) (Stat, error) {
	if last := len(w.stats) - 1; last >= 0 && len(name) > len(list.Root) {
		st := w.stats[last]
		if w.stats = w.stats[:last]; st != nil {
			return *st, nil
		}
	}
	return w.dir.Stat(name)
}

// list reads a directory.
func (w *walker) list(name []byte) (*entries, error) {
	fd, err := w.dir.list(name)
	if err != nil {
		return nil, err
	}
	e := w.empty()
	markRegular := w.feed != nil && w.feed.cache == nil
	err = readdir(fd, w.buf, func(name []byte, kind uint32) {
		e.add(name, false)
		switch {
		case kind == list.Directory:
			e.add(name, true)
		case kind == list.Regular && markRegular:
			e.starts[len(e.starts)-1] |= marked
		}
	})
	if err == nil && len(e.chunks) > mostChunks {
		err = errors.New("directory is too large")
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	w.dir.offer(name, fd)
	e.sort()
	return e, nil
}

// empty is for the names of one directory. It takes what another has left.
func (w *walker) empty() *entries {
	last := len(w.spare) - 1
	if last < 0 {
		return new(entries)
	}
	e := w.spare[last]
	w.spare = w.spare[:last]
	for i := range e.chunks {
		e.chunks[i] = e.chunks[i][:0]
	}
	e.starts = e.starts[:0]
	return e
}

// entries are the names in one directory, packed: a directory may hold millions. Each ends in NUL. Chunks, because
// a single growing slice would be there twice each time it grows.
type entries struct {
	chunks [][]byte
	starts []uint32 // of each name: number of the chunk, and offset in it
	dirs   []uint32 // for markDirs
}

const (
	chunkBits  = 16
	chunkSize  = 1 << chunkBits
	mostChunks = 1 << (31 - chunkBits)
	marked     = 1 << 31 // in starts: this is a directory, where there is a cache, and a regular file where there is none
)

func (e *entries) add(name []byte, slash bool) {
	last := len(e.chunks) - 1
	if last < 0 || len(e.chunks[last])+len(name)+2 > chunkSize {
		e.chunks = append(e.chunks, nil)
		last++
		if last > 0 {
			e.chunks[last] = make([]byte, 0, chunkSize)
		}
	}
	c := e.chunks[last]
	e.starts = append(e.starts, uint32(last<<chunkBits|len(c)))
	c = append(c, name...)
	if slash {
		c = append(c, '/')
	}
	e.chunks[last] = append(c, 0)
}

// names are all names in order, each with its NUL, or nil if they are too many for a cache.
func (e *entries) names() []byte {
	if len(e.chunks) > 1 {
		return nil
	}
	names := []byte{}
	for _, start := range e.starts {
		names = append(append(names, e.name(start)...), 0)
	}
	return names
}

// markDirs marks the names of directories. Sorted, the two entries of each nest in those of others.
func (e *entries) markDirs() {
	open := e.dirs[:0]
	for i, start := range slices.Backward(e.starts) {
		name := e.name(start)
		if name[len(name)-1] == '/' {
			open = append(open, start)
			continue
		}
		if last := len(open) - 1; last >= 0 && string(e.name(open[last])) == string(name)+"/" {
			e.starts[i] |= marked
			open = open[:last]
		}
	}
	e.dirs = open
}

// fill takes what names gave.
func (e *entries) fill(names []byte) {
	if len(e.chunks) == 0 {
		e.chunks = append(e.chunks, nil)
	}
	e.chunks[0] = append(e.chunks[0], names...)
	for start := 0; start < len(names); start += 1 + bytes.IndexByte(names[start:], 0) {
		e.starts = append(e.starts, uint32(start))
	}
}

// from is the name at start, and what follows it in its chunk.
func (e *entries) from(start uint32) []byte {
	return e.chunks[start>>chunkBits%mostChunks][start%chunkSize:]
}

func (e *entries) name(start uint32) []byte {
	text := e.from(start)
	return text[:bytes.IndexByte(text, 0)]
}

// sort orders the names. A name whose directory is written to while it is read can come twice; one is dropped.
func (e *entries) sort() {
	// What follows a name does not matter: its NUL is less than any byte of a longer name.
	slices.SortFunc(e.starts, func(a, b uint32) int { return bytes.Compare(e.from(a), e.from(b)) })
	e.starts = slices.CompactFunc(e.starts, func(a, b uint32) bool { return bytes.Equal(e.name(a), e.name(b)) })
}

func isDots(name []byte) bool { return string(name) == "." || string(name) == ".." }
