package vm

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func newCache(t *testing.T) *Cache {
	t.Helper()
	c := openCache(t.TempDir(), "")
	if c == nil {
		t.Fatal("no cache")
	}
	return c
}

func TestOpenCache(t *testing.T) {
	home := t.TempDir()
	dir := func(name string, mode os.FileMode) string {
		path := filepath.Join(home, name)
		if err := errors.Join(os.MkdirAll(path, 0o700), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	file := filepath.Join(home, "file")
	link := filepath.Join(dir("linked", 0o700), "ctbox")
	if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Symlink(home, link)); err != nil {
		t.Fatal(err)
	}
	dir("shared/ctbox", 0o770)
	dir("world/ctbox", 0o707)
	dir("read/ctbox", 0o755)
	for _, test := range []struct{ xdg, home, want string }{
		{"", home, home + "/.cache/ctbox"},
		{home + "/x/y", home, home + "/x/y/ctbox"},
		{home + "/read", "", home + "/read/ctbox"},
		{"relative", home, home + "/.cache/ctbox"},
		{"relative", "", ""},
		{"", "", ""},
		{"", "relative", ""},
		{file, home, ""},
		{"", "/dev/null", ""},
		{"/proc/self", home, ""},
		{home + "/linked", home, ""},
		{home + "/shared", home, ""},
		{home + "/world", home, ""},
	} {
		c := openCache(test.xdg, test.home)
		if c == nil && test.want != "" || c != nil && c.dir != test.want {
			t.Errorf("%+v: %+v", test, c)
		}
		if c == nil {
			continue
		}
		if fi, err := os.Stat(c.dir); err != nil || fi.Mode().Perm()&0o722 != 0o700 {
			t.Errorf("%s: %v, %v", c.dir, fi, err)
		}
	}
}

// Root does not write to the caches of others, nor make any there that they could not use.
func TestOthersCache(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	base := t.TempDir()
	reachable(t, base)
	theirs := filepath.Join(base, "theirs")
	if err := errors.Join(os.Mkdir(theirs, 0o777), os.Chmod(theirs, 0o777), os.Chown(theirs, 65534, 65534)); err != nil {
		t.Fatal(err)
	}
	if c := openCache("", theirs); c != nil {
		t.Error("root made", c.dir)
	}
	asUser(t, func() {
		if c := openCache(theirs, ""); c == nil {
			t.Error("the owner has none")
		}
		if c := openCache(base, ""); c != nil {
			t.Error("made", c.dir)
		}
	})
	if c := openCache(theirs, ""); c != nil {
		t.Error("root uses", c.dir)
	}
}

// maker counts how often content had to be made.
type maker struct {
	content string
	err     error
	made    int
}

func (m *maker) write(w io.Writer) error {
	m.made++
	_, err := io.WriteString(w, m.content)
	return errors.Join(err, m.err)
}

// wantFile gets a file and compares its content.
func wantFile(t *testing.T, c *Cache, key string, m *maker, made int) string {
	t.Helper()
	f, err := c.File("kind", key, m.write)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got, err := io.ReadAll(f); err != nil || string(got) != m.content {
		t.Errorf("%.30q, %v", got, err)
	}
	if m.made != made {
		t.Errorf("was made %d times, want %d", m.made, made)
	}
	return f.Name()
}

func TestCacheFile(t *testing.T) {
	c := newCache(t)
	m := &maker{content: strings.Repeat("content\n", 100_000)}
	path := wantFile(t, c, "a/../key", m, 1)
	if filepath.Dir(filepath.Dir(path)) != c.dir {
		t.Error(path)
	}
	wantFile(t, c, "a/../key", m, 1)
	wantFile(t, c, "other key", m, 2)
	wantFile(t, openCache(filepath.Dir(c.dir), ""), "a/../key", m, 2)
	c.Remove("kind", "a/../key")
	wantFile(t, c, "a/../key", m, 3)
}

// What does not have the content that was written is written again.
func TestCacheDamage(t *testing.T) {
	c := newCache(t)
	m := &maker{content: strings.Repeat("content\n", 100_000)}
	path := wantFile(t, c, "key", m, 1)
	for i, damage := range []func() error{
		func() error { return os.Truncate(path, 5) },
		func() error { return os.Truncate(path, 0) },
		func() error { return os.WriteFile(path, []byte(strings.Repeat("c0ntent\n", 100_000)), 0o600) },
		func() error { // with the times as before
			fi, err := os.Stat(path)
			b := []byte(m.content)
			b[12345] ^= 1
			return errors.Join(err, os.WriteFile(path, b, 0o600), os.Chtimes(path, fi.ModTime(), fi.ModTime()))
		},
		func() error { return os.RemoveAll(filepath.Join(c.dir, known)) },
		func() error { c.Remember(sumKey(path), "nonsense"); return nil },
		func() error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) },
	} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		wantFile(t, c, "key", m, i+2)
		wantFile(t, c, "key", m, i+2)
	}
}

