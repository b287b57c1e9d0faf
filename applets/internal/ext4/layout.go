package ext4

import (
	"errors"
	"fmt"
	"math/bits"
)

// Sizes of groups, in blocks and bytes.
const (
	groupBlocks = 8 * BlockSize // what one block of bits can stand for
	groupInodes = 8 * BlockSize // at most
	descSize    = 64
	descsEach   = BlockSize / descSize // in a block

	// unknownDescs is how many blocks are kept free for the descriptors of groups while the size is unknown: enough for
	// 512 GiB. Those that are not needed are free space.
	unknownDescs = 64

	fewestBlocks = 256           // in the last group, and what sizes are multiples of
	inodeRatio   = 4 * BlockSize // bytes of free space for which there is an inode, as mke2fs has it
)

// A run is some blocks, one after another.
type run struct{ at, count int64 }

func (r run) end() int64 { return r.at + r.count }

// layout says what is where. Blocks are taken one after another, but not those of superblocks and descriptors, nor the table
// of inodes.
type layout struct {
	next   int64 // block
	descs  int64 // blocks for descriptors of groups, after each superblock
	inodes run   // the table of inodes
	gaps   []run // blocks before next that are free
}

// hasSuper reports whether a group begins with a copy of the superblock (sparse_super): 0, 1 and powers of 3, 5 and 7.
func hasSuper(group int64) bool {
	if group <= 1 {
		return true
	}
	for _, base := range []int64{3, 5, 7} {
		n := base
		for n < group {
			n *= base
		}
		if n == group {
			return true
		}
	}
	return false
}

func groupsFor(blocks int64) int64 { return (blocks + groupBlocks - 1) / groupBlocks }

var (
	errLarge    = errors.New("more than 512 GiB: --size must say how large it is to be")
	errTooLarge = errors.New("larger than the 16 TiB that these file systems can be")
)

// plan finds a place for the table of inodes. How many a group has is only known in the end; but the tables of all groups,
// one after another, are one table whatever that is.
func (w *Writer) plan(o Options) error {
	if o.Size > maxFile || o.Free > maxFile {
		return errTooLarge
	}
	w.descs = unknownDescs
	if o.Size > 0 {
		w.descs = blocksFor(max(groupsFor(o.Size/BlockSize), 1) * descSize)
	}
	w.next = 1 + w.descs
	needed := firstInode + o.Inodes
	count := needed + max(1024, needed/8, o.Free/inodeRatio, o.Size/inodeRatio-needed)
	size := (count + inodesEach - 1) / inodesEach
	at := w.next
	for group := groupsFor(at); at+size > group*groupBlocks; group++ {
		if hasSuper(group) {
			at = group*groupBlocks + 1 + w.descs
		}
	}
	w.inodes = run{at, size}
	return nil
}

// skip moves next on to a block that is free.
func (l *layout) skip() {
	for moved := true; moved; {
		moved = false
		if l.next == l.inodes.at && l.inodes.count > 0 {
			l.next, moved = l.inodes.end(), true
		}
		if l.next%groupBlocks == 0 && hasSuper(l.next/groupBlocks) {
			l.next, moved = l.next+1+l.descs, true
		}
	}
}

// alloc takes up to count blocks.
func (l *layout) alloc(count int64) run {
	l.skip()
	end := l.next + count
	if l.inodes.at > l.next {
		end = min(end, l.inodes.at)
	}
	for group := l.next/groupBlocks + 1; group*groupBlocks < end; group++ {
		if hasSuper(group) {
			end = group * groupBlocks
		}
	}
	got := run{l.next, end - l.next}
	l.next = end
	return got
}

// allocRun takes count blocks, one after another.
func (l *layout) allocRun(count int64) run {
	for {
		got := l.alloc(count)
		if got.count == count {
			return got
		}
		l.gaps = append(l.gaps, got)
	}
}

// groups is how the space is divided in the end.
type groups struct {
	count, blocks int64
	inodes        int64   // in each
	inside        int64   // how many have theirs in the table
	tables        []int64 // where those of the inodes are
	bitmaps       []run   // two blocks for each: of blocks, and of inodes
}

