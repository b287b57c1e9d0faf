//go:build linux && (amd64 || arm64)

package plan

import (
	"syscall"
	"unsafe"
)

// inputPipe returns a pipe that is to be the program's standard input, if that is a file which is open only to be read. The program
// could open it anew through /proc/self/fd/0, to write, or have its mode changed with fchmod(2): outside of DIR, and by its
// owner, who it is. Other kinds of standard input are passed as they are: -1 and -1.
func inputPipe() (read, write int, err error) {
	var st syscall.Stat_t
	flags, _, errno := syscall.RawSyscall(syscall.SYS_FCNTL, 0, syscall.F_GETFL, 0)
	if errno != 0 || flags&syscall.O_ACCMODE != syscall.O_RDONLY || syscall.Fstat(0, &st) != nil {
		return -1, -1, nil
	}
	if kind := st.Mode & syscall.S_IFMT; kind != syscall.S_IFREG && kind != syscall.S_IFBLK {
		return -1, -1, nil
	}
	var ends [2]int
	if err := syscall.Pipe2(ends[:], syscall.O_CLOEXEC); err != nil {
		return -1, -1, err
	}
	return ends[0], ends[1], syscall.SetNonblock(ends[1], true)
}

// Feed copies standard input to a program that was given a pipe for it, and returns at the end of either, or nil at once where
// there is none. It reads nothing before the program has started, lest another try find it gone. It must return before Rewind and Close.
func (c *Child) Feed() error {
	if c.feed < 0 || !c.started() {
		return nil
	}
	defer func() {
		syscall.Close(c.feed)
		c.feed = -1
	}()
	buffer := make([]byte, 64<<10)
	for {
		n, err := syscall.Read(0, buffer)
		if err == syscall.EINTR {
			continue
		}
		if n <= 0 {
			return err
		}
		if c.unread = n - c.hand(buffer[:n]); c.unread > 0 {
			return nil // the program does not want more
		}
	}
}

// started waits for the program to start, or not to: execve(2) closes the child's end of the line.
func (c *Child) started() bool {
	hangup := pollFD{fd: int32(c.line)}
	for poll(&hangup, 1) == syscall.EINTR {
	}
	return c.Failure() == nil
}

// hand writes to the pipe, which holds more than the program has asked for, and says how much. Our own copy of its other end is
// for Rewind, so only the program's end, not an error, shows that nobody will read it.
func (c *Child) hand(data []byte) (n int) {
	for n < len(data) {
		fds := [...]pollFD{{fd: int32(c.feed), events: pollOut}, {fd: int32(c.PIDFD), events: pollIn}}
		if poll(&fds[0], len(fds)); fds[1].revents != 0 {
			break
		}
		if wrote, err := syscall.Write(c.feed, data[n:]); err == nil {
			n += wrote
		}
	}
	return n
}

// Rewind puts a file that is standard input back to where the program has read it to, as if it had read the file itself: who calls us
// in a loop over its lines would find the end of it otherwise. It is for after Feed.
func (c *Child) Rewind() {
	var inPipe int32
	const fionread = 0x541b // the same for every architecture that plans are for
	if c.input >= 0 {
		syscall.RawSyscall(syscall.SYS_IOCTL, uintptr(c.input), fionread, uintptr(unsafe.Pointer(&inPipe)))
		syscall.Seek(0, -int64(inPipe)-int64(c.unread), 1)
	}
}

type pollFD struct {
	fd              int32
	events, revents int16
}

func poll(fds *pollFD, n int) syscall.Errno {
	_, _, errno := syscall.Syscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(fds)), uintptr(n), 0, 0, 0, 0)
	return errno
}
