// Package failtest makes system calls fail: those of one function of a test, and of nobody else.
package failtest

import (
	"os"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Call is a system call that fails with Err, whatever it was to do; or returns Returns, as if it were done, if Err is 0.
type Call struct {
	Number  int // unix.SYS_*
	Err     unix.Errno
	Returns int64

	// Arg is the number of an argument, from 0, whose bits in Mask must be Value. A Mask of 0 takes every call.
	Arg         int
	Mask, Value uint32

	// After is how many calls succeed before. Times is how many fail then; 0 stands for all.
	After, Times int
}

// During runs f, in a thread of its own whose calls fail; those of other goroutines that it starts do not. f may not end the
// test. Where the kernel refuses the filter (seccomp(2)) the test is skipped, or fails where CI=true.
func During(t testing.TB, f func(), calls ...Call) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		defer close(done)
		runtime.LockOSThread() // for ever: the thread ends with this function
		listener, err := filter(program(calls))
		if err != nil {
			done <- err
			return
		}
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			answer(listener, calls, stop)
		}()
		defer func() { close(stop); <-stopped; unix.Close(listener) }()
		f()
	}()
	if err := <-done; err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("seccomp: ", err)
		}
		t.Skip("seccomp: ", err)
	}
}

// Offsets in struct seccomp_data (linux/seccomp.h).
const (
	dataNumber = 0
	dataArgs   = 16 // eight bytes each; of which the first four are the lower half where we have a processor for this
)

// program is the filter: calls that always fail do so here, others are asked about.
func program(calls []Call) []unix.SockFilter {
	var p []unix.SockFilter
	for _, c := range calls {
		does := uint32(unix.SECCOMP_RET_ERRNO) | uint32(c.Err)
		if c.After > 0 || c.Times > 0 || c.Returns != 0 {
			does = unix.SECCOMP_RET_USER_NOTIF
		}
		p = append(p,
			unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: dataNumber},
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(c.Number), Jf: 4},
			unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: dataArgs + 8*uint32(c.Arg)},
			unix.SockFilter{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: c.Mask},
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: c.Value & c.Mask, Jf: 1},
			unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: does})
	}
	return append(p, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW})
}

// filter puts a program before the calls of this thread, and returns the descriptor of those that it asks about.
func filter(program []unix.SockFilter) (listener int, err error) {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return -1, err
	}
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER,
		uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

// What the listener says and is told (struct seccomp_notif and seccomp_notif_resp).
type (
	question struct {
		id         uint64
		pid, flags uint32
		number     int32
		arch       uint32
		ip         uint64
		args       [6]uint64
	}
	reply struct {
		id    uint64
		value int64
		err   int32
		flags uint32
	}
)

// answer says of each call that it is asked about whether it fails now.
func answer(listener int, calls []Call, stop <-chan struct{}) {
	seen := make([]int, len(calls))
	for {
		select {
		case <-stop:
			return
		default:
		}
		const ms = 10
		if n, err := unix.Poll([]unix.PollFd{{Fd: int32(listener), Events: unix.POLLIN}}, ms); n != 1 || err != nil {
			continue
		}
		var q question
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&q))); errno != 0 {
			continue // a signal has taken it back
		}
		r := reply{id: q.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
		for i, c := range calls {
			if int32(c.Number) != q.number || uint32(q.args[c.Arg])&c.Mask != c.Value&c.Mask {
				continue
			}
			seen[i]++
			if n := seen[i] - c.After; n > 0 && (c.Times == 0 || n <= c.Times) {
				r.flags, r.err = 0, -int32(c.Err)
				if c.Err == 0 {
					r.value = c.Returns
				}
			}
			break
		}
		unix.Syscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&r)))
	}
}
