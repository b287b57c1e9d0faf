package ext4

import (
	"encoding/binary"
	"errors"

	"github.com/ctbox/ctbox/applets/internal/archive"
	"github.com/ctbox/ctbox/applets/internal/list"
)

// A tree has the directories that may still get names. List order is not depth first, but these are all byte prefixes of
// the last name (see list.Tree). A directory is written when it can have no more.
type tree struct {
	w     *Writer
	last  []byte
	open  []*dir
	spare *dir // of those that were closed, one, for its memory
	long  int  // how many of open have names in Writer.names
	leaf  leaf
}

// A dir is an open directory. Its names are in memory until they are more than a block, and in Writer.names then.
type dir struct {
	length int // of its name, the beginning of tree.last
	ino    uint32
	parent uint32
	inode  inode
	links  uint32
	size   int      // of its entries, in bytes
	text   []byte   // records: inode, type and length of the name, the name; in multiples of 4 bytes
	hashed []uint64 // of records in Writer.names: the hash of the name, and where, in words of 4 bytes
}

const recordHead = 6

var errOrphan = errors.New("its directory is not there")

// root opens the root directory, of mode 0755 and owner 0:0 unless it is added.
func (t *tree) root(w *Writer) {
	t.w = w
	t.last = append(t.last, list.Root...)
	d := &dir{length: len(list.Root), ino: rootInode, parent: rootInode, links: 2}
	t.open = []*dir{d}
	t.w.dirs.set(rootInode)
	d.inode.set(&archive.DiskEntry{Mode: list.Directory | 0o755, Time: w.Time})
}

func (t *tree) setRoot(e *archive.DiskEntry) error {
	n := &t.open[0].inode
	n.set(e)
	if e.Time < minTime || e.Time > maxTime {
		return errTime
	}
	return t.w.attrs.put(t.w, n, e.Xattrs)
}

// advance goes on to name, and closes directories that it and all after it cannot be in.
func (t *tree) advance(name []byte) error {
	common := 0
	for common < min(len(name), len(t.last)) && name[common] == t.last[common] {
		common++
	}
	for len(t.open) > 1 {
		d := t.open[len(t.open)-1]
		if d.length <= common && d.length < len(name) && name[d.length] <= '/' {
			break
		}
		if err := t.close(); err != nil {
			return err
		}
	}
	t.last = append(t.last[:common], name[common:]...)
	return nil
}

// above is the directory that the last name is in.
func (t *tree) above() (*dir, error) {
	length := len(list.Parent(t.last))
	for i := len(t.open) - 1; i >= 0; i-- {
		if t.open[i].length == length {
			return t.open[i], nil
		}
	}
	return nil, errOrphan
}

// add adds the last name to its directory.
func (t *tree) add(name []byte, ino, mode uint32) error {
	d, err := t.above()
	if err != nil {
		return err
	}
	name = name[d.length+1:]
	if mode&list.TypeMask == list.Directory {
		d.links++
	}
	d.size += entrySize(len(name))
	d.text = binary.LittleEndian.AppendUint32(d.text, ino)
	d.text = append(d.text, fileType(mode), byte(len(name)))
	d.text = append(d.text, name...)
	d.text = append(d.text, zeroBlock[:-len(d.text)&3]...)
	if len(d.text) > BlockSize {
		return t.spill(d)
	}
	return nil
}

// push opens the directory that the last name is.
func (t *tree) push(e *archive.DiskEntry, n *inode) error {
	above, err := t.above()
	if err != nil {
		return err
	}
	d := t.spare
	if t.spare = nil; d == nil {
		d = new(dir)
	}
	*d = dir{length: len(e.Name), ino: t.w.used, parent: above.ino, inode: *n, links: 2, text: d.text[:0], hashed: d.hashed[:0]}
	t.open = append(t.open, d)
	t.w.dirs.set(d.ino)
	return nil
}

// spill moves names out of memory, and hashes them.
func (t *tree) spill(d *dir) error {
	if len(d.hashed) == 0 {
		t.long++
	}
	start := t.w.names.Size()
	for at := 0; at < len(d.text); {
		name := recordName(d.text[at:])
		d.hashed = append(d.hashed, uint64(t.w.hash(name))<<32|uint64(start+int64(at))/4)
		at += round4(recordHead + len(name))
	}
	_, err := t.w.names.Write(d.text)
	d.text = d.text[:0]
	return err
}

func recordName(record []byte) []byte { return record[recordHead:][:record[recordHead-1]] }

// close writes the directory that was opened last.
func (t *tree) close() error {
	d := t.open[len(t.open)-1]
	t.open = t.open[:len(t.open)-1]
	t.w.begin(d.ino)
	blocks := int64(1)
	var err error
	if len(d.hashed) == 0 && d.size <= leafSize-dotsSize {
		err = t.small(d)
	} else {
		blocks, err = t.hashed(d)
	}
	if err != nil {
		return err
	}
	n := &d.inode
	if n.setLinks(d.links); d.links >= maxLinks {
		n.setLinks(1) // which says: more than can be counted
	}
	if err := t.w.extents.end(n, blocks*BlockSize); err != nil {
		return err
	}
	t.spare = d
	return t.w.put(d.ino, n)
}

// small writes a directory of one block, in list order.
func (t *tree) small(d *dir) error {
	t.leaf.reset()
	t.leaf.add(d.ino, fileType(list.Directory), []byte("."))
	t.leaf.add(d.parent, fileType(list.Directory), []byte(".."))
	for at := 0; at < len(d.text); at += round4(recordHead + len(recordName(d.text[at:]))) {
		t.leaf.addRecord(d.text[at:])
	}
	t.leaf.seal(t.w.extents.seed)
	return t.w.append(0, t.leaf.b[:])
}

// A leaf is a block of entries.
type leaf struct {
	b    [BlockSize]byte
	n    int // bytes used
	last int // where the last entry begins
}

const (
	entryHead = 8 // bytes of an entry before its name
	leafTail  = 12
	leafSize  = BlockSize - leafTail
	dotsSize  = 24 // of the entries "." and ".."
)

func entrySize(name int) int { return entryHead + round4(name) }

func (l *leaf) reset() {
	clear(l.b[:])
	l.n, l.last = 0, 0
}

func (l *leaf) add(ino uint32, kind byte, name []byte) {
	e := l.b[l.n:]
	binary.LittleEndian.PutUint32(e, ino)
	size := entrySize(len(name))
	binary.LittleEndian.PutUint16(e[4:], uint16(size))
	e[6], e[7] = byte(len(name)), kind
	copy(e[entryHead:], name)
	l.last = l.n
	l.n += size
}

func (l *leaf) addRecord(record []byte) {
	l.add(binary.LittleEndian.Uint32(record), record[4], recordName(record))
}

// seal gives the rest of the block to the last entry, and adds the checksum, which looks like an entry that is not in use.
func (l *leaf) seal(seed uint32) {
	binary.LittleEndian.PutUint16(l.b[l.last+4:], uint16(leafSize-l.last))
	tail := l.b[leafSize:]
	tail[4], tail[7] = leafTail, 0xde
	binary.LittleEndian.PutUint32(tail[8:], checksum(seed, l.b[:leafSize]))
}
