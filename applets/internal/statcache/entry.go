// Package statcache keeps what was found in files from one run to the next, for those that have not changed since.
// Invariant: a cache gives what was put into it for that very state of that very file, or nothing. What is damaged in any
// way gives nothing from there on.
//
// The file: the line magic, then blocks. A block is the length of its entries in 4 bytes, a checksum, and entries. The
// checksum is the SHA-256 of the checksum before (of the first: of magic) and the entries, so that it vouches for all that
// comes before it. A block without entries is the last. An entry has no more than its name's difference from the one
// before, and fields of fixed size; numbers are little-endian. Names strictly increase, as in a list: so whoever goes
// through a list goes through its cache beside it, and neither needs memory.
package statcache

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// A Stamp tells one state of one file from all others, as far as a file system says.
type Stamp struct {
	Volume, Inode uint64 // Volume stands for the device and what is mounted from it
	Size          int64  // bytes
	Sec, CSec     int64  // times of modification and of the last change of the inode
	Nsec, CNsec   uint32
}

// Known is what was found in a file.
type Known struct {
	HasDigest, HasAttr bool
	Digest             [32]byte // if HasDigest: of the content
	Attr               [32]byte // if HasAttr: of the extended attributes
}

// An Entry is what is known of a name. A directory may have a second one under its name with a slash, with
// Names that are not nil.
type Entry struct {
	Name []byte
	Stamp
	Known
	Names []byte // in a directory: sorted, each with NUL after it, those of directories twice, with a slash then
}

// magic is what a cache begins with: kind in all versions, and the version of what follows it. Whoever changes that
// changes this.
const (
	kind  = "ctbox cache of digests, version "
	magic = kind + "1\n"
)

const (
	sumSize   = 32
	headSize  = 4 + sumSize
	blockSize = 64 << 10 // of entries; the last may reach beyond
	maxName   = 64 << 10 // as list.MaxName
	stampSize = 5*8 + 2*4

	maxPayload = blockSize + 3*binary.MaxVarintLen32 + maxName + stampSize + 1 + 2*32 + MaxNames
)

// MaxNames is the most that Names can hold, in bytes.
const MaxNames = 64 << 10

// Flags of an entry say which fields follow it, in this order.
const (
	flagDigest = 1 << iota
	flagAttr
	flagNames
	flagsEnd
)

var errDamaged = errors.New("is damaged: what follows is not used")

// appendTo appends the entry to b, after one whose name is prev.
func (e *Entry) appendTo(b, prev []byte) []byte {
	same := 0
	for same < min(len(prev), len(e.Name)) && prev[same] == e.Name[same] {
		same++
	}
	b = binary.AppendUvarint(b, uint64(same))
	b = appendBytes(b, e.Name[same:])
	for _, n := range [...]uint64{e.Volume, e.Inode, uint64(e.Size), uint64(e.Sec), uint64(e.CSec)} {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	b = binary.LittleEndian.AppendUint32(b, e.Nsec)
	b = binary.LittleEndian.AppendUint32(b, e.CNsec)
	flags := len(b)
	b = append(b, 0)
	if e.HasDigest {
		b[flags] |= flagDigest
		b = append(b, e.Digest[:]...)
	}
	if e.HasAttr {
		b[flags] |= flagAttr
		b = append(b, e.Attr[:]...)
	}
	if e.Names != nil {
		b[flags] |= flagNames
		b = appendBytes(b, e.Names)
	}
	return b
}

func appendBytes(b, text []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

// take takes the next entry off b. e is the one before.
func (e *Entry) take(b []byte) (rest []byte, err error) {
	same, n := binary.Uvarint(b)
	if n <= 0 || same > uint64(len(e.Name)) {
		return nil, errDamaged
	}
	suffix, b, err := takeBytes(b[n:], maxName-int(same))
	if err != nil || !follows(suffix, e.Name[same:]) || len(b) < stampSize+1 {
		return nil, errDamaged
	}
	e.Name = append(e.Name[:same], suffix...)
	e.Stamp = takeStamp(b)
	flags, b := b[stampSize], b[stampSize+1:]
	e.HasDigest, e.HasAttr, e.Names = flags&flagDigest > 0, flags&flagAttr > 0, nil
	for _, sum := range [...]struct {
		has bool
		to  *[32]byte
	}{{e.HasDigest, &e.Digest}, {e.HasAttr, &e.Attr}} {
		*sum.to = [32]byte{}
		if !sum.has {
			continue
		}
		if len(b) < len(sum.to) {
			return nil, errDamaged
		}
		b = b[copy(sum.to[:], b):]
	}
	if flags&flagNames > 0 {
		if e.Names, b, err = takeBytes(b, MaxNames); err != nil || !areNames(e.Names) {
			return nil, errDamaged
		}
	}
	if flags >= flagsEnd {
		return nil, errDamaged
	}
	return b, err
}

func takeStamp(b []byte) Stamp {
	n := func(i int) uint64 { return binary.LittleEndian.Uint64(b[8*i:]) }
	return Stamp{
		Volume: n(0), Inode: n(1), Size: int64(n(2)), Sec: int64(n(3)), CSec: int64(n(4)),
		Nsec: uint32(n(5)), CNsec: uint32(n(5) >> 32),
	}
}

// takeBytes takes a length, at most that, and as many bytes off b.
func takeBytes(b []byte, most int) (text, rest []byte, err error) {
	size, n := binary.Uvarint(b)
	if n <= 0 || size > uint64(max(most, 0)) || size > uint64(len(b)-n) {
		return nil, nil, errDamaged
	}
	return b[n : n+int(size)], b[n+int(size):], nil
}

// areNames reports whether names are what Names may hold.
func areNames(names []byte) bool {
	var last []byte
	for len(names) > 0 {
		end := bytes.IndexByte(names, 0)
		if end <= 0 || bytes.Compare(last, names[:end]) >= 0 {
			return false
		}
		last, names = names[:end], names[end+1:]
		base := last
		if last[end-1] == '/' {
			base = last[:end-1]
		}
		if len(base) == 0 || base[0] == '.' && (len(base) == 1 || len(base) == 2 && base[1] == '.') || bytes.IndexByte(base, '/') >= 0 {
			return false
		}
	}
	return true
}

// follows reports whether a name that ends in suffix comes after one that ends in old, where both begin the same.
func follows(suffix, old []byte) bool {
	return len(suffix) > 0 && (len(old) == 0 || suffix[0] > old[0])
}
