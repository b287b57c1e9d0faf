package fakeroot

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const goodLine = "dev=fe00,ino=10626122,mode=104755,uid=33,gid=44,nlink=2,rdev=0\n"

func TestParse(t *testing.T) {
	text := goodLine + "dev=fe00,ino=2,mode=20644,uid=0,gid=0,nlink=1,rdev=259\n" +
		"dev=ffffffffffffffff,ino=18446744073709551615,mode=40755,uid=4294967294,gid=4294967294,nlink=4294967295,rdev=0\n" +
		"dev=30,ino=2,mode=600,uid=1,gid=0,nlink=0,rdev=0\ndev=31,ino=2,mode=120777,uid=2,gid=0,nlink=1,rdev=0\n"
	s, err := Parse("st", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if s.Len() != 5 {
		t.Errorf("%d files", s.Len())
	}
	for _, c := range []struct {
		dev, ino     uint64
		known, moved bool
		want         entry
	}{
		{0xfe00, 10626122, true, false, entry{dev: 0xfe00, mode: 0o104755, uid: 33, gid: 44, nlink: 2}},
		{0xfe00, 2, true, false, entry{dev: 0xfe00, mode: 0o20644, nlink: 1, rdev: 259}},
		{0x30, 2, true, false, entry{dev: 0x30, mode: 0o100600, uid: 1}}, // mknod(2) without a type makes a regular file
		{0x31, 2, true, false, entry{dev: 0x31, mode: 0o120777, uid: 2, nlink: 1}},
		{0x32, 2, false, true, entry{dev: 0xfe00, mode: 0o20644, nlink: 1, rdev: 259}},
		{0xfe00, 3, false, false, entry{}},
	} {
		e, known, moved := s.find(c.dev, c.ino)
		if e != c.want || known != c.known || moved != c.moved {
			t.Errorf("%x:%d: %+v, %v, %v", c.dev, c.ino, e, known, moved)
		}
	}
}

// TestParseEmpty: fakeroot writes an empty file when nothing has another owner, mode or type.
func TestParseEmpty(t *testing.T) {
	if s, err := Parse("st", strings.NewReader("")); err != nil || s.Len() != 0 {
		t.Error(s, err)
	}
}

func TestParseErrors(t *testing.T) {
	const second = "dev=1,ino=1,mode=100644,uid=0,gid=0,nlink=1,rdev=0\n"
	change := func(old, with string) string { return strings.Replace(goodLine, old, with, 1) }
	for text, want := range map[string]string{
		goodLine[:len(goodLine)-1]:    "st:1: the last line is cut off",
		goodLine + goodLine[:20]:      "st:2: the last line is cut off",
		goodLine + "\n":               "st:2: not a line of a fakeroot save file",
		"\n":                          "st:1: not a line of",
		"\x00\xff\n":                  "st:1: not a line of",
		change("dev", "Dev"):          "st:1: not a line of",
		change("\n", ",\n"):           "st:1: not a line of",
		change(",rdev=0", ""):         "st:1: not a line of",
		change("\n", "\r\n"):          `st:1: rdev=0\r is no number`,
		change("uid=33", "uid=-1"):    "st:1: uid=-1 is no number",
		change("uid=33", "uid=033"):   "st:1: uid=033 is no number",
		change("uid=33", "uid=+3"):    "st:1: uid=+3 is no number",
		change("uid=33", "uid="):      "st:1: uid= is no number",
		change("33", "4294967296"):    "is no number that fakeroot writes",
		change("33", "4294967295"):    "st:1: 4294967295 is no owner",
		change("=44", "=4294967295"):  "st:1: 4294967295 is no owner",
		change("fe00", "FE00"):        "is no number",
		change("fe00", "0xfe00"):      "is no number",
		change("104755", "1104755"):   "is no number",
		change("104755", "104759"):    "is no number",
		change("104755", "30755"):     "st:1: mode 30755 has no known type",
		goodLine + second + second:    "st:3: the same file as in a line before",
		strings.Repeat("a", 300):      "st:1: line is too long",
		strings.Repeat("a", 100_000):  "st:1: line is too long",
		change("ino=", "ino=1"+zeros): "st:1: line is too long",
	} {
		_, err := Parse("st", strings.NewReader(text))
		if err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), `"`, ""), want) {
			t.Errorf("%.70q: %v; want %s", text, err, want)
		}
	}
	same := "dev=2,ino=10626122,mode=100644,uid=0,gid=0,nlink=1,rdev=0\n"
	if _, err := Parse("st", strings.NewReader(goodLine+same+same)); err == nil {
		t.Error("no error for a file of a second device that is there twice")
	}
}

var zeros = strings.Repeat("0", 200)

// TestParseStops: what cannot be a save file is not read to its end.
func TestParseStops(t *testing.T) {
	endless := io.MultiReader(strings.NewReader(goodLine), zero{})
	if _, err := Parse("st", endless); err == nil || !strings.Contains(err.Error(), "st:2: line is too long") {
		t.Error(err)
	}
	broken := errors.New("broken")
	if _, err := Parse("st", io.MultiReader(strings.NewReader(goodLine), failing{broken})); !errors.Is(err, broken) {
		t.Error(err)
	}
	if _, err := ReadSave(t.TempDir()); err == nil {
		t.Error("read a directory")
	}
	if _, err := ReadSave(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

type zero struct{}

func (zero) Read(p []byte) (int, error) { clear(p); return len(p), nil }

type failing struct{ error }

func (f failing) Read([]byte) (int, error) { return 0, f.error }

// FuzzParse: what is accepted is what fakeroot writes, to the byte but for the order of lines.
func FuzzParse(f *testing.F) {
	f.Add([]byte(goodLine))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := Parse("st", strings.NewReader(string(text)))
		if err != nil {
			return
		}
		lines := map[string]bool{}
		for line := range strings.Lines(string(text)) {
			lines[line] = true
		}
		check := func(ino uint64, e entry) {
			line := func(mode uint32) string {
				return fmt.Sprintf("dev=%x,ino=%d,mode=%o,uid=%d,gid=%d,nlink=%d,rdev=%d\n", e.dev, ino, mode, e.uid, e.gid, e.nlink, e.rdev)
			}
			if !lines[line(e.mode)] && !lines[line(e.mode&0o7777)] {
				t.Errorf("%+v is not in %q", e, text)
			}
		}
		for ino, e := range s.entries {
			check(ino, e)
		}
		for key, e := range s.others {
			check(key.ino, e)
		}
		if len(lines) != s.Len() {
			t.Errorf("%d files of %q", s.Len(), text)
		}
	})
}
