package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/list"
	"github.com/ctbox/ctbox/applets/internal/statcache"
)

// cached is a directory with a cache of it.
type cached struct {
	t    *testing.T
	dir  string
	path string
	told []string // by the last run
}

func newCached(t *testing.T) *cached {
	t.Helper()
	return &cached{t: t, dir: steadyDir(t), path: filepath.Join(t.TempDir(), "cache")}
}

// steadyDir is a new directory on a file system that a cache can rely on.
func steadyDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	kind, ok := isSteady(t, dir)
	if ok {
		return dir
	}
	dir, err := os.MkdirTemp("/var/tmp", "ctbox-test.") // by custom, this is on a disk
	if err == nil {
		t.Cleanup(func() { os.RemoveAll(dir) })
		if kind, ok = isSteady(t, dir); ok {
			return dir
		}
	}
	t.Skipf("no cache for files in %s (%s) or /var/tmp, %v", os.TempDir(), kind, err)
	return ""
}

func isSteady(t *testing.T, dir string) (kind string, ok bool) {
	t.Helper()
	d := openDir(t, dir)
	st, err := d.Stat([]byte("."))
	must(t, err)
	v := volume{dev: st.Dev}
	kind, err = d.volume([]byte("."), &v)
	must(t, err)
	return kind, v.steady
}

// feed is how names come to Identify.
type feed func(x *Identify, d *Dir) error

// run lists what feed brings, with the cache, which it renews.
func (c *cached) run(feed feed, set ...func(*Identify)) string {
	c.t.Helper()
	c.told = nil
	var out strings.Builder
	d := openDir(c.t, c.dir)
	err := statcache.Replace(c.path, func(err error) { c.told = append(c.told, err.Error()) },
		func(old *statcache.File, next *statcache.Next) (error, error) {
			cache := NewCache(old, next, func(err error) { c.told = append(c.told, err.Error()) })
			x := Identify{
				Open:  func() (Source, error) { return d.Share(), nil },
				Null:  true,
				Write: func(p []byte) error { out.Write(p); return nil },
				Fail:  func(err error) { out.WriteString(err.Error() + "\x00") },
				Cache: cache,
			}
			for _, f := range set {
				f(&x)
			}
			err := feed(&x, d)
			return err, cache.Close()
		})
	if err != nil {
		out.WriteString(err.Error() + "\x00")
	}
	return out.String()
}

func walked(x *Identify, d *Dir) error { return x.RunDir(d, false) }

func named(names ...string) feed {
	return func(x *Identify, _ *Dir) error { return x.Run(eachOf(names)) }
}

func (c *cached) list() string { c.t.Helper(); return c.run(walked) }

// check compares the list with the cache to the one without.
func (c *cached) check(what string) {
	c.t.Helper()
	if got, want := c.list(), plain(c.t, c.dir); got != want {
		c.t.Fatalf("%s: with the cache\n%s\nwithout\n%s", what, lines(got), lines(want))
	}
}

// plain is the list without cache, with what went wrong in its place.
func plain(t testing.TB, dir string) string {
	t.Helper()
	d := openDir(t, dir)
	var out strings.Builder
	x := Identify{
		Open:  func() (Source, error) { return d.Share(), nil },
		Null:  true,
		Write: func(p []byte) error { out.Write(p); return nil },
		Fail:  func(err error) { out.WriteString(err.Error() + "\x00") },
	}
	must(t, x.Run(func(each func([]byte) error) error { return d.Walk(false, each, x.Fail) }))
	return out.String()
}

func lines(records string) string { return strings.ReplaceAll(records, "\x00", "\n") }

// settle waits until what was done before can be told from what will be done.
func settle(t testing.TB) {
	t.Helper()
	probe := write(t, t.TempDir(), "probe", "") // every file system goes by one clock
	st, err := openDir(t, filepath.Dir(probe)).Stat([]byte("./probe"))
	must(t, err)
	for end := time.Now().Add(time.Minute); !settled().after(&st); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the clock stands still")
		}
	}
}

// entries are the names that the cache holds.
func (c *cached) entries() (names []string) {
	c.t.Helper()
	c.each(func(e *statcache.Entry) { names = append(names, string(e.Name)) })
	return names
}

func (c *cached) each(f func(e *statcache.Entry)) {
	c.t.Helper()
	file, err := statcache.Open(c.path)
	must(c.t, err)
	defer file.Close()
	if file.Size == 0 {
		return
	}
	for s := file.Scan(); ; {
		e, err := s.Next()
		if err == io.EOF {
			return
		}
		must(c.t, err)
		f(e)
	}
}

