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

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/list"
	"github.com/ctbox/ctbox/tests/failtest"
)

// opening is openat(2) with a flag.
func opening(flag uint32, err unix.Errno) failtest.Call {
	return failtest.Call{Number: unix.SYS_OPENAT, Err: err, Arg: 2, Mask: flag, Value: flag}
}

// during is failtest.During for what has a result.
func during(t *testing.T, f func() error, calls ...failtest.Call) (err error) {
	t.Helper()
	failtest.During(t, func() { err = f() }, calls...)
	return err
}

// TestDirFaults: what the kernel says of a name is told, by each question that a Dir answers.
func TestDirFaults(t *testing.T) {
	top := t.TempDir()
	write(t, top, "d/f", "text")
	must(t, os.Symlink("target", filepath.Join(top, "d/l")))
	d := openDir(t, top)
	st, err := d.Stat([]byte("./d/f"))
	must(t, err)
	questions := map[string]func(name []byte) error{
		"Stat":        func(name []byte) error { _, err := d.Stat(name); return err },
		"Readlink":    func(name []byte) error { _, err := d.Readlink(name); return err },
		"Open":        func(name []byte) error { _, err := d.Open(name, st); return err },
		"openRegular": func(name []byte) error { _, err := d.openRegular(name); return err },
		"Xattrs":      func(name []byte) error { _, err := d.Xattrs(name); return err },
		"Mark":        func(name []byte) error { _, _, err := d.Mark(name, "user.a"); return err },
		"list":        func(name []byte) error { _, err := d.list(name); return err },
		"volume":      func(name []byte) error { _, err := d.volume(name, &volume{dev: st.Dev}); return err },
		"Born": func(name []byte) error {
			if sec, nsec, ok := d.Born(name); ok || sec != 0 || nsec != 0 {
				t.Errorf("%s was born at %d.%d", name, sec, nsec)
			}
			return nil
		},
	}
	for what, ask := range questions {
		for name, want := range map[string]error{"./d/l/x": ErrSymlink, "./none/x": unix.ENOENT, "./d/f/x": unix.ENOTDIR, "./none": unix.ENOENT} {
			if err := ask([]byte(name)); what != "Born" && !errors.Is(err, want) {
				t.Errorf("%s of %s: %v, want %v", what, name, err, want)
			}
		}
	}
	for _, c := range []struct {
		what, name string
		want       error
		call       failtest.Call
	}{
		{"Stat", "./d/f", unix.EIO, failtest.Call{Number: unix.SYS_NEWFSTATAT, Err: unix.EIO}},
		{"Readlink", "./d/l", unix.EIO, failtest.Call{Number: unix.SYS_READLINKAT, Err: unix.EIO}},
		{"Open", "./d/f", unix.EMFILE, failtest.Call{Number: unix.SYS_OPENAT, Err: unix.EMFILE}},
		{"Open", "./d/f", unix.EIO, failtest.Call{Number: unix.SYS_FSTAT, Err: unix.EIO}},
		{"openRegular", "./d/f", unix.EIO, failtest.Call{Number: unix.SYS_FSTAT, Err: unix.EIO}},
		{"Xattrs", "./d", unix.EMFILE, failtest.Call{Number: unix.SYS_OPENAT, Err: unix.EMFILE}},
		{"Xattrs", "./d", unix.EIO, failtest.Call{Number: unix.SYS_FLISTXATTR, Err: unix.EIO}},
		{"Mark", "./d/f", unix.EIO, failtest.Call{Number: unix.SYS_LGETXATTR, Err: unix.EIO}},
		{"volume", "./d/f", unix.EIO, failtest.Call{Number: unix.SYS_FSTAT, Err: unix.EIO}},
		{"volume", "./d/f", unix.EIO, failtest.Call{Number: unix.SYS_FSTATFS, Err: unix.EIO}},
	} {
		open := descriptors(t)
		if err := during(t, func() error { return questions[c.what]([]byte(c.name)) }, c.call); !errors.Is(err, c.want) {
			t.Errorf("%s of %s: %v, want %v", c.what, c.name, err, c.want)
		}
		if n := descriptors(t); n != open {
			t.Errorf("%s of %s: %d descriptors, %d before", c.what, c.name, n, open)
		}
	}
	if err := during(t, func() error { return questions["Readlink"]([]byte("./d/l")) }, failtest.Call{Number: unix.SYS_READLINKAT}); err == nil {
		t.Error("a symbolic link to nothing")
	}
	// What was a regular file a moment ago, and is none.
	if _, err := d.openRegular([]byte("./d")); !errors.Is(err, ErrRacing) {
		t.Errorf("openRegular of a directory: %v", err)
	}
	if sec, _, ok := d.Born([]byte("./d/f")); ok && (sec < st.Sec-1 || sec > st.Sec) {
		t.Errorf("it was born at %d and written at %d", sec, st.Sec)
	}
}

