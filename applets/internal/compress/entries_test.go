package compress

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// tarOf makes a tar in a format, with names and sizes of all kinds, and says where its entries begin.
func tarOf(t *testing.T, format tar.Format) (data []byte, starts []int) {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	long := strings.Repeat("long/", 60)
	for i, name := range []string{"a", "dir/", "b", long + "c", "d", long} {
		if format == tar.FormatUSTAR && len(name) > 255 {
			continue
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		starts = append(starts, out.Len())
		h := &tar.Header{Name: name, Size: int64(i * 700), Format: format, Mode: 0o644}
		if strings.HasSuffix(name, "/") {
			h.Size, h.Typeflag = 0, tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		w.Write(bytes.Repeat([]byte("x"), int(h.Size)))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), starts
}

// TestEntries: entries are found with the headers before them, in every format and in a tar within a tar, however the stream is cut.
func TestEntries(t *testing.T) {
	for _, format := range []tar.Format{tar.FormatUSTAR, tar.FormatPAX, tar.FormatGNU} {
		data, want := tarOf(t, format)
		var e entries
		e.scan(data)
		if !slices.Equal(e.marks, want) {
			t.Errorf("%v: entries at %d, want %d", format, e.marks, want)
		}
		outer := tree(1, 1, 1)[0].head
		e = entries{}
		e.scan(append(outer, data...))
		for i := range want {
			want[i] += len(outer)
		}
		if !slices.Equal(e.marks, append([]int{0}, want...)) {
			t.Errorf("%v: in another tar, entries at %d, want 0 and %d", format, e.marks, want)
		}
	}
}

// TestEntriesShift: with any cuts in between, and any part of the stream seen at once, the entries are the same.
func TestEntriesShift(t *testing.T) {
	data := join(tree(2, 100, 3000))
	var all entries
	all.scan(data)
	rnd := rand.New(rand.NewPCG(1, 2))
	var e entries
	var got []int
	start := 0
	for end := 0; end < len(data); {
		end = min(len(data), end+rnd.IntN(5000))
		e.scan(data[start:end])
		at := rnd.IntN(e.next + 1) // nobody cuts behind what was looked at
		for _, mark := range e.marks {
			if mark <= at {
				got = append(got, start+mark)
			}
		}
		e.shift(at)
		start += at
	}
	for _, mark := range e.marks {
		got = append(got, start+mark)
	}
	if !slices.Equal(got, all.marks) {
		t.Errorf("%d, want %d", got, all.marks)
	}
}

// TestNoEntries: what only looks like a header is none.
func TestNoEntries(t *testing.T) {
	head := tree(3, 1, 1)[0].head
	for i := range head {
		broken := bytes.Clone(head)
		broken[i] ^= 1
		checksum := i >= 148 && i < 156
		if isHeader(broken) && !checksum {
			t.Errorf("byte %d does not matter", i)
		}
	}
	for _, block := range []string{"", "ustar", strings.Repeat("ustar", 103)} {
		if isHeader(fmt.Appendf(nil, "%-512s", block)[:512]) {
			t.Errorf("%q is a header", block)
		}
	}
}

// TestInputFails: of an input that breaks off, wherever that is, no reader takes the output for the whole.
func TestInputFails(t *testing.T) {
	broken := errors.New("broken")
	for _, entries := range [][]entry{tree(5, 60, 40_000), archived(tree(5, 60, 40_000))} {
		data := join(entries)
		for _, n := range []int{0, 1, len(data) / 3, len(data)} {
			var out bytes.Buffer
			if err := Gzip(&out, io.MultiReader(bytes.NewReader(data[:n]), iotest.ErrReader(broken)), 1); !errors.Is(err, broken) {
				t.Errorf("after %d bytes: %v", n, err)
			}
			z, err := gzip.NewReader(&out)
			if err == nil {
				_, err = io.Copy(io.Discard, z)
			}
			if err == nil {
				t.Errorf("after %d bytes, the output is whole", n)
			}
		}
	}
}

// TestChangeIsLocal: where the entries are again as before, and the window holds nothing of the change, so is what they become, though
// all of it is one member. Only its trailer differs.
func TestChangeIsLocal(t *testing.T) {
	const window = 32 << 10
	entries := tree(9, 12, 30_000)
	var before, after bytes.Buffer
	pack(t, &before, "gzip", entries, 0)
	entries[2].body = append([]byte("a line more\n"), entries[2].body...)[:len(entries[2].body)]
	pack(t, &after, "gzip", entries, 0)
	a, b := before.Bytes(), after.Bytes()
	if members := bytes.Count(a, []byte(GzipHeader)); members != 1 {
		t.Fatalf("%d members", members)
	}
	a, b = a[:len(a)-trailerLen], b[:len(b)-trailerLen]
	begin, end := 0, 0
	for begin < min(len(a), len(b)) && a[begin] == b[begin] {
		begin++
	}
	for end < min(len(a), len(b))-begin && a[len(a)-1-end] == b[len(b)-1-end] {
		end++
	}
	content, most := 0, 0
	for i, e := range entries {
		content += len(e.head) + len(e.body)
		if i == 2 || i == 3 { // the entry, and what may be left when the window is at its end
			most += len(e.head) + len(e.body)
		}
	}
	t.Logf("%d bytes of %d differ, of %d of content", len(b)-begin-end, len(b), content)
	if changed := len(b) - begin - end; changed*content > (most+window)*len(b)*11/10 {
		t.Errorf("%d bytes of %d differ", changed, len(b))
	}
}
