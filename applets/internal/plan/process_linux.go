//go:build linux && (amd64 || arm64)

package plan

import (
	"path"
	"syscall"

	"github.com/ctbox/ctbox/applets/internal/environ"
)

// process sets what a program inherits. Of open files it gets three: a directory among them would be a way out (CVE-2024-21626).
// The others are closed now: until execve(2) has found the program and its interpreter, /proc/self/fd has what is only to be
// closed by it, and DIR may have links to there. The line remains, but nothing is below a socket.
func (p *Plan) process() {
	if p.input >= 0 {
		p.do("pass on standard input", callDup3, p.input, 0, 0)
	}
	if p.child > 3 {
		p.do("close files", callCloseRange, 3, p.child-1, 0)
	}
	p.do("close files", callCloseRange, p.child+1, flags(^uint32(0)), 0)
	p.do("set umask", callUmask, flags(0o022))
	p.signals()
	for i := range p.o.Limits {
		l := &p.o.Limits[i]
		p.do("limit resources", callPrlimit, 0, l.Resource, raw(&[2]uint64{l.Cur, l.Max}), 0)
	}
	if p.o.CPUs != nil {
		p.do("limit processors", callAffinity, 0, len(p.o.CPUs), p.o.CPUs)
	}
	p.capabilities()
	if u := p.o.User; u != nil && (p.o.Mapped || p.o.Root == ChangeRoot) {
		p.do("set groups", callSetgroups, 0, 0).or(syscall.EPERM)
		p.do("set group", callSetgid, int(u.GID))
		p.do("set user", callSetuid, int(u.UID))
		p.dieWithParent()
	}
	p.do("allow no new privileges", callPrctl, prSetNoNewPrivs, 1, 0, 0, 0)
	p.do("go to "+p.o.Workdir, callChdir, p.o.Workdir)
	if p.o.Wait {
		p.wait("wait for the parent")
	}
	if f := filter(p.o.FakeChown); f != nil {
		p.do("filter system calls", callPrctl, prSetSeccomp, seccompModeFilter, p.program(f), 0, 0)
	}
}

// signals gives every signal its default: make and Python leave SIGPIPE ignored in what they start.
func (p *Plan) signals() {
	const set = 8 // bytes of a kernel's sigset_t
	action := make([]byte, 32)
	for sig := syscall.SIGHUP; sig <= 64; sig++ {
		if sig != syscall.SIGKILL && sig != syscall.SIGSTOP {
			p.do("reset signals", callSigaction, int(sig), action, 0, set)
		}
	}
	p.do("reset signals", callSigmask, sigSetmask, make([]byte, set), 0, set)
}

// exec tries every directory of PATH for a name without a slash, as a shell does.
func (p *Plan) exec() {
	args, env := sharedStrings(p.o.Args), sharedStrings(p.o.Env)
	command := p.o.Args[0]
	if path.Base(command) != command {
		p.find(command)
		p.execFile(command, args, env)
		return
	}
	search := environ.Lookup(p.o.Env, "PATH")
	for start, i := 0, 0; i <= len(search); i++ {
		if i == len(search) || search[i] == ':' {
			if i > start { // no name is the current directory, where nobody looks
				file := path.Join(search[start:i], command)
				p.find(file)
				p.execFile(file, args, env)
			}
			start = i + 1
		}
	}
}

// find refuses a program that is a link to /proc/self/exe: that is ours, of the host.
func (p *Plan) find(file string) {
	p.openPlain(StepExec, file, oPath).or(syscall.ENOENT, syscall.ENOTDIR, syscall.EACCES)
}

func (p *Plan) execFile(file string, args, env pointer) {
	p.do(StepExec, callExecve, file, args, env).or(syscall.ENOENT, syscall.ENOTDIR, syscall.EACCES)
}

// sharedStrings is an array of strings that several steps use.
func sharedStrings(all []string) pointer {
	var at uintptr
	return pointer{quoteAll(all), func(a *arena) uintptr {
		if at == 0 {
			at = a.strings(all)
		}
		return at
	}}
}
