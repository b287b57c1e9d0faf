package output

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// hasMark is the sign of a directory that ReplaceDir may replace in these tests.
func hasMark(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "mark"))
	return err == nil
}

func fillWith(content string) func(string) error {
	return func(dir string) error {
		if err := os.Mkdir(filepath.Join(dir, "sub"), 0o777); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, "mark"), []byte(content), 0o666)
	}
}

func TestReplaceDir(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x")
	for _, content := range []string{"new", "again", "third"} {
		if err := ReplaceDir(path, hasMark, fillWith(content)); err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(filepath.Join(path, "mark")); err != nil || string(b) != content {
			t.Errorf("%q, %v, want %q", b, err, content)
		}
		wantNames(t, dir, "x")
	}
	if err := ReplaceDir(path, hasMark, func(string) error { return errors.New("no") }); err == nil || err.Error() != "no" {
		t.Error(err)
	}
	wantNames(t, dir, "x")
	wantNames(t, path, "mark", "sub")
	empty := filepath.Join(dir, "y")
	if err := errors.Join(os.Mkdir(empty, 0o777), ReplaceDir(empty+"/", hasMark, fillWith("y"))); err != nil {
		t.Error(err)
	}
	wantNames(t, empty, "mark", "sub")
}

func TestReplaceDirRefuses(t *testing.T) {
	dir := t.TempDir()
	full, file := filepath.Join(dir, "full"), filepath.Join(dir, "file")
	if err := errors.Join(os.MkdirAll(filepath.Join(full, "mine"), 0o777), os.WriteFile(file, nil, 0o666)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{full, file, filepath.Join(dir, "absent", "x"), filepath.Join(file, "x")} {
		filled := false
		err := ReplaceDir(path, hasMark, func(string) error { filled = true; return nil })
		if err == nil || filled {
			t.Errorf("%s: %v, filled: %v", path, err, filled)
		}
	}
	wantNames(t, dir, "file", "full")
	wantNames(t, full, "mine")
}

// A link leads to what is replaced, and stays.
func TestReplaceDirLink(t *testing.T) {
	dir := t.TempDir()
	real, link := filepath.Join(dir, "real"), filepath.Join(dir, "link")
	if err := errors.Join(ReplaceDir(real, hasMark, fillWith("a")), os.Symlink("real", link), ReplaceDir(link, hasMark, fillWith("b"))); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(real, "mark"))
	if to, _ := os.Readlink(link); to != "real" || err != nil || string(b) != "b" {
		t.Errorf("%q, %q, %v", to, b, err)
	}
	wantNames(t, dir, "link", "real")
}

// What a killed writer left is removed by the next one; what a living one works on is not.
func TestReplaceDirSweeps(t *testing.T) {
	dir := t.TempDir()
	dead, alive := filepath.Join(dir, ".x123456789012345678"), filepath.Join(dir, ".x234567890123456789")
	if err := errors.Join(os.MkdirAll(filepath.Join(dead, "blobs"), 0o777), os.Mkdir(alive, 0o777)); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(alive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if err := ReplaceDir(filepath.Join(dir, "x"), hasMark, fillWith("x")); err != nil {
		t.Fatal(err)
	}
	wantNames(t, dir, filepath.Base(alive), "x")
}

// Systems without an exchange do it in steps, with the same result.
func TestSwap(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	if err := errors.Join(os.Mkdir(a, 0o777), os.Mkdir(b, 0o777), fillWith("a")(a), swap(a, b)); err != nil {
		t.Fatal(err)
	}
	wantNames(t, a)
	wantNames(t, b, "mark", "sub")
	if err := swap(a, filepath.Join(dir, "absent")); err == nil {
		t.Error("no error")
	}
	wantNames(t, dir, "a", "b")
}

// What comes to be at the target while the new directory is filled is treated like what was there before.
func TestReplaceDirRace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x")
	err := ReplaceDir(path, hasMark, func(tmp string) error {
		return errors.Join(ReplaceDir(path, hasMark, fillWith("first")), fillWith("second")(tmp))
	})
	if b, e := os.ReadFile(filepath.Join(path, "mark")); err != nil || e != nil || string(b) != "second" {
		t.Errorf("%v, %v, %q", err, e, b)
	}
	wantNames(t, dir, "x")
	mine := filepath.Join(path, "mine")
	err = ReplaceDir(path, hasMark, func(tmp string) error {
		return errors.Join(os.RemoveAll(path), os.MkdirAll(mine, 0o777), fillWith("third")(tmp))
	})
	if err == nil {
		t.Error("replaced what is not ours")
	}
	wantNames(t, dir, "x")
	wantNames(t, path, "mine")
}

// TestRenamed: errors are about the name that the user gave, in each form that package os has for them.
func TestRenamed(t *testing.T) {
	for _, err := range []error{
		&fs.PathError{Op: "write", Path: "d/.x1/blobs", Err: unix.EIO},
		&os.LinkError{Op: "rename", Old: "d/.x1/a", New: "d/.x1/blobs", Err: unix.EIO},
	} {
		got, ok := renamed(err, "d/.x1", "d/x").(*fs.PathError)
		if !ok || got.Path != "d/x/blobs" || got.Err != unix.EIO {
			t.Errorf("%v becomes %v", err, got)
		}
	}
	if err := renamed(unix.EIO, "d/.x1", "d/x"); err != unix.EIO {
		t.Error(err)
	}
}

// A temporary directory that cannot be looked at is not one that has gone: another would not be seen either.
func TestClaim(t *testing.T) {
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	for name, want := range map[string]bool{dir.Name(): true, "/dev/null/x": true, dir.Name() + "/x": false} {
		fd, err := unix.Dup(int(dir.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(fd), name)
		if got := claim(f); got != want {
			t.Errorf("%s: %v", name, got)
		}
		f.Close()
	}
}
