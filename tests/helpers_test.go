package tests

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// lacking skips a test that cannot run here. Where CI=true says that everything must be here, it fails.
func lacking(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(what)
	}
	t.Skip(what)
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

// requireRoot skips a test, or fails it in CI, of what only root can make: owners, devices, capabilities.
func requireRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		lacking(t, "needs root")
	}
}

// makeNamespaces is a command that fails where no user may make a sandbox; a container's /proc, for one, is masked.
var makeNamespaces = []string{"unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "mount", "-t", "proc", "proc", "/proc"}

// requireNamespaces skips a test, or fails it in CI, where the kernel or a container refuses user namespaces.
func requireNamespaces(t *testing.T) {
	t.Helper()
	if _, errs, err := try("", makeNamespaces...); err != nil {
		lacking(t, "no user namespaces here: "+err.Error()+"\n"+errs)
	}
}

// promptly is far longer than anything takes that works, on a busy machine too, and far shorter than what would hold it up.
const promptly = 30 * time.Second

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// box is a path under which this test binary is ctbox (see TestMain).
func box(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	check(t, err)
	path := filepath.Join(t.TempDir(), "ctbox")
	check(t, os.Symlink(self, path))
	return path
}

// try is run for what may fail. Five minutes are for ever, even on a busy machine.
func try(stdin string, args ...string) (out, errs string, err error) {
	cmd := exec.Command(args[0], args[1:]...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	if err := cmd.Start(); err != nil {
		return "", "", err
	}
	defer time.AfterFunc(5*time.Minute, func() { cmd.Process.Kill() }).Stop()
	err = cmd.Wait()
	return stdout.String(), stderr.String(), err
}

// pipe runs ctbox, or any program, and returns its standard output; a failure ends the test.
func pipe(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	out, errs, err := try(stdin, args...)
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, errs)
	}
	return out
}

// A bench is a directory in which one test makes trees, lists, layers and images with the real binary.
type bench struct {
	t   *testing.T
	dir string
	as  []string // command line that runs another one as someone else
}

func newBench(t *testing.T) *bench {
	t.Helper()
	return &bench{t: t, dir: t.TempDir()}
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

// run runs a command in the bench's directory and returns its standard output.
func (b *bench) run(name string, args ...string) string {
	b.t.Helper()
	line := append(append(slices.Clone(b.as), name), args...)
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Dir, cmd.Env = b.dir, append(os.Environ(), "LC_ALL=C", "TZ=UTC")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		b.t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, stderr.Bytes())
	}
	return string(out)
}

// ctbox runs the static binary.
func (b *bench) ctbox(args ...string) string {
	b.t.Helper()
	return b.run(program(b.t), args...)
}

func (b *bench) write(name, content string) {
	b.t.Helper()
	if err := os.WriteFile(b.path(name), []byte(content), 0o644); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) read(name string) string {
	b.t.Helper()
	text, err := os.ReadFile(b.path(name))
	if err != nil {
		b.t.Fatal(err)
	}
	return string(text)
}
