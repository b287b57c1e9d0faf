package vm

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

// A bootSource, drive and machineConfig are those of firecracker's API (its docs, "Getting Started").
type bootSource struct {
	Kernel string `json:"kernel_image_path"`
	Initrd string `json:"initrd_path,omitempty"`
	Args   string `json:"boot_args"`
}

type drive struct {
	ID       string `json:"drive_id"`
	Path     string `json:"path_on_host"`
	Root     bool   `json:"is_root_device"`
	ReadOnly bool   `json:"is_read_only"`
}

type machineConfig struct {
	CPUs   int   `json:"vcpu_count"`
	Memory int64 `json:"mem_size_mib"`
}

type firecracker struct {
	Boot    bootSource    `json:"boot-source"`
	Drives  []drive       `json:"drives"`
	Machine machineConfig `json:"machine-config"`
}

// firecracker is a file for firecracker --config-file. Its kernel must not be compressed, and have virtio and a file system
// of the disk's kind built in; nobody but the guest's console gets what the program prints.
func (r *runner) firecracker() (string, error) {
	c := firecracker{Boot: bootSource{Kernel: r.kernel.File.Name(), Args: r.bootArgs("console=ttyS0 reboot=k panic=1")},
		Drives: []drive{}, Machine: machineConfig{r.CPUs, r.machine.Memory >> 20}}
	if r.disk != nil {
		c.Drives = []drive{{"root", r.disk.Name(), false, r.Fixed}} // bootArgs say which it is
	} else {
		c.Boot.Initrd = r.inputName()
	}
	text, err := json.MarshalIndent(c, "", "  ")
	return string(text), err
}

// cloudHypervisor is a command line, quoted for a shell.
func (r *runner) cloudHypervisor() string {
	args := []string{"cloud-hypervisor", "--kernel", r.kernel.File.Name(), "--cmdline", r.bootArgs("console=ttyS0 panic=-1"),
		"--cpus", fmt.Sprintf("boot=%d", r.CPUs), "--memory", fmt.Sprintf("size=%dM", r.machine.Memory>>20),
		"--console", "off", "--serial", "tty"}
	if r.disk == nil {
		return quoteAll(append(args, "--initramfs", r.inputName()))
	}
	disk := "path=" + r.disk.Name()
	if r.Fixed {
		disk += ",readonly=on"
	}
	return quoteAll(append(args, "--disk", disk))
}

// inputName is that of the initrd.
func (r *runner) inputName() string {
	if f, ok := r.Initrd.(*os.File); ok {
		return f.Name()
	}
	return "/dev/stdin"
}

// bootArgs is a kernel's command line for a guest without our init.
func (r *runner) bootArgs(first string) string {
	words := []string{first}
	init := "rdinit="
	if r.disk != nil {
		words = append(words, "root=/dev/vda"+strings.TrimPrefix(strings.TrimPrefix(r.Disk.Device, diskDevice), "p"), "rootfstype="+r.Disk.Kind, r.access())
		init = "init="
	}
	if r.Append != "" {
		words = append(words, r.Append)
	}
	words = append(words, init+r.Args[0])
	if len(r.Args) > 1 {
		words = append(words, "--")
	}
	for _, arg := range r.Args[1:] {
		if strings.ContainsAny(arg, " \t\n") || arg == "" {
			arg = `"` + arg + `"` // which is all the quoting that a kernel knows
		}
		words = append(words, arg)
	}
	return strings.Join(words, " ")
}
