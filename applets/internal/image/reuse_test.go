package image

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/ctbox/ctbox/applets/internal/compress"
)

// bulk is a tar of n files of 100 kB, of which each is another for another seed.
func bulk(t testing.TB, seeds ...uint64) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i, seed := range seeds {
		rnd := rand.New(rand.NewPCG(seed, 1))
		var content []byte
		for len(content) < 100_000 {
			content = fmt.Appendf(content, "%d ", rnd.IntN(1e6))
		}
		if err := w.WriteHeader(&tar.Header{Name: fmt.Sprint("file", i), Mode: 0o644, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
		w.Write(content)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// zipped is an image of two compressed layers in an archive, and in a layout; changed are options for another that differs
// in one file.
func zipped(t testing.TB) (archive, dir string, changed Options) {
	t.Helper()
	o := options(t, bulk(t, 1, 2, 3, 4, 5, 6), bulk(t, 1))
	o.Compress = "gzip"
	b, _ := toPipe(t, o)
	archive, dir = filepath.Join(t.TempDir(), "image"), t.TempDir()
	if err := os.WriteFile(archive, b, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := WriteDir(dir, o); err != nil {
		t.Fatal(err)
	}
	changed = options(t, bulk(t, 1, 2, 3, 4, 5, 99), bulk(t, 1), bulk(t, 1))
	changed.Compress = "gzip"
	return archive, dir, changed
}

// oldImage writes an image to a file.
func oldImage(t testing.TB, image []byte) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "old")
	if err := os.WriteFile(path, image, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// reusing writes an image with what is at path and says what was wrong with that.
func reusing(t testing.TB, o Options, path string) (b []byte, u *Reuse, warning string) {
	t.Helper()
	u = &Reuse{Path: path}
	o.Reuse = u
	b, _ = toPipe(t, o)
	if u.Err != nil {
		warning = u.Err.Error()
	}
	return b, u, strings.ReplaceAll(warning, path, "OLD")
}

func TestReuse(t *testing.T) {
	archive, dir, o := zipped(t)
	want, _ := toPipe(t, o)
	for _, path := range []string{archive, dir} {
		got, u, warning := reusing(t, o, path)
		if !bytes.Equal(got, want) || warning != "" {
			t.Errorf("%s: other bytes than without, %q", path, warning)
		}
		if u.Copied < 3 || u.Copied >= u.Of {
			t.Errorf("%s: %d of %d members were copied", path, u.Copied, u.Of)
		}
	}
	o.Reuse = &Reuse{Path: archive}
	if got := toFile(t, o, "", 0); !bytes.Equal(got, want) {
		t.Error("a file has other bytes than without")
	}
}

// The other compressions have nothing to copy.
func TestReuseOtherMethods(t *testing.T) {
	_, _, o := zipped(t)
	for _, method := range []string{"none", "zstd"} {
		o.Compress = method
		want, _ := toPipe(t, o)
		if got, u, warning := reusing(t, o, "/dev/null"); !bytes.Equal(got, want) || u.Of != 0 || warning != "" {
			t.Errorf("%s: %d members, %q", method, u.Of, warning)
		}
	}
}

// What cannot be used makes no difference to the image, and is told if it is there.
func TestReuseUseless(t *testing.T) {
	archive, dir, o := zipped(t)
	want, _ := toPipe(t, o)
	image, err := os.ReadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	layer := bytes.Index(image, []byte(compress.GzipHeader))
	plain, _ := toPipe(t, options(t, pack(t, "a")))
	mark := madeAnnotation + `":"`
	edit := func(from, to string) []byte { return bytes.Replace(image, []byte(from), []byte(to), 1) }
	digest := string(image[bytes.Index(image, []byte(mark))+len(mark)+2:][:64])
	number, _, _ := strings.Cut(string(image[bytes.Index(image, []byte(digest+":"))+65:][:8]), " ")
	for name, c := range map[string]struct {
		image   []byte
		warning string
	}{
		"not compressed":   {plain, ""},
		"another version":  {edit(mark+compress.GzipVersion+" ", mark+"0 "), ""},
		"unmarked":         {edit("com.github", "org.github"), ""},
		"another number":   {edit(digest+":"+number, digest+":"+strings.Repeat("9", len(number))), ""},
		"empty":            {nil, "is empty, not an image archive"},
		"no image":         {bytes.Repeat([]byte("x"), 4096), "is not a tar archive"},
		"another tar":      {tarOf("x", "y"), `"index.json" is not in the archive`},
		"truncated":        {image[:layer+5000], fmt.Sprint("truncated after byte ", layer)},
		"damaged index":    {edit(`{"schemaVersion":2`, `["schemaVersion":2`), `"index.json": invalid character ':' after array element`},
		"damaged mark":     {edit(digest+":", digest+"x"), `"` + digest + "x" + number + `": is not a digest`},
		"path in the mark": {edit(mark+compress.GzipVersion+" "+digest, mark+compress.GzipVersion+" "+strings.Repeat("../", 21)+"x"), `"` + strings.Repeat("../", 21) + "x:" + number + `": is not a digest`},
	} {
		path := oldImage(t, c.image)
		got, u, warning := reusing(t, o, path)
		if !bytes.Equal(got, want) || warning != c.warning {
			t.Errorf("%s: %q", name, warning)
		}
		if wholly := !strings.Contains(name, "mark") && name != "another number"; wholly && u.Copied != 0 {
			t.Errorf("%s: %d members were copied", name, u.Copied)
		}
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "nothing"): "", "/dev/null": "is not a regular file",
		filepath.Join(dir, "blobs"): "open OLD/index.json: no such file or directory",
	} {
		if _, _, warning := reusing(t, o, path); warning != want {
			t.Errorf("%s: %q, want %q", path, warning, want)
		}
	}
}

// One layer that is damaged does not keep the others from being used.
func TestReuseDamagedLayer(t *testing.T) {
	archive, _, o := zipped(t)
	want, _ := toPipe(t, o)
	image, err := os.ReadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	image[bytes.Index(image, []byte(compress.GzipHeader))+1000] ^= 1
	if err := os.WriteFile(archive, image, 0o666); err != nil {
		t.Fatal(err)
	}
	got, u, warning := reusing(t, o, archive)
	if !bytes.Equal(got, want) || !strings.HasSuffix(warning, `": does not have its digest`) {
		t.Errorf("%q", warning)
	}
	if u.Copied != 2 { // the small layer, twice
		t.Errorf("%d members were copied", u.Copied)
	}
}

// A layer may hold a file that is such a stream itself, of another level: its members must not pass for those of the layer.
func TestReuseNested(t *testing.T) {
	text := tarOf("text", string(bulk(t, 1)[blockSize:][:20_000]))
	var inner bytes.Buffer
	z, err := compress.NewWriter(&inner, "gzip", 1)
	if err != nil {
		t.Fatal(err)
	}
	z.Write(text)
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	noise := make([]byte, 100_000) // makes DEFLATE store all of the block
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range noise {
		noise[i] = byte(rnd.Uint32())
	}
	old := options(t, tarOf("stored", string(noise)+inner.String()+string(noise)))
	old.Compress = "gzip"
	b, _ := toPipe(t, old)
	if !bytes.Contains(b, inner.Bytes()) {
		t.Fatal("the inner stream was not stored")
	}
	path := oldImage(t, b)
	o := options(t, text)
	o.Compress = "gzip"
	want, _ := toPipe(t, o)
	if bytes.Contains(want, inner.Bytes()) {
		t.Fatal("the levels do not differ")
	}
	if got, u, warning := reusing(t, o, path); !bytes.Equal(got, want) || u.Copied != 0 || warning != "" {
		t.Errorf("%d members were copied, %q", u.Copied, warning)
	}
	if got, u, _ := reusing(t, old, path); !bytes.Equal(got, b) || u.Copied != 0 {
		t.Errorf("of the same image %d members were copied", u.Copied)
	}
}

// Headers are found wherever they are, also across the borders of the buffer.
func TestHeaders(t *testing.T) {
	data := bytes.Repeat([]byte{0x1f, 0}, 300<<10)
	var want []int64
	for _, at := range []int{0, 10, readSize - 5, readSize + 40, 2*readSize - 1, len(data) - 10} {
		copy(data[at:], compress.GzipHeader)
		want = append(want, int64(at))
	}
	got, sum, err := headers(bytes.NewReader(data))
	if err != nil || !slices.Equal(got, want) || sum != digestOf(data) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	if got, _, err := headers(bytes.NewReader(make([]byte, 1<<20))); len(got) > 0 || err != nil {
		t.Errorf("in zeros: %v, %v", got, err)
	}
	if _, _, err := headers(iotest.ErrReader(io.ErrClosedPipe)); err != io.ErrClosedPipe {
		t.Error(err)
	}
}

// Layers that came compressed may be anybody's: they are not marked, so nothing is copied from them.
func TestReuseForeign(t *testing.T) {
	text := bulk(t, 1)
	var z bytes.Buffer
	w, err := compress.NewWriter(&z, "gzip", 9)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(text)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	foreign := options(t, z.Bytes())
	foreign.Compress = "gzip"
	b, _ := toPipe(t, foreign)
	if bytes.Contains(b, []byte(madeAnnotation)) {
		t.Error("a foreign layer is marked")
	}
	path := oldImage(t, b)
	o := options(t, text)
	o.Compress = "gzip"
	want, _ := toPipe(t, o)
	if got, u, warning := reusing(t, o, path); !bytes.Equal(got, want) || u.Copied != 0 || warning != "" {
		t.Errorf("%d members were copied, %q", u.Copied, warning)
	}
}

// FuzzReuse: whatever is there, the image is the same.
func FuzzReuse(f *testing.F) {
	o := options(f, pack(f, "a"), pack(f, "b", "c"))
	o.Compress = "gzip"
	want, _ := toPipe(f, o)
	f.Add(want)
	f.Add(want[:3000])
	path := filepath.Join(f.TempDir(), "old")
	f.Fuzz(func(t *testing.T, old []byte) {
		if err := os.WriteFile(path, old, 0o666); err != nil {
			t.Fatal(err)
		}
		if got, u, _ := reusing(t, o, path); !bytes.Equal(got, want) {
			t.Fatalf("%d members were copied", u.Copied)
		}
	})
}
