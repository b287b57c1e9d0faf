package image

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/archive"
	"github.com/ctbox/ctbox/applets/internal/compress"
	"github.com/ctbox/ctbox/applets/internal/fuzztest"
)

// tarOf packs names and contents, which alternate, as an archive.
func tarOf(files ...string) []byte {
	var b []byte
	for i := 0; i < len(files); i += 2 {
		b = append(b, header(files[i], int64(len(files[i+1])), 0)...)
		b = pad(append(b, files[i+1]...))
	}
	return append(b, make([]byte, endOfTar)...)
}

func TestOpen(t *testing.T) {
	o := options(t, layers(t)...)
	ref, err := ParseReference("hello:1")
	if err != nil {
		t.Fatal(err)
	}
	o.Tags, o.Cmd = []Reference{ref}, []string{"/init"}
	b, d := toPipe(t, o)
	a, err := Open(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if a.Config != d.Config || a.Manifest != d.Manifest || a.Index != "" || len(a.DiffIDs) != 5 ||
		!slices.Equal(a.RepoTags, []string{"docker.io/library/hello:1"}) || !slices.Equal(a.Cmd, []string{"/init"}) ||
		a.OS != "linux" || a.Architecture != "amd64" {
		t.Errorf("%+v, want %+v", a, d)
	}
	for i, tar := range layers(t) {
		if a.DiffIDs[i] != digestOf(tar) {
			t.Errorf("layer %d: %s", i, a.DiffIDs[i])
		}
	}
}

// Layers 0 and 3 are the same blob: it is left out only when neither is wanted.
func TestWriteWithout(t *testing.T) {
	b, _ := toPipe(t, options(t, layers(t)...))
	a, err := Open(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	for have, blobs := range []int{4, 4, 3, 2, 1, 0, 0} {
		var out bytes.Buffer
		if err := a.WriteWithout(&out, have); err != nil {
			t.Fatal(err)
		}
		if have == 0 && !bytes.Equal(out.Bytes(), b) {
			t.Error("the whole archive differs")
		}
		rest := &Archive{r: bytes.NewReader(out.Bytes()), byName: map[string]int{}}
		if err := rest.scan(); err != nil || len(rest.files) != 5+blobs {
			t.Errorf("have %d: %d entries, %v", have, len(rest.files), err)
		}
	}
}

func TestOpenFrom(t *testing.T) {
	b, d := toPipe(t, options(t, layers(t)...))
	for _, method := range []string{"none", "gzip", "zstd"} {
		var z bytes.Buffer
		w, err := compress.NewWriter(&z, method, 0)
		if err != nil {
			t.Fatal(err)
		}
		w.Write(b)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "image")
		if err := os.WriteFile(path, z.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for _, r := range []io.Reader{&z, f} {
			a, err := OpenFrom(r)
			if err != nil {
				t.Fatal(method, err)
			}
			var out bytes.Buffer
			if err := a.WriteWithout(&out, 0); err != nil || a.Config != d.Config || !bytes.Equal(out.Bytes(), b) {
				t.Errorf("%s: %v, %s", method, err, a.Config)
			}
			if err := a.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// What "docker save" wrote before it had a layout: files of other names, and links between equal layers.
func TestOpenSaved(t *testing.T) {
	b := tarOf("aa/", "", "aa/layer.tar", "layer", "c0.json", `{"rootfs":{"diff_ids":["1","2"]}}`,
		"manifest.json", `[{"Config":"c0.json","RepoTags":null,"Layers":["aa/layer.tar","bb/layer.tar"]}]`)
	link, err := archive.AppendTarHeader(nil, &archive.TarEntry{Name: []byte("bb/layer.tar"), Target: []byte("../aa/layer.tar"), Kind: '2'})
	if err != nil {
		t.Fatal(err)
	}
	a, err := Open(bytes.NewReader(append(link, b...)))
	if err != nil {
		t.Fatal(err)
	}
	if a.Config != digestOf([]byte(`{"rootfs":{"diff_ids":["1","2"]}}`)) || a.Manifest != "" || !slices.Equal(a.DiffIDs, []string{"1", "2"}) {
		t.Errorf("%+v", a)
	}
	var out bytes.Buffer
	if err := a.WriteWithout(&out, 1); err != nil || !strings.Contains(out.String(), "aa/layer.tar\x00") {
		t.Errorf("a blob that is still wanted is gone: %v", err)
	}
}

func TestOpenErrors(t *testing.T) {
	b, _ := toPipe(t, options(t, pack(t, "a")))
	blob := func(text string) string { return blobDir + hex(digestOf([]byte(text))) }
	index := func(digest string) string { return `{"manifests":[{"digest":"` + digest + `"}]}` }
	sparse := tarOf("PaxHeaders/x", "22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n25 GNU.sparse.realsize=9\n", "manifest.json", "0\n"+strings.Repeat("\x00", blockSize-2)) // a map of no parts
	sparse[156] = 'x'
	setChecksum(sparse)
	for want, in := range map[string][]byte{
		`"manifest.json" is a sparse file`:                       sparse,
		`"manifest.json": too many links`:                        pack(t, "manifest.json -> manifest.json"),
		`"index.json": too many links`:                           pack(t, "index.json => index.json"),
		`"manifest.json": invalid character 'x'`:                 pack(t, "x", "manifest.json => x"),
		`"dev/null" has no place in an image archive`:            pack(t, "dev/null =3"),
		"bad header at byte 1024":                                append(pack(t, "a")[:2*blockSize], bytes.Repeat([]byte("x"), 2*blockSize)...),
		"more than 100000 entries, not an image archive":         bytes.Repeat(header("a", 0, 0), maxEntries+1),
		`"manifest.json" is larger than`:                         tarOf("manifest.json", strings.Repeat(" ", maxJSON+1)),
		`"index.json": unexpected end of JSON input`:             tarOf("index.json", "["),
		"holds 3 images, not one":                                tarOf("index.json", `{"manifests":[{"digest":"a"},{"digest":"b"},{"digest":"c"}]}`),
		blob("x") + `" does not have the digest`:                 tarOf("index.json", index(digestOf([]byte("x"))), blob("x"), "y"),
		blob("[") + `": unexpected end of JSON input`:            tarOf("index.json", index(digestOf([]byte("["))), blob("["), "["),
		"holds an index of several platforms, not one image":     tarOf("index.json", index(digestOf([]byte("{}"))), blob("{}"), "{}"),
		`"c": unexpected end of JSON input`:                      tarOf("manifest.json", `[{"Config":"c"}]`, "c", "["),
		`"l" is not in the archive`:                              tarOf("manifest.json", `[{"Config":"c","Layers":["l"]}]`, "c", `{"rootfs":{"diff_ids":["1"]}}`),
		"is empty, not an image archive":                         nil,
		"is not a tar archive":                                   bytes.Repeat([]byte("x"), 2048),
		"truncated after byte ":                                  b[:len(b)-endOfTar-100],
		"truncated after byte 512":                               tarOf("a", "b")[:blockSize+1],
		"old image format":                                       tarOf("aa/VERSION", "1.0", "aa/json", "{}", "repositories", "{}"),
		"neither manifest.json nor index.json":                   tarOf("x", "y"),
		"holds 0 images, not one":                                tarOf("manifest.json", "[]"),
		"holds 2 images, not one":                                tarOf("manifest.json", "[{},{}]"),
		`"manifest.json": unexpected end of JSON input`:          tarOf("manifest.json", "["),
		`"c" is not in the archive`:                              tarOf("manifest.json", `[{"Config":"c"}]`),
		`"d" is not a file`:                                      tarOf("manifest.json", `[{"Config":"d"}]`, "d/", ""),
		"has 1 layers, but its config has 0":                     tarOf("manifest.json", `[{"Config":"c","Layers":["l"]}]`, "c", "{}"),
		"does not have the digest that is its name":              bytes.Replace(b, []byte(`"linux"`), []byte(`"linus"`), 1),
		`"" is not a sha256 digest`:                              tarOf("index.json", `{"manifests":[{}]}`),
		`"sha256:../../../../etc/passwd" is not a sha256 digest`: tarOf("index.json", `{"manifests":[{"digest":"sha256:../../../../etc/passwd"}]}`),
	} {
		if _, err := Open(bytes.NewReader(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// setChecksum is for a header that was changed.
func setChecksum(b []byte) {
	sum := 8 * int(' ')
	for i, c := range b[:blockSize] {
		if i < 148 || i >= 156 {
			sum += int(c)
		}
	}
	copy(b[148:156], fmt.Sprintf("%06o\x00 ", sum))
}

// The layout beside manifest.json may be of another image, as some writers have it: then no manifest is known.
func TestOpenOtherIndex(t *testing.T) {
	b, _ := toPipe(t, options(t, pack(t, "a")))
	saved := tarOf("manifest.json", `[{"Config":"c.json"}]`, "c.json", "{}")
	a, err := Open(bytes.NewReader(append(b[:len(b)-endOfTar:len(b)-endOfTar], saved...)))
	if err != nil || a.Manifest != "" || a.Config != digestOf([]byte("{}")) {
		t.Errorf("%+v, %v", a, err)
	}
}

// unreadable is a file of which a part cannot be read.
type unreadable struct {
	io.ReaderAt
	from, to int64
}

func (u unreadable) ReadAt(p []byte, at int64) (int, error) {
	if at < u.to && at+int64(len(p)) > u.from {
		return 0, unix.EIO
	}
	return u.ReaderAt.ReadAt(p, at)
}

func TestOpenUnreadable(t *testing.T) {
	r := unreadable{bytes.NewReader(tarOf("manifest.json", "[{}]")), blockSize, blockSize + 1}
	if _, err := Open(r); !errors.Is(err, unix.EIO) {
		t.Error(err)
	}
}

// An engine that ends while it is sent an image is an error, wherever it does.
func TestWriteWithoutReader(t *testing.T) {
	b, _ := toPipe(t, options(t, layers(t)...))
	a, err := Open(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	for have := range 5 {
		var whole bytes.Buffer
		if err := a.WriteWithout(&whole, have); err != nil {
			t.Fatal(err)
		}
		for n := range whole.Len() / blockSize {
			if err := a.WriteWithout(&limited{int64(n) * blockSize}, have); err != unix.ENOSPC {
				t.Errorf("have %d, room for %d blocks: %v", have, n, err)
			}
		}
	}
}

// So is an image that changes meanwhile.
func TestWriteWithoutEnd(t *testing.T) {
	b, _ := toPipe(t, options(t, layers(t)...))
	path := oldImage(t, b)
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	a, err := Open(f)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, blockSize); err != nil {
		t.Fatal(err)
	}
	if err := a.WriteWithout(io.Discard, 1); err == nil || err.Error() != "changed while it was read" {
		t.Error(err)
	}
}

func TestOpenFromNoRoom(t *testing.T) {
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "absent"))
	if _, err := OpenFrom(strings.NewReader("x")); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "/absent: ") {
		t.Error(err)
	}
}

// savedImages are archives of one image as other tools write them, and as somebody would who wants to break something.
func savedImages(t testing.TB) [][]byte {
	o := options(t, pack(t, "a"), pack(t))
	hybrid, d := toPipe(t, o)
	config := `{"os":"linux","rootfs":{"diff_ids":["1"]}}`
	saved := tarOf("c", config, "l", "", "manifest.json", `[{"Config":"c","Layers":["l"]}]`)
	manifest := `{"config":{"digest":"` + digestOf([]byte(config)) + `"},"layers":[{"digest":"` + digestOf([]byte("l")) + `"}]}`
	blob := func(s string) string { return blobDir + hex(digestOf([]byte(s))) }
	index := `{"manifests":[{"digest":"` + digestOf([]byte(manifest)) + `","annotations":{"` + nameAnnotation + `":"x:y"}}]}`
	link := func(name, target string, kind byte) []byte {
		b, err := archive.AppendTarHeader(nil, &archive.TarEntry{Name: []byte(name), Target: []byte(target), Kind: kind})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	all := [][]byte{
		hybrid, saved, bytes.Replace(hybrid, []byte(d.Config[7:]), []byte(d.Manifest[7:]), 1),
		tarOf("oci-layout", `{"imageLayoutVersion":"1.0.0"}`, "index.json", index, blob(manifest), manifest, blob(config), config, blob("l"), "l"),
		slices.Concat(link("manifest.json", "manifest.json", '2'), saved), slices.Concat(saved[:len(saved)-endOfTar], link("l", "l", '1'), make([]byte, endOfTar)),
		slices.Concat(link("l", "../../../etc/passwd", '2'), saved), slices.Concat(link("b", "c", '2'), link("c", "b", '2'), saved),
		tarOf("aa/VERSION", "1.0", "aa/json", "{}"), tarOf("manifest.json", `[{"Config":"manifest.json","Layers":["manifest.json"],"RepoTags":["\u001b[2J"]}]`),
		tarOf("manifest.json", `[{"Config":"c","Layers":["l","l"]}]`, "c", `{"rootfs":{"diff_ids":["1","1"]}}`, "l", "x", "l", "twice"),
		tarOf("manifest.json", strings.Repeat("[", 20000)), tarOf("manifest.json", "["+strings.Repeat("{},", 5000)+"{}]"), saved[:len(saved)-endOfTar-1],
	}
	for _, b := range all[:4] {
		for _, method := range []string{"gzip", "zstd"} {
			var z bytes.Buffer
			if err := compress.To(&z, method, 0, func(w io.Writer) error { _, err := w.Write(b); return err }); err != nil {
				t.Fatal(err)
			}
			all = append(all, z.Bytes())
		}
	}
	return all
}

// Any bytes, compressed or not, give an error or an archive that can be written whole and read again. Without the layers that an
// engine has, it is an archive of the same image still.
func FuzzOpen(f *testing.F) {
	for _, b := range savedImages(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var plain bytes.Buffer
		if z, method, err := compress.NewReader(bytes.NewReader(in)); err == nil && method != "none" {
			if _, err := io.Copy(&plain, io.LimitReader(z, 1<<20)); err != nil {
				return
			}
			in = plain.Bytes()
		}
		in = sealed(in)
		var a *Archive
		var err error
		// 16 MiB is the largest JSON text, 100 is a lot of empty JSON objects.
		fuzztest.Bounded(t, len(in), 17<<20, 200, func() { a, err = Open(bytes.NewReader(in)) })
		if err != nil {
			return
		}
		names, err := listed(in)
		if err != nil {
			t.Fatal(err)
		}
		for have := range len(a.DiffIDs) + 1 {
			var out bytes.Buffer
			if err := a.WriteWithout(&out, have); err != nil {
				t.Fatal(err)
			}
			left, err := listed(out.Bytes())
			if err != nil || len(left) > len(names) || have == 0 && !slices.Equal(left, names) {
				t.Fatalf("%q became %q: %v", names, left, err)
			}
			again, err := Open(bytes.NewReader(out.Bytes()))
			if have == 0 && (err != nil || again.Config != a.Config || again.Manifest != a.Manifest || !slices.Equal(again.DiffIDs, a.DiffIDs)) {
				t.Fatalf("%+v, %v", again, err)
			}
		}
	})
}

// brokenAt cannot be read from an offset on.
type brokenAt struct {
	*bytes.Reader
	off int64
}

func (b brokenAt) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > b.off {
		return 0, unix.EIO
	}
	return b.Reader.ReadAt(p, off)
}

// What cannot be read is not what is badly made.
func TestOpenReadError(t *testing.T) {
	b := tarOf("a", "b", "c", "d")
	b = b[:len(b)-endOfTar]
	for _, off := range []int64{0, blockSize, int64(len(b)) - 1} {
		if _, err := Open(brokenAt{bytes.NewReader(b), off}); !errors.Is(err, unix.EIO) {
			t.Errorf("from %d: %v", off, err)
		}
	}
}

// listed are the names in a tar.
func listed(b []byte) (names []string, err error) {
	err = scan(bytes.NewReader(b), func(e *entry) error { names = append(names, e.raw); return nil })
	return names, err
}

// Offsets must not overflow.
func TestOpenHuge(t *testing.T) {
	for size := int64(math.MaxInt64); size > math.MaxInt64-3*blockSize; size -= 100 {
		b, err := archive.AppendTarHeader(nil, &archive.TarEntry{Name: []byte("a"), Kind: '0', Size: size})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Open(bytes.NewReader(append(b, tarOf("b", "c")...))); err == nil || !strings.HasPrefix(err.Error(), "truncated after byte ") {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}
