package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ctbox/ctbox/applets/internal/compress"
)

// options are those of a small image; layers are files made of the tars given.
func options(t testing.TB, tars ...[]byte) Options {
	t.Helper()
	o := Options{Compress: "none", Format: Hybrid, Verify: true, TempDir: t.TempDir()}
	o.Platform = "linux/amd64"
	for i, b := range tars {
		name := filepath.Join(t.TempDir(), fmt.Sprint("layer", i))
		if err := os.WriteFile(name+".layer", b, 0o666); err != nil {
			t.Fatal(err)
		}
		o.Layers = append(o.Layers, name)
	}
	return o
}

// layers are tars that differ in size, one of them twice, two others of equal size.
func layers(t testing.TB) [][]byte {
	a, b, c := pack(t, "a"), pack(t, "b"), pack(t, "c/", "c/d", "e => c/d")
	return [][]byte{a, c, b, a, pack(t)}
}

// toPipe writes an image to something that is not a file.
func toPipe(t testing.TB, o Options) ([]byte, Digests) {
	t.Helper()
	var b bytes.Buffer
	d, err := Write(&b, o)
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), d
}

// toFile writes an image to a file after some bytes that are there already.
func toFile(t testing.TB, o Options, before string, flags int) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(path, []byte(before), 0o666); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|flags, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if flags&os.O_APPEND == 0 {
		f.Seek(int64(len(before)), io.SeekStart)
	}
	if _, err := Write(f, o); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(f, "after"); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got, ok := strings.CutSuffix(string(b), "after")
	if !ok || !strings.HasPrefix(got, before) {
		t.Fatal("what was written before or after is gone")
	}
	return []byte(got[len(before):])
}

func TestSameBytesEverywhere(t *testing.T) {
	for _, method := range []string{"none", "gzip", "zstd"} {
		o := options(t, layers(t)...)
		o.Compress = method
		want, _ := toPipe(t, o)
		if got := toFile(t, o, "", 0); !bytes.Equal(got, want) {
			t.Errorf("%s: a file differs from a pipe", method)
		}
		if got := toFile(t, o, "before", 0); !bytes.Equal(got, want) {
			t.Errorf("%s: in a file with an offset it differs", method)
		}
		if got := toFile(t, o, "before", os.O_APPEND); !bytes.Equal(got, want) {
			t.Errorf("%s: appended to a file it differs", method)
		}
	}
}

// Whatever the inputs are compressed by, the image is the same.
func TestInputCompression(t *testing.T) {
	tars := layers(t)
	want, _ := toPipe(t, options(t, tars...))
	for i, method := range []string{"gzip", "zstd", "gzip"} {
		var b bytes.Buffer
		z, err := compress.NewWriter(&b, method, 1)
		if err != nil {
			t.Fatal(err)
		}
		z.Write(tars[i])
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		tars[i] = b.Bytes()
	}
	if got, _ := toPipe(t, options(t, tars...)); !bytes.Equal(got, want) {
		t.Error("compressed layers give another image")
	}
	// Layers that are compressed as wanted are taken as they are: the blob is the file.
	o := options(t, tars[0])
	o.Compress = "gzip"
	got, _ := toPipe(t, o)
	if name := fmt.Sprintf("%s%x", blobDir, sha256.Sum256(tars[0])); !bytes.Contains(got, []byte(name)) {
		t.Error("a gzip layer was made anew")
	}
}

// Every digest in the archive is that of the bytes beside it, and each blob is there once.
func TestDigests(t *testing.T) {
	o := options(t, layers(t)...)
	b, d := toPipe(t, o)
	seen := map[string]bool{}
	for r := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, _ := io.ReadAll(r)
		if seen[h.Name] {
			t.Errorf("%s is there twice", h.Name)
		}
		seen[h.Name] = true
		if name, ok := strings.CutPrefix(h.Name, blobDir); ok && fmt.Sprintf("%x", sha256.Sum256(content)) != name {
			t.Errorf("%s has another digest", h.Name)
		}
		if h.Format != tar.FormatUSTAR || h.Mode != fileMode || h.ModTime.Unix() != 0 || h.Uname != "" || h.Uid != 0 {
			t.Errorf("%s: header %+v", h.Name, h)
		}
	}
	if len(seen) != 5+4 || !seen[blobDir+hex(d.Config)] || !seen[blobDir+hex(d.Manifest)] {
		t.Errorf("%d entries", len(seen))
	}
}

