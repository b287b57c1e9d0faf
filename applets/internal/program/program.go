// Package program finds programs, and says whether they can start.
// Invariant: the current directory is never searched, whatever PATH says.
package program

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrMissing is the error for a name that is no program here.
var ErrMissing = errors.New("no such program")

// Look returns the path of a program: name itself if it has a slash, otherwise its place in the PATH of the
// environment. Only regular files that this user may execute are programs. Elements of PATH that are
// empty or relative are passed over (CVE-2025-47906 is what comes of the names "", "." and ".." there).
func Look(name string) (string, error) {
	switch {
	case name == "" || name == "." || name == "..":
		return "", ErrMissing
	case strings.Contains(name, "/"):
		return name, runnable(name)
	}
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if !filepath.IsAbs(dir) {
			continue
		}
		path := filepath.Join(dir, name)
		if runnable(path) == nil {
			return path, nil
		}
	}
	return "", ErrMissing
}

// runnable uses the effective user, as execve(2) does, and finds file systems mounted noexec too.
func runnable(path string) error {
	fi, err := os.Stat(path)
	switch {
	case err != nil || !fi.Mode().IsRegular():
		return ErrMissing
	case unix.Faccessat(unix.AT_FDCWD, path, unix.X_OK, unix.AT_EACCESS) != nil:
		return ErrMissing
	case fi.Mode()&0o111 == 0: // not every system denies root this
		return ErrMissing
	}
	return nil
}

// exists says whether a file that a program needs to start is there.
func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
