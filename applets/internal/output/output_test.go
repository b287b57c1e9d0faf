package output

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// text makes a fill that writes s.
func text(s string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, s)
		return err
	}
}

func write(t *testing.T, path, s string) {
	t.Helper()
	if err := (Target{Path: path}).Write(text(s)); err != nil {
		t.Fatal(err)
	}
}

func wantFile(t *testing.T, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s holds %q, want %q", path, got, want)
	}
}

// wantNames fails unless dir holds these names and no others: no temporary file above all.
func wantNames(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("%s holds %q, want %q", dir, got, want)
	}
}

func TestStdout(t *testing.T) {
	for _, path := range []string{"", "-"} {
		var out bytes.Buffer
		if err := (Target{Path: path, Stdout: &out, Binary: true}).Write(text("data")); err != nil || out.String() != "data" {
			t.Errorf("path %q: %q, %v", path, out.String(), err)
		}
	}
	file, err := os.Create(filepath.Join(t.TempDir(), "no terminal"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := (Target{Stdout: file, Binary: true}).Write(text("data")); err != nil {
		t.Errorf("file: %v", err)
	}
	wantFile(t, file.Name(), "data")
}

func TestNewFileAndReplacement(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out")
	write(t, path, "one")
	wantFile(t, path, "one")
	write(t, path, "two, longer")
	wantFile(t, path, "two, longer")
	wantNames(t, dir, "out")
}

// A relative name, one with a dot, and one through a link to a directory followed by "..": the kernel goes
// to the parent of what the link names, not back to where the link lies.
func TestNames(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.MkdirAll("far/away", 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("far/away", "link"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("link/../by-link", "l"); err != nil {
		t.Fatal(err)
	}
	write(t, "plain", "1")
	write(t, "./dotted", "2")
	write(t, "link/../parent", "3")
	write(t, "link/inside", "4")
	write(t, "l", "5")
	wantNames(t, ".", "dotted", "far", "l", "link", "plain")
	wantNames(t, "far", "away", "by-link", "parent")
	wantFile(t, "far/away/inside", "4")
	wantFile(t, "far/by-link", "5")
}

func TestLongestName(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, strings.Repeat("n", 234), "fits with a dot and twenty digits")
	err := Target{Path: strings.Repeat("n", 255)}.Write(text("x"))
	if !errors.Is(err, unix.ENAMETOOLONG) {
		t.Errorf("255 bytes: %v", err)
	}
	wantNames(t, ".", strings.Repeat("n", 234))
}

func TestSymlinkIsFollowed(t *testing.T) {
	for name, prepare := range map[string]func(){
		"whole":    func() { os.WriteFile("file", []byte("old"), 0o666) },
		"dangling": func() {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			prepare()
			os.Symlink("file", "second")
			os.Symlink("second", "first")
			write(t, "first", "new")
			wantFile(t, "file", "new")
			for link, want := range map[string]string{"first": "second", "second": "file"} {
				if to, err := os.Readlink(link); err != nil || to != want {
					t.Errorf("%s: %q, %v", link, to, err)
				}
			}
		})
	}
}

func TestSymlinkLoop(t *testing.T) {
	t.Chdir(t.TempDir())
	os.Symlink("a", "b")
	os.Symlink("b", "a")
	if err := (Target{Path: "a"}).Write(text("x")); !errors.Is(err, unix.ELOOP) {
		t.Errorf("got %v", err)
	}
}

// What cannot be written must be known before fill runs: a build may take an hour.
func TestRefusedBeforeFill(t *testing.T) {
	t.Chdir(t.TempDir())
	os.Mkdir("dir", 0o777)
	os.Symlink("dir", "link")
	os.WriteFile("file", nil, 0o666)
	for path, want := range map[string]string{
		"dir":           "dir: is a directory",
		"dir/":          "dir/: is a directory",
		"dir/.":         "dir/.: is a directory",
		"link":          "link: is a directory",
		"missing/file":  "open missing/file: no such file or directory",
		"missing/":      "stat missing/: no such file or directory",
		"file/under":    "open file/under: not a directory",
		"file/":         "stat file/: not a directory",
		"link/../../..": "link/../../..: is a directory",
	} {
		err := Target{Path: path}.Write(func(io.Writer) error {
			t.Errorf("%s: fill was called", path)
			return nil
		})
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
	wantNames(t, ".", "dir", "file", "link")
}

func TestFailingFillLeavesOldFile(t *testing.T) {
	t.Chdir(t.TempDir())
	broken := errors.New("broken")
	fill := func(w io.Writer) error {
		io.WriteString(w, "half of it")
		return broken
	}
	if err := (Target{Path: "out"}).Write(fill); err != broken {
		t.Errorf("new file: %v", err)
	}
	wantNames(t, ".")
	write(t, "out", "old")
	if err := (Target{Path: "out"}).Write(fill); err != broken {
		t.Errorf("old file: %v", err)
	}
	wantFile(t, "out", "old")
	wantNames(t, ".", "out")
}

func TestMode(t *testing.T) {
	for _, umask := range []int{0, 0o022, 0o077, 0o777} {
		t.Run("", func(t *testing.T) {
			t.Chdir(t.TempDir())
			old := unix.Umask(umask)
			err := Target{Path: "new"}.Write(text("x"))
			unix.Umask(old)
			if err != nil {
				t.Fatal(err)
			}
			wantMode(t, "new", 0o666&^fs.FileMode(umask))
		})
	}
	t.Run("replaced", func(t *testing.T) {
		t.Chdir(t.TempDir())
		for _, mode := range []fs.FileMode{0o444, 0o600, 0o755} {
			os.WriteFile("old", []byte("old"), 0o600)
			os.Chmod("old", mode)
			write(t, "old", "new")
			wantFile(t, "old", "new")
			wantMode(t, "old", mode)
			os.Remove("old")
		}
	})
}

func wantMode(t *testing.T, path string, want fs.FileMode) {
	t.Helper()
	fi, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if fi.Mode().Perm() != want {
		t.Errorf("%s has mode %o, want %o", path, fi.Mode().Perm(), want)
	}
}

func TestFIFO(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := unix.Mkfifo("fifo", 0o666); err != nil {
		t.Fatal(err)
	}
	got := make(chan string)
	go func() {
		data, err := os.ReadFile("fifo")
		if err != nil {
			t.Error(err)
		}
		got <- string(data)
	}()
	write(t, "fifo", "through")
	if s := <-got; s != "through" {
		t.Errorf("read %q", s)
	}
	if fi, err := os.Lstat("fifo"); err != nil || fi.Mode().Type() != fs.ModeNamedPipe {
		t.Errorf("the FIFO became %v, %v", fi, err)
	}
}

// The reader of a FIFO may leave early, as head does; on standard output SIGPIPE would end us in silence.
func TestFIFOReaderLeaves(t *testing.T) {
	t.Chdir(t.TempDir())
	unix.Mkfifo("fifo", 0o666)
	go func() {
		f, _ := os.Open("fifo")
		io.CopyN(io.Discard, f, 1)
		f.Close()
	}()
	err := Target{Path: "fifo"}.Write(func(w io.Writer) error {
		var err error
		for range 1 << 20 {
			if _, err = w.Write(make([]byte, 4096)); err != nil {
				break
			}
		}
		if !errors.Is(err, unix.EPIPE) {
			t.Errorf("writing ended with %v", err)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestDevices(t *testing.T) {
	before, err := os.Lstat("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	write(t, "/dev/null", "gone")
	after, err := os.Lstat("/dev/null")
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("/dev/null was replaced: %v", err)
	}
	if _, err := os.Stat("/dev/full"); err == nil {
		if err := (Target{Path: "/dev/full"}).Write(text("x")); !errors.Is(err, unix.ENOSPC) {
			t.Errorf("/dev/full: %v", err)
		}
	}
}

func TestSweep(t *testing.T) {
	t.Chdir(t.TempDir())
	const stale, live = ".out1234567890123456789", ".out9876543210987654321"
	others := []string{".out5", ".out-1234567890123456", ".out1234567890123456x", ".outer1234567890123456789", "out1234567890123456789"}
	for _, name := range append(others, stale, live) {
		if err := os.WriteFile(name, nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	writer, err := os.Open(live)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	if err := unix.Flock(int(writer.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	write(t, "out", "new")
	for _, name := range append(others, live) {
		if _, err := os.Lstat(name); err != nil {
			t.Errorf("%s is gone", name)
		}
	}
	if _, err := os.Lstat(stale); err == nil {
		t.Errorf("%s is still there", stale)
	}
}

// A temporary file's name must not be read as a pattern.
func TestSweepOddName(t *testing.T) {
	t.Chdir(t.TempDir())
	const name = `a[1]*?\`
	os.WriteFile("."+name+"1234567890123456789", nil, 0o666)
	write(t, name, "new")
	wantNames(t, ".", name)
}

func TestTwoWritersAtOnce(t *testing.T) {
	t.Chdir(t.TempDir())
	texts := []string{strings.Repeat("a", 1<<16), strings.Repeat("b", 1<<17)}
	for range 20 {
		var both sync.WaitGroup
		for _, s := range texts {
			both.Go(func() {
				if err := (Target{Path: "out"}).Write(text(s)); err != nil {
					t.Error(err)
				}
			})
		}
		both.Wait()
		if got, err := os.ReadFile("out"); err != nil || string(got) != texts[0] && string(got) != texts[1] {
			t.Fatalf("%d bytes of neither, %v", len(got), err)
		}
	}
	wantNames(t, ".", "out")
}

// A writer's lock must hold until its file is in place, or another's sweep takes it away.
func TestLiveWriterIsNotSwept(t *testing.T) {
	t.Chdir(t.TempDir())
	err := Target{Path: "out"}.Write(func(w io.Writer) error {
		write(t, "out", "the quick one")
		return text("the slow one")(w)
	})
	if err != nil {
		t.Fatal(err)
	}
	wantFile(t, "out", "the slow one")
	wantNames(t, ".", "out")
}

func TestTargetIsAlsoInput(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "file", "in")
	err := Target{Path: "file"}.Write(func(w io.Writer) error {
		in, err := os.ReadFile("file")
		if err != nil {
			return err
		}
		return text(string(in) + " and out")(w)
	})
	if err != nil {
		t.Fatal(err)
	}
	wantFile(t, "file", "in and out")
}
