package tarball

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ctbox/ctbox/applets/internal/archive"
)

// extra is what stands before the header of an entry and goes for it, and the buffers for it.
type extra struct {
	pax       []byte
	long      []byte // GNU's long name, and its NUL
	target    []byte // and target
	scratch   []byte
	full      []byte
	times     int // how many PAX headers there are
	sparse    paxSparse
	hasLong   bool
	hasTarget bool
}

func (e *extra) reset() {
	e.times, e.hasLong, e.hasTarget = 0, false, false
	e.pax = e.pax[:0]
	e.sparse = paxSparse{major: -1, minor: -1, size: -1, extents: e.sparse.extents[:0]}
}

// room is memory for the content of a header of kind.
func (e *extra) room(kind byte, size int) []byte {
	at := &e.scratch
	switch kind {
	case extended, extendedSun:
		at = &e.pax
		e.times++
	case longName:
		at, e.hasLong = &e.long, true
	case longTarget:
		at, e.hasTarget = &e.target, true
	}
	*at = slices.Grow((*at)[:0], size)[:size]
	return *at
}

// name is the name in a header block. POSIX splits one that is long; GNU has other things in the place of its first part.
func (e *extra) name(b *[blockSize]byte) []byte {
	name, prefix := until0(b[:100]), until0(b[345:500])
	e.full = e.full[:0]
	if string(b[257:263]) == "ustar\x00" && len(prefix) > 0 {
		e.full = append(append(e.full, prefix...), '/')
	}
	e.full = append(e.full, name...)
	return e.full
}

// apply puts what comes before a header in the place of what stands in it.
func (e *extra) apply(h *Header) error {
	if e.hasLong {
		h.Name = until0(e.long)
	}
	if e.hasTarget {
		h.Target = until0(e.target)
	}
	switch {
	case e.times > 1:
		return errors.New("two extended headers for one entry") // which programs read in different ways
	case e.hasLong && len(h.Name) == 0, e.hasTarget && len(h.Target) == 0: // others take the short one then
		return errors.New("empty long name")
	}
	attrs := false
	err := records(e.pax, func(key string, value []byte) error {
		attrs = attrs || strings.HasPrefix(key, xattrPrefix)
		if len(value) == 0 { // what the header says is to go
			return nil
		}
		ok := false
		if name, is := strings.CutPrefix(key, sparsePrefix); is {
			ok = e.sparse.record(name, value)
		} else {
			ok = h.record(key, value)
		}
		if !ok {
			return fmt.Errorf("bad value of %q", key)
		}
		return nil
	})
	if err == nil && attrs {
		h.Xattrs, err = e.xattrs()
	}
	return err
}

const xattrPrefix = "SCHILY.xattr."

// xattrs gives the attributes as if they were read from a file system.
func (e *extra) xattrs() ([]archive.Xattr, error) {
	return archive.SelectXattrs(func(each func(string, []byte)) error {
		return records(e.pax, func(key string, value []byte) error {
			if name, ok := strings.CutPrefix(key, xattrPrefix); ok {
				each(name, value)
			}
			return nil
		})
	})
}

// record takes a PAX record of an entry; those that say nothing of a file system are passed over.
func (h *Header) record(key string, value []byte) (ok bool) {
	switch key {
	case "path":
		h.Name, ok = value, bytes.IndexByte(value, 0) < 0
	case "linkpath":
		h.Target, ok = value, bytes.IndexByte(value, 0) < 0
	case "size":
		h.Size, ok = decimal(value)
	case "uid":
		h.UID, ok = id(value)
	case "gid":
		h.GID, ok = id(value)
	case "mtime":
		h.Sec, h.Nsec, ok = seconds(value)
	default:
		ok = true
	}
	return ok
}

func id(value []byte) (uint32, bool) {
	n, ok := decimal(value)
	return uint32(n), ok && n < 1<<32-1 // -1 means "do not change" to chown(2)
}

// records calls each for the records of a PAX header, "LENGTH KEY=VALUE\n", where LENGTH counts its own digits.
func records(text []byte, each func(key string, value []byte) error) error {
	for len(text) > 0 {
		digits, _, _ := bytes.Cut(text, []byte(" "))
		size, ok := decimal(digits)
		if !ok || size > int64(len(text)) || size < int64(len(digits))+2 || text[size-1] != '\n' {
			return errors.New("bad extended header")
		}
		key, value, ok := bytes.Cut(text[len(digits)+1:size-1], []byte("="))
		if !ok || len(key) == 0 {
			return errors.New("bad extended header")
		}
		if err := each(string(key), value); err != nil {
			return err
		}
		text = text[size:]
	}
	return nil
}

// global refuses all but a comment, as git archive writes it: some readers go by such headers for all entries that
// follow, and others pass over them.
func (r *Reader) global(text []byte) error {
	return records(text, func(key string, _ []byte) error {
		if key != "comment" {
			return fmt.Errorf("global header with %q, which engines ignore", key)
		}
		return nil
	})
}
