// Package loader finds the shared libraries of ELF programs as ld.so(8) and musl's loader would, without running
// either: for any machine, in a tree that need not be this one's.
// Invariants: nothing outside the tree is read, and no file, whatever is in it, takes more than a bounded amount of
// memory or time.
package loader

import (
	"os"
	"path"
	"strings"

	"github.com/ctbox/ctbox/applets/internal/archive"
)

// A Report is told what a Finder finds.
type Report struct {
	// Library is called once for each library, with its absolute path as seen from the root of the tree.
	Library func(path string)
	// Passed may be nil. It is called for each library with its canonical name and with those of the directories
	// and symbolic links on the way there, more than once for some.
	Passed func(name string)
	// Fail is called with what is wrong with one program or library.
	Fail func(err error)
}

// A Finder looks for libraries in one tree.
type Finder struct {
	tree
	Report

	libraries map[string]*library // by path: many programs ask for the same
	held      int                 // bytes of them, roughly
	told      map[string]bool     // libraries, and what is wrong with them

	asked  bool                // whether the rest is known
	cached map[string][]string // paths by name
	conf   []string            // directories that would be in the cache, if there is none
	libs   []string            // directories for one architecture, as Debian has them, below / and /usr
}

// maxHeld bounds what is remembered of libraries, in bytes. At that it is forgotten, and read again.
const maxHeld = 16 << 20

// Open opens the tree in the directory root, or that of the host if it is "". Then relative paths begin at the current
// directory, elsewhere at the root.
func Open(root string, report Report) (*Finder, error) {
	cwd := ""
	if root == "" {
		var err error
		if cwd, err = os.Getwd(); err != nil {
			return nil, err
		}
		root = "/"
	}
	dir, err := archive.OpenDir(root)
	if err != nil {
		return nil, err
	}
	f := &Finder{tree: tree{dir, cwd}, Report: report}
	f.libraries, f.told = map[string]*library{}, map[string]bool{}
	return f, nil
}

// Close releases the tree.
func (f *Finder) Close() error { return f.dir.Close() }

// A library is what is at a path, or why nothing is.
type library struct {
	*object
	real string // canonical name of the file
	err  error
}

func (f *Finder) read(path string) *library {
	file, real, _, err := f.open(path)
	if err != nil {
		return &library{err: err}
	}
	defer file.Close()
	o, err := readObject(file)
	return &library{o, real, err}
}

// library is read with a memory.
func (f *Finder) library(path string) *library {
	l := f.libraries[path]
	if l != nil {
		return l
	}
	if f.held > maxHeld {
		clear(f.libraries)
		f.held = 0
	}
	l = f.read(path)
	f.libraries[path] = l
	f.held += 500 + len(path)
	if l.err == nil {
		f.held += 100*len(l.needed) + len(l.rpath) + len(l.runpath)
	}
	return l
}

// once reports whether it is the first time that this is told.
func (f *Finder) once(what string) bool {
	told := f.told[what]
	f.told[what] = true
	return !told
}

// found reports the library at path.
func (f *Finder) found(path string) {
	name := f.tidy(path)
	if !f.once(name) {
		return
	}
	f.Library(name)
	if f.Passed != nil {
		f.walk(path, f.Passed)
	}
}

// tidy is path without "..", which only the tree can resolve, because what stands before it may be a link.
func (f *Finder) tidy(name string) string {
	if i := strings.LastIndex(name+"/", "/../"); i >= 0 {
		i += len("/..")
		if dir, _, err := f.walk(name[:i], nil); err == nil {
			name = dir[1:] + name[i:]
		}
	}
	return path.Clean("/" + name)
}
