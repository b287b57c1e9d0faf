package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ctbox/ctbox/applets/internal/list"
	"github.com/ctbox/ctbox/applets/internal/statcache"
)

// trusting opens the cache for packers.
func (c *cached) trusting() *Cache {
	c.t.Helper()
	file, err := statcache.Open(c.path)
	must(c.t, err)
	c.t.Cleanup(func() { file.Close() })
	c.told = nil
	return NewCache(file, nil, func(err error) { c.told = append(c.told, err.Error()) })
}

// packers pack records of dir to w.
var packers = map[string]func(t testing.TB, dir, records string, trust *Cache, w io.Writer) error{
	"layer": func(t testing.TB, dir, records string, trust *Cache, w io.Writer) error {
		in, err := list.Open("-", strings.NewReader(records), true)
		must(t, err)
		defer in.Close()
		l := Layer{List: in, Source: openDir(t, dir), Warn: t.Errorf, Trust: trust}
		return l.Write(w)
	},
	"initrd": func(t testing.TB, dir, records string, trust *Cache, w io.Writer) error {
		in, err := list.Open("-", strings.NewReader(records), true)
		must(t, err)
		defer in.Close()
		i := Initrd{List: in, Source: openDir(t, dir), Warn: t.Errorf, Trust: trust}
		return i.Write(w)
	},
}

// TestTrust: what is packed with a cache that is trusted is what is packed without, wherever it goes.
func TestTrust(t *testing.T) {
	c := newCached(t)
	for _, size := range []int{0, 1, 511, 512, 513, enoughToSend - 1, enoughToSend, enoughToSend + 1, pageContent + 1, 3<<20 + 7} {
		write(t, c.dir, fmt.Sprint("d/", size), strings.Repeat(fmt.Sprint(size, " "), size)[:size])
		must(t, os.Link(filepath.Join(c.dir, fmt.Sprint("d/", size)), filepath.Join(c.dir, fmt.Sprint("link", size))))
	}
	must(t, os.Symlink("d/1", filepath.Join(c.dir, "symlink")))
	settle(t)
	records := c.list()
	for kind, pack := range packers {
		var want bytes.Buffer
		must(t, pack(t, c.dir, records, nil, &want))
		for to, open := range archives {
			w, got := open(t)
			must(t, pack(t, c.dir, records, c.trusting(), w))
			if !bytes.Equal(got(), want.Bytes()) || c.told != nil {
				t.Errorf("%s to %s: another one, %q", kind, to, c.told)
			}
		}
	}
}

// TestTrustKnows: a file that the cache vouches for is not proven again, small or large; one that has changed since, and
// one for which the list says something else, is.
func TestTrustKnows(t *testing.T) {
	c := settledTree(t, "a", "b")
	write(t, c.dir, "large", strings.Repeat("large", 1<<20))
	write(t, c.dir, "sent", strings.Repeat("sent", enoughToSend))
	settle(t)
	digest := func(records, of string) string {
		_, id, _ := strings.Cut(records, "\x00./"+of+" ")
		return id[strings.LastIndexByte(id[:strings.IndexByte(id, 0)], '-')+1 : strings.IndexByte(id, 0)]
	}
	records := c.list()
	for _, name := range []string{"a", "large", "sent"} {
		lie := strings.Replace(records, digest(records, name)+"\x00", fmt.Sprintf("%x\x00", planted), -1)
		for kind, pack := range packers {
			for _, to := range []string{"wrapped", "file"} {
				w, _ := archives[to](t)
				if err := pack(t, c.dir, lie, c.trusting(), w); !errors.Is(err, ErrChanged) {
					t.Errorf("%s of %s to %s: the list lies, the cache does not: %v", kind, name, to, err)
				}
				if err := pack(t, c.dir, lie, nil, w); !errors.Is(err, ErrChanged) {
					t.Errorf("%s of %s to %s: without the cache: %v", kind, name, to, err)
				}
			}
		}
	}
	c.plant()
	lie := c.list()
	for kind, pack := range packers {
		w, _ := begun(t, os.O_RDWR)
		if err := pack(t, c.dir, lie, c.trusting(), w); err != nil {
			t.Errorf("%s: the cache says what the list says: %v", kind, err)
		}
		if err := pack(t, c.dir, lie, nil, w); !errors.Is(err, ErrChanged) {
			t.Errorf("%s: the same without the cache: %v", kind, err)
		}
	}
	for _, name := range []string{"a", "large", "sent"} {
		must(t, os.Chmod(filepath.Join(c.dir, name), 0o644)) // the same mode, but another ctime
		for kind, pack := range packers {
			if err := pack(t, c.dir, lie, c.trusting(), io.Discard); !errors.Is(err, ErrChanged) {
				t.Errorf("%s, %s has another ctime: %v", kind, name, err)
			}
		}
	}
}

