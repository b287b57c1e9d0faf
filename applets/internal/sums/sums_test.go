package sums

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
)

var abc = sha256.Sum256([]byte("abc"))

func TestParse(t *testing.T) {
	digits := fmt.Sprintf("%x", abc)
	for _, c := range []struct{ line, name string }{
		{digits, ""},
		{strings.ToUpper(digits), ""},
		{digits + "  a", "a"},
		{digits + " *a", "a"},
		{digits + " a", "a"},
		{digits + "   a", " a"},
		{digits + "  *a", "*a"},
		{digits + "  a b\xff", "a b\xff"},
		{digits + `  a\nb`, `a\nb`},
		{`\` + digits + `  a\nb\\\r`, "a\nb\\\r"},
		{`\` + digits + ` *a\n`, "a\n"},
		{"SHA256 (a) = " + digits, "a"},
		{"SHA256(a)= " + digits, "a"},
		{"SHA256 (a) = (b) = " + digits, "a) = (b"},
		{`\SHA256 (a\nb) = ` + digits, "a\nb"},
	} {
		sum, name, err := Parse([]byte(c.line))
		if sum != abc || name != c.name || err != nil {
			t.Errorf("%q: %q, %v", c.line, name, err)
		}
	}
	for _, line := range []string{
		"", "x", digits[1:], digits + "0", digits + " ", digits + "\ta", digits + "a", `\` + digits,
		`\` + digits + `  a\x`, `\` + digits + `  a\`, digits + "  a\x00b", "z" + digits[1:] + "  a",
		"SHA256", "SHA256 (", "SHA256 ()", "SHA256 () = " + digits, "SHA256 (a) " + digits, "SHA256 (a) = " + digits + "0",
		"SHA256 (a) = " + digits + digits,
		"SHA1 (a) = " + digits, "SHA256 a) = " + digits, " " + digits + "  a",
	} {
		if _, name, err := Parse([]byte(line)); err == nil {
			t.Errorf("%q is taken for a digest of %q", line, name)
		}
	}
}

func FuzzLine(f *testing.F) {
	for _, name := range []string{"a", " a", "*a", "a\nb", `\`, "a\r", "\xff", "#"} {
		f.Add(name, []byte("SHA256 (a) = "+strings.Repeat("0", 2*hexLen)))
	}
	f.Fuzz(func(t *testing.T, name string, line []byte) {
		Parse(line) // must not panic
		if name == "" || strings.Contains(name, "\x00") {
			return
		}
		text := AppendLine(nil, abc, name)
		if n := bytes.IndexByte(text, '\n'); n != len(text)-1 {
			t.Fatalf("%q: newline at %d of %d", name, n, len(text))
		}
		sum, got, err := Parse(text[:len(text)-1])
		if sum != abc || got != name || err != nil {
			t.Errorf("%q came back as %q, %v", name, got, err)
		}
	})
}

func TestScan(t *testing.T) {
	digits := fmt.Sprintf("%x", abc)
	text := "# comment\n\n" + digits + "  a\r\n\r\nbad\n" + digits + "  last"
	var got []string
	err := Scan(iotest.OneByteReader(strings.NewReader(text)), func(n int, _ Sum, name string, err error) error {
		got = append(got, fmt.Sprintf("%d %q %v", n, name, err))
		return nil
	})
	want := `3 "a" <nil>, 5 "" not a digest line, 6 "last" <nil>`
	if s := strings.Join(got, ", "); s != want || err != nil {
		t.Errorf("got %s, %v; want %s", s, err, want)
	}
	stop := errors.New("stop")
	if err := Scan(strings.NewReader(text), func(int, Sum, string, error) error { return stop }); err != stop {
		t.Error(err)
	}
	if err := Scan(iotest.ErrReader(stop), nil); err != stop {
		t.Error(err)
	}
	if err := Scan(strings.NewReader(strings.Repeat("x", longestLine+1)), nil); err == nil {
		t.Error("no error for a line without end")
	}
}

// A shrinking reader of standard input cannot be noticed, a file's can.
func TestShrinking(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(name, make([]byte, 3*bufferSize), 0o666); err != nil {
		t.Fatal(err)
	}
	d := NewDigester(nil)
	d.hash = truncating{d.hash, name}
	if _, err := d.File(name); err == nil || !strings.HasSuffix(err.Error(), "f: became shorter while it was read") {
		t.Errorf("got %v", err)
	}
}

// truncating cuts a file off as soon as a part of it has been digested.
type truncating struct {
	hashWriter
	name string
}

type hashWriter interface {
	io.Writer
	Sum([]byte) []byte
	Reset()
	Size() int
	BlockSize() int
}

func (h truncating) Write(p []byte) (int, error) {
	if err := os.Truncate(h.name, bufferSize); err != nil {
		panic(err)
	}
	return h.hashWriter.Write(p)
}

func TestReadError(t *testing.T) {
	bad := &os.PathError{Op: "read", Path: "/dev/stdin", Err: errors.New("input/output error")}
	_, err := NewDigester(io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(bad))).File("-")
	if err == nil || err.Error() != "standard input: input/output error" {
		t.Errorf("got %v", err)
	}
}

func TestNoGarbage(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(name, []byte("abc"), 0o666); err != nil {
		t.Fatal(err)
	}
	d := NewDigester(nil)
	if n := testing.AllocsPerRun(100, func() { d.File(name) }); n > 12 {
		t.Errorf("%v allocations for a file", n)
	}
	if sum, err := d.File(name); sum != abc || err != nil {
		t.Errorf("%x, %v", sum, err)
	}
}

func BenchmarkDigester(b *testing.B) {
	data := make([]byte, 8<<20)
	r := bytes.NewReader(data)
	d := NewDigester(r)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		r.Reset(data)
		if _, err := d.File("-"); err != nil {
			b.Fatal(err)
		}
	}
}