// TestOpenFaults: Dir works with what there is of openat2(2) and O_NOATIME, and where its tree is renamed in meanwhile.
func TestOpenFaults(t *testing.T) {
	top := t.TempDir()
	write(t, top, "d/f", "text")
	defer withoutOpenat2()() // as it may be found
	for name, call := range map[string]failtest.Call{
		"renamed":     {Number: unix.SYS_OPENAT2, Err: unix.EAGAIN, Times: 3},
		"interrupted": {Number: unix.SYS_OPENAT2, Err: unix.EINTR, Times: 3},
		"unknown":     {Number: unix.SYS_OPENAT2, Err: unix.ENOSYS},
		"forbidden":   {Number: unix.SYS_OPENAT2, Err: unix.EPERM},
		"not ours":    opening(unix.O_NOATIME, unix.EPERM),
	} {
		noOpenat2.Store(false)
		var text []byte
		err := during(t, func() error {
			d, err := OpenDir(top)
			if err != nil {
				return err
			}
			defer d.Close()
			st, err := d.Stat([]byte("./d/f"))
			if err != nil {
				return err
			}
			c, err := d.Open([]byte("./d/f"), st)
			if err != nil {
				return err
			}
			defer c.Close()
			text, err = io.ReadAll(c)
			return err
		}, call)
		if string(text) != "text" || err != nil {
			t.Errorf("%s: %q, %v", name, text, err)
		}
		if lacks := call.Number == unix.SYS_OPENAT2 && call.Times == 0; noOpenat2.Load() != lacks {
			t.Errorf("%s: openat2 is not there: %v", name, !lacks)
		}
	}
	noOpenat2.Store(false)
	d := openDir(t, top)
	err := during(t, func() error { _, err := d.Stat([]byte("./d/f")); return err }, failtest.Call{Number: unix.SYS_OPENAT2, Err: unix.EAGAIN})
	if !errors.Is(err, unix.EAGAIN) {
		t.Errorf("renamed in for ever: %v", err)
	}
}

// TestNulInNames: no name is looked at only to its first zero.
func TestNulInNames(t *testing.T) {
	top := t.TempDir()
	write(t, top, "f", "text")
	must(t, os.Symlink("target", filepath.Join(top, "l")))
	d := openDir(t, top)
	var raw unix.Stat_t
	_, err1 := openat(d.top.fd, []byte("f\x00x"), unix.O_RDONLY)
	_, err2 := readlinkat(d.top.fd, []byte("l\x00x"), make([]byte, 9))
	for _, err := range []error{fstatat(d.top.fd, []byte("f\x00x"), &raw), err1, err2} {
		if err != unix.EINVAL {
			t.Error(err)
		}
	}
}

