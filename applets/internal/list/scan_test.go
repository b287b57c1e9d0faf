package list

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

const fileID = "0100644-0-0-" + digestA

// scan returns the records of text, re-written, and the error that ended it.
func scan(r io.Reader, null bool) (records []string, err error) {
	s := NewScanner("list", r, null)
	for {
		rec, err := s.Next()
		if err != nil {
			return records, err
		}
		text := append(append(bytes.Clone(rec.Name), ' '), rec.IDText()...)
		if !bytes.Equal(text, rec.Text) {
			return records, errors.New("Text is not Name and IDText")
		}
		records = append(records, string(rec.ID.AppendTo(append(bytes.Clone(rec.Name), ' '))))
	}
}

func TestScanGood(t *testing.T) {
	for _, text := range []string{
		"",
		". 0040755-0-0-0\n",
		". 0040755-0-0-0\n./a " + fileID + "\n./a-b " + fileID + "\n./a/x " + fileID + "\n",
		"./a -\n./a  -\n./a -  -\n", // names "./a", "./a ", "./a - "
		"./a b " + fileID + "\n./a\xff " + fileID + "\n./\xc3\xa9 -\n",
		"./* -\n./\\ -\n",
	} {
		records, err := scan(strings.NewReader(text), false)
		if got := strings.Join(records, "\n"); err != io.EOF || got != strings.TrimSuffix(text, "\n") || len(records) != strings.Count(text, "\n") {
			t.Errorf("%q: %q, %v", text, records, err)
		}
		null := strings.ReplaceAll(text, "\n", "\x00")
		again, err2 := scan(iotest.OneByteReader(strings.NewReader(null)), true)
		if strings.Join(again, "\n") != strings.Join(records, "\n") || err2 != io.EOF {
			t.Errorf("%q: %q, %v with NUL, byte by byte", text, again, err2)
		}
	}
}

