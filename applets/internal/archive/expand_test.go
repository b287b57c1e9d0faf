package archive

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

// TestExpandInitrd: what is compressed comes out plain, record for record, and archives stay apart.
func TestExpandInitrd(t *testing.T) {
	one := cpioOf(rec{name: ".", mode: 0o40755, links: 2}, text("a", "hello"), rec{name: "l", mode: 0o120777, links: 1, body: "target"},
		rec{name: "c", mode: 0o020600, links: 1, rdevMaj: 5, rdevMin: 300}, rec{name: "h1", mode: 0o100644, ino: 7, links: 2, body: "x"},
		rec{name: "h2", mode: 0o100644, ino: 7, links: 2})
	two := cpioOf(text("a", strings.Repeat("again ", 100_000)), rec{name: "h1", mode: 0o100644, ino: 7, links: 2, body: "other"})
	for name, initrd := range map[string][]byte{
		"plain":      one,
		"zstd":       pressed(t, "zstd", one),
		"two":        append(append(pressed(t, "zstd", one), make([]byte, 4+(-len(pressed(t, "zstd", one))&3))...), two...),
		"both plain": append(append(bytes.Clone(one), make([]byte, 512)...), two...),
	} {
		var plain bytes.Buffer
		if err := ExpandInitrd(&plain, bytes.NewReader(initrd)); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want, err := dump(bytes.NewReader(initrd))
		must(t, err)
		in := NewInitrdReader(&plain)
		got, err := dump(&plain)
		if err != nil || got != want || in.Compressed() {
			t.Errorf("%s: %v\n%s\nwant\n%s", name, err, got, want)
		}
	}
	for _, cut := range [][]byte{one[:len(one)-130], two[:len(two)-400_000]} {
		if err := ExpandInitrd(new(bytes.Buffer), bytes.NewReader(cut)); err == nil {
			t.Error("an archive without its end is expanded")
		}
	}
	both := append(bytes.Clone(two), two...)
	for room := 0; room < len(both); room += 100_000 {
		if err := ExpandInitrd(&roomFor{room}, bytes.NewReader(both)); err != io.ErrShortWrite {
			t.Errorf("room for %d bytes: %v", room, err)
		}
	}
}
