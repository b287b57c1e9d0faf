package archive

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/list"
)

// TestStaysBeneath: a name that leads through a symbolic link is refused, wherever the link points.
func TestStaysBeneath(t *testing.T) {
	eachOpen(t, func(t *testing.T) {
		top := t.TempDir()
		write(t, top, "out/secret", "secret")
		write(t, top, "in/real/secret", "fine")
		for link, to := range map[string]string{
			"in/up": "../out", "in/abs": top + "/out", "in/inside": "real", "in/loop": "loop", "in/real/deep": "../../out",
			"in/proc": "/proc/self/cwd",
		} {
			must(t, os.Symlink(to, filepath.Join(top, link)))
		}
		d := openDir(t, filepath.Join(top, "in"))
		for _, name := range []string{"./up/secret", "./abs/secret", "./inside/secret", "./loop/x", "./real/deep/secret", "./proc/x", "./up/x/y"} {
			if _, err := d.Stat([]byte(name)); err != ErrSymlink {
				t.Errorf("%s: %v", name, err)
			}
		}
		if got := read(t, d, "./real/secret"); got != "fine" {
			t.Errorf("read %q", got)
		}
		if _, err := d.Stat([]byte("./real/secret/x")); !errors.Is(err, unix.ENOTDIR) {
			t.Errorf("below a file: %v", err)
		}
	})
}

// eachOpen runs a test with each way of opening a path.
func eachOpen(t *testing.T, test func(t *testing.T)) {
	t.Run("openat2", test)
	t.Run("openWalk", func(t *testing.T) {
		defer withoutOpenat2()()
		test(t)
	})
}

func read(t testing.TB, d *Dir, name string) string {
	t.Helper()
	st, err := d.Stat([]byte(name))
	must(t, err)
	c, err := d.Open([]byte(name), st)
	must(t, err)
	defer c.Close()
	text, err := io.ReadAll(c)
	must(t, err)
	must(t, c.Unchanged())
	return string(text)
}

// TestOpenOnlyWhatWasStatted replaces a file between Stat and Open by everything that it can become.
func TestOpenOnlyWhatWasStatted(t *testing.T) {
	for what, replace := range map[string]func(path string) error{
		"file":      func(p string) error { return os.WriteFile(p, []byte("text"), 0o644) },
		"twin":      twin,
		"directory": func(p string) error { return os.Mkdir(p, 0o755) },
		"symlink":   func(p string) error { return os.Symlink(p+".old", p) },
		"FIFO":      func(p string) error { return unix.Mkfifo(p, 0o644) },
		"nothing":   func(string) error { return nil },
		"socket":    func(p string) error { return unix.Mknod(p, unix.S_IFSOCK|0o644, 0) },
	} {
		t.Run(what, func(t *testing.T) {
			defer watchdog(t)()
			dir := t.TempDir()
			path := write(t, dir, "f", "text")
			d := openDir(t, dir)
			st, err := d.Stat([]byte("./f"))
			must(t, err)
			must(t, os.Rename(path, path+".old"))
			must(t, replace(path))
			if c, err := d.Open([]byte("./f"), st); err == nil {
				c.Close()
				t.Error("opened")
			}
		})
	}
}

// twin makes another file of the same size and time.
func twin(path string) error {
	old, err := os.Stat(path + ".old")
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, []byte("TEXT"), 0o644); err != nil {
		return err
	}
	return os.Chtimes(path, time.Time{}, old.ModTime())
}

