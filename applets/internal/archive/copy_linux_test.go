package archive

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestAfter: a write that took a part of what it was given is continued there.
func TestAfter(t *testing.T) {
	for n := range 11 {
		left := after([][]byte{[]byte("a"), []byte("bcd"), []byte("efghij")}, n)
		if got := string(bytes.Join(left, nil)); got != "abcdefghij"[n:] {
			t.Errorf("%d bytes: %q is left", n, got)
		}
		for _, p := range left {
			if len(p) == 0 {
				t.Errorf("%d bytes: an empty part is left", n)
			}
		}
	}
}

// TestFull: a file system that has no room for all of an archive is an error, at whatever it is told of.
func TestFull(t *testing.T) {
	full := t.TempDir()
	if err := unix.Mount("tmpfs", full, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("mount tmpfs: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(full, unix.MNT_DETACH) })
	small, large := t.TempDir(), t.TempDir()
	for i := range 400 {
		write(t, small, fmt.Sprint(i), strings.Repeat("small", 1000))
	}
	write(t, large, "file", strings.Repeat("large", 1<<20))
	for _, dir := range []string{small, large} {
		records := identifyDir(t, dir)
		for kind, pack := range packers {
			f, err := os.Create(filepath.Join(full, kind))
			must(t, err)
			if err := pack(t, dir, records, nil, f); !errors.Is(err, unix.ENOSPC) {
				t.Errorf("%s: %v", kind, err)
			}
			must(t, f.Truncate(0))
			must(t, f.Close())
		}
	}
}
