package ext4

import (
	"encoding/binary"
	"fmt"
	"testing"
)

// A disk is a File in memory, of blocks that were written.
type disk map[int64]*[BlockSize]byte

func (d disk) WriteAt(p []byte, off int64) (int, error) {
	for n := 0; n < len(p); {
		at := off + int64(n)
		b := d[at/BlockSize]
		if b == nil {
			b = new([BlockSize]byte)
			d[at/BlockSize] = b
		}
		n += copy(b[at%BlockSize:], p[n:])
	}
	return len(p), nil
}

func (d disk) block(n int64) []byte {
	if b := d[n]; b != nil {
		return b[:]
	}
	return zeroBlock[:]
}

func u16(b []byte, at int) int64 { return int64(binary.LittleEndian.Uint16(b[at:])) }
func u32(b []byte, at int) int64 { return int64(binary.LittleEndian.Uint32(b[at:])) }

func (d disk) super() []byte { return d.block(0)[superAt:] }

func (d disk) group(n int64) []byte {
	return d.block(1 + n/descsEach)[n%descsEach*descSize:][:descSize]
}

func (d disk) inode(ino int64) []byte {
	each := u32(d.super(), 40)
	at := u32(d.group((ino-1)/each), 8)*BlockSize + (ino-1)%each*inodeSize
	return d.block(at / BlockSize)[at%BlockSize:][:inodeSize]
}

// extents calls each for the extents below a node.
func (d disk) extents(t *testing.T, node []byte, depth int64, each func(first, at, count int64)) {
	t.Helper()
	if u16(node, 0) != 0xf30a || u16(node, 6) != depth || u16(node, 2) > u16(node, 4) {
		t.Fatalf("head of a node of extents: % x, want depth %d", node[:extentHead], depth)
	}
	for i := range u16(node, 2) {
		e := node[extentHead+i*extentEntry:]
		if depth == 0 {
			each(u32(e, 0), u32(e, 8)|u16(e, 6)<<32, u16(e, 4))
			continue
		}
		d.extents(t, d.block(u32(e, 4)|u16(e, 8)<<32), depth-1, each)
	}
}

func size(inode []byte) int64 { return u32(inode, 4) | u32(inode, 108)<<32 }

// read reads a file, holes as zeros.
func (d disk) read(t *testing.T, ino int64) []byte {
	t.Helper()
	n := d.inode(ino)
	content := make([]byte, blocksFor(size(n))*BlockSize)
	root := n[40:100]
	d.extents(t, root, u16(root, 6), func(first, at, count int64) {
		for i := range count {
			copy(content[(first+i)*BlockSize:], d.block(at+i))
		}
	})
	return content[:size(n)]
}

// names are the entries of blocks of a directory.
func names(t *testing.T, content []byte) map[string]int64 {
	t.Helper()
	found := map[string]int64{}
	for at := int64(0); at < int64(len(content)); {
		e := content[at:]
		length := u16(e, 4)
		if length < entryHead || length%4 != 0 || at/BlockSize != (at+length-1)/BlockSize {
			t.Fatalf("an entry of %d bytes at %d", length, at)
		}
		if ino := u32(e, 0); ino != 0 {
			name := string(e[entryHead : entryHead+int(e[6])])
			if found[name] != 0 {
				t.Errorf("%q twice", name)
			}
			found[name] = ino
		}
		at += length
	}
	return found
}

// attrs are the extended attributes between b's start and its end, values by their distance from base.
func attrs(b, base []byte) map[string]string {
	found := map[string]string{}
	for at := 0; u32(b, at) != 0; at += attrEntry + round4(int(b[at])) {
		value := base[u16(b, at+2):][:u32(b, at+8)]
		found[fmt.Sprintf("%d %s", b[at+1], b[at+attrEntry:at+attrEntry+int(b[at])])] = string(value)
	}
	return found
}
