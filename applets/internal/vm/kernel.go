package vm

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/cli"
)

// KernelVar is the environment variable that names the kernel to boot where the command line does not.
const KernelVar = "CTBOX_KERNEL"

// A Kernel is a kernel that was found, opened and looked at.
type Kernel struct {
	File   *os.File
	Header KernelHeader // of File
}

// Close closes the file.
func (k *Kernel) Close() {
	if k != nil {
		k.File.Close()
	}
}

// FindKernel opens a kernel for arch, "x86_64" or "aarch64": the file explicit, else the one that KernelVar names, else the
// best of those that are installed: the running one, then the newest that can be read. What is named must do: nothing else
// is tried then. The error for none has a part for each kernel that was tried.
func FindKernel(explicit, arch string) (*Kernel, error) {
	return findKernel("/", explicit, os.Getenv(KernelVar), arch)
}

// findKernel is FindKernel with the directory to take for /.
func findKernel(root, explicit, env, arch string) (*Kernel, error) {
	named := cmp.Or(explicit, env)
	if named == "" {
		return findInstalled(root, arch)
	}
	k, err := openKernel(named, arch)
	switch {
	case errors.Is(err, fs.ErrPermission):
		err = cli.Hint(err, "sudo chmod 0644 %s", named)
	case err != nil && explicit == "":
		err = cli.Hint(fmt.Errorf("$%s: %w", KernelVar, err), "--kernel=FILE names another one")
	}
	return k, err
}

func findInstalled(root, arch string) (*Kernel, error) {
	found, tried := candidates(root)
	for _, c := range found {
		k, err := openKernel(c.path, arch)
		if err == nil {
			return k, nil
		}
		tried = append(tried, err)
	}
	return nil, noKernel(found, tried, arch)
}

// noKernel says what was tried. A kernel that only needs to be readable is the nearest.
func noKernel(found []candidate, tried []error, arch string) error {
	err := errors.Join(append([]error{fmt.Errorf("no kernel for %s found that can be used", arch)}, tried...)...)
	for i, c := range found {
		if errors.Is(tried[len(tried)-len(found)+i], fs.ErrPermission) {
			return cli.Hint(err, "sudo chmod 0644 %s", c.path)
		}
	}
	return cli.Hint(err, "apt-get install linux-image-%s, or --kernel=FILE", goarch(arch))
}

func goarch(arch string) string {
	return map[string]string{"x86_64": "amd64", "aarch64": "arm64"}[arch]
}

// places are where distributions put kernels, in their order for kernels of the same version. Without file, the entries of
// dir that match pattern are the kernels; else these are directories, named after versions, with the kernel in file.
var places = [...]struct{ dir, pattern, file string }{
	{"lib/modules", "*", "vmlinuz"}, // Fedora, Arch, SUSE
	{"usr/lib/modules", "*", "vmlinuz"},
	{"lib/modules", "*", "Image"}, // SUSE on arm64
	{"usr/lib/modules", "*", "Image"},
	{"boot", "vmlinuz-*", ""},            // Debian, Ubuntu; named after a flavour: Arch, Alpine
	{"run/booted-system", "kernel", ""},  // NixOS
	{"run/current-system", "kernel", ""}, // NixOS after an upgrade
	{"boot", "Image*", ""},
	{"boot", "kernel-*", ""}, // Gentoo
}

// A candidate may be a kernel, by its name.
type candidate struct{ path, version string }

