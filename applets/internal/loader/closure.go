package loader

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/list"
)

// maxProbes bounds the paths at which libraries of one program are looked for. A thousand libraries in a hundred
// directories are fewer.
const maxProbes = 200_000

const (
	errMissing fault = "not found"
	errForeign fault = "only for another architecture"
	errProbes  fault = "there are too many places to look in"
)

// A closure is a program that is being loaded, with all that it needs.
type closure struct {
	*Finder
	name   string // of the program, as the user knows it
	main   *member
	loader string // path of the program's loader, or ""
	musl   bool   // whether that is musl's

	// By path, by each name under which one was needed, by DT_SONAME, and by canonical name behind a NUL.
	loaded map[string]*member
	queue  []*member // those whose needs are still to be loaded: breadth first
	probes int
}

// A member is a program or library in the process.
type member struct {
	*library
	path string  // where it was found: $ORIGIN
	by   *member // who needed it first, nil for the program
}

// Libraries reports the libraries of the program, or library, at path. What is neither has none.
func (f *Finder) Libraries(name string) {
	main := &member{library: f.read(f.absolute(name)), path: f.absolute(name)}
	switch {
	case main.err == errOther:
		return
	case main.err != nil:
		f.Fail(explain(list.Quote(name), main.err))
		return
	case main.interpreter != "":
		main.path = main.real[1:] // the kernel tells a program's loader what it is, not by which link it was called
	}
	c := &closure{Finder: f, name: list.Quote(name), main: main, loaded: map[string]*member{}}
	c.add(c.main, "")
	c.start()
	for c.queue = []*member{c.main}; len(c.queue) > 0; {
		m := c.queue[0]
		c.queue = c.queue[1:]
		for _, need := range m.needed {
			c.need(m, need)
			if c.probes > maxProbes {
				f.Fail(explain(c.name, errProbes))
				return
			}
		}
	}
}

// start loads the loader and finds out whose it is. A library names none, but one of musl needs it as
// libc.musl-ARCH.so.1.
func (c *closure) start() {
	c.loader = c.main.interpreter
	for _, need := range c.main.needed {
		if arch, ok := strings.CutPrefix(need, "libc.musl-"); ok && c.loader == "" {
			c.loader = "/lib/ld-musl-" + arch
		}
	}
	c.musl = strings.HasPrefix(path.Base(c.loader), "ld-musl-")
	if c.loader == "" {
		return
	}
	s := &search{closure: c, by: c.main, best: errMissing}
	if !s.at(c.loader) {
		c.fail(c.main, c.loader, s.best)
		return
	}
	c.found(s.got.path)
	c.add(s.got, c.loader) // what it needs it has loaded itself
}

// add puts m among what is loaded, as what was needed as name.
func (c *closure) add(m *member, name string) {
	names := []string{name, m.path, "\x00" + m.real}
	if !c.musl {
		names = append(names, m.soname)
	}
	for _, name := range names {
		if c.loaded[name] == nil && name != "" {
			c.loaded[name] = m
		}
	}
}

// need loads what m needs, unless it is there already.
func (c *closure) need(m *member, name string) {
	if c.loaded[name] != nil || c.musl && isMusl(name) {
		return
	}
	s := &search{closure: c, by: m, need: name, best: errMissing}
	if !s.run() {
		c.fail(m, name, s.best) // others that need it may know better where to look, as in ldd(1)
		return
	}
	if s.got == nil {
		return // maxProbes
	}
	c.found(s.got.path)
	if same := c.loaded["\x00"+s.got.real]; same != nil {
		c.loaded[name] = same
		return
	}
	c.add(s.got, name)
	c.queue = append(c.queue, s.got)
}

// fail reports that m does not get what it needs. What is said of a library is said once.
func (c *closure) fail(m *member, name string, err error) {
	who := c.name
	if m != c.main {
		who = list.Quote(c.tidy(m.path))
	}
	who += ": " + list.Quote(name)
	if m == c.main || c.once(who) {
		c.Fail(explain(who, err))
	}
}

func explain(what string, err error) error { return fmt.Errorf("%s: %w", what, err) }

// isMissing reports whether err says that nothing is there.
func isMissing(err error) bool { return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) }
