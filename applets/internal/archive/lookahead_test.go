package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ctbox/ctbox/applets/internal/list"
)

// manyFiles fills a tree with files on both sides of what pages and buffers hold, and returns its list.
func manyFiles(t testing.TB, dir string, n int) string {
	t.Helper()
	sizes := []int{0, 1, 4000, 70000, streamBuffer - 1, streamBuffer, streamBuffer + 1, pageContent - 1, pageContent, pageContent + 1}
	for i := range n {
		size := i * 37 % 5000
		if i%10 == 0 {
			size = sizes[i/10%len(sizes)]
		}
		write(t, dir, fmt.Sprintf("d%d/f%03d", i/40, i), strings.Repeat(fmt.Sprint(i%10), size))
	}
	return identifyDir(t, dir)
}

// TestLookaheadOrder: whatever the number of workers, the archive is the same.
func TestLookaheadOrder(t *testing.T) {
	dir := t.TempDir()
	records := manyFiles(t, dir, 300)
	var first []byte
	for _, n := range []int{1, 2, 5, 16} {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(n))
		got, err := packInitrd(t, dir, records)
		must(t, err)
		if first == nil {
			first = got
			for _, f := range readNewc(t, got) {
				text, _ := os.ReadFile(filepath.Join(dir, string(f.Name)))
				if f.Mode&list.TypeMask == list.Regular && string(text) != f.content {
					t.Errorf("%s: wrong content", f.Name)
				}
			}
		}
		if !bytes.Equal(got, first) {
			t.Errorf("%d workers: another archive", n)
		}
	}
}

// TestFirstError: of many things that are wrong, the first in the list is told, though others are found before; and
// neither descriptors nor goroutines are left.
func TestFirstError(t *testing.T) {
	dir := t.TempDir()
	records := manyFiles(t, dir, 300)
	for _, bad := range []int{299, 290, 200, 191, 100, 90, 33, 31, 10, 3, 0} {
		name := fmt.Sprintf("d%d/f%03d", bad/40, bad)
		text, err := os.ReadFile(filepath.Join(dir, name))
		must(t, err)
		if bad%2 == 0 || len(text) == 0 {
			must(t, os.Remove(filepath.Join(dir, name)))
		} else {
			text[len(text)-1]++
			must(t, os.WriteFile(filepath.Join(dir, name), text, 0o644))
		}
		goroutines, open := runtime.NumGoroutine(), descriptors(t)
		for _, try := range []func(*Dir) error{
			func(d *Dir) error {
				_, err := packInitrd(t, dir, records, func(i *Initrd) { i.Source = d })
				return err
			},
			func(d *Dir) error { _, err := pack(t, dir, records, func(l *Layer) { l.Source = d }); return err },
		} {
			d, err := OpenDir(dir)
			must(t, err)
			if err := try(d); err == nil || !strings.Contains(err.Error(), ": ./"+name+": ") {
				t.Errorf("%s: %v", name, err)
			}
			must(t, d.Close())
		}
		for end := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > goroutines; runtime.Gosched() {
			if time.Now().After(end) {
				t.Fatalf("%s: %d goroutines, %d before", name, runtime.NumGoroutine(), goroutines)
			}
		}
		if n := descriptors(t); n != open+2 { // the helpers opened dir, too
			t.Errorf("%s: %d descriptors, %d before", name, n, open)
		}
	}
}

// A fault is a directory of which some questions fail.
type fault struct {
	*Dir
	stat, open, read, readlink, xattrs error
	after                              *atomic.Int32 // so many questions are answered before, if not nil
}

func (f fault) now() bool { return f.after == nil || f.after.Add(-1) < 0 }

func (f fault) Stat(name []byte) (Stat, error) {
	if f.stat != nil && f.now() {
		return Stat{}, f.stat
	}
	return f.Dir.Stat(name)
}

func (f fault) Open(name []byte, st Stat) (Content, error) {
	if f.open != nil && f.now() {
		return nil, f.open
	}
	c, err := f.Dir.Open(name, st)
	if err != nil || f.read == nil && f.xattrs == nil {
		return c, err
	}
	return faultyContent{c, f}, nil
}

func (f fault) Readlink(name []byte) ([]byte, error) {
	if f.readlink != nil {
		return nil, f.readlink
	}
	return f.Dir.Readlink(name)
}

func (f fault) Xattrs(name []byte) ([]Xattr, error) {
	if f.xattrs != nil {
		return nil, f.xattrs
	}
	return f.Dir.Xattrs(name)
}

type faultyContent struct {
	Content
	fault
}

func (c faultyContent) Read(p []byte) (int, error) {
	if c.read != nil {
		return 0, c.read
	}
	return c.Content.Read(p)
}

func (c faultyContent) Close() error             { return c.Content.Close() }
func (c faultyContent) Xattrs() ([]Xattr, error) { return c.fault.Xattrs(nil) }

