//go:build linux && (amd64 || arm64)

package plan

import (
	"path"
	"syscall"
	"unsafe"
)

// early is a child that was started before its time.
var early struct {
	options *Options
	child   *Child
}

// Go initialises the packages of a program in the order of their import paths, each when all that it imports is ready, so this comes
// before compressors, JSON and command lines are made ready, and main has begun: two milliseconds, half of a short run. So when
// the command line is that of a plain runlocal, its child begins here. If that has ended soon, by itself, its exit status is all
// that is left to do. Otherwise main's runlocal, which reads the command line in its own way, finds it at work (Early). A test
// holds both ways of reading together.
func init() {
	early.options = Guess(runtimeArgs(), syscall.Geteuid())
	if early.options == nil || DirectoryAt() >= 0 {
		return
	}
	child, err := Start(early.options)
	if err != nil {
		return // it will be wrong again, and then explained
	}
	early.child = child
	if child.feed < 0 && child.endsWithin(soon) {
		syscall.RawSyscall(syscall.SYS_EXIT_GROUP, uintptr(child.Wait().ExitStatus()), 0, 0)
	}
}

// soon is how long the start of main can wait: in nanoseconds. Until then signals end this process, and with it the child.
const soon = 10_000_000

// endsWithin says whether the program has ended in that time, with an exit status, which Wait then has.
func (c *Child) endsWithin(nanoseconds int64) bool {
	ended := pollFD{fd: int32(c.PIDFD), events: pollIn}
	limit := syscall.Timespec{Nsec: nanoseconds}
	n, _, _ := syscall.Syscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&ended)), 1, uintptr(unsafe.Pointer(&limit)), 0, 0, 0)
	var info struct { // siginfo_t (sigaction(2))
		_    [2]int32
		code int32
		_    [125]int32
	}
	if n != 1 {
		return false
	}
	_, _, errno := syscall.Syscall6(syscall.SYS_WAITID, pPIDFD, uintptr(c.PIDFD), uintptr(unsafe.Pointer(&info)), syscall.WEXITED|syscall.WNOWAIT, 0, 0)
	return errno == 0 && info.code == cldExited && c.Failure() == nil
}

//go:linkname runtimeArgs os.runtime_args
func runtimeArgs() []string

// Guess reads "ctbox runlocal [-e VAR[=VALUE]]... DIR [CMD [ARG]...]", or without "ctbox" if that is a link called runlocal.
// Everything else is nil. Under any other name, "runlocal" may be an argument: ours is "ctbox" and perhaps a version.
func Guess(args []string, euid int) *Options {
	if len(args) < 2 || euid == 0 {
		return nil
	}
	if base := path.Base(args[0]); base != "runlocal" {
		if len(base) < 5 || base[:5] != "ctbox" || args[1] != "runlocal" {
			return nil
		}
		args = args[1:]
	}
	if len(args) < 2 {
		return nil
	}
	var env []string
	for args = args[1:]; len(args) > 2 && args[0] == "-e"; args = args[2:] {
		if !operand(args[1]) {
			return nil
		}
		env = append(env, args[1])
	}
	if !operand(args[0]) || len(args) > 1 && args[1] == "" {
		return nil
	}
	return Defaults(args[0], args[1:], env)
}

func operand(arg string) bool { return arg != "" && arg[0] != '-' }

// Early is the child that was started before its time, or nil if there is none.
func Early(o *Options) *Child {
	child := early.child
	early.child = nil
	if child == nil || o.equal(early.options) {
		return child
	}
	child.Signal(syscall.SIGKILL) // such as one for a DIR and a command that main takes for options
	child.Wait()
	child.Close()
	return nil
}

// DirectoryAt is the first of the standard files that is a directory, or -1. A program could leave its sandbox through it.
func DirectoryAt() int {
	for fd := range 3 {
		var st syscall.Stat_t
		if syscall.Fstat(fd, &st) == nil && st.Mode&syscall.S_IFMT == syscall.S_IFDIR {
			return fd
		}
	}
	return -1
}