// TestUnreadableXattrs: attributes of a directory that may not be read are found by its path.
func TestUnreadableXattrs(t *testing.T) {
	d := openDir(t, attributed(t, map[string]string{"user.a": "1"}))
	var got []Xattr
	err := during(t, func() (err error) { got, err = d.Xattrs([]byte("./d")); return err }, opening(unix.O_DIRECTORY, unix.EACCES))
	if err != nil || len(got) != 1 || got[0].Name != "user.a" || string(got[0].Value) != "1" {
		t.Errorf("%v, %v", got, err)
	}
	// An attribute that cannot be read is not one that is not there.
	for name, call := range map[string]failtest.Call{
		"list": {Number: unix.SYS_FLISTXATTR, Err: unix.EIO}, "value": {Number: unix.SYS_FGETXATTR, Err: unix.EIO},
	} {
		if err := during(t, func() error { _, err := d.Xattrs([]byte("./d")); return err }, call); !errors.Is(err, unix.EIO) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestWriteFaults: a write that is interrupted goes on, and one that writes nothing is an error, not an endless try.
func TestWriteFaults(t *testing.T) {
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	must(t, err)
	defer out.Close()
	large := filepath.Join(t.TempDir(), "large")
	must(t, os.WriteFile(large, bytes.Repeat([]byte("x"), enoughToSend), 0o644))
	in, err := os.Open(large)
	must(t, err)
	defer in.Close()
	for _, c := range []struct {
		call failtest.Call
		want error
	}{
		{failtest.Call{Number: unix.SYS_WRITEV, Err: unix.EINTR, Times: 2}, nil},
		{failtest.Call{Number: unix.SYS_WRITEV}, io.ErrShortWrite},
		{failtest.Call{Number: unix.SYS_WRITEV, Err: unix.ENOSPC}, unix.ENOSPC},
		{failtest.Call{Number: unix.SYS_COPY_FILE_RANGE, Err: unix.EINTR, Times: 2}, nil},
		{failtest.Call{Number: unix.SYS_COPY_FILE_RANGE, Err: unix.EXDEV}, nil},
	} {
		must(t, out.Truncate(0))
		out.Seek(0, io.SeekStart)
		in.Seek(0, io.SeekStart)
		b := newBuffer(out)
		err := during(t, func() error {
			if err := b.write([]byte("head")); err != nil {
				return err
			}
			if err := b.copy(&file{fd: int(in.Fd())}, enoughToSend, nil); err != nil {
				return err
			}
			return b.flush()
		}, c.call)
		text, _ := os.ReadFile(out.Name())
		if !errors.Is(err, c.want) || err == nil && len(text) != enoughToSend+len("head") {
			t.Errorf("%+v: %d bytes, %v", c.call, len(text), err)
		}
	}
}

// TestWalkFaults: what cannot be read is told with its name, and nothing is left out without a word.
func TestWalkFaults(t *testing.T) {
	top := t.TempDir()
	write(t, top, "d/f", "text")
	walk := func(d *Dir, oneFS bool) (names []string, err error) {
		var failed []error
		err = d.Walk(oneFS, func(name []byte) error { names = append(names, string(name)); return nil },
			func(err error) { failed = append(failed, err) })
		return names, errors.Join(append(failed, err)...)
	}
	for name, c := range map[string]struct {
		call  failtest.Call
		oneFS bool
		want  string
	}{
		"root":           {failtest.Call{Number: unix.SYS_NEWFSTATAT, Err: unix.EIO}, false, "[] input/output error"},
		"directory":      {failtest.Call{Number: unix.SYS_NEWFSTATAT, Err: unix.EIO, After: 2}, true, "[. ./d] ./d: input/output error"},
		"names":          {failtest.Call{Number: unix.SYS_GETDENTS64, Err: unix.EIO}, false, "[.] .: input/output error"},
		"interrupted":    {failtest.Call{Number: unix.SYS_GETDENTS64, Err: unix.EINTR, Times: 2}, false, "[. ./d ./d/f] <nil>"},
		"damaged":        {failtest.Call{Number: unix.SYS_GETDENTS64, Returns: direntName + 1}, false, "[.] .: file system returned a damaged directory"},
		"not to be read": {opening(unix.O_DIRECTORY|unix.O_NOFOLLOW, unix.EACCES), false, "[.] .: permission denied"},
	} {
		d := openDir(t, top)
		var names []string
		err := during(t, func() (err error) { names, err = walk(d, c.oneFS); return err }, c.call)
		if got := fmt.Sprint(names, " ", err); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	w := walker{dir: openDir(t, top), buf: make([]byte, direntBuffer), spare: []*entries{{chunks: make([][]byte, mostChunks+1)}}}
	if _, err := w.list([]byte(".")); err == nil || err.Error() != "directory is too large" {
		t.Error(err)
	}
}

// TestWalkOneFS names what is mounted, and stays out of it.
func TestWalkOneFS(t *testing.T) {
	top := t.TempDir()
	write(t, top, "a/mounted/under", "")
	write(t, top, "z", "")
	mounted := filepath.Join(top, "a/mounted")
	if err := unix.Mount("tmpfs", mounted, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("mount tmpfs: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(mounted, unix.MNT_DETACH) })
	write(t, mounted, "in", "")
	for oneFS, want := range map[bool]string{true: ". ./a ./a/mounted ./z", false: ". ./a ./a/mounted ./a/mounted/in ./z"} {
		var names []string
		must(t, openDir(t, top).Walk(oneFS, func(name []byte) error { names = append(names, string(name)); return nil },
			func(err error) { t.Error(err) }))
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%v: %s, want %s", oneFS, got, want)
		}
	}
}

// TestTypeOf: where a file system does not say with a name what it is, that is asked for.
func TestTypeOf(t *testing.T) {
	top := t.TempDir()
	write(t, top, "d/f", "text")
	d := openDir(t, top+"/d")
	for name, want := range map[string]uint32{"f": list.Regular, "..": list.Directory, "none": 0} {
		if got := typeOf(d.top.fd, []byte(name), unix.DT_UNKNOWN); got != want {
			t.Errorf("%s: %o, want %o", name, got, want)
		}
	}
}

// TestSettledFault: without a clock nothing is settled.
func TestSettledFault(t *testing.T) {
	var got instant
	failtest.During(t, func() { got = settled() }, failtest.Call{Number: unix.SYS_CLOCK_GETTIME, Err: unix.EINVAL})
	if got != (instant{}) || settled() == (instant{}) {
		t.Errorf("%v and %v", got, settled())
	}
}

// TestInitFaults: a program that cannot be looked at is not the guest's init.
func TestInitFaults(t *testing.T) {
	path := write(t, t.TempDir(), "init", "\x7fELF\x02\x01\x01"+strings.Repeat("\x00", 100))
	must(t, os.Chmod(path, 0o755))
	open := func() error {
		f, err := OpenInit(path)
		if err == nil {
			f.Close()
		}
		return err
	}
	if err := during(t, open, failtest.Call{Number: unix.SYS_FSTAT, Err: unix.EIO}); !errors.Is(err, unix.EIO) {
		t.Error(err)
	}
	must(t, open())
	for name, call := range map[string]failtest.Call{
		"stat": {Number: unix.SYS_FSTAT, Err: unix.EIO}, "read": {Number: unix.SYS_PREAD64, Err: unix.EIO},
	} {
		f, err := OpenInit(path)
		must(t, err)
		err = during(t, func() error {
			i := Initrd{Init: f, newc: NewNewcWriter(io.Discard)}
			return i.addInit(nil)
		}, call)
		if !errors.Is(err, unix.EIO) || !strings.HasPrefix(err.Error(), path+": ") && !strings.HasPrefix(err.Error(), "stat ") {
			t.Errorf("%s: %v", name, err)
		}
		f.Close()
	}
}

// TestCachedWalkFault: what cannot be read is no directory without names, and does not become one in the cache.
func TestCachedWalkFault(t *testing.T) {
	c := newCached(t)
	write(t, c.dir, "f", "text")
	got := c.run(func(x *Identify, d *Dir) error {
		return x.run(func(f *feeder) error {
			return during(t, func() error { return d.walk(walker{feed: f, each: f.name, fail: x.Fail}) },
				failtest.Call{Number: unix.SYS_GETDENTS64, Err: unix.EIO})
		})
	})
	if !strings.Contains(got, ".: input/output error\x00") || strings.Contains(got, "./f") {
		t.Errorf("%q", got)
	}
	if again := c.list(); !strings.Contains(again, "./f ") {
		t.Errorf("%q", again)
	}
}