// TestSourceFaults: what a source says is told with the record's name, whoever asked and whenever; and fileids goes on.
func TestSourceFaults(t *testing.T) {
	bad := errors.New("bad")
	dir := t.TempDir()
	write(t, dir, "large", strings.Repeat("large", pageContent))
	large := identifyDir(t, dir)
	write(t, dir, "small", "small")
	must(t, os.Remove(filepath.Join(dir, "large")))
	small := identifyDir(t, dir)
	must(t, os.Remove(filepath.Join(dir, "small")))
	must(t, os.Symlink("target", filepath.Join(dir, "link")))
	link := identifyDir(t, dir)
	write(t, dir, "large", strings.Repeat("large", pageContent))
	write(t, dir, "small", "small")
	after := func(n int32) *atomic.Int32 { a := new(atomic.Int32); a.Store(n); return a }
	for name, c := range map[string]struct {
		records, at string
		bad         fault
	}{
		"stat":         {small, "./small", fault{stat: bad}},
		"open":         {small, "./small", fault{open: bad}},
		"read":         {small, "./small", fault{read: bad}},
		"readlink":     {link, "./link", fault{readlink: bad}},
		"large, stat":  {large, "./large", fault{stat: bad, after: after(1)}},
		"large, open":  {large, "./large", fault{open: bad}},
		"large, read":  {large, "./large", fault{read: bad}},
		"large, first": {large, "./large", fault{stat: bad}},
	} {
		c.bad.Dir = openDir(t, dir)
		if _, err := packInitrd(t, dir, c.records, func(i *Initrd) { i.Source = c.bad }); !errors.Is(err, bad) || !strings.Contains(err.Error(), ": "+c.at+": ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, f := range map[string]fault{
		"stat": {stat: bad}, "open": {open: bad}, "read": {read: bad}, "readlink": {readlink: bad}, "xattrs": {xattrs: bad},
	} {
		f.Dir = openDir(t, dir)
		records, errs := identify(f.Dir, func(x *Identify) error {
			x.Open = func() (Source, error) {
				own := f
				own.Dir = f.Dir.Share()
				return own, nil
			}
			return x.Run(eachOf([]string{".", "./large", "./link", "./small"}))
		})
		told := map[string]string{"stat": ". ./large ./link ./small", "open": "./large ./small", "read": "./large ./small",
			"readlink": "./link", "xattrs": ". ./large ./small"}[name]
		var want strings.Builder
		for name := range strings.FieldsSeq(told) {
			want.WriteString(name + ": bad\n")
		}
		if errs != want.String() || strings.Count(records, "\x00") != 4-strings.Count(errs, "\n") {
			t.Errorf("%s: %q, and records\n%s", name, errs, lines(records))
		}
	}
}

// TestOddTypes: a source may have what no file system here has; and what the list is written to is not in it.
func TestOddTypes(t *testing.T) {
	dir := t.TempDir()
	path := write(t, dir, "f", "text")
	out, err := os.Create(path)
	must(t, err)
	defer out.Close()
	closed, err := os.Open(path)
	must(t, err)
	closed.Close()
	for want, set := range map[string]func(x *Identify){
		"./f: unknown type of file (mode 0000644)\n": func(x *Identify) {
			x.Fake = func(name []byte, st *Stat) error { st.Mode = 0o644; return nil }
		},
		fmt.Sprintf("./f: %v\n", errSelf): func(x *Identify) { x.Output = out },
		"":                                func(x *Identify) { x.Output = closed },
	} {
		records, errs := identify(openDir(t, dir), func(x *Identify) error {
			set(x)
			return x.Run(eachOf([]string{"./f"}))
		})
		if errs != want || (records == "") != (want != "") {
			t.Errorf("%q, want %q; %q", errs, want, records)
		}
	}
}

// TestFullPage: a symbolic link's target has room though files have filled a page.
func TestFullPage(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a", strings.Repeat("a", pageContent-1))
	must(t, os.Symlink("a target", filepath.Join(dir, "b")))
	got, err := packInitrd(t, dir, identifyDir(t, dir))
	must(t, err)
	if all := readNewc(t, got); len(all) != 3 || all[2].content != "a target" {
		t.Errorf("%d entries", len(all))
	}
}

// TestBadLinks: the first pass over a list, which looks for links only, has the same to say of it as the second.
func TestBadLinks(t *testing.T) {
	dir := t.TempDir()
	if _, err := packInitrd(t, dir, nul("./a"+textID+"-link=./0", "./b")); err == nil || err.Error() != "<stdin>:2: ./b: no ID" {
		t.Error(err)
	}
	file := write(t, dir, "list", "./a 0010600-0-0-0\n")
	in, err := list.Open(file, nil, false)
	must(t, err)
	defer in.Close()
	must(t, os.WriteFile(file, []byte("./a 0010600-0-0-0\n./b 0010600-0-0-0\n"), 0o644))
	i := Initrd{List: in, Source: openDir(t, dir)}
	if err := i.Write(io.Discard); err == nil || !strings.HasSuffix(err.Error(), "changed while it was read") {
		t.Error(err)
	}
}

// TestListError: when the list goes wrong, what stands before it and is wrong is told instead.
func TestListError(t *testing.T) {
	dir := t.TempDir()
	records := manyFiles(t, dir, 100)
	_, err := packInitrd(t, dir, records+"junk\x00")
	if want := "<stdin>:105: junk: no ID"; fmt.Sprint(err) != want {
		t.Errorf("%v, not %s", err, want)
	}
	must(t, os.Remove(filepath.Join(dir, "d2/f099")))
	if _, err = packInitrd(t, dir, records+"junk\x00"); !strings.Contains(fmt.Sprint(err), ":104: ./d2/f099: ") {
		t.Error(err)
	}
}

// slow is a source whose files come late and in another order, and which counts what is open at once.
type slow struct {
	*Dir
	mu         sync.Mutex
	open, most int
}

func (s *slow) Stat(name []byte) (Stat, error) {
	time.Sleep(time.Duration(len(name)*7%3) * time.Millisecond)
	return s.Dir.Stat(name)
}

func (s *slow) Open(name []byte, st Stat) (Content, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open++
	s.most = max(s.most, s.open)
	c, err := s.Dir.Open(name, st)
	return slowContent{c, s}, err
}

type slowContent struct {
	Content
	source *slow
}

func (c slowContent) Close() error {
	c.source.mu.Lock()
	defer c.source.mu.Unlock()
	c.source.open--
	return c.Content.Close()
}

// Read gives few bytes at a time, as a file may.
func (c slowContent) Read(p []byte) (int, error) { return c.Content.Read(p[:min(len(p), 50001)]) }

// TestFewOpenFiles: read ahead or not, as many files are open at once as there are workers, and one.
func TestFewOpenFiles(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(8))
	dir := t.TempDir()
	records := manyFiles(t, dir, 120)
	want, err := packInitrd(t, dir, records)
	must(t, err)
	src := &slow{Dir: openDir(t, dir)}
	got, err := packInitrd(t, dir, records, func(i *Initrd) { i.Source = src })
	must(t, err)
	if !bytes.Equal(got, want) {
		t.Error("another archive")
	}
	if src.open != 0 || src.most > mostLookers+1 {
		t.Errorf("%d files open, at most %d", src.open, src.most)
	}
}

