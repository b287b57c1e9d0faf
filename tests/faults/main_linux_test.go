//go:build faults

package faults

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// long is for the numbers in README. Without it a test does what finds most in the time that CI has.
var long = flag.Bool("long", false, "as many faults as README says")

// program is the ctbox under test, as scripts/build makes it; other users may run it.
var program string

// atExit is done when all tests have ended.
var atExit []func()

func TestMain(m *testing.M) {
	flag.Parse()
	syscall.Umask(0o022)
	os.Exit(run(m))
}

func run(m *testing.M) int {
	// Not TMPDIR: that may lie below a directory which only its owner may enter.
	dir, err := os.MkdirTemp("/tmp", "ctbox-faults-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	program = filepath.Join(dir, "ctbox")
	build := exec.Command("../../scripts/build", program)
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "scripts/build:", err)
		return 1
	}
	defer func() {
		for _, do := range atExit {
			do()
		}
	}()
	return m.Run()
}

// count says what a test did, for README's table: kills, errors, races, and how many of them went wrong.
func count(t *testing.T, n int, what string, wrong int) {
	t.Helper()
	fmt.Printf("count: %s: %d %s, %d wrong\n", t.Name(), n, what, wrong)
	if wrong > 0 {
		t.Errorf("%d of %d %s went wrong", wrong, n, what)
	}
	if n == 0 {
		t.Errorf("no %s: nothing was tried", what)
	}
}

// scale is how often a test does what it does: less in CI, more for README.
func scale(less, more int) int {
	if *long {
		return more
	}
	return less
}

// requireTool skips a test, or fails it in CI, where a program of others is missing.
func requireTool(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			lacking(t, err.Error())
		}
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

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// ctbox runs the program in dir and gives what it wrote to standard output; anything but status 0 ends the test.
func ctbox(t *testing.T, dir, stdin string, args ...string) string {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Stdin, cmd.Stderr = dir, strings.NewReader(stdin), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("ctbox %s: %v", strings.Join(args, " "), err)
	}
	return string(out)
}
