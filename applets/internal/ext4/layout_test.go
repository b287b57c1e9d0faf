package ext4

import (
	"errors"
	"testing"

	"github.com/ctbox/ctbox/applets/internal/list"
)

func TestSuperblocks(t *testing.T) {
	var got []int64
	for group := range int64(130) {
		if hasSuper(group) {
			got = append(got, group)
		}
	}
	want := []int64{0, 1, 3, 5, 7, 9, 25, 27, 49, 81, 125}
	if len(got) != len(want) {
		t.Fatalf("%v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%v, want %v", got, want)
		}
	}
}

// What is taken is never taken twice, and neither a superblock nor the table of inodes; the rest is all taken or free.
func TestAlloc(t *testing.T) {
	for _, inodes := range []int64{10, 600_000, 3_000_000} { // in group 0; where none is, in the way; far on
		w := newWriter(t, disk{}, Options{Inodes: inodes})
		var taken bitset
		count := int64(0)
		for i := int64(0); w.next < 30*groupBlocks; i++ {
			got := w.alloc(1 + i*7919%50_000)
			if got.count == 0 {
				t.Fatal("nothing")
			}
			for at := got.at; at < got.end(); at++ {
				group := at / groupBlocks
				switch {
				case taken.has(uint32(at)):
					t.Fatalf("block %d twice", at)
				case hasSuper(group) && at-group*groupBlocks <= w.descs:
					t.Fatalf("block %d is for the descriptors of group %d", at, group)
				case at >= w.inodes.at && at < w.inodes.end():
					t.Fatalf("block %d is of the inodes", at)
				}
				taken.set(uint32(at))
				count++
			}
		}
		if supers := int64(11) * (1 + w.descs); count < w.next-w.inodes.count-supers {
			t.Errorf("%d blocks of %d", count, w.next)
		}
		if size := w.inodes.count * inodesEach; size < inodes+inodes/8 {
			t.Errorf("%d inodes for %d", size, inodes)
		}
	}
}

// A file goes on behind what is in its way.
func TestAcross(t *testing.T) {
	d := disk{}
	w := newWriter(t, d, Options{Inodes: 1})
	w.next = groupBlocks - 3
	content := make([]byte, 7*BlockSize+1)
	for i := range content {
		content[i] = byte(i>>8 + 1)
	}
	ino := int64(addFile(t, w, "./f", content))
	finish(t, w)
	if got := d.read(t, ino); string(got) != string(content) || u16(d.inode(ino), 42) != 2 {
		t.Errorf("%d bytes in %d extents", len(got), u16(d.inode(ino), 42))
	}
}

// audit checks what the superblock and the groups say against each other, the bitmaps, and how many blocks have content.
func audit(t *testing.T, d disk, size, content int64) {
	t.Helper()
	s := d.super()
	blocks, each := u32(s, 4), u32(s, 40)
	groups := groupsFor(blocks)
	if blocks*BlockSize > size || u32(s, 0) != groups*each {
		t.Errorf("%d blocks in %d bytes; %d inodes, %d in each of %d groups", blocks, size, u32(s, 0), each, groups)
	}
	var free, freeInodes, dirs int64
	var used bitset
	var all []int64
	for group := range groups {
		g := d.group(group)
		for _, at := range []int64{u32(g, 0), u32(g, 4)} {
			if used.has(uint32(at)) || at >= blocks {
				t.Errorf("group %d: bitmap at %d", group, at)
			}
			used.set(uint32(at))
			all = append(all, at)
		}
		for i := range each / inodesEach {
			at := u32(g, 8) + i
			if used.has(uint32(at)) || at >= blocks {
				t.Errorf("group %d: inodes at %d", group, at)
			}
			used.set(uint32(at))
			all = append(all, at)
		}
		free += u16(g, 12)
		freeInodes += u16(g, 14)
		dirs += u16(g, 16)
	}
	inUse := int64(len(all)) + content
	for group := range groups {
		if hasSuper(group) {
			inUse += 1 + blocksFor(groups*descSize)
		}
	}
	if inUse != blocks-free {
		t.Errorf("%d blocks of %d are free, and %d in use", free, blocks, inUse)
	}
	for _, at := range all {
		b := d.block(u32(d.group(at/groupBlocks), 0))
		if bit := at % groupBlocks; b[bit/8]>>(bit%8)&1 == 0 {
			t.Errorf("block %d is in use, but free", at)
		}
	}
	if free != u32(s, 12) || freeInodes != u32(s, 16) {
		t.Errorf("free: %d blocks and %d inodes, the superblock says %d and %d", free, freeInodes, u32(s, 12), u32(s, 16))
	}
}

