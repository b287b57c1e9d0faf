package ext4

import (
	"encoding/binary"

	"github.com/ctbox/ctbox/applets/internal/archive"
	"github.com/ctbox/ctbox/applets/internal/list"
)

const (
	inodeSize  = 256
	inodesEach = BlockSize / inodeSize // in a block
	extraSize  = 32                    // of the fields beyond the first 128 bytes that ext4 added
	attrsAt    = 128 + extraSize       // where extended attributes are
	sectorSize = 512                   // what an inode's blocks are counted in
)

// Flags of inodes.
const (
	flagIndex   = 0x1000  // a directory with hashes
	flagExtents = 0x80000 // block() is the root of a tree of extents
)

// An inode is as in the table.
type inode [inodeSize]byte

func (n *inode) put16(at int, v uint32) { binary.LittleEndian.PutUint16(n[at:], uint16(v)) }
func (n *inode) put32(at int, v uint32) { binary.LittleEndian.PutUint32(n[at:], v) }

// block is where a device number is, or a short target, or the root of the extents.
func (n *inode) block() []byte { return n[40:100] }

// set fills in what stands in a list.
func (n *inode) set(e *archive.DiskEntry) {
	n.put16(0, e.Mode)
	n.put16(2, e.UID)
	n.put16(120, e.UID>>16)
	n.put16(24, e.GID)
	n.put16(122, e.GID>>16)
	n.setLinks(max(e.Links, 1))
	n.setTime(e.Time)
}

func (n *inode) setLinks(links uint32) { n.put16(26, links) }

func (n *inode) setFlag(flag uint32) { n.put32(32, binary.LittleEndian.Uint32(n[32:])|flag) }

// setTime sets all of an inode's times. Two more bits of the seconds are in another field; so 2038 is not the end.
func (n *inode) setTime(t int64) {
	epoch := uint32((t - int64(int32(t))) >> 32 & 3)
	for _, at := range [][2]int{{8, 140}, {12, 132}, {16, 136}, {144, 148}} { // access, change, modification, creation
		n.put32(at[0], uint32(t))
		n.put32(at[1], epoch)
	}
}

func (n *inode) setSize(size int64) {
	n.put32(4, uint32(size))
	n.put32(108, uint32(size>>32))
}

// addBlocks adds to the number of blocks that belong to the inode.
func (n *inode) addBlocks(blocks int64) {
	const hi = 116
	have := int64(binary.LittleEndian.Uint32(n[28:])) | int64(binary.LittleEndian.Uint16(n[hi:]))<<32
	have += blocks * (BlockSize / sectorSize)
	n.put32(28, uint32(have))
	n.put16(hi, uint32(have>>32))
}

// setAttrs names the block of extended attributes.
func (n *inode) setAttrs(block int64) {
	n.put32(104, uint32(block))
	n.put16(118, uint32(block>>32))
	n.addBlocks(1)
}

// setDevice stores a device number: the old way if that can hold it, as the kernel does.
func (n *inode) setDevice(major, minor uint32) error {
	switch {
	case major > maxMajor || minor > maxMinor:
		return errDevice
	case major < 256 && minor < 256:
		n.put32(40, major<<8|minor)
	default:
		n.put32(44, minor&0xff|major<<8|minor&^0xff<<12)
	}
	return nil
}

// seal adds the checksum.
func (n *inode) seal(seed uint32) {
	n.put16(128, extraSize)
	n.put16(124, 0)
	n.put16(130, 0)
	sum := checksum(seed, n[:])
	n.put16(124, sum)
	n.put16(130, sum>>16)
}

// A table is where the inodes are. Most come in order of their numbers; directories when they are complete.
type table struct {
	blocks *blocks
	first  int64  // block
	buf    []byte // inodes that are not written yet
	from   int64  // the number of the first of them, less 1; a multiple of what a block holds
}

const tableBuffer = 256 * inodeSize

func (t *table) put(ino uint32, n *inode) error {
	at := int64(ino - 1)
	switch {
	case at < t.from:
		return t.blocks.writeAt(n[:], t.first*BlockSize+at*inodeSize)
	case (at-t.from)*inodeSize >= tableBuffer:
		if err := t.flush(); err != nil {
			return err
		}
		t.from = at &^ (inodesEach - 1)
	}
	if end := int(at-t.from+1) * inodeSize; end > len(t.buf) {
		t.buf = append(t.buf, make([]byte, end-len(t.buf))...)
	}
	copy(t.buf[(at-t.from)*inodeSize:], n[:])
	return nil
}

func (t *table) flush() error {
	err := t.blocks.writeAt(t.buf, t.first*BlockSize+t.from*inodeSize)
	t.buf = t.buf[:0]
	return err
}

// A bitset grows as it is set.
type bitset []byte

func (b *bitset) set(i uint32) {
	for int(i/8) >= len(*b) {
		*b = append(*b, 0)
	}
	(*b)[i/8] |= 1 << (i % 8)
}

func (b bitset) has(i uint32) bool { return int(i/8) < len(b) && b[i/8]>>(i%8)&1 != 0 }

// fileType is what a directory says of a mode.
func fileType(mode uint32) byte {
	switch mode & list.TypeMask {
	case list.Regular:
		return 1
	case list.Directory:
		return 2
	case list.CharDevice:
		return 3
	case list.BlockDevice:
		return 4
	case list.FIFO:
		return 5
	case list.Socket:
		return 6
	}
	return 7 // a symbolic link
}
