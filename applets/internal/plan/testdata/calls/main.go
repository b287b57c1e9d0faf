// Calls makes system calls and prints what each gave, a line "NAME ERRNO" for every one. It is built for the processor's 32-bit
// sibling too, so it imports little.
package main

import (
	"os"
	"strconv"
	"syscall"
	"unsafe"
)

func main() {
	dir, err := syscall.BytePtrFromString(os.Args[1])
	if err != nil {
		panic(err)
	}
	path := uintptr(unsafe.Pointer(dir))
	node, _ := syscall.BytePtrFromString(os.Args[1] + "/node")
	device := uintptr(unsafe.Pointer(node))
	cwd := -100 // AT_FDCWD
	for _, call := range []struct {
		name string
		nr   uintptr
		args [6]uintptr
	}{
		{"getppid", syscall.SYS_GETPPID, [6]uintptr{}},
		{"TIOCSTI", syscall.SYS_IOCTL, [6]uintptr{0, 0x5412, path}},
		{"TIOCSTI with high bits", syscall.SYS_IOCTL, [6]uintptr{0, high | 0x5412, path}},
		{"TIOCLINUX", syscall.SYS_IOCTL, [6]uintptr{0, 0x541c, path}},
		{"keyctl", syscall.SYS_KEYCTL, [6]uintptr{0, ^uintptr(2)}}, // the id of the session's keyring
		{"bpf", bpf, [6]uintptr{0, 0, 0}},
		{"perf_event_open", syscall.SYS_PERF_EVENT_OPEN, [6]uintptr{}},
		{"unshare user namespace", syscall.SYS_UNSHARE, [6]uintptr{syscall.CLONE_NEWUSER}},
		{"unshare files", syscall.SYS_UNSHARE, [6]uintptr{syscall.CLONE_FILES}},
		{"clone user namespace", syscall.SYS_CLONE, [6]uintptr{syscall.CLONE_NEWUSER | syscall.CLONE_THREAD}},
		{"clone3", 435, [6]uintptr{}},
		{"io_uring_setup", 425, [6]uintptr{}},
		{"later than any", 600, [6]uintptr{}},
		{"syslog", syscall.SYS_SYSLOG, [6]uintptr{10}}, // the size of the log
		{"mknod fifo", syscall.SYS_MKNODAT, [6]uintptr{uintptr(cwd), device, syscall.S_IFIFO | 0o600, 0}},
		{"mknod device", syscall.SYS_MKNODAT, [6]uintptr{uintptr(cwd), device, syscall.S_IFCHR | 0o600, 0x103}}, // or EEXIST
		{"chown", syscall.SYS_FCHOWNAT, [6]uintptr{uintptr(cwd), path, 54321, 54321}},
		{"setuid", syscall.SYS_SETRESUID, [6]uintptr{54321, 54321, 54321}},
	} {
		_, _, errno := syscall.RawSyscall6(call.nr, call.args[0], call.args[1], call.args[2], call.args[3], call.args[4], call.args[5])
		os.Stdout.WriteString(call.name + " " + strconv.Itoa(int(errno)) + "\n")
	}
	os.Stdout.WriteString("socket alg " + socket(38) + "\nsocket unix " + socket(syscall.AF_UNIX) + "\n")
}

func socket(family int) string {
	_, err := syscall.Socket(family, syscall.SOCK_SEQPACKET, 0)
	errno, _ := err.(syscall.Errno)
	return strconv.Itoa(int(errno))
}
