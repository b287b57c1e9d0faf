package ext4

import (
	"encoding/binary"
	"math/bits"
)

// Features. None of them is newer than Linux 3.18.
const (
	compat   = 0x8 | 0x20                            // extended attributes, hashed directories
	incompat = 0x2 | 0x40 | 0x80 | 0x200             // types in directories, extents, 64 bits, flex_bg
	roCompat = 0x1 | 0x2 | 0x8 | 0x20 | 0x40 | 0x400 // sparse_super, large and huge files, more links of directories, extraSize, checksums

	compatJournal = 0x4
)

const (
	superAt   = 1024 // bytes from the start of the disk; copies are at the start of their block
	superSize = 1024
)

// Finish completes the file system, and returns its size in bytes. What is beyond the last byte that was written are zeros.
func (w *Writer) Finish() (size int64, err error) {
	for len(w.tree.open) > 0 {
		if err := w.tree.close(); err != nil {
			return 0, err
		}
	}
	if w.Journal {
		if err := w.addJournal(); err != nil {
			return 0, err
		}
	}
	if err := w.table.flush(); err != nil {
		return 0, err
	}
	g, err := w.divide()
	if err != nil {
		return 0, err
	}
	w.take(g)
	if err := w.finish(g); err != nil {
		return 0, err
	}
	return g.blocks * BlockSize, w.blocks.flush()
}

// Close releases what the Writer holds.
func (w *Writer) Close() { w.names.Close() }

// finish writes bitmaps, descriptors and superblocks.
func (w *Writer) finish(g *groups) error {
	descs := make([]byte, g.count*descSize)
	var freeBlocks, freeInodes int64
	for group := range g.count {
		d := descriptor(descs[group*descSize:][:descSize])
		blocks, err := w.describe(g, group, d)
		if err != nil {
			return err
		}
		freeBlocks += blocks
		freeInodes += int64(binary.LittleEndian.Uint16(d[14:]))
	}
	super := w.super(g, freeBlocks, freeInodes)
	for group := range g.count {
		if !hasSuper(group) {
			continue
		}
		block := make([]byte, BlockSize)
		at := 0
		if group == 0 {
			at = superAt
		}
		binary.LittleEndian.PutUint16(super[90:], uint16(group))
		binary.LittleEndian.PutUint32(super[superSize-4:], checksum(^uint32(0), super[:superSize-4]))
		copy(block[at:], super)
		if err := w.blocks.write(group*groupBlocks, block); err != nil {
			return err
		}
		if err := w.blocks.write(group*groupBlocks+1, descs); err != nil {
			return err
		}
	}
	return nil
}

// A descriptor is of a group.
type descriptor []byte

func (d descriptor) put16(lo, hi int, v uint32) {
	binary.LittleEndian.PutUint16(d[lo:], uint16(v))
	binary.LittleEndian.PutUint16(d[hi:], uint16(v>>16))
}

func (d descriptor) putBlock(lo int, at int64) {
	binary.LittleEndian.PutUint32(d[lo:], uint32(at))
	binary.LittleEndian.PutUint32(d[lo+32:], uint32(at>>32))
}

// Flags of groups.
const (
	inodesUnused = 1 // the bitmap of inodes is not there
	inodesZeroed = 4 // the kernel need not clear the table
)

// describe writes a group's bitmaps and fills in its descriptor.
func (w *Writer) describe(g *groups, group int64, d descriptor) (free int64, err error) {
	var bitmap [BlockSize]byte
	free = w.inUse(g, group, &bitmap)
	d.putBlock(0, g.bitmaps[group].at)
	d.putBlock(4, g.bitmaps[group].at+1)
	d.putBlock(8, g.tables[group])
	d.put16(12, 44, uint32(free))
	d.put16(24, 56, checksum(w.seed, bitmap[:]))
	if !isZero(bitmap[:]) {
		if err := w.blocks.write(g.bitmaps[group].at, bitmap[:]); err != nil {
			return 0, err
		}
	}

	used := min(max(int64(w.used)-group*g.inodes, 0), g.inodes)
	d.put16(14, 46, uint32(g.inodes-used))
	d.put16(16, 48, w.countDirs(group*g.inodes, used))
	d.put16(28, 50, uint32(g.inodes-used))
	d[18] = inodesZeroed
	if used == 0 {
		d[18] |= inodesUnused
	} else {
		setBits(&bitmap, used, g.inodes)
		d.put16(26, 58, checksum(w.seed, bitmap[:g.inodes/8]))
		err = w.blocks.write(g.bitmaps[group].at+1, bitmap[:])
	}
	sum := checksum(w.seed, binary.LittleEndian.AppendUint32(nil, uint32(group)))
	binary.LittleEndian.PutUint16(d[30:], uint16(checksum(sum, d)))
	return free, err
}

// setBits makes a bitmap of inodes: those in use, and those beyond the last, have their bit set.
func setBits(b *[BlockSize]byte, used, count int64) {
	clear(b[:])
	for i := range int64(len(b) * 8) {
		if i < used || i >= count {
			b[i/8] |= 1 << (i % 8)
		}
	}
}

// countDirs counts the directories among some inodes, after first.
func (w *Writer) countDirs(first, count int64) (n uint32) {
	for i := first + 1; i <= first+count; i++ {
		if w.dirs.has(uint32(i)) {
			n++
		}
	}
	return n
}

// super makes the superblock.
func (w *Writer) super(g *groups, freeBlocks, freeInodes int64) []byte {
	s := make([]byte, superSize)
	put := func(at int, v int64) { binary.LittleEndian.PutUint32(s[at:], uint32(v)) }
	put(0, g.inodes*g.count)
	put(4, g.blocks)
	put(336, g.blocks>>32)
	put(12, freeBlocks)
	put(344, freeBlocks>>32)
	put(16, freeInodes)
	put(24, int64(bits.Len(BlockSize>>11))) // blocks are 1024 bytes, shifted by this
	put(28, int64(bits.Len(BlockSize>>11)))
	put(32, groupBlocks)
	put(36, groupBlocks)
	put(40, g.inodes)
	put(52, 0xffff<<16)   // no check after so many mounts
	put(56, 0xef53|1<<16) // the magic number; clean
	put(60, 1)            // go on after errors
	put(76, 1)            // revision
	put(84, firstInode)
	put(88, inodeSize)
	put(92, compat)
	put(96, incompat)
	put(100, roCompat)
	copy(s[104:], w.uuid[:])
	copy(s[120:], w.Label)
	copy(s[236:], w.hashSeed[:])
	s[252] = hashTEA
	s[254] = descSize
	put(256, 0xc)                                                         // mount with extended attributes and ACLs
	for _, at := range [][2]int{{48, 0x274}, {64, 0x277}, {264, 0x276}} { // times: of the last write, of the last check, of its making
		put(at[0], w.Time)
		s[at[1]] = byte(w.Time >> 32)
	}
	put(348, extraSize|extraSize<<16)
	put(352, 2) // hashes are of unsigned bytes
	s[372] = 4  // 16 groups are used as one
	s[373] = 1  // checksums are CRC32C
	if w.Journal {
		put(92, compat|compatJournal)
		put(224, journalInode)
		s[253] = 1 // a copy of its inode follows
		copy(s[268:], w.journal.block())
		copy(s[268+60:], w.journal[108:112])
		copy(s[268+64:], w.journal[4:8])
	}
	return s
}
