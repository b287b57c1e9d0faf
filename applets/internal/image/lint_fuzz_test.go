package image

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ctbox/ctbox/applets/internal/fuzztest"
	"github.com/ctbox/ctbox/applets/internal/tarball"
)

// sealed gives each header its checksum, or a fuzzer would never get beyond that.
func sealed(b []byte) []byte {
	b = bytes.Clone(b)
	for block := range slices.Chunk(b, blockSize) {
		if len(block) < blockSize || string(block[257:262]) != "ustar" {
			continue
		}
		copy(block[148:156], "        ")
		sum := 0
		for _, c := range block {
			sum += int(c)
		}
		copy(block[148:156], fmt.Sprintf("%06o\x00 ", sum))
	}
	return b
}

// hostileTars are what layers from elsewhere could be (M02, M13, M14).
func hostileTars(t testing.TB) [][]byte {
	long := strings.Repeat("long/", 40)
	all := [][]byte{
		pack(t, "a/", "a/b", "c => a/b", "d -> a"), pack(t, "b", "a", "a/x"), pack(t, "b", "a/x", "a"), pack(t, "b", "a/x", "a/"), pack(t, "a/.wh.b", "a/b/c"), make([]byte, 1024), make([]byte, 512),
		pack(t, "a", "a/.wh..wh..opq"), pack(t, "b", "a", "a/.wh..wh..opq"), pack(t, "a/.wh..wh..opq", "a/.wh..wh..opq/x"), pack(t, "b", "a/.wh..wh..opq", "a/.wh..wh..opq"),
		pack(t, ".wh.a", "b => .wh.a"), pack(t, "../a", "/etc/passwd", "a/../../b"), pack(t, ". -> /", "./"), pack(t, "a -> /etc", "a/passwd"),
		pack(t, "b => ../../etc/shadow"), pack(t, long+"a", long+"b => "+long+"a", long+"c -> "+long+long), pack(t, "null =3zero", "tty =3", "x =7", "s =S"),
		append(pack(t, "a"), pack(t, "b")...),
	}
	var pax bytes.Buffer
	w := tar.NewWriter(&pax)
	w.WriteHeader(&tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"path": "../evil", "size": "512"}})
	w.WriteHeader(&tar.Header{Name: "a", Typeflag: tar.TypeReg, Size: 3, Mode: 0o644, Format: tar.FormatPAX, PAXRecords: map[string]string{"CTBOX.x": "y", "SCHILY.xattr.user.a": "b"}})
	w.Write([]byte("abc"))
	w.WriteHeader(&tar.Header{Name: "gnu/" + long, Typeflag: tar.TypeReg, Size: 1 << 34, Mode: 0o644, Format: tar.FormatGNU})
	for _, records := range []map[string]string{{"comment": "0123"}, {"path": "../evil"}, {"size": "3"}, {"comment": "x", "mode": "04755"}} {
		all = append(all, global(t, records))
	}
	pre := func(kind byte, content string) []byte {
		b := append(header("x", int64(len(content)), 0), pad([]byte(content))...)
		b[156] = kind
		return sealed(append(b, pack(t, "a", "b")...))
	}
	for _, record := range []string{
		"path=../evil", "path=e\x00vil", "path=", "linkpath=/etc", "size=512", "size=0", "size=-1", "size=99999999999", "GNU.sparse.size=9", "GNU.sparse.major=1", "GNU.sparse.name=../evil",
		"GNU.sparse.map=0,1", "mode=04755", "hdrcharset=BINARY", "SCHILY.xattr.user.a=b", "mtime=-1.5", "uid=-1", "charset=x",
	} {
		all = append(all, pre('x', paxRecord(record)), pre('x', paxRecord("comment=x")+paxRecord(record)))
	}
	for _, content := range []string{"../evil\x00", "e\x00vil\x00", "evil", "", strings.Repeat("x", 3000)} {
		all = append(all, pre('L', content), pre('K', content))
	}
	return append(all, pax.Bytes())
}

// paxRecord puts a record's own length before it.
func paxRecord(s string) string {
	n := len(s) + 3
	for len(fmt.Sprintf("%d %s\n", n, s)) != n {
		n++
	}
	return fmt.Sprintf("%d %s\n", n, s)
}

// global is a file after a header about all files.
func global(t testing.TB, records map[string]string) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := errors.Join(w.WriteHeader(&tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: records}), w.Flush()); err != nil {
		t.Fatal(err)
	}
	return append(b.Bytes(), pack(t, "a")...)
}

// lint is of one mind with a model that remembers all names, in whatever order they come, and however few entries are kept.
// What it finds well stays inside the root.
func FuzzLint(f *testing.F) {
	for _, b := range hostileTars(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		b = sealed(b)
		var errs [2]error
		fuzztest.Bounded(t, len(b), 2<<20, 64, func() { errs = lintTwice(b) })
		m := model{}
		whole := scan(bytes.NewReader(b), func(e *entry) error { m.add(e); return nil })
		for _, err := range errs {
			if want := errors.Join(whole, m.wrong); (err == nil) != (want == nil) {
				t.Errorf("lint: %v, but %v", err, want)
			}
		}
		if m.outside && errs[0] == nil {
			t.Errorf("names lead outside")
		}
	})
}

// A model knows the kind of every name that it has seen: 'd' directory, 'f' anything else, 'w' deleted, 'p' above a name.
type model struct {
	kinds   map[string]byte
	wrong   error
	outside bool
}

func (m *model) add(e *entry) {
	if m.kinds == nil {
		m.kinds = map[string]byte{}
	}
	m.outside = m.outside || !filepath.IsLocal(e.raw) || e.kind == tarball.Link && !filepath.IsLocal(e.target)
	if err := e.check(); err != nil {
		m.wrong = errors.Join(m.wrong, err)
		return
	}
	kind := byte('f')
	switch base := path.Base(e.name); {
	case e.name == ".":
		return
	case strings.HasPrefix(base, tarball.WhiteoutPrefix):
		kind = 'w'
	case e.kind == tarball.Directory:
		kind = 'd'
	}
	if target := m.kinds[canonical(e.target)]; e.kind == tarball.Link && target != 'f' {
		m.fail(e, "a link to nothing")
	}
	if old := m.kinds[e.key]; old != 0 && !(old == 'p' && kind == 'd') {
		m.fail(e, "twice")
	}
	m.kinds[e.key] = kind
	for dir := path.Dir(e.key); dir != "."; dir = path.Dir(dir) {
		switch m.kinds[dir] {
		case 'f', 'w':
			m.fail(e, "below a file")
		case 0:
			m.kinds[dir] = 'p'
		}
	}
}

func (m *model) fail(e *entry, what string) {
	m.wrong = errors.Join(m.wrong, fmt.Errorf("%q: %s", e.raw, what))
}
