package statcache

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/output"
)

// A File is a cache on disk, or the place for one.
type File struct {
	*os.File       // nil if there is none
	Size     int64 // bytes; 0 if there is nothing in it
}

// ErrForeign is about a file that is not a cache: it must be neither believed nor replaced.
var ErrForeign = errors.New("is not a cache: it is neither used nor replaced")

// Whoever can write a cache can say what is in files, so that of somebody else is not believed, unless it is root's.
var (
	errStranger = errors.New("belongs to another user: it is neither used nor replaced")
	errExposed  = errors.New("can be written by others: it is not used")
)

// Open opens the cache at path. There need not be one, but what is there must be a regular file that only this user or
// root can write, and no other program's.
func Open(path string) (*File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return new(File), nil
	}
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = errors.New("is not a regular file")
	}
	if err == nil && !begins(f) {
		err = ErrForeign
	}
	if err == nil {
		err = private(f)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &File{f, fi.Size()}, nil
}

// begins reports whether a file begins as caches of all versions do, or ends before one could tell.
func begins(f io.ReaderAt) bool {
	var first [len(kind)]byte
	n, _ := f.ReadAt(first[:], 0)
	return string(first[:n]) == kind[:n]
}

// private reports who else can have written a file. An ACL that lets others write shows as a right of the group.
func private(f *os.File) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	switch {
	case st.Uid != 0 && int(st.Uid) != os.Geteuid():
		return errStranger
	case st.Mode&othersWrite != 0:
		return errExposed
	}
	return nil
}

const othersWrite = 0o022

// Scan reads the cache from its begin. There must be one.
func (f *File) Scan() *Scanner { return Scan(f, f.Size) }

// Close closes the file, if there is one.
func (f *File) Close() error {
	if f.File == nil {
		return nil
	}
	return f.File.Close()
}

// ErrKept says that the next cache would be as the last one, or cannot be told.
var ErrKept = errors.New("the cache stays as it is")

// Replace calls run with the cache at path and with what is to take its place, unless saved is an error. What is wrong
// with either is only told to warn, without path: then run gets a file without content, or nothing that it writes is kept.
func Replace(path string, warn func(error), run func(old *File, next *Next) (err, saved error)) error {
	old, err := Open(path)
	if errors.Is(err, errExposed) {
		warn(err)
		old, err = new(File), nil // the next one is for this user alone
	}
	if err != nil {
		warn(output.Cause(err))
		err, _ = run(new(File), nil)
		return err
	}
	defer old.Close()
	next := Next{path: path}
	err, saved := run(old, &next)
	if saved = next.end(saved); saved != nil && !errors.Is(saved, ErrKept) {
		warn(output.Cause(saved))
	}
	return err
}

// Next is a cache that is being written. There is no file of it before the first Write: most caches stay as they are.
type Next struct {
	path    string
	file    io.Writer
	verdict chan error // nil if there is to be a cache
	result  chan error
}

// File is the file that will be in place of the cache, or nil if it has not been begun.
func (n *Next) File() *os.File {
	f, _ := n.file.(*os.File)
	return f
}

func (n *Next) Write(p []byte) (int, error) {
	if n.result == nil {
		n.begin()
	}
	if n.file == nil {
		return 0, ErrKept // end says why
	}
	return n.file.Write(p)
}

func (n *Next) begin() {
	n.verdict, n.result = make(chan error), make(chan error, 1)
	opened := make(chan io.Writer)
	go func() {
		defer close(opened)
		n.result <- output.Target{Path: n.path}.Write(func(w io.Writer) error {
			if err := deny(w); err != nil {
				return err
			}
			opened <- w
			return <-n.verdict
		})
	}()
	n.file = <-opened
}

// deny takes from others the right to write, which umask or the last cache may have given.
func deny(w io.Writer) error {
	f, ok := w.(*os.File)
	if !ok {
		return nil
	}
	fi, err := f.Stat()
	if err != nil || fi.Mode()&othersWrite == 0 {
		return err
	}
	return f.Chmod(fi.Mode().Perm() &^ othersWrite)
}

// end puts the cache in its place if err is nil.
func (n *Next) end(err error) error {
	if n.file != nil {
		n.verdict <- err
	}
	if n.result != nil {
		err = <-n.result
	}
	return err
}
