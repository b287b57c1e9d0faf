//go:build linux && (amd64 || arm64)

package plan

import "syscall"

// StartInside runs this program again, as args and env say, in a user namespace that is still there for an open file of it. There it
// may read everything, whoever it belongs to; it inherits files, under their numbers.
func StartInside(userns int, files []int, args, env []string) (*Child, error) {
	return launch(-1, -1, func(l lines) *Plan {
		p := &Plan{o: &Options{}, lines: l}
		p.do("close the parent's end", callClose, l.parent)
		p.do("enter the user namespace", callSetns, userns, flags(cloneNewUser))
		p.readAnything()
		p.dieWithParent()
		for _, fd := range files {
			p.do("pass on a file", callFcntl, fd, syscall.F_SETFD, 0)
		}
		p.execFile("/proc/self/exe", sharedStrings(args), sharedStrings(env))
		return p
	})
}

// readAnything keeps a capability across execve(2), which user 0 of the namespace would have anyway, but no other: one that is
// gained by execve(2) would also take back what dieWithParent sets (commit_creds in kernel/cred.c).
func (p *Plan) readAnything() {
	for _, c := range capabilitiesDropped(1 << capDacReadSearch) {
		p.do("drop capabilities", callPrctl, prCapbsetDrop, int(c), 0, 0, 0)
	}
	only := capabilitiesOnly(1 << capDacReadSearch)
	only.data[0].inheritable = 1 << capDacReadSearch
	p.do("keep a capability", callCapset, raw(&only.header), raw(&only.data))
	p.do("keep a capability", callPrctl, prCapAmbient, prCapAmbientRaise, capDacReadSearch, 0, 0)
}
