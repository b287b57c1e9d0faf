// Package interop reads what ctbox wrote with libraries that others wrote. It is a module of its own, so that
// nothing of theirs is in ctbox's. The program tested is $CTBOX, or one built from the tree around.
package interop

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/distribution/reference"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// program is the path of ctbox.
var program string

func TestMain(m *testing.M) {
	program = os.Getenv("CTBOX")
	if program != "" {
		os.Exit(m.Run())
	}
	dir, err := os.MkdirTemp("", "ctbox-interop-")
	if err == nil {
		program = filepath.Join(dir, "ctbox")
		build := exec.Command("go", "build", "-o", program, "./cmd/ctbox")
		build.Dir = filepath.Join("..", "..")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		build.Stderr = os.Stderr
		err = build.Run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	status := m.Run()
	os.RemoveAll(dir)
	os.Exit(status)
}

// mkimage runs ctbox in dir with its three layers and returns what it says the digests are.
func mkimage(t *testing.T, dir string, args ...string) (config, manifest string) {
	t.Helper()
	args = append([]string{"mkimage", "-q", "--digest-file", "digests"}, args...)
	cmd := exec.Command(program, append(args, "layers")...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	b, err := os.ReadFile(filepath.Join(dir, "digests"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscanf(string(b), "config %s\nmanifest %s\n", &config, &manifest); err != nil {
		t.Fatalf("%q: %v", b, err)
	}
	return config, manifest
}

// workspace makes layers: a base, one with a link and a deletion, and the base again.
func workspace(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	layer := func(name string, headers ...tar.Header) {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, h := range headers {
			h.Size, h.Mode = 0, 0o755
			if h.Typeflag == tar.TypeReg {
				h.Size = 10_000
			}
			if err := w.WriteHeader(&h); err != nil {
				t.Fatal(err)
			}
			w.Write(bytes.Repeat([]byte("x"), int(h.Size)))
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name+".layer"), b.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	layer("base", tar.Header{Name: "etc/", Typeflag: tar.TypeDir}, tar.Header{Name: "etc/motd", Typeflag: tar.TypeReg})
	layer("top", tar.Header{Name: "bin", Typeflag: tar.TypeSymlink, Linkname: "usr/bin"},
		tar.Header{Name: "etc/", Typeflag: tar.TypeDir}, tar.Header{Name: "etc/.wh.motd", Typeflag: tar.TypeReg},
		tar.Header{Name: "init", Typeflag: tar.TypeReg}, tar.Header{Name: "sbin", Typeflag: tar.TypeLink, Linkname: "init"})
	if err := os.WriteFile(filepath.Join(dir, "layers"), []byte("base\ntop\nbase\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	return dir
}

// check validates an image: sizes, digests, diff IDs, duplicate paths; and compares the digest of its config.
func check(t *testing.T, img v1.Image, config string, opts ...validate.Option) {
	t.Helper()
	if err := validate.Image(img, opts...); err != nil {
		t.Errorf("not valid: %v", err)
	}
	name, err := img.ConfigName()
	if err != nil || name.String() != config {
		t.Errorf("config is %s (%v), ctbox said %s", name, err, config)
	}
	file, err := img.ConfigFile()
	if err != nil || len(file.RootFS.DiffIDs) != 3 || len(file.History) != 3 || file.OS != "linux" || file.Config.Cmd[0] != "/init" {
		t.Errorf("%+v, %v", file, err)
	}
}

// The methods are those that this library reads from an archive.
func TestArchive(t *testing.T) {
	dir := workspace(t)
	for _, method := range []string{"none", "gzip"} {
		config, _ := mkimage(t, dir, "--tag", "hello:1", "--cmd", "/init", "-z", method, "-o", method)
		img, err := tarball.ImageFromPath(filepath.Join(dir, method), nil)
		if err != nil {
			t.Fatal(err)
		}
		check(t, img, config)
	}
}

// With Docker's media types and gzip the library gives the manifest the digest that ctbox gave it.
func TestManifestDigest(t *testing.T) {
	dir := workspace(t)
	_, manifest := mkimage(t, dir, "--media=docker", "-z", "gzip", "-o", "image")
	img, err := tarball.ImageFromPath(filepath.Join(dir, "image"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if digest, err := img.Digest(); err != nil || digest.String() != manifest {
		t.Errorf("manifest is %s (%v), ctbox said %s", digest, err, manifest)
	}
}

// The library unpacks the layers of a layout with gzip only; for other methods it checks all but their content.
func TestLayout(t *testing.T) {
	dir := workspace(t)
	for method, opts := range map[string][]validate.Option{"gzip": nil, "none": {validate.Fast}, "zstd": {validate.Fast}} {
		config, manifest := mkimage(t, dir, "--cmd", "/init", "--annotation", "k=<v>", "--format=oci-dir", "-z", method, "-o", "oci")
		index, err := layout.ImageIndexFromPath(filepath.Join(dir, "oci"))
		if err != nil {
			t.Fatal(err)
		}
		if err := validate.Index(index, opts...); err != nil {
			t.Errorf("%s: index not valid: %v", method, err)
		}
		digest, err := v1.NewHash(manifest)
		if err != nil {
			t.Fatal(err)
		}
		img, err := index.Image(digest)
		if err != nil {
			t.Fatal(err)
		}
		check(t, img, config, opts...)
		if m, err := img.Manifest(); err != nil || m.Annotations["k"] != "<v>" {
			t.Errorf("%+v, %v", m, err)
		}
	}
}

// A byte changed anywhere in a layer or a diff ID is found: the checks above are not blind.
func TestTampered(t *testing.T) {
	dir := workspace(t)
	mkimage(t, dir, "--cmd", "/init", "-o", "image")
	whole, err := os.ReadFile(filepath.Join(dir, "image"))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"xxxx", `"diff_ids":["sha256:`} {
		b := bytes.Clone(whole)
		at := bytes.Index(b, []byte(part)) + len(part)
		if b[at]++; b[at] == 'g' || b[at] == ':' {
			b[at] = '0'
		}
		path := filepath.Join(dir, "tampered")
		if err := os.WriteFile(path, b, 0o666); err != nil {
			t.Fatal(err)
		}
		img, err := tarball.ImageFromPath(path, nil)
		if err == nil {
			err = validate.Image(img)
		}
		if err == nil {
			t.Errorf("a change after %q was not found", part)
		}
	}
}

// ctbox takes and completes the names that the engines' own library takes, except that the whole name counts
// for the length, as it did before the library's version 0.6, and digests are refused.
func TestReference(t *testing.T) {
	dir := workspace(t)
	if err := os.Remove(filepath.Join(dir, "top.layer")); err != nil {
		t.Fatal(err)
	}
	os.WriteFile(filepath.Join(dir, "layers"), []byte("base\n"), 0o666)
	for _, name := range []string{
		"hello", "hello:1", "a/b", "a/b/c:x", "Hello", "a/B", "A/b", "a:B", "a:", ":a", "a:b:c", "a:-", "a:.", "a:_",
		"localhost/a", "localhost:1/a", "localhost", "docker.io/a", "index.docker.io/a", "docker.io/library/a",
		"h.example/a", "h.example:80/a/b", "h.example:x/a", "h_.example/a", "-h.example/a", "h-.example/a", "h..x/a",
		"[::1]/a", "[::1]:5/a", "[::1", "[]/a", "[1.2.3.4]/a", "1.2.3.4/a", "1.2.3.4:5/a:6",
		"a.b", "a..b", "a_b", "a__b", "a___b", "a-b", "a---b", "a.-b", "a-", "-a", "_a", "a_", ".a", "a.",
		"a//b", "/a", "a/", "a b", "é", "a:é", "a\n", "http://a/b",
		strings.Repeat("0", 64), strings.Repeat("a", 63), strings.Repeat("0", 64) + ":x", "sha256:" + strings.Repeat("0", 64),
		strings.Repeat("a", 237), "a:" + strings.Repeat("x", 128), "a:" + strings.Repeat("x", 129), strings.Repeat("a/", 100) + "a",
		"user@h.example/a", "0", "0/0", "0.0/0", "docker.io/0.0/0", "xn--n3h.com/a", "A.B/c", "a:5000/B", "localhosts:1/a",
	} {
		want := ""
		if ref, err := reference.ParseNormalizedNamed(name); err == nil {
			want = reference.TagNameOnly(ref).String()
		}
		cmd := exec.Command(program, "mkimage", "--format=oci-dir", "-o", "out", "--tag", name, "layers")
		cmd.Dir = dir
		got := ""
		if out, err := cmd.CombinedOutput(); err == nil {
			b, _ := os.ReadFile(filepath.Join(dir, "out", "index.json"))
			_, rest, _ := strings.Cut(string(b), `"io.containerd.image.name":"`)
			got, _, _ = strings.Cut(rest, `"`)
		} else if cmd.ProcessState.ExitCode() != 2 {
			t.Errorf("%q: %v\n%s", name, err, out)
		}
		if got != want {
			t.Errorf("%q: ctbox makes it %q, the library %q", name, got, want)
		}
	}
}

// TestGiven validates the image archive $CTBOX_IMAGE, whose config must have the digest $CTBOX_CONFIG: for the tests
// of the module around this one.
func TestGiven(t *testing.T) {
	path := os.Getenv("CTBOX_IMAGE")
	if path == "" {
		t.Skip("no $CTBOX_IMAGE")
	}
	img, err := tarball.ImageFromPath(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(img); err != nil {
		t.Errorf("not valid: %v", err)
	}
	if name, err := img.ConfigName(); err != nil || name.String() != os.Getenv("CTBOX_CONFIG") {
		t.Errorf("config is %s (%v)", name, err)
	}
}
