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
// returns. With oneFS it does not go
// into directories of other file systems, though it names them. Directories that cannot be read are told to fail, and
// the walk goes on. An error of each ends the walk.
//
// Memory is that of the names in the directories from the root to the current one.
func (d *Dir) Walk(oneFS bool, each func(name []byte) error, fail func(error)) error {
	w := walker{dir: d, each: each, fail: fail}
	if oneFS {
		st, err := d.Stat([]byte(list.Root))
		if err != nil {
			return err
		}
		w.dev, w.oneFS = st.Dev, true
	}
	if err := each([]byte(list.Root)); err != nil {
		return err
	}
	return w.walk([]byte(list.Root))
}

type walker struct {
	dir   *Dir
	each  func([]byte) error
	fail  func(error)
	oneFS bool
	dev   uint64
}

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
			err = w.each(full)
		} else {
			err = w.walk(full[:len(full)-1])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// read lists one directory, sorted. The descriptor is closed again before anything below is looked at, so that depth
// costs none.
func (w *walker) read(name []byte) (*entries, error) {
	if w.oneFS {
		st, err := w.dir.Stat(name)
		if err != nil || st.Dev != w.dev {
			return new(entries), err
		}
	}
	fd, err := w.dir.open(name)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	e := new(entries)
	err = readdir(fd, func(name []byte, isDir bool) {
		e.add(name, false)
		if isDir {
			e.add(name, true)
		}
	})
	if err == nil && len(e.chunks) > chunkSize {
		err = errors.New("directory is too large")
	}
	e.sort()
	return e, err
}

// entries are the names in one directory, packed: a directory may hold millions. Each ends in NUL. Chunks, because
// a single growing slice would be there twice each time it grows.
type entries struct {
	chunks [][]byte
	starts []uint32 // of each name: number of the chunk, and offset in it
}

const (
	chunkBits = 16
	chunkSize = 1 << chunkBits
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

// from is the name at start, and what follows it in its chunk.
func (e *entries) from(start uint32) []byte { return e.chunks[start>>chunkBits][start%chunkSize:] }

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
