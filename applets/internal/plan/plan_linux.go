//go:build linux && (amd64 || arm64)

package plan

import (
	"strconv"
	"syscall"
)

// A Plan is all that happens between clone(2) and execve(2).
type Plan struct {
	o     *Options
	clone flags
	steps []*step
	lines
}

// lines are the two ends of a socket: the child sees the parent's death, and waits for its word; and the end of a pipe that
// becomes standard input, or -1.
type lines struct{ parent, child, input int }

// Slots of results.
const (
	slotPID    slot = 0                // a descriptor of the child, for the parent
	slotFile   slot = 1                // an open file, for a moment
	slotHost   slot = 2                // the host's root directory
	slotDir    slot = 3                // DIR
	slotUpper  slot = 6                // what the program wrote; see sendFile for the slots that are left out
	slotUserNS slot = 9                // the namespace in which it did
	slotBind   slot = slots - MaxBinds // the first of the binds
)

// Names of steps whose failure a caller looks at again.
const (
	StepClone   = "clone"
	StepUnshare = "unshare"
	StepExec    = "exec"
	StepOverlay = "mount overlay"
	StepDir     = "open DIR"
)

const mountQuiet = syscall.MS_NOSUID | syscall.MS_NODEV

// New makes the plan for o.
func New(o *Options) *Plan { return newPlan(o, lines{parent: 3, child: 4, input: -1}) }

func newPlan(o *Options, l lines) *Plan {
	p := &Plan{o: o, lines: l}
	p.do("close the parent's end", callClose, l.parent)
	p.do("clear umask", callUmask, 0)
	if o.Root == ChangeRoot {
		p.changeRoot()
	} else {
		p.namespaces()
		p.openSources()
		p.makeRoot()
		p.enterRoot()
		p.dev()
		p.proc()
		p.mounts()
		p.leaveHost()
	}
	p.process()
	p.exec()
	return p
}

// namespaces: clone(2) makes the two that a process cannot enter by itself, and the child the rest, while the parent does other
// things. A helper that gives the network a way out must find that when clone(2) returns.
func (p *Plan) namespaces() {
	p.clone = cloneNewUser | cloneNewPID
	own := namespaces(cloneNewNS | cloneNewUTS | cloneNewIPC | cloneNewCgroup)
	switch p.o.Net {
	case NoNet:
		own |= cloneNewNet
	case UserNet:
		p.clone |= cloneNewNet
	}
	p.ids()
	p.dieWithParent()
	p.do("setsid", callSetsid)
	for _, fd := range p.o.Cgroups {
		p.do("enter a cgroup", callWrite, fd, "0", 1)
	}
	p.do(StepUnshare, callUnshare, own)
	p.mount("make mounts private", "none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, "")
}

// ids maps one user and one group, which needs no privilege, or waits until the parent has mapped more.
func (p *Plan) ids() {
	if p.o.Mapped {
		p.wait("wait for ids")
		return
	}
	inside := User{}
	if p.o.User != nil {
		inside = *p.o.User
	}
	p.writeFile("deny setgroups", "/proc/self/setgroups", "deny")
	p.writeFile("map user ids", "/proc/self/uid_map", oneID(inside.UID, syscall.Geteuid()))
	p.writeFile("map group ids", "/proc/self/gid_map", oneID(inside.GID, syscall.Getegid()))
}

// oneID is a line as user_namespaces(7) has it.
func oneID(inside, outside int) string {
	return strconv.Itoa(inside) + " " + strconv.Itoa(outside) + " 1"
}

// wait is for a word of the parent's; its death is an error.
func (p *Plan) wait(name string) {
	p.do(name, callRead, p.child, make([]byte, 1), 1).gives(1)
}

// dieWithParent: getppid(2) cannot tell whether the parent died before prctl(2) as it is 0 across PID namespaces, so the line to it does.
// A change of credentials takes the setting back.
func (p *Plan) dieWithParent() {
	p.do("die with the parent", callPrctl, prSetPdeathsig, int(syscall.SIGKILL), 0, 0, 0)
	p.do("see whether the parent lives", callPoll, raw(&pollFD{fd: int32(p.child)}), 1, make([]byte, 16), 0, 0).gives(0)
}
