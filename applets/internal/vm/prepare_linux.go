package vm

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/archive"
	"github.com/ctbox/ctbox/applets/internal/cli"
	"github.com/ctbox/ctbox/applets/internal/list"
	"github.com/ctbox/ctbox/applets/internal/program"
	"github.com/ctbox/ctbox/applets/internal/wire"
)

// A runner is a run with all that it needs at hand.
type runner struct {
	*Options
	machine Machine
	cache   *Cache
	kernel  *KImage  // what qemu loads
	disk    *os.File // with the root, or nil; there is no source then
	source  *os.File // the initrd as it came
	rdinit  *os.File // an initrd with nothing but our init
	whole   *os.File // both, for a machine that boots with them; or nil
	length  int64    // of source, in bytes
	size    Initrd   // of what the kernel gets, all told
	cold    bool     // a warm start was tried
	tree    bool     // the guest's root is to be made from source
	noKVM   error    // why a machine with KVM did not come up; whether it was KVM's fault, another one will show
}

// room is how much memory a program is given to work in, in bytes. What it does not touch costs the host nothing.
const room = 128 << 20

// prepare finds what the run needs, and refuses what cannot be run.
func (o *Options) prepare() (r *runner, err error) {
	r = &runner{Options: o, cache: OpenCache()}
	defer func() {
		if err != nil {
			r.close()
			r = nil
		}
	}()
	arch := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]
	if arch == "" {
		return r, fmt.Errorf("no virtual machines for %s yet", runtime.GOARCH)
	}
	r.machine = Machine{Arch: arch, CPUs: o.CPUs, Append: o.Append, Verbose: o.Verbose && !o.Warm}
	if o.Monitor == "" {
		r.machine.Qemu, err = findQemu(arch)
	}
	if err != nil {
		return r, err
	}
	if err := r.openKernel(); err != nil {
		return r, err
	}
	if err := r.openInitrd(); err != nil {
		return r, err
	}
	if err := r.memory(); err != nil || o.Monitor != "" {
		return r, err
	}
	r.machine.Type = r.machineType()
	r.machine.Accel, err = r.accelerator()
	return r, err
}

func (r *runner) close() {
	for _, f := range [...]*os.File{r.source, r.rdinit, r.whole} {
		if f != nil && io.Reader(f) != r.Initrd {
			f.Close()
		}
	}
	r.kernel.Close()
}

// findQemu looks for qemu under the names that distributions give it.
func findQemu(arch string) (string, error) {
	names := []string{"qemu-system-" + arch, "qemu-kvm", "kvm", "/usr/libexec/qemu-kvm"}
	for _, name := range names {
		if path, err := program.Look(name); err == nil {
			return path, nil
		}
	}
	return "", cli.Hint(fmt.Errorf("no qemu in PATH: %s", strings.Join(names, ", ")), "ctbox need %s says which package has it", names[0])
}

func (r *runner) openKernel() error {
	k, err := FindKernel(r.Kernel, r.machine.Arch)
	if err == nil {
		r.kernel, err = k.Image(r.cache)
	}
	if err == nil {
		r.machine.Low = r.kernel.Header.LoadAt < SharedAt+wire.Shared
	}
	return err
}

// openInitrd measures the initrd. What is no file is copied to one in memory, as far as it is an initrd.
func (r *runner) openInitrd() error {
	if r.Disk.Kind != "" {
		r.machine.Root = r.Disk.Device + "," + r.Disk.Kind + "," + r.access()
		r.disk = r.Initrd.(*os.File)
		return r.openRdinit()
	}
	in := r.Initrd
	if f, ok := r.Initrd.(*os.File); ok {
		switch fi, err := f.Stat(); {
		case err != nil:
			return err
		case fi.IsDir():
			return fmt.Errorf("%s: is a directory", r.Name)
		case fi.Mode().IsRegular():
			if at, err := f.Seek(0, io.SeekCurrent); err == nil && at == 0 { // else it is to be read from there on
				r.source = f
			}
		}
	}
	if r.source == nil {
		f, err := memoryFile("initrd", 0)
		if err != nil {
			return err
		}
		r.source, in = f, io.TeeReader(r.Initrd, f)
	}
	var err error
	if r.size, err = Measure(in); err != nil {
		return fmt.Errorf("%s: %w", r.Name, err)
	}
	r.length = r.size.Loaded
	return r.openRdinit()
}

// access is how the disk's file system is mounted, as mount(8) has it.
func (r *runner) access() string {
	if r.Fixed {
		return "ro"
	}
	return "rw"
}

// openRdinit makes the initrd that holds our init, which is this program, unless the initrd brings its own.
func (r *runner) openRdinit() error {
	if r.size.Rdinit {
		r.machine.Init = wire.OwnInit
		return nil
	}
	r.machine.Init = wire.AddedInit
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer self.Close()
	if loader, err := program.Interpreter(self); err != nil || loader != "" {
		return cli.Hint(errors.New("this ctbox is not a static program, so it cannot be the guest's init"), "scripts/build makes it one")
	}
	if r.rdinit, err = memoryFile("rdinit", 0); err != nil {
		return err
	}
	if err := writeRdinit(r.rdinit, self); err != nil {
		return err
	}
	size, err := sizeOf(r.rdinit)
	r.size.Loaded += size
	r.size.Unpacked += size
	return err
}