// TestTrustMeanwhile: a file that changes while it is copied fails, small or large, though its size stay. Of a small one,
// whose content can still be proven, no more than that counts.
func TestTrustMeanwhile(t *testing.T) {
	c := newCached(t)
	for name, size := range map[string]int{"small": 9, "large": 3 << 20} {
		path := write(t, c.dir, "f", strings.Repeat("f", size))
		for what, change := range map[string]func() error{
			"nothing": func() error { return nil },
			"chmod":   func() error { return os.Chmod(path, 0o644) },
			"write":   func() error { return os.WriteFile(path, make([]byte, size), 0o644) },
		} {
			settle(t)
			must(t, os.RemoveAll(c.path))
			in, err := list.Open("-", strings.NewReader(c.list()), true)
			must(t, err)
			l := lookahead{list: in, source: changer{openDir(t, c.dir), change}, trust: c.trusting()}
			err = l.run(reading{&l, func(r io.Reader) {
				if _, is := r.(*file); is != (name == "large") {
					t.Errorf("%s: reads from a %T", name, r)
				}
			}})
			in.Close()
			want := map[string]error{"large, chmod": ErrRacing, "large, write": ErrRacing, "small, write": ErrChanged}[name+", "+what]
			if !errors.Is(err, want) {
				t.Errorf("%s, %s: %v, want %v", name, what, err, want)
			}
		}
	}
}

// reading packs nothing, but reads all that it could.
type reading struct {
	*lookahead
	look func(io.Reader)
}

func (r reading) record(it *item) error {
	if it.err != nil || !it.hasContent() {
		return it.err
	}
	return r.content(it, r)
}

func (r reading) put(_ *item, c io.Reader) error {
	if r.look(c); c == nil {
		return nil
	}
	_, err := io.Copy(io.Discard, c)
	return err
}

func (reading) settle() error { return nil }

// A changer changes files when they have just been opened.
type changer struct {
	*Dir
	change func() error
}

func (c changer) Open(name []byte, st Stat) (Content, error) {
	f, err := c.Dir.Open(name, st)
	return f, errors.Join(err, c.change())
}

// TestTrustUnwritable: a large file that is not proven again must be written all the same.
func TestTrustUnwritable(t *testing.T) {
	c := newCached(t)
	write(t, c.dir, "large", strings.Repeat("large", 1<<20))
	settle(t)
	records := c.list()
	for kind, pack := range packers {
		if err := pack(t, c.dir, records, c.trusting(), new(once)); !errors.Is(err, io.ErrShortWrite) {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// TestTrustDamaged: a cache that is damaged vouches for nothing, and is told of.
func TestTrustDamaged(t *testing.T) {
	c := settledTree(t, "a", "b")
	c.plant()
	lie := c.list()
	cache, err := os.ReadFile(c.path)
	must(t, err)
	must(t, os.WriteFile(c.path, cache[:len(cache)-40], 0o644))
	for kind, pack := range packers {
		if err := pack(t, c.dir, lie, c.trusting(), io.Discard); !errors.Is(err, ErrChanged) || len(c.told) != 1 {
			t.Errorf("%s: %v, told %q", kind, err, c.told)
		}
	}
}

// TestCopyRange: what cannot be copied is left to others.
func TestCopyRange(t *testing.T) {
	dir := t.TempDir()
	text := strings.Repeat("0123456789", 50000)
	open := func(name string, flags int) *os.File {
		f, err := os.OpenFile(filepath.Join(dir, name), flags|os.O_CREATE, 0o644)
		must(t, err)
		t.Cleanup(func() { f.Close() })
		return f
	}
	write(t, dir, "from", text)
	in, out := open("from", os.O_RDONLY), open("to", os.O_RDWR)
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	defer w.Close()
	appended := open("appended", os.O_WRONLY|os.O_APPEND)
	for _, f := range []*os.File{w, appended, in} {
		if n := copyRange(int(f.Fd()), int(in.Fd()), 1000); n != 0 {
			t.Errorf("%s: %d bytes", f.Name(), n)
		}
	}
	n := copyRange(int(out.Fd()), int(in.Fd()), 300001) // 0 where the system cannot
	rest, err := io.ReadAll(in)
	must(t, err)
	got, err := os.ReadFile(out.Name())
	must(t, err)
	if int64(len(got)) != n || string(got)+string(rest) != text {
		t.Errorf("%d bytes copied, %d are there, %d are left", n, len(got), len(rest))
	}
	in.Seek(499000, 0)
	if n2 := copyRange(int(out.Fd()), int(in.Fd()), 5000); n > 0 && n2 != 1000 {
		t.Errorf("%d bytes, where 1000 are left", n2)
	}
}
