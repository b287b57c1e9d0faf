package list

import (
	"bytes"
	"io"
)

// A Union is several lists as one: of a name that several have, the line of the last counts, and a name that one deletes
// is gone, with all that those before it have below. It is the list of trees that are copied, or layers that are unpacked,
// one over another.
type Union struct {
	Inputs []*Input // the lowest first
	Out    io.Writer
	Null   bool

	sides []side
	heads []map[string]*head // of each list: the first names of groups of hard links
	line  []byte
}

// head is what has become of the first name of a group of hard links.
type head struct {
	kept bool   // it is in the result, under name
	name []byte // the first name that is
}

// Write writes the list.
func (u *Union) Write() error {
	for _, in := range u.Inputs {
		heads, err := in.heads()
		if err != nil {
			return err
		}
		u.heads = append(u.heads, heads)
		u.sides = append(u.sides, side{Scanner: in.Scan()})
	}
	for i := range u.sides {
		if err := u.next(i); err != nil {
			return err
		}
	}
	held := make([]Held, len(u.sides))
	var floors Floors
	var tree Tree
	for {
		name := u.lowest()
		if name == nil {
			return nil
		}
		for i := range u.sides {
			held[i] = u.sides[i].held(name)
		}
		if i := floors.Choose(name, held); i >= 0 {
			if _, err := tree.Add(&u.sides[i].rec); err != nil {
				return u.sides[i].Wrap(err)
			}
			if err := u.write(i); err != nil {
				return err
			}
		}
		for i := range u.sides {
			if held[i] != (Held{}) {
				if err := u.next(i); err != nil {
					return err
				}
			}
		}
	}
}

// heads are the names that links in the list lead to, or nil.
func (in *Input) heads() (map[string]*head, error) {
	any, err := in.HasLinks()
	if err != nil || !any {
		return nil, err
	}
	heads := map[string]*head{}
	for scan := in.Scan(); ; {
		rec, err := scan.Next()
		if err == io.EOF {
			return heads, nil
		}
		if err != nil {
			return nil, err
		}
		if rec.ID.Link != nil {
			heads[string(rec.ID.Link)] = &head{}
		}
	}
}

// next goes on to the next record of a list.
func (u *Union) next(i int) error {
	err := u.sides[i].advance()
	if err == nil {
		err = u.sides[i].parse()
	}
	return err
}

// lowest is the lowest of the names that the lists are at.
func (u *Union) lowest() (name []byte) {
	for i := range u.sides {
		if s := &u.sides[i]; !s.end && (name == nil || bytes.Compare(s.rec.Name, name) < 0) {
			name = s.rec.Name
		}
	}
	return name
}

func (s *side) held(name []byte) Held {
	if s.end || !bytes.Equal(s.rec.Name, name) {
		return Held{}
	}
	deleted := s.rec.ID.Deleted
	return Held{Is: !deleted, Deleted: deleted, Directory: s.rec.ID.Type() == Directory}
}

// write writes the record that a list is at. A link to a name that is gone leads to the first of its group that is not.
func (u *Union) write(i int) error {
	rec := &u.sides[i].rec
	if h := u.heads[i][string(rec.Name)]; h != nil {
		h.kept, h.name = true, bytes.Clone(rec.Name)
	}
	text := rec.Text
	if h := u.heads[i][string(rec.ID.Link)]; h != nil && rec.ID.Link != nil && !bytes.Equal(h.name, rec.ID.Link) {
		id := rec.ID
		if id.Link = h.name; !h.kept {
			h.kept, h.name = true, bytes.Clone(rec.Name)
		}
		text = id.AppendTo(append(append(u.line[:0], rec.Name...), ' '))
		u.line = text
	}
	sep := byte('\n')
	if u.Null {
		sep = 0
	}
	u.line = append(append(u.line[:0], text...), sep)
	_, err := u.Out.Write(u.line)
	return err
}
