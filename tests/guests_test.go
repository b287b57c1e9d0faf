package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
)

// requireGuests skips a test, or fails it in CI, where no guest can be booted. With -short it is skipped: a boot costs 1.3 s.
func requireGuests(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("boots virtual machines")
	}
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		t.Skip("there are no machines for guests here")
	}
	requireTool(t, "qemu-system-x86_64")
	stockKernel(t)
}

// guestCache is the cache of all tests that need none of their own, so that few of them boot.
var guestCache = sync.OnceValues(func() (string, error) { return sharedDir("read -r _") })

// stockKernel is the newest kernel of Debian's package linux-image-cloud-amd64.
func stockKernel(t *testing.T) string {
	t.Helper()
	kernels, _ := filepath.Glob("/boot/vmlinuz-*-cloud-amd64")
	if len(kernels) == 0 {
		lacking(t, "no kernel in /boot")
	}
	return kernels[len(kernels)-1]
}

// initrd packs a tree, of which list holds what is not on disk, and returns the path of the initrd.
func (b *bench) initrd(tree, list string, options ...string) string {
	b.t.Helper()
	b.write(tree+".list", b.ctbox("fileids", "--owner=0:0", tree)+list)
	b.run("sh", "-c", `LC_ALL=C sort -o "$1" "$1"`, "sh", tree+".list")
	b.ctbox(append([]string{"mkinitrd", "-C", tree, "-o", tree + ".initrd", tree + ".list"}, options...)...)
	return b.path(tree + ".initrd")
}

// probeInitrd is an initrd that holds nothing but the probe, as /init: no directory, no shell, no library.
func probeInitrd(t *testing.T) string {
	t.Helper()
	b := newBench(t)
	b.run("mkdir", "probe")
	b.run("cp", probe(t), "probe/init")
	return b.initrd("probe", "")
}

var firstGuest sync.Once

// guestEnviron is the environment in which what a manual shows runs: with a cache of guests in which it is known already
// whether KVM works, and the static ctbox, because it is the guest's init.
func guestEnviron(t *testing.T) []string {
	t.Helper()
	requireGuests(t)
	cache, err := guestCache()
	check(t, err)
	env := append(os.Environ(), "XDG_CACHE_HOME="+cache, "PATH="+filepath.Dir(program(t))+":"+os.Getenv("PATH"))
	firstGuest.Do(func() {
		cmd := exec.Command(program(t), "runkvm", "--timeout=1m", probeInitrd(t))
		cmd.Env = env
		if out, err := cmd.Output(); err != nil || string(out) != "hello\n" {
			t.Errorf("%v: %q, %v", cmd, out, err)
		}
	})
	return env
}
