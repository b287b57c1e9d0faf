package loader

import (
	"io"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/archive"
	"github.com/ctbox/ctbox/applets/internal/list"
)

const (
	maxLinks = 40  // symbolic links in one path (path_resolution(7))
	maxName  = 255 // bytes of one component (NAME_MAX)
)

// A tree is a directory that stands for "/". Of its own, dir follows no symbolic link below it. They are followed here, by
// reading them, so none leads out of it.
type tree struct {
	dir *archive.Dir
	cwd string // where relative paths begin; "" is the root
}

func (t *tree) absolute(path string) string {
	if path == "" || path[0] == '/' {
		return path
	}
	return t.cwd + "/" + path
}

// walk follows path and returns the canonical name of what is there, which is no link. If passed is not nil, it is called
// with everything that the way comes by: links, directories, and what is there at last.
func (t *tree) walk(path string, passed func(name string)) (string, archive.Stat, error) {
	name, st, links := list.Root, archive.Stat{Mode: list.Directory}, 0
	if path == "" {
		return name, st, unix.ENOENT
	}
	for rest := t.absolute(path); rest != ""; {
		var part string
		part, rest, _ = strings.Cut(rest, "/")
		next := name + "/" + part
		switch {
		case part == "" || part == ".":
			continue
		case st.Type() != list.Directory:
			return name, st, unix.ENOTDIR
		case part == "..":
			name = name[:max(len(list.Root), strings.LastIndexByte(name, '/'))]
			continue
		case len(part) > maxName || len(next) > maxPath:
			return name, st, unix.ENAMETOOLONG
		}
		var err error
		if st, err = t.dir.Stat([]byte(next)); err != nil {
			return name, st, err
		}
		if passed != nil {
			passed(next)
		}
		if st.Type() != list.Symlink {
			name = next
			continue
		}
		target, err := t.dir.Readlink([]byte(next))
		if links++; links > maxLinks {
			err = unix.ELOOP
		}
		if err != nil {
			return name, st, err
		}
		if target[0] == '/' {
			name = list.Root
		}
		st.Mode, rest = list.Directory, string(target)+"/"+rest
	}
	return name, st, nil
}

// open opens the regular file at path. real is its canonical name. What is no regular file is errOther.
func (t *tree) open(path string) (f archive.RandomReader, real string, size int64, err error) {
	real, st, err := t.walk(path, nil)
	if err == nil && st.Type() != list.Regular {
		err = errOther
	}
	if err == nil {
		f, err = t.dir.OpenRandom([]byte(real), st)
	}
	return f, real, st.Size, err
}

// content returns what is in a file of at most so many bytes.
func (t *tree) content(path string, most int64) ([]byte, error) {
	f, _, size, err := t.open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text := make([]byte, min(size, most))
	n, err := f.ReadAt(text, 0)
	if err == io.EOF {
		err = nil
	}
	return text[:n], err
}

// names lists those names in a directory that match a pattern, sorted, without hidden ones. What cannot be read holds none.
func (t *tree) names(dir, pattern string) []string {
	name, _, err := t.walk(dir, nil)
	if err != nil {
		return nil
	}
	all, _ := t.dir.Names([]byte(name))
	all = slices.DeleteFunc(all, func(name string) bool {
		match, _ := path.Match(pattern, name) // not directories once more, with a slash
		return !match || name[0] == '.'
	})
	slices.Sort(all)
	return all
}