// A link is never followed to what is not the cache's: not one with an entry's name, nor one with a kind's.
func TestCacheLinks(t *testing.T) {
	c := newCache(t)
	outside := t.TempDir()
	victim := filepath.Join(outside, "victim")
	m := &maker{content: "content"}
	path := c.path("kind", "key")
	err := errors.Join(os.WriteFile(victim, []byte("mine"), 0o600), os.Mkdir(filepath.Dir(path), 0o700), os.Symlink(victim, path))
	if err != nil {
		t.Fatal(err)
	}
	wantFile(t, c, "key", m, 1)
	wantFile(t, c, "key", m, 1)
	if err := errors.Join(os.RemoveAll(filepath.Dir(path)), os.Symlink(outside, filepath.Dir(path))); err != nil {
		t.Fatal(err)
	}
	wantFile(t, c, "key", m, 2)
	c.Remember("key", "value")
	c.prune(0, 0)
	names, err := os.ReadDir(outside)
	if got, readErr := os.ReadFile(victim); string(got) != "mine" || err != nil || readErr != nil || len(names) != 1 {
		t.Errorf("%q, %v, %v, %v", got, names, err, readErr)
	}
}

// A file whose times changed is the same if its content is; the next time, nothing is computed.
func TestCacheTouched(t *testing.T) {
	c := newCache(t)
	m := &maker{content: "content"}
	path := wantFile(t, c, "key", m, 1)
	before := c.Recall(sumKey(path))
	if err := os.Chtimes(path, time.Now(), time.Unix(1e9, 0)); err != nil {
		t.Fatal(err)
	}
	wantFile(t, c, "key", m, 1)
	if after := c.Recall(sumKey(path)); after == before || after == "" {
		t.Errorf("%s, was %s", after, before)
	}
}

func TestCacheFailures(t *testing.T) {
	c := newCache(t)
	boom := errors.New("boom")
	m := &maker{content: "half", err: boom}
	for _, c := range []*Cache{c, nil} {
		if f, err := c.File("kind", "key", m.write); !errors.Is(err, boom) {
			t.Error(f, err)
		}
		if _, err := c.Open("kind", "key"); !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
	}
	if err := c.Put("kind", "key", m.write); !errors.Is(err, boom) {
		t.Error(err)
	}
	if names, _ := filepath.Glob(c.dir + "/kind/*"); names != nil {
		t.Error(names)
	}
}

func TestNoCache(t *testing.T) {
	var c *Cache
	m := &maker{content: "content"}
	wantFile(t, c, "key", m, 1)
	wantFile(t, c, "key", m, 2)
	c.Remember("key", "value")
	c.Remove("kind", "key")
	if got := c.Recall("key"); got != "" {
		t.Error(got)
	}
	if err := c.Put("kind", "key", m.write); err == nil {
		t.Error("no error")
	}
}

// A cache that can be read but not written to does not stop anything.
func TestReadOnlyCache(t *testing.T) {
	base := t.TempDir()
	reachable(t, base)
	if err := os.Chmod(base, 0o777); err != nil {
		t.Fatal(err)
	}
	m := &maker{content: "content"}
	asUser(t, func() {
		c := openCache(base, "")
		wantFile(t, c, "old", m, 1)
		if err := errors.Join(os.Chmod(c.dir+"/kind", 0o500), os.Chmod(c.dir+"/"+known, 0o500)); err != nil {
			t.Fatal(err)
		}
		defer os.Chmod(c.dir+"/kind", 0o700)
		defer os.Chmod(c.dir+"/"+known, 0o700)
		wantFile(t, c, "old", m, 1)
		wantFile(t, c, "new", m, 2)
		c.Remember("a", "b")
		if got := c.Recall("a"); got != "" {
			t.Error(got)
		}
	})
}

