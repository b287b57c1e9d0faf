package vm

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// image finds the kernel in a file and makes an Image of it.
func image(t *testing.T, c *Cache, path, arch string) *KImage {
	t.Helper()
	k, err := findKernel("/", path, "", arch)
	if err != nil {
		t.Fatal(err)
	}
	im, err := k.Image(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(im.Close)
	return im
}

func contentOf(t *testing.T, f *os.File) []byte {
	t.Helper()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestImage(t *testing.T) {
	unpacked := elf(pvhNotes)
	zboot := newZboot(gzipped(arm64Image()))
	for _, test := range []struct {
		name, arch, format, packed string
		file, want                 []byte
	}{
		{"bzImage", "x86_64", Vmlinux, "", newBzImage(gzipped(unpacked), 0), unpacked},
		{"vmlinux", "x86_64", Vmlinux, "", unpacked, unpacked},
		{"no PVH", "x86_64", BzImage, ErrNoPVH.Error(), newBzImage(gzipped(elf("")), 0), nil},
		{"lzo", "x86_64", BzImage, "lzo compression is not supported", newBzImage([]byte("\x89LZO\x00\x0d\x0a\x1a\x0a"), 9), nil},
		{"damaged", "x86_64", BzImage, "unexpected EOF", newBzImage(gzipped(unpacked), 0)[:9000], nil},
		{"of text", "x86_64", BzImage, "not a Linux kernel", newBzImage(gzipped([]byte("text")), 0), nil},
		{"of another machine", "x86_64", BzImage, "has a Image for arm64 in it", newBzImage(gzipped(arm64Image()), 0), nil},
		{"Image", "aarch64", Image, "", arm64Image(), arm64Image()},
		{"zboot", "aarch64", Image, "", zboot, arm64Image()},
		{"Image.gz", "aarch64", Image, "", gzipped(arm64Image()), arm64Image()},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "kernel")
			if err := os.WriteFile(path, test.file, 0o600); err != nil {
				t.Fatal(err)
			}
			if test.want == nil {
				test.want = test.file
			}
			for _, c := range []*Cache{newCache(t), nil} {
				im := image(t, c, path, test.arch)
				switch {
				case (im.Packed == nil) != (test.packed == "") || im.Packed != nil && !strings.Contains(im.Packed.Error(), test.packed):
					t.Errorf("%v, want %q", im.Packed, test.packed)
				case im.Header.Format != test.format || im.Header.InitSize == 0 || len(im.ID) != 64:
					t.Errorf("%+v", im)
				case !bytes.Equal(contentOf(t, im.File), test.want):
					t.Error("other content")
				}
			}
		})
	}
}

// The second time, a kernel comes from the cache; a new kernel of the same name does not.
func TestImageCached(t *testing.T) {
	c := newCache(t)
	path := filepath.Join(t.TempDir(), "kernel")
	write := func(unpacked []byte) {
		if err := os.WriteFile(path, newBzImage(gzipped(unpacked), 0), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(elf(pvhNotes))
	first := image(t, c, path, "x86_64")
	if err := os.Chtimes(path, time.Now(), time.Unix(1e9, 0)); err != nil {
		t.Fatal(err)
	}
	before, _ := first.File.Stat()
	again := image(t, c, path, "x86_64")
	if after, _ := again.File.Stat(); !os.SameFile(before, after) || again.ID != first.ID || again.Header.Version != "6.1.0-x" {
		t.Errorf("%+v, %+v", first, again)
	}
	other := append(elf(pvhNotes), "other"...)
	write(other)
	third := image(t, c, path, "x86_64")
	if third.ID == first.ID || !bytes.Equal(contentOf(t, third.File), other) {
		t.Errorf("%+v, %+v", first, third)
	}
	if !bytes.Equal(contentOf(t, first.File), elf(pvhNotes)) {
		t.Error("the first one changed")
	}
}

// The identity of a kernel that did not change for a while is not computed again; one that was just written may change without
// a trace in its times.
func TestContentID(t *testing.T) {
	c := newCache(t)
	path := filepath.Join(t.TempDir(), "kernel")
	id := func() string {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		id, err := contentID(f, c)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	if err := os.WriteFile(path, []byte("abc"), 0o600); err != nil {
		t.Fatal(err)
	}
	const abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	if got := id(); got != abc {
		t.Error(got)
	}
	if names, _ := os.ReadDir(filepath.Join(c.dir, known)); len(names) != 0 {
		t.Error("remembered too early")
	}
	if testing.Short() {
		t.Skip("waits")
	}
	time.Sleep(2100 * time.Millisecond)
	if got := id(); got != abc {
		t.Error(got)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	stamp, _, err := stampOf(f)
	if c.Recall("sha256 "+stamp) != abc || err != nil {
		t.Error("not remembered", err)
	}
	if err := errors.Join(os.WriteFile(path, []byte("abd"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if got := id(); got == abc {
		t.Error("a change was not seen")
	}
}
