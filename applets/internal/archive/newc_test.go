package archive

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ctbox/ctbox/applets/internal/list"
)

// TestNewcBytes is an archive as gen_init_cpio would write it, byte for byte.
func TestNewcBytes(t *testing.T) {
	var out bytes.Buffer
	w := NewNewcWriter(&out)
	must(t, w.Header(&NewcEntry{Name: []byte("."), Mode: 0o40755, UID: 1, GID: 1<<32 - 2, Time: 0xabcdef}))
	must(t, w.Header(&NewcEntry{Name: []byte("cons"), Mode: 0o20600, Major: 5, Minor: 1}))
	first := NewcEntry{Name: []byte("abc"), Mode: 0o100644, Size: 5, Nlink: 2}
	must(t, w.Header(&first))
	must(t, w.Content(strings.NewReader("text\n"), 5, nil))
	must(t, w.Header(&NewcEntry{Name: []byte("d"), Mode: 0o100644, Ino: first.Ino, Nlink: 2}))
	must(t, w.Header(&NewcEntry{Name: []byte("ln"), Mode: 0o120777, Size: 3}))
	must(t, w.Content(strings.NewReader("abc"), 3, nil))
	must(t, w.Close())
	want := "" +
		"070701" + "00000001" + "000041ED" + "00000001" + "FFFFFFFE" + "00000002" + "00ABCDEF" + "00000000" + zero2 +
		"00000000" + "00000000" + "00000002" + "00000000" + ".\x00" +
		"070701" + "00000002" + "00002180" + "00000000" + "00000000" + "00000001" + "00000000" + "00000000" + zero2 +
		"00000005" + "00000001" + "00000005" + "00000000" + "cons\x00\x00" +
		"070701" + "00000003" + "000081A4" + "00000000" + "00000000" + "00000002" + "00000000" + "00000005" + zero2 +
		"00000000" + "00000000" + "00000004" + "00000000" + "abc\x00\x00\x00" + "text\n\x00\x00\x00" +
		"070701" + "00000003" + "000081A4" + "00000000" + "00000000" + "00000002" + "00000000" + "00000000" + zero2 +
		"00000000" + "00000000" + "00000002" + "00000000" + "d\x00" +
		"070701" + "00000004" + "0000A1FF" + "00000000" + "00000000" + "00000001" + "00000000" + "00000003" + zero2 +
		"00000000" + "00000000" + "00000003" + "00000000" + "ln\x00\x00\x00\x00" + "abc\x00" +
		"070701" + "00000000" + "00000000" + "00000000" + "00000000" + "00000001" + "00000000" + "00000000" + zero2 +
		"00000000" + "00000000" + "0000000B" + "00000000" + "TRAILER!!!\x00\x00\x00\x00"
	want += strings.Repeat("\x00", 1024-len(want))
	if out.String() != want {
		t.Errorf("\n%q\nwant\n%q", out.String(), want)
	}
}

const zero2 = "0000000000000000" // number of the file system's device

