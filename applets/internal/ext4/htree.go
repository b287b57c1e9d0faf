package ext4

import (
	"encoding/binary"
	"errors"
	"io"
	"slices"
)

// An index of a directory has the lowest hash of each block of entries: the root for all of them, or for the blocks of the
// index that have them. Documentation/filesystems/ext4/directory.rst, "Hash Tree Directories".
const (
	hashTEA    = 2  // the version of the hash
	rootHead   = 32 // bytes before the root's entries: "." and "..", and what the index is
	nodeHead   = 8
	indexEntry = 8 // bytes
	indexTail  = 8

	mostInRoot = (BlockSize - rootHead - indexTail) / indexEntry
	mostInNode = (BlockSize - nodeHead - indexTail) / indexEntry
)

var errTooMany = errors.New("a directory with more names than its index can have")

// hashed writes a directory of several blocks, in the order of hashes.
func (t *tree) hashed(d *dir) (blocks int64, err error) {
	if err := t.spill(d); err != nil {
		return 0, err
	}
	slices.Sort(d.hashed)
	root := t.w.alloc(1)
	if err := t.w.extents.add(0, root); err != nil {
		return 0, err
	}
	index, err := t.leaves(d)
	if err != nil {
		return 0, err
	}
	if t.long--; t.long == 0 {
		t.w.names.Truncate(0)
	}
	leaves := len(index)
	first, depth := 1, byte(0)
	if leaves > mostInRoot {
		if index, err = t.nodes(index); err != nil {
			return 0, err
		}
		first, depth = 1+leaves, 1
	}
	if len(index) > mostInRoot {
		return 0, errTooMany
	}
	d.inode.setFlag(flagIndex)
	t.leaf.root(d, depth)
	t.leaf.index(rootHead, mostInRoot, index, first, t.w.extents.seed)
	return int64(first + len(index)), t.w.blocks.write(root.at, t.leaf.b[:])
}

// leaves writes the blocks with entries, and returns the lowest hash of each.
func (t *tree) leaves(d *dir) (index []uint32, err error) {
	record := make([]byte, recordHead+255)
	t.leaf.reset()
	var last uint32
	for _, h := range d.hashed {
		n, err := t.w.names.ReadAt(record, int64(uint32(h))*4)
		if err != nil && err != io.EOF || n <= recordHead {
			return nil, err
		}
		hash := uint32(h >> 32)
		if t.leaf.n+entrySize(len(recordName(record))) > leafSize {
			if err := t.endLeaf(len(index)); err != nil {
				return nil, err
			}
		}
		if t.leaf.n == 0 {
			if len(index) > 0 && hash == last {
				hash |= 1 // the block before ends with names of this hash
			}
			index = append(index, hash)
		}
		last = uint32(h >> 32)
		t.leaf.addRecord(record)
	}
	return index, t.endLeaf(len(index))
}

// endLeaf writes the leaf of a number, from 1, which is that of its block in the directory.
func (t *tree) endLeaf(number int) error {
	t.leaf.seal(t.w.extents.seed)
	err := t.w.append(int64(number), t.leaf.b[:])
	t.leaf.reset()
	return err
}

// nodes writes blocks of the index, behind the leaves that it is of, and returns the lowest hash of each.
func (t *tree) nodes(index []uint32) (above []uint32, err error) {
	first, at := 1, 1+len(index)
	for len(index) > 0 {
		part := index[:min(mostInNode, len(index))]
		t.leaf.reset()
		binary.LittleEndian.PutUint16(t.leaf.b[4:], BlockSize) // an entry without a name, for who does not know indexes
		t.leaf.index(nodeHead, mostInNode, part, first, t.w.extents.seed)
		if err := t.w.append(int64(at), t.leaf.b[:]); err != nil {
			return nil, err
		}
		above = append(above, part[0])
		first, at = first+len(part), at+1
		index = index[len(part):]
	}
	return above, nil
}

// root begins the first block of a directory with an index.
func (l *leaf) root(d *dir, depth byte) {
	l.reset()
	l.add(d.ino, 2, []byte("."))
	l.add(d.parent, 2, []byte(".."))
	binary.LittleEndian.PutUint16(l.b[l.last+4:], uint16(BlockSize-l.last))
	info := l.b[l.n:]
	info[4], info[5], info[6] = hashTEA, 8, depth
}

// index fills in the entries of the index for blocks from first, of which it can have most. Instead of the first hash, which is
// that of all before, it has the numbers of entries.
func (l *leaf) index(head, most int, hashes []uint32, first int, seed uint32) {
	for i, h := range hashes {
		e := l.b[head+i*indexEntry:]
		binary.LittleEndian.PutUint32(e, h)
		binary.LittleEndian.PutUint32(e[4:], uint32(first+i))
	}
	binary.LittleEndian.PutUint16(l.b[head:], uint16(most))
	binary.LittleEndian.PutUint16(l.b[head+2:], uint16(len(hashes)))
	sum := checksum(seed, l.b[:head+len(hashes)*indexEntry])
	tail := l.b[head+most*indexEntry:][:indexTail]
	binary.LittleEndian.PutUint32(tail[4:], checksum(sum, tail))
}

// hash is that of a name: rounds of TEA, the tiny encryption algorithm of Wheeler and Needham, over 16 bytes at a time.
func (w *Writer) hash(name []byte) uint32 {
	x := binary.LittleEndian.Uint32(w.hashSeed[0:])
	y := binary.LittleEndian.Uint32(w.hashSeed[4:])
	for ; len(name) > 0; name = name[min(16, len(name)):] {
		k := hashWords(name)
		x0, y0, sum := x, y, uint32(0)
		for range 16 {
			sum += 0x9e3779b9
			x += (y<<4 + k[0]) ^ (y + sum) ^ (y>>5 + k[1])
			y += (x<<4 + k[2]) ^ (x + sum) ^ (x>>5 + k[3])
		}
		x, y = x+x0, y+y0
	}
	const end = 1<<32 - 2 // stands for the end of a directory
	if x &^= 1; x == end {
		x -= 2
	}
	return x
}

// hashWords are up to 16 bytes of a name, big-endian. What is missing are bytes that say how many are left of the name.
func hashWords(name []byte) (k [4]uint32) {
	fill := uint32(uint8(len(name))) * 0x01010101
	for i := range k {
		k[i] = fill
		for _, c := range name[min(4*i, len(name)):min(4*i+4, len(name))] {
			k[i] = k[i]<<8 + uint32(c)
		}
	}
	return k
}
