package tarball

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"

	"github.com/ctbox/ctbox/applets/internal/archive"
	"github.com/ctbox/ctbox/applets/internal/list"
)

// Kinds of records that are no entries, above all that are: a layer deletes the name, or all that layers below it have in the directory
// (image-spec layer.md, "Whiteouts").
const (
	whiteout = 'w'
	opaque   = 'o'
)

// Names of entries that delete (image-spec layer.md, "Whiteouts").
const (
	WhiteoutPrefix = ".wh."         // and the name that is deleted from the layers below
	OpaqueName     = ".wh..wh..opq" // deletes all that they have in the directory
)

// deletion is the record that an entry of a layer makes.
func deletion(name []byte, kind byte) ([]byte, byte, error) {
	dir := list.Parent(name)
	if dir == nil {
		return name, kind, nil
	}
	base := string(name[len(dir)+1:])
	deleted, ok := strings.CutPrefix(base, WhiteoutPrefix)
	switch {
	case !ok:
		return name, kind, nil
	case base == OpaqueName:
		return dir, opaque, nil
	}
	name = append(name[:len(dir)+1], deleted...)
	if list.CheckName(name) != nil {
		return name, 0, errors.New("deletes no name")
	}
	return name, whiteout, nil
}

// A Stack is what several layers make, each unpacked over those before it, without unpacking any.
type Stack struct {
	layers  []*Source
	index   index // the place of a record is its layer
	finders sync.Pool
}

// A Layer is one of a Stack, plain or compressed.
type Layer struct {
	Name   string // for messages
	DiffID string // "sha256:" and the digest of its plain content, or "" if that is not known
	Reader io.Reader
}

// NewStack joins layers, the lowest first. Their readers must stay usable as long as the stack is.
func NewStack(layers []Layer) (*Stack, error) {
	s := &Stack{}
	for _, l := range layers {
		layer, err := open(l.Reader, l.DiffID, true)
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("%s: %w", l.Name, err)
		}
		s.layers = append(s.layers, layer)
	}
	if err := s.join(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// HasRoot reports whether a layer has an entry for the root directory.
func (s *Stack) HasRoot() bool { return hasRoot(s) }

// Close releases what the stack holds.
func (s *Stack) Close() error {
	s.index.close()
	var all []error
	for _, layer := range s.layers {
		all = append(all, layer.Close())
	}
	return errors.Join(all...)
}

// join makes the index: it goes through all layers in step, by name.
func (s *Stack) join() error {
	cursors := make([]cursor, len(s.layers))
	for i, layer := range s.layers {
		cursors[i].from = section(&layer.index.sorted, 0)
		if err := cursors[i].next(); err != nil {
			return err
		}
	}
	held, kinds := make([]list.Held, len(s.layers)), make([]byte, len(s.layers))
	var floors list.Floors
	for {
		name := lowest(cursors)
		if name == nil {
			return nil
		}
		name = bytes.Clone(name)
		for i := range cursors {
			var err error
			if kinds[i], err = cursors[i].take(name, &held[i]); err != nil {
				return err
			}
		}
		winner := floors.Choose(name, held)
		if winner < 0 {
			continue
		}
		if err := s.index.put(&record{name, int64(winner), kinds[winner]}); err != nil {
			return err
		}
	}
}

// lowest is the lowest name that any cursor is at.
func lowest(cursors []cursor) (name []byte) {
	for i := range cursors {
		if c := &cursors[i]; !c.end && (name == nil || bytes.Compare(c.rec.name, name) < 0) {
			name = c.rec.name
		}
	}
	return name
}

// take sums up all records of name.
func (c *cursor) take(name []byte, h *list.Held) (kind byte, err error) {
	*h = list.Held{}
	for !c.end && bytes.Equal(c.rec.name, name) {
		switch c.rec.kind {
		case whiteout:
			h.Deleted = true
		case opaque:
			h.Opaque = true
		default:
			kind = c.rec.kind
			h.Is, h.Implied, h.Directory = true, c.rec.at == implied, kind == Directory
		}
		if err := c.next(); err != nil {
			return 0, err
		}
	}
	return kind, nil
}

// Walk calls each for all names, in list order.
func (s *Stack) Walk(each func(name []byte) error) error { return s.index.walk(each) }

// layer is where a name is.
func (s *Stack) layer(name []byte) (*Source, uint64, error) {
	f, ok := s.finders.Get().(*finder)
	if !ok {
		f = &finder{index: &s.index}
	}
	defer s.finders.Put(f)
	i, _, ok, err := f.find(name, int64(len(s.layers)))
	switch {
	case err != nil:
		return nil, 0, err
	case !ok:
		return nil, 0, fs.ErrNotExist
	}
	return s.layers[i], uint64(i), nil
}

// Stat is that of archive.Source.
func (s *Stack) Stat(name []byte) (st archive.Stat, err error) {
	layer, dev, err := s.layer(name)
	if err == nil {
		st, err = layer.Stat(name)
		st.Dev = dev
	}
	return st, err
}

// Readlink is that of archive.Source.
func (s *Stack) Readlink(name []byte) ([]byte, error) {
	layer, _, err := s.layer(name)
	if err != nil {
		return nil, err
	}
	return layer.Readlink(name)
}

// Xattrs is that of archive.Source.
func (s *Stack) Xattrs(name []byte) ([]archive.Xattr, error) {
	layer, _, err := s.layer(name)
	if err != nil {
		return nil, err
	}
	return layer.Xattrs(name)
}

// Open is that of archive.Source.
func (s *Stack) Open(name []byte, st archive.Stat) (archive.Content, error) {
	layer, _, err := s.layer(name)
	if err != nil {
		return nil, err
	}
	return layer.Open(name, st)
}
