package tests

import (
	"bytes"
	"debug/elf"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
)

var binary struct {
	sync.Once
	dir string
	err error
}

// staticCtbox is the binary that scripts/build makes, built once for all tests.
func staticCtbox(t *testing.T) string {
	t.Helper()
	binary.Do(func() {
		if binary.dir, binary.err = sharedDir("read -r _"); binary.err == nil {
			path := filepath.Join(binary.dir, "ctbox")
			binary.err = errors.Join(buildCtbox("..", path), os.Chmod(path, 0o755)) // whatever the umask is: other users run it
		}
	})
	if binary.err != nil {
		t.Fatal(binary.err)
	}
	return filepath.Join(binary.dir, "ctbox")
}

// buildCtbox runs the scripts/build of the source in dir.
func buildCtbox(dir, out string, env ...string) error {
	cmd := exec.Command(filepath.Join(dir, "scripts/build"), out)
	cmd.Env = append(os.Environ(), env...)
	if flags := os.Getenv("COVERAGE_GOFLAGS"); flags != "" {
		cmd.Env = append(cmd.Env, "GOFLAGS="+flags)
	}
	cmd.Stderr = os.Stderr
	return cmd.Run()
}

// asReleased skips a test of what only a program has that does not count the statements that it runs: its size, its bytes.
func asReleased(t *testing.T) {
	t.Helper()
	if os.Getenv("COVERAGE_GOFLAGS") != "" {
		t.Skip("scripts/coverage makes another program")
	}
}

// A static program runs in an image that holds nothing else.
func TestBinaryIsStatic(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("programs are static on Linux only")
	}
	f, err := elf.Open(staticCtbox(t))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if f.Type != elf.ET_EXEC {
		t.Errorf("type %v, want %v: relocation at every start costs 0.6 ms", f.Type, elf.ET_EXEC)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("it has a %v segment", p.Type)
		}
	}
}

func TestBinarySize(t *testing.T) {
	asReleased(t)
	const limit = 6_300_000 // of which file systems are 110 kB, and reading tars and images 120
	fi, err := os.Stat(staticCtbox(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes", fi.Size())
	if fi.Size() > limit {
		t.Errorf("%d bytes, more than %d", fi.Size(), limit)
	}
}

// Time varies from machine to machine; what packages allocate before main does not, and goes with it.
func TestStartUpAllocations(t *testing.T) {
	asReleased(t)
	const maxAllocs, maxBytes = 320, 112 << 10 // 32 KiB of them are the CRC-64 table of package xz
	cmd := exec.Command(staticCtbox(t), "--list")
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	var trace bytes.Buffer
	cmd.Stderr = &trace
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^init (\S+) @.* clock, (\d+) bytes, (\d+) allocs$`)
	all := line.FindAllStringSubmatch(trace.String(), -1)
	bytes, allocs := 0, 0
	for _, m := range all {
		b, _ := strconv.Atoi(m[2])
		a, _ := strconv.Atoi(m[3])
		bytes, allocs = bytes+b, allocs+a
	}
	t.Logf("%d packages, %d bytes, %d allocations", len(all), bytes, allocs)
	if len(all) == 0 || bytes > maxBytes || allocs > maxAllocs {
		t.Errorf("more than %d bytes or %d allocations, or none seen:\n%s", maxBytes, maxAllocs, trace.String())
	}
}

// Source in another directory, an empty cache, another day's settings: the same bytes.
func TestBuildIsReproducible(t *testing.T) {
	asReleased(t)
	if testing.Short() {
		t.Skip("compiles everything anew")
	}
	dir := copySource(t, filepath.Join(t.TempDir(), "a longer way", "down"))
	out := filepath.Join(dir, "out")
	if err := buildCtbox(dir, out, "GOCACHE="+filepath.Join(t.TempDir(), "cache"), "TZ=Asia/Tokyo", "LC_ALL=C"); err != nil {
		t.Fatal(err)
	}
	first, err1 := os.ReadFile(staticCtbox(t))
	second, err2 := os.ReadFile(out)
	if err1 != nil || err2 != nil || !bytes.Equal(first, second) {
		t.Errorf("two builds differ, %d and %d bytes, %v, %v", len(first), len(second), err1, err2)
	}
}

// copySource copies to dir, which it returns, what a build and an installation need; without .git, it looks like an unpacked tarball.
func copySource(t *testing.T, dir string) string {
	t.Helper()
	for _, part := range []string{"applets", "cmd", "completions", "man", "scripts", "tests/elftest", "tests/failtest", "vendor"} {
		err := os.CopyFS(filepath.Join(dir, part), os.DirFS(filepath.Join("..", part)))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	// Of the examples, without what somebody may have built of them.
	examples, err := exec.Command("../scripts/sources", "do-examples").Output()
	check(t, err)
	for _, file := range append(strings.Fields(string(examples)), "go.mod", "go.sum", "Makefile", "LICENSE", "README.md", "CHANGELOG.md") {
		check(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, file)), 0o777))
		copyFile(t, filepath.Join("..", file), filepath.Join(dir, file))
	}
	return dir
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	fi, err := in.Stat()
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, fi.Mode().Perm())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}

// The box goes by the base of its name, whatever that is, or by the first argument.
func TestNames(t *testing.T) {
	for _, c := range []struct {
		args   []string // from argv[0] on
		status int
		want   string // the output begins so
	}{
		{[]string{"need", "--version"}, 0, "need (ctbox)"},
		{[]string{"/some/dir/need", "--version"}, 0, "need (ctbox)"},
		{[]string{"./a b/need", "--version"}, 0, "need (ctbox)"},
		{[]string{"ctbox", "need", "--version"}, 0, "need (ctbox)"},
		{[]string{"ctbox-1.2", "need", "--version"}, 0, "need (ctbox)"},
		{[]string{"", "need", "--version"}, 0, "need (ctbox)"},
		{[]string{"", "--version"}, 0, "ctbox "},
		{[]string{""}, 0, "Usage: ctbox APPLET"},
		{[]string{"/"}, 0, "Usage: ctbox APPLET"},
		{[]string{"need/", "--version"}, 0, "need (ctbox)"},
		{[]string{"frobnicate", "--version"}, 0, "ctbox "},
		{[]string{"frobnicate", "frobnicate"}, 127, "ctbox: frobnicate: no such applet (see \"ctbox --help\")\n"},
	} {
		cmd := &exec.Cmd{Path: staticCtbox(t), Args: c.args}
		out, _ := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != c.status || !strings.HasPrefix(string(out), c.want) {
			t.Errorf("%q: %v: %s", c.args, cmd.ProcessState, out)
		}
	}
}
