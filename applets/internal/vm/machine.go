package vm

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/ctbox/ctbox/applets/internal/wire"
)

// SharedAt is the guest's physical address of the memory that it shares with the host: above what firmware and the first
// megabyte's devices use, and below where kernels are loaded (16 MiB, CONFIG_PHYSICAL_START of x86).
const SharedAt = 8 << 20

// A Machine is all that qemu is told. Files are paths, or descriptors that qemu inherits, as /proc/self/fd/N.
type Machine struct {
	Qemu    string // the program
	Arch    string // "x86_64" or "aarch64"
	Type    string // -M: "microvm", "pc", "q35" or "virt"
	Accel   string // "kvm" or "tcg"
	CPUs    int
	Memory  int64 // bytes
	RAM     string
	Kernel  string
	Initrd  string
	Init    string // wire.OwnInit or wire.AddedInit
	Append  string // further words for the kernel's command line
	Disk    string // image of a disk with the root, or ""
	Root    string // of wire.ParamRoot
	Low     bool   // the kernel takes the memory that could be shared
	Roomy   bool   // the memory is large enough to keep the initrd
	Verbose bool   // the kernel talks
	Console int    // descriptor that gets what the guest's console prints
	Line    int    // descriptor of a socket: the serial line that package wire is about
	Control int    // descriptor of a socket for QMP, or 0
	Restore int    // descriptor to read a saved state from, or 0: boot
}

// Args is qemu's argument vector.
//
// The flags are those that were measured to be fast and quiet: no default devices, no firmware tables, no network. The
// console and the line are 16550s, which every kernel has built in; no module is needed for anything.
func (m *Machine) Args() []string {
	args := []string{
		m.Qemu, "-M", m.machine(), "-accel", m.Accel, "-cpu", m.cpu(), "-smp", strconv.Itoa(m.CPUs), "-m", fmt.Sprintf("%dM", m.Memory>>20),
		"-object", fmt.Sprintf("memory-backend-file,id=ram,size=%d,mem-path=%s,share=on", m.Memory, comma(m.RAM)),
		"-kernel", m.Kernel, "-initrd", m.Initrd, "-append", m.commandLine(),
		"-no-reboot", "-nodefaults", "-no-user-config", "-display", "none", "-nic", "none",
		"-chardev", fmt.Sprintf("file,id=console,path=/proc/self/fd/%d", m.Console),
		"-chardev", fmt.Sprintf("socket,id=line,fd=%d", m.Line),
	}
	if m.Arch == "aarch64" { // one UART, a PL011; the other comes by PCI
		args = append(args, "-serial", "chardev:console", "-device", "pci-serial,chardev=line")
	} else {
		args = append(args, "-device", "isa-serial,chardev=console,index=0", "-device", "isa-serial,chardev=line,index=1")
	}
	if m.Disk != "" {
		args = append(args, "-drive", "if=none,id=disk,format=raw,snapshot=on,file="+comma(m.Disk), "-device", "nvme,serial=ctbox,drive=disk")
	}
	if m.Control > 0 {
		args = append(args, "-chardev", fmt.Sprintf("socket,id=control,fd=%d", m.Control), "-mon", "chardev=control,mode=control")
	}
	if m.Restore > 0 {
		args = append(args, "-incoming", "defer")
	}
	return args
}

// cpu is all that the processor, or the emulation of one, can do. Of an emulated one, the kernel must not believe that string
// instructions are the fastest way to copy and to clear pages: they take a tenth of the time to boot.
func (m *Machine) cpu() string {
	if m.Accel == "tcg" && m.Arch == "x86_64" {
		return "max,-erms,-fsrm"
	}
	return "max"
}

// comma doubles commas, which end a value in qemu's options.
func comma(path string) string { return strings.ReplaceAll(path, ",", ",,") }

func (m *Machine) machine() string {
	const ram = ",memory-backend=ram"
	if m.Type == "microvm" {
		// ACPI would cost a tenth of the time, and hangs without KVM's clock; without an RTC the kernel waits for one.
		return "microvm,acpi=off,rtc=on" + ram
	}
	if m.Type == "virt" && m.Accel == "kvm" {
		return "virt,gic-version=host" + ram
	}
	return m.Type + ram
}

// commandLine is the kernel's. A rootfs on ramfs can use all memory, while tmpfs takes half and then cuts files short. What
// is left out takes time to boot: tests of ciphers, clearing memory twice, and looking for devices that are not there.
func (m *Machine) commandLine() string {
	words := []string{"rdinit=" + m.Init, "rootfstype=ramfs", "panic=-1", "oops=panic", "cryptomgr.notests", "init_on_alloc=0"}
	if m.Accel == "tcg" && m.Arch == "x86_64" {
		words = append(words, "noreplace-smp") // each change of its own code costs an emulated kernel dear: a fifth of the time
	}
	if m.Roomy {
		words = append(words, "retain_initrd") // to free it is to overwrite it first
	}
	if m.Arch == "aarch64" {
		words = append(words, "console=ttyAMA0", wire.ParamLine+"ttyS0")
	} else {
		words = append(words, "console=ttyS0", "reboot=t", "8250.nr_uarts=2", "initcall_blacklist=i8042_init", wire.ParamLine+"ttyS1")
	}
	if m.Arch == "x86_64" && !m.Low {
		words = append(words, fmt.Sprintf("memmap=%dM$%dM", wire.Shared>>20, SharedAt>>20), fmt.Sprintf("%s%#x", wire.ParamMemory, SharedAt))
	}
	if m.Root != "" {
		words = append(words, wire.ParamRoot+m.Root)
	}
	if !m.Verbose {
		words = append(words, "quiet", "loglevel=4")
	}
	if m.Append != "" {
		words = append(words, m.Append)
	}
	return strings.Join(words, " ")
}
