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

const (
	whiteoutPrefix = ".wh."
	opaqueName     = ".wh..wh..opq"
)

var errDeletesNothing = errors.New("deletes no name")

// deletion is the record that an entry of a layer makes.
func deletion(name []byte, kind byte) ([]byte, byte, error) {
	dir := list.Parent(name)
	if dir == nil {
		return name, kind, nil
	}
	base := string(name[len(dir)+1:])
	deleted, ok := strings.CutPrefix(base, whiteoutPrefix)
	switch {
	case !ok:
		return name, kind, nil
	case base == opaqueName:
		return dir, opaque, nil
	}
	name = append(name[:len(dir)+1], deleted...)
	if list.CheckName(name) != nil {
		return name, 0, errDeletesNothing
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

// has is what one layer has of a name.
type has struct {
	entry, implied   bool
	kind             byte
	whiteout, opaque bool
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
	has := make([]has, len(s.layers))
	var above ancestors
	for {
		name := lowest(cursors)
		if name == nil {
			return nil
		}
		name = bytes.Clone(name)
		for i := range cursors {
			if err := cursors[i].take(name, &has[i]); err != nil {
				return err
			}
		}
		winner, floor := choose(has, above.floor(name))
		above.push(name, floor)
		if winner < 0 {
			continue
		}
		if err := s.index.put(&record{name, int64(winner), has[winner].kind}); err != nil {
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
func (c *cursor) take(name []byte, h *has) error {
	*h = has{}
	for !c.end && bytes.Equal(c.rec.name, name) {
		switch c.rec.kind {
		case whiteout:
			h.whiteout = true
		case opaque:
			h.opaque = true
		default:
			h.entry, h.implied, h.kind = true, c.rec.at == implied, c.rec.kind
		}
		if err := c.next(); err != nil {
			return err
		}
	}
	return nil
}

// choose finds the layer that a name is of, or -1, and the lowest layer that what is below the name can be of; floor
// is that of the name itself.
//
// A directory that a layer only implies is as a lower layer has it, if one does.
func choose(layers []has, floor int) (winner, below int) {
	winner, below = -1, floor
	for i := len(layers) - 1; i >= floor; i-- {
		h := &layers[i]
		if h.entry && h.kind != Directory {
			if winner < 0 {
				winner = i
			}
			return winner, max(below, i+1)
		}
		if h.entry && (winner < 0 || layers[winner].implied && !h.implied) {
			winner = i
		}
		if h.opaque {
			below = max(below, i)
		}
		if h.whiteout {
			return winner, max(below, i)
		}
	}
	return winner, below
}

// ancestors are the names that may be above the next one, in the order of lists (see list.Tree), and their floors.
type ancestors struct {
	last  []byte
	stack []ancestor
}

type ancestor struct{ length, floor int }

// floor is that of the directory that holds name.
func (a *ancestors) floor(name []byte) int {
	for n := len(a.stack); n > 0; n-- {
		top := a.stack[n-1].length
		if len(name) > top && bytes.Equal(name[:top], a.last[:top]) && name[top] <= '/' {
			break
		}
		a.stack = a.stack[:n-1]
	}
	length := len(list.Parent(name))
	for i := len(a.stack) - 1; i >= 0; i-- {
		if a.stack[i].length == length {
			return a.stack[i].floor
		}
	}
	return 0
}

func (a *ancestors) push(name []byte, floor int) {
	a.last = append(a.last[:0], name...)
	a.stack = append(a.stack, ancestor{len(name), floor})
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