func TestSizes(t *testing.T) {
	for _, test := range []struct {
		name   string
		blocks int64 // of content
		o      Options
		groups int64
	}{
		{"small", 10, Options{Free: 1 << 20}, 1},
		{"64 groups", 60 * groupBlocks, Options{Free: 1 << 20}, 61},
		{"more groups than inodes allow for in the table", 200 * groupBlocks, Options{Free: 1 << 20}, 201},
		{"little content, many inodes", 10, Options{Inodes: 1_000_000}, 31},
		{"inodes far on", 10, Options{Inodes: 3_000_000}, 92},
		{"exact", 10, Options{Size: 777 << 20}, 7},
		{"a last group of no use", 10, Options{Size: 128<<20 + 4096}, 1},
		{"large", 10, Options{Size: 1 << 35}, 256},
	} {
		d := disk{}
		w := newWriter(t, d, test.o)
		for left := test.blocks; left > 0; {
			left -= w.alloc(left).count
		}
		for range min(test.o.Inodes, 1000) {
			w.used++
		}
		w.used = uint32(max(int64(w.used), test.o.Inodes))
		size := finish(t, w)
		if got := groupsFor(size / BlockSize); got != test.groups {
			t.Errorf("%s: %d groups, want %d", test.name, got, test.groups)
		}
		if test.o.Size > 0 && (size > test.o.Size || size < test.o.Size-groupBlocks*BlockSize) {
			t.Errorf("%s: size %d", test.name, size)
		}
		if free := u32(d.super(), 12) * BlockSize; free < test.o.Free {
			t.Errorf("%s: %d bytes are free, want %d", test.name, free, test.o.Free)
		}
		if t.Run(test.name, func(t *testing.T) { audit(t, d, size, test.blocks+1) }); len(d) > 100_000 {
			t.Errorf("%s: %d blocks are written", test.name, len(d))
		}
	}
}

// The size that a file system says it needs is enough.
func TestTooSmall(t *testing.T) {
	for _, test := range []struct{ blocks, inodes, size int64 }{
		{10, 10, 1 << 10}, {10, 10, 200 << 10}, {5000, 10, 1 << 20}, {5000, 100_000, 20 << 20}, {200_000, 10, 1 << 30 >> 2}, {10, 1_000_000, 1 << 30},
	} {
		try := func(size int64) error {
			w := newWriter(t, disk{}, Options{Size: size, Inodes: test.inodes, Journal: true})
			for left := test.blocks; left > 0; {
				left -= w.alloc(left).count
			}
			w.used += uint32(test.inodes)
			_, err := w.Finish()
			return err
		}
		var small *TooSmall
		if err := try(test.size); !errors.As(err, &small) {
			t.Fatalf("%+v: %v", test, err)
		}
		if err := try(small.Needed); err != nil || small.Needed%(1<<20) != 0 {
			t.Errorf("%+v: %d are needed, but then: %v", test, small.Needed, err)
		}
	}
}

func TestLargeWithoutSize(t *testing.T) {
	w := newWriter(t, disk{}, Options{})
	w.next = 4096*groupBlocks + 5
	if _, err := w.Finish(); !errors.Is(err, errLarge) {
		t.Error(err)
	}
}

func TestJournal(t *testing.T) {
	for size, blocks := range map[int64]int64{20 << 20: 1 << 10, 300 << 20: 1 << 12, 2 << 30: 1 << 14} {
		d := disk{}
		w := newWriter(t, d, Options{Size: size, Journal: true})
		finish(t, w)
		n := d.inode(journalInode)
		if u16(n, 0) != list.Regular|0o600 || u32(n, 4) != blocks*BlockSize {
			t.Errorf("% x", n[:40])
		}
		j := d.read(t, journalInode)
		if string(j[:8]) != "\xc0\x3b\x39\x98\x00\x00\x00\x04" || u32(d.super(), 224) != journalInode || u32(d.super(), 92)&compatJournal == 0 {
			t.Errorf("journal % x", j[:32])
		}
		if string(d.super()[268:268+60]) != string(n[40:100]) {
			t.Error("the superblock has another copy of the journal's inode")
		}
	}
}
