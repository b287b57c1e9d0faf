package image

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// pack makes a tar of entries: "dir/", "file", "link -> target" (symbolic), "link => target" (hard),
// "name =type" for any other type.
func pack(t testing.TB, entries ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e, Typeflag: tar.TypeReg, Mode: 0o644}
		if name, target, ok := strings.Cut(e, " -> "); ok {
			h = &tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target}
		} else if name, target, ok := strings.Cut(e, " => "); ok {
			h = &tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: target}
		} else if name, ok := strings.CutSuffix(e, " =g"); ok {
			h = &tar.Header{Name: name, Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "0123"}}
		} else if name, kind, ok := strings.Cut(e, " ="); ok {
			h = &tar.Header{Name: name, Typeflag: kind[0], Devmajor: 1, Devminor: 3}
			if kind == "3zero" {
				h = &tar.Header{Name: name, Typeflag: kind[0]}
			}
		} else if strings.HasSuffix(e, "/") {
			h.Typeflag = tar.TypeDir
		} else {
			h.Size = int64(len(e))
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatalf("%s: %v", e, err)
		}
		if h.Size > 0 {
			io.WriteString(w, e)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func lintBytes(b []byte) error {
	return lint(bytes.NewReader(b), func() (io.Reader, error) { return bytes.NewReader(b), nil })
}

func TestLint(t *testing.T) {
	for _, c := range []struct{ want, entries string }{
		{"", ""},
		{"", "./|./a|./b/|./b/c"},
		{"", "a/|a-b|a/x|a/y/|a/y/z"},
		{"", "a|a-|a.b"},
		{"", "z|a|m/|m/n"},
		{"", "bin -> usr/bin|usr/|usr/bin/|usr/bin/sh"},
		{"", "a|b => a|c => ./a"},
		{"", "b/x|b/|a"}, // a directory after its content
		{"", "dev/|dev/console =3|dev/fifo =6|dev/sda =4"},
		{"", "etc/|etc/.wh.motd|etc/passwd"},
		{"", "etc/|etc/.wh..wh..opq|etc/passwd"},
		{"", "x -> /etc/passwd|y -> ../../z"},
		{"", "pax_global_header =g|a|b"}, // as git-archive(1) writes
		{"", "pax_global_header =g|b|a"},
		{"", "b|./|a|.wh..wh..opq"},
		{`"/a": absolute name`, "/a"},
		{`"../a": ".." in the name`, "../a"},
		{`"a/../b": ".." in the name`, "a/../b"},
		{`"a/./b": name is not in its simplest form`, "a/./b"},
		{`"a//b": name is not in its simplest form`, "a//b"},
		{`".": the root is not a directory`, ". -> /"},
		{`"./": the root is not a directory`, "./ -> /"},
		{`"b": hard link to "/a": absolute name`, "a|b => /a"},
		{`"b": hard link to "../a": ".." in the name`, "a|b => ../a"},
		{`"a": hard link to "b", which is not before it in this layer`, "a => b|b"},
		{`"a": hard link to "a", which is not before it in this layer`, "a => a"},
		{`"b": hard link to "a", which is not before it in this layer`, "a/|b => a"},
		{`"a": is there twice`, "a|a"},
		{`"./a": is there twice`, "a|./a"},
		{`"a/": is there twice`, "a/|b|a/"},
		{`"a": is there twice`, "b|a|c|a"},
		{`"x/a": is there twice`, "x/a|x/|x/b|x/a"},
		{`"a/b": is below "a", which is not a directory`, "a -> /|a/b"},
		{`"a/b": is below "a", which is not a directory`, "a -> /|a-|a-b|a/b"},
		{`"a/b": is below "a", which is not a directory`, "a|a/b"},
		{`"a/b/c": is below "a", which is not a directory`, "a -> /|b|0|a/b/c"},
		{`"a": is not a directory, but has names below it`, "a/b|a -> /"},
		{`"a/.wh.b": is there twice`, "a/|a/b|a/.wh.b"},
		{`"a/b": is there twice`, "a/|a/.wh.b|a/b"},
		{`"a/b/c": is below "a/b", which is not a directory`, "a/|a/.wh.b|a/b/c"},
		{`".wh.": deletes no name`, ".wh."},
		{`"a/.wh...": deletes no name`, "a/.wh..."},
		{`"a/.wh..wh..opq": is there twice`, "b|a/.wh..wh..opq|a/.wh..wh..opq"},
		{`"a/.wh..wh..opq": is below "a", which is not a directory`, "b|a|a/.wh..wh..opq"},
		{`"a/.wh..wh..opq/x": is below "a/.wh..wh..opq", which is not a directory`, "a/.wh..wh..opq/|a/.wh..wh..opq/x"},
		{`"b": hard link to ".wh.a", which is not before it in this layer`, ".wh.a|b => .wh.a"},
		{`"null": character device 0:0, which deletes the name in an engine`, "null =3zero"},
		{`"a": entry of unknown type '7'`, "a =7"},
		{"", "b|" + strings.Repeat("a/", 2047) + "a"},
		{"", strings.Repeat("a", 255)},
		{`"a/` + strings.Repeat("b", 256) + `": part of the name longer than 255 bytes`, "a/" + strings.Repeat("b", 256)},
		{`"` + strings.Repeat("a/", 500) + `": is there twice`, "b|" + strings.Repeat("a/", 2048) + "|" + strings.Repeat("a/", 2048)},
		{`"` + strings.Repeat("a/", 500) + `": name longer than 4095 bytes`, strings.Repeat("a/", 2048) + "b"},
		{`"a/b/c": is there twice`, "b|a/b/c|a/b/d|a/b/c"},
		{`"a/b": is not a directory, but has names below it`, "b|a/b/c|a/b/d|a/b"},
	} {
		var entries []string
		if c.entries != "" {
			entries = strings.Split(c.entries, "|")
		}
		for _, got := range lintTwice(pack(t, entries...)) {
			if text := fmt.Sprint(got); text != c.want && !(got == nil && c.want == "") {
				t.Errorf("%s: %s, want %q", c.entries, text, c.want)
			}
		}
	}
}

// lintTwice is what is said of a tar whose entries are all kept, and of one that must be read again.
func lintTwice(b []byte) [2]error {
	defer func(most int) { mostKept = most }(mostKept)
	kept := lintBytes(b)
	mostKept = 1
	return [2]error{kept, lintBytes(b)}
}

// A layer cut anywhere is an error, wherever the cut is; so is one with something after its end.
func TestLintCut(t *testing.T) {
	whole := pack(t, "a/", "a/b", "c -> d", "e => a/b", strings.Repeat("long/", 40)+"f")
	for n := range len(whole) {
		if err := lintBytes(whole[:n]); err == nil {
			t.Fatalf("cut at %d of %d: no error", n, len(whole))
		}
	}
	if err := lintBytes(append(whole, make([]byte, 10240)...)); err != nil {
		t.Errorf("padded: %v", err)
	}
	for _, tail := range []string{"x", "\x00\x00x", string(whole)} {
		if err := lintBytes(append(whole[:len(whole):len(whole)], tail...)); err == nil {
			t.Errorf("%d bytes after the end: no error", len(tail))
		}
	}
}

// TestLintGlobal: what engines ignore, and other readers do not.
func TestLintGlobal(t *testing.T) {
	for want, records := range map[string]map[string]string{
		"<nil>": {"comment": "of git archive"},
		`global header with "path", which engines ignore`: {"comment": "x", "path": "../x"},
	} {
		if got := fmt.Sprint(lintBytes(global(t, records))); got != want {
			t.Errorf("%q: %s", records, got)
		}
	}
}

// TestLintSparse: a file has one name and one size for all readers.
func TestLintSparse(t *testing.T) {
	for _, record := range []string{"GNU.sparse.name=../evil", "GNU.sparse.size=9", "GNU.sparse.realsize=9", "GNU.sparse.name=a", "GNU.sparse.size=1"} {
		text := paxRecord(record)
		b := slices.Concat(header("x", int64(len(text)), 0), pad([]byte(text)), pack(t, "a"))
		b[156] = 'x'
		if got := fmt.Sprint(lintBytes(sealed(b))); got != "bad map of a sparse file before byte 1536" {
			t.Errorf("%s: %s", record, got)
		}
	}
}

func TestLintBroken(t *testing.T) {
	whole := pack(t, "a", "b")
	for want, change := range map[string]func([]byte) []byte{
		"is empty, not a tar archive": func([]byte) []byte { return nil },
		"is not a tar archive":        func([]byte) []byte { return bytes.Repeat([]byte("x"), 4096) },
		"truncated after byte 512":    func([]byte) []byte { return make([]byte, 512) },
		"bad header at byte 1024":     func(b []byte) []byte { b[1024+148] ^= 1; return b },
		"truncated after byte 1536":   func(b []byte) []byte { return b[:1536] },
	} {
		if err := lintBytes(change(bytes.Clone(whole))); err == nil || err.Error() != want {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestLintEmptyName(t *testing.T) {
	for _, err := range lintTwice(pack(t, "b", "a", "")) {
		if err == nil || err.Error() != `"": empty name` {
			t.Error(err)
		}
	}
}

// A layer that cannot be read is no damaged layer, wherever that happens and in whichever reading.
func TestLintUnreadable(t *testing.T) {
	defer func(most int) { mostKept = most }(mostKept)
	mostKept = 1
	whole, broken := pack(t, "z", "a", "b/", "c"), errors.New("broken")
	for n := 0; n < len(whole); n += 200 {
		rest := func() io.Reader { return io.MultiReader(bytes.NewReader(whole[:n]), iotest.ErrReader(broken)) }
		if err := lint(rest(), nil); !errors.Is(err, broken) {
			t.Fatalf("after %d bytes: %v", n, err)
		}
		// The second reading ends where the archive does.
		err := lint(bytes.NewReader(whole), func() (io.Reader, error) { return rest(), nil })
		if !errors.Is(err, broken) && n < len(whole)-endOfTar {
			t.Fatalf("after %d bytes, again: %v", n, err)
		}
	}
	if err := lint(bytes.NewReader(whole), func() (io.Reader, error) { return nil, broken }); err != broken {
		t.Error(err)
	}
}

// BenchmarkLint reads a layer of a thousand files.
func BenchmarkLint(b *testing.B) {
	var names []string
	for i := range 1000 {
		names = append(names, fmt.Sprintf("usr/share/doc/file%04d", i))
	}
	layer := pack(b, names...)
	b.SetBytes(int64(len(layer)))
	b.ReportAllocs()
	for b.Loop() {
		if err := lintBytes(layer); err != nil {
			b.Fatal(err)
		}
	}
}
