package vm

import (
	"slices"
	"strings"
	"testing"
)

func testMachine() Machine {
	return Machine{
		Qemu: "/usr/bin/qemu-system-x86_64", Arch: "x86_64", Type: "microvm", Accel: "tcg", CPUs: 2, Memory: 256 << 20,
		RAM: "/proc/self/fd/3", Kernel: "/boot/vmlinux", Initrd: "x.initrd", Init: "/.rdinit", Console: 4, Line: 5, Control: 6,
	}
}

// value is the argument after an option.
func value(args []string, option string) string {
	if i := slices.Index(args, option); i >= 0 && i+1 < len(args) {
		return args[i+1]
	}
	return ""
}

func TestMachineX86(t *testing.T) {
	m := testMachine()
	args := m.Args()
	for option, want := range map[string]string{
		"-M": "microvm,acpi=off,rtc=on,memory-backend=ram", "-accel": "tcg", "-cpu": "max,-erms,-fsrm", "-smp": "2", "-m": "256M", "-nic": "none",
		"-object": "memory-backend-file,id=ram,size=268435456,mem-path=/proc/self/fd/3,share=on", "-kernel": "/boot/vmlinux",
		"-append": "rdinit=/.rdinit rootfstype=ramfs panic=-1 oops=panic cryptomgr.notests init_on_alloc=0 noreplace-smp console=ttyS0 reboot=t 8250.nr_uarts=2 initcall_blacklist=i8042_init ctbox.line=ttyS1 " +
			"memmap=4M$8M ctbox.memory=0x800000 quiet loglevel=4",
	} {
		if got := value(args, option); got != want {
			t.Errorf("%s %q, want %q", option, got, want)
		}
	}
	for _, must := range []string{"-no-reboot", "-nodefaults", "-no-user-config"} {
		if !slices.Contains(args, must) {
			t.Errorf("no %s in %q", must, args)
		}
	}
	if slices.Contains(args, "-incoming") {
		t.Errorf("a machine that boots waits for a state: %q", args)
	}
	m.Accel, m.Roomy = "kvm", true
	if got := value(m.Args(), "-cpu"); got != "max" {
		t.Errorf("-cpu %q with KVM", got)
	}
	if line := value(m.Args(), "-append"); !strings.Contains(line, " retain_initrd ") {
		t.Errorf("command line %q", line)
	}
	m.Restore = 7
	if got := value(m.Args(), "-incoming"); got != "defer" {
		t.Errorf("-incoming %q", got)
	}
}

func TestMachineAppend(t *testing.T) {
	m := testMachine()
	m.Verbose, m.Append = true, "loglevel=7 x=y"
	line := value(m.Args(), "-append")
	if !strings.HasSuffix(line, " ctbox.memory=0x800000 loglevel=7 x=y") || strings.Contains(line, "quiet") {
		t.Errorf("command line %q", line)
	}
}

// TestMachineLowKernel: memory that the kernel is loaded to is not shared.
func TestMachineLowKernel(t *testing.T) {
	m := testMachine()
	m.Low = true
	if line := value(m.Args(), "-append"); strings.Contains(line, "memmap") || strings.Contains(line, "ctbox.memory") {
		t.Errorf("command line %q", line)
	}
}

// TestMachineARM: one UART of its own, no memory map words, and a GIC that is the host's with KVM.
func TestMachineARM(t *testing.T) {
	m := testMachine()
	m.Qemu, m.Arch, m.Type = "qemu-system-aarch64", "aarch64", "virt"
	args := m.Args()
	if got := value(args, "-M"); got != "virt,memory-backend=ram" {
		t.Errorf("-M %q", got)
	}
	if got := value(args, "-serial"); got != "chardev:console" {
		t.Errorf("-serial %q", got)
	}
	if got := value(args, "-device"); got != "pci-serial,chardev=line" {
		t.Errorf("-device %q", got)
	}
	line := value(args, "-append")
	if !strings.Contains(line, "console=ttyAMA0 ctbox.line=ttyS0") || strings.Contains(line, "memmap") || strings.Contains(line, "reboot=t") {
		t.Errorf("command line %q", line)
	}
	m.Accel = "kvm"
	if got := value(m.Args(), "-M"); got != "virt,gic-version=host,memory-backend=ram" {
		t.Errorf("-M %q", got)
	}
}
