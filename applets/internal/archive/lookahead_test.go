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
