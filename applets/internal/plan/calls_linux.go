//go:build linux && (amd64 || arm64)

package plan

import (
	"strconv"
	"syscall"
	"unsafe"
)

// The system calls of plans. None is of one architecture alone.
var (
	callAffinity    = call{"sched_setaffinity", syscall.SYS_SCHED_SETAFFINITY}
	callFcntl       = call{"fcntl", syscall.SYS_FCNTL}
	callIoctl       = call{"ioctl", syscall.SYS_IOCTL}
	callCapset      = call{"capset", syscall.SYS_CAPSET}
	callChdir       = call{"chdir", syscall.SYS_CHDIR}
	callChroot      = call{"chroot", syscall.SYS_CHROOT}
	callClose       = call{"close", syscall.SYS_CLOSE}
	callCloseRange  = call{"close_range", sysCloseRange}
	callDup3        = call{"dup3", syscall.SYS_DUP3}
	callExecve      = call{"execve", syscall.SYS_EXECVE}
	callChown       = call{"fchownat", syscall.SYS_FCHOWNAT}
	callFchdir      = call{"fchdir", syscall.SYS_FCHDIR}
	callMkdirat     = call{"mkdirat", syscall.SYS_MKDIRAT}
	callMount       = call{"mount", syscall.SYS_MOUNT}
	callMountAttr   = call{"mount_setattr", sysMountSetattr}
	callMoveMount   = call{"move_mount", sysMoveMount}
	callOpenTree    = call{"open_tree", sysOpenTree}
	callOpenat2     = call{"openat2", sysOpenat2}
	callOpenat      = call{"openat", syscall.SYS_OPENAT}
	callPivotRoot   = call{"pivot_root", syscall.SYS_PIVOT_ROOT}
	callPoll        = call{"ppoll", syscall.SYS_PPOLL}
	callPrctl       = call{"prctl", syscall.SYS_PRCTL}
	callPrlimit     = call{"prlimit64", syscall.SYS_PRLIMIT64}
	callRead        = call{"read", syscall.SYS_READ}
	callSendmsg     = call{"sendmsg", syscall.SYS_SENDMSG}
	callSetgid      = call{"setgid", syscall.SYS_SETGID}
	callSetgroups   = call{"setgroups", syscall.SYS_SETGROUPS}
	callSethostname = call{"sethostname", syscall.SYS_SETHOSTNAME}
	callSetns       = call{"setns", sysSetns}
	callSetsid      = call{"setsid", syscall.SYS_SETSID}
	callSetuid      = call{"setuid", syscall.SYS_SETUID}
	callSigaction   = call{"rt_sigaction", syscall.SYS_RT_SIGACTION}
	callSigmask     = call{"rt_sigprocmask", syscall.SYS_RT_SIGPROCMASK}
	callSocket      = call{"socket", syscall.SYS_SOCKET}
	callSymlinkat   = call{"symlinkat", syscall.SYS_SYMLINKAT}
	callUmask       = call{"umask", syscall.SYS_UMASK}
	callUmount      = call{"umount2", syscall.SYS_UMOUNT2}
	callUnshare     = call{"unshare", syscall.SYS_UNSHARE}
	callWrite       = call{"write", syscall.SYS_WRITE}
)

const here = -100 // AT_FDCWD

func (p *Plan) do(name string, c call, args ...any) *step {
	s := &step{name: name, call: c, args: args}
	p.steps = append(p.steps, s)
	return s
}

func (p *Plan) mount(name, source, target, fs string, f flags, data string) *step {
	return p.do(name, callMount, source, target, fs, f, data)
}

// tmpfs mounts memory; a size of 0 is the kernel's own limit, half of what there is.
func (p *Plan) tmpfs(name, target, data string, size int64) *step {
	if size > 0 {
		data += ",size=" + strconv.FormatInt(size, 10)
	}
	return p.mount(name, "tmpfs", target, "tmpfs", mountQuiet, data)
}

func (p *Plan) mkdir(path string, mode int) *step {
	return p.do("mkdir "+path, callMkdirat, here, path, flags(mode)).or(syscall.EEXIST)
}

func (p *Plan) symlink(target, path string) {
	p.do("symlink "+path, callSymlinkat, target, here, path)
}

func (p *Plan) open(name, path string, f flags, to slot) *step {
	return p.do(name, callOpenat, here, path, f|syscall.O_CLOEXEC, 0).to(to)
}

// openPlain opens what no link of /proc leads to, such as /proc/self/cwd (openat2(2)).
func (p *Plan) openPlain(name, path string, f flags) *step {
	how := raw(&struct{ flags, mode, resolve uint64 }{uint64(f | syscall.O_CLOEXEC), 0, resolveNoMagiclinks})
	return p.do(name, callOpenat2, here, path, how, len(how))
}

// touch makes an empty file, for something to be mounted on.
func (p *Plan) touch(path string) {
	name := "make " + path
	p.do(name, callOpenat, here, path, flags(syscall.O_CREAT|syscall.O_WRONLY|syscall.O_CLOEXEC), flags(0o644)).to(slotFile)
	p.do(name, callClose, slotFile)
}

func (p *Plan) writeFile(name, path, text string) {
	p.open(name, path, syscall.O_WRONLY, slotFile)
	p.do(name, callWrite, slotFile, text, len(text)).gives(uintptr(len(text)))
	p.do(name, callClose, slotFile)
}

// sendFile hands an open file to the parent (unix(7), SCM_RIGHTS). Which it is, is not known yet: the two slots before its
// own are made the header of the control message, whose data the file's slot then is.
func (p *Plan) sendFile(file slot) {
	message := pointer{"{SCM_RIGHTS [fd" + strconv.Itoa(int(file)) + "]}", func(a *arena) uintptr {
		header := (*syscall.Cmsghdr)(unsafe.Pointer(&a.results()[file-2]))
		header.Level, header.Type = syscall.SOL_SOCKET, syscall.SCM_RIGHTS
		header.SetLen(syscall.CmsgLen(4))
		body := (*syscall.Iovec)(unsafe.Pointer(&a.room(int(unsafe.Sizeof(syscall.Iovec{})))[0]))
		body.Base = &a.room(1)[0]
		body.SetLen(1)
		m := (*syscall.Msghdr)(unsafe.Pointer(&a.room(int(unsafe.Sizeof(syscall.Msghdr{})))[0]))
		m.Iov, m.Control = body, (*byte)(unsafe.Pointer(header))
		m.Iovlen = 1
		m.SetControllen(syscall.CmsgSpace(4))
		return uintptr(unsafe.Pointer(m))
	}}
	p.do("hand over a file", callSendmsg, p.child, message, 0)
}

// raw is the memory of a structure.
func raw[T any](v *T) []byte { return unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v)) }