// TestNewcLimits: the largest and longest that there may be is written and read back; one more is refused.
func TestNewcLimits(t *testing.T) {
	names := func(parts ...int) []byte {
		var all []string
		for _, n := range parts {
			all = append(all, strings.Repeat("n", n))
		}
		return []byte(strings.Join(all, "/"))
	}
	deep := bytes.Repeat(append(names(255), '/'), 15) // 3840 bytes
	for what, c := range map[string]struct {
		entry NewcEntry
		want  error
	}{
		"no name":           {NewcEntry{}, errNewcEmptyName},
		"component of 255":  {NewcEntry{Name: names(255)}, nil},
		"component of 256":  {NewcEntry{Name: names(256)}, errNewcComponent},
		"last of 256":       {NewcEntry{Name: names(1, 256)}, errNewcComponent},
		"middle of 256":     {NewcEntry{Name: names(1, 256, 1)}, errNewcComponent},
		"name of 4095":      {NewcEntry{Name: slices.Concat(deep, names(255))}, nil},
		"name of 4096":      {NewcEntry{Name: slices.Concat(deep, names(254, 1))}, errNewcName},
		"trailer":           {NewcEntry{Name: []byte("TRAILER!!!")}, errNewcTrailer},
		"deep trailer":      {NewcEntry{Name: []byte("d/TRAILER!!!")}, nil},
		"time":              {NewcEntry{Name: []byte("f"), Time: 1<<32 - 1}, nil},
		"late":              {NewcEntry{Name: []byte("f"), Time: 1 << 32}, errNewcTime},
		"early":             {NewcEntry{Name: []byte("f"), Time: -1}, errNewcTime},
		"owner":             {NewcEntry{Name: []byte("f"), UID: 1<<32 - 2, GID: 1<<32 - 2}, nil},
		"device":            {NewcEntry{Name: []byte("d"), Mode: list.BlockDevice, Major: 4095, Minor: 1<<20 - 1}, nil},
		"major":             {NewcEntry{Name: []byte("d"), Mode: list.BlockDevice, Major: 4096}, errNewcDevice},
		"minor":             {NewcEntry{Name: []byte("d"), Mode: list.CharDevice, Minor: 1 << 20}, errNewcDevice},
		"size":              {NewcEntry{Name: []byte("f"), Size: 1<<32 - 1}, nil},
		"large":             {NewcEntry{Name: []byte("f"), Size: 1 << 32}, errNewcSize},
		"negative":          {NewcEntry{Name: []byte("f"), Size: -1}, errNewcSize},
		"target of 4095":    {NewcEntry{Name: []byte("l"), Mode: list.Symlink, Size: 4095}, nil},
		"target of 4096":    {NewcEntry{Name: []byte("l"), Mode: list.Symlink, Size: 4096}, errNewcTarget},
		"no target":         {NewcEntry{Name: []byte("l"), Mode: list.Symlink}, errNewcTarget},
		"not UTF-8, spaces": {NewcEntry{Name: []byte("\xff\n\x01 ")}, nil},
	} {
		var out bytes.Buffer
		w := NewNewcWriter(&out)
		err := w.Header(&c.entry)
		if !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("%s: %v, not %v", what, err, c.want)
		}
		if c.want != nil {
			continue
		}
		must(t, w.flush())
		out.Write(make([]byte, 4100)) // for content
		c.entry.Nlink = 1
		if got, _ := newcRecord(t, out.Bytes()); !reflect.DeepEqual(got, c.entry) {
			t.Errorf("%s: read %+v", what, got)
		}
	}
}

// newcRecord reads a header and says how long it is, with its name and the padding, which must be zeros.
func newcRecord(t testing.TB, b []byte) (e NewcEntry, size int) {
	t.Helper()
	if string(b[:6]) != "070701" {
		t.Fatalf("magic %q", b[:6])
	}
	var f [13]uint32
	for i := range f {
		text := string(b[6+8*i : 14+8*i])
		n, err := strconv.ParseUint(text, 16, 32)
		must(t, err)
		if text != strings.ToUpper(text) {
			t.Fatalf("digits %s", text)
		}
		f[i] = uint32(n)
	}
	if f[7] != 0 || f[8] != 0 || f[12] != 0 {
		t.Fatal("device or checksum", f)
	}
	size = (110 + int(f[11]) + 3) &^ 3
	name := b[110 : 110+f[11]]
	e = NewcEntry{
		Ino: f[0], Mode: f[1], UID: f[2], GID: f[3], Nlink: f[4], Time: int64(f[5]), Size: int64(f[6]),
		Major: f[9], Minor: f[10], Name: name[:len(name)-1],
	}
	if tail := b[110+len(name)-1 : size]; !bytes.Equal(tail, make([]byte, len(tail))) {
		t.Fatalf("%q is followed by %q", name, tail)
	}
	return e, size
}

// A newcFile is what readNewc finds.
type newcFile struct {
	NewcEntry
	content string
}

// readNewc reads one archive, which must end in a trailer and the right padding.
func readNewc(t testing.TB, b []byte) (all []newcFile) {
	t.Helper()
	for at := 0; ; {
		e, size := newcRecord(t, b[at:])
		at += size
		if string(e.Name) == newcTrailer {
			rest := b[at:]
			if len(b)%512 != 0 || len(rest) < 4 || len(rest) > 515 || !bytes.Equal(rest, make([]byte, len(rest))) {
				t.Fatalf("%d bytes after the trailer, of %d", len(rest), len(b))
			}
			return all
		}
		all = append(all, newcFile{e, string(b[at : at+int(e.Size)])})
		at += (int(e.Size) + 3) &^ 3
	}
}

// TestNewcPadding: at least four zeros, up to a multiple of 512.
func TestNewcPadding(t *testing.T) {
	for size, want := range map[int64]int64{0: 512, 1: 511, 508: 4, 509: 515, 511: 513, 512: 512, 1<<40 + 1: 511} {
		if got := NewcPadding(size); got != want {
			t.Errorf("%d bytes: %d", size, got)
		}
	}
}

