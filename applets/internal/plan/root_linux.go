//go:build linux && (amd64 || arm64)

package plan

import (
	"syscall"
)

// openSources opens what is to be seen inside while all paths still lead to the host, and in this mount namespace: a descriptor from
// before clone(2) is of the caller's, and cannot be mounted.
func (p *Plan) openSources() {
	p.open(StepDir, p.o.Dir, oPath|syscall.O_DIRECTORY, slotDir)
	p.do("open the host's root", callOpenat, here, "/", flags(oPath|syscall.O_CLOEXEC), 0).to(slotHost)
	for i, b := range p.o.Binds {
		p.do("open "+b.Source, callOpenTree, here, b.Source,
			flags(openTreeClone|openTreeCloexec|atRecursive)).to(slotBind + slot(i))
	}
	p.do(StepDir, callFchdir, slotDir)
}

// scratch is a directory of the host to mount the sandbox's memory on. In our mount namespace nobody else sees that.
func scratch() string {
	for _, dir := range []string{"/tmp", "/var/tmp", "/run", "/mnt"} {
		if isDir(dir) {
			return dir
		}
	}
	return "/proc"
}

func isDir(name string) bool {
	var st syscall.Stat_t
	return syscall.Lstat(name, &st) == nil && st.Mode&syscall.S_IFMT == syscall.S_IFDIR
}

// makeRoot puts the new root together on SCRATCH/m and makes it the current directory.
func (p *Plan) makeRoot() {
	top := scratch()
	root := top + "/m"
	p.tmpfs("mount scratch", top, "mode=700", p.o.Memory)
	p.mkdir(root, 0o755)
	if p.o.Root == Overlay {
		p.overlayRoot(top, root)
	} else {
		p.bindRoot(root)
	}
	p.do("enter the new root", callChdir, root)
}

// overlayRoot: "." for lowerdir needs no escapes, and does not show the host's path in /proc/mounts. What is to be a directory, and is
// something else in DIR, a symbolic link even, is hidden by one in the upper layer.
func (p *Plan) overlayRoot(top, root string) {
	upper, work := top+"/u", top+"/w"
	p.upper(upper)
	p.mkdir(work, 0o755)
	for _, dir := range covered {
		if !isDir(p.o.Dir + dir) {
			p.mkdir(upper+dir, 0o755)
		}
	}
	p.resolver(upper)
	if p.o.Keep {
		p.open("open the upper layer", upper, syscall.O_RDONLY|syscall.O_DIRECTORY, slotUpper)
		p.open("open the user namespace", "/proc/self/ns/user", syscall.O_RDONLY, slotUserNS)
		p.sendFile(slotUpper)
		p.sendFile(slotUserNS)
	}
	p.mount(StepOverlay, "overlay", root, "overlay", mountQuiet, "userxattr,lowerdir=.,upperdir="+upper+",workdir="+work)
}

// upper makes the directory that is laid over DIR like DIR: it is what the program sees of the two. What goes wrong with stat(2) goes
// wrong with the steps before.
func (p *Plan) upper(name string) {
	st := syscall.Stat_t{Mode: 0o755, Uid: uint32(syscall.Geteuid()), Gid: uint32(syscall.Getegid())}
	syscall.Stat(p.o.Dir, &st)
	p.mkdir(name, int(st.Mode&0o7777))
	if p.o.Mapped && (st.Uid != 0 || st.Gid != 0) {
		p.do("own "+name, callChown, here, name, int(st.Uid), int(st.Gid), 0).or(syscall.EINVAL, syscall.EPERM)
	}
}

// covered are the directories of the root that something is mounted on in every sandbox.
var covered = [...]string{"/dev", "/proc", "/tmp"}

// resolver puts a resolv.conf into the upper layer, where it hides what DIR has, which may be a symbolic link.
func (p *Plan) resolver(upper string) {
	if p.o.Resolver == "" {
		return
	}
	p.mkdir(upper+"/etc", 0o755)
	p.touch(upper + "/etc/resolv.conf")
	p.writeFile("write resolv.conf", upper+"/etc/resolv.conf", p.o.Resolver)
}

// bindRoot shows DIR itself. What the mount forbids already must be said again, or it is locked (mount_namespaces(7)). What goes
// wrong with statfs(2) goes wrong with the steps before.
func (p *Plan) bindRoot(root string) {
	var fs syscall.Statfs_t
	syscall.Statfs(p.o.Dir, &fs)
	has := flags(fs.Flags) & (syscall.MS_RDONLY | syscall.MS_NOEXEC | syscall.MS_NOATIME | syscall.MS_NODIRATIME)
	if fs.Flags&stRelatime != 0 {
		has |= syscall.MS_RELATIME
	}
	if p.o.Root == ReadOnly {
		has |= syscall.MS_RDONLY
	}
	p.mount("bind DIR", ".", root, "", syscall.MS_BIND|syscall.MS_REC, "")
	p.attributes("restrict DIR", here, root, has&syscall.MS_RDONLY|mountQuiet).or(syscall.ENOSYS)
	p.mount("restrict DIR", "none", root, "", syscall.MS_REMOUNT|syscall.MS_BIND|mountQuiet|has, "")
}

// attributes sets attributes of a mount and all below it (mount_setattr(2), Linux 5.12). The flags have the values of mount(2).
func (p *Plan) attributes(name string, dir any, path string, set flags) *step {
	attr := raw(&struct{ set, clear, propagation, userns uint64 }{set: uint64(set)})
	return p.do(name, callMountAttr, dir, path, flags(atEmptyPath|atRecursive), attr, len(attr))
}

// enterRoot makes the current directory "/". The host stays reachable through relative paths, until leaveHost.
func (p *Plan) enterRoot() {
	p.do("pivot_root", callPivotRoot, ".", ".")
	p.do("go back to the host", callFchdir, slotHost)
	if p.o.Root == Writable {
		for _, dir := range covered {
			p.mkdir(dir, 0o755)
		}
	}
}

func (p *Plan) leaveHost() {
	p.do("go back to the host", callFchdir, slotHost)
	p.do("leave the host", callUmount, ".", flags(syscall.MNT_DETACH))
	p.do("leave the host", callChdir, "/")
	p.do("set the host name", callSethostname, p.o.Hostname, len(p.o.Hostname))
	if p.o.Net != HostNet {
		p.do("bring lo up", callSocket, syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0).to(slotFile)
		request := struct { // ifreq (netdevice(7))
			name  [16]byte
			flags uint16
			_     [22]byte
		}{[16]byte{'l', 'o'}, syscall.IFF_UP | syscall.IFF_RUNNING, [22]byte{}}
		p.do("bring lo up", callIoctl, slotFile, flags(syscall.SIOCSIFFLAGS), raw(&request))
	}
}

// changeRoot is the plan of those who may not make namespaces.
func (p *Plan) changeRoot() {
	p.dieWithParent()
	p.do("setsid", callSetsid)
	p.do(StepDir, callChdir, p.o.Dir)
	p.do("chroot", callChroot, ".")
}
