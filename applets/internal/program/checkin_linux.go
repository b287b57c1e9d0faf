package program

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// CheckIn returns why the program at path could not start with the directory root as its "/". A path without slash is
// looked for in the directories of pathEnv, any other is taken from "/". As the kernel does, and other than
// Check, it refuses text without "#!". The error is an ErrMissing if something is not there. It is nil if
// nothing is found, and does not look for shared libraries, for which the loader has a message.
//
// The rights are those of root in a user namespace that has no other IDs than the caller's.
func CheckIn(root, path, pathEnv string) error {
	fd, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: root, Err: err}
	}
	in := inside{fd, pathEnv}
	defer unix.Close(fd)
	if !strings.Contains(path, "/") {
		if path, err = in.look(path); err != nil {
			return fmt.Errorf("%w in PATH", err)
		}
	}
	if err := in.runnable(path); err != nil {
		return err
	}
	if err := check(in, path, nesting); err != nil {
		return err
	}
	return in.noexec(path)
}

// inside is the tree below a directory that is to be "/".
type inside struct {
	root    int
	pathEnv string
}

func (in inside) shells() bool { return false }

func (in inside) open(path string) (*os.File, error) {
	// Not blocked by a FIFO that has taken the file's place.
	return in.file(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
}

func (in inside) file(path string, flags int) (*os.File, error) {
	fd, err := openBelow(in.root, path, flags)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

func (in inside) exists(path string) error {
	f, err := in.file(path, unix.O_PATH)
	if err == nil {
		f.Close()
	}
	return err
}

func (in inside) runnable(path string) error {
	f, err := in.file(path, unix.O_PATH)
	if err != nil {
		return err
	}
	defer f.Close()
	fi, err := f.Stat()
	switch {
	case err != nil:
		return err
	case fi.IsDir():
		return errors.New("is a directory")
	case !fi.Mode().IsRegular():
		return errors.New("not a regular file")
	case fi.Mode()&0o111 == 0:
		return modeError{fmt.Sprintf("not executable (mode %04o)", fi.Mode().Perm())}
	case !Allowed(fi, 1):
		owner := fi.Sys().(*syscall.Stat_t)
		return modeError{fmt.Sprintf("not executable (mode %04o of %d:%d)", fi.Mode().Perm(), owner.Uid, owner.Gid)}
	}
	return nil
}

// A modeError is about a file without the right to execute it.
type modeError struct{ text string }

func (e modeError) Error() string { return e.text }

var errNoexec = errors.New("on a file system that is mounted noexec")

// noexec matters only where no overlay lies above: an overlay does not ask how what is below was mounted.
func (in inside) noexec(path string) error {
	f, err := in.file(path, unix.O_PATH)
	if err != nil {
		return err
	}
	defer f.Close()
	var st unix.Statfs_t
	if unix.Fstatfs(int(f.Fd()), &st) == nil && st.Flags&unix.ST_NOEXEC != 0 {
		return errNoexec
	}
	return nil
}

func (in inside) look(name string) (string, error) {
	for _, dir := range filepath.SplitList(in.pathEnv) {
		path := filepath.Join(dir, name)
		if filepath.IsAbs(dir) && in.runnable(path) == nil {
			return path, nil
		}
	}
	return "", ErrMissing
}

// Advice is what to do about an error of CheckIn, or "".
func Advice(err error) string {
	var l lack
	var mode modeError
	switch {
	case errors.As(err, &l) && errors.Is(l.why, ErrMissing) && l.what == "loader":
		return "copy it and the shared libraries into the tree (ldd shows them), or link the program statically"
	case errors.As(err, &l) && errors.Is(l.why, ErrMissing):
		return "put the interpreter into the tree, or name one in the first line that is there"
	case errors.Is(err, ErrCarriageReturn):
		return `take the carriage returns out: sed -i 's/\r$//' FILE`
	case errors.Is(err, errText):
		return `begin a script with a line like "#!/bin/sh"`
	case errors.As(err, &mode):
		return "make it executable with chmod a+rx"
	case errors.Is(err, errNoexec):
		return "put the tree on another file system, or mount that one again with exec"
	}
	return ""
}
