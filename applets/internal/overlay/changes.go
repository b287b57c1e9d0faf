// Package overlay tells what was changed in an overlay file system, from its upper directory, as the list of a layer.
// The rules are those of Documentation/filesystems/overlayfs.rst in the kernel's source.
//
// Invariant: the list is the one that listdiff gives for a list of the lower directory and a list of the mounted tree,
// though neither is made: only what is in the upper directory is read, and what it stands for in the lower one.
package overlay

import (
	"errors"
	"fmt"
	"io"

	"github.com/ctbox/ctbox/applets/internal/archive"
	"github.com/ctbox/ctbox/applets/internal/list"
)

// Changes compares the two directories of an overlay. Neither may be written to meanwhile.
type Changes struct {
	Upper, Lower *archive.Dir
	// Skip are canonical names where something else was mounted: they are not looked at, and nothing below them. A
	// directory that the lower one lacks and that only leads to them is not there either.
	Skip []string
	Null bool                             // records end in NUL, so that the list can hold any name
	Warn func(format string, args ...any) // of what is legal and nearly always an accident

	members []string // see findMembers
}

// List writes the list. As no layer could hold them, sockets count as not there, and names that begin ".wh." are an error.
func (c *Changes) List(w io.Writer) error {
	if err := c.findMembers(); err != nil {
		return err
	}
	base, err := c.identify("lower", func(f *found) bool { return packable(f.low) }, func() archive.Source {
		return &before{c.shared(), c.members}
	})
	if err != nil {
		return err
	}
	defer base.Close()
	now, err := c.identify("changes", func(f *found) bool { return packable(f.up) }, c.Source)
	if err != nil {
		return err
	}
	defer now.Close()
	d := list.Diff{Base: base, New: now, Out: w, Null: c.Null, Warn: c.Warn}
	_, err = d.Layer()
	return err
}

// packable reports whether there is something of this type that a layer can hold.
func packable(kind uint32) bool { return kind != 0 && kind != list.Socket }

// Source is where the files of the list are.
func (c *Changes) Source() archive.Source {
	m := c.shared()
	return &m
}

func (c *Changes) shared() merged { return merged{c.Upper.Share(), c.Lower.Share()} }

// identify makes the list of those names that are wanted, and of the members.
func (c *Changes) identify(file string, want func(*found) bool, open func() archive.Source) (*list.Input, error) {
	var draft list.Draft
	var first error
	identify := archive.Identify{
		Open:  func() (archive.Source, error) { return open(), nil },
		Null:  c.Null,
		Write: func(records []byte) error { _, err := draft.Write(records); return err },
		Fail: func(err error) {
			if first == nil {
				first = err
			}
		},
	}
	err := identify.Run(func(each func([]byte) error) error {
		return c.withMembers(func(name []byte, f *found) error {
			if f != nil && !want(f) {
				return nil
			}
			return each(name)
		})
	})
	in := draft.Input(file, c.Null)
	if err = errors.Join(err, first); err != nil {
		in.Close()
	}
	return in, err
}

// withMembers is walk, with the members in their places; found is nil for a name that walk does not come to.
func (c *Changes) withMembers(each func(name []byte, f *found) error) error {
	rest := c.members
	until := func(name []byte) error {
		for len(rest) > 0 && (name == nil || rest[0] < string(name)) {
			if err := each([]byte(rest[0]), nil); err != nil {
				return err
			}
			rest = rest[1:]
		}
		return nil
	}
	err := c.walk(func(name []byte, f *found) error {
		if err := until(name); err != nil {
			return err
		}
		if len(rest) > 0 && rest[0] == string(name) {
			rest = rest[1:]
		}
		return each(name, f)
	})
	if err != nil {
		return err
	}
	return until(nil)
}

// skips reports whether name is one of Skip or below.
func (c *Changes) skips(name []byte) bool {
	for _, s := range c.Skip {
		if string(name) == s || list.Below(name, []byte(s)) {
			return true
		}
	}
	return false
}

// leads reports whether one of Skip is below directory name.
func (c *Changes) leads(name []byte) bool {
	for _, s := range c.Skip {
		if list.Below([]byte(s), name) {
			return true
		}
	}
	return false
}

func explain(name []byte, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", list.Quote(name), err)
}
