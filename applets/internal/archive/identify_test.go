package archive

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/list"
	"github.com/ctbox/ctbox/applets/internal/statcache"
)

// TestIdentifyKinds lists one of each kind and compares with the text that the format demands.
func TestIdentifyKinds(t *testing.T) {
	defer watchdog(t)()
	defer unix.Umask(unix.Umask(0o022))
	dir := t.TempDir()
	const sumOfText = "982d9e3eb996f559e633f4d194def3761d909f5a3b647d1a851fead67c32c9d1"
	write(t, dir, "f", "text")
	must(t, os.Symlink("text", filepath.Join(dir, "l")))
	must(t, unix.Mkfifo(filepath.Join(dir, "p"), 0o600))
	must(t, unix.Mknod(filepath.Join(dir, "s"), unix.S_IFSOCK|0o755, 0))
	must(t, os.Mkdir(filepath.Join(dir, "d"), 0o700))
	records, errs := identifyNames(t, dir, "./d", "./f", "./l", "./p", "./s")
	me := fmt.Sprintf("%d-%d", os.Getuid(), os.Getgid())
	want := strings.ReplaceAll("./d 0040700-ME-0\n./f 0100644-ME-"+sumOfText+
		"\n./l 0120777-ME-"+sumOfText+"\n./p 0010600-ME-0\n./s 0140755-ME-0\n", "ME", me)
	if got := strings.ReplaceAll(records, "\x00", "\n"); got != want || errs != "" {
		t.Errorf("%s%s\nwant\n%s", errs, got, want)
	}
}

// TestIdentifySizes: digests around the sizes of buffers.
func TestIdentifySizes(t *testing.T) {
	dir := t.TempDir()
	for _, size := range []int64{0, 1, 4095, 4096, 65535, 65536, 65537, 256<<10 - 1, 256 << 10, 256<<10 + 1, 1 << 20} {
		write(t, dir, "f", strings.Repeat("x", int(size)))
		records, errs := identifyNames(t, dir, "./f")
		if want := fmt.Sprintf("-%x\x00", sumOf(endless{}, size)); !strings.HasSuffix(records, want) || errs != "" {
			t.Errorf("%d bytes: %q %s", size, records, errs)
		}
	}
}

// TestIdentifyOrder: many names, several workers, one order, and links to the first name of an inode.
func TestIdentifyOrder(t *testing.T) {
	dir := t.TempDir()
	var names []string
	for i := range 1000 {
		name := fmt.Sprintf("f%04d", i)
		names = append(names, "./"+name)
		if i%10 == 9 {
			must(t, os.Link(filepath.Join(dir, fmt.Sprintf("f%04d", i-9)), filepath.Join(dir, name)))
		} else {
			write(t, dir, name, strings.Repeat(name, i))
		}
	}
	first, errs := identifyNames(t, dir, names...)
	if errs != "" {
		t.Error(errs)
	}
	records := strings.Split(strings.TrimSuffix(first, "\x00"), "\x00")
	for i, r := range records {
		name, id, _ := strings.Cut(r, " ")
		wantLink := i%10 == 9
		if name != names[i] || strings.HasSuffix(id, "-link="+names[i/10*10]) != wantLink || strings.Contains(id, "link") != wantLink {
			t.Fatalf("record %d: %s", i, r)
		}
	}
	for _, procs := range []int{1, 2, 8, 40} {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
		if again, _ := identifyNames(t, dir, names...); again != first {
			t.Errorf("another list on %d processors", procs)
		}
	}
}

// TestIdentifyBadNames: what is wrong with one name does not keep the others from being listed.
func TestIdentifyBadNames(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a", "")
	write(t, dir, "z", "")
	records, errs := identifyNames(t, dir, "./a", "./gone", "./gone/deep", "./gone\r", "./"+strings.Repeat("n", 256), "./z", "./z/below")
	if strings.Count(records, "\x00") != 2 {
		t.Errorf("%q", records)
	}
	want := "./gone: no such file or directory\n./gone/deep: no such file or directory\n" +
		`"./gone\r": no such file or directory: does its line end in CR LF?` + "\n./" +
		strings.Repeat("n", 256) + ": file name too long\n./z/below: not a directory\n"
	if errs != want {
		t.Errorf("%s", errs)
	}
}

// TestIdentifyNames: names that a file system holds and a list cannot.
func TestIdentifyNames(t *testing.T) {
	for _, c := range []struct {
		name string
		null bool
		ok   bool
	}{
		{"./a\nb", true, true}, {"./a\nb", false, false}, {"./\xff \t\\*", false, true},
		{"./" + strings.Repeat("n", 256), true, false}, {"." + strings.Repeat("/d", list.MaxName/2), true, false},
	} {
		x := Identify{Null: c.null}
		if err := x.writable([]byte(c.name)); (err == nil) != c.ok {
			t.Errorf("%.20q: %v", c.name, err)
		}
	}
}

