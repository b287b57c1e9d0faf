package ext4

import "encoding/binary"

// Sizes of the tree of extents, in bytes: of its nodes' heads and entries.
const (
	extentHead  = 12
	extentEntry = 12
	nodeEntries = (BlockSize - extentHead - 4) / extentEntry // a checksum follows them
	maxExtent   = 32768                                      // blocks
)

// extents is where the content of one file is. Blocks of a file come in order, and so a node of the tree is complete when the
// next one begins: there is one of each level in memory.
type extents struct {
	w      *Writer
	seed   uint32
	levels []extentNode // the first has extents, each other one the nodes of the level before
	depth  int          // levels in use
	total  int64        // blocks

	last run   // the last extent
	at   int64 // its first block in the file
}

type extentNode struct {
	n int // entries
	b [BlockSize]byte
}

// begin starts on the content of an inode.
func (x *extents) begin(ino uint32) {
	x.seed, x.depth, x.total, x.last = x.w.inodeSeed(ino), 1, 0, run{}
	if len(x.levels) == 0 {
		x.levels = append(x.levels, extentNode{})
	}
	x.levels[0].n = 0
}

// append writes blocks of the file, from first; the last may be shorter.
func (x *extents) append(first int64, p []byte) error {
	for len(p) > 0 {
		got := x.w.alloc(blocksFor(int64(len(p))))
		size := min(int(got.count*BlockSize), len(p))
		if err := x.add(first, got); err != nil {
			return err
		}
		if err := x.w.blocks.write(got.at, p[:size]); err != nil {
			return err
		}
		first += got.count
		p = p[size:]
	}
	return nil
}

// add adds blocks that are at got to the file.
func (x *extents) add(first int64, got run) error {
	x.total += got.count
	node := &x.levels[0]
	if node.n > 0 && x.last.end() == got.at && x.at+x.last.count == first && x.last.count+got.count <= maxExtent {
		x.last.count += got.count
		binary.LittleEndian.PutUint16(node.entry(node.n - 1)[4:], uint16(x.last.count))
		return nil
	}
	e := [extentEntry]byte{}
	binary.LittleEndian.PutUint32(e[0:], uint32(first))
	binary.LittleEndian.PutUint16(e[4:], uint16(got.count))
	binary.LittleEndian.PutUint16(e[6:], uint16(got.at>>32))
	binary.LittleEndian.PutUint32(e[8:], uint32(got.at))
	x.last, x.at = got, first
	return x.push(0, &e)
}

func (n *extentNode) entry(i int) []byte { return n.b[extentHead+i*extentEntry:][:extentEntry] }

// push adds an entry to the node of a level.
func (x *extents) push(level int, e *[extentEntry]byte) error {
	if level == x.depth {
		if x.depth++; x.depth > len(x.levels) {
			x.levels = append(x.levels, extentNode{})
		}
		x.levels[level].n = 0
	}
	if x.levels[level].n == nodeEntries {
		if err := x.flush(level); err != nil {
			return err
		}
	}
	n := &x.levels[level]
	copy(n.entry(n.n), e[:])
	n.n++
	return nil
}

// flush writes the node of a level, and adds it to the level above.
func (x *extents) flush(level int) error {
	n := &x.levels[level]
	at := x.w.alloc(1).at
	x.total++
	n.head(n.b[:], nodeEntries, level)
	clear(n.b[extentHead+n.n*extentEntry:])
	binary.LittleEndian.PutUint32(n.b[BlockSize-4:], checksum(x.seed, n.b[:BlockSize-4]))
	if err := x.w.blocks.write(at, n.b[:]); err != nil {
		return err
	}
	e := [extentEntry]byte{}
	copy(e[:4], n.entry(0))
	binary.LittleEndian.PutUint32(e[4:], uint32(at))
	binary.LittleEndian.PutUint16(e[8:], uint16(at>>32))
	n.n = 0
	return x.push(level+1, &e)
}

func (n *extentNode) head(b []byte, most, level int) {
	binary.LittleEndian.PutUint16(b[0:], 0xf30a)
	binary.LittleEndian.PutUint16(b[2:], uint16(n.n))
	binary.LittleEndian.PutUint16(b[4:], uint16(most))
	binary.LittleEndian.PutUint16(b[6:], uint16(level))
}

// end makes the inode of a file of size bytes hold the root of the tree.
func (x *extents) end(n *inode, size int64) error {
	root := n.block()
	most := len(root)/extentEntry - 1
	level := 0
	for ; level < x.depth-1 || x.levels[level].n > most; level++ {
		if err := x.flush(level); err != nil {
			return err
		}
	}
	top := &x.levels[level]
	top.head(root, most, level)
	copy(root[extentHead:], top.b[extentHead:extentHead+top.n*extentEntry])
	n.setFlag(flagExtents)
	n.setSize(size)
	n.addBlocks(x.total)
	return nil
}
