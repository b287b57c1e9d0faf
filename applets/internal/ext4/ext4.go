// Package ext4 writes ext4 file systems: files go in, in list order, and blocks come out, most of them one after another.
// Invariant: the bytes are a function of what is added and of Options; there is no clock, and no random number.
//
// The format is that of Documentation/filesystems/ext4 in the kernel: blocks of 4096 bytes, inodes of 256, extents, hashed
// directories, checksums of all metadata, and groups whose bitmaps and inodes may lie anywhere (flex_bg). So all inodes stand in
// one table whose place is known at the start, content follows as it comes, and what depends on how much that was is
// written at the end: bitmaps, and in places that were kept free, the descriptors of groups.
package ext4

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/ctbox/ctbox/applets/internal/archive"
	"github.com/ctbox/ctbox/applets/internal/list"
	"github.com/ctbox/ctbox/applets/internal/spool"
)

// BlockSize is that of blocks in bytes. What a file system consists of are whole blocks.
const BlockSize = 4096

// MaxLabel is the longest label in bytes.
const MaxLabel = 16

// Numbers of inodes.
const (
	rootInode    = 2
	journalInode = 8
	firstInode   = 11 // that is not kept for the file system's own use
)

// Options are what a file system depends on besides its files.
type Options struct {
	Size    int64 // in bytes, rounded down to blocks; if 0, what is needed and Free
	Free    int64 // bytes that are left free, at least, if Size is 0
	Inodes  int64 // how many there are for what is added, at least
	Label   string
	Journal bool
	Seed    [sha256.Size]byte // what the UUID, and the seed of hashes in directories, are made of
	Time    int64             // of what has no other, in seconds since 1970
}

// A File is what a file system is written to: zeros, at first. Nothing is written where zeros belong.
type File interface {
	io.WriterAt
}

// A Writer writes one file system.
type Writer struct {
	Options
	layout
	blocks blocks
	table  table
	tree   tree
	names  spool.Spool
	extents
	attrs attributes

	uuid, hashSeed [16]byte
	seed           uint32 // of checksums
	used           uint32 // the last inode in use
	dirs           bitset // inodes of directories
	journal        inode
	chunk          []byte
}

var castagnoli *crc32.Table

// checksum goes on with a CRC32C as the kernel has it: without the inversion at both ends.
func checksum(sum uint32, p []byte) uint32 { return ^crc32.Update(^sum, castagnoli, p) }

// NewWriter begins a file system at the start of f.
func NewWriter(f File, o Options) (*Writer, error) {
	if len(o.Label) > MaxLabel {
		return nil, fmt.Errorf("label %q: longer than %d bytes", o.Label, MaxLabel)
	}
	if o.Time < minTime || o.Time > maxTime {
		return nil, errTime
	}
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	w := &Writer{Options: o, used: firstInode - 1, chunk: make([]byte, chunkSize)}
	w.identify()
	w.blocks = newBlocks(f)
	if err := w.plan(o); err != nil {
		return nil, err
	}
	w.table = table{blocks: &w.blocks, first: w.inodes.at}
	w.extents.w = w
	w.tree.root(w)
	return w, nil
}

// identify makes the UUID and the seeds, as RFC 4122 has those UUIDs (version 8, RFC 9562) that are made of anything.
func (w *Writer) identify() {
	copy(w.uuid[:], w.Seed[:])
	copy(w.hashSeed[:], w.Seed[len(w.uuid):])
	for _, id := range []*[16]byte{&w.uuid, &w.hashSeed} {
		id[6] = id[6]&0x0f | 0x80
		id[8] = id[8]&0x3f | 0x80
	}
	w.seed = checksum(^uint32(0), w.uuid[:])
}

// inodeSeed is what checksums of all that belongs to an inode begin with.
func (w *Writer) inodeSeed(ino uint32) uint32 {
	return checksum(w.seed, binary.LittleEndian.AppendUint64(nil, uint64(ino))) // and its generation, which is 0
}

// Reasons to refuse a file.
var (
	errTime   = errors.New("time is not between 1901 and 2446, as ext4 has them")
	errSize   = errors.New("larger than 16 TiB, the most for a file in ext4")
	errDevice = errors.New("device number beyond 4095:1048575, the last that Linux knows")
	errLinks  = errors.New("more than 65000 hard links, the most in ext4")
	errTarget = errors.New("the target of a symbolic link must have 1 to 4095 bytes")
	errInodes = errors.New("more files than inodes")
)

// Limits of ext4.
const (
	maxFile  = 1<<44 - BlockSize
	maxLinks = 65000
	minTime  = -1 << 31
	maxTime  = 1<<34 - 1<<31 - 1
	maxMajor = 1<<12 - 1
	maxMinor = 1<<20 - 1
)

