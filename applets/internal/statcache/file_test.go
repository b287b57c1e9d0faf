package statcache

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

var errOops = errors.New("oops")

// replace replaces the cache at path by data, and tells what run got and what was wrong.
func replace(t *testing.T, path string, data []byte, err, saved error) (old []byte, told string) {
	t.Helper()
	var bad []string
	got := Replace(path, func(err error) { bad = append(bad, err.Error()) }, func(f *File, next *Next) (error, error) {
		if f.Size > 0 {
			old = make([]byte, f.Size)
			if _, err := f.ReadAt(old, 0); err != nil {
				t.Error(err)
			}
		}
		if next == nil {
			return err, ErrKept
		}
		if data != nil {
			if _, e := next.Write(data); e != nil {
				return err, e
			}
			if next.File() == nil {
				t.Error("no file")
			}
			next.Write(nil)
		}
		return err, saved
	})
	if got != err {
		t.Errorf("%v, not %v", got, err)
	}
	return old, strings.Join(bad, "; ")
}

// TestReplace: what run says is what happens, and its error has nothing to do with it.
func TestReplace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "cache")
	first, second := cacheOf(t, some()[:5]...), cacheOf(t, some()[:6]...)
	now := []byte(nil)
	for i, c := range []struct {
		data       []byte
		err, saved error
		want       []byte
		told       string
	}{
		{nil, nil, ErrKept, nil, ""},
		{first, nil, nil, first, ""},
		{nil, errOops, ErrKept, first, ""},
		{second, errOops, nil, second, ""},
		{first, nil, errOops, second, "oops"},
		{first, nil, ErrKept, second, ""},
	} {
		before, _ := os.Stat(path)
		old, told := replace(t, path, c.data, c.err, c.saved)
		if !bytes.Equal(old, now) || told != c.told {
			t.Errorf("%d: %d bytes, told %q", i, len(old), told)
		}
		now, _ = os.ReadFile(path)
		if !bytes.Equal(now, c.want) {
			t.Errorf("%d: %d bytes, not %d", i, len(now), len(c.want))
		}
		if after, _ := os.Stat(path); c.saved != nil && before != nil && !os.SameFile(before, after) {
			t.Errorf("%d: another file", i)
		}
		if names, _ := os.ReadDir(dir); len(names) > 1 {
			t.Errorf("%d: left %v", i, names)
		}
	}
}

// TestForeign: what is no cache stays as it is, even when its user names it as one; of another version, it is replaced.
func TestForeign(t *testing.T) {
	for text, want := range map[string]string{
		". 0040755-0-0-0\n":       "is not a cache: it is neither used nor replaced",
		"ctbox":                   "",
		"":                        "",
		kind + "0\nwhat it was":   "",
		"\x00" + magic:            "is not a cache: it is neither used nor replaced",
		strings.Repeat("x", 9999): "is not a cache: it is neither used nor replaced",
	} {
		path := filepath.Join(t.TempDir(), "file")
		must(t, os.WriteFile(path, []byte(text), 0o644))
		cache := cacheOf(t)
		old, told := replace(t, path, cache, nil, nil)
		now, _ := os.ReadFile(path)
		if told != want || (want != "") != (string(now) == text) || want == "" && !bytes.Equal(now, cache) {
			t.Errorf("%.20q: told %q, now %.20q", text, told, now)
		}
		if want != "" && old != nil {
			t.Errorf("%.20q: used", text)
		}
	}
}

