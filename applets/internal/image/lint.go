package image

import (
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"path"
	"strings"

	"github.com/ctbox/ctbox/applets/internal/tarball"
)

// Limits of a name and of what is between two slashes, in bytes (Linux's PATH_MAX less the zero, NAME_MAX): no
// engine can unpack what is longer.
const (
	maxPath = 4095
	maxBase = 255
)

// readSize is how much of a layer is read at once, in bytes.
const readSize = 256 << 10

// lint reads a layer's tar to its end and tells what would make engines refuse it, unpack it outside the
// root, or drop something silently. again opens the same tar once more, for what one pass in constant
// memory cannot see: the targets of hard links, and names that are out of order.
func lint(r io.Reader, again func() (io.Reader, error)) error {
	seed := maphash.MakeSeed()
	c := checks{links: linkCheck{seed, map[uint64]bool{}}, names: nameCheck{seed, map[uint64]use{}}}
	if err := scan(r, c.first); err != nil {
		return err
	}
	if len(c.links.wanted) == 0 && !c.ordered.broken {
		return nil
	}
	if len(c.kept) == mostKept { // and perhaps not all
		r, err := again()
		if err != nil {
			return err
		}
		return scan(r, c.second)
	}
	for _, e := range c.kept {
		if err := c.second(e); err != nil {
			return err
		}
	}
	return nil
}

// checks are those that see more than one entry.
type checks struct {
	ordered orderCheck
	links   linkCheck
	names   nameCheck
	kept    []*entry // the first ones: to read a tar again takes as long as to read it
}

// mostKept bounds what is kept to some 10 MiB; tests lower it.
var mostKept = 16 << 10

func (c *checks) first(e *entry) error {
	if err := e.check(); err != nil {
		return err
	}
	if len(c.kept) < mostKept {
		c.kept = append(c.kept, e)
	}
	c.links.want(e)
	return c.ordered.add(e)
}

func (c *checks) second(e *entry) error {
	if c.ordered.broken {
		if err := c.names.add(e); err != nil {
			return err
		}
	}
	return c.links.add(e)
}

// scan calls see for each entry and checks that the archive is whole.
func scan(r io.Reader, see func(*entry) error) error {
	for t := tarball.NewReader(r); ; {
		h, err := t.Next()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = see(newEntry(h))
		}
		if err != nil {
			return err
		}
	}
}

// An entry is what the checks need of a tar header.
type entry struct {
	raw          string // its name as it stands there
	name         string // without "./" and the slash at the end
	key          string // name, or the name that this whiteout deletes
	deleted      bool   // it is a whiteout, also an opaque one
	kind         byte
	target       string
	major, minor uint32
}

func newEntry(h *tarball.Header) *entry {
	e := &entry{raw: string(h.Name), kind: h.Kind, target: string(h.Target), major: h.Major, minor: h.Minor}
	e.name = canonical(e.raw)
	e.key = e.name
	dir, base := path.Split(e.name)
	if rest, ok := strings.CutPrefix(base, tarball.WhiteoutPrefix); ok {
		e.deleted = true
		if base != tarball.OpaqueName {
			e.key = dir + rest
		}
	}
	return e
}

func canonical(name string) string {
	for strings.HasPrefix(name, "./") {
		name = strings.TrimLeft(name[2:], "/")
	}
	if name = strings.TrimRight(name, "/"); name == "" {
		return "."
	}
	return name
}

func (e *entry) isDir() bool { return e.kind == tarball.Directory && !e.deleted }

// errorf puts the name before an error: what is needed of it, for it may have a megabyte.
func (e *entry) errorf(format string, args ...any) error {
	return fmt.Errorf("%.1000q: %s", e.raw, fmt.Sprintf(format, args...))
}

// check is what an entry shows by itself.
func (e *entry) check() error {
	if err := safe(e.raw, e.name); err != nil {
		return e.errorf("%s", err)
	}
	switch {
	case e.kind < tarball.Regular || e.kind > tarball.FIFO:
		return e.errorf("entry of unknown type %q", e.kind)
	case e.name == "." && e.kind != tarball.Directory:
		return e.errorf("the root is not a directory")
	case e.deleted && !validBase(strings.TrimPrefix(path.Base(e.name), tarball.WhiteoutPrefix)):
		return e.errorf("deletes no name")
	case e.kind == tarball.Char && e.major == 0 && e.minor == 0:
		return e.errorf("character device 0:0, which deletes the name in an engine")
	case e.kind == tarball.Link:
		if err := safe(e.target, canonical(e.target)); err != nil {
			return e.errorf("hard link to %q: %s", e.target, err)
		}
	}
	return nil
}