// Add adds a file that is neither a regular file nor another name for one.
func (w *Writer) Add(e *archive.DiskEntry) error {
	if err := w.tree.advance(e.Name); err != nil {
		return err
	}
	if len(e.Name) == len(list.Root) {
		return w.tree.setRoot(e)
	}
	n, err := w.newInode(e)
	if err != nil {
		return err
	}
	if err := w.tree.add(e.Name, w.used, e.Mode); err != nil {
		return err
	}
	switch e.Mode & list.TypeMask {
	case list.Directory:
		return w.tree.push(e, n)
	case list.Symlink:
		err = w.symlink(n, e.Target)
	case list.CharDevice, list.BlockDevice:
		err = n.setDevice(e.Major, e.Minor)
	}
	if err != nil {
		return err
	}
	return w.put(w.used, n)
}

// AddFile adds a regular file of size bytes, which c has, or e.Content if c is nil. It returns a number for Link.
func (w *Writer) AddFile(e *archive.DiskEntry, c io.Reader, size int64) (ino uint32, err error) {
	switch {
	case size > maxFile:
		return 0, errSize
	case e.Links > maxLinks:
		return 0, errLinks
	}
	if err := w.tree.advance(e.Name); err != nil {
		return 0, err
	}
	n, err := w.newInode(e)
	if err != nil {
		return 0, err
	}
	ino = w.used
	if err := w.tree.add(e.Name, ino, e.Mode); err != nil {
		return 0, err
	}
	w.begin(ino)
	if c == nil {
		err = w.content(0, e.Content)
	} else {
		err = w.stream(c, size)
	}
	if err != nil {
		return 0, err
	}
	if err := w.extents.end(n, size); err != nil {
		return 0, err
	}
	return ino, w.put(ino, n)
}

// Link adds another name for a file. Its entry's Links has counted it.
func (w *Writer) Link(name []byte, ino uint32) error {
	if err := w.tree.advance(name); err != nil {
		return err
	}
	return w.tree.add(name, ino, list.Regular)
}

// newInode takes the next inode, with all that an entry has but content.
func (w *Writer) newInode(e *archive.DiskEntry) (*inode, error) {
	if int64(w.used) >= w.inodes.count*inodesEach {
		return nil, errInodes
	}
	w.used++
	n := new(inode)
	n.set(e)
	if e.Time < minTime || e.Time > maxTime {
		return nil, errTime
	}
	return n, w.attrs.put(w, n, e.Xattrs)
}

// put writes an inode that is complete.
func (w *Writer) put(ino uint32, n *inode) error {
	n.seal(w.inodeSeed(ino))
	return w.table.put(ino, n)
}

// symlink puts a target into an inode, or into a block if it is long.
func (w *Writer) symlink(n *inode, target []byte) error {
	if len(target) == 0 || len(target) >= BlockSize {
		return errTarget
	}
	if len(target) < len(n.block()) {
		copy(n.block(), target)
		n.setSize(int64(len(target)))
		return nil
	}
	w.begin(w.used)
	if err := w.content(0, target); err != nil {
		return err
	}
	return w.extents.end(n, int64(len(target)))
}

// chunkSize is how much of a file is read at once, in bytes.
const chunkSize = 256 << 10

// stream writes exactly size bytes of c.
func (w *Writer) stream(c io.Reader, size int64) error {
	for at := int64(0); at < size; {
		p := w.chunk[:min(chunkSize, size-at)]
		if _, err := io.ReadFull(c, p); err == io.EOF || err == io.ErrUnexpectedEOF {
			return archive.ErrRacing
		} else if err != nil {
			return err
		}
		if err := w.content(at/BlockSize, p); err != nil {
			return err
		}
		at += int64(len(p))
	}
	if n, _ := io.ReadFull(c, w.chunk[:1]); n > 0 {
		return archive.ErrRacing
	}
	return nil
}

var zeroBlock [BlockSize]byte

// content writes p, whose first block is that of the file. Blocks of zeros become holes.
func (w *Writer) content(first int64, p []byte) error {
	for len(p) > 0 {
		n := 0
		for n < len(p) && !isZero(p[n:min(n+BlockSize, len(p))]) {
			n = min(n+BlockSize, len(p))
		}
		if n == 0 {
			n = min(BlockSize, len(p))
		} else if err := w.append(first, p[:n]); err != nil {
			return err
		}
		first += blocksFor(int64(n))
		p = p[n:]
	}
	return nil
}

func isZero(p []byte) bool { return string(p) == string(zeroBlock[:len(p)]) }