// TestUnchanged: whoever writes to a file while it is read is noticed; whoever links or reads it is not.
func TestUnchanged(t *testing.T) {
	for what, c := range map[string]struct {
		change func(path string) error
		want   error
	}{
		"grown":   {func(p string) error { return os.WriteFile(p, []byte("longer"), 0o644) }, ErrRacing},
		"shrunk":  {func(p string) error { return os.Truncate(p, 1) }, ErrRacing},
		"touched": {func(p string) error { return os.Chtimes(p, time.Time{}, time.Unix(1, 1)) }, ErrRacing},
		"linked":  {func(p string) error { return os.Link(p, p+".link") }, nil},
		"chmod":   {func(p string) error { return os.Chmod(p, 0o400) }, nil},
		"nothing": {func(string) error { return nil }, nil},
	} {
		dir := t.TempDir()
		path := write(t, dir, "f", "text")
		d := openDir(t, dir)
		st, err := d.Stat([]byte("./f"))
		must(t, err)
		f, err := d.Open([]byte("./f"), st)
		must(t, err)
		must(t, c.change(path))
		if err := f.Unchanged(); err != c.want {
			t.Errorf("%s: %v", what, err)
		}
		f.Close()
	}
}

// watchdog fails a test that blocks, which no name may make us do.
func watchdog(t *testing.T) (stop func() bool) {
	return time.AfterFunc(20*time.Second, func() { panic(t.Name() + " blocks") }).Stop
}

// TestDeep: a tree far deeper than PATH_MAX, with the longest component there can be at the end.
func TestDeep(t *testing.T) {
	eachOpen(t, func(t *testing.T) {
		const depth, step = 5000, "/d"
		dir := t.TempDir()
		last := "/" + strings.Repeat("n", 255)
		name := "." + strings.Repeat(step, depth) + last
		makeDeep(t, dir, strings.Repeat("d/", depth), last[1:])
		defer removeDeep(t, dir)
		d := openDir(t, dir)
		if got := read(t, d, name); got != "deep" {
			t.Errorf("read %q", got)
		}
		if _, err := d.Stat([]byte(name + "n")); !errors.Is(err, unix.ENAMETOOLONG) {
			t.Errorf("component of 256 bytes: %v", err)
		}
		records := identifyDir(t, dir)
		if n := strings.Count(records, "\x00"); n != depth+2 || !strings.Contains(records, "\x00"+name+" 01") {
			t.Errorf("%d records", n)
		}
		_, err := pack(t, dir, records)
		must(t, err)
	})
}

// makeDeep makes a file below directories that no single path can name.
func makeDeep(t testing.TB, dir, dirs, file string) {
	t.Helper()
	fd, err := unix.Open(dir, openDirectory, 0)
	must(t, err)
	for part := range strings.SplitSeq(strings.TrimSuffix(dirs, "/"), "/") {
		must(t, unix.Mkdirat(fd, part, 0o755))
		next, err := unix.Openat(fd, part, openDirectory, 0)
		must(t, err)
		unix.Close(fd)
		fd = next
	}
	defer unix.Close(fd)
	f, err := unix.Openat(fd, file, unix.O_CREAT|unix.O_WRONLY, 0o644)
	must(t, err)
	defer unix.Close(f)
	_, err = unix.Write(f, []byte("deep"))
	must(t, err)
}

// removeDeep does what t.TempDir cannot.
func removeDeep(t testing.TB, dir string) {
	must(t, os.RemoveAll(filepath.Join(dir, "d")))
}

// TestReadlink: targets are bytes, of any length, and are never followed.
func TestReadlink(t *testing.T) {
	dir := t.TempDir()
	d := openDir(t, dir)
	for _, target := range []string{"a", "./self", "/", "\xff\xfe \n", strings.Repeat("a", 255), strings.Repeat("b", 256),
		strings.Repeat("c", 1023), strings.Repeat("d", 1024), strings.Repeat("e/", 2047) + "f"} {
		os.Remove(filepath.Join(dir, "self"))
		must(t, os.Symlink(target, filepath.Join(dir, "self")))
		if got, err := d.Readlink([]byte("./self")); string(got) != target || err != nil {
			t.Errorf("%.30q (%d bytes), %v instead of %.30q", got, len(got), err, target)
		}
	}
	write(t, dir, "file", "")
	if _, err := d.Readlink([]byte("./file")); err != ErrRacing {
		t.Errorf("not a link: %v", err)
	}
}

