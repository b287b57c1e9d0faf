package vm

import "io"

// Options say what to run and how.
type Options struct {
	Initrd  io.Reader // newc archives, one after another, plain or compressed; a regular file is not copied for a warm start
	Name    string    // of the initrd, in messages
	Disk    Disk      // if its Kind is not "", Initrd is an *os.File with that
	Fixed   bool      // the disk's file system is mounted read-only; what is written is never kept
	Monitor string    // "": qemu. CommandLine knows "firecracker" and "cloud-hypervisor", too
	Args    []string  // program and arguments
	Env     []string  // its whole environment, VAR=VALUE
	Dir     string    // its working directory
	Stdin   io.Reader // nil: empty
	Stdout  io.Writer
	Stderr  io.Writer
	Memory  int64  // bytes of RAM; 0: what the initrd needs, and room to work
	CPUs    int    // processors
	Kernel  string // path; "": look for one
	Accel   string // "kvm", "tcg", or "auto": kvm where it works
	Append  string // further words for the kernel's command line
	Channel string // "memory", "serial", or "auto": memory where the guest's kernel allows it
	Warm    bool   // start from the memory of a machine that has booted before
	Verbose bool   // show the guest's console
	Warn    func(format string, args ...any)
}
