//go:build linux && (amd64 || arm64)

package plan

import (
	"cmp"
	"path"
	"syscall"
)

// dev makes a /dev of the nodes that every program may expect. They are the host's, never DIR's (CVE-2025-31133).
func (p *Plan) dev() {
	p.mount("mount /dev", "dev", "/dev", "tmpfs", syscall.MS_NOSUID|syscall.MS_NOEXEC, "mode=755,size=64m")
	for _, node := range []string{"null", "zero", "full", "random", "urandom"} {
		p.touch("/dev/" + node)
		p.mount("bind /dev/"+node, "dev/"+node, "/dev/"+node, "", syscall.MS_BIND, "")
	}
	for _, link := range [][2]string{
		{"/proc/self/fd", "/dev/fd"}, {"/proc/self/fd/0", "/dev/stdin"}, {"/proc/self/fd/1", "/dev/stdout"},
		{"/proc/self/fd/2", "/dev/stderr"}, {"pts/ptmx", "/dev/ptmx"},
	} {
		p.symlink(link[0], link[1])
	}
	p.mkdir("/dev/shm", 0o1777)
	p.mkdir("/dev/pts", 0o755)
	p.mount("mount /dev/pts", "devpts", "/dev/pts", "devpts", syscall.MS_NOSUID|syscall.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620")
}

// proc mounts /proc. The kernel lets its user 0 write to /proc/sys by owner, without any capability (proc_sys_permission in
// fs/proc/proc_sysctl.c), so when that is who we are it is made read-only.
func (p *Plan) proc() {
	const quiet = mountQuiet | syscall.MS_NOEXEC
	p.mount("mount /proc", "proc", "/proc", "proc", quiet, "")
	p.mount("mask /proc/keys", "dev/null", "/proc/keys", "", syscall.MS_BIND, "").or(syscall.ENOENT) // the user's, of the host
	if syscall.Geteuid() != 0 {
		return
	}
	for _, dir := range []string{"/proc/sys", "/proc/irq", "/proc/bus", "/proc/fs", "/proc/acpi", "/proc/scsi", "/proc/sysrq-trigger"} {
		p.mount("protect "+dir, dir, dir, "", syscall.MS_BIND|syscall.MS_REC, "").or(syscall.ENOENT)
		p.mount("protect "+dir, "none", dir, "", syscall.MS_REMOUNT|syscall.MS_BIND|syscall.MS_RDONLY|quiet, "").or(syscall.ENOENT, syscall.EINVAL)
	}
	for _, file := range []string{"/proc/kcore", "/proc/latency_stats", "/proc/timer_list", "/proc/sched_debug"} {
		p.mount("mask "+file, "dev/null", file, "", syscall.MS_BIND, "").or(syscall.ENOENT)
	}
}

// mounts is what the caller asked for, and an empty /tmp.
func (p *Plan) mounts() {
	p.tmpfs("mount /tmp", "/tmp", "mode=1777", p.o.Memory)
	if p.o.Root == ReadOnly {
		p.tmpfs("mount /run", "/run", "mode=755", p.o.Memory).or(syscall.ENOENT)
		p.tmpfs("mount /var/tmp", "/var/tmp", "mode=1777", p.o.Memory).or(syscall.ENOENT)
	}
	for _, t := range p.o.Tmpfs {
		p.enterDirs(t.Target)
		p.tmpfs("mount "+t.Target, ".", "mode=755", cmp.Or(t.Size, p.o.Memory))
	}
	for i, b := range p.o.Binds {
		p.bind(b, slotBind+slot(i))
	}
}

// bind mounts on the current directory or on a name in it, where move_mount(2) follows no symbolic link.
func (p *Plan) bind(b Bind, tree slot) {
	name, target := "bind "+b.Target, "."
	var st syscall.Stat_t
	if syscall.Stat(b.Source, &st) == nil && st.Mode&syscall.S_IFMT == syscall.S_IFDIR {
		p.enterDirs(b.Target)
	} else {
		target = path.Base(b.Target)
		p.enterDirs(path.Dir(b.Target))
		p.do("make "+b.Target, callOpenat, here, target, flags(syscall.O_CREAT|syscall.O_RDONLY|syscall.O_CLOEXEC|syscall.O_NONBLOCK|syscall.O_NOFOLLOW), flags(0o644)).
			or(syscall.EROFS, syscall.EACCES, syscall.ELOOP)
	}
	set := flags(mountQuiet)
	if b.ReadOnly {
		set |= syscall.MS_RDONLY
	}
	p.attributes(name, tree, "", set)
	p.do(name, callMoveMount, tree, "", here, target, flags(moveMountEmptyPath))
}

// enterDirs makes a directory and what leads to it, and goes there. DIR may have symbolic links on the way, but none through the
// likes of /proc/self/fd/7, which would lead to what this process has open of the host.
func (p *Plan) enterDirs(target string) {
	p.do("go to "+target, callChdir, "/")
	for i := 1; i < len(target); {
		end := i
		for end < len(target) && target[end] != '/' {
			end++
		}
		part, so := target[i:end], target[:end]
		p.do("mkdir "+so, callMkdirat, here, part, flags(0o755)).or(syscall.EEXIST, syscall.EROFS)
		p.openPlain("go to "+so, part, oPath|syscall.O_DIRECTORY).to(slotFile)
		p.do("go to "+so, callFchdir, slotFile)
		p.do("go to "+so, callClose, slotFile)
		i = end + 1
	}
}
