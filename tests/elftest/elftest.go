// Package elftest writes small ELF files and caches of ld.so for tests: nothing that runs, but all that a loader reads.
package elftest

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// A File is what an ELF file says to a loader. Zero values are those of a library for x86-64.
type File struct {
	Narrow, Big           bool   // 32 bits; most significant byte first
	Machine               uint16 // e_machine; 0 stands for 62, x86-64
	Flags                 uint32 // e_flags
	Kind                  uint16 // e_type; 0 stands for 3, ET_DYN
	Interp                string
	Needed                []string
	Soname, RPath         string
	RunPath               *string // may be there and empty
	NoDefault, LastStrTab bool    // DF_1_NODEFLIB; DT_STRTAB at the end
	Static                bool    // no dynamic section
}

// base is the address of the first byte.
const base = 0x10000

// Bytes is the file: the ELF header, program headers, the loader's path, the dynamic section, its strings.
func (f File) Bytes() []byte {
	e := encoder{narrow: f.Narrow, order: binary.LittleEndian}
	if f.Big {
		e.order = binary.BigEndian
	}
	headers := 1
	if f.Interp != "" {
		headers++
	}
	if !f.Static {
		headers++
	}
	interpAt := e.either(52, 64) + uint64(headers)*e.either(32, 56)
	dynamicAt := interpAt
	if f.Interp != "" {
		dynamicAt += uint64(len(f.Interp)) + 1
	}
	dynamicAt = (dynamicAt + 7) &^ 7
	strs := []byte{0}
	entries := f.entries(&strs)
	dynamicSize := uint64(len(entries)) * e.either(8, 16)
	size := dynamicAt
	if !f.Static {
		size += dynamicSize + uint64(len(strs))
	}

	f.header(&e, headers)
	e.segment(1, 0, size)
	if f.Interp != "" {
		e.segment(3, interpAt, uint64(len(f.Interp))+1)
	}
	if !f.Static {
		e.segment(2, dynamicAt, dynamicSize)
	}
	if f.Interp != "" {
		e.b = append(append(e.b, f.Interp...), 0)
	}
	e.b = append(e.b, make([]byte, dynamicAt-uint64(len(e.b)))...)
	if f.Static {
		return e.b
	}
	for _, entry := range entries {
		if entry[0] == 5 {
			entry[1] = base + dynamicAt + dynamicSize
		}
		e.word(entry[0])
		e.word(entry[1])
	}
	return append(e.b, strs...)
}

// entries is the dynamic section; DT_STRTAB is still to be filled in.
func (f File) entries(strs *[]byte) [][2]uint64 {
	add := func(s string) uint64 {
		at := len(*strs)
		*strs = append(append(*strs, s...), 0)
		return uint64(at)
	}
	var all [][2]uint64
	if !f.LastStrTab {
		all = append(all, [2]uint64{5, 0})
	}
	for _, s := range f.Needed {
		all = append(all, [2]uint64{1, add(s)})
	}
	if f.Soname != "" {
		all = append(all, [2]uint64{14, add(f.Soname)})
	}
	if f.RPath != "" {
		all = append(all, [2]uint64{15, add(f.RPath)})
	}
	if f.RunPath != nil {
		all = append(all, [2]uint64{29, add(*f.RunPath)})
	}
	if f.NoDefault {
		all = append(all, [2]uint64{0x6ffffffb, 0x800})
	}
	all = append(all, [2]uint64{10, uint64(len(*strs))})
	if f.LastStrTab {
		all = append(all, [2]uint64{5, 0})
	}
	return append(all, [2]uint64{0, 0})
}