// TestOthers: what somebody else may have written gives nothing. If the file is one's own, the next one is safe, whatever the
// umask is.
func TestOthers(t *testing.T) {
	const owned, strange = "can be written by others: it is not used", "belongs to another user: it is neither used nor replaced"
	path := filepath.Join(t.TempDir(), "cache")
	cache := cacheOf(t, some()[:3]...)
	for _, c := range []struct {
		mode fs.FileMode
		uid  int
		told string
	}{
		{0o644, 0, ""}, {0o600, 0, ""}, {0o400, 0, ""}, {0o666, 0, owned}, {0o664, 0, owned}, {0o602, 0, owned},
		{0o644, 1, strange}, {0o600, 1, strange}, {0o666, 1, strange},
	} {
		if c.uid != 0 && os.Geteuid() != 0 {
			continue // only root gives files away
		}
		must(t, os.WriteFile(path, cache, 0o600))
		must(t, os.Chmod(path, c.mode))
		if c.uid != 0 {
			must(t, os.Chown(path, c.uid, c.uid))
		}
		old, told := replace(t, path, cacheOf(t, some()[:4]...), nil, nil)
		if told != c.told || (old == nil) != (told != "") {
			t.Errorf("%o of %d: told %q, got %d bytes", c.mode, c.uid, told, len(old))
		}
		now, err := os.ReadFile(path)
		if kept := bytes.Equal(now, cache); kept != (c.told == strange) {
			t.Errorf("%o of %d: kept: %v, %v", c.mode, c.uid, kept, err)
		}
		if fi, err := os.Stat(path); err != nil || c.told != strange && fi.Mode() != c.mode&^0o022 {
			t.Errorf("%o of %d: then %v, %v", c.mode, c.uid, fi.Mode(), err)
		}
		must(t, os.Remove(path))
	}
}

// TestUmask: a new cache is for one user even where others may write new files.
func TestUmask(t *testing.T) {
	defer unix.Umask(unix.Umask(0))
	path := filepath.Join(t.TempDir(), "cache")
	for range 2 {
		if _, told := replace(t, path, cacheOf(t), nil, nil); told != "" {
			t.Error(told)
		}
		if fi, err := os.Stat(path); err != nil || fi.Mode() != 0o644 {
			t.Errorf("%v, %v", fi.Mode(), err)
		}
	}
}

// TestNoFile: where there can be no cache, run goes on without, and what is wrong is told once.
func TestNoFile(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o644))
	must(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o644))
	must(t, os.Symlink("loop", filepath.Join(dir, "loop")))
	for path, want := range map[string]string{
		dir: "is not a regular file", dir + "/fifo": "is not a regular file", "/dev/null": "is not a regular file",
		dir + "/none/cache": fs.ErrNotExist.Error(), dir + "/file/cache": unix.ENOTDIR.Error(), dir + "/loop": unix.ELOOP.Error(),
		dir + "/" + strings.Repeat("n", 256): unix.ENAMETOOLONG.Error(),
	} {
		if want == fs.ErrNotExist.Error() {
			want = unix.ENOENT.Error()
		}
		if _, told := replace(t, path, cacheOf(t), nil, nil); told != want {
			t.Errorf("%s: told %q, not %q", path, told, want)
		}
	}
}

// TestLink: a symbolic link leads to the cache and stays.
func TestLink(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Symlink("cache", filepath.Join(dir, "link")))
	cache := cacheOf(t, some()[:3]...)
	for range 2 {
		if _, told := replace(t, filepath.Join(dir, "link"), cache, nil, nil); told != "" {
			t.Error(told)
		}
		if now, err := os.ReadFile(filepath.Join(dir, "cache")); !bytes.Equal(now, cache) {
			t.Error(err)
		}
	}
}

// TestAtOnce: however many replace a cache at once, each sees a whole one, and one stays.
func TestAtOnce(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "cache")
	var running sync.WaitGroup
	for n := range 6 {
		running.Go(func() {
			for i := range 10 {
				old, told := replace(t, path, cacheOf(t, some()[:10*n+i]...), nil, nil)
				if told != "" {
					t.Error(told)
				}
				if old == nil {
					continue
				}
				if _, err := read(old); err.Error() != "EOF" {
					t.Error(err)
				}
			}
		})
	}
	running.Wait()
	if names, _ := os.ReadDir(dir); len(names) != 1 {
		t.Errorf("left %v", names)
	}
}
