// Package output writes results to standard output, or to a file whole or not at all.
// Invariant: at every instant a target path holds the old file or the new one, complete; a kill
// leaves at most one temporary file beside it, which the next writer of the same target removes.
package output

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"
)

// A Target says where a result goes.
type Target struct {
	Path   string    // file to replace; "" or "-" is Stdout
	Stdout io.Writer // standard output
	Binary bool      // refuse to write to a terminal unless Path is "-"
}

// Write calls fill with a writer for the target. When fill and all that follows succeed, a regular file
// is complete, on disk (fsync of file and directory) and in place; otherwise the old one is untouched.
// Anything that is not a regular file (FIFO, device, /dev/stdout) is written in place; a symbolic link
// is followed. New files have mode 0666 less the umask; replaced ones keep their mode.
func (t Target) Write(fill func(io.Writer) error) error {
	if t.Path == "" || t.Path == "-" {
		if t.Binary && t.Path == "" && isTerminal(t.Stdout) {
			return errors.New("standard output is a terminal: use -o FILE or a pipe (-o - forces)")
		}
		return fill(t.Stdout)
	}
	path, err := resolve(t.Path)
	if err != nil {
		return err
	}
	if fd, ok := descriptor(path); ok {
		return intoDescriptor(fd, t.Path, fill)
	}
	fi, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && fi.Mode().IsRegular():
		return replace(path, fill)
	case err != nil:
		return err
	case fi.IsDir():
		return fmt.Errorf("%s: is a directory", t.Path)
	}
	return inPlace(path, fill)
}

// resolve follows symbolic links, so that the file they name is replaced and not the link. The last
// link may dangle: then the file it names is made. What it returns has no link in its directory part, so
// that "..", which other functions take away by its spelling, means what it means to the kernel.
func resolve(name string) (string, error) {
	const limit = 40 // as the kernel's own (path_resolution(7))
	path := name
	for range limit {
		dir, base := filepath.Split(path)
		if base == "" || base == "." || base == ".." {
			_, err := os.Stat(path)
			return path, err // a directory, or nothing that could be one
		}
		real, err := filepath.EvalSymlinks(cmp.Or(dir, "."))
		if err != nil {
			return "", &fs.PathError{Op: "open", Path: name, Err: Cause(err)}
		}
		path = filepath.Join(real, base)
		if _, ok := descriptor(path); ok {
			return path, nil
		}
		fi, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) || err == nil && fi.Mode()&fs.ModeSymlink == 0 {
			return path, nil
		}
		if err != nil {
			return "", err
		}
		to, err := os.Readlink(path)
		if err != nil {
			return "", err
		}
		if !filepath.IsAbs(to) {
			to = real + "/" + to
		}
		path = to
	}
	return "", &fs.PathError{Op: "open", Path: name, Err: unix.ELOOP}
}

// Cause is err without the operation and the file name that package os puts before it.
func Cause(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// descriptor reports whether path, without links but for the last, is one of our own open files: what
// Linux makes of /dev/stdout and /dev/fd/3. The link there leads to a file's name, but to open or replace
// that would lose what others wrote to the descriptor, and its position.
func descriptor(path string) (fd int, ok bool) {
	number, ok := strings.CutPrefix(path, fmt.Sprintf("/proc/%d/fd/", os.Getpid()))
	if !ok {
		return 0, false
	}
	fd, err := strconv.Atoi(number)
	return fd, err == nil
}

func intoDescriptor(fd int, name string, fill func(io.Writer) error) error {
	copied, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return fillAndClose(os.NewFile(uintptr(copied), name), fill)
}

func inPlace(path string, fill func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return fillAndClose(f, fill)
}

func fillAndClose(f *os.File, fill func(io.Writer) error) error {
	err := fill(f)
	if errors.Is(err, unix.EPIPE) {
		err = nil // the reader of a FIFO has seen enough, as with SIGPIPE on standard output
	}
	return errors.Join(err, f.Close())
}

func replace(path string, fill func(io.Writer) error) error {
	temp := make(chan string, 1)
	defer removeOnSignal(temp)()
	t, err := create(path)
	if err != nil {
		return err
	}
	temp <- t.Name()
	// The lock must outlive the rename: without this second descriptor it would end with the close before it.
	// And what fails on it fails under the name that was asked for.
	fd, err := unix.FcntlInt(t.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Cleanup()
		return &fs.PathError{Op: "dup", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	defer t.Cleanup()
	if err := fill(f); err != nil {
		return err
	}
	if err := t.CloseAtomicallyReplace(); err != nil {
		return renamed(err, t.Name(), path)
	}
	return syncDir(filepath.Dir(path))
}

// renamed makes an error of the temporary file or directory temp, or of a file in it, one of path, the
// name that the user knows.
func renamed(err error, temp, path string) error {
	if e, ok := err.(*os.LinkError); ok {
		err = &fs.PathError{Op: e.Op, Path: e.New, Err: e.Err}
	}
	if e, ok := err.(*fs.PathError); ok {
		if rest, ok := strings.CutPrefix(e.Path, temp); ok {
			return &fs.PathError{Op: e.Op, Path: path + rest, Err: e.Err}
		}
	}
	return err
}

// create makes the temporary file beside path and locks it, so that other writers know it is alive.
func create(path string) (*renameio.PendingFile, error) {
	dir := filepath.Dir(path)
	sweep(path)
	for {
		t, err := renameio.NewPendingFile(path, renameio.WithTempDir(dir),
			renameio.WithPermissions(0o666), renameio.WithExistingPermissions())
		if err != nil {
			sweep(path) // renameio leaves a file whose mode it cannot set
			return nil, &fs.PathError{Op: "create", Path: path, Err: Cause(err)}
		}
		if claim(t.File) {
			return t, nil
		}
		t.Cleanup()
	}
}

// claim locks a new temporary file or directory. It reports false when another writer's sweep came between its making
// and its lock.
func claim(temp *os.File) bool {
	err := unix.Flock(int(temp.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err != nil {
		return !errors.Is(err, unix.EWOULDBLOCK) // where a file system has no locks, sweep removes nothing either
	}
	_, gone := os.Lstat(temp.Name())
	return !errors.Is(gone, fs.ErrNotExist) // what cannot be looked at would be made without end
}

// sweep removes temporary files that killed writers of path left: those whose lock is free.
func sweep(path string) {
	old, _ := filepath.Glob(filepath.Join(quoteMeta(filepath.Dir(path)), "."+quoteMeta(filepath.Base(path))+"[0-9]*"))
	for _, name := range old {
		if !isTemp(path, name) {
			continue
		}
		f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		if err != nil {
			continue
		}
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			os.RemoveAll(name) // a directory if its target is one
		}
		f.Close()
	}
}

// syncDir makes a rename durable: renameio leaves that to the caller.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return nil // a directory that can be written but not read
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, unix.EINVAL) {
		return err
	}
	return nil
}
