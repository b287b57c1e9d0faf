package ext4

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/ctbox/ctbox/applets/internal/archive"
	"github.com/ctbox/ctbox/applets/internal/list"
)

func newWriter(t *testing.T, d disk, o Options) *Writer {
	t.Helper()
	w, err := NewWriter(d, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func finish(t *testing.T, w *Writer) int64 {
	t.Helper()
	size, err := w.Finish()
	must(t, err)
	return size
}

func entry(name string, mode uint32) *archive.DiskEntry {
	return &archive.DiskEntry{Name: []byte(name), Mode: mode, Links: 1}
}

func addDir(t *testing.T, w *Writer, name string) {
	t.Helper()
	must(t, w.Add(entry(name, list.Directory|0o755)))
}

// addFile adds a file in pieces as a pipe gives them.
func addFile(t *testing.T, w *Writer, name string, content []byte) (ino uint32) {
	t.Helper()
	ino, err := w.AddFile(entry(name, list.Regular|0o644), bytes.NewReader(content), int64(len(content)))
	must(t, err)
	return ino
}

func TestTree(t *testing.T) {
	d := disk{}
	w := newWriter(t, d, Options{Inodes: 20, Label: "sixteen bytes ok", Time: 1<<32 + 7})
	root := entry(".", list.Directory|0o1777)
	root.UID, root.GID, root.Time = 70000, 1<<32-2, -5
	must(t, w.Add(root))
	addDir(t, w, "./a")
	addFile(t, w, "./a-b", []byte("between")) // sorts between a directory and what is in it
	first := entry("./a/x", list.Regular|0o4755)
	first.Links, first.Content = 3, []byte("content")
	ino, err := w.AddFile(first, nil, 7)
	must(t, err)
	must(t, w.Link([]byte("./a/y"), ino))
	addDir(t, w, "./b")
	addDir(t, w, "./b/c")
	must(t, w.Link([]byte("./b/z"), ino))
	device := entry("./dev1", list.CharDevice|0o600)
	device.Major, device.Minor = 5, 1
	must(t, w.Add(device))
	device = entry("./dev2", list.BlockDevice|0o600)
	device.Major, device.Minor = 259, 70000
	must(t, w.Add(device))
	must(t, w.Add(entry("./fifo", list.FIFO|0o600)))
	for _, length := range []int{59, 60, 4095} {
		link := entry(fmt.Sprintf("./l%04d", length), list.Symlink|0o777)
		link.Target = bytes.Repeat([]byte{'t'}, length)
		must(t, w.Add(link))
	}
	must(t, w.Add(entry("./socket", list.Socket|0o600)))
	if size := finish(t, w); size%BlockSize != 0 {
		t.Errorf("size %d", size)
	}

	if s := d.super(); u16(s, 56) != 0xef53 || string(s[120:136]) != "sixteen bytes ok" || u32(s, 48) != 7 || s[0x274] != 1 {
		t.Errorf("superblock % x", s[:136])
	}
	top := names(t, d.read(t, rootInode))
	want := map[string]int64{".": 2, "..": 2, "a": 11, "a-b": 12, "b": 14, "dev1": 16, "dev2": 17, "fifo": 18,
		"l0059": 19, "l0060": 20, "l4095": 21, "socket": 22}
	if !maps.Equal(top, want) {
		t.Errorf("root: %v, want %v", top, want)
	}
	if got := names(t, d.read(t, 11)); !maps.Equal(got, map[string]int64{".": 11, "..": 2, "x": 13, "y": 13}) {
		t.Errorf("./a: %v", got)
	}
	if got := names(t, d.read(t, 14)); !maps.Equal(got, map[string]int64{".": 14, "..": 2, "c": 15, "z": 13}) {
		t.Errorf("./b: %v", got)
	}
	n := d.inode(rootInode)
	if u16(n, 0) != 0o41777 || u16(n, 2)|u16(n, 120)<<16 != 70000 || u16(n, 24)|u16(n, 122)<<16 != 1<<32-2 || u16(n, 26) != 4 ||
		int32(u32(n, 16)) != -5 || u32(n, 136) != 0 {
		t.Errorf("root: % x", n)
	}
	if n := d.inode(13); u16(n, 0) != 0o104755 || u16(n, 26) != 3 || string(d.read(t, 13)) != "content" || u32(n, 28) != 8 {
		t.Errorf("./a/x: % x", n)
	}
	if n := d.inode(16); u32(n, 40) != 0x501 || u32(n, 44) != 0 {
		t.Errorf("./dev1: % x", n[40:48])
	}
	if n := d.inode(17); u32(n, 40) != 0 || u32(n, 44) != 70000&0xff|259<<8|70000&^0xff<<12 {
		t.Errorf("./dev2: % x", n[40:48])
	}
	if n := d.inode(19); string(n[40:100]) != strings.Repeat("t", 59)+"\x00" || u32(n, 28) != 0 {
		t.Errorf("a target of 59 bytes: % x", n)
	}
	for ino, length := range map[int64]int{20: 60, 21: 4095} {
		if got := d.read(t, ino); string(got) != strings.Repeat("t", length) {
			t.Errorf("a target of %d bytes: %q", length, got)
		}
	}
}

// Times beyond 2038 have bits elsewhere.
func TestTimes(t *testing.T) {
	for _, at := range []int64{minTime, -1, 0, 1<<31 - 1, 1 << 31, 1 << 32, 1<<33 + 5, maxTime} {
		var n inode
		n.setTime(at)
		if got := int64(int32(u32(n[:], 16))) + u32(n[:], 136)&3<<32; got != at || u32(n[:], 136) > 3 {
			t.Errorf("%d is %d", at, got)
		}
	}
}

// Names are hashed as the kernel does: these are what debugfs's dx_hash says.
func TestHash(t *testing.T) {
	var w Writer
	for i := range w.hashSeed {
		w.hashSeed[i] = byte(i)
	}
	for name, want := range map[string]uint32{
		"a":                                 0xd963696,
		"hello":                             0xf73b8f7c,
		"file-00001":                        0x21cc71e2,
		"a name of more than sixteen bytes": 0x28cbd7be,
		strings.Repeat("n", 255):            0x520cd622,
	} {
		if got := w.hash([]byte(name)); got != want {
			t.Errorf("%q: %#x, want %#x", name, got, want)
		}
	}
}

// lookup finds a name as the kernel does: through the index, in the block of its hash and those that go on with it.
func lookup(w *Writer, content []byte, name string) int64 {
	hash := int64(w.hash([]byte(name)))
	base, at := content, rootHead
	for range int(content[30]) + 1 {
		i := int64(1)
		for i < u16(base, at+2) && u32(base, at+int(i)*indexEntry) <= hash {
			i++
		}
		base = content[u32(base, at+int(i-1)*indexEntry+4)*BlockSize:]
		at = nodeHead
	}
	for e := base[:leafSize]; len(e) > 0; e = e[u16(e, 4):] {
		if string(e[entryHead:entryHead+int(e[6])]) == name {
			return u32(e, 0)
		}
	}
	return 0
}

// Directories of one block, of several, and of more than a root of an index has.
func TestLargeDirectories(t *testing.T) {
	for _, count := range []int{50, 200, 3000, 34000} {
		d := disk{}
		w := newWriter(t, d, Options{Inodes: 1})
		addDir(t, w, "./d")
		for i := range count {
			must(t, w.Link(fmt.Appendf(nil, "./d/a name that is long enough for many blocks, with %05d", i), uint32(i+100)))
		}
		finish(t, w)
		content := d.read(t, 11)
		leaves := 0
		if indexed := u32(d.inode(11), 32)&flagIndex != 0; indexed {
			leaves = len(content) / BlockSize
		}
		all := names(t, content[:BlockSize])
		switch {
		case leaves == 0 && count != 50, count == 34000 && (content[30] != 1 || leaves < mostInRoot), count == 3000 && content[30] != 0:
			t.Errorf("%d names: %d blocks, depth %d", count, leaves, content[30])
		case leaves > 0:
			all = names(t, content[BlockSize:])
			all["."], all[".."] = 11, 2
		}
		if len(all) != count+2 {
			t.Errorf("%d names, want %d", len(all)-2, count)
		}
		for i := range count {
			name := fmt.Sprintf("a name that is long enough for many blocks, with %05d", i)
			if all[name] != int64(i+100) {
				t.Fatalf("%q is %d", name, all[name])
			}
			if leaves > 0 && i%7 == 0 && lookup(w, content, name) != all[name] {
				t.Fatalf("%q is not found by its hash", name)
			}
		}
		if w.names.Size() != 0 {
			t.Errorf("%d bytes of names are kept", w.names.Size())
		}
	}
}

// Where names of one hash are in several blocks, the index says of all but the first that they go on with it.
func TestSameHash(t *testing.T) {
	w := newWriter(t, disk{}, Options{Inodes: 1})
	addDir(t, w, "./d")
	for i := range 1000 {
		must(t, w.Link(fmt.Appendf(nil, "./d/%04d", i), 11))
	}
	d := w.tree.open[1]
	must(t, w.tree.spill(d))
	for i, h := range d.hashed {
		d.hashed[i] = h&math.MaxUint32 | 8<<32
	}
	w.begin(d.ino)
	index, err := w.tree.leaves(d)
	must(t, err)
	if got := fmt.Sprint(index); got != "[8 9 9]" {
		t.Error(got)
	}
}

// Blocks of zeros are not stored, wherever they are, and extents grow into a tree.
func TestHoles(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, test := range []struct {
		name   string
		blocks int
		used   func(i int) bool
		depth  int64
	}{
		{"full", 300, func(int) bool { return true }, 0},
		{"empty", 300, func(int) bool { return false }, 0},
		{"four", 300, func(i int) bool { return i%75 == 3 }, 0},
		{"five", 300, func(i int) bool { return i%60 == 3 }, 1},
		{"every other", 5000, func(i int) bool { return i%2 == 0 }, 2},
		{"at random", 2000, func(int) bool { return random.IntN(3) == 0 }, 1},
	} {
		content := make([]byte, test.blocks*BlockSize-100)
		stored := int64(0)
		for i := range test.blocks {
			if test.used(i) {
				content[i*BlockSize+random.IntN(BlockSize-100)] = 1
				stored++
			}
		}
		d := disk{}
		w := newWriter(t, d, Options{Inodes: 2})
		ino := int64(addFile(t, w, "./f", content))
		addFile(t, w, "./g", []byte("after"))
		finish(t, w)
		if got := d.read(t, ino); !bytes.Equal(got, content) {
			t.Errorf("%s: %d bytes, not the same", test.name, len(got))
		}
		if got := u16(d.inode(ino), 46); got != test.depth {
			t.Errorf("%s: depth %d, want %d", test.name, got, test.depth)
		}
		if got := u32(d.inode(ino), 28) / 8; got < stored || got > stored+stored/nodeEntries+2 {
			t.Errorf("%s: %d blocks, of which %d are not zeros", test.name, got, stored)
		}
		if string(d.read(t, ino+1)) != "after" {
			t.Errorf("%s: the next file is damaged", test.name)
		}
	}
}

// Numbers of blocks and sizes go on beyond 4 GiB.
func TestLargeFile(t *testing.T) {
	const size = 5<<30 + 5
	d := disk{}
	w := newWriter(t, d, Options{Inodes: 1})
	w.next = 20 << 20 // 80 GiB are taken
	w.begin(11)
	must(t, w.content(0, []byte("first")))
	must(t, w.content(1<<20, bytes.Repeat([]byte("x"), 3*BlockSize)))
	must(t, w.content(size/BlockSize, []byte("last.")))
	n := new(inode)
	must(t, w.extents.end(n, size))
	must(t, w.put(11, n))
	must(t, w.table.flush())
	must(t, w.blocks.flush())
	var got []string
	raw := n[40:100]
	d.extents(t, raw, 0, func(first, at, count int64) {
		got = append(got, fmt.Sprintf("%d+%d %q", first, count, d.block(at)[:5]))
	})
	if want := `[0+1 "first" 1048576+3 "xxxxx" 1310720+1 "last."]`; fmt.Sprint(got) != want || u32(n[:], 4)|u32(n[:], 108)<<32 != size {
		t.Errorf("%v, want %s", got, want)
	}
}

func TestXattrs(t *testing.T) {
	for _, test := range []struct {
		name   string
		attrs  []archive.Xattr
		block  bool
		want   map[string]string
		refuse string
	}{
		{"small", []archive.Xattr{{Name: "user.a", Value: []byte("1")}}, false, map[string]string{"1 a": "1"}, ""},
		{"full", []archive.Xattr{{Name: "user.a", Value: bytes.Repeat([]byte("v"), 68)}}, false, map[string]string{"1 a": strings.Repeat("v", 68)}, ""},
		{"over", []archive.Xattr{{Name: "user.a", Value: bytes.Repeat([]byte("v"), 69)}}, true, map[string]string{"1 a": strings.Repeat("v", 69)}, ""},
		{"several", []archive.Xattr{{Name: "security.capability", Value: []byte("cap")}, {Name: "user.bb", Value: []byte("2")},
			{Name: "user.c", Value: bytes.Repeat([]byte("3"), 100)}}, true, map[string]string{"6 capability": "cap", "1 bb": "2", "1 c": strings.Repeat("3", 100)}, ""},
		{"most", []archive.Xattr{{Name: "user.a", Value: bytes.Repeat([]byte("v"), maxAttrs-24)}}, true, map[string]string{"1 a": strings.Repeat("v", maxAttrs-24)}, ""},
		{"too many", []archive.Xattr{{Name: "user.a", Value: make([]byte, maxAttrs-23)}}, false, nil, "extended attributes of more than 4064 bytes"},
		{"unknown", []archive.Xattr{{Name: "other.a", Value: []byte("v")}}, false, nil, "other.a: no name that ext4 has"},
	} {
		d := disk{}
		w := newWriter(t, d, Options{Inodes: 1})
		e := entry("./f", list.Regular|0o644)
		e.Xattrs = test.attrs
		_, err := w.AddFile(e, nil, 0)
		if test.refuse != "" {
			if err == nil || !strings.Contains(err.Error(), test.refuse) {
				t.Errorf("%s: %v", test.name, err)
			}
			continue
		}
		must(t, err)
		finish(t, w)
		n := d.inode(11)
		block := u32(n, 104)
		got := map[string]string{}
		if block != 0 {
			got = attrs(d.block(block)[attrHead:], d.block(block))
		} else if u32(n, attrsAt) == attrMagic {
			got = attrs(n[attrsAt+4:], n[attrsAt+4:])
		}
		if !maps.Equal(got, test.want) || block != 0 != test.block {
			t.Errorf("%s: %v, block %d", test.name, got, block)
		}
	}
}

func TestRefused(t *testing.T) {
	for _, test := range []struct {
		name string
		add  func(w *Writer) error
		want error
	}{
		{"time", func(w *Writer) error {
			e := entry("./f", list.FIFO)
			e.Time = maxTime + 1
			return w.Add(e)
		}, errTime},
		{"root's time", func(w *Writer) error {
			e := entry(".", list.Directory)
			e.Time = minTime - 1
			return w.Add(e)
		}, errTime},
		{"device", func(w *Writer) error {
			e := entry("./f", list.CharDevice)
			e.Minor = maxMinor + 1
			return w.Add(e)
		}, errDevice},
		{"size", func(w *Writer) error {
			_, err := w.AddFile(entry("./f", list.Regular), nil, maxFile+1)
			return err
		}, errSize},
		{"links", func(w *Writer) error {
			e := entry("./f", list.Regular)
			e.Links = maxLinks + 1
			_, err := w.AddFile(e, nil, 0)
			return err
		}, errLinks},
		{"no target", func(w *Writer) error { return w.Add(entry("./l", list.Symlink)) }, errTarget},
		{"long target", func(w *Writer) error {
			e := entry("./l", list.Symlink)
			e.Target = make([]byte, BlockSize)
			return w.Add(e)
		}, errTarget},
		{"more files than told", func(w *Writer) error {
			for i := range 2000 {
				if err := w.Add(entry(fmt.Sprintf("./%04d", i), list.FIFO)); err != nil {
					return err
				}
			}
			return nil
		}, errInodes},
		{"no directory", func(w *Writer) error { return w.Add(entry("./a/b", list.FIFO)) }, errOrphan},
		{"shorter", func(w *Writer) error {
			_, err := w.AddFile(entry("./f", list.Regular), strings.NewReader("abc"), 4)
			return err
		}, archive.ErrRacing},
		{"longer", func(w *Writer) error {
			_, err := w.AddFile(entry("./f", list.Regular), strings.NewReader("abc"), 2)
			return err
		}, archive.ErrRacing},
		{"disk", func(w *Writer) error { w.blocks.f = full{}; _, err := w.Finish(); return err }, errFull},
	} {
		if err := test.add(newWriter(t, disk{}, Options{Inodes: 1})); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
	}
	for _, o := range []Options{{Label: "seventeen bytes!!"}, {Time: maxTime + 1}, {Size: math.MaxInt64}, {Free: maxFile + 1}} {
		if _, err := NewWriter(disk{}, o); err == nil {
			t.Errorf("%+v: no error", o)
		}
	}
}

var errFull = errors.New("disk is full")

type full struct{}

func (full) WriteAt([]byte, int64) (int, error) { return 0, errFull }
