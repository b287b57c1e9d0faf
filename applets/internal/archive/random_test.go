package archive

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

func TestOpenRandom(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a"), []byte("0123456789"), 0o644); err != nil {
		t.Fatal(err)
	}
	d, err := OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	name := []byte("./a")
	st, err := d.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	f, err := d.OpenRandom(name, st)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, c := range []struct {
		off  int64
		size int
		want string
		err  error
	}{
		{3, 4, "3456", nil}, {0, 10, "0123456789", nil}, {8, 4, "89", io.EOF}, {10, 1, "", io.EOF}, {1 << 40, 1, "", io.EOF}, {5, 0, "", nil},
	} {
		p := make([]byte, c.size)
		if n, err := f.ReadAt(p, c.off); string(p[:n]) != c.want || err != c.err {
			t.Errorf("%d at %d: %q, %v", c.size, c.off, p[:n], err)
		}
	}
	if _, err := f.ReadAt(make([]byte, 1), -1); err == nil {
		t.Error("no error before the start")
	}
	st.Ino++
	if _, err := d.OpenRandom(name, st); !errors.Is(err, ErrRacing) {
		t.Errorf("%v, want %v", err, ErrRacing)
	}
}
