package vm

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// asUser calls f as someone whom modes of files bind: of root, one thread becomes nobody for a while.
func asUser(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		f()
		return
	}
	become := func(uid int) {
		if _, _, err := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), uintptr(uid), ^uintptr(0)); err != 0 {
			t.Fatal("setresuid:", err)
		}
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	become(65534)
	defer become(0)
	f()
}

// reachable lets everybody into the directories above path, which tests make for themselves alone.
func reachable(t *testing.T, path string) {
	t.Helper()
	for dir := path; strings.HasPrefix(dir, os.TempDir()+"/"); dir = filepath.Dir(dir) {
		if fi, err := os.Stat(dir); err != nil || fi.Mode()&0o055 != 0o055 {
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Ubuntu's kernels are for root alone; an older one that is not is better than none.
func TestUnreadableKernels(t *testing.T) {
	root := plant(t, "boot/vmlinuz-9 amd64", "boot/vmlinuz-8 amd64", "boot/vmlinuz-7 amd64")
	reachable(t, root)
	path := func(name string) string { return filepath.Join(root, name) }
	for _, name := range []string{"boot/vmlinuz-9", "boot/vmlinuz-8"} {
		if err := os.Chmod(path(name), 0); err != nil {
			t.Fatal(err)
		}
	}
	asUser(t, func() {
		k, err := findKernel(root, "", "", "x86_64")
		if err != nil || k.File.Name() != path("boot/vmlinuz-7") {
			t.Errorf("%v, %v", k, err)
		}
		k.Close()
	})
	if err := os.Remove(path("boot/vmlinuz-7")); err != nil {
		t.Fatal(err)
	}
	asUser(t, func() {
		_, err := findKernel(root, "", "", "x86_64")
		want := `no kernel for x86_64 found that can be used
ROOT/boot/vmlinuz-9: permission denied
ROOT/boot/vmlinuz-8: permission denied
hint: sudo chmod 0644 ROOT/boot/vmlinuz-9
`
		if got := strings.ReplaceAll(said(t, err), root, "ROOT"); got != want {
			t.Error(got)
		}
		for _, named := range [][2]string{{path("boot/vmlinuz-8"), ""}, {"", path("boot/vmlinuz-8")}} {
			_, err = findKernel(root, named[0], named[1], "x86_64")
			want = "ROOT/boot/vmlinuz-8: permission denied\nhint: sudo chmod 0644 ROOT/boot/vmlinuz-8\n"
			if got := strings.ReplaceAll(said(t, err), root, "ROOT"); got != want {
				t.Error(got)
			}
		}
	})
	if err := os.Chmod(path("boot"), 0); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(path("boot"), 0o700)
	asUser(t, func() {
		_, err := findKernel(root, "", "", "x86_64")
		if got := said(t, err); !strings.Contains(got, "/boot: permission denied\n") || strings.Contains(got, "chmod") {
			t.Error(got)
		}
	})
}