// planted is a digest that no file has.
var planted = list.Digest(bytes.Repeat([]byte{0xab}, 32))

// plant replaces all digests in the cache, so that a list shows what comes from there.
func (c *cached) plant() {
	c.t.Helper()
	must(c.t, statcache.Replace(c.path, func(err error) { c.t.Error(err) }, func(old *statcache.File, next *statcache.Next) (error, error) {
		u := statcache.Update{Old: old.Scan, Out: next}
		u.Drop()
		c.each(func(e *statcache.Entry) {
			if e.HasDigest {
				e.Digest = planted
			}
			u.Add(e)
		})
		_, err := u.Close()
		return nil, err
	}))
}

// known are the files whose digest a run takes from the cache.
func (c *cached) known() string {
	c.t.Helper()
	return ofCache(c.list())
}

func ofCache(records string) string {
	var names []string
	for record := range strings.SplitSeq(records, "\x00") {
		if name, id, _ := strings.Cut(record, " "); strings.Contains(id, fmt.Sprintf("-%x", planted)) {
			names = append(names, strings.TrimPrefix(name, "./"))
		}
	}
	return strings.Join(names, " ")
}

// settledTree is a directory whose cache knows all of it.
func settledTree(t *testing.T, names ...string) *cached {
	t.Helper()
	c := newCached(t)
	for _, name := range names {
		write(t, c.dir, name, "text")
	}
	settle(t)
	c.check("first")
	return c
}

// TestCacheKnows: what did not change is not read again, and nothing is written then.
func TestCacheKnows(t *testing.T) {
	c := settledTree(t, "a", "b/c", "b/d/e", "b-/f")
	must(t, os.Symlink("a", filepath.Join(c.dir, "link")))
	settle(t)
	c.check("second")
	if got, want := strings.Join(c.entries(), " "), ". ./ ./a ./b ./b- ./b-/ ./b-/f ./b/ ./b/c ./b/d ./b/d/ ./b/d/e ./link"; got != want {
		t.Errorf("the cache holds %s", got)
	}
	c.plant()
	before, err := os.Stat(c.path)
	must(t, err)
	if got, want := c.known(), "a b-/f b/c b/d/e link"; got != want {
		t.Errorf("known: %s, not %s", got, want)
	}
	if after, err := os.Stat(c.path); err != nil || !os.SameFile(before, after) || c.told != nil {
		t.Errorf("another cache, %v %v", err, c.told)
	}
	if got, want := ofCache(c.run(named("./a", "./b/d/e"))), "a b/d/e"; got != want {
		t.Errorf("of names: %s", got)
	}
	if got, want := strings.Join(c.entries(), " "), "./a ./b/d/e"; got != want {
		t.Errorf("after names, the cache holds %s", got)
	}
}

// TestCacheNotices: whatever is done to a file, its times may say what they like, it is not known any more.
func TestCacheNotices(t *testing.T) {
	keepTime := func(change func(path string) error) func(string) error {
		return func(path string) error {
			before, err := os.Stat(path)
			if err != nil {
				return err
			}
			return errors.Join(change(path), os.Chtimes(path, time.Time{}, before.ModTime()))
		}
	}
	overwrite := func(path string) error {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = f.WriteString("TEXT")
		return errors.Join(err, f.Close())
	}
	for what, change := range map[string]func(path string) error{
		"written":       overwrite,
		"time restored": keepTime(overwrite),
		"touched":       func(p string) error { return os.Chtimes(p, time.Time{}, time.Unix(1e9, 5)) },
		"truncated":     func(p string) error { return os.Truncate(p, 2) },
		"to and fro":    func(p string) error { return errors.Join(os.Truncate(p, 2), os.Truncate(p, 4)) },
		"replaced":      func(p string) error { return errors.Join(os.Remove(p), os.WriteFile(p, []byte("TEXT"), 0o644)) },
		"linked":        func(p string) error { return os.Link(p, filepath.Dir(p)+"/z") },
		"chmod":         func(p string) error { return os.Chmod(p, 0o4755) },
		"renamed over":  keepTime(func(p string) error { return os.Rename(filepath.Dir(p)+"/other", p) }),
		"exchanged": func(p string) error {
			o := filepath.Dir(p) + "/other"
			return errors.Join(os.Rename(p, p+"~"), os.Rename(o, p), os.Rename(p+"~", o))
		},
		"a link now":      func(p string) error { return errors.Join(os.Remove(p), os.Symlink("text", p)) },
		"a directory now": func(p string) error { return errors.Join(os.Remove(p), os.Mkdir(p, 0o755)) },
		"a FIFO now":      func(p string) error { return errors.Join(os.Remove(p), unix.Mkfifo(p, 0o644)) },
		"through a link":  func(p string) error { return overwrite(filepath.Dir(p) + "/hard") },
		"mapped":          mapped,
		"gone":            os.Remove,
	} {
		t.Run(what, func(t *testing.T) {
			c := newCached(t)
			path := write(t, c.dir, "d/file", "text")
			write(t, c.dir, "d/other", "else")
			must(t, os.Link(path, filepath.Join(c.dir, "d/hard")))
			settle(t)
			c.check("before")
			c.plant()
			must(t, change(path))
			if known := " " + c.known() + " "; strings.Contains(known, " d/file ") {
				t.Errorf("known: %s", known)
			}
			settle(t)
			must(t, os.Remove(c.path))
			c.check("made anew")
			c.check("after")
		})
	}
}

