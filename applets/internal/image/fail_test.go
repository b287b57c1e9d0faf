package image

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/compress"
)

// limited is a disk with room for that many bytes.
type limited struct{ room int64 }

func (l *limited) Write(p []byte) (int, error) {
	if int64(len(p)) > l.room {
		return 0, unix.ENOSPC
	}
	l.room -= int64(len(p))
	return len(p), nil
}

// A full disk is an error that says so, wherever the image is cut.
func TestWriteFull(t *testing.T) {
	for _, method := range []string{"none", "gzip"} {
		o := options(t, pack(t, "a"), pack(t, "b"))
		o.Compress = method
		b, _ := toPipe(t, o)
		for n := 0; n < len(b); n += 3 * blockSize / 2 {
			if _, err := Write(&limited{int64(n)}, o); !errors.Is(err, unix.ENOSPC) {
				t.Errorf("%s, room for %d of %d bytes: %v", method, n, len(b), err)
			}
		}
	}
}

func TestWriteReadOnlyFile(t *testing.T) {
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := newBuild(options(t, pack(t, "a")))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.placeRest(f, 0, b.hybrid()); !errors.Is(err, unix.EBADF) {
		t.Error(err)
	}
}

// gzipped is b with gzip.
func gzipped(t *testing.T, b []byte) []byte {
	t.Helper()
	var z bytes.Buffer
	w, err := compress.NewWriter(&z, "gzip", 0)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(b)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return z.Bytes()
}

// What is wrong with a layer is said with its name, whatever is made of it.
func TestBadLayers(t *testing.T) {
	many := pack(t, "z", "a", "b")
	defer func(most int) { mostKept = most }(mostKept)
	mostKept = 1
	for want, layer := range map[string][]byte{
		"LAYER: truncated":            {0x1f, 0x8b},
		"LAYER: is empty":             {},
		`LAYER: "a": is there twice`:  gzipped(t, pack(t, "z", "a", "a")),
		`LAYER: "aa": is there twice`: pack(t, "z", "aa", "aa"),
		"":                            many,
		" ":                           gzipped(t, many),
	} {
		for _, method := range []string{"none", "gzip"} {
			o := options(t, layer)
			o.Compress = method
			o.Layers = append(o.Layers, o.Layers[0]) // of layers that may be the same it is said once
			file, err := os.Create(filepath.Join(t.TempDir(), "image"))
			if err != nil {
				t.Fatal(err)
			}
			_, err = Write(file, o)
			file.Close()
			if _, e := Write(io.Discard, o); fmt.Sprint(e) != fmt.Sprint(err) {
				t.Errorf("%v to a file, %v to a pipe", err, e)
			}
			got := strings.ReplaceAll(fmt.Sprint(err), o.Layers[0]+".layer", "LAYER")
			if err == nil != (strings.TrimSpace(want) == "") || err != nil && !strings.HasPrefix(got, want) {
				t.Errorf("%s: %s, want %q", method, got, want)
			}
		}
	}
}

