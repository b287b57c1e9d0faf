package loader

import (
	"bytes"
	"encoding/binary"
	"io"
	"math"
)

// Numbers of elf(5).
const (
	narrow, wide = 1, 2 // class: 32, 64 bits
	little, big  = 1, 2 // byte order

	typeExec = 2
	typeDyn  = 3

	segmentLoad        = 1
	segmentDynamic     = 2
	segmentInterpreter = 3

	tagNeeded  = 1
	tagStrTab  = 5
	tagStrSize = 10
	tagSoname  = 14
	tagRPath   = 15
	tagRunPath = 29
	tagFlags1  = 0x6ffffffb

	flagNoDefault = 0x800 // DF_1_NODEFLIB: ld -z nodefaultlib
)

// Machines, and the bits of e_flags that tell their calling conventions apart, by glibc's dl-machine.h.
const (
	machineMIPS      = 8
	machinePPC64     = 21
	machineARM       = 40
	machineRISCV     = 243
	machineLoongArch = 258

	flagsMIPS      = 0x420 // ABI2, which is n32, and NAN2008
	flagsPPC64     = 3     // ABI
	flagsARM       = 0x600 // ABI_FLOAT_SOFT, ABI_FLOAT_HARD
	flagsRISCV     = 6     // FLOAT_ABI
	flagsLoongArch = 7     // ABI_MODIFIER
)

// Limits in bytes. What a linker writes is far below; a file that was made to fill memory is not.
const (
	maxHeaders = 64 << 10 // program headers: the kernel's own limit (fs/binfmt_elf.c)
	maxDynamic = 64 << 10
	maxText    = 64 << 10 // all strings of one file; the longest RPATHs are those of Nix, with some 20 KiB
	maxPath    = 4096     // PATH_MAX
)

// A fault is an error that is a constant: variables would have to be made at every start.
type fault string

func (f fault) Error() string { return string(f) }

const (
	errOther   fault = "no ELF program or library" // and a loader would load nothing of it
	errCut     fault = "truncated ELF file"
	errClass   fault = "damaged ELF file: neither 32 nor 64 bits, or of no byte order"
	errHeaders fault = "damaged ELF file: impossible program headers"
	errInterp  fault = "damaged ELF file: the path of its loader does not end"
	errDynamic fault = "damaged ELF file: the dynamic section is too large"
	errStrings fault = "damaged ELF file: the dynamic section has no strings"
	errString  fault = "damaged ELF file: a string of the dynamic section does not end"
)

// An abi is what a program and its libraries must have in common.
type abi struct {
	class, data byte
	machine     uint16
	flags       uint32
}

// fits reports whether objects of both can be in one process.
func (a abi) fits(b abi) bool {
	if (a.flags == 0 || b.flags == 0) && (a.machine == machineARM || a.machine == machinePPC64) {
		a.flags = b.flags // for these, 0 says nothing
	}
	return a == b
}

// An object is what an ELF file tells a loader.
type object struct {
	abi
	interpreter string // "" if it names none
	needed      []string
	soname      string
	rpath       string // "" if there is a runpath: ld.so(8)
	runpath     string
	hasRunpath  bool // it may be empty
	noDefault   bool // what it needs is not in the default directories
}

// A file is an ELF file that is being read, and not believed. Memory is bounded by the limits above.
type file struct {
	object
	r     io.ReaderAt
	order binary.ByteOrder
	loads []span
	left  int // of maxText
}

// A span is a part of a file: its address, its offset in the file, its size.
type span struct{ addr, offset, size uint64 }

// readObject reads what r says to a loader.
func readObject(r io.ReaderAt) (*object, error) {
	f := &file{r: r, left: maxText}
	at, size, err := f.header()
	if err != nil {
		return nil, err
	}
	headers, err := f.read(at, size)
	if err != nil {
		return nil, err
	}
	dynamic, err := f.segments(headers)
	if err != nil {
		return nil, err
	}
	return &f.object, f.dynamic(dynamic)
}

// read returns a part of the file, or what there is of it and an error.
func (f *file) read(offset, size uint64) ([]byte, error) {
	if offset > math.MaxInt64-maxText {
		return nil, errCut
	}
	b := make([]byte, size)
	n, err := f.r.ReadAt(b, int64(offset))
	if err == io.EOF {
		err = errCut
	}
	return b[:n], err
}

// pick reads the field of the file's class.
func (f *file) pick(b []byte, at32, at64 int) uint64 {
	if f.class == wide {
		return f.order.Uint64(b[at64:])
	}
	return uint64(f.order.Uint32(b[at32:]))
}

// either chooses what is right for the file's class.
func (f *file) either(in32, in64 int) int {
	if f.class == wide {
		return in64
	}
	return in32
}

