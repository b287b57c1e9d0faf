package overlay

import (
	"errors"
	"io/fs"
	"slices"

	"github.com/ctbox/ctbox/applets/internal/list"
)

// findMembers looks for hard links of the lower directory that the upper one breaks: a file that is written to becomes
// a copy, and its other names are no longer links to it, which is a change to their records. Those names, and the
// directories above them, are the members, where the upper directory does not have them.
//
// That takes a walk over the lower directory, and memory for these names, but only if there is such a link.
func (c *Changes) findMembers() error {
	broken := map[inode]bool{}
	err := c.walk(func(name []byte, f *found) error {
		if f.up == list.Socket {
			c.Warn("%s: socket left out", list.Quote(name))
		}
		if f.node != (inode{}) {
			broken[f.node] = true
		}
		return nil
	})
	if err != nil || len(broken) == 0 {
		return err
	}
	if c.members, err = c.namesOf(broken); err != nil {
		return err
	}
	var shown []string
	err = c.withMembers(func(name []byte, f *found) error {
		if f != nil {
			return nil // the upper directory has it, or has deleted it
		}
		for ; name != nil; name = list.Parent(name) {
			shown = append(shown, string(name))
		}
		return nil
	})
	slices.Sort(shown)
	c.members = slices.Compact(shown)
	return err
}

// namesOf are the names of files in the lower directory. What cannot be read there could not be in a list either.
func (c *Changes) namesOf(nodes map[inode]bool) (names []string, err error) {
	err = c.Lower.Walk(false, func(name []byte) error {
		st, err := c.Lower.Stat(name)
		if err != nil || st.Nlink < 2 || !nodes[inode{st.Dev, st.Ino}] || c.skips(name) {
			return explain(name, err)
		}
		f, err := c.Lower.Open(name, st)
		switch {
		case err == nil:
			names = append(names, string(name))
			err = f.Close()
		case errors.Is(err, fs.ErrPermission):
			err = nil
		}
		return explain(name, err)
	}, func(error) {})
	return names, err
}