// mapped writes to a file through memory.
func mapped(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	memory, err := unix.Mmap(int(f.Fd()), 0, 4, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	memory[0]++
	return errors.Join(unix.Msync(memory, unix.MS_SYNC), unix.Munmap(memory))
}

// TestCacheRacy: what changed in the very step of the clock in which it was read is not entered.
func TestCacheRacy(t *testing.T) {
	c := newCached(t)
	write(t, c.dir, "d/f", "text")
	must(t, os.Symlink("f", filepath.Join(c.dir, "d/link")))
	d := openDir(t, c.dir)
	for entry, name := range map[string]string{"./d/f": "./d/f", "./d/link": "./d/link", "./d": "./d", "./d/": "./d"} {
		st, err := d.Stat([]byte(name))
		must(t, err)
		for _, later := range []int64{0, 1} {
			must(t, os.RemoveAll(c.path))
			c.run(walked, func(x *Identify) {
				x.Cache.now = func() instant { return instant{st.CSec, st.CNsec + later} }
			})
			if has := slices.Contains(c.entries(), entry); has != (later > 0) {
				t.Errorf("%s, %d ns later: the cache holds %q", entry, later, c.entries())
			}
		}
	}
}

// TestCacheMeanwhile: what changes between the look at it and the end of reading is not entered, though its size and its
// time of modification be as they were, and the clock far on.
func TestCacheMeanwhile(t *testing.T) {
	c := newCached(t)
	path := filepath.Join(c.dir, "d/f")
	for what, change := range map[string]func() error{
		"./d/f": func() error {
			return errors.Join(os.WriteFile(path, []byte("TEXT"), 0o644), os.Chtimes(path, time.Time{}, time.Unix(5, 5)))
		},
		"./d/link": func() error {
			link := path[:len(path)-1] + "link"
			return errors.Join(os.Remove(link), os.Symlink("F", link))
		},
		"./d":  func() error { return os.Chmod(filepath.Dir(path), 0o700) },
		"./d/": func() error { return os.WriteFile(path+"2", nil, 0o644) },
	} {
		must(t, os.RemoveAll(filepath.Join(c.dir, "d")))
		must(t, os.RemoveAll(c.path))
		write(t, c.dir, "d/f", "text")
		must(t, os.Symlink("f", filepath.Join(c.dir, "d/link")))
		must(t, os.Chtimes(path, time.Time{}, time.Unix(5, 5)))
		calls := 0
		c.run(walked, func(x *Identify) {
			x.Cache.now = func() instant {
				if calls++; what == "./d/" && calls == 2 { // for ./d; the first was for the root
					must(t, change())
				}
				return instant{1 << 40, 0}
			}
			x.Workers = 1
			x.Fake = func(name []byte, _ *Stat) error {
				if string(name) == what {
					return change()
				}
				return nil
			}
		})
		names := c.entries()
		if slices.Contains(names, what) || len(names) < 4 {
			t.Errorf("%s has changed, the cache holds %q", what, names)
		}
	}
}

// TestCacheAtOnce: whatever is written right after a run is noticed by the next one.
func TestCacheAtOnce(t *testing.T) {
	c := newCached(t)
	path := write(t, c.dir, "d/f", "00000")
	for i := range 200 {
		must(t, os.WriteFile(path, fmt.Appendf(nil, "%05d", i), 0o644))
		other := write(t, c.dir, fmt.Sprint("d/g", i%10), "")
		c.check(fmt.Sprint("run ", i))
		must(t, os.Remove(other))
		c.check(fmt.Sprint("without a name, run ", i))
	}
}

// TestSettled: the instant is never later than a change that follows it, and comes to pass.
func TestSettled(t *testing.T) {
	dir := t.TempDir()
	d := openDir(t, dir)
	for i := range 200 {
		begun := settled()
		write(t, dir, "f", fmt.Sprint(i))
		st, err := d.Stat([]byte("./f"))
		must(t, err)
		if begun.after(&st) {
			t.Fatalf("%v lies after %d.%09d", begun, st.CSec, st.CNsec)
		}
	}
	settle(t)
	early, late := Stat{CSec: 5, CNsec: 6}, Stat{CSec: 6, CNsec: 5}
	at := instant{6, 5}
	if !at.after(&early) || at.after(&late) || !(instant{6, 6}).after(&late) || (instant{5, 9}).after(&late) {
		t.Error("order of instants")
	}
}

// TestCacheInodes: a number that is used again is another file.
func TestCacheInodes(t *testing.T) {
	c := settledTree(t, "a", "b")
	st, err := openDir(t, c.dir).Stat([]byte("./a"))
	must(t, err)
	c.plant()
	path := filepath.Join(c.dir, "a")
	must(t, os.Remove(path))
	for i := range 1000 {
		must(t, os.WriteFile(path, []byte("TEXT"), 0o644))
		must(t, os.Chtimes(path, time.Time{}, time.Unix(st.Sec, st.Nsec)))
		now, err := openDir(t, c.dir).Stat([]byte("./a"))
		must(t, err)
		if now.Ino == st.Ino {
			break
		}
		must(t, os.Rename(path, fmt.Sprint(path, i)))
	}
	if got := c.known(); got != "b" {
		t.Errorf("known: %s", got)
	}
}

// TestCacheExchanged: files of one size that were made in one step of the clock differ in nothing but their inodes, and
// when the directories above them change places, not even ctime tells.
func TestCacheExchanged(t *testing.T) {
	c := newCached(t)
	var a, b Stat
	for i := 0; a.Ino == 0 || a.CSec != b.CSec || a.CNsec != b.CNsec || a.Sec != b.Sec || a.Nsec != b.Nsec; i++ {
		if i == 1000 {
			t.Skip("no two files are made at one time")
		}
		must(t, os.RemoveAll(filepath.Join(c.dir, "a")))
		must(t, os.RemoveAll(filepath.Join(c.dir, "b")))
		must(t, os.MkdirAll(filepath.Join(c.dir, "a"), 0o755))
		must(t, os.MkdirAll(filepath.Join(c.dir, "b"), 0o755))
		write(t, c.dir, "a/f", "in a")
		write(t, c.dir, "b/f", "in b")
		var err1, err2 error
		d := openDir(t, c.dir)
		a, err1 = d.Stat([]byte("./a/f"))
		b, err2 = d.Stat([]byte("./b/f"))
		must(t, errors.Join(err1, err2))
	}
	settle(t)
	c.check("before")
	must(t, os.Rename(filepath.Join(c.dir, "a"), filepath.Join(c.dir, "c")))
	must(t, os.Rename(filepath.Join(c.dir, "b"), filepath.Join(c.dir, "a")))
	must(t, os.Rename(filepath.Join(c.dir, "c"), filepath.Join(c.dir, "b")))
	c.check("after")
}

// TestCacheCleans: an entry goes with its name, wherever that stood, and with what it said of it.
func TestCacheCleans(t *testing.T) {
	c := newCached(t)
	for _, name := range []string{"a", "b", "c"} {
		write(t, c.dir, name, "text")
	}
	settle(t)
	all := []string{"./a", "./b", "./c"}
	for i := range all {
		c.run(named(all...))
		left := append(append([]string{}, all[:i]...), all[i+1:]...)
		c.run(named(left...))
		if got := c.entries(); fmt.Sprint(got) != fmt.Sprint(left) {
			t.Errorf("without %s, the cache holds %s", all[i], got)
		}
		c.run(named(all...))
		write(t, c.dir, all[i], "new text")
		c.run(named(all...), func(x *Identify) { x.Cache.now = func() instant { return instant{} } })
		if got := c.entries(); fmt.Sprint(got) != fmt.Sprint(left) {
			t.Errorf("when %s had changed, the cache holds %s", all[i], got)
		}
		settle(t)
	}
}

// TestCacheTrees makes random changes between runs, and compares each list with one without cache.
func TestCacheTrees(t *testing.T) {
	for seed := range uint64(4) {
		r := rand.New(rand.NewPCG(seed, 9))
		c := newCached(t)
		for i := range 40 {
			for range r.IntN(12) {
				disturb(r, c.dir)
			}
			if r.IntN(2) == 0 {
				settle(t)
			}
			if r.IntN(8) == 0 {
				c.run(named(".", "./a", "./a/a"))
			}
			c.check(fmt.Sprintf("seed %d, run %d", seed, i))
		}
		if len(c.entries()) < 5 {
			t.Errorf("the cache holds %v", c.entries())
		}
	}
}

// disturb does something to a small tree of names that sort unlike a walk goes.
func disturb(r *rand.Rand, dir string) {
	name := func() string {
		parts := []string{dir}
		for range 1 + r.IntN(3) {
			parts = append(parts, []string{"a", "a-", "a-b", "a\x01", "b", "a.", "\xff"}[r.IntN(7)])
		}
		return filepath.Join(parts...)
	}
	path := name()
	switch r.IntN(9) {
	case 0, 1:
		os.MkdirAll(path, 0o755)
	case 2, 3:
		os.WriteFile(path, []byte{byte(r.IntN(256))}, 0o644)
	case 4:
		os.RemoveAll(path)
	case 5:
		os.Rename(path, name())
	case 6:
		os.Link(path, name())
	case 7:
		os.Symlink("a", path)
	case 8:
		os.Chmod(path, os.FileMode(0o700+r.IntN(0o100)))
	}
}

// TestCacheDamaged: a cache that is not whole gives what comes before, or nothing; this is told, and mended.
func TestCacheDamaged(t *testing.T) {
	var names []string
	for i := range 60 {
		names = append(names, fmt.Sprintf("d%d/f%02d", i%6, i))
	}
	c := settledTree(t, names...)
	good, err := os.ReadFile(c.path)
	must(t, err)
	r := rand.New(rand.NewPCG(1, 1))
	for range 60 {
		bad := bytes.Clone(good)
		if at := r.IntN(len(bad)); r.IntN(3) > 0 {
			bad[at] ^= byte(1 + r.IntN(255))
		} else {
			bad = bad[:at]
		}
		must(t, os.WriteFile(c.path, bad, 0o644))
		c.check("damaged")
		if len(bad) > 0 && len(c.told) != 1 {
			t.Errorf("told: %q", c.told)
		}
		if now, err := os.ReadFile(c.path); err != nil || !bytes.Equal(now, good) && !bytes.Equal(now, bad) {
			t.Fatalf("not mended: %d bytes, %v", len(now), err)
		}
	}
}

// TestCacheOfAnotherTree knows nothing, and becomes that of this one.
func TestCacheOfAnotherTree(t *testing.T) {
	a, b := settledTree(t, "f", "d/g"), settledTree(t, "f", "d/g")
	a.plant()
	b.path = a.path
	if got := b.known(); got != "" {
		t.Errorf("known: %s", got)
	}
	b.plant()
	if got := b.known(); got != "d/g f" {
		t.Errorf("then known: %s", got)
	}
}

// TestCacheEnds: a run that did not come to its end leaves the cache alone; one with a name that failed does not.
func TestCacheEnds(t *testing.T) {
	c := settledTree(t, "a", "b", "c")
	before, err := os.ReadFile(c.path)
	must(t, err)
	oops := errors.New("oops")
	write(t, c.dir, "b", "new")
	settle(t)
	c.run(func(x *Identify, _ *Dir) error {
		return x.Run(func(each func([]byte) error) error { return errors.Join(each([]byte("./b")), oops) })
	})
	c.run(walked, func(x *Identify) { x.Write = func([]byte) error { return oops } })
	c.run(walked, func(x *Identify) { x.Open = func() (Source, error) { return nil, oops } })
	if now, err := os.ReadFile(c.path); err != nil || !bytes.Equal(now, before) {
		t.Errorf("the cache changed, %v", err)
	}
	if records := c.run(named("./a", "./b", "./gone")); !strings.Contains(records, "no such file") {
		t.Errorf("%q", records)
	}
	if got := strings.Join(c.entries(), " "); got != "./a ./b" {
		t.Errorf("the cache holds %s", got)
	}
}

// TestCacheInTree: neither the cache nor what is to be the next one is listed.
func TestCacheInTree(t *testing.T) {
	c := settledTree(t, "a", "d/b", "z")
	want := plain(t, c.dir)
	c.path = filepath.Join(c.dir, "d/cache")
	for i := range 5 {
		got := c.run(walked)
		if i%2 == 1 {
			got = c.run(named(".", "./a", "./d", "./d/b", "./d/cache", "./z"))
		}
		if got != want || c.told != nil {
			t.Errorf("run %d\n%s%q", i, lines(got), c.told)
		}
		settle(t)
	}
	for _, name := range c.entries() {
		if strings.Contains(name, "cache") {
			t.Errorf("the cache holds %q", name)
		}
	}
}

// TestCacheFake: fakeroot's word stands, and what it calls a device is not looked up.
func TestCacheFake(t *testing.T) {
	c := settledTree(t, "a", "b")
	c.plant()
	got := c.run(walked, func(x *Identify) {
		x.Owner = &Owner{7, 8}
		x.Fake = func(name []byte, st *Stat) error {
			if string(name) == "./b" {
				st.Mode, st.Major = list.CharDevice|0o600, 9
			}
			return nil
		}
	})
	if ofCache(got) != "a" || !strings.Contains(got, "./b 0020600-7-8-0-rdev=9:0") {
		t.Errorf("%s", lines(got))
	}
}

// TestCacheManyNames: a directory with more names than a cache holds of one is read.
func TestCacheManyNames(t *testing.T) {
	c := newCached(t)
	for i := range 1100 {
		write(t, c.dir, fmt.Sprintf("d/%060d", i), "")
	}
	settle(t)
	c.check("first")
	if names := c.entries(); len(names) != 1100+3 {
		t.Errorf("%d entries", len(names))
	}
	must(t, os.Remove(filepath.Join(c.dir, fmt.Sprintf("d/%060d", 5))))
	c.check("second")
}

// TestCacheToRead: a cache that is only read takes no notes, and is no file that a tree could hold.
func TestCacheToRead(t *testing.T) {
	c := settledTree(t, "a")
	c.list()
	before := c.entries()
	cache := c.trusting()
	cache.note([]byte("./a"), &recall{verdict: found}, true)
	if cache.is(inode{1, 2}) || cache.is(inode{}) {
		t.Error("any file is the cache")
	}
	if err := cache.Close(); err != statcache.ErrKept || !slices.Equal(c.entries(), before) {
		t.Errorf("%v, %v", err, c.entries())
	}
}

// TestVolume: of this machine's file systems, those that make up their files are not relied on.
func TestVolume(t *testing.T) {
	c := newCached(t)
	c.list()
	d := openDir(t, c.dir)
	st, err := d.Stat([]byte("."))
	must(t, err)
	here := volume{dev: st.Dev}
	_, err = d.volume([]byte("."), &here)
	must(t, err)
	other := volume{dev: st.Dev + 1}
	if _, err := d.volume([]byte("."), &other); !errors.Is(err, ErrRacing) {
		t.Errorf("another device: %v", err)
	}
	for what, none := range map[string]volume{
		"of a name that is gone": c.trusting().volume(d, []byte("./none"), &st),
		"of no directory":        c.trusting().volume(struct{ Source }{d}, []byte("."), &st),
	} {
		if none != (volume{dev: st.Dev}) {
			t.Errorf("%s: %+v", what, none)
		}
	}
	other = here
	here.steady, other.steady = true, true
	other.id++
	st.CNsec = 5
	if s := here.stamp(&st); s == other.stamp(&st) || s == (statcache.Stamp{}) {
		t.Error("volumes have one stamp")
	}
	if (&volume{dev: here.dev, id: here.id}).stamp(&st) != (statcache.Stamp{}) {
		t.Error("any volume is relied on")
	}
	st.CNsec = 0
	if here.stamp(&st) != (statcache.Stamp{}) {
		t.Error("a change in a whole second is relied on")
	}
	if runtime.GOOS != "linux" {
		return
	}
	c.dir = "/proc/self"
	c.run(named("./stat", "./status"))
	if len(c.told) != 1 || !strings.HasPrefix(c.told[0], "no use for ./stat and others on its file system (type 0x9fa0)") {
		t.Errorf("told: %q", c.told)
	}
	if len(c.entries()) > 0 {
		t.Errorf("the cache holds %v", c.entries())
	}
}
