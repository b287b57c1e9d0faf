package vm

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/program"
	"github.com/ctbox/ctbox/applets/internal/wire"
)

// A process is a running qemu and the ends that we hold: nothing of it has a name in any file system, and it dies with us.
type process struct {
	*program.Helper
	cmd     *exec.Cmd
	shared  []byte // the memory that the guest shares with us, mapped
	line    *os.File
	control *os.File // QMP
	console *console
	said    *console // what qemu itself says
	output  *os.File // where console comes from
	reading chan struct{}
}

// files are what qemu reads; restore is nil for a machine that boots, disk for one without.
type files struct{ ram, kernel, initrd, restore, disk *os.File }

// lastWords is how long a kernel that has panicked may go on to say why. It was told to reboot at once (panic=-1).
const lastWords = 2 * time.Second

// launch starts qemu and fills in the descriptors of m.
func launch(m *Machine, in files, echo io.Writer) (*process, error) {
	p := &process{console: &console{echo: echo}, said: &console{echo: echo}, reading: make(chan struct{})}
	var theirs []*os.File
	defer func() {
		for _, f := range theirs {
			f.Close()
		}
	}()
	inherit := func(f *os.File) int { // descriptors 0 to 2 are the standard ones
		p.cmd.ExtraFiles = append(p.cmd.ExtraFiles, f)
		return 2 + len(p.cmd.ExtraFiles)
	}
	path := func(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", inherit(f)) }
	p.cmd = &exec.Cmd{Path: m.Qemu, Stdout: p.said, Stderr: p.said, WaitDelay: lastWords}
	m.RAM, m.Kernel, m.Initrd = path(in.ram), path(in.kernel), path(in.initrd)
	if in.disk != nil {
		m.Disk = path(in.disk)
	}
	if in.restore != nil {
		m.Restore = inherit(in.restore)
	}
	consoleR, consoleW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	theirs = append(theirs, consoleW)
	m.Console = inherit(consoleW)
	for _, end := range [...]struct {
		ours   **os.File
		number *int
	}{{&p.line, &m.Line}, {&p.control, &m.Control}} {
		ours, peer, err := socketPair()
		if err != nil {
			return nil, errors.Join(err, p.close())
		}
		theirs = append(theirs, peer)
		*end.ours, *end.number = ours, inherit(peer)
	}
	if m.Arch != "aarch64" {
		p.shared, err = unix.Mmap(int(in.ram.Fd()), SharedAt, wire.Shared, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	}
	if err == nil {
		p.cmd.Args = m.Args()
		p.Helper, err = program.Start(p.cmd)
	}
	if err != nil {
		return nil, errors.Join(err, consoleR.Close(), p.close())
	}
	p.output = consoleR
	p.console.dead = func() { time.AfterFunc(lastWords, p.Kill) }
	go func() {
		io.Copy(p.console, consoleR)
		consoleR.Close()
		close(p.reading)
	}()
	return p, nil
}

// drainLimit is how long what qemu said may take to be read when it is gone. Only where a script starts qemu for us, and is what we
// killed, may others hold the ends.
const drainLimit = time.Second

// stop kills qemu and waits for the end of what it and the guest's console said.
func (p *process) stop() {
	p.Kill()
	<-p.Ended
	p.output.SetReadDeadline(time.Now().Add(drainLimit))
	<-p.reading
}

// close frees what launch made; qemu must have been stopped.
func (p *process) close() error {
	var err error
	if p.line != nil {
		p.line.Close()
	}
	if p.control != nil {
		p.control.Close()
	}
	if p.shared != nil {
		err = unix.Munmap(p.shared)
	}
	return err
}

// socketPair makes our end, on which deadlines work, and qemu's.
func socketPair() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	if err := unix.SetNonblock(fds[0], true); err != nil {
		return nil, nil, err
	}
	return os.NewFile(uintptr(fds[0]), "line"), os.NewFile(uintptr(fds[1]), "qemu's end"), nil
}

// errSilent is a guest that has not said Hello in time.
var errSilent = errors.New("the guest gave no sign of life")

// hello waits for the guest's init to come up.
func (p *process) hello(limit time.Duration) (wire.Hello, error) {
	p.line.SetReadDeadline(time.Now().Add(limit))
	defer p.line.SetReadDeadline(time.Time{})
	var got []byte
	for {
		var buf [256]byte
		n, err := p.line.Read(buf[:])
		got = append(got, buf[:n]...)
		for {
			line, rest, whole := bytes.Cut(got, []byte("\n"))
			if !whole {
				break
			}
			got = rest
			if h, err := wire.ParseHello(strings.TrimRight(string(line), "\r")); err == nil || errors.Is(err, wire.ErrVersion) {
				return h, err
			}
		}
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return wire.Hello{}, fmt.Errorf("%w in %v", errSilent, limit)
		case err != nil:
			return wire.Hello{}, err
		case len(got) > 64<<10:
			return wire.Hello{}, errRecord
		}
	}
}

// connect answers a Hello, and is the way for frames from then on. Memory is used if the guest offers it, what we see of it
// is what the guest wrote, and it is wanted.
func (p *process) connect(h wire.Hello, memory bool) (conn io.ReadWriter, inMemory bool, err error) {
	if memory && h.Memory && p.shared != nil {
		m := wire.NewMemory(p.shared)
		if m.Token() == h.Token {
			_, err := io.WriteString(p.line, wire.AnswerMemory)
			bell := wire.NewBell(p.line, p.line)
			return struct {
				io.Reader
				io.Writer
			}{m.Out(bell), m.In(bell)}, true, err
		}
	}
	_, err = io.WriteString(p.line, wire.AnswerSerial)
	return p.line, false, err
}

// memoryFile makes a file of size bytes that is only in memory and has no name.
func memoryFile(name string, size int64) (*os.File, error) {
	fd, err := unix.MemfdCreate("ctbox-"+name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if err := f.Truncate(size); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
