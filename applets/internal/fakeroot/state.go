package fakeroot

import (
	"fmt"
	"io/fs"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/archive"
	"github.com/ctbox/ctbox/applets/internal/cli"
	"github.com/ctbox/ctbox/applets/internal/list"
)

// A state is a save file with the tree that it is applied to. Inode numbers are used again, so an entry may be about
// a file that is gone: what has changed since fakeroot saved is looked at closely.
type state struct {
	*Save
	Context
	path      string
	sec, nsec int64 // when the save file was written, or touched by try-fakeroot

	whole atomic.Bool  // the top of a tree was among the names
	hits  atomic.Int64 // files with an entry
	moved atomic.Int64 // files whose inode number has an entry for another device
	from  atomic.Uint64
	to    atomic.Uint64 // such a pair of devices
}

// open reads a save file that is to be there: one that is not could be a mistyped name, and all its owners lost.
func open(path string, c Context) (*state, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	save, err := Parse(path, f)
	if err != nil {
		return nil, err
	}
	return &state{Save: save, Context: c, path: path, sec: int64(st.Ctim.Sec), nsec: int64(st.Ctim.Nsec)}, nil
}

// Fake implements Source.
func (s *state) Fake(name []byte, st *archive.Stat) error {
	if string(name) == list.Root {
		s.whole.Store(true)
	}
	e, known, moved := s.find(st.Dev, st.Ino)
	if moved && e.fits(st) {
		s.from.Store(e.dev)
		s.to.Store(st.Dev)
		s.moved.Add(1)
	}
	if !known || s.later(st.CSec, st.CNsec) && !s.still(name, st, &e) {
		unknown(st)
	} else if e.fake(name, st, &s.Context) {
		s.hits.Add(1)
	}
	return nil
}

func (s *state) later(sec, nsec int64) bool { return sec > s.sec || sec == s.sec && nsec > s.nsec }

// still reports whether e is about a file whose inode has changed since the file was saved. It is not when the file
// was made after that. When nobody can say, it may not be if the file has got more names; more names alone mean
// nothing, because fakeroot does not notice link(2).
func (s *state) still(name []byte, st *archive.Stat, e *entry) bool {
	const setID = 0o6000
	sec, nsec, ok := s.Born(name)
	switch {
	case ok && s.later(sec, nsec):
		return false
	case !ok && st.Type() == list.Regular && st.Nlink > uint64(e.nlink):
		s.Warn(fmt.Errorf("%s: %w", list.Quote(name), errStale))
		return false
	case e.mode&setID&^st.Mode != 0 && e.fits(st): // fakeroot sets these bits on disk too, and writing clears them there
		e.mode &^= setID &^ st.Mode
		s.Warn(fmt.Errorf("%s: changed after %s was saved: without the setuid and setgid bits that are there", list.Quote(name), s.path))
	}
	return true
}

// Finish implements Source.
func (s *state) Finish() error {
	switch {
	case s.hits.Load() > 0 || s.Len() == 0 || s.moved.Load() == 0 && !s.whole.Load():
		return nil
	case s.moved.Load() == 0:
		s.Warn(fmt.Errorf("%s: none of its %d files is in this tree, which is then all root's: was the tree copied?", s.path, s.Len()))
		return nil
	}
	err := fmt.Errorf("%s: its inode numbers are in this tree, but on another device: was the file system mounted anew?", s.path)
	if s.whole.Load() {
		return cli.Hint(err, "if it is the same file system, replace dev=%x by dev=%x in %s", s.from.Load(), s.to.Load(), s.path)
	}
	s.Warn(err)
	return nil
}