// writeRdinit writes an initrd with one file.
func writeRdinit(w io.Writer, self *os.File) error {
	size, err := sizeOf(self)
	if err != nil {
		return err
	}
	n := archive.NewNewcWriter(w)
	err = n.Header(&archive.NewcEntry{Name: []byte(wire.AddedInit[1:]), Mode: list.Regular | 0o755, Size: size})
	if err == nil {
		err = n.Content(self, size, nil)
	}
	return cmp.Or(err, n.Close())
}

// openWhole joins the initrd and our init. What a kernel takes for the next archive must begin at a multiple of four bytes.
func (r *runner) openWhole() (err error) {
	if r.disk != nil {
		r.whole = r.rdinit
	}
	if r.whole != nil || r.rdinit == nil {
		r.whole = cmp.Or(r.whole, r.source)
		return nil
	}
	if r.whole, err = memoryFile("initrd", 0); err != nil {
		return err
	}
	size, err := copyAll(r.whole, r.source)
	if err != nil {
		return err
	}
	if _, err := r.whole.Seek(archive.NewcPadding(size), io.SeekCurrent); err != nil {
		return err
	}
	_, err = copyAll(r.whole, r.rdinit)
	return err
}

// copyAll copies the whole of one file to where another stands.
func copyAll(to, from *os.File) (int64, error) {
	if _, err := from.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	return io.Copy(to, from)
}

// memory sets the size of the machine: as asked for, or what the initrd needs, rounded up to a power of two so that
// similar runs are alike.
func (r *runner) memory() error {
	least := Need(r.size, r.kernel.Header.InitSize, Ramfs)
	if r.machine.Roomy = r.Memory == 0; r.machine.Roomy {
		for r.machine.Memory = 256 << 20; r.machine.Memory < least+room; {
			r.machine.Memory *= 2
		}
	} else {
		r.machine.Memory = r.Memory &^ (1<<20 - 1)
	}
	var host unix.Sysinfo_t
	if err := unix.Sysinfo(&host); err != nil {
		return os.NewSyscallError("sysinfo", err)
	}
	total := int64(host.Totalram) * int64(host.Unit)
	switch {
	case r.machine.Memory < least:
		return cli.Hint(fmt.Errorf("%dM of memory are too few: the guest could not hold its initrd", r.machine.Memory>>20), "-m %dM", least>>20+1)
	case least+r.machine.Memory/64 > total: // what the kernel keeps for each page, it writes at once
		least += r.machine.Memory / 64
		return fmt.Errorf("the guest needs %dM of memory, more than the %dM that this machine has", least>>20, total>>20)
	}
	return nil
}

// machineType is the fastest that this qemu knows.
func (r *runner) machineType() string {
	if r.machine.Arch == "aarch64" {
		return "virt"
	}
	if r.disk != nil { // which needs a PCI bus
		return "q35"
	}
	if known := r.cache.Recall(r.machineKey()); known != "" {
		return known
	}
	return "microvm"
}

// machineKey and kvmKey name what the cache remembers: of this qemu; and until the next boot, since a new kernel may mend KVM.
func (r *runner) machineKey() string { return "machine " + fileIdentity(r.machine.Qemu) }

// kvmBroken is what is remembered of a KVM that can be opened, and with which no guest comes up.
const kvmBroken = "broken"

func (r *runner) kvmKey() string {
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return "kvm " + strings.TrimSpace(string(boot)) + " " + fileIdentity(r.machine.Qemu)
}

// fileIdentity changes when the file at path does, also where all files have the same time of modification, as builds that can be
// repeated make them.
func fileIdentity(path string) string {
	fi, err := os.Stat(path)
	if err != nil {
		return path
	}
	st := fi.Sys().(*syscall.Stat_t)
	return fmt.Sprintf("%s %d %d %d %d", path, st.Ino, st.Size, st.Mtim.Nano(), st.Ctim.Nano())
}

// accelerator is kvm if that is asked for or may work; whether it does, only a guest that comes up can tell.
func (r *runner) accelerator() (string, error) {
	if r.Accel == "tcg" {
		return "tcg", nil
	}
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err == nil {
		f.Close()
	}
	known := r.cache.Recall(r.kvmKey())
	switch {
	case r.Accel == "kvm" && err != nil:
		return "", noKVM(err)
	case r.Accel == "kvm" || err == nil && known != kvmBroken:
		return "kvm", nil
	case errors.Is(err, os.ErrPermission) && known == "":
		r.Warn("%v; emulating, which is slower: join the group kvm", err)
		r.cache.Remember(r.kvmKey(), "forbidden")
	case r.Verbose:
		r.Warn("no working /dev/kvm: emulating")
	}
	return "tcg", nil
}

func noKVM(err error) error {
	if errors.Is(err, os.ErrPermission) {
		return cli.Hint(err, "join the group kvm")
	}
	return cli.Hint(err, "--accel=tcg emulates")
}