// TestIdentifyEnds: whatever ends first, the feeder, a write, or a source that cannot be opened, Run ends too, tells
// it, and leaves no goroutine.
func TestIdentifyEnds(t *testing.T) {
	defer watchdog(t)()
	dir := t.TempDir()
	top := openDir(t, dir)
	oops := errors.New("oops")
	endlessly := func(each func([]byte) error) error {
		for {
			if err := each([]byte(".")); err != nil {
				return err
			}
		}
	}
	failing := func(after int) func(each func([]byte) error) error {
		return func(each func([]byte) error) error {
			for range after {
				if err := each([]byte(".")); err != nil {
					return err
				}
			}
			return oops
		}
	}
	open := func() (Source, error) { return top.Share(), nil }
	before := runtime.NumGoroutine()
	for name, c := range map[string]struct {
		x     Identify
		feed  func(func([]byte) error) error
		wrote int
	}{
		"write fails":  {Identify{Open: open, Write: func([]byte) error { return oops }}, endlessly, 0},
		"open fails":   {Identify{Open: func() (Source, error) { return nil, oops }}, endlessly, 0},
		"feed fails":   {Identify{Open: open}, failing(1000), 1000},
		"feed at once": {Identify{Open: open, Workers: 3}, failing(0), 0},
		"both fail":    {Identify{Open: open, Write: func([]byte) error { return oops }}, failing(100), 0},
	} {
		wrote := 0
		c.x.Fail = func(err error) { t.Errorf("%s: %v", name, err) }
		if c.x.Write == nil {
			c.x.Write = func(p []byte) error { wrote += strings.Count(string(p), "\n"); return nil }
		}
		if err := c.x.Run(c.feed); !errors.Is(err, oops) {
			t.Errorf("%s: %v", name, err)
		}
		if wrote != c.wrote {
			t.Errorf("%s: wrote %d records, not %d", name, wrote, c.wrote)
		}
	}
	for range 100 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
}

// TestIdentifyLinks: an inode is a device and a number, and the first name that could be read is the first.
func TestIdentifyLinks(t *testing.T) {
	src := fakeSource{
		"./1/a": {Mode: list.Regular, Nlink: 2, Dev: 1, Ino: 7}, "./1/b": {Mode: list.Regular, Nlink: 2, Dev: 1, Ino: 7},
		"./2/a": {Mode: list.Regular, Nlink: 2, Dev: 2, Ino: 7}, "./2/b": {Mode: list.Regular, Nlink: 1, Dev: 1, Ino: 7},
		"./2/c": {Mode: list.FIFO, Nlink: 2, Dev: 1, Ino: 7}, "./2/d": {Mode: list.Regular, Nlink: 2, Dev: 2, Ino: 7},
	}
	var got strings.Builder
	x := Identify{
		Open:  func() (Source, error) { return src, nil },
		Owner: &Owner{5, 6},
		Write: func(p []byte) error { got.Write(p); return nil },
		Fail:  func(err error) { t.Error(err) },
	}
	must(t, x.Run(func(each func([]byte) error) error {
		for _, name := range []string{"./1/a", "./1/b", "./2/a", "./2/b", "./2/c", "./2/d"} {
			if err := each([]byte(name)); err != nil {
				return err
			}
		}
		return nil
	}))
	const empty = "0100000-5-6-e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	want := "./1/a " + empty + "\n./1/b " + empty + "-link=./1/a\n./2/a " + empty + "\n./2/b " + empty +
		"\n./2/c 0010000-5-6-0\n./2/d " + empty + "-link=./2/a\n"
	if got.String() != want {
		t.Errorf("\n%s\nwant\n%s", got.String(), want)
	}
}

// fakeSource holds empty files.
type fakeSource map[string]Stat

func (s fakeSource) Stat(name []byte) (Stat, error) {
	if st, ok := s[string(name)]; ok {
		return st, nil
	}
	return Stat{Mode: list.Directory}, nil
}

func (s fakeSource) Readlink([]byte) ([]byte, error)         { return nil, errors.ErrUnsupported }
func (s fakeSource) Open(_ []byte, st Stat) (Content, error) { return emptyFile{}, nil }
func (s fakeSource) Xattrs([]byte) ([]Xattr, error)          { return nil, nil }
func (s fakeSource) Close() error                            { return nil }

type emptyFile struct{}

func (emptyFile) Read([]byte) (int, error) { return 0, nil }
func (emptyFile) Unchanged() error         { return nil }
func (emptyFile) Xattrs() ([]Xattr, error) { return nil, nil }
func (emptyFile) Close() error             { return nil }