func TestChangedLayer(t *testing.T) {
	o := options(t, pack(t, "a"), pack(t, "b"), pack(t, "c", "d"))
	for name, change := range map[string]func(*os.File) error{
		"grown":     func(f *os.File) error { _, err := f.WriteAt(make([]byte, 512), 2560); return err },
		"shrunk":    func(f *os.File) error { return f.Truncate(512) },
		"rewritten": func(f *os.File) error { _, err := f.WriteAt([]byte("x"), 512); return err },
	} {
		b, err := newBuild(o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.recompress(true); err != nil {
			t.Fatal(err)
		}
		if err := b.hash(b.unread()); err != nil {
			t.Fatal(err)
		}
		path := b.layers[1].path
		old, _ := os.ReadFile(path)
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := change(f); err != nil {
			t.Fatal(err)
		}
		f.Close()
		// Even with its old time the file is found out, by its hash.
		os.Chtimes(path, b.layers[1].info.ModTime(), b.layers[1].info.ModTime())
		if err := b.stream(io.Discard, b.hybrid); err == nil || err.Error() != path+": changed while it was read" {
			t.Errorf("%s: %v", name, err)
		}
		os.WriteFile(path, old, 0o666)
	}
}

// TestChangedMeanwhile: what is read once only is looked at again if its inode changes meanwhile, and that alone is no error.
func TestChangedMeanwhile(t *testing.T) {
	for what, c := range map[string]struct {
		change func(path string) error
		want   string
	}{
		"rewritten": {func(path string) error {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteAt([]byte("x"), 512)
			return errors.Join(err, f.Close(), os.Chtimes(path, time.Time{}, time.Unix(5, 5)))
		}, "changed while it was read"},
		"chmod": {func(path string) error { return os.Chmod(path, 0o600) }, ""},
	} {
		l, err := newLayer(options(t, pack(t, "a")).Layers[0])
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(l.path, time.Time{}, time.Unix(5, 5)); err != nil {
			t.Fatal(err)
		}
		l.info = nil // it is first seen now
		err = l.read(func(f *os.File) error {
			plain := sha256.New()
			_, err := io.Copy(plain, f)
			l.digest, l.diffID = digest(plain), digest(plain)
			return errors.Join(err, c.change(l.path))
		})
		if err == nil && c.want != "" || err != nil && err.Error() != l.path+": "+c.want {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestShortLayer: a file that ends before it should, by what is said of its size, is no layer, though nobody looks into it.
func TestShortLayer(t *testing.T) {
	for _, method := range []string{"none", "gzip"} {
		o := options(t, pack(t, "a"))
		o.Verify, o.Compress = false, method
		b, err := newBuild(o)
		if err != nil {
			t.Fatal(err)
		}
		l := b.layers[0]
		l.method = "none"
		l.size += 512
		if method == "none" {
			err = l.copy(io.Discard, false)
		} else {
			_, err = b.recompress(true)
		}
		if err == nil || err.Error() != l.path+": truncated" {
			t.Errorf("%s: %v", method, err)
		}
	}
}

func TestHeader(t *testing.T) {
	const lastSecond = 253402300799 // of the year 9999, beyond which RFC 3339 has no times
	for _, c := range []struct {
		name        string
		size, mtime int64
	}{
		{"a", 0, 0}, {"dir/", 0, 7}, {strings.Repeat("n", 100), 1, 1 << 31},
		{"max", 1<<33 - 1, 1<<33 - 1}, {"large", 1 << 33, 0}, {"late", 5, lastSecond}, {"both", 1 << 40, 1 << 35},
	} {
		b := header(c.name, c.size, c.mtime)
		h, err := tar.NewReader(io.MultiReader(bytes.NewReader(b), bytes.NewReader(make([]byte, 4096)))).Next()
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if h.Name != c.name || h.Size != c.size || h.ModTime.Unix() != c.mtime || len(b)%blockSize != 0 {
			t.Errorf("%+v became %+v", c, h)
		}
	}
}

func TestParallel(t *testing.T) {
	ran := make([]bool, 50)
	var work []func() error
	for i := range ran {
		work = append(work, func() error { ran[i] = true; return nil })
	}
	if err := parallel(work); err != nil {
		t.Fatal(err)
	}
	for i, ok := range ran {
		if !ok {
			t.Errorf("%d did not run", i)
		}
	}
	work[0] = func() error { return io.ErrClosedPipe }
	if err := parallel(work); err != io.ErrClosedPipe {
		t.Error(err)
	}
}

// A directory that a signal took away is not made again.
func TestWriteDirGone(t *testing.T) {
	gone := filepath.Join(t.TempDir(), "gone")
	if _, err := WriteDir(gone, options(t, tarOf("a", "b"))); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if _, err := os.Lstat(gone); err == nil {
		t.Error("it is there again")
	}
}
