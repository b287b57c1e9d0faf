package overlay

import (
	"bytes"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"github.com/ctbox/ctbox/applets/internal/archive"
	"github.com/ctbox/ctbox/applets/internal/list"
)

// found is what the two directories have under one name.
type found struct {
	up, low uint32 // type of file, 0 if there is none; up is what the mounted tree shows, but for what only low has
	node    inode  // of a regular file of low with several names
	below   state  // of this directory
}

// A state is how a directory of the mounted tree comes about.
type state uint8

const (
	none   state = iota // no directory
	shared              // the lower one, changed by what the upper one has
	opaque              // the upper one, which hides the lower one
	upper               // the upper one; there is no lower one
	gone                // a lower one that is deleted or hidden
)

type inode struct{ dev, ino uint64 }

// walk calls each, in list order, with every name that the upper directory has, and with those that it deletes: the
// topmost, and below them files with several names. A name is valid until each returns.
//
// Memory is that of the names in the directories from the root to the current one.
func (c *Changes) walk(each func(name []byte, f *found) error) error {
	name := []byte(list.Root)
	if err := each(name, &found{up: list.Directory, low: list.Directory, below: shared}); err != nil {
		return err
	}
	return c.walkBelow(name, shared, each)
}

func (c *Changes) walkBelow(dir []byte, s state, each func([]byte, *found) error) error {
	keys, err := c.read(dir, s)
	if err != nil {
		return explain(dir, err)
	}
	path := append(dir, '/')
	for _, key := range keys {
		base, isBelow := strings.CutSuffix(key, "/")
		name := append(path, base...)
		if c.skips(name) {
			continue
		}
		f, err := c.look(name, s, isBelow)
		switch {
		case err != nil:
			return explain(name, err)
		case isBelow && f.below != none:
			err = c.walkBelow(name, f.below, each)
		case !isBelow && f.counts(s):
			if err = checkName(name); err == nil {
				err = each(name, f)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// counts reports whether the name is to be told of in a directory of state s.
func (f *found) counts(s state) bool {
	if s == gone {
		return f.node != inode{}
	}
	return f.up != 0 || f.low != 0
}

var errReserved = errors.New(`names that begin ".wh." are reserved for deletions in layers`)

func checkName(name []byte) error {
	if list.IsWhiteout(name) {
		return explain(name, errReserved)
	}
	return nil
}

// read gives the names in a directory of the mounted tree, sorted. With a slash, a name has the place in list order of
// what is below it; whatever could hide a directory has such a place, too.
func (c *Changes) read(dir []byte, s state) (keys []string, err error) {
	if s != gone {
		keys, err = c.Upper.Names(dir)
	}
	if s == shared || s == opaque {
		for _, name := range keys {
			keys = append(keys, strings.TrimSuffix(name, "/")+"/")
		}
	}
	if err == nil && (s == gone || s == opaque) {
		var low []string
		low, err = c.Lower.Names(dir)
		keys = append(keys, low...)
		if s == gone && errors.Is(err, fs.ErrPermission) {
			err = nil // only file names that are elsewhere too would matter
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys), err
}

// look looks at a name in a directory of state s, or only at what is below it.
func (c *Changes) look(name []byte, s state, below bool) (*found, error) {
	f := new(found)
	if s != upper {
		st, err := statIn(c.Lower, name)
		if err != nil {
			return nil, err
		}
		if !isWhiteout(&st) {
			f.low = st.Type()
		}
		if f.low == list.Regular && st.Nlink > 1 {
			f.node = inode{st.Dev, st.Ino}
		}
	}
	if s == gone {
		if f.low == list.Directory {
			f.below = gone
		}
		return f, nil
	}
	st, err := statIn(c.Upper, name)
	if err != nil {
		return nil, err
	}
	if !isWhiteout(&st) {
		f.up = st.Type()
	}
	if f.up == list.Regular && !below {
		err = c.checkFile(name, st.Size, f)
	}
	if err == nil && (f.up == list.Directory || f.low == list.Directory) {
		err = c.mark(name, s, f)
	}
	return f, err
}

// statIn is Stat with the zero value for what is not there.
func statIn(d *archive.Dir, name []byte) (archive.Stat, error) {
	st, err := d.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return archive.Stat{}, nil
	}
	return st, err
}

// isWhiteout reports the file that stands for a deletion: a character device 0:0.
func isWhiteout(st *archive.Stat) bool {
	return st.Type() == list.CharDevice && st.Major == 0 && st.Minor == 0
}

// mark says what is below a name that is a directory, in one or both.
func (c *Changes) mark(name []byte, s state, f *found) error {
	if f.up != list.Directory {
		f.below = gone
		return nil
	}
	if _, has, err := c.Upper.Mark(name, "trusted.overlay.redirect"); err != nil || has {
		return errors.Join(err, errRedirect)
	}
	if f.low != list.Directory {
		f.below = upper
		if !c.leads(name) {
			return nil
		}
		err := c.walkBelow(bytes.Clone(name), upper, func([]byte, *found) error { return errHolds })
		if err == errHolds {
			return nil
		}
		*f = found{} // neither is a symbolic link gone that had to make way for a mount point
		return err
	}
	value, _, err := c.attribute(name, "opaque")
	f.below = shared
	if s == opaque || value == "y" { // "x" only says that whiteouts may be attributes
		f.below = opaque
	}
	return err
}

var (
	errHolds    = errors.New("holds something")
	errRedirect = errors.New("directory was renamed in an overlay with redirect_dir: not supported")
	errMetacopy = errors.New("file was changed in an overlay with metacopy: not supported")
)

// checkFile finds the other form of whiteout, an empty file with an attribute, and refuses a file whose content is
// elsewhere. That, like redirect, the kernel does not do with "userxattr".
func (c *Changes) checkFile(name []byte, size int64, f *found) error {
	if _, has, err := c.Upper.Mark(name, "trusted.overlay.metacopy"); err != nil || has {
		return errors.Join(err, errMetacopy)
	}
	if size > 0 {
		return nil
	}
	_, has, err := c.attribute(name, "whiteout")
	if has {
		f.up = 0
	}
	return err
}

// attribute reads what overlayfs keeps of a name in the upper directory, mounted with "userxattr" or without.
func (c *Changes) attribute(name []byte, what string) (value string, has bool, err error) {
	value, has, err = c.Upper.Mark(name, "user.overlay."+what)
	if err == nil && !has {
		value, has, err = c.Upper.Mark(name, "trusted.overlay."+what)
	}
	return value, has, err
}