// candidates lists what is in places, the best first, and why a directory could not be looked into.
func candidates(root string) (found []candidate, errs []error) {
	seen := map[string]bool{} // with /lib a link to /usr/lib, all there has two names
	for _, p := range places {
		dir := filepath.Join(root, p.dir)
		entries, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrPermission) && !seen[dir] {
			seen[dir] = true
			errs = append(errs, err)
		}
		for _, e := range entries {
			if ok, _ := path.Match(p.pattern, e.Name()); !ok || strings.Contains(e.Name(), "-rescue-") {
				continue
			}
			c := candidate{filepath.Join(dir, e.Name(), p.file), versionOf(e.Name(), p.file != "")}
			real, err := filepath.EvalSymlinks(c.path)
			if errors.Is(err, fs.ErrNotExist) || err == nil && seen[real] {
				continue
			}
			seen[real] = true
			found = append(found, c)
		}
	}
	running, _ := os.ReadFile(filepath.Join(root, "proc/sys/kernel/osrelease"))
	sortCandidates(found, strings.TrimSpace(string(running)))
	return found, errs
}

// versionOf is the version in a kernel's name: what begins with the first number after a dash, or, in the name of a
// directory, all of it.
func versionOf(name string, dir bool) string {
	for i := 1; i < len(name) && !dir; i++ {
		if name[i-1] == '-' && isDigit(name[i]) {
			return name[i:]
		}
	}
	if dir {
		return name
	}
	return ""
}

// sortCandidates puts the running kernel first, for its modules are there and it works here; then the newest.
func sortCandidates(all []candidate, running string) {
	sortFew(all, func(a, b candidate) int {
		switch {
		case running == "" || a.version == b.version:
			return compareVersions(b.version, a.version)
		case a.version == running:
			return -1
		case b.version == running:
			return 1
		}
		return compareVersions(b.version, a.version)
	})
}

// sortFew is slices.SortStableFunc in a tenth of the code, for what is so few that its time does not matter.
func sortFew[T any](all []T, compare func(a, b T) int) {
	for i := range all {
		for ; i > 0 && compare(all[i], all[i-1]) < 0; i-- {
			all[i], all[i-1] = all[i-1], all[i]
		}
	}
}

// compareVersions compares number by number and word by word. A number is more than nothing, and a word is less: 6.1-rc1 and
// 6.1.old come before 6.1, and that before 6.1.2.
func compareVersions(a, b string) int {
	for a != "" || b != "" {
		var x, y string
		x, a = token(a)
		y, b = token(b)
		if c := cmp.Compare(rank(x), rank(y)); c != 0 {
			return c
		}
		if rank(x) == 2 {
			x, y = strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
			if c := cmp.Compare(len(x), len(y)); c != 0 {
				return c
			}
		}
		if c := cmp.Compare(x, y); c != 0 {
			return c
		}
	}
	return 0
}

// token cuts the first number or word off a version. What is between them says nothing.
func token(s string) (first, rest string) {
	for s != "" && !isDigit(s[0]) && !isLetter(s[0]) {
		s = s[1:]
	}
	n := 0
	for n < len(s) && isDigit(s[n]) == isDigit(s[0]) && isLetter(s[n]) == isLetter(s[0]) {
		n++
	}
	return s[:n], s[n:]
}

// rank orders a word, the end and a number.
func rank(token string) int {
	switch {
	case token == "":
		return 1
	case isDigit(token[0]):
		return 2
	}
	return 0
}

func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// openKernel opens the file at path if it is a kernel for arch.
func openKernel(path, arch string) (*Kernel, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // not to wait for the writer of a FIFO
	if err != nil {
		return nil, err
	}
	k := &Kernel{File: f}
	if err := k.look(arch); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}

// look reads the header and refuses what cannot be booted as arch.
func (k *Kernel) look(arch string) error {
	fi, err := k.File.Stat()
	switch {
	case err != nil:
		return err
	case fi.IsDir():
		return errors.New("is a directory")
	case !fi.Mode().IsRegular():
		return errors.New("not a regular file")
	}
	if k.Header, err = ReadKernel(k.File); err != nil {
		return err
	}
	if k.Header.Arch != goarch(arch) {
		return fmt.Errorf("a kernel for %s, not for %s", cmp.Or(k.Header.Arch, "another machine"), goarch(arch))
	}
	return checkPVH(k.File, k.Header)
}
