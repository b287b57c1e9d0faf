package output

import (
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/tests/failtest"
)

// Calls that these tests let fail: openat(2) for reading, and newfstatat(2) that follows links.
var (
	reading   = failtest.Call{Number: unix.SYS_OPENAT, Mask: unix.O_ACCMODE, Value: unix.O_RDONLY, Arg: 2}
	following = failtest.Call{Number: unix.SYS_NEWFSTATAT, Mask: unix.AT_SYMLINK_NOFOLLOW, Arg: 3}
)

func with(c failtest.Call, err unix.Errno, after, times int) failtest.Call {
	c.Err, c.After, c.Times = err, after, times
	return c
}

// Whatever fails is told under the name that was asked for, and leaves the old file and nothing else.
func TestWriteFaults(t *testing.T) {
	for name, c := range map[string]struct {
		call failtest.Call
		want string // the file's content then; the error is told if it is old
		err  bool   // or else
	}{
		"look":            {with(following, unix.EIO, 0, 0), "old", true},
		"create":          {failtest.Call{Number: unix.SYS_OPENAT, Err: unix.ENOSPC, Arg: 2, Mask: unix.O_CREAT, Value: unix.O_CREAT}, "old", true},
		"second name":     {failtest.Call{Number: unix.SYS_FCNTL, Err: unix.EMFILE, Arg: 1, Mask: 0xffff, Value: unix.F_DUPFD_CLOEXEC}, "old", true},
		"write":           {failtest.Call{Number: unix.SYS_WRITE, Err: unix.EDQUOT, Arg: 2, Mask: 1<<32 - 1, Value: 3}, "old", true}, // not what package testing logs meanwhile
		"flush":           {failtest.Call{Number: unix.SYS_FSYNC, Err: unix.EIO}, "old", true},
		"rename":          {failtest.Call{Number: unix.SYS_RENAMEAT, Err: unix.EACCES}, "old", true},
		"directory":       {failtest.Call{Number: unix.SYS_FSYNC, Err: unix.EIO, After: 1}, "new", true}, // too late for the old one
		"no such flush":   {failtest.Call{Number: unix.SYS_FSYNC, Err: unix.EINVAL, After: 1}, "new", false},
		"not to be read":  {with(reading, unix.EACCES, 0, 0), "new", false},
		"no locks":        {failtest.Call{Number: unix.SYS_FLOCK, Err: unix.ENOLCK}, "new", false},
		"swept at once":   {failtest.Call{Number: unix.SYS_FLOCK, Err: unix.EWOULDBLOCK, Times: 1}, "new", false},
		"swept and swept": {failtest.Call{Number: unix.SYS_FLOCK, Err: unix.EWOULDBLOCK, Times: 5}, "new", false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "out")
			write(t, path, "old")
			var err error
			failtest.During(t, func() {
				err = Target{Path: path}.Write(func(w io.Writer) error {
					if strings.HasPrefix(name, "swept") {
						wantLocked(t, path)
					}
					return text("new")(w)
				})
			}, c.call)
			if (err != nil) != c.err || c.err && (!errors.Is(err, c.call.Err) || !strings.Contains(err.Error(), dir)) {
				t.Errorf("got %v", err)
			}
			if _, isRename := errors.AsType[*os.LinkError](err); err != nil && !isRename && strings.Contains(err.Error(), "/.") {
				t.Errorf("the name of the temporary file is told: %v", err)
			}
			wantFile(t, path, c.want)
			wantNames(t, dir, "out")
		})
	}
}

// wantLocked fails unless the temporary file of path is there, once, and locked.
func wantLocked(t *testing.T, path string) {
	t.Helper()
	temps, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*"))
	if err != nil || len(temps) != 1 {
		t.Errorf("%q, %v", temps, err)
		return
	}
	f, err := os.Open(temps[0])
	if err != nil {
		t.Error(err)
		return
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); err != unix.EWOULDBLOCK {
		t.Errorf("a temporary file that is not locked: %v", err)
	}
}