// A layer that goes, or becomes another, between two looks at it is never part of an image: not even if its size and time are the same.
func TestLayerGone(t *testing.T) {
	garbage := func(path string, old os.FileInfo) error {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		if _, err := f.WriteAt([]byte{0x1f, 0x8b, 0xff, 0xff, 0xff}, 0); err != nil {
			return err
		}
		return os.Chtimes(path, old.ModTime(), old.ModTime())
	}
	gone := func(path string, _ os.FileInfo) error { return os.Remove(path) }
	for name, c := range map[string]struct {
		change func(string, os.FileInfo) error
		use    func(*build) error
		want   string
	}{
		"sniffed":   {gone, func(b *build) error { _, err := b.recompress(false); return err }, "open LAYER: no such file or directory"},
		"copied":    {gone, func(b *build) error { return b.layers[0].copy(io.Discard, true) }, "open LAYER: no such file or directory"},
		"garbage":   {garbage, func(b *build) error { return b.layers[0].copy(io.Discard, true) }, "LAYER: gzip: "},
		"converted": {garbage, func(b *build) error { return b.layers[0].convert(nil, 0, b) }, "LAYER: gzip: "},
	} {
		o := options(t, gzipped(t, pack(t, "a")))
		o.Compress = "gzip"
		b, err := newBuild(o)
		if err != nil {
			t.Fatal(err)
		}
		l := b.layers[0]
		if err := l.sniff(); err != nil {
			t.Fatal(err)
		}
		if err := c.change(l.path, l.info); err != nil {
			t.Fatal(err)
		}
		if err := c.use(b); err == nil || !strings.HasPrefix(strings.ReplaceAll(err.Error(), l.path, "LAYER"), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

// changing is a writer during whose first Write a layer grows.
type changing struct{ path string }

func (c *changing) Write(p []byte) (int, error) {
	if c.path != "" {
		if err := os.Truncate(c.path, 1<<20); err != nil {
			return 0, err
		}
		c.path = ""
	}
	return len(p), nil
}

// That a layer has changed counts more than what else is wrong then.
func TestLayerGrows(t *testing.T) {
	o := options(t, pack(t, "a", "a"))
	b, err := newBuild(o)
	if err != nil {
		t.Fatal(err)
	}
	l := b.layers[0]
	if err := l.sniff(); err != nil {
		t.Fatal(err)
	}
	if err := l.copy(&changing{l.path}, true); err == nil || err.Error() != l.path+": changed while it was read" {
		t.Error(err)
	}
}

// Compressing needs a temporary file: which cannot be made, or be written.
func TestNoTemporaryFile(t *testing.T) {
	o := options(t, pack(t, "a"))
	o.Compress = "gzip"
	o.TempDir = filepath.Join(t.TempDir(), "absent")
	if _, err := Write(io.Discard, o); err != nil { // it is made where the system has such files
		t.Error(err)
	}
	t.Setenv("TMPDIR", o.TempDir)
	for _, write := range []func() error{
		func() error { _, err := Write(io.Discard, o); return err },
		func() error { _, err := WriteDir(t.TempDir(), o); return err },
	} {
		if err := write(); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "create "+o.TempDir+": ") {
			t.Error(err)
		}
	}
	b, err := newBuild(o)
	if err != nil {
		t.Fatal(err)
	}
	b.Reuse = new(Reuse)
	spool, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer spool.Close()
	if err := b.layers[0].convert(spool, 0, b); !errors.Is(err, unix.EBADF) || !strings.HasPrefix(err.Error(), "temporary file: ") {
		t.Error(err)
	}
}

// A directory is not an archive: each of its files can be in the way.
func TestWriteDirFails(t *testing.T) {
	dir := t.TempDir()
	o := options(t, pack(t, "a"))
	for name, make := range map[string]func(path string) (string, error){
		"no layers": func(path string) (string, error) { return path, nil },
		"not a directory": func(path string) (string, error) {
			return path, os.WriteFile(path, nil, 0o666)
		},
		"is a directory": func(path string) (string, error) {
			return path, os.MkdirAll(filepath.Join(path, indexFile), 0o777)
		},
		"file exists": func(path string) (string, error) {
			return path, os.MkdirAll(filepath.Join(path, blobDir, "0"), 0o777)
		},
		"is there twice": func(path string) (string, error) {
			return path, os.WriteFile(o.Layers[0]+".layer", pack(t, "a", "a"), 0o666)
		},
	} {
		path, err := make(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		these := o
		if name == "no layers" {
			these.Layers = nil
		}
		if _, err := WriteDir(path, these); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
		os.WriteFile(o.Layers[0]+".layer", pack(t, "a"), 0o666)
	}
}

// The old format takes the names of layers from files.
func TestListIDs(t *testing.T) {
	o := options(t, pack(t, "a"))
	o.Format = V1
	id := o.Layers[0] + ".list.sha256"
	if _, err := Write(io.Discard, o); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if err := os.Mkdir(id, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := Write(io.Discard, o); err == nil || err.Error() != "read "+id+": is a directory" {
		t.Error(err)
	}
}

func TestEpochTooLate(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "253402300800")
	if _, err := Epoch(); err == nil || err.Error() != "SOURCE_DATE_EPOCH: beyond the year 9999" {
		t.Error(err)
	}
}

func TestReadTemplateHuge(t *testing.T) {
	path := filepath.Join(t.TempDir(), "template.json")
	if err := errors.Join(os.WriteFile(path, []byte("{}"), 0o666), os.Truncate(path, maxJSON+1)); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadTemplate(path); err == nil || err.Error() != path+": larger than 16777216 bytes" {
		t.Error(err)
	}
}