// header reads the ELF header, and returns where the program headers are.
func (f *file) header() (offset, size uint64, err error) {
	b := make([]byte, 64)
	n, err := f.r.ReadAt(b, 0)
	if err != nil && err != io.EOF {
		return 0, 0, err
	}
	f.class, f.data, f.order = b[4], b[5], binary.LittleEndian
	if f.data == big {
		f.order = binary.BigEndian
	}
	kind, headerSize := f.order.Uint16(b[16:]), f.either(32, 56)
	sizes := b[f.either(42, 54):]
	count := int(f.order.Uint16(sizes[2:]))
	switch {
	case !bytes.HasPrefix(b[:n], []byte("\x7fELF")):
		return 0, 0, errOther
	case n < f.either(52, 64):
		return 0, 0, errCut
	case f.class != narrow && f.class != wide || f.data != little && f.data != big:
		return 0, 0, errClass
	case kind != typeExec && kind != typeDyn:
		return 0, 0, errOther
	case count > 0 && int(f.order.Uint16(sizes)) != headerSize || count*headerSize > maxHeaders:
		return 0, 0, errHeaders
	}
	f.machine = f.order.Uint16(b[18:])
	f.flags = f.order.Uint32(b[f.either(36, 48):]) & f.flagsMask()
	return f.pick(b, 28, 32), uint64(count * headerSize), nil
}

func (a abi) flagsMask() uint32 {
	switch a.machine {
	case machineMIPS:
		return flagsMIPS
	case machinePPC64:
		return flagsPPC64
	case machineARM:
		return flagsARM
	case machineRISCV:
		return flagsRISCV
	case machineLoongArch:
		return flagsLoongArch
	}
	return 0
}

// segments reads the program headers, and returns the dynamic section. Of a program's segments, objcopy --only-keep-debug
// leaves only the headers, and sizes of 0.
func (f *file) segments(headers []byte) (dynamic []byte, err error) {
	const farthest = 1 << 62 // sums of such numbers do not wrap
	size := f.either(32, 56)
	for ; err == nil && len(headers) > 0; headers = headers[size:] {
		s := span{f.pick(headers, 8, 16), f.pick(headers, 4, 8), f.pick(headers, 16, 32)}
		switch f.order.Uint32(headers) {
		case segmentLoad:
			if s.offset < farthest && s.size < farthest {
				f.loads = append(f.loads, s)
			}
		case segmentDynamic:
			if s.size > maxDynamic {
				return nil, errDynamic
			}
			dynamic, err = f.read(s.offset, s.size)
		case segmentInterpreter:
			if s.size > 0 {
				f.interpreter, err = f.text(s.offset, min(s.size, maxPath), errInterp)
			}
		}
	}
	return dynamic, err
}

// dynamic reads the dynamic section. Its strings come after it, because where they are may be said last.
func (f *file) dynamic(section []byte) error {
	var values [tagRunPath + 1]uint64
	var texts []uint64 // offsets of strings
	entry := f.either(8, 16)
	for ; len(section) >= entry; section = section[entry:] {
		tag, value := f.pick(section, 0, 0), f.pick(section, 4, 8)
		if tag == 0 {
			break
		}
		switch {
		case tag == tagNeeded:
			texts = append(texts, value)
		case tag == tagFlags1:
			f.noDefault = value&flagNoDefault != 0
		case tag <= tagRunPath:
			values[tag] = value
			f.hasRunpath = f.hasRunpath || tag == tagRunPath
		}
	}
	n := len(texts)
	texts = append(texts, values[tagSoname], values[tagRPath], values[tagRunPath])
	all, err := f.strings(values[tagStrTab], values[tagStrSize], texts)
	if err != nil {
		return err
	}
	f.needed, f.soname, f.rpath, f.runpath = all[:n], all[n], all[n+1], all[n+2]
	if f.hasRunpath {
		f.rpath = ""
	}
	return nil
}

// strings reads strings of the table at an address. The one at 0 is empty in every table, and so are those that are not
// there at all.
func (f *file) strings(addr, size uint64, offsets []uint64) ([]string, error) {
	table, found := uint64(0), false
	for _, l := range f.loads {
		if at := addr - l.addr; addr >= l.addr && at < l.size {
			table, size, found = l.offset+at, min(size, l.size-at), true
		}
	}
	all := make([]string, len(offsets))
	for i, at := range offsets {
		if at == 0 {
			continue
		}
		if !found {
			return nil, errStrings
		}
		if at >= size {
			return nil, errString
		}
		s, err := f.text(table+at, size-at, errString)
		if err != nil {
			return nil, err
		}
		all[i] = s
	}
	return all, nil
}

// text reads the string at offset, which with its NUL has at most so many bytes; endless is the error if it has more.
func (f *file) text(offset, most uint64, endless error) (string, error) {
	most = min(most, uint64(f.left))
	for size := uint64(64); ; size *= 8 {
		b, err := f.read(offset, min(size, most))
		if end := bytes.IndexByte(b, 0); end >= 0 {
			f.left -= end + 1
			return string(b[:end]), nil
		}
		switch {
		case err != nil:
			return "", err
		case size >= most:
			return "", endless
		}
	}
}
