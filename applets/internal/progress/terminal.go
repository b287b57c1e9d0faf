package progress

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/output"
)

// erase empties the line that the cursor is on (CR, and EL of ECMA-48).
const erase = "\r\x1b[K"

// A terminal is that of standard error.
type terminal struct{ fd uintptr }

// terminalOf returns nil if w is no terminal.
func terminalOf(w io.Writer) *terminal {
	if f, ok := w.(*os.File); ok && output.Termios(f.Fd()) != nil {
		return &terminal{f.Fd()}
	}
	return nil
}

// capable reports whether a terminal of this type can erase a line. Without a type nobody knows.
func capable(term string) bool { return term != "" && term != "dumb" }

// Clear is what must precede a message to w, so that it is not mixed with the line of another process: of fileids, if
// listdiff fails in "fileids | listdiff". It is "" where there is no such line.
func Clear(w io.Writer) string {
	if t := terminalOf(w); t != nil && t.taken() && t.ours() {
		return erase
	}
	return ""
}

// ready reports whether writing will not wait: somebody may have stopped the terminal by ^S.
func (t *terminal) ready() bool { return poll(t.fd, unix.POLLOUT) != 0 }

// broken reports whether nobody reads what is written to fd.
func broken(fd uintptr) bool { return poll(fd, 0)&(unix.POLLERR|unix.POLLHUP) != 0 }

// poll reports which of events, and of errors, there are; POLLNVAL is one where terminals cannot be asked (macOS).
func poll(fd uintptr, events int16) int16 {
	fds := []unix.PollFd{{Fd: int32(fd), Events: events}}
	for {
		if _, err := unix.Poll(fds, 0); err != unix.EINTR {
			return fds[0].Revents
		}
	}
}

// ours reports whether this process may draw: in the background it may not, nor while a pager or an editor has the
// terminal, which then does not deal in lines. Who has no job control, because it is another session's terminal, may.
func (t *terminal) ours() bool {
	settings := output.Termios(t.fd)
	if settings == nil || settings.Lflag&unix.ICANON == 0 {
		return false
	}
	group, err := unix.IoctlGetInt(int(t.fd), unix.TIOCGPGRP)
	return err != nil || group == unix.Getpgrp()
}

// lock makes this process the one whose line is shown, and reports false if that is another one. It is a record lock,
// since these belong to a process: the descriptor itself is shared by all commands of a pipe. It goes with the process.
// To ask again costs nothing; that is also needed, because closing any other descriptor of the terminal ends the lock.
func (t *terminal) lock() bool {
	err := unix.FcntlFlock(t.fd, unix.F_SETLK, lockOf(unix.F_WRLCK))
	return !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EACCES) // where terminals have no locks, all may
}

func (t *terminal) unlock() { unix.FcntlFlock(t.fd, unix.F_SETLK, lockOf(unix.F_UNLCK)) }

// taken reports whether another process shows its line.
func (t *terminal) taken() bool {
	other := lockOf(unix.F_WRLCK)
	err := unix.FcntlFlock(t.fd, unix.F_GETLK, other)
	return err == nil && other.Type != unix.F_UNLCK
}

func lockOf(kind int16) *unix.Flock_t { return &unix.Flock_t{Type: kind, Whence: io.SeekStart, Len: 1} }

// columns is the width that can be written to. It is asked anew each time, because windows change.
func (t *terminal) columns() int {
	const usual = 80
	size, err := unix.IoctlGetWinsize(int(t.fd), unix.TIOCGWINSZ)
	if err != nil || size.Col == 0 {
		return usual
	}
	return int(size.Col)
}
