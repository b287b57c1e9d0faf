package ext4

import (
	"encoding/binary"
	"errors"
	"strings"

	"github.com/ctbox/ctbox/applets/internal/archive"
)

const (
	attrMagic = 0xea020000
	attrEntry = 16                   // bytes of an entry before its name
	attrHead  = 32                   // bytes before the entries in a block
	maxAttrs  = BlockSize - attrHead // 4064
)

var errAttrs = errors.New("extended attributes of more than 4064 bytes, the most in one block of ext4")

// attributes makes the extended attributes of one inode after another: in the inode if they fit there, otherwise all in a
// block.
type attributes struct {
	list  []attribute
	block [BlockSize]byte
}

// An attribute has its name as ext4 has it: a number instead of what stands before the first dot.
type attribute struct {
	index byte
	name  string
	value []byte
}

func (a *attributes) put(w *Writer, n *inode, attrs []archive.Xattr) error {
	if len(attrs) == 0 {
		return nil
	}
	size, err := a.sort(attrs)
	inside := n[attrsAt:]
	switch {
	case err != nil:
		return err
	case 4+size <= len(inside):
		binary.LittleEndian.PutUint32(inside, attrMagic)
		a.lay(inside[4:], 0, 0)
		return nil
	case size > maxAttrs:
		return errAttrs
	}
	at := w.alloc(1).at
	n.setAttrs(at)
	clear(a.block[:])
	head := a.block[:attrHead]
	binary.LittleEndian.PutUint32(head[0:], attrMagic)
	binary.LittleEndian.PutUint32(head[4:], 1) // inode that has it
	binary.LittleEndian.PutUint32(head[8:], 1) // block
	binary.LittleEndian.PutUint32(head[12:], a.lay(a.block[attrHead:], attrHead, 1))
	sum := checksum(w.seed, binary.LittleEndian.AppendUint64(nil, uint64(at)))
	binary.LittleEndian.PutUint32(head[16:], checksum(sum, a.block[:]))
	return w.blocks.write(at, a.block[:])
}

// sort takes attributes in the order in which the kernel looks for them, and reports how many bytes they are.
func (a *attributes) sort(attrs []archive.Xattr) (size int, err error) {
	a.list = a.list[:0]
	size = 4 // of zeros end the entries
	for _, x := range attrs {
		at, err := newAttribute(x)
		if err != nil {
			return 0, err
		}
		a.list = append(a.list, at)
		for i := len(a.list) - 1; i > 0 && a.list[i].before(&a.list[i-1]); i-- { // they are few
			a.list[i-1], a.list[i] = a.list[i], a.list[i-1]
		}
		size += at.size() + round4(len(x.Value))
	}
	return size, nil
}

// before is the order: by the number, the length of the name, and the name.
func (a *attribute) before(b *attribute) bool {
	switch {
	case a.index != b.index:
		return a.index < b.index
	case len(a.name) != len(b.name):
		return len(a.name) < len(b.name)
	}
	return a.name < b.name
}

func newAttribute(x archive.Xattr) (attribute, error) {
	space, name, _ := strings.Cut(x.Name, ".")
	a := attribute{name: name, value: x.Value}
	switch space {
	case "user":
		a.index = 1
	case "security":
		a.index = 6
	}
	if a.index == 0 || len(name) == 0 || len(name) > 255 {
		return a, errors.New("extended attribute " + x.Name + ": no name that ext4 has")
	}
	return a, nil
}

func (a *attribute) size() int { return attrEntry + round4(len(a.name)) }

func round4(n int) int { return (n + 3) &^ 3 }

// lay puts entries at the start of b and values at its end. Values are found by their distance from where base bytes stand
// before b. It returns the hash of all hashes, which only blocks have: their factor is 1, otherwise 0.
func (a *attributes) lay(b []byte, base int, factor uint32) (all uint32) {
	at, end := 0, len(b)
	for i := range a.list {
		x := &a.list[i]
		end -= round4(len(x.value))
		copy(b[end:], x.value)
		e := b[at : at+attrEntry]
		e[0], e[1] = byte(len(x.name)), x.index
		binary.LittleEndian.PutUint16(e[2:], uint16(base+end))
		binary.LittleEndian.PutUint32(e[8:], uint32(len(x.value)))
		sum := x.hash(b[end : end+round4(len(x.value))])
		binary.LittleEndian.PutUint32(e[12:], sum*factor)
		all = all<<16 ^ all>>16 ^ sum
		copy(b[at+attrEntry:], x.name)
		at += x.size()
	}
	return all
}

// hash is that of a name and of its value, which zeros fill up to words.
func (a *attribute) hash(words []byte) (h uint32) {
	for i := range len(a.name) {
		h = h<<5 ^ h>>27 ^ uint32(a.name[i])
	}
	for ; len(words) > 0; words = words[4:] {
		h = h<<16 ^ h>>16 ^ binary.LittleEndian.Uint32(words)
	}
	return h
}