func (f File) header(e *encoder, headers int) {
	class, data, machine, kind := byte(e.either(1, 2)), byte(1), f.Machine, f.Kind
	if f.Big {
		data = 2
	}
	if machine == 0 {
		machine = 62
	}
	if kind == 0 {
		kind = 3
	}
	e.b = append([]byte("\x7fELF"), class, data, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	e.half(kind)
	e.half(machine)
	e.four(1)
	e.word(base)             // entry
	e.word(e.either(52, 64)) // program headers
	e.word(0)                // section headers
	e.four(f.Flags)
	for _, v := range []uint64{e.either(52, 64), e.either(32, 56), uint64(headers), 0, 0, 0} {
		e.half(uint16(v))
	}
}

// encoder appends numbers of one class and byte order.
type encoder struct {
	b      []byte
	narrow bool
	order  binary.AppendByteOrder
}

func (e *encoder) half(v uint16) { e.b = e.order.AppendUint16(e.b, v) }
func (e *encoder) four(v uint32) { e.b = e.order.AppendUint32(e.b, v) }

func (e *encoder) word(v uint64) {
	if e.narrow {
		e.four(uint32(v))
	} else {
		e.b = e.order.AppendUint64(e.b, v)
	}
}

func (e *encoder) either(in32, in64 uint64) uint64 {
	if e.narrow {
		return in32
	}
	return in64
}

func (e *encoder) segment(kind uint32, offset, size uint64) {
	const readable = 4
	e.four(kind)
	if !e.narrow {
		e.four(readable)
	}
	e.word(offset)
	e.word(base + offset)
	e.word(base + offset)
	e.word(size)
	e.word(size)
	if e.narrow {
		e.four(readable)
	}
	e.word(1) // alignment
}

// Parse makes a File of words like "machine=183", "needed=libc.so.6" or "big", as scripts write them.
func Parse(words []string) (File, error) {
	var f File
	for _, w := range words {
		key, value, _ := strings.Cut(w, "=")
		switch key {
		case "32":
			f.Narrow = true
		case "big":
			f.Big = true
		case "static":
			f.Static = true
		case "nodefault":
			f.NoDefault = true
		case "machine", "flags", "kind":
			n, err := strconv.ParseUint(value, 0, 32)
			if err != nil {
				return f, err
			}
			switch key {
			case "machine":
				f.Machine = uint16(n)
			case "flags":
				f.Flags = uint32(n)
			default:
				f.Kind = uint16(n)
			}
		case "interp":
			f.Interp = value
		case "needed":
			f.Needed = append(f.Needed, value)
		case "soname":
			f.Soname = value
		case "rpath":
			f.RPath = value
		case "runpath":
			f.RunPath = &value
		default:
			return f, fmt.Errorf("%q is no part of an ELF file", w)
		}
	}
	return f, nil
}

// A Cache is an /etc/ld.so.cache.
type Cache struct {
	Big, Unmarked bool        // byte order, and whether the header says nothing of it, as before glibc 2.33
	Old           bool        // behind a cache of the old format
	HWCap         uint64      // of the entries that end in "+"
	Entries       [][2]string // name, and path
}

// Bytes is the file.
func (c Cache) Bytes() []byte {
	e := encoder{order: binary.LittleEndian}
	mark := byte(2)
	if c.Big {
		e.order, mark = binary.BigEndian, 3
	}
	if c.Unmarked {
		mark = 0
	}
	var old []byte
	if c.Old {
		old = append([]byte("ld.so-1.7.0\x00"), 0, 0, 0, 0)
		e.order.AppendUint32(old[:12], uint32(len(c.Entries)))
		old = append(old, make([]byte, (len(c.Entries)*12+7)&^7)...)
	}
	e.b = append(e.b, "glibc-ld.so.cache1.1"...)
	e.four(uint32(len(c.Entries)))
	e.four(0)
	e.b = append(e.b, mark)
	e.b = append(e.b, make([]byte, 48-len(e.b))...)
	strs, at := []byte{}, uint32(48+24*len(c.Entries))
	for _, entry := range c.Entries {
		path, special := strings.CutSuffix(entry[1], "+")
		e.four(0x303)
		e.four(at + uint32(len(strs)))
		strs = append(append(strs, entry[0]...), 0)
		e.four(at + uint32(len(strs)))
		strs = append(append(strs, path...), 0)
		e.four(0)
		hwcap := uint64(0)
		if special {
			hwcap = c.HWCap
		}
		e.b = e.order.AppendUint64(e.b, hwcap)
	}
	return append(old, append(e.b, strs...)...)
}