// TestIdentifyChanged: a file that changed while its digest was made has no line.
func TestIdentifyChanged(t *testing.T) {
	var errs []error
	wrote := 0
	x := Identify{
		Open:  func() (Source, error) { return changingSource{fakeSource{"./f": {Mode: list.Regular}}}, nil },
		Write: func(p []byte) error { wrote += len(p); return nil },
		Fail:  func(err error) { errs = append(errs, err) },
	}
	err := x.Run(func(each func([]byte) error) error { return each([]byte("./f")) })
	if len(errs) != 1 || !errors.Is(errs[0], ErrRacing) || err != nil || wrote > 0 {
		t.Errorf("%v %v, %d bytes written", errs, err, wrote)
	}
}

// TestIdentifyAgain: a file whose inode changes while it is read is looked at again, and a line says what was so at one
// moment: never the mode of one and the content of another. What is no change of the content is no error.
func TestIdentifyAgain(t *testing.T) {
	dir := t.TempDir()
	path := write(t, dir, "f", "text")
	old := time.Unix(5, 5)
	top := openDir(t, dir)
	content := func(text string, mode os.FileMode) error {
		return errors.Join(os.WriteFile(path, []byte(text), mode), os.Chmod(path, mode), os.Chtimes(path, time.Time{}, old))
	}
	turn := 0
	for _, c := range []struct {
		what   string
		change func() error
		want   string
	}{
		{"chmod", func() error { return os.Chmod(path, 0o644) }, "./f 0100644-0-0-" + sumText},
		{"link", func() error { return errors.Join(os.Link(path, path+"2"), os.Remove(path+"2")) }, "./f 0100644-0-0-" + sumText},
		{"once another", func() error { return content("TEXT", 0o600) }, fmt.Sprintf("./f 0100600-0-0-%x", sha256.Sum256([]byte("TEXT")))},
		{"always another", func() error { turn++; return content(fmt.Sprintf("%04d", turn), 0o644) }, "./f: changed while it was read"},
	} {
		must(t, content("text", 0o644))
		var got strings.Builder
		x := Identify{
			Open:  func() (Source, error) { return changer{top.Share(), c.change}, nil },
			Owner: &Owner{},
			Write: func(p []byte) error { got.Write(p); return nil },
			Fail:  func(err error) { got.WriteString(err.Error() + "\n") },
		}
		must(t, x.Run(eachOf([]string{"./f"})))
		if got.String() != c.want+"\n" {
			t.Errorf("%s: %q, want %q", c.what, got.String(), c.want)
		}
	}
}

// TestIdentifyBecomesDirectory: a file that is a directory by the time that it is looked at is an error, as nobody names what is
// in it.
func TestIdentifyBecomesDirectory(t *testing.T) {
	for _, cached := range []bool{false, true} {
		dir := t.TempDir()
		path := write(t, dir, "f", "text")
		top := openDir(t, dir)
		var got strings.Builder
		x := Identify{
			Open: func() (Source, error) { return top.Share(), nil },
			Fake: func(name []byte, _ *Stat) error {
				if string(name) != "." {
					return nil
				}
				return errors.Join(os.Remove(path), os.Mkdir(path, 0o755)) // the walk has brought all names
			},
			Workers: 1,
			Write:   func([]byte) error { return nil },
			Fail:    func(err error) { got.WriteString(err.Error()) },
		}
		if cached {
			x.Cache = NewCache(new(statcache.File), nil, func(error) {})
		}
		must(t, x.RunDir(top, false))
		if got.String() != "./f: changed while it was read" {
			t.Errorf("%v: %q", cached, got.String())
		}
	}
}

// changingSource holds files that change while they are read.
type changingSource struct{ fakeSource }

func (changingSource) Open([]byte, Stat) (Content, error) { return changingFile{}, nil }

type changingFile struct{ emptyFile }

func (changingFile) Unchanged() error { return ErrRacing }

// TestIdentifyBatches: names too long to wait for 32 of them are handed on early, and none is lost.
func TestIdentifyBatches(t *testing.T) {
	src := fakeSource{}
	n, largest := 0, 0
	x := Identify{
		Open:    func() (Source, error) { return src, nil },
		Workers: 3,
		Write: func(p []byte) error {
			n += strings.Count(string(p), " 0040000-")
			largest = max(largest, len(p))
			return nil
		},
		Fail: func(err error) { t.Error(err) },
	}
	must(t, x.Run(func(each func([]byte) error) error {
		for i := range 500 {
			if err := each(fmt.Appendf(nil, "./%0200d/%0*d/%d", i, 50+i%150, i, i)); err != nil {
				return err
			}
			if err := each([]byte("." + strings.Repeat("/d", 20000))); err != nil {
				return err
			}
		}
		return nil
	}))
	if n != 1000 || largest > 2*batchBytes+list.MaxName {
		t.Errorf("%d names in pieces of up to %d bytes", n, largest)
	}
}
