package sandbox

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"

	"github.com/ctbox/ctbox/applets/internal/cli"
)

// A Failure is a step of the plan that did not succeed. As an error it says no more than that; Explain adds why.
type Failure struct {
	Step  string        // its name in the plan: "mount proc"
	Call  string        // system call, such as "mount", or "exec" for a program that the step needs
	Errno syscall.Errno // what the call returned; 0 if a program failed
	Path  string        // the file in question, absolute, or ""
}

func (f Failure) Error() string {
	what := f.Errno.Error()
	if f.Errno == 0 {
		what = "failed"
	}
	if f.Path != "" && !strings.Contains(f.Step, f.Path) {
		what = f.Path + ": " + what
	}
	return f.Step + ": " + what
}

func (f Failure) Unwrap() error {
	if f.Errno == 0 {
		return nil
	}
	return f.Errno
}

// explained is a Failure with a cause that says more than its errno.
type explained struct {
	Failure
	cause string
}

func (e explained) Error() string { return e.Step + ": " + e.cause }
func (e explained) Unwrap() error { return e.Failure }

// Explain finds out why the step failed, from what this system says of itself, and adds what to do about it. It is
// for after the failure, and in the process that made the namespaces, not in them.
func Explain(f Failure) error { return explainBy(f, gather()) }

func explainBy(f Failure, ev *evidence) error {
	cause, fix := explain(f, ev)
	switch {
	case cause == "":
		return f
	case fix == "":
		return explained{f, cause}
	}
	return cli.Hint(explained{f, cause}, "%s", fix)
}

// A reason is a cause, and what to do about it; "" if there is nothing to say.
type reason struct{ cause, fix string }

// explain looks first for what only this step fails of, then for what any may.
func explain(f Failure, ev *evidence) (cause, fix string) {
	r := ev.special(f)
	if r.cause == "" && f.Step != "exec" { // which has CannotStart
		r = ev.general(f)
	}
	if r.cause == "" && f.Call == "clone" {
		r = reason{f.Errno.Error() + ", and nothing here shows why", strings.TrimPrefix(ev.orChroot(), "; or ")}
	}
	return r.cause, r.fix
}

func (ev *evidence) special(f Failure) reason {
	switch {
	case ev.gvisor():
		return reason{} // whose knobs and messages are not those of Linux
	case f.Call == "clone" || f.Call == "clone3" || f.Call == "unshare":
		return ev.clone(f.Errno)
	case f.Call == "mount" && strings.Contains(f.Step, "proc") && f.Errno == syscall.EPERM:
		return ev.procMount()
	case f.Call == "mount" && strings.Contains(f.Step, "overlay"):
		return ev.overlay(f)
	case strings.HasPrefix(f.Step, "map "):
		return ev.idMap(f.Errno)
	case f.Call == "pivot_root" && f.Errno == syscall.EINVAL && ev.kindOf("/") == "rootfs":
		return reason{"the root directory is the initrd itself, which cannot be left", "boot with a root file system of its own" + ev.orChroot()}
	case f.Call == "chroot" && f.Errno == syscall.EPERM:
		return reason{"only root may change the root directory", "leave out --chroot, or run it as root with CAP_SYS_CHROOT"}
	}
	return reason{}
}

// general is about any step after the first. What keeps user namespaces useless while it lets them be made shows there.
func (ev *evidence) general(f Failure) reason {
	switch {
	case ev.gvisor():
		return reason{"gVisor gives too little of user namespaces", "run it with another runtime, such as runc" + ev.orChroot()}
	case f.Errno == syscall.EPERM || f.Errno == syscall.EACCES:
		if closed := ev.closed(f.Path); f.Errno == syscall.EACCES && closed != "" {
			return ev.tooClosed(closed)
		}
		return ev.refused(f.Errno, f.Call == "clone")
	case f.Errno == syscall.ENOSPC && f.Call == "mount":
		if n, err := strconv.Atoi(ev.knob("fs/mount-max")); err == nil && len(ev.mounts())+20 > n {
			return reason{"there are as many mounts as there may be", ev.sysctl("fs.mount-max", strconv.Itoa(2*n))}
		}
	case f.Errno == syscall.ENODEV && f.Call == "mount":
		return reason{"the kernel lacks this file system", "take a kernel that has it, or --chroot as root"}
	}
	return reason{}
}

// refused finds who refuses with EPERM or EACCES. A seccomp filter shows at clone(2), while AppArmor lets that pass and takes
// the rights away that should come with the namespace.
func (ev *evidence) refused(errno syscall.Errno, cloning bool) reason {
	filtered := ev.status("Seccomp") == "2"
	switch {
	case filtered && cloning:
		return ev.filtered()
	case ev.confined() && ev.container() != "":
		return reason{"the container's AppArmor profile refuses it", ev.openContainer()}
	case ev.knob("kernel/apparmor_restrict_unprivileged_userns") == "1" && !ev.capable(sysAdmin):
		return ev.appArmor()
	case errno == syscall.EACCES && ev.read("sys/fs/selinux/enforce") == "1":
		return ev.seLinux()
	case filtered:
		return ev.filtered()
	}
	return reason{}
}

// filtered is about seccomp. Filters are inherited, so it is whatever started ctbox that has set it.
func (ev *evidence) filtered() reason {
	if ev.container() == "" {
		return reason{"a seccomp filter refuses it, which this process has inherited",
			"in a systemd service: RestrictNamespaces=no, and no SystemCallFilter= without @mount" + ev.orChroot()}
	}
	return reason{"the container's seccomp filter refuses it", ev.openContainer()}
}

// confined says whether this process has an AppArmor profile that is enforced, such as docker's own, which refuses mount(2).
func (ev *evidence) confined() bool {
	return strings.HasSuffix(ev.read("proc/self/attr/current"), "(enforce)")
}

// appArmor gives this very program the right. The profile is the one that Ubuntu 24.04 has for programs of its own.
func (ev *evidence) appArmor() reason {
	const file = "/etc/apparmor.d/ctbox"
	profile := fmt.Sprintf("abi <abi/4.0>, profile ctbox %q flags=(unconfined) { userns, }", ev.exe)
	return reason{"AppArmor takes the rights of user namespaces away (kernel.apparmor_restrict_unprivileged_userns is 1)",
		"as root: echo " + shellWord(profile) + " >" + file + " && apparmor_parser -r " + file +
			"; or for all programs: sysctl kernel.apparmor_restrict_unprivileged_userns=0"}
}

func (ev *evidence) seLinux() reason {
	fix := "ausearch -m avc -ts recent shows the rule that is lacking"
	if ev.container() != "" {
		fix = "start the container with --security-opt label=disable"
	}
	return reason{"SELinux refuses it", fix + ev.orChroot()}
}