func TestScanNoLastNewline(t *testing.T) {
	if got, err := scan(strings.NewReader("./a -\n./b -"), false); err != io.EOF || len(got) != 2 {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := scan(strings.NewReader("./a\n -\x00./b -"), true); err != io.EOF || len(got) != 2 || got[0] != "./a\n -" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestScanBad(t *testing.T) {
	long := strings.Repeat("x", 255)
	for text, want := range map[string]string{
		"./a":                                  `list:1: ./a: no ID`,
		"\n":                                   `list:1: "": no ID`,
		" \n":                                  `list:1: "": empty name`,
		"./a \n":                               `list:1: ./a: not an ID (MODE-UID-GID-DIGEST)`,
		"a " + fileID:                          `list:1: a: name does not begin with "./"`,
		"/etc/passwd -":                        `list:1: /etc/passwd: name does not begin with "./"`,
		"./a/../b -":                           `list:1: ./a/../b: name has an empty, "." or ".." component`,
		"./a/ 0040755-0-0-0":                   `list:1: ./a/: name has an empty, "." or ".." component`,
		"./" + long + "x -":                    `list:1: ./` + long + `x: name is too long`,
		"./a -\r\n./b -\r\n":                   `list:1: ./a: line ends in CR LF`,
		"./a " + fileID + "\r\n":               `list:1: ./a: line ends in CR LF`,
		"\ufeff. 0040755-0-0-0\n":              "list:1: \"\\ufeff.\": name does not begin with \"./\"",
		"\ufeff./a -\n":                        "list:1: \"\\ufeff./a\": name does not begin with \"./\"",
		"./a -\x00./b -\x00":                   `list:1: NUL byte in a line: was it made for -0?`,
		"./a -\x00":                            `list:1: NUL byte in a line: was it made for -0?`,
		"./a -\n./a -\n":                       `list:2: ./a: duplicate name`,
		"./a -\n./b -\n./a -\n":                `list:3: ./a: not in order after ./b: names are sorted with LC_ALL=C sort`,
		"./a -\n./A -\n":                       `list:2: ./A: not in order after ./a: names are sorted with LC_ALL=C sort`,
		"./a/b -\n./a-b -\n":                   `list:2: ./a-b: not in order after ./a/b: names are sorted with LC_ALL=C sort`,
		"./a 0040755-0-0-" + digestA:           `list:1: ./a: DIGEST must be 0 for this type, not "` + digestA + `"`,
		"./a 0100644-0-0-" + digestA[:63]:      `list:1: ./a: bad DIGEST "` + digestA[:63] + `"`,
		"./a 0100644-0-4294967295-0":           `list:1: ./a: bad GID "4294967295"`,
		"./a 0100644-0x0-0-0":                  `list:1: ./a: bad UID "0x0"`,
		"./a 0020600-0-0-0-rdev=5":             `list:1: ./a: bad rdev="5"`,
		"./a 0010600-0-0-0-xattr=12":           `list:1: ./a: bad xattr="12"`,
		"./a " + fileID + "-link=b":            `list:1: ./a: bad link="b"`,
		"./a 0000644-0-0-0":                    `list:1: ./a: MODE 0000644 is no type of file`,
		"./a -\n" + strings.Repeat("x", 1e6):   `list:2: record is too long`,
		strings.Repeat("./a -\x00", MaxRecord): `list:1: NUL byte in a line: was it made for -0?`,
		strings.Repeat("x", MaxRecord+1):       `list:1: record is too long`,
	} {
		_, err := scan(strings.NewReader(text), false)
		if err == nil || err.Error() != want {
			t.Errorf("%.100q:\n%v\nwant:\n%s", text, err, want)
		}
	}
	for _, text := range []string{"./a -\n./b -\n", ". -\n./b -", strings.Repeat("./a -\n", MaxRecord)} {
		if _, err := scan(strings.NewReader(text), true); err == nil || err.Error() != "list:1: newline in a record: was it made without -0?" {
			t.Errorf("%.20q: %v", text, err)
		}
	}
}

// TestScanLongest: the longest legal record is read, and one that is longer than any fails before it is read whole.
func TestScanLongest(t *testing.T) {
	component := "/" + strings.Repeat("\x01", 255)
	name := "." + strings.Repeat(component, 255) + component[:255]
	if len(name) != MaxName {
		t.Fatal(len(name))
	}
	link := string(escape(nil, []byte(name)))
	record := name + " 0100644-4294967294-4294967294-" + digestA + "-xattr=" + digestB + "-link=" + link
	if got, err := scan(strings.NewReader(record+"\n"+record), false); len(got) != 1 || got[0] != record || !strings.Contains(err.Error(), "duplicate") {
		t.Errorf("%d records, %.100v", len(got), err)
	}

	for _, more := range []string{"", "x"} { // than any record has, and all of it is there before it is looked for
		long := strings.Repeat("x", MaxRecord) + more + "\n"
		if _, err := scan(strings.NewReader(long), false); errors.Is(err, errRecordLong) != (more != "") {
			t.Errorf("%d bytes: %.100v", len(long)-1, err)
		}
	}

	endless := &counter{r: zeros{}}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := scan(io.LimitReader(endless, 100<<20), false)
	runtime.ReadMemStats(&after)
	if err == nil || !errors.Is(err, errRecordLong) {
		t.Error(err)
	}
	if endless.n > 1<<20 || after.TotalAlloc-before.TotalAlloc > 4<<20 {
		t.Errorf("%d bytes read and %d allocated to see that a line is too long", endless.n, after.TotalAlloc-before.TotalAlloc)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

func TestScanReadError(t *testing.T) {
	broken := errors.New("broken")
	got, err := scan(io.MultiReader(strings.NewReader("./a -\n./b"), iotest.ErrReader(broken)), false)
	if len(got) != 1 || !errors.Is(err, broken) || err.Error() != "list:2: broken" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestNames(t *testing.T) {
	names := func(text string, null bool) (all []string, err error) {
		n := NewNames("<stdin>", strings.NewReader(text), null)
		for {
			name, err := n.Next()
			if err != nil {
				return all, err
			}
			all = append(all, string(name))
		}
	}
	for in, want := range map[string]string{
		"":                   "",
		".\n./a\n./a b\n./b": ". ./a ./a b ./b",
		"a\n./b\nc/d\n":      "./a ./b ./c/d",
		" a\n-x\n\\\n\xff":   "./ a ./-x ./\\ ./\xff",
		"./ab":               "./ab",
	} {
		all, err := names(in, false)
		if err != io.EOF || strings.Join(all, " ") != want {
			t.Errorf("%q: %q, %v", in, all, err)
		}
	}
	if all, err := names("./a\nb\x00./b", true); err != io.EOF || strings.Join(all, " ") != "./a\nb ./b" {
		t.Errorf("%q, %v", all, err)
	}
	for in, want := range map[string]string{
		"./b\na\n":                     `<stdin>:2: ./a: not in order after ./b: names are sorted with LC_ALL=C sort`,
		"a\n./a\n":                     `<stdin>:2: ./a: duplicate name`,
		"a\n\nb\n":                     `<stdin>:2: "": empty name`,
		"/a\n":                         `<stdin>:1: /a: absolute name`,
		"a/\n":                         `<stdin>:1: a/: name has an empty, "." or ".." component`,
		"a\x00b\x00":                   `<stdin>:1: NUL byte in a line: was it made for -0?`,
		strings.Repeat("x", MaxName+1): `<stdin>:1: record is too long`,
	} {
		if _, err := names(in, false); err.Error() != want {
			t.Errorf("%.100q:\n%v\nwant:\n%s", in, err, want)
		}
	}
}

func FuzzScan(f *testing.F) {
	f.Add([]byte(". 0040755-0-0-0\n./a b "+fileID+"\n./b "+fileID+"-link=./a%20b\n./c -"), false)
	f.Add([]byte("./a\n "+fileID+"\x00./b 0020600-0-0-0-rdev=1:2-xattr="+digestA+"\x00"), true)
	f.Fuzz(func(t *testing.T, text []byte, null bool) {
		records, err := scan(bytes.NewReader(text), null)
		sep := "\n"
		if null {
			sep = "\x00"
		}
		written := strings.Join(records, sep)
		if len(records) > 0 {
			written += sep
		}
		if err == io.EOF && written != string(text) && written != string(text)+sep {
			t.Errorf("%q is written as %q", text, written)
		}
		if err != io.EOF && !strings.HasPrefix(err.Error(), "list:") {
			t.Errorf("the message names no line: %v", err)
		}
		if !strings.HasPrefix(string(text), written) && written != string(text)+sep {
			t.Errorf("%q is read as %q", text, written)
		}
	})
}

// TestInput: all ways to give a list give the same list, more than once.
func TestInput(t *testing.T) {
	for _, size := range []int{0, 1, 1000, 30_000} { // the last is more than a spool keeps in memory
		var lines []string
		for i := range size {
			lines = append(lines, fmt.Sprintf("./%040d 0040755-0-0-0", i))
		}
		text := join(lines)
		dir := t.TempDir()
		file := filepath.Join(dir, "list")
		if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		offset := filepath.Join(dir, "offset")
		if err := os.WriteFile(offset, []byte("skipped"+text), 0o666); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(offset)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		f.Seek(int64(len("skipped")), io.SeekStart)
		pr, pw, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			io.WriteString(pw, text)
			pw.Close()
		}()
		for how, in := range map[string]func() (*Input, error){
			"file":   func() (*Input, error) { return Open(file, nil, true) },
			"offset": func() (*Input, error) { return Open("-", f, true) },
			"pipe":   func() (*Input, error) { return Open("", pr, true) },
			"reader": func() (*Input, error) { return Open("", strings.NewReader(text), true) },
		} {
			in, err := in()
			if err != nil {
				t.Fatal(how, err)
			}
			for range 2 {
				s, n := in.Scan(), 0
				for {
					rec, err := s.Next()
					if err == io.EOF {
						break
					}
					if err != nil || string(rec.Text) != lines[n] || s.Line() != n+1 {
						t.Fatalf("%s: record %d of %d, line %d: %v", how, n, size, s.Line(), err)
					}
					n++
				}
				if n != size {
					t.Errorf("%s: %d records of %d", how, n, size)
				}
			}
			if in.Size() != int64(len(text)) {
				t.Errorf("%s: %d bytes of %d", how, in.Size(), len(text))
			}
			if links, err := in.HasLinks(); links || err != nil {
				t.Error(how, links, err)
			}
			if err := in.Close(); err != nil {
				t.Error(how, err)
			}
		}
	}
}

func TestInputChanges(t *testing.T) {
	text := "./a " + fileID + "\n./b " + fileID + "\n"
	for how, change := range map[string]func(f *os.File) error{
		"grows":      func(f *os.File) error { _, err := f.WriteAt([]byte("./c -\n"), int64(len(text))); return err },
		"shrinks":    func(f *os.File) error { return f.Truncate(int64(len(text) / 2)) },
		"is cut":     func(f *os.File) error { return f.Truncate(int64(len(text)) - 20) },
		"is emptied": func(f *os.File) error { return f.Truncate(0) },
		"is replaced in place": func(f *os.File) error {
			_, err := f.WriteAt([]byte("./A"), 0)
			return errors.Join(err, os.Chtimes(f.Name(), time.Time{}, time.Unix(5, 0))) // which a clock may not tell so soon
		},
	} {
		file := filepath.Join(t.TempDir(), "list")
		if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		in, err := Open(file, nil, false)
		if err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(file, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := change(f); err != nil {
			t.Fatal(err)
		}
		f.Close()
		s := in.Scan()
		for err == nil {
			_, err = s.Next()
		}
		if !errors.Is(err, errChanged) || !strings.HasPrefix(err.Error(), file+":") {
			t.Errorf("a file that %s: %v", how, err)
		}
		if _, err := in.HasLinks(); !errors.Is(err, errChanged) {
			t.Errorf("a file that %s: HasLinks: %v", how, err)
		}
		in.Close()
	}
}

func TestInputErrors(t *testing.T) {
	if _, err := Open(filepath.Join(t.TempDir(), "none"), nil, false); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if _, err := Open(t.TempDir(), nil, false); err == nil {
		t.Error("a directory is no list")
	}
	closed, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	if _, err := Open("-", closed, false); !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
	broken := errors.New("broken")
	if _, err := Open("-", iotest.ErrReader(broken), false); !errors.Is(err, broken) {
		t.Error(err)
	}
}

// TestHasLinks: wherever the bytes stand, also across what is read at once.
func TestHasLinks(t *testing.T) {
	for _, before := range []int{0, 1, 100, 256<<10 - 6, 256<<10 - 5, 256<<10 - 3, 256<<10 - 1, 256 << 10, 1<<20 - 3, 3 << 20} {
		for _, after := range []int{0, 1, 300 << 10} {
			text := strings.Repeat("x", before) + "-link=" + strings.Repeat("y", after)
			for _, want := range []bool{true, false} {
				if !want {
					text = strings.Replace(text, "-link=", "-l-nk=", 1)
				}
				in, err := Open("-", iotest.HalfReader(strings.NewReader(text)), false)
				if err != nil {
					t.Fatal(err)
				}
				if got, err := in.HasLinks(); got != want || err != nil {
					t.Errorf("%d bytes before and %d after: %v, %v", before, after, got, err)
				}
				in.Close()
			}
		}
	}
}
