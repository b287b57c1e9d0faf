package list

import (
	"encoding/binary"
	"math/bits"
)

// A nameSet is a set of names in a fixed amount of memory: a Bloom filter. It has every name that was added and, by
// chance, few others: with four bits a name, one in a million of the others while there are 128 bits for a name.
type nameSet struct{ bits []uint64 }

// newNameSet makes a set of 2^order bits. Pages that no name falls into are never touched.
func newNameSet(order int) *nameSet { return &nameSet{make([]uint64, 1<<order/64)} }

func (s *nameSet) add(name []byte) {
	h := hash(name)
	for range 4 {
		s.bits[h/64%uint64(len(s.bits))] |= 1 << (h % 64)
		h = bits.RotateLeft64(h, 16)
	}
}

func (s *nameSet) has(name []byte) bool {
	h := hash(name)
	for range 4 {
		if s.bits[h/64%uint64(len(s.bits))]&(1<<(h%64)) == 0 {
			return false
		}
		h = bits.RotateLeft64(h, 16)
	}
	return true
}

// hash is the same on every machine and at every time, as the output depends on it: so hash/maphash is not for here.
func hash(name []byte) uint64 {
	const odd = 0x9e3779b97f4a7c15 // 2^64 over the golden ratio
	h := uint64(len(name)) * odd
	for ; len(name) >= 8; name = name[8:] {
		h = mix(h^binary.LittleEndian.Uint64(name), odd)
	}
	var rest [8]byte
	copy(rest[:], name)
	return mix(mix(h^binary.LittleEndian.Uint64(rest[:]), odd), odd)
}

// mix folds the 128-bit product of a and b.
func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}