// Targets that are there and cannot be written.
func TestTargetFaults(t *testing.T) {
	t.Chdir(t.TempDir())
	listener, err := net.Listen("unix", "socket")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	long := strings.Repeat("n", 256)
	for path, want := range map[string]error{
		"/dev/fd/999": unix.EBADF, "socket": unix.ENXIO, long: unix.ENAMETOOLONG, "/proc/ctbox": unix.ENOENT,
	} {
		if err := (Target{Path: path}).Write(text("x")); !errors.Is(err, want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
		if path == "socket" || strings.HasPrefix(path, "/dev") {
			continue
		}
		if err := ReplaceDir(path, hasMark, fillWith("x")); !errors.Is(err, want) || !strings.Contains(err.Error(), path) {
			t.Errorf("directory %s: %v, want %v", path, err, want)
		}
	}
	if _, err := replaceable(long, hasMark); !errors.Is(err, unix.ENAMETOOLONG) {
		t.Error(err)
	}
	// What comes to be there meanwhile is not replaced by a file.
	err = Target{Path: "late"}.Write(func(io.Writer) error { return os.MkdirAll("late/mine", 0o777) })
	if err == nil {
		t.Error("a file in place of a directory")
	}
	wantNames(t, "late", "mine")
	// A link that cannot be read, and one that has the name of a temporary file and is nobody's.
	if err := errors.Join(os.WriteFile("file", []byte("old"), 0o666), os.Symlink("file", "link"), os.Symlink("file", ".file123456789012345")); err != nil {
		t.Fatal(err)
	}
	failtest.During(t, func() { err = Target{Path: "link"}.Write(text("x")) }, failtest.Call{Number: unix.SYS_READLINKAT, Err: unix.EIO})
	if !errors.Is(err, unix.EIO) {
		t.Errorf("link: %v", err)
	}
	wantFile(t, "file", "old")
	write(t, "file", "new")
	wantNames(t, ".", ".file123456789012345", "file", "late", "link", "socket")
}

// The same for a directory: the old one stays whole, and what was made beside it goes.
func TestReplaceDirFaults(t *testing.T) {
	const exchanging = 2 // RENAME_EXCHANGE
	exchange := failtest.Call{Number: unix.SYS_RENAMEAT2, Arg: 4, Mask: exchanging, Value: exchanging}
	rename := failtest.Call{Number: unix.SYS_RENAMEAT}
	for name, c := range map[string]struct {
		calls []failtest.Call
		want  string
	}{
		"make":                   {[]failtest.Call{{Number: unix.SYS_MKDIRAT, Err: unix.ENOSPC}}, "old"},
		"open":                   {[]failtest.Call{with(reading, unix.EMFILE, 0, 0)}, "old"},
		"swept unopened":         {[]failtest.Call{with(reading, unix.ENOENT, 1, 1)}, "new"}, // after that of sweep
		"swept unlocked":         {[]failtest.Call{{Number: unix.SYS_FLOCK, Err: unix.EWOULDBLOCK, Times: 2}}, "new"},
		"flush":                  {[]failtest.Call{{Number: unix.SYS_FSYNC, Err: unix.EIO}}, "old"},
		"exchange":               {[]failtest.Call{with(exchange, unix.EIO, 0, 0)}, "old"},
		"no exchange":            {[]failtest.Call{with(exchange, unix.EINVAL, 0, 0)}, "new"},
		"no exchange, nor aside": {[]failtest.Call{with(exchange, unix.ENOSYS, 0, 0), with(rename, unix.EIO, 0, 0)}, "old"},
		"no exchange, nor back":  {[]failtest.Call{with(exchange, unix.ENOSYS, 0, 0), with(rename, unix.EIO, 1, 1)}, "old"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "x")
			if err := ReplaceDir(path, hasMark, fillWith("old")); err != nil {
				t.Fatal(err)
			}
			var err error
			failtest.During(t, func() {
				err = ReplaceDir(path, hasMark, func(tmp string) error {
					wantLocked(t, path)
					return fillWith("new")(tmp)
				})
			}, c.calls...)
			last := c.calls[len(c.calls)-1].Err
			if c.want == "old" && !errors.Is(err, last) || c.want == "new" && err != nil {
				t.Errorf("got %v", err)
			}
			wantFile(t, filepath.Join(path, "mark"), c.want)
			wantNames(t, dir, "x")
		})
	}
}

// Trees that cannot be brought to disk, or put in place, are not.
func TestFillFaults(t *testing.T) {
	for name, fill := range map[string]func(tmp string) error{
		"gone":     os.Remove,
		"dangling": func(tmp string) error { return os.Symlink("nowhere", filepath.Join(tmp, "link")) },
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "x")
		err := ReplaceDir(path, hasMark, fill)
		if !errors.Is(err, unix.ENOENT) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
		wantNames(t, dir)
	}
}

// lacking skips a test that cannot run here. Where CI=true says that everything must be here, it fails.
func lacking(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// As the first process of a container, too, ctbox ends when it is told to, with the status that a shell would give.
func TestSignalToFirstProcess(t *testing.T) {
	for _, role := range []string{"hang", "nameless"} {
		dir := t.TempDir()
		path := filepath.Join(dir, "out")
		write(t, path, "old")
		cmd := exec.Command(os.Args[0], path)
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWPID,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		}
		if err := begin(t, role, cmd); err != nil {
			lacking(t, "no namespaces: "+err.Error())
		}
		cmd.Process.Signal(unix.SIGTERM)
		cmd.Wait()
		if cmd.ProcessState.ExitCode() != 128+int(unix.SIGTERM) {
			t.Errorf("%s: %v", role, cmd.ProcessState)
		}
		wantFile(t, path, "old")
		wantNames(t, dir, "out")
	}
}

// Where a file cannot be made without a name, it is made with one that is taken away.
func TestUnnamedFaults(t *testing.T) {
	nameless := failtest.Call{Number: unix.SYS_OPENAT, Err: unix.EOPNOTSUPP, Arg: 2, Mask: unix.O_TMPFILE, Value: unix.O_TMPFILE}
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	var f *os.File
	var err error
	failtest.During(t, func() { f, err = Unnamed("") }, nameless)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	wantNames(t, dir)
	failtest.During(t, func() { _, err = Unnamed("") }, nameless, failtest.Call{Number: unix.SYS_UNLINKAT, Err: unix.EACCES})
	if !errors.Is(err, unix.EACCES) || !strings.Contains(err.Error(), "create "+dir+": ") {
		t.Error(err)
	}
}

// What cannot be made as long as it is to be is an error, in place and on the way.
func TestSparseFaults(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for _, w := range []io.Writer{f, null, io.Discard} {
		failtest.During(t, func() { err = Sparse(w, fillSparse) }, failtest.Call{Number: unix.SYS_FTRUNCATE, Err: unix.EFBIG})
		if !errors.Is(err, unix.EFBIG) {
			t.Errorf("%T: %v", w, err)
		}
	}
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "absent"))
	if err := Sparse(io.Discard, fillSparse); !errors.Is(err, unix.ENOENT) {
		t.Error(err)
	}
}
