package ext4

import (
	"encoding/binary"

	"github.com/ctbox/ctbox/applets/internal/archive"
	"github.com/ctbox/ctbox/applets/internal/list"
)

// journalBlocks is how large a journal is for so many blocks: between mke2fs's sizes, in fewer steps.
func journalBlocks(blocks int64) int64 {
	switch {
	case blocks < 1<<15:
		return 1 << 10 // 4 MiB, the least that the kernel takes
	case blocks < 1<<18:
		return 1 << 12
	}
	return 1 << 14
}

// addJournal makes a journal that is empty: a superblock of its own (journal.rst), and zeros.
func (w *Writer) addJournal() error {
	count := journalBlocks(max(w.Size, w.next*BlockSize+w.Free) / BlockSize)
	n := &w.journal
	n.set(&archive.DiskEntry{Mode: list.Regular | 0o600, Time: w.Time})
	w.begin(journalInode)
	for at := int64(0); at < count; {
		got := w.alloc(count - at)
		if err := w.extents.add(at, got); err != nil {
			return err
		}
		if at == 0 {
			if err := w.blocks.write(got.at, w.journalSuper(count)); err != nil {
				return err
			}
		}
		at += got.count
	}
	if err := w.extents.end(n, count*BlockSize); err != nil {
		return err
	}
	return w.put(journalInode, n)
}

func (w *Writer) journalSuper(count int64) []byte {
	s := make([]byte, superSize)
	for _, f := range [][2]uint32{
		{0, 0xc03b3998}, {4, 4}, // what it is: a superblock, version 2
		{12, BlockSize}, {16, uint32(count)}, {20, 1}, // its first block for transactions
		{24, 1}, // the first transaction
		{64, 1}, // file system that has it
	} {
		binary.BigEndian.PutUint32(s[f[0]:], f[1])
	}
	return s
}
