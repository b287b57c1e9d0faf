package output

import (
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// raise gives sig the kernel's default action and sends it to this thread, so that it arrives before raise
// returns. Go's own default for SIGQUIT, which signal.Reset brings back, is to print every stack and exit 2.
func raise(sig unix.Signal) {
	var action [4]uint64 // struct sigaction of all zeros is SIG_DFL, whatever the order of its fields
	const maskSize = 8
	unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&action)), 0, maskSize, 0, 0)
	runtime.LockOSThread()
	unix.Tgkill(os.Getpid(), unix.Gettid(), sig)
}