func TestRemember(t *testing.T) {
	c := newCache(t)
	pairs := map[string]string{"kvm 1234 /usr/bin/qemu": "broken", "k": "", "x\ny": "a\nb \"c\"\x00\xff", "long": strings.Repeat("v", 9000)}
	for k, v := range pairs {
		if got := c.Recall(k); got != "" {
			t.Errorf("%q: %q", k, got)
		}
		c.Remember(k, "something else")
		c.Remember(k, v)
	}
	for k, v := range pairs {
		if got := c.Recall(k); got != v {
			t.Errorf("%q: %q", k, got)
		}
	}
	path := c.path(known, "k")
	for _, bad := range []string{"", "garbage", `"other" "value"` + "\n", `"k" "val`, `"value"` + "\n"} {
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := c.Recall("k"); got != "" {
			t.Errorf("%q: %q", bad, got)
		}
	}
}

// fill puts n entries of a megabyte; entry i was used i days ago, and made before.
func fill(t *testing.T, c *Cache, n int) {
	t.Helper()
	for i := range n {
		key := fmt.Sprint(i)
		err := c.Put("kind", key, func(w io.Writer) error { _, err := w.Write(bytes.Repeat([]byte{1}, 1<<20)); return err })
		used := time.Now().AddDate(0, 0, -i)
		if err = errors.Join(err, os.Chtimes(c.path("kind", key), used, used.AddDate(0, 0, -100))); err != nil {
			t.Fatal(err)
		}
	}
}

// left lists the entries of fill that are there.
func left(c *Cache, n int) (keys []string) {
	for i := range n {
		if _, err := os.Stat(c.path("kind", fmt.Sprint(i))); err == nil {
			keys = append(keys, fmt.Sprint(i))
		}
	}
	return keys
}

func TestPrune(t *testing.T) {
	c := newCache(t)
	fill(t, c, 6)
	for _, test := range []struct {
		age  time.Duration
		size int64
		want string
	}{
		{cacheAge, cacheSize, "[0 1 2 3 4 5]"},
		{84 * time.Hour, cacheSize, "[0 1 2 3]"},
		{cacheAge, 2<<20 + 64<<10, "[0 1]"},
		{cacheAge, 0, "[]"},
	} {
		c.prune(test.age, test.size)
		if got := fmt.Sprint(left(c, 6)); got != test.want {
			t.Errorf("%+v: %s", test, got)
		}
	}
}

// Whoever opens an entry keeps it, and makes it last.
func TestPruneUsed(t *testing.T) {
	c := newCache(t)
	fill(t, c, 6)
	f, err := c.Open("kind", "5")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c.prune(84*time.Hour, cacheSize)
	if got := fmt.Sprint(left(c, 6)); got != "[0 1 2 3 5]" {
		t.Error(got)
	}
	c.prune(0, 0)
	if b, err := io.ReadAll(f); err != nil || len(b) != 1<<20 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

// A new entry makes room by itself.
func TestPutPrunes(t *testing.T) {
	c := newCache(t)
	fill(t, c, 40)
	if err := c.Put("other", "x", func(w io.Writer) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if got := len(left(c, 40)); got != 30 {
		t.Errorf("%d entries left", got)
	}
}

// Many use a cache at once, while entries are replaced, damaged and removed all the time: everybody gets what is right.
func TestCacheConcurrent(t *testing.T) {
	base := t.TempDir()
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			c := openCache(base, "")
			for j := range 15 {
				key := fmt.Sprint(j % 3)
				m := &maker{content: strings.Repeat(key, 50_000)}
				f, err := c.File("kind", key, m.write)
				if err != nil {
					t.Error(err)
					return
				}
				got, err := io.ReadAll(f)
				f.Close()
				if err != nil || string(got) != m.content {
					t.Errorf("%d: %d bytes, %v", i, len(got), err)
				}
				switch i {
				case 0:
					c.prune(0, 0)
				case 1:
					c.Remove("kind", key)
				case 2:
					c.Put("kind", key, (&maker{content: "damage"}).write)
				}
			}
		})
	}
	group.Wait()
}
