package vm

import (
	"bytes"
	"cmp"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ctbox/ctbox/applets/internal/cli"
)

// kinds are kernels, and what is none.
var kinds = sync.OnceValue(func() map[string][]byte {
	return map[string][]byte{
		"amd64": bzImage(), "vmlinux": elf(pvhNotes), "no-pvh": elf(""), "arm64": arm64Image(), "386": change(bzImage(), 0x236, uint16(0)),
		"zboot": newZboot(gzipped(arm64Image())), "gz": gzipped(arm64Image()), "text": []byte(strings.Repeat("text\n", 300)), "empty": nil,
	}
})

// plant makes files below a directory that stands for /: a name, and what it is: a kernel for a machine, the running version, or,
// after "->", where a link leads.
func plant(t *testing.T, files ...string) string {
	t.Helper()
	root := t.TempDir()
	kinds := kinds()
	for _, file := range files {
		name, kind, _ := strings.Cut(file, " ")
		path := filepath.Join(root, name)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if to, ok := strings.CutPrefix(kind, "-> "); ok && err == nil {
			err = os.Symlink(to, path)
		} else if content, ok := kinds[kind]; ok && err == nil {
			err = os.WriteFile(path, content, 0o644)
		} else if err == nil {
			err = os.WriteFile(path, []byte(kind+"\n"), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

const osrelease = "proc/sys/kernel/osrelease "

func TestFindInstalled(t *testing.T) {
	for _, test := range []struct{ name, arch, files, want string }{
		{"Debian", "x86_64", "boot/vmlinuz-6.1.0-9-amd64 amd64, boot/vmlinuz-6.1.0-56-amd64 amd64, boot/vmlinuz-6.1.0-10-amd64 amd64, boot/config-7 text, lib/modules/6.1.0-56-amd64/modules.dep text", "boot/vmlinuz-6.1.0-56-amd64"},
		{"running", "x86_64", osrelease + "6.1.0-9-amd64, boot/vmlinuz-6.1.0-9-amd64 amd64, boot/vmlinuz-6.1.0-56-amd64 amd64", "boot/vmlinuz-6.1.0-9-amd64"},
		{"running without a kernel, in a container", "x86_64", osrelease + "6.8.0-azure, boot/vmlinuz-6.1.0-9-amd64 amd64", "boot/vmlinuz-6.1.0-9-amd64"},
		{"Ubuntu", "x86_64", "boot/vmlinuz -> vmlinuz-6.8.0-45-generic, boot/vmlinuz-6.8.0-45-generic amd64, boot/vmlinuz.old -> absent", "boot/vmlinuz-6.8.0-45-generic"},
		{"Fedora", "x86_64", "lib -> usr/lib, usr/lib/modules/6.11.4-301.fc41.x86_64/vmlinuz amd64, boot/vmlinuz-0-rescue-0123456789abcdef amd64, boot/vmlinuz-6.11.4-301.fc41.x86_64 amd64", "lib/modules/6.11.4-301.fc41.x86_64/vmlinuz"},
		{"Fedora, rescue only", "x86_64", "boot/vmlinuz-0-rescue-0123456789abcdef amd64", ""},
		{"Arch", "x86_64", "usr/lib/modules/6.11.9-arch1-1/vmlinuz amd64, usr/lib/modules/6.11.10-arch1-1/vmlinuz amd64, boot/vmlinuz-linux amd64", "usr/lib/modules/6.11.10-arch1-1/vmlinuz"},
		{"Arch without modules", "x86_64", "boot/vmlinuz-linux amd64", "boot/vmlinuz-linux"},
		{"Alpine", "x86_64", osrelease + "6.6.58-0-lts, boot/vmlinuz-lts amd64, boot/vmlinuz-virt amd64", "boot/vmlinuz-lts"},
		{"SUSE", "x86_64", "usr/lib/modules/6.4.0-150600.23.25-default/vmlinuz amd64, boot/vmlinuz-6.4.0-150600.23.25-default -> ../usr/lib/modules/6.4.0-150600.23.25-default/vmlinuz", "usr/lib/modules/6.4.0-150600.23.25-default/vmlinuz"},
		{"SUSE on arm64", "aarch64", "usr/lib/modules/6.4.0-default/Image arm64, boot/Image -> Image-6.4.0-default, boot/Image-6.4.0-default -> ../usr/lib/modules/6.4.0-default/Image", "usr/lib/modules/6.4.0-default/Image"},
		{"NixOS", "x86_64", "nix/store/abc-linux-6.6.58/bzImage amd64, nix/store/abc-system/kernel -> ../abc-linux-6.6.58/bzImage, run/booted-system -> ../nix/store/abc-system", "run/booted-system/kernel"},
		{"Gentoo", "x86_64", "boot/kernel-6.6.52-gentoo amd64, boot/kernel-6.6.58-gentoo amd64, boot/kernel-6.6.58-gentoo.old amd64", "boot/kernel-6.6.58-gentoo"},
		{"Gentoo's genkernel", "x86_64", "boot/kernel-genkernel-x86_64-6.6.9-gentoo amd64, boot/kernel-genkernel-x86_64-6.6.10-gentoo amd64", "boot/kernel-genkernel-x86_64-6.6.10-gentoo"},
		{"Debian on arm64", "aarch64", "boot/vmlinuz-6.1.0-26-arm64 arm64", "boot/vmlinuz-6.1.0-26-arm64"},
		{"Ubuntu on arm64", "aarch64", "boot/vmlinuz-6.8.0-45-generic gz", "boot/vmlinuz-6.8.0-45-generic"},
		{"Fedora on arm64", "aarch64", "lib/modules/6.11.4/vmlinuz zboot", "lib/modules/6.11.4/vmlinuz"},
		{"for several machines", "aarch64", "boot/vmlinuz-9 amd64, boot/vmlinuz-8 386, boot/vmlinuz-7 arm64", "boot/vmlinuz-7"},
		{"damaged", "x86_64", "boot/vmlinuz-9 text, boot/vmlinuz-8 empty, boot/vmlinuz-7/file text, boot/vmlinuz-6 no-pvh, boot/vmlinuz-5 amd64", "boot/vmlinuz-5"},
		{"dangling link", "x86_64", "boot/vmlinuz-9 -> absent, boot/vmlinuz-8 amd64", "boot/vmlinuz-8"},
		{"none", "x86_64", "boot/initrd.img-6.1 text", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := plant(t, strings.Split(test.files, ", ")...)
			k, err := findKernel(root, "", "", test.arch)
			if test.want == "" {
				if err == nil {
					t.Error("found " + k.File.Name())
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer k.Close()
			if got := k.File.Name(); got != filepath.Join(root, test.want) || k.Header.Format == "" {
				t.Errorf("found %s, %+v; want %s", got, k.Header, test.want)
			}
		})
	}
}

func TestCompareVersions(t *testing.T) {
	sorted := []string{
		"linux-lts", "", "6", "6.1.old", "6.1-rc1", "6.1-rc2", "6.1-rc10", "6.1", "6.1.0-9-amd64", "6.1.0-56-amd64", "6.1.0-56-cloud-amd64",
		"6.1.7", "6.8.0-45-generic", "6.11.9-arch1-1", "6.11.10-arch1-1", "6.012", "20240101", "100000000000000000000000",
	}
	for i, a := range sorted {
		for j, b := range sorted {
			if got, want := compareVersions(a, b), cmp.Compare(i, j); got != want {
				t.Errorf("%q, %q: %d, want %d", a, b, got, want)
			}
		}
	}
}

// said is what a user reads when err ends ctbox.
func said(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	var out bytes.Buffer
	cli.Run(&cli.Applet{Name: "x", New: func() cli.Command { return &failing{err} }}, cli.Stdio{Out: &out, Err: &out}, nil)
	return strings.ReplaceAll(out.String(), "ctbox x: ", "")
}

type failing struct{ err error }

func (f *failing) Run(cli.Stdio) error { return f.err }

func TestNamedKernel(t *testing.T) {
	root := plant(t, "good amd64", "arm arm64", "text text", "i386 386", "nopvh no-pvh", "elf vmlinux", "boot/vmlinuz-9 amd64", "dir/x text")
	path := func(name string) string {
		if name == "" {
			return ""
		}
		return filepath.Join(root, name)
	}
	for _, test := range []struct{ explicit, env, want, says string }{
		{"good", "", "good", ""},
		{"good", "text", "good", ""},
		{"", "good", "good", ""},
		{"elf", "", "elf", ""},
		{"text", "good", "", "ROOT/text: not a Linux kernel: neither bzImage, vmlinux nor arm64 Image\n"},
		{"absent", "", "", "ROOT/absent: no such file or directory\n"},
		{"dir", "", "", "ROOT/dir: is a directory\n"},
		{"arm", "", "", "ROOT/arm: a kernel for arm64, not for amd64\n"},
		{"i386", "", "", "ROOT/i386: a kernel for 386, not for amd64\n"},
		{"nopvh", "", "", "ROOT/nopvh: " + ErrNoPVH.Error() + "\n"},
		{"", "absent", "", "$CTBOX_KERNEL: ROOT/absent: no such file or directory\nhint: --kernel=FILE names another one\n"},
	} {
		k, err := findKernel(root, path(test.explicit), path(test.env), "x86_64")
		if test.says != "" {
			if got := strings.ReplaceAll(said(t, err), root, "ROOT"); got != test.says {
				t.Errorf("%+v: %s", test, got)
			}
			continue
		}
		if err != nil || k.File.Name() != path(test.want) {
			t.Errorf("%+v: %v, %v", test, k, err)
		}
		k.Close()
	}
	if _, err := findKernel(root, "/dev/null", "", "x86_64"); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Error(err)
	}
}

func TestNoKernel(t *testing.T) {
	root := plant(t, "boot/vmlinuz-9 arm64", "boot/vmlinuz-8 text", "boot/vmlinuz-0-rescue-1 amd64")
	_, err := findKernel(root, "", "", "x86_64")
	want := `no kernel for x86_64 found that can be used
ROOT/boot/vmlinuz-9: a kernel for arm64, not for amd64
ROOT/boot/vmlinuz-8: not a Linux kernel: neither bzImage, vmlinux nor arm64 Image
hint: apt-get install linux-image-amd64, or --kernel=FILE
`
	if got := strings.ReplaceAll(said(t, err), root, "ROOT"); got != want {
		t.Error(got)
	}
	_, err = findKernel(t.TempDir(), "", "", "aarch64")
	if got, want := said(t, err), "no kernel for aarch64 found that can be used\nhint: apt-get install linux-image-arm64, or --kernel=FILE\n"; got != want {
		t.Error(got)
	}
}
