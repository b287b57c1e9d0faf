// Package fakeroot knows what fakeroot(1) pretends of files: from its save file, or from its daemon while that runs.
// A static program has to ask for itself, because it does not load the library that fakeroot puts in front of libc.
//
// Invariant: the owners on disk never pass for those of fakeroot. Where fakeroot cannot be asked, that is an error.
package fakeroot

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/archive"
	"github.com/ctbox/ctbox/applets/internal/cli"
	"github.com/ctbox/ctbox/applets/internal/list"
)

// Names in the environment.
const (
	Key       = "FAKEROOTKEY"            // of the daemon; set by fakeroot(1)
	StateFile = "CTBOX_FAKEROOT"         // save file to read
	session   = "CTBOX_FAKEROOT_SESSION" // that save file again, within the session that will write it
)

// A Source says what fakeroot pretends of files.
type Source interface {
	// Fake gives st the mode, type, owner and device number that fakeroot says the file has.
	Fake(name []byte, st *archive.Stat) error
	// Finish reports what only all files together show: that they are not those that fakeroot saw.
	Finish() error
}

// A Context is what a source needs to know of the tree, and where it complains.
type Context struct {
	Born func(name []byte) (sec, nsec int64, ok bool) // as archive.Dir.Born
	Warn func(error)                                  // of one file; the list goes on
}

// Open finds the source: the save file at path, unless that is ""; the daemon of the session of try-fakeroot that this
// program runs in, which knows what its save file does not yet; the save file in the environment; fakeroot's own
// daemon. It is nil when there is none of these.
func Open(path string, c Context) (Source, error) {
	const cure = "give fakeroot's save file with -F FILE, or the owners with --owner=0:0"
	named, key := os.Getenv(StateFile), os.Getenv(Key)
	switch {
	case path != "":
	case key != "" && (named == "" || InSession(named)):
		live, err := dial(key, c)
		if err != nil {
			return nil, cli.Hint(fmt.Errorf("runs under fakeroot but cannot see its owners: %w", err), cure)
		}
		return live, nil
	case named != "":
		path = named
	default:
		return nil, nil
	}
	s, err := open(path, c)
	if err != nil && path == named {
		err = cli.Hint(fmt.Errorf("$%s: %w", StateFile, err), cure)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// InSession reports whether this program runs in the session of try-fakeroot that will save to path.
func InSession(path string) bool {
	s := os.Getenv(session)
	return s != "" && os.Getenv(Key) != "" && filepath.Clean(s) == filepath.Clean(path)
}

// unknown makes st what fakeroot says of a file that it has not heard of: root made it.
func unknown(st *archive.Stat) { st.UID, st.GID = 0, 0 }

// fake gives st what e says, if e can be about that file.
func (e *entry) fake(name []byte, st *archive.Stat, c *Context) bool {
	if !e.fits(st) {
		c.Warn(fmt.Errorf("%s: %w", list.Quote(name), errStale))
		unknown(st)
		return false
	}
	st.Mode, st.UID, st.GID = e.mode, e.uid, e.gid
	st.Major, st.Minor = 0, 0
	if e.isDevice() {
		st.Major, st.Minor = unix.Major(e.rdev), unix.Minor(e.rdev)
	}
	return true
}

func (e *entry) isDevice() bool {
	t := e.mode & list.TypeMask
	return t == list.CharDevice || t == list.BlockDevice
}

// fits reports whether a file that is st on disk can be what e says. For devices, and whatever else mknod(2) makes,
// fakeroot leaves an empty regular file; a FIFO of mkfifo(3) is a real one.
func (e *entry) fits(st *archive.Stat) bool {
	real, said := st.Type(), e.mode&list.TypeMask
	switch said {
	case list.Regular, list.Directory, list.Symlink:
		return real == said
	}
	if real == list.Regular {
		return st.Size == 0
	}
	return real == said && (!e.isDevice() || st.Major == unix.Major(e.rdev) && st.Minor == unix.Minor(e.rdev))
}

var errStale = errors.New("is not what fakeroot saw at this inode: taken for a file of root's")
