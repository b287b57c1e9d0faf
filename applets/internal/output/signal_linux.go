package output

import (
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A handler is what Go's runtime has installed for a signal, once it is taken.
type handler struct {
	action sigaction
	taken  bool
}

// sigaction is the kernel's struct of that name (rt_sigaction(2)). All zeros are SIG_DFL, whatever the order of its fields.
type sigaction [4]uint64

// set installs an action, and puts what was there into old, if that is not nil.
func (a *sigaction) set(sig unix.Signal, old *sigaction) {
	const maskSize = 8
	unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(a)), uintptr(unsafe.Pointer(old)), maskSize, 0, 0)
}

// take gives sig the kernel's default action.
func (h *handler) take(sig unix.Signal) {
	new(sigaction).set(sig, &h.action)
	h.taken = true
}

func (h *handler) restore(sig unix.Signal) {
	if h.taken {
		h.action.set(sig, nil)
	}
}

// leave is take again, if that has been done before.
func (h *handler) leave(sig unix.Signal) {
	if h.taken {
		new(sigaction).set(sig, nil)
	}
}

// raise gives sig the kernel's default action and sends it to this thread, so that it arrives before raise
// returns. Go's own default for SIGQUIT, which signal.Reset brings back, is to print every stack and exit 2.
func raise(sig unix.Signal) {
	new(sigaction).set(sig, nil)
	runtime.LockOSThread()
	unix.Tgkill(os.Getpid(), unix.Gettid(), sig)
}
