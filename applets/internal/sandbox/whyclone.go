package sandbox

import (
	"strconv"
	"strings"
	"syscall"
)

// clone is about making the namespaces (user_namespaces(7), kernel/user_namespace.c).
func (ev *evidence) clone(errno syscall.Errno) reason {
	switch errno {
	case syscall.EPERM, syscall.EACCES:
		return ev.cloneRefused(errno)
	case syscall.ENOSPC, syscall.EUSERS:
		return ev.cloneLimit()
	case syscall.EINVAL, syscall.ENOSYS:
		return ev.cloneUnknown()
	case syscall.EAGAIN:
		return ev.cloneBusy()
	}
	return reason{}
}

// cloneRefused tries first what refuses for certain, then what may.
func (ev *evidence) cloneRefused(errno syscall.Errno) reason {
	for _, knob := range [...]struct{ name, closed, open string }{
		{"kernel/unprivileged_userns_clone", "0", "1"}, // Debian's patch, and linux-hardened's
		{"kernel/userns_restrict", "1", "0"},
	} {
		if ev.knob(knob.name) == knob.closed && !ev.capable(sysAdmin) {
			name := strings.ReplaceAll(knob.name, "/", ".")
			return reason{"users may not make user namespaces (" + name + " is " + knob.closed + ")",
				ev.sysctl(name, knob.open) + ev.orChroot()}
		}
	}
	switch {
	case ev.chrooted():
		return reason{"no user namespace can be made in a chroot",
			"enter the tree with pivot_root(8) or systemd-nspawn instead of chroot" + ev.orChroot()}
	case !ev.mapped():
		return reason{"user " + strconv.Itoa(ev.euid) + " is not mapped in the present user namespace",
			"run it as a user of that namespace, or outside"}
	}
	return ev.refused(errno, true)
}

// sysctl is the command that sets one until the next start, and the way to keep it.
func (ev *evidence) sysctl(name, value string) string {
	set := name + "=" + value
	return "as root: sysctl " + set + " && echo " + set + " >/etc/sysctl.d/60-ctbox.conf"
}

// cloneLimit is about the numbers of namespaces (namespaces(7)), each of which also holds for those around.
func (ev *evidence) cloneLimit() reason {
	for _, kind := range [...]string{"user", "mnt", "pid", "uts", "ipc", "net", "cgroup"} {
		if ev.knob("user/max_"+kind+"_namespaces") == "0" {
			name := "user.max_" + kind + "_namespaces"
			return reason{"namespaces are switched off (" + name + " is 0)", ev.sysctl(name, "15000") + ev.orChroot()}
		}
	}
	return reason{"too many namespaces, or more than 32 one in the other",
		"end what holds them (lsns shows it), nest less, or raise user.max_user_namespaces and its like around this one"}
}

// cloneUnknown is about kernels that lack the thing.
func (ev *evidence) cloneUnknown() reason {
	switch {
	case strings.Contains(ev.release, "Microsoft") && !strings.Contains(ev.release, "WSL2"):
		return reason{"WSL 1 has no namespaces", "in Windows: wsl --set-version DISTRIBUTION 2"}
	case strings.Contains(ev.release, ".el7"): // they are there, and off at the start
		return reason{"this kernel has user namespaces switched off",
			"as root: grubby --update-kernel=ALL --args='user_namespace.enable=1 namespace.unpriv_enable=1', reboot, then sysctl user.max_user_namespaces=15000"}
	case !ev.exists("proc/self"):
		return reason{}
	}
	for _, kind := range [...]string{"user", "mnt", "pid", "uts", "ipc", "net", "cgroup"} {
		if !ev.exists("proc/self/ns/" + kind) {
			return reason{"this kernel has no " + kind + " namespaces", "take a kernel that has them" + ev.orChroot()}
		}
	}
	return reason{}
}

// cloneBusy is about the number of processes: the user's, that of the cgroup, and all.
func (ev *evidence) cloneBusy() reason {
	if group := ev.fullGroup(); group != "" {
		return reason{"the cgroup has as many processes as it may (" + group + ")",
			"raise it (systemd: TasksMax=, docker and podman: --pids-limit)"}
	}
	if ev.nproc < 1<<31 {
		return reason{"the user has as many processes as it may (" + strconv.FormatUint(ev.nproc, 10) + ")",
			"raise the limit with ulimit -u, or end processes"}
	}
	return reason{"the system has as many processes as it may", "as root: sysctl kernel.threads-max and kernel.pid_max show the limits"}
}

// fullGroup is the file with the limit that the cgroup of this process, or one above it, has reached.
func (ev *evidence) fullGroup() string {
	for _, line := range ev.lines("proc/self/cgroup") {
		parts := strings.SplitN(line, ":", 3)
		if len(parts) != 3 || parts[1] != "" && parts[1] != "pids" {
			continue
		}
		base := "sys/fs/cgroup"
		if parts[1] != "" {
			base += "/" + parts[1]
		}
		for dir := parts[2]; ; dir = dir[:strings.LastIndexByte(dir, '/')] {
			dir = strings.TrimSuffix(dir, "/")
			used, err1 := strconv.Atoi(ev.read(base + dir + "/pids.current"))
			limit, err2 := strconv.Atoi(ev.read(base + dir + "/pids.max"))
			if err1 == nil && err2 == nil && used >= limit {
				return "/" + base + dir + "/pids.max"
			}
			if dir == "" {
				break
			}
		}
	}
	return ""
}
