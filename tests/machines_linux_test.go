package tests

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/ctbox/ctbox/tests/treetest"
)

// TestOtherMachines: programs for 32 bits, for another family of machines, and for one whose bytes are in the other order make
// the same of the same list (G40, P32). The latter two run where somebody has installed their emulators.
func TestOtherMachines(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles everything for other machines")
	}
	b := newBench(t)
	check(t, os.Mkdir(b.path("tree"), 0o755))
	treetest.Tree{Seed: 40, Entries: 200, User: os.Geteuid() != 0}.Make(t, b.path("tree"))
	b.run("find", "tree", "-exec", "touch", "-h", "-d", "2001-02-03", "{}", "+") // qemu 7 gives fstat(2), but not newfstatat(2), whole seconds
	b.write("template.json", `{"architecture": "amd64", "os": "linux"}`)
	want := everything(b, program(t))
	for _, machine := range []struct{ arch, emulator string }{{"386", ""}, {"arm64", "qemu-aarch64-static"}, {"s390x", "qemu-s390x-static"}} {
		t.Run(machine.arch, func(t *testing.T) {
			b := *b
			b.t = t
			command := []string{b.path(machine.arch)}
			if machine.emulator != "" {
				emulator, err := exec.LookPath(machine.emulator)
				if err != nil {
					t.Skip(err)
				}
				command = []string{emulator, command[0]}
				t.Setenv("GODEBUG", "asyncpreemptoff=1") // Go's signals are hard on emulators
			}
			source, err := filepath.Abs("..")
			check(t, err)
			build := exec.Command("go", "build", "-o", b.path(machine.arch), "./cmd/ctbox")
			build.Dir, build.Env = source, append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+machine.arch)
			if out, err := build.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if err := exec.Command(command[0], append(command[1:], "--version")...).Run(); err != nil && machine.emulator == "" {
				t.Skipf("this kernel does not run it: %v", err)
			}
			for name, got := range everything(&b, command...) {
				if got != want[name] {
					t.Errorf("%s: %s, not %s", name, got, want[name])
				}
			}
		})
	}
}

// everything makes one result of each kind with a command that is ctbox, and returns their digests.
func everything(b *bench, ctbox ...string) map[string]string {
	b.t.Helper()
	b.write("layers", "layer\n")
	digests := map[string]string{}
	for _, result := range []struct{ file, args string }{
		{"list", "fileids tree"},
		{"layer.list", "listdiff /dev/null list"},
		{"layer.layer", "mklayer -C tree layer.list"},
		{"layer.gz", "mklayer -C tree -z gzip layer.list"},
		{"layer.zst", "mklayer -C tree -z zstd layer.list"},
		{"initrd", "mkinitrd -C tree list"},
		{"initrd.gz", "gz initrd"},
		{"memory", "memcalc initrd.gz"},
		{"layer.list.sha256", "sha256 layer.list"},
		{"json", "dockjson -t template.json layer"},
		{"image", "mkimage -t template.json --cmd=/init layers"},
	} {
		b.run("sh", append([]string{"-c", `file=$1 args=$2; shift 2; exec "$@" $args >"$file"`, "sh", result.file, result.args}, ctbox...)...)
		digests[result.file] = fmt.Sprintf("%x", sha256.Sum256([]byte(b.read(result.file))))
	}
	return digests
}
