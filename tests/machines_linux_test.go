package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/ctbox/ctbox/tests/treetest"
	"golang.org/x/sys/unix"
)

// resultsFile has digests of what testdata/pipeline.sh makes of the tree of goldenTree. Layers and images that are not compressed
// never change; of the others, a new version may make other bytes, which UPDATE=1 puts there.
const resultsFile = "golden/results.sha256"

// goldenTree is a tree for which it does not matter who makes it, where and when.
func goldenTree(t *testing.T, b *bench) {
	t.Helper()
	check(t, os.Mkdir(b.path("tree"), 0o755))
	if err := unix.Setxattr(b.path("tree"), "user.test", []byte("x"), 0); err == unix.ENOTSUP {
		lacking(t, "no extended attributes in "+b.dir)
	}
	check(t, unix.Removexattr(b.path("tree"), "user.test"))
	treetest.Tree{Seed: 40, Entries: 200, User: true}.Make(t, b.path("tree"))
	// Whole seconds, because qemu 7 gives fstat(2), but not newfstatat(2), no more.
	b.run("find", "tree", "-exec", "touch", "-h", "-d", "2001-02-03 UTC", "{}", "+")
}

// allResults makes one result of each kind with a command that is ctbox, and returns their digests.
func allResults(b *bench, ctbox ...string) string {
	b.t.Helper()
	script, err := filepath.Abs("testdata/pipeline.sh")
	check(b.t, err)
	check(b.t, os.RemoveAll(b.path("out")))
	check(b.t, os.Mkdir(b.path("out"), 0o755))
	return b.run("sh", append([]string{"-c", `cd out && exec sh "$@"`, "sh", script, "../tree"}, ctbox...)...)
}

// TestGolden: what is made today is what was made when these digests were written, on whatever machine (P32).
func TestGolden(t *testing.T) {
	b := newBench(t)
	goldenTree(t, b)
	got := allResults(b, program(t))
	if os.Getenv("UPDATE") != "" {
		check(t, os.WriteFile(resultsFile, []byte(got), 0o644))
	}
	want, err := os.ReadFile(resultsFile)
	check(t, err)
	equalLists(t, "results", got, string(want))
}

// TestOtherMachines: programs for 32 bits, for another family of machines, and for one whose bytes are in the other order make
// the same of the same tree (G40, P32).
func TestOtherMachines(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles everything for other machines")
	}
	b := newBench(t)
	goldenTree(t, b)
	want, err := os.ReadFile(resultsFile)
	check(t, err)
	source, err := filepath.Abs("..")
	check(t, err)
	for _, machine := range []struct{ arch, emulator string }{{"386", ""}, {"arm64", "qemu-aarch64-static"}, {"s390x", "qemu-s390x-static"}} {
		t.Run(machine.arch, func(t *testing.T) {
			b := *b
			b.t = t
			command := []string{b.path(machine.arch)}
			if machine.emulator != "" {
				requireTool(t, machine.emulator)
				command = []string{machine.emulator, command[0]}
				t.Setenv("GODEBUG", "asyncpreemptoff=1") // Go's signals are hard on emulators
			}
			build := exec.Command("go", "build", "-o", b.path(machine.arch), "./cmd/ctbox")
			build.Dir, build.Env = source, append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+machine.arch)
			if out, err := build.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if err := exec.Command(command[0], append(command[1:], "--version")...).Run(); err != nil && machine.emulator == "" {
				t.Skipf("this kernel does not run it: %v", err)
			}
			equalLists(t, "results", allResults(&b, command...), string(want))
		})
	}
}