func validBase(s string) bool { return s != "" && s != "." && s != ".." }

// safe refuses names that lead out of the root, or to the same file by another spelling.
func safe(raw, name string) error {
	switch {
	case raw == "":
		return errors.New("empty name")
	case strings.HasPrefix(raw, "/"):
		return errors.New("absolute name")
	case name == ".":
		return nil
	case len(name) > maxPath:
		return fmt.Errorf("name longer than %d bytes", maxPath)
	}
	for elem := range strings.SplitSeq(name, "/") {
		switch elem {
		case "..":
			return errors.New(`".." in the name`)
		case ".", "":
			return errors.New("name is not in its simplest form")
		}
		if len(elem) > maxBase {
			return fmt.Errorf("part of the name longer than %d bytes", maxBase)
		}
	}
	return nil
}

// orderCheck finds duplicates and names below a file as long as names come in increasing order, as they do
// in ctbox's own layers; its memory is bounded by the length of a name.
type orderCheck struct {
	last   string
	files  []string // earlier names that are not directories and may yet be a prefix of what comes
	broken bool
}

func (c *orderCheck) add(e *entry) error {
	if c.broken || e.name == "." {
		return nil
	}
	if e.key <= c.last && c.last != "" {
		if e.key == c.last {
			return e.errorf("is there twice")
		}
		c.broken = true
		return nil
	}
	c.last = e.key
	for len(c.files) > 0 {
		top := c.files[len(c.files)-1]
		if strings.HasPrefix(e.key, top+"/") {
			return e.errorf("is below %q, which is not a directory", top)
		}
		if e.key < top+"/" {
			break
		}
		c.files = c.files[:len(c.files)-1]
	}
	if !e.isDir() {
		c.files = append(c.files, e.key)
	}
	return nil
}

// linkCheck finds hard links whose target is not earlier in the same layer; its memory grows with the
// number of links only.
type linkCheck struct {
	seed   maphash.Seed
	wanted map[uint64]bool // true once the name was seen
}

func (c *linkCheck) want(e *entry) {
	if e.kind == tarball.Link {
		c.wanted[maphash.String(c.seed, canonical(e.target))] = false
	}
}

func (c *linkCheck) add(e *entry) error {
	if e.kind == tarball.Link && !c.wanted[maphash.String(c.seed, canonical(e.target))] {
		return e.errorf("hard link to %q, which is not before it in this layer", e.target)
	}
	key := maphash.String(c.seed, e.name)
	if _, ok := c.wanted[key]; ok && e.kind != tarball.Directory && !e.deleted {
		c.wanted[key] = true
	}
	return nil
}

// use is what a name was used for.
type use byte

const (
	asParent use = 1 << iota // something is below it
	asDir
	asOther
)

// nameCheck is orderCheck for any order; it remembers a 64-bit hash of each name and of each directory above
// one. Two of a million names share a hash with a probability of 3 in 10^8.
type nameCheck struct {
	seed maphash.Seed
	seen map[uint64]use
}

func (c *nameCheck) add(e *entry) error {
	if e.name == "." {
		return nil
	}
	key, as := maphash.String(c.seed, e.key), asOther
	if e.isDir() {
		as = asDir
	}
	switch old := c.seen[key]; {
	case old&(asDir|asOther) != 0:
		return e.errorf("is there twice")
	case old&asParent != 0 && as == asOther:
		return e.errorf("is not a directory, but has names below it")
	}
	c.seen[key] |= as
	for dir := path.Dir(e.key); dir != "." && dir != "/"; dir = path.Dir(dir) {
		hash := maphash.String(c.seed, dir)
		switch old := c.seen[hash]; {
		case old&asOther != 0:
			return e.errorf("is below %q, which is not a directory", dir)
		case old&asParent != 0:
			return nil // and so are those above it
		}
		c.seen[hash] |= asParent
	}
	return nil
}