// TooSmall is the error of a file system that does not fit in Options.Size.
type TooSmall struct {
	Needed int64 // bytes with which it would, a multiple of 1 MiB
}

func (e *TooSmall) Error() string { return fmt.Sprintf("too small: %d bytes are needed", e.Needed) }

// divide finds how many groups there must be.
func (w *Writer) divide() (*groups, error) {
	g := &groups{count: 1, blocks: w.Size / BlockSize}
	if w.Size > 0 {
		g.trim(w.descs)
		if need := w.needed(g); need > g.blocks {
			return nil, &TooSmall{round(need+need/60) * BlockSize} // with the inodes that there are then
		}
		return g, nil
	}
	for {
		need := round(w.needed(g))
		if groupsFor(need) <= g.count {
			g.blocks = max(need, (g.count-1)*groupBlocks+fewestBlocks)
			break
		}
		g.count = groupsFor(need)
	}
	if blocksFor(g.count*descSize) > w.descs {
		return nil, errLarge
	}
	return g, nil
}

func round(blocks int64) int64 { return (blocks + fewestBlocks - 1) &^ (fewestBlocks - 1) }

// trim makes the last group large enough to be of use.
func (g *groups) trim(descs int64) {
	g.count = max(groupsFor(g.blocks), 1)
	if last := g.blocks - (g.count-1)*groupBlocks; g.count > 1 && last < 1+descs+fewestBlocks {
		g.count--
		g.blocks = g.count * groupBlocks
	}
}

// needed shares out the inodes, and is how many blocks there must be for so many groups.
func (w *Writer) needed(g *groups) int64 {
	all, used := w.inodes.count*inodesEach, int64(w.used)
	g.inodes = min(all/g.count&^(inodesEach-1), groupInodes)
	if g.inodes*g.count < used {
		g.inodes = min(all/g.count&^(inodesEach-1)+inodesEach, groupInodes)
	}
	g.inside = min(g.count, all/g.inodes)
	need := max(w.next, w.inodes.end()) + 2*g.count + (g.count-g.inside)*g.inodes/inodesEach
	for group := groupsFor(w.next); group < g.count; group++ {
		if hasSuper(group) {
			need += 1 + w.descs
		}
	}
	if w.Size == 0 {
		need += blocksFor(w.Free)
	}
	fewest := (used + groupInodes - 1) / groupInodes
	return max(need, (fewest-1)*groupBlocks+fewestBlocks)
}

// take takes the blocks for what groups have.
func (w *Writer) take(g *groups) {
	each := g.inodes / inodesEach
	for i := range g.count {
		g.bitmaps = append(g.bitmaps, w.allocRun(2))
		at := w.inodes.at + i*each
		if i >= g.inside {
			at = w.allocRun(each).at
		}
		g.tables = append(g.tables, at)
	}
	if w.next < w.inodes.at {
		w.gaps = append(w.gaps, run{w.next, w.inodes.at - w.next})
		w.next = w.inodes.end()
	}
	end := w.inodes.at + g.inside*each
	w.gaps = append(w.gaps, run{end, w.inodes.end() - end})
}

// inUse fills in the blocks of a group that are in use, and counts those that are not.
func (w *Writer) inUse(g *groups, group int64, b *[BlockSize]byte) (free int64) {
	clear(b[:])
	start := group * groupBlocks
	mark := func(r run, used bool) {
		for at := max(r.at, start); at < min(r.end(), start+groupBlocks); at++ {
			bit := at - start
			if used {
				b[bit/8] |= 1 << (bit % 8)
			} else {
				b[bit/8] &^= 1 << (bit % 8)
			}
		}
	}
	mark(run{0, w.next}, true)
	for _, gap := range w.gaps {
		mark(gap, false)
	}
	if hasSuper(group) {
		mark(run{start, 1 + w.descs}, false)
		mark(run{start, 1 + blocksFor(g.count*descSize)}, true)
	}
	mark(run{g.blocks, groupBlocks}, true)
	for _, c := range b {
		free += 8 - int64(bits.OnesCount8(c))
	}
	return free
}
