//go:build linux && (amd64 || arm64)

package plan

import (
	"syscall"
	"unsafe"
)

// What package syscall itself calls around a fork: signals are blocked, and Go's handlers are taken out in the child.
// The Go team keeps these names for programs like this one (runtime/proc.go, go.dev/issue/67401).

//go:linkname beforeFork syscall.runtime_BeforeFork
func beforeFork()

//go:linkname afterFork syscall.runtime_AfterFork
func afterFork()

//go:linkname afterForkInChild syscall.runtime_AfterForkInChild
func afterForkInChild()

// fork clones a child that runs ops, the last of which is an execve(2), and returns its process id. The child has a copy of
// this process with one thread and without a Go scheduler: it must not allocate, nor call what may grow the stack.
//
//go:noinline
//go:norace
func fork(clone uintptr, ops []op, results *[slots]uintptr) (pid uintptr, errno syscall.Errno) {
	beforeFork()
	pid, _, errno = syscall.RawSyscall6(syscall.SYS_CLONE, clone, 0, uintptr(unsafe.Pointer(&results[slotPID])), 0, 0, 0)
	if errno != 0 || pid != 0 {
		afterFork()
		return pid, errno
	}
	afterForkInChild()
run:
	for i := range ops {
		o := &ops[i]
		args := o.args
		for j := range args {
			if o.load&(1<<j) != 0 {
				args[j] = results[args[j]]
			}
		}
		r, _, e := syscall.RawSyscall6(o.call, args[0], args[1], args[2], args[3], args[4], args[5])
		o.result, o.errno, o.done = r, uint16(e), true
		for _, accepted := range o.accept {
			if e != 0 && uint16(e) == accepted {
				continue run
			}
		}
		if e != 0 || o.exact && r != o.want {
			break
		}
		if o.save != 0 {
			results[o.save] = r
		}
	}
	for {
		syscall.RawSyscall(syscall.SYS_EXIT_GROUP, failed, 0, 0)
	}
}
