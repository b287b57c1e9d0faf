package applets

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/cli"
	"github.com/ctbox/ctbox/applets/internal/vm"
)

var memcalc = cli.Applet{
	Name:    "memcalc",
	Brief:   "say how much memory a machine needs for an initrd",
	Example: "qemu-system-x86_64 -m \"$(ctbox memcalc hello.initrd)\" ...",
	New:     func() cli.Command { return new(memcalcCommand) },
}

type memcalcCommand struct {
	Kernel  string   `placeholder:"FILE" help:"Kernel that will unpack it; by default one that takes 64M."`
	Rootfs  string   `name:"rootfstype" enum:"tmpfs,ramfs" default:"tmpfs" help:"What the kernel is told to unpack to; tmpfs needs more and is what it takes if it is told nothing."`
	Verbose bool     `short:"v" help:"Print the sizes that count on standard error."`
	Initrds []string `arg:"" optional:"" placeholder:"INITRD" help:"Initrd, or its parts in order; standard input if none or -."`
}

func (c *memcalcCommand) Run(std cli.Stdio) error {
	kernel, err := kernelNeed(c.Kernel)
	if err != nil {
		return err
	}
	initrd, err := measure(c.Initrds, std.In)
	if err != nil {
		return err
	}
	if c.Verbose {
		std.Warn("initrd %d bytes, unpacked %d, window %d, kernel %d", initrd.Loaded, initrd.Unpacked, initrd.Window, kernel)
	}
	const mib = 1 << 20
	_, err = fmt.Fprintf(std.Out, "%dM\n", (vm.Need(initrd, kernel, c.Rootfs)+mib-1)/mib)
	return err
}

// kernelNeed is the memory in bytes that a kernel says it takes.
func kernelNeed(name string) (int64, error) {
	if name == "" {
		return vm.DefaultKernel, nil
	}
	f, err := openRegular(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	header, err := vm.ReadKernel(f)
	if err == nil && header.InitSize == 0 {
		err = errors.New("does not say how much memory it takes")
	}
	if err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	return header.InitSize, nil
}

// measure measures the initrd that files are when they are joined.
func measure(names []string, stdin io.Reader) (vm.Initrd, error) {
	if len(names) == 0 {
		names = []string{"-"}
	}
	parts := &joinedFiles{names: names, stdin: stdin}
	defer parts.close()
	if err := parts.next(); err != nil {
		return vm.Initrd{}, err
	}
	var r io.Reader = parts
	if len(names) == 1 {
		r = parts.current // a file that can be read here and there
	}
	initrd, err := vm.Measure(r)
	if err != nil && !errors.As(err, new(*fs.PathError)) {
		err = fmt.Errorf("%s: %w", parts.shown(), err)
	}
	return initrd, err
}

// joinedFiles reads files one after another; "-" is standard input.
type joinedFiles struct {
	names   []string // current's and those after it
	stdin   io.Reader
	current io.Reader
	file    *os.File // current, unless that is standard input
}

func (j *joinedFiles) Read(p []byte) (int, error) {
	for {
		n, err := j.current.Read(p)
		if n > 0 || err != io.EOF || len(j.names) == 1 {
			return n, err
		}
		j.names = j.names[1:]
		if err := j.next(); err != nil {
			return 0, err
		}
	}
}

// next opens the first of names.
func (j *joinedFiles) next() (err error) {
	j.close()
	if j.names[0] == "-" {
		j.current = j.stdin
		return nil
	}
	if j.file, err = openRegular(j.names[0]); err == nil {
		j.current = j.file
	}
	return err
}

func (j *joinedFiles) close() {
	if j.file != nil {
		j.file.Close()
		j.file = nil
	}
}

// shown is the name of the current file for messages.
func (j *joinedFiles) shown() string {
	if j.names[0] == "-" {
		return "standard input"
	}
	return j.names[0]
}

// openRegular opens a regular file to read. A FIFO must not block, and a device is no initrd.
func openRegular(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case info.IsDir():
		err = &fs.PathError{Op: "read", Path: name, Err: unix.EISDIR}
	case !info.Mode().IsRegular():
		err = &fs.PathError{Op: "read", Path: name, Err: errors.New("is not a regular file")}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