// TestStatTypes makes one file of each type and mode and compares with os.Lstat.
func TestStatTypes(t *testing.T) {
	dir := t.TempDir()
	defer unix.Umask(unix.Umask(0))
	for name, mode := range map[string]uint32{
		"fifo": unix.S_IFIFO | 0o601, "socket": unix.S_IFSOCK | 0o777, "plain": unix.S_IFREG, "setuid": unix.S_IFREG | 0o7777,
	} {
		must(t, unix.Mknod(filepath.Join(dir, name), mode, 0))
		must(t, unix.Chmod(filepath.Join(dir, name), mode&0o7777))
		st, err := openDir(t, dir).Stat([]byte("./" + name))
		must(t, err)
		if st.Mode != mode {
			t.Errorf("%s: %07o, not %07o", name, st.Mode, mode)
		}
	}
	st, err := openDir(t, "/dev").Stat([]byte("./null"))
	if err != nil || runtime.GOOS == "linux" && (st.Type() != list.CharDevice || st.Major != 1 || st.Minor != 3) {
		t.Errorf("/dev/null: %+v, %v", st, err)
	}
	if _, err := OpenDir(filepath.Join(dir, "plain")); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("OpenDir of a file: %v", err)
	}
	if _, err := OpenDir(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("OpenDir of nothing: %v", err)
	}
}

// TestNoDescriptorLeak opens, and fails to open, many names and counts descriptors before and after.
func TestNoDescriptorLeak(t *testing.T) {
	eachOpen(t, func(t *testing.T) {
		dir := t.TempDir()
		write(t, dir, "a/b/c/f", "text")
		must(t, os.Symlink("b", filepath.Join(dir, "a/link")))
		before := descriptors(t)
		d, err := OpenDir(dir)
		must(t, err)
		for range 50 {
			for _, name := range []string{".", "./a", "./a/b/c/f", "./a/link/c/f", "./a/none/c/f", "./a/b/c/f/x", "./a/b/c/none"} {
				if st, err := d.Stat([]byte(name)); err == nil && st.Type() == list.Regular {
					c, err := d.Open([]byte(name), st)
					must(t, err)
					must(t, c.Close())
					st.Size++
					_, err = d.Open([]byte(name), st)
					if err != ErrRacing {
						t.Error(err)
					}
				}
				d.Xattrs([]byte(name))
			}
			must(t, d.Walk(true, func([]byte) error { return nil }, func(err error) { t.Error(err) }))
		}
		must(t, d.Share().Close())
		must(t, d.Close())
		if after := descriptors(t); after != before {
			t.Errorf("%d descriptors, %d before", after, before)
		}
	})
}

func descriptors(t *testing.T) int {
	t.Helper()
	open, err := os.ReadDir("/dev/fd")
	must(t, err)
	return len(open)
}

// TestReadErrors: what the kernel says of a file that cannot be read is passed on.
func TestReadErrors(t *testing.T) {
	f := file{fd: -1}
	if _, err := f.Read(make([]byte, 1)); !errors.Is(err, unix.EBADF) {
		t.Error(err)
	}
	if err := f.Unchanged(); !errors.Is(err, unix.EBADF) {
		t.Error(err)
	}
	if err := drain(io.MultiReader(strings.NewReader("x"), &f), 2, nullHash{}, make([]byte, 8), nil); !errors.Is(err, unix.EBADF) {
		t.Error(err)
	}
	if err := drain(strings.NewReader("xyz"), 2, nullHash{}, make([]byte, 8), nil); err != ErrRacing {
		t.Error(err)
	}
	if err := drain(bytes.NewReader(nil), 2, nullHash{}, make([]byte, 1), nil); err != ErrRacing {
		t.Error(err)
	}
}

type nullHash struct{}

func (nullHash) Write(p []byte) (int, error) { return len(p), nil }
func (nullHash) Sum(b []byte) []byte         { return b }
func (nullHash) Reset()                      {}
func (nullHash) Size() int                   { return 0 }
func (nullHash) BlockSize() int              { return 1 }