// TestLargeChanges: a file too large for a page that has grown, shrunk or changed is an error, as a small one is.
func TestLargeChanges(t *testing.T) {
	for _, size := range []int{pageContent + 1, 3*streamBuffer + pageContent} {
		dir := t.TempDir()
		path := write(t, dir, "f", strings.Repeat("x", size))
		records := identifyDir(t, dir)
		for what, change := range map[string]func() error{
			"grown":  func() error { return os.WriteFile(path, bytes.Repeat([]byte("x"), size+1), 0o644) },
			"shrunk": func() error { return os.Truncate(path, int64(size-1)) },
			"other":  func() error { return os.WriteFile(path, bytes.Repeat([]byte("y"), size), 0o644) },
		} {
			must(t, change())
			if _, err := packInitrd(t, dir, records); !errors.Is(err, ErrChanged) {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
}

// TestStream: what comes out is what is in, for any sizes of the reads on both sides; errors come at their place.
func TestStream(t *testing.T) {
	bad := errors.New("bad")
	var s stream
	for _, size := range []int64{0, 1, streamBuffer - 1, streamBuffer, streamBuffer + 1, 5 * streamBuffer} {
		for _, end := range []error{io.EOF, bad} {
			s.begin(io.MultiReader(io.LimitReader(endless{}, size), failing{end}))
			n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{&s}, make([]byte, 1000))
			digest := s.end()
			if n != size || end == bad && err != bad || end == io.EOF && err != nil {
				t.Errorf("%d bytes: %d, %v", size, n, err)
			}
			if digest != list.Digest(sumOf(endless{}, size)) {
				t.Errorf("%d bytes: wrong digest", size)
			}
		}
		s.begin(endless{}) // and nobody reads it
		s.end()
	}
	s.begin(idle{})
	if _, err := s.Read(make([]byte, 1)); err != io.ErrNoProgress {
		t.Errorf("a reader that gives nothing: %v", err)
	}
	s.end()
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

type idle struct{}

func (idle) Read([]byte) (int, error) { return 0, nil }

// TestDirAtOnce uses one Dir from many goroutines.
func TestDirAtOnce(t *testing.T) {
	dir := t.TempDir()
	for i := range 50 {
		write(t, dir, fmt.Sprintf("a%d/b/f", i%7)+fmt.Sprint(i), fmt.Sprint(i))
	}
	d := openDir(t, dir)
	var running sync.WaitGroup
	for g := range 8 {
		running.Go(func() {
			for i := range 500 {
				i = (i*(2*g+1) + g) % 50
				name := fmt.Sprintf("./a%d/b/f%d", i%7, i)
				if got := read(t, d, name); got != fmt.Sprint(i) {
					t.Errorf("%s: %q", name, got)
				}
				if _, err := d.Stat([]byte(name + "/x")); err == nil {
					t.Error("found what is below a file")
				}
			}
		})
	}
	running.Wait()
	for _, p := range d.open {
		if p.users > 0 {
			t.Errorf("%s is in use", p.name)
		}
	}
	if n := len(d.open); n > mostOpen {
		t.Errorf("%d directories are open", n)
	}
}
