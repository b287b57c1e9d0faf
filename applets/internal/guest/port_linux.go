package guest

import (
	"errors"
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A port is a file descriptor that is read and written without the poller of package os: few threads wait here, and each
// for one thing.
type port int

// openPort opens a terminal as a line for bytes: no echo, no mapping of any byte, no flow control.
func openPort(path string) (port, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: path, Err: err}
	}
	t := unix.Termios{Cflag: unix.CS8 | unix.CREAD | unix.CLOCAL | unix.B115200}
	t.Cc[unix.VMIN] = 1
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &t); err != nil {
		return -1, &os.PathError{Op: "set up", Path: path, Err: err}
	}
	return port(fd), nil
}

func (p port) Read(b []byte) (int, error) {
	for {
		n, err := unix.Read(int(p), b)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 0, err
		case n == 0 && len(b) > 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

// Write writes all of b.
func (p port) Write(b []byte) (int, error) {
	done := 0
	for done < len(b) {
		n, err := unix.Write(int(p), b[done:])
		if err != nil && err != unix.EINTR {
			return done, err
		}
		done += max(n, 0)
	}
	return done, nil
}

// readLine reads up to a newline and not a byte more.
func (p port) readLine() (string, error) {
	var line []byte
	for b := make([]byte, 1); ; {
		if _, err := p.Read(b); err != nil {
			return "", err
		}
		line = append(line, b[0])
		if b[0] == '\n' {
			return string(line), nil
		}
		if len(line) > 100 {
			return "", errors.New("the host's answer does not end")
		}
	}
}

// drain waits until all that was written has left (tcdrain(3)).
func (p port) drain() error { return unix.IoctlSetInt(int(p), unix.TCSBRK, 1) }

func (p port) close() { unix.Close(int(p)) }

// newPipe is a pipe that holds as much as an ordinary user may ask for (pipe-max-size in proc_sys_fs(5)), or less.
func newPipe() (r, w port, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return -1, -1, &os.SyscallError{Syscall: "pipe", Err: err}
	}
	unix.FcntlInt(uintptr(fds[0]), unix.F_SETPIPE_SZ, 1<<20)
	return port(fds[0]), port(fds[1]), nil
}

// readFile returns what a file of the kernel's holds, or "" if there is none. That of package os would set up the poller.
func readFile(path string) string {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	var all []byte
	for b := make([]byte, 4096); ; {
		n, err := port(fd).Read(b)
		if err != nil {
			return string(all)
		}
		all = append(all, b[:n]...)
	}
}

// newToken is a number that does not stand in the shared memory already. It is no secret.
func newToken() uint64 {
	var t uint64
	b := unsafe.Slice((*byte)(unsafe.Pointer(&t)), unsafe.Sizeof(t))
	if n, err := unix.Getrandom(b, unix.GRND_INSECURE); err != nil || n < len(b) {
		var now unix.Timespec
		unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
		t = uint64(now.Nano())
	}
	return t
}
