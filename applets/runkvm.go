package applets

import (
	"context"
	"errors"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/ctbox/ctbox/applets/internal/cli"
	"github.com/ctbox/ctbox/applets/internal/environ"
	"github.com/ctbox/ctbox/applets/internal/interrupt"
	"github.com/ctbox/ctbox/applets/internal/vm"
	"github.com/ctbox/ctbox/applets/internal/wire"
)

var runkvm = cli.Applet{
	Name:    "runkvm",
	Brief:   "boot an initrd in a virtual machine and run its /init",
	Example: "ctbox runkvm hello.initrd >out",
	Runner:  true,
	New:     func() cli.Command { return new(runkvmCommand) },
}

// runkvmCommand runs an initrd as a filter: standard output is that of its /init, byte for byte, and so is the status.
type runkvmCommand struct {
	Accel       string       `enum:"auto,kvm,tcg" default:"auto" help:"Use KVM, or emulate (tcg); auto is KVM where a guest comes up with it."`
	Append      string       `placeholder:"WORDS" help:"Add to the kernel's command line."`
	Channel     string       `enum:"auto,memory,serial" default:"auto" help:"How output comes out: through memory that guest and host share, or a serial line, which is slow; auto is memory where the guest's kernel allows it."`
	Cold        bool         `help:"Boot; otherwise the run starts from the memory of a guest that has booted before, when emulating."`
	DryRun      bool         `short:"n" help:"Print the command line of qemu instead of running it; see --vmm."`
	Env         []string     `short:"e" sep:"none" placeholder:"VAR[=VALUE]" help:"Set VAR in the guest; without VALUE, to what it is here."`
	Interactive bool         `short:"i" help:"Pass standard input to the guest; otherwise it has none, so that a loop's input is not eaten."`
	Kernel      string       `placeholder:"FILE" help:"Kernel to boot; otherwise $CTBOX_KERNEL, or the newest that is found and can be read."`
	Memory      cli.Size     `short:"m" placeholder:"MEM" help:"RAM of the guest, such as 512M; otherwise what the initrd needs, and 128M to work in."`
	ReadOnly    bool         `help:"Mount the file system of a disk read-only; otherwise what is written there is thrown away in the end."`
	SMP         int          `default:"1" placeholder:"N" help:"Processors of the guest."`
	Timeout     cli.Duration `placeholder:"TIME" help:"End the guest after TIME, in seconds or as 2m30s; the exit status is then 124."`
	Verbose     bool         `short:"v" help:"Show the guest's console on standard error; otherwise only its end, and only when the run fails."`
	VMM         string       `enum:"qemu,firecracker,cloud-hypervisor" default:"qemu" help:"With -n, what to print: the command line of qemu or cloud-hypervisor, or firecracker's configuration."`
	Workdir     string       `default:"/" placeholder:"DIR" help:"Working directory in the guest."`
	Initrd      string       `arg:"" placeholder:"INITRD" help:"Initrd, such as mkinitrd writes, or the image of a disk, such as mkdisk writes; - is an initrd on standard input."`
	Args        []string     `arg:"" optional:"" placeholder:"ARG" help:"Command and arguments; by default /init."`
}

func (c *runkvmCommand) Run(std cli.Stdio) error {
	o, err := c.options(std)
	if err != nil {
		return err
	}
	if c.DryRun {
		line, err := vm.CommandLine(o)
		if err == nil {
			_, err = io.WriteString(std.Out, line+"\n")
		}
		return err
	}
	return interrupt.Run(time.Duration(c.Timeout), func(ctx context.Context) error {
		end, err := vm.Run(ctx, o)
		if errors.Is(err, syscall.EPIPE) {
			return cli.ExitStatus(128 + int(syscall.SIGPIPE)) // nobody reads any more
		}
		if err != nil {
			return err
		}
		return ended(c.Args, end)
	})
}

// options opens INITRD and fills in defaults.
func (c *runkvmCommand) options(std cli.Stdio) (*vm.Options, error) {
	if c.Initrd == "-" && c.Interactive {
		return nil, cli.Usagef("INITRD - and -i both want standard input")
	}
	if c.VMM != "qemu" && !c.DryRun {
		return nil, cli.Usagef("--vmm=%s: runs are those of qemu, others are for -n", c.VMM)
	}
	if c.SMP < 1 {
		return nil, cli.Usagef("--smp: %d is no number of processors", c.SMP)
	}
	if len(c.Args) == 0 {
		c.Args = []string{"/init"}
	}
	o := &vm.Options{
		Name: "standard input", Args: c.Args, Env: environ.New(c.Env...), Dir: c.Workdir, Stdout: std.Out, Stderr: std.Err,
		Memory: int64(c.Memory), CPUs: c.SMP, Kernel: c.Kernel, Accel: c.Accel, Append: c.Append, Channel: c.Channel,
		Fixed: c.ReadOnly, Warm: !c.Cold, Verbose: c.Verbose, Warn: std.Warn,
	}
	if c.VMM != "qemu" {
		o.Monitor = c.VMM
	}
	if c.Interactive {
		o.Stdin = std.In
	}
	o.Initrd = std.In
	if c.Initrd != "-" {
		f, err := os.Open(c.Initrd)
		if err != nil {
			return nil, err
		}
		o.Initrd, o.Name = f, c.Initrd
		o.Disk, _ = vm.FindDisk(f)
	}
	return o, nil
}

// ended is the status of a program as a shell would give it.
func ended(args []string, end *wire.End) error {
	switch {
	case end.How == wire.Refused:
		return cli.WithStatus(int(end.Code), errors.New(end.Message))
	case end.How == wire.Signaled:
		return cli.Ended(args[0], 0, syscall.Signal(end.Code))
	}
	return cli.Ended(args[0], int(end.Code), 0)
}