// TestNewcContent: content that is not as long as its header says is an error; what is written is digested.
func TestNewcContent(t *testing.T) {
	for _, size := range []int64{1, 3, 4, 5, 512<<10 - 113, 512 << 10, 1<<20 + 1} {
		for _, c := range []struct {
			have int64
			want error
		}{{size, nil}, {size - 1, ErrRacing}, {size + 1, ErrRacing}} {
			var out bytes.Buffer
			w, h := NewNewcWriter(&out), sha256.New()
			must(t, w.Header(&NewcEntry{Name: []byte("f"), Mode: list.Regular, Size: size}))
			err := w.Content(io.LimitReader(endless{}, c.have), size, h)
			if !errors.Is(err, c.want) {
				t.Errorf("%d of %d bytes: %v", c.have, size, err)
			}
			if err != nil {
				continue
			}
			must(t, w.Close())
			if all := readNewc(t, out.Bytes()); len(all) != 1 || strings.Trim(all[0].content, "x") != "" {
				t.Errorf("%d bytes: wrong content", size)
			}
			if !bytes.Equal(h.Sum(nil), sumOf(endless{}, size)) {
				t.Errorf("%d bytes: wrong digest", size)
			}
		}
	}
}

// TestNewcWriteErrors: no error of the underlying writer is lost, wherever it comes.
func TestNewcWriteErrors(t *testing.T) {
	full := errors.New("full")
	const brim = bufferSize - 112 - 124 // less a header and the end; the padding after the end begins with a full buffer
	w := NewNewcWriter(&limited{err: full})
	must(t, w.Header(&NewcEntry{Name: []byte("f"), Mode: list.Regular, Size: brim}))
	must(t, w.Content(io.LimitReader(endless{}, brim), brim, nil))
	if err := w.Close(); err != full {
		t.Error(err)
	}
	const size = 3 << 20
	for room := int64(0); room <= size; room += 100 << 10 {
		w := NewNewcWriter(&limited{left: room, err: full})
		err := w.Header(&NewcEntry{Name: []byte("f"), Mode: list.Regular, Size: size})
		if err == nil {
			err = w.Content(io.LimitReader(endless{}, size), size, nil)
		}
		if err == nil {
			err = w.Close()
		}
		if err != full {
			t.Errorf("room for %d bytes: %v", room, err)
		}
	}
}

// FuzzNewc writes entries made of any bytes and reads them back.
func FuzzNewc(f *testing.F) {
	f.Add([]byte("an entry\x00of a few bytes"))
	f.Add(bytes.Repeat([]byte{0xff, 7, '/', 'a'}, 200))
	f.Add(append(letters(250), bytes.Repeat([]byte{0xe0, 0xff, 3}, 60)...))
	f.Fuzz(func(t *testing.T, data []byte) {
		in := dice{data}
		var out bytes.Buffer
		var want []newcFile
		w := NewNewcWriter(&out)
		for len(in.left) > 0 && len(want) < 20 {
			e := newcFile{content: string(in.bytes(int(in.below(8) * in.below(256))))}
			e.Name, e.Size = in.text(), int64(len(e.content))
			e.Mode, e.UID, e.GID = list.Regular|uint32(in.number())&0o7777, uint32(in.number()), uint32(in.number())
			e.Time, e.Nlink = int64(uint32(in.number())), 1+uint32(in.below(3))
			e.Major, e.Minor = uint32(in.number())&newcMaxMajor, uint32(in.number())&newcMaxMinor
			if err := w.Header(&e.NewcEntry); errors.Is(err, errNewcComponent) {
				continue
			} else if err != nil {
				t.Fatal(err)
			}
			if e.Size > 0 {
				must(t, w.Content(strings.NewReader(e.content), e.Size, nil))
			}
			if e.Ino != uint32(len(want)+1) {
				t.Fatalf("entry %d has inode %d", len(want), e.Ino)
			}
			want = append(want, e)
		}
		must(t, w.Close())
		if got := readNewc(t, out.Bytes()); !reflect.DeepEqual(got, want) {
			t.Errorf("read    %+v\nwritten %+v", got, want)
		}
	})
}

func BenchmarkNewcWriter(b *testing.B) {
	w := NewNewcWriter(io.Discard)
	dir := NewcEntry{Name: []byte("usr/share/doc"), Mode: 0o40755}
	link := NewcEntry{Name: []byte("usr/lib/libexample.so.1"), Mode: 0o120777, Size: 20}
	b.ReportAllocs()
	for b.Loop() {
		must(b, w.Header(&dir))
		must(b, w.Header(&link))
		must(b, w.Content(strings.NewReader("libexample.so.1.2.34"), link.Size, nil))
	}
}
