//go:build faults

package faults

import (
	"errors"
	"fmt"
	"os"

	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// traced is a program that runs under ptrace(2), with all its threads and children.
type traced struct {
	injection
	trace
	main    int
	hung    atomic.Bool
	seen    int                   // calls that counted
	told    int                   // thread that the signal went to, until it is known what came of that
	pending map[int]syscall.Errno // by thread: what its call is to return
	known   map[int]bool          // threads that have stopped before
}

// follow lets all threads run until there are none.
func (p *traced) follow() {
	for {
		var ws syscall.WaitStatus
		tid, err := syscall.Wait4(-1, &ws, unix.WALL|unix.WNOTHREAD, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.ECHILD):
			return
		case err != nil:
			panic(err)
		case !ws.Stopped():
			if tid == p.main {
				p.status = ws
			}
			continue
		}
		if ws.TrapCause() == unix.PTRACE_EVENT_EXEC && tid != p.main && !isProgram(tid) {
			syscall.PtraceDetach(tid) // somebody else's program
			continue
		}
		p.resume(tid, p.stopped(tid, ws))
	}
}

// isProgram reports whether a process runs ctbox.
func isProgram(pid int) bool {
	a, err1 := os.Stat(fmt.Sprintf("/proc/%d/exe", pid))
	b, err2 := os.Stat(program)
	return err1 == nil && err2 == nil && os.SameFile(a, b)
}

// stopped looks at why a thread stopped, and gives the signal that it is to go on with.
func (p *traced) stopped(tid int, ws syscall.WaitStatus) syscall.Signal {
	first := !p.known[tid]
	p.known[tid] = true
	switch sig := ws.StopSignal(); {
	case sig == syscall.SIGTRAP|0x80, ws.TrapCause() == unix.PTRACE_EVENT_SECCOMP:
		p.call(tid)
	case first && tid == p.main: // after its execve
		const options = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACEFORK |
			unix.PTRACE_O_TRACEVFORK | unix.PTRACE_O_TRACEEXEC | unix.PTRACE_O_EXITKILL | unix.PTRACE_O_TRACESECCOMP
		err := syscall.PtraceSetOptions(tid, options)
		if err == nil && p.only != nil {
			err = filter(tid, p.only)
		}
		if err != nil && !errors.Is(err, syscall.ESRCH) {
			panic(err)
		}
	case first && sig == syscall.SIGSTOP, sig == syscall.SIGTRAP && ws.TrapCause() > 0:
	default:
		if sig == p.signal && p.told == 0 {
			p.told = tid
		}
		return sig
	}
	return 0
}

// resume lets a thread run to where it is to stop next. It may have been killed meanwhile.
func (p *traced) resume(tid int, sig syscall.Signal) {
	run := syscall.PtraceSyscall
	if _, pending := p.pending[tid]; p.only != nil && !pending {
		run = syscall.PtraceCont
	}
	if err := run(tid, int(sig)); err != nil && !errors.Is(err, syscall.ESRCH) {
		panic(err)
	}
}

// call is a thread before a system call, or after it.
func (p *traced) call(tid int) {
	var info struct { // struct ptrace_syscall_info
		op    uint8
		_     [3]uint8
		_     uint32
		_, _  uint64
		value uint64    // the number of the call, or what it returned
		args  [2]uint64 // and the first of six
		_     [6]uint64
	}
	const entry, exit, seccomp = 1, 2, 3
	_, _, errno := syscall.Syscall6(syscall.SYS_PTRACE, unix.PTRACE_GET_SYSCALL_INFO, uintptr(tid), unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0)
	switch {
	case errno == syscall.ESRCH:
	case errno != 0:
		panic(errno)
	case info.op == entry, info.op == seccomp:
		p.enter(tid, int(info.value), info.args)
	case info.op == exit:
		if errno, ok := p.pending[tid]; ok {
			delete(p.pending, tid)
			p.registers(tid, func(r *syscall.PtraceRegs) { r.Rax = -uint64(errno) })
		}
	}
}

// enter does what is to be done before a call.
func (p *traced) enter(tid, call int, args [2]uint64) {
	p.calls = append(p.calls, call)
	if tid == p.told && (call == syscall.SYS_RT_SIGRETURN || call == syscall.SYS_TGKILL) {
		p.caught = call == syscall.SYS_RT_SIGRETURN
		p.told = -1
	}
	if p.n == 0 || !p.counts(call, args) {
		return
	}
	p.seen++
	if p.seen < p.n || p.seen > p.n && !(p.stuck && call == p.hit) {
		return
	}
	if p.hit < 0 {
		p.hit, p.until = call, len(p.calls)
	}
	if p.signal != 0 {
		syscall.Kill(p.main, p.signal)
		return
	}
	if p.only == nil || call == syscall.SYS_CLOSE { // which closes whatever it says (close(2))
		p.pending[tid] = p.errno
	}
	if call != syscall.SYS_CLOSE {
		p.registers(tid, func(r *syscall.PtraceRegs) { r.Orig_rax, r.Rax = ^uint64(0), -uint64(p.errno) })
	}
}

func (p *traced) registers(tid int, change func(*syscall.PtraceRegs)) {
	var r syscall.PtraceRegs
	err := syscall.PtraceGetRegs(tid, &r)
	if err == nil {
		change(&r)
		err = syscall.PtraceSetRegs(tid, &r)
	}
	if err != nil && !errors.Is(err, syscall.ESRCH) {
		panic(err)
	}
}
