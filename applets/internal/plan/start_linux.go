//go:build linux && (amd64 || arm64)

package plan

import (
	"syscall"
)

// failed is the exit status of a child that could not run its plan.
const failed = 125

// A Child is a process that runs a plan, and becomes its program.
type Child struct {
	PID, PIDFD int
	plan       *Plan
	arena      *arena
	ops        []op
	line       int // our end of the line
	feed       int // our end of the pipe to standard input, or -1
	input      int // its other end, or -1
	unread     int // bytes that were read for it, and not written
	files      *hostFiles
}

// A Failure is a step that went wrong. Errno is 0 for one that had another result than it must.
type Failure struct {
	Step, Call string
	Errno      syscall.Errno
}

func (f *Failure) Error() string { return f.Step + ": " + f.Errno.Error() }

func (f *Failure) Unwrap() error { return f.Errno }

// Start forks the child. The thread that calls must live as long as the child shall (PR_SET_PDEATHSIG in prctl(2)).
func Start(o *Options) (*Child, error) {
	input, feed, err := inputPipe()
	if err != nil {
		return nil, &Failure{"connect", "pipe2", err.(syscall.Errno)}
	}
	return launch(input, feed, func(l lines) *Plan {
		l.input = input
		return newPlan(o, l)
	})
}

// launch forks a child with the plan that make makes.
func launch(input, feed int, make func(lines) *Plan) (*Child, error) {
	c := &Child{line: -1, feed: feed, input: input, PIDFD: -1}
	ends, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		c.Close()
		return nil, &Failure{"connect", "socketpair", err.(syscall.Errno)}
	}
	defer syscall.Close(ends[1])
	c.line = ends[0]
	c.plan = make(lines{parent: ends[0], child: ends[1], input: -1})
	if err := c.start(); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (c *Child) start() (err error) {
	if c.arena, err = newArena(); err != nil {
		return &Failure{"share memory", "mmap", err.(syscall.Errno)}
	}
	if c.ops, err = c.arena.compile(c.plan.steps); err != nil {
		return err
	}
	c.files = openHostFiles()
	results := c.arena.results()
	syscall.ForkLock.Lock() // nobody may be between opening a file and making it close-on-exec
	pid, errno := fork(uintptr(c.plan.clone|clonePIDFD)|uintptr(syscall.SIGCHLD), c.ops, results)
	syscall.ForkLock.Unlock()
	if errno != 0 {
		return &Failure{StepClone, "clone", errno}
	}
	c.PID, c.PIDFD = int(pid), int(int32(results[slotPID]))
	return nil
}

// Proceed lets a child go on that waits, once for each of Mapped and Wait.
func (c *Child) Proceed() { syscall.Write(c.line, []byte{0}) } // one that is gone has said why

// Signal sends a signal to the child, and never to another process that got its number.
func (c *Child) Signal(s syscall.Signal) error {
	if _, _, errno := syscall.Syscall6(sysPidfdSendSignal, uintptr(c.PIDFD), uintptr(s), 0, 0, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// Wait returns when the child has ended, and how it did. What it did to modes and owners of hostFiles is undone.
func (c *Child) Wait() (ws syscall.WaitStatus) {
	for {
		if _, err := syscall.Wait4(c.PID, &ws, 0, nil); err != syscall.EINTR {
			c.files.restore()
			return ws
		}
	}
}

// Kept receives what Options.Keep asks for: open files of the directory with all that the program wrote, and of the user namespace
// in which that can be read. It is there when the program has started.
func (c *Child) Kept() (upper, userns int, err error) {
	for _, file := range []*int{&upper, &userns} {
		control := make([]byte, syscall.CmsgSpace(4))
		_, n, _, _, err := syscall.Recvmsg(c.line, make([]byte, 1), control, syscall.MSG_CMSG_CLOEXEC)
		if err != nil {
			return 0, 0, err
		}
		messages, err := syscall.ParseSocketControlMessage(control[:n])
		if err != nil || len(messages) != 1 {
			return 0, 0, syscall.EBADMSG
		}
		files, err := syscall.ParseUnixRights(&messages[0])
		if err != nil || len(files) != 1 {
			return 0, 0, syscall.EBADMSG
		}
		*file = files[0]
	}
	return upper, userns, nil
}

// Close lets go of the child, which should have ended.
func (c *Child) Close() {
	for _, fd := range []int{c.line, c.feed, c.input, c.PIDFD} {
		if fd >= 0 {
			syscall.Close(fd)
		}
	}
	c.files.close()
	if c.arena != nil {
		c.arena.free()
	}
}

// Failure says which step went wrong, if the program did not start; nil if it did. Of several places where the program might have
// been, one where it is and cannot be executed counts most.
func (c *Child) Failure() *Failure {
	last := &Failure{StepExec, "execve", syscall.ENOENT} // even where PATH is empty
	for i := range c.ops {
		o, s := &c.ops[i], c.plan.steps[i]
		f := &Failure{s.name, s.call.name, syscall.Errno(o.errno)}
		switch {
		case !o.done:
			return nil // execve(2) did not return, or the child was killed
		case o.exact && o.errno == 0 && o.result != o.want, o.errno != 0 && !s.accepts(f.Errno):
			return f
		case s.name == StepExec && f.Errno == syscall.EACCES:
			last = f
		}
	}
	return last
}
