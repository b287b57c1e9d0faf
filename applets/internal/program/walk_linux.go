package program

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

const maxLinks = 40 // symbolic links in one path (path_resolution(7))

// A walk follows a path below a directory that stands for "/". It takes one component after the other rather than
// openat2(2) with RESOLVE_IN_ROOT, because it is to name the link that leads nowhere; and it needs no kernel or
// filter that knows that call. A link is followed only by reading it, and ".." goes back to a directory that
// was passed, so nothing leads out.
type walk struct {
	dirs  []int    // open, the root first
	names []string // how they were reached: one less
	rest  []string // still to go

	links  int
	whole  dangling // the link that the path itself is, if it is one
	last   dangling // the link that was followed last
	ofLast int      // so many of rest are of its target
}

// openBelow opens path with flags as if root were "/".
func openBelow(root int, path string, flags int) (int, error) {
	w := walk{dirs: []int{root}, rest: parts(path)}
	defer func() { w.back(1) }()
	for len(w.rest) > 0 {
		if err := w.step(); err != nil {
			return -1, err
		}
	}
	// Not through the descriptor that is open, because that would need /proc.
	at, name := root, "."
	if n := len(w.names); n > 0 {
		at, name = w.dirs[n-1], w.names[n-1]
	}
	return unix.Openat(at, name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
}

// back closes all but the first so many directories.
func (w *walk) back(n int) {
	for _, fd := range w.dirs[n:] {
		unix.Close(fd)
	}
	w.dirs, w.names = w.dirs[:n], w.names[:n-1]
}

// step takes the next component.
func (w *walk) step() error {
	name := w.rest[0]
	w.rest = w.rest[1:]
	w.ofLast--
	if name == ".." {
		w.back(max(1, len(w.dirs)-1))
		return nil
	}
	fd, err := unix.Openat(w.dirs[len(w.dirs)-1], name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	switch {
	case err == unix.ENOENT && w.ofLast >= 0:
		return w.last
	case err == unix.ENOENT && w.whole.target != "":
		return w.whole
	case err == unix.ENOENT:
		return ErrMissing
	case err == unix.EACCES:
		return fmt.Errorf("/%s: %w", strings.Join(w.names, "/"), err)
	case err != nil:
		return err
	}
	if target, ok := readlink(fd); ok {
		unix.Close(fd)
		return w.follow(name, target)
	}
	w.dirs, w.names = append(w.dirs, fd), append(w.names, name)
	return nil
}

func (w *walk) follow(name, target string) error {
	if w.links++; w.links > maxLinks {
		return unix.ELOOP
	}
	w.last = dangling{"/" + strings.Join(append(w.names, name), "/"), target}
	if w.links == 1 && len(w.rest) == 0 {
		w.last.name = "" // the caller names it
		w.whole = w.last
	}
	if strings.HasPrefix(target, "/") {
		w.back(1)
	}
	added := parts(target)
	w.rest, w.ofLast = slices.Concat(added, w.rest), len(added)
	return nil
}

// readlink reads the link that is open with O_PATH; of anything else it says that it is none.
func readlink(fd int) (string, bool) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", buf)
	if err != nil {
		return "", false
	}
	return string(bytes.TrimRight(buf[:n], "\x00")), true
}

// parts are the components of path that lead on.
func parts(path string) []string {
	var names []string
	for name := range strings.SplitSeq(path, "/") {
		if name != "" && name != "." {
			names = append(names, name)
		}
	}
	return names
}

// A dangling is an ErrMissing by way of a symbolic link.
type dangling struct{ name, target string } // name is "" for the path that was asked for

func (d dangling) Error() string {
	if d.name == "" {
		return "symlink to " + d.target + ", which is not there"
	}
	return d.name + " is a symlink to " + d.target + ", which is not there"
}

func (d dangling) Unwrap() error { return ErrMissing }
