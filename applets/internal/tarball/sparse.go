package tarball

import (
	"bytes"
	"errors"
	"fmt"
)

// maxExtents bounds the memory for the map of a sparse file to 16 MiB.
const maxExtents = 1 << 20

const sparsePrefix = "GNU.sparse."

// paxSparse is what PAX records say of a sparse file (GNU tar manual, "Storing Sparse Files"): versions 0.0 and 0.1 have
// the map here, 1.0 before the content.
type paxSparse struct {
	major, minor int64
	name         []byte
	size         int64
	extents      []Extent
	is           bool
	half         bool // an offset without its size
}

func (s *paxSparse) record(key string, value []byte) (ok bool) {
	s.is = true
	switch key {
	case "major":
		s.major, ok = decimal(value)
	case "minor":
		s.minor, ok = decimal(value)
	case "name":
		s.name, ok = value, bytes.IndexByte(value, 0) < 0
	case "size", "realsize": // readers differ in which of two they believe
		was := s.size
		s.size, ok = decimal(value)
		ok = ok && (was < 0 || was == s.size)
	case "offset", "numbytes":
		ok = s.number(value)
	case "map":
		ok = true
		for field := range bytes.SplitSeq(value, []byte(",")) {
			ok = ok && s.number(field)
		}
	case "numblocks":
		ok = true
	}
	return ok
}

// number adds a number of the map: offsets and sizes in turn.
func (s *paxSparse) number(text []byte) bool {
	n, ok := decimal(text)
	if s.half {
		s.extents[len(s.extents)-1].Size = n
	} else {
		s.extents = append(s.extents, Extent{Offset: n})
	}
	s.half = !s.half
	return ok && len(s.extents) <= maxExtents
}

var errSparse = errors.New("bad map of a sparse file")

// sparseMap finds what a sparse file is made of.
func (r *Reader) sparseMap(kind byte) error {
	h, s := &r.head, &r.extra.sparse
	var err error
	switch {
	case kind == sparse:
		err = r.oldMap()
	case h.kind() == Regular && s.is:
		if s.name != nil {
			h.Name = s.name
		}
		h.Size, h.Sparse = s.size, true
		h.Data = append(h.Data, s.extents...)
		switch version := [2]int64{s.major, s.minor}; {
		case s.size < 0, s.half:
			err = errSparse
		case version == [2]int64{1, 0}:
			err = r.newMap()
		case version != [2]int64{-1, -1} && version != [2]int64{0, 0} && version != [2]int64{0, 1}:
			err = errSparse
		}
	}
	if err == nil && h.Sparse {
		err = h.checkMap()
	}
	if err == errSparse {
		return fmt.Errorf("%w before byte %d", err, r.off)
	}
	return err
}

// checkMap proves that the map is of this file, and leaves out what is empty.
func (h *Header) checkMap() error {
	var at, stored int64
	kept := h.Data[:0]
	for _, e := range h.Data {
		if e.Offset < at || e.Size < 0 || e.Offset > h.Size || e.Size > h.Size-e.Offset {
			return errSparse
		}
		at = e.Offset + e.Size
		stored += e.Size
		if e.Size > 0 {
			kept = append(kept, e)
		}
	}
	h.Data = kept
	if stored != h.Stored {
		return errSparse
	}
	return nil
}

// oldMap reads the map of GNU's type S: four parts in the header, and 21 in each block that follows.
func (r *Reader) oldMap() error {
	h, ok := &r.head, false
	h.Sparse = true
	if h.Size, ok = number(r.block[483:495]); !ok {
		return errSparse
	}
	fields, more := r.block[386:482], r.block[482]
	for {
		for ; len(fields) > 0 && fields[0] != 0; fields = fields[24:] {
			offset, ok1 := number(fields[:12])
			size, ok2 := number(fields[12:24])
			if !ok1 || !ok2 || len(h.Data) == maxExtents {
				return errSparse
			}
			h.Data = append(h.Data, Extent{offset, size})
		}
		if more == 0 {
			return nil
		}
		if err := r.fill(r.block[:]); err != nil {
			return err
		}
		fields, more = r.block[:504], r.block[504]
	}
}

// newMap reads the map of version 1.0: how many parts, then their offsets and sizes, each number on a line, and zeros
// up to the end of the block.
func (r *Reader) newMap() error {
	h := &r.head
	want, got := int64(1), paxSparse{extents: h.Data}
	var line []byte
	for seen := int64(0); seen < want; {
		if h.Stored -= blockSize; h.Stored < 0 {
			return errSparse
		}
		if err := r.fill(r.block[:]); err != nil {
			return err
		}
		for _, c := range r.block {
			if seen == want {
				break
			}
			if c != '\n' {
				if line = append(line, c); len(line) > 20 {
					return errSparse
				}
				continue
			}
			n, ok := decimal(line)
			if seen == 0 {
				want = 1 + 2*n
				ok = ok && n <= maxExtents
			} else {
				ok = got.number(line)
			}
			if !ok {
				return errSparse
			}
			seen++
			line = line[:0]
		}
	}
	h.Data = got.extents
	return nil
}
