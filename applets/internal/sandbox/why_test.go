package sandbox

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// whyFiles is a root directory for evidence: text by name.
type whyFiles map[string]string

// made is evidence about an ordinary machine and user, but for what the files say.
func (files whyFiles) made(t *testing.T) *evidence {
	t.Helper()
	root := t.TempDir()
	all := whyFiles{
		"proc/self/status":    "Name:\tctbox\nSeccomp:\t0\nCapEff:\t0000000000000000\nNoNewPrivs:\t0\n",
		"proc/self/uid_map":   "         0          0 4294967295\n",
		"proc/self/mountinfo": "22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n23 22 0:5 / /proc rw,relatime - proc proc rw\n",
		"proc/version":        "Linux version 6.8.0-31-generic (buildd@x) #31-Ubuntu SMP PREEMPT_DYNAMIC\n",
		"etc/passwd":          "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n",
	}
	for _, kind := range []string{"user", "mnt", "pid", "uts", "ipc", "net", "cgroup"} {
		all["proc/self/ns/"+kind] = ""
		all["proc/sys/user/max_"+kind+"_namespaces"] = "15000\n"
	}
	maps.Copy(all, files)
	for name, text := range all {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if text == "-" {
			continue // not there
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	no := func(string) bool { return false }
	return &evidence{
		root: root, exe: "/home/ann/ctbox", release: "6.8.0-31-generic", euid: 1000, nproc: 1 << 63, dumpable: true,
		look:   func(string) (string, error) { return "", errors.New("not found") },
		nosuid: no, setcap: no,
	}
}

const (
	whyHostname = "22 1 0:39 / / rw - zfs zpool rw\n23 22 0:42 / /proc rw - proc proc rw\n24 22 0:39 /h /etc/hostname rw - zfs zpool rw\n"
	whyDocker   = "22 1 0:39 / / rw - overlay overlay rw\n23 22 0:42 / /proc rw - proc proc rw\n" +
		"24 23 0:42 /sys /proc/sys ro - proc proc rw\n25 23 0:43 /null /proc/keys rw - tmpfs tmpfs rw\n"
	whyFilter = "Seccomp:\t2\nCapEff:\t00000000a80425fb\n"
	bothOpen  = "--security-opt seccomp=unconfined --security-opt systempaths=unconfined; or"
)

var (
	whyClone   = Failure{"clone", "clone", syscall.EPERM, ""}
	whyProc    = Failure{"mount proc", "mount", syscall.EPERM, ""}
	whyIDs     = Failure{"map user ids", "write", syscall.EPERM, ""}
	whyOverlay = Failure{"mount overlay", "mount", syscall.EINVAL, "/home/ann/root"}
)

func (f Failure) with(errno syscall.Errno) Failure { f.Errno = errno; return f }

// TestExplain: each known reason is told from the others by what the system says of itself.
func TestExplain(t *testing.T) {
	for name, c := range map[string]struct {
		failure    Failure
		files      whyFiles
		set        func(*evidence)
		cause, fix string
	}{
		"old Debian": {whyClone, whyFiles{"proc/sys/kernel/unprivileged_userns_clone": "0\n"}, nil,
			"users may not make user namespaces (kernel.unprivileged_userns_clone is 0)",
			"as root: sysctl kernel.unprivileged_userns_clone=1 && echo kernel.unprivileged_userns_clone=1 >/etc/sysctl.d/60-ctbox.conf; or"},
		"old Debian allows": {whyClone, whyFiles{"proc/sys/kernel/unprivileged_userns_clone": "1\n"}, nil, "operation not permitted, and nothing here", "run it as root with --chroot"},
		"userns_restrict":   {whyClone, whyFiles{"proc/sys/kernel/userns_restrict": "1\n"}, nil, "kernel.userns_restrict is 1", "sysctl kernel.userns_restrict=0"},
		"no namespaces": {whyClone.with(syscall.ENOSPC), whyFiles{"proc/sys/user/max_user_namespaces": "0\n"}, nil,
			"switched off (user.max_user_namespaces is 0)", "sysctl user.max_user_namespaces=15000"},
		"no network namespaces": {whyClone.with(syscall.ENOSPC), whyFiles{"proc/sys/user/max_net_namespaces": "0\n"}, nil, "max_net_namespaces is 0", ""},
		"nested":                {whyClone.with(syscall.ENOSPC), nil, nil, "more than 32 one in the other", "nest less"},
		"nested, old kernel":    {whyClone.with(syscall.EUSERS), nil, nil, "more than 32 one in the other", "nest less"},
		"AppArmor": {whyIDs, whyFiles{"proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1\n", "proc/self/attr/current": "unconfined\n"}, nil,
			"AppArmor takes the rights",
			`as root: echo 'abi <abi/4.0>, profile ctbox "/home/ann/ctbox" flags=(unconfined) { userns, }' >/etc/apparmor.d/ctbox && apparmor_parser -r /etc/apparmor.d/ctbox`},
		"AppArmor, mount": {Failure{"make mounts private", "mount", syscall.EACCES, "/"}, whyFiles{"proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1\n"}, nil,
			"AppArmor takes the rights", "sysctl kernel.apparmor_restrict_unprivileged_userns=0"},
		"AppArmor, lo":      {Failure{"bring lo up", "ioctl", syscall.EPERM, ""}, whyFiles{"proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1\n"}, nil, "AppArmor takes the rights", ""},
		"AppArmor and root": {Failure{"bring lo up", "ioctl", syscall.EPERM, ""}, whyFiles{"proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1\n", "proc/self/status": "CapEff:\t000001ffffffffff\n"}, nil, "", ""},
		"AppArmor off":      {whyIDs, whyFiles{"proc/sys/kernel/apparmor_restrict_unprivileged_userns": "0\n"}, nil, "", ""},

		"docker": {whyClone, whyFiles{"proc/self/mountinfo": whyDocker, "proc/self/status": whyFilter, ".dockerenv": ""}, nil,
			"the container's seccomp filter refuses it", bothOpen},
		"docker on Ubuntu": {whyClone, whyFiles{"proc/self/mountinfo": whyDocker, "proc/self/status": whyFilter, ".dockerenv": "",
			"proc/self/attr/current": "docker-default (enforce)\n", "proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1\n"}, nil,
			"the container's seccomp filter refuses it", "systempaths=unconfined --security-opt apparmor=unconfined; or"},
		"docker, filter lifted": {whyProc, whyFiles{"proc/self/mountinfo": whyDocker, ".dockerenv": ""}, nil,
			"parts of /proc are hidden here (something is mounted on /proc/sys)", bothOpen},
		"docker, SYS_ADMIN": {whyProc, whyFiles{"proc/self/mountinfo": whyDocker, "proc/self/status": whyFilter, ".dockerenv": ""}, nil,
			"parts of /proc are hidden here", bothOpen},
		"docker, AppArmor only": {Failure{"mount scratch", "mount", syscall.EACCES, "/tmp"}, whyFiles{"proc/self/mountinfo": whyDocker, ".dockerenv": "",
			"proc/self/attr/current": "docker-default (enforce)\n"}, nil, "the container's AppArmor profile", "apparmor=unconfined"},
		"docker by cgroup": {whyClone, whyFiles{"proc/self/cgroup": "1:name=systemd:/docker/6475\n", "proc/self/status": whyFilter}, func(e *evidence) { e.euid = 0 },
			"the container's seccomp filter", "systempaths=unconfined; or use --chroot, which"},
		"docker, all of /proc": {whyClone, whyFiles{"proc/self/mountinfo": whyHostname, "proc/self/status": whyFilter, ".dockerenv": ""}, nil,
			"the container's seccomp filter refuses it", bothOpen},
		"exported, service": {whyClone, whyFiles{"proc/self/status": whyFilter, ".dockerenv": ""}, nil, "which this process has inherited", ""},
		"podman":            {whyClone, whyFiles{"proc/self/mountinfo": whyDocker, "proc/self/status": whyFilter, "run/.containerenv": ""}, nil, "the container's seccomp", "unmask=ALL"},
		"kubernetes":        {whyProc, whyFiles{"proc/self/mountinfo": whyDocker, "var/run/secrets/kubernetes.io/token": ""}, nil, "hidden here", "procMount Unmasked"},
		"lxc":               {whyClone, whyFiles{"run/systemd/container": "lxc\n", "proc/self/status": whyFilter}, nil, "the container's seccomp", "security.nesting=true"},
		"other":             {whyClone, whyFiles{"proc/self/mountinfo": whyDocker, "proc/self/status": whyFilter}, nil, "the container's seccomp", "without masked paths"},
		"service":           {whyClone, whyFiles{"proc/self/status": whyFilter}, nil, "a seccomp filter refuses it, which this process has inherited", "RestrictNamespaces=no"},
		"exported":          {whyClone, whyFiles{".dockerenv": ""}, nil, "nothing here shows why", "--chroot"}, // a tree that was a container's
		"hidden":            {whyProc, whyFiles{"proc/self/mountinfo": "1 0 8:1 / / rw - ext4 a rw\n2 1 0:5 / /proc rw - proc p rw\n3 2 0:6 / /proc/sys/fs rw - tmpfs t rw\n"}, nil, "mounted on /proc/sys/fs", "as root: umount /proc/sys/fs; or"},
		"binfmt_misc":       {whyProc, whyFiles{"proc/self/mountinfo": "1 0 8:1 / / rw - ext4 a rw\n2 1 0:5 / /proc rw - proc p rw\n3 2 0:6 / /proc/sys/fs/binfmt_misc rw - binfmt_misc b rw\n"}, nil, "", ""},
		"read-only":         {whyProc, whyFiles{"proc/self/mountinfo": "1 0 8:1 / / rw - ext4 a rw\n2 1 0:5 / /proc ro,nosuid - proc p rw\n"}, nil, "/proc is mounted read-only", "remount,rw"},
		"elsewhere":         {whyProc, whyFiles{"proc/self/mountinfo": "1 0 8:1 / / rw - ext4 a rw\n"}, nil, "no /proc is mounted here", "mount -t proc proc /proc"},

		"chroot":          {whyClone, nil, func(e *evidence) { e.jailed = true }, "in a chroot", "pivot_root"},
		"chroot, mounts":  {whyClone, whyFiles{"proc/self/mountinfo": "65 43 0:21 / /proc rw,relatime - proc proc rw\n"}, nil, "in a chroot", "--chroot"},
		"unmapped":        {whyClone, whyFiles{"proc/self/uid_map": "0 1001 1\n"}, func(e *evidence) { e.euid = 65534 }, "user 65534 is not mapped", ""},
		"gVisor":          {whyProc, whyFiles{"proc/version": "Linux version 4.4.0 #1 SMP Sun Jan 10 15:06:54 PST 2016\n", "proc/self/mountinfo": whyDocker}, nil, "gVisor", "another runtime"},
		"new gVisor":      {whyClone.with(syscall.EINVAL), whyFiles{"proc/version": "Linux version 4.19.0-gvisor #1 SMP\n", "proc/self/ns/user": "-"}, nil, "gVisor", "another runtime"},
		"WSL 1":           {whyClone.with(syscall.EINVAL), nil, func(e *evidence) { e.release = "4.4.0-19041-Microsoft" }, "WSL 1", "wsl --set-version"},
		"WSL 1, ENOSYS":   {whyClone.with(syscall.ENOSYS), nil, func(e *evidence) { e.release = "4.4.0-19041-Microsoft" }, "WSL 1", "wsl --set-version"},
		"WSL 2":           {whyClone.with(syscall.EINVAL), nil, func(e *evidence) { e.release = "5.15.90.1-microsoft-standard-WSL2" }, "invalid argument, and nothing here", ""},
		"no CONFIG":       {whyClone.with(syscall.EINVAL), whyFiles{"proc/self/ns/user": "-"}, nil, "has no user namespaces", "take a kernel"},
		"no CONFIG_NET":   {whyClone.with(syscall.EINVAL), whyFiles{"proc/self/ns/net": "-"}, nil, "has no net namespaces", ""},
		"RHEL 7":          {whyClone.with(syscall.EINVAL), nil, func(e *evidence) { e.release = "3.10.0-514.el7.x86_64" }, "switched off", "user_namespace.enable=1"},
		"SELinux":         {whyClone.with(syscall.EACCES), whyFiles{"sys/fs/selinux/enforce": "1"}, nil, "SELinux", "ausearch"},
		"SELinux, podman": {whyProc.with(syscall.EACCES), whyFiles{"sys/fs/selinux/enforce": "1", "run/.containerenv": ""}, nil, "SELinux", "label=disable"},
		"permissive":      {whyClone.with(syscall.EACCES), whyFiles{"sys/fs/selinux/enforce": "0"}, nil, "permission denied, and nothing here", ""},

		"processes": {whyClone.with(syscall.EAGAIN), nil, func(e *evidence) { e.nproc = 128 }, "as many processes as it may (128)", "ulimit -u"},
		"cgroup": {whyClone.with(syscall.EAGAIN), whyFiles{"proc/self/cgroup": "0::/user.slice/x\n", "sys/fs/cgroup/user.slice/x/pids.max": "max\n",
			"sys/fs/cgroup/user.slice/x/pids.current": "9\n", "sys/fs/cgroup/user.slice/pids.max": "10\n", "sys/fs/cgroup/user.slice/pids.current": "10\n"},
			func(e *evidence) { e.nproc = 128 }, "(/sys/fs/cgroup/user.slice/pids.max)", "TasksMax="},
		"old cgroup": {whyClone.with(syscall.EAGAIN), whyFiles{"proc/self/cgroup": "4:cpu:/a\n3:pids:/\n", "sys/fs/cgroup/pids/pids.max": "10\n", "sys/fs/cgroup/pids/pids.current": "10\n"}, nil, "(/sys/fs/cgroup/pids/pids.max)", "--pids-limit"},
		"all":        {whyClone.with(syscall.EAGAIN), nil, nil, "the system has as many", "threads-max"},

		"no /proc":      {whyIDs.with(syscall.ENOENT), whyFiles{"proc/self/status": "-"}, nil, "/proc is not there", "mount -t proc"},
		"closed binary": {whyIDs.with(syscall.EACCES), nil, func(e *evidence) { e.dumpable = false }, "may not read the program /home/ann/ctbox", "chmod a+r /home/ann/ctbox"},
		"set-uid binary": {whyIDs.with(syscall.EACCES), whyFiles{"proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1\n"}, func(e *evidence) { e.dumpable = false },
			"may not read the program", "no set-uid bit"},

		"old kernel":         {whyOverlay.with(syscall.EPERM), nil, func(e *evidence) { e.release = "5.10.0-28-amd64" }, "need Linux 5.11, this is 5.10.0-28-amd64", "--rw"},
		"old patched kernel": {whyOverlay, nil, func(e *evidence) { e.release = "4.19.0" }, "need Linux 5.11", "--rw"},
		"new enough":         {whyOverlay.with(syscall.EPERM), nil, func(e *evidence) { e.release = "5.11.0" }, "", ""},
		"no overlay":         {whyOverlay.with(syscall.ENODEV), nil, nil, "has no overlay file system", "modprobe overlay; or use --rw"},
		"no tmpfs":           {Failure{"mount scratch", "mount", syscall.ENODEV, "/tmp"}, nil, nil, "lacks this file system", ""},
		"DIR is /":           {Failure{"mount overlay", "mount", syscall.EINVAL, "/"}, nil, nil, "/ holds /tmp", "copy the tree"},
		"DIR is /tmp":        {Failure{"mount overlay", "mount", syscall.EINVAL, "/tmp"}, nil, nil, "/tmp holds /tmp", "copy the tree"},
		"mounts in DIR": {whyOverlay, whyFiles{"proc/self/mountinfo": "1 0 8:1 / / rw - ext4 a rw\n2 1 8:2 / /home/ann rw - ext4 b rw\n" +
			"3 1 8:2 / /home/ann/rootless rw - ext4 b rw\n4 2 0:5 / /home/ann/root/my\\040proc rw - proc p rw\n"}, nil,
			"something is mounted on /home/ann/root/my proc", "umount '/home/ann/root/my proc'; or use --rw"},
		"third overlay":   {whyOverlay, whyFiles{"proc/self/mountinfo": "1 0 8:1 / / rw - ext4 a rw\n2 1 0:9 / /home/ann rw - overlay o rw\n"}, nil, "no more than two", "copy the tree"},
		"vfat":            {whyOverlay, whyFiles{"proc/self/mountinfo": "1 0 8:1 / / rw - ext4 a rw\n2 1 0:9 / /home rw - vfat o rw\n"}, nil, "overlayfs refuses /home/ann/root (on vfat)", "dmesg"},
		"too many mounts": {Failure{"mount scratch", "mount", syscall.ENOSPC, "/tmp"}, whyFiles{"proc/sys/fs/mount-max": "10\n"}, nil, "as many mounts", "fs.mount-max=20"},
		"full":            {Failure{"mount scratch", "mount", syscall.ENOSPC, "/tmp"}, whyFiles{"proc/sys/fs/mount-max": "100000\n"}, nil, "", ""},
		"initrd":          {Failure{"pivot_root", "pivot_root", syscall.EINVAL, ""}, whyFiles{"proc/self/mountinfo": "1 0 0:2 / / rw - rootfs none rw\n"}, func(e *evidence) { e.euid = 0 }, "is the initrd itself", "or use --chroot"},
		"chroot as user":  {Failure{"chroot", "chroot", syscall.EPERM, ""}, nil, nil, "only root", "leave out --chroot"},
		"anything else":   {Failure{"open DIR", "open", syscall.ENOENT, "/nowhere"}, nil, nil, "", ""},
		"exec":            {Failure{"exec", "execve", syscall.EACCES, "/init"}, whyFiles{"proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1\n"}, nil, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			ev := c.files.made(t)
			if c.set != nil {
				c.set(ev)
			}
			cause, fix := explain(c.failure, ev)
			if !strings.Contains(cause, c.cause) || c.cause == "" && cause != "" {
				t.Errorf("cause %q; want %q", cause, c.cause)
			}
			if !strings.Contains(fix, c.fix) || cause == "" && fix != "" {
				t.Errorf("fix %q; want %q", fix, c.fix)
			}
			if strings.ContainsAny(cause+fix, "\n") || strings.HasPrefix(fix, ";") || strings.HasSuffix(cause, ".") {
				t.Errorf("not the form of a message: %q, %q", cause, fix)
			}
		})
	}
}

// TestExplainClosed: which directory keeps the root of a user namespace from DIR.
func TestExplainClosed(t *testing.T) {
	if os.Geteuid() != 0 {
		whyLacks(t, "only root can give a directory away")
	}
	ev := whyFiles(nil).made(t)
	dir := "/srv/ann/root"
	if err := errors.Join(os.MkdirAll(ev.root+dir, 0o755), os.Chown(ev.root+"/srv/ann", 1000, 1000), os.Chmod(ev.root+"/srv/ann", 0o700)); err != nil {
		t.Fatal(err)
	}
	for _, f := range []Failure{{"open DIR", "open", syscall.EACCES, dir}, {"mount overlay", "mount", syscall.EACCES, dir}} {
		cause, fix := explain(f, ev)
		if cause != "/srv/ann is closed to this user" || !strings.HasPrefix(fix, "chmod a+rx /srv/ann,") {
			t.Errorf("%v: %q, %q", f, cause, fix)
		}
		ev.euid = 0
		if cause, _ := explain(f, ev); !strings.Contains(cause, "not root of the machine") {
			t.Errorf("%v as root: %q", f, cause)
		}
		ev.euid = 1000
	}
	os.Chmod(ev.root+"/srv/ann", 0o755)
	if cause, _ := explain(Failure{"open DIR", "open", syscall.EACCES, dir}, ev); cause != "" {
		t.Errorf("open to all: %q", cause)
	}
}

// TestFailure: what it says by itself, and that it is still its errno when it is explained.
func TestFailure(t *testing.T) {
	for _, c := range []struct {
		failure Failure
		want    string
	}{
		{Failure{"mount proc", "mount", syscall.EPERM, ""}, "mount proc: operation not permitted"},
		{Failure{"open DIR", "open", syscall.ENOENT, "/x"}, "open DIR: /x: no such file or directory"},
		{Failure{"bind /x", "mount", syscall.ENOENT, "/x"}, "bind /x: no such file or directory"},
		{Failure{"serve", "exec", 0, ""}, "serve: failed"},
	} {
		if got := c.failure.Error(); got != c.want {
			t.Errorf("%q; want %q", got, c.want)
		}
	}
	err := Explain(Failure{"chroot", "chroot", syscall.EPERM, ""})
	var f Failure
	if !errors.Is(err, syscall.EPERM) || !errors.As(err, &f) || !strings.HasPrefix(err.Error(), "chroot: only root") {
		t.Error(err)
	}
	err = Explain(Failure{"open DIR", "open", syscall.ENOENT, "/x"})
	if err.Error() != "open DIR: /x: no such file or directory" || !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// TestUnescape: names in mountinfo, whole and cut.
func TestUnescape(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "/a": "/a", `/a\040b`: "/a b", `\134`: `\`, `/tab\011`: "/tab\t", `\`: `\`, `\04`: `\04`, `a\9`: `a\9`, `\777`: `\777`,
	} {
		if got := unescape(in); got != want {
			t.Errorf("%q: %q; want %q", in, got, want)
		}
	}
}

// TestOlder: releases of kernels are not numbers.
func TestOlder(t *testing.T) {
	for release, want := range map[string]bool{
		"5.10.0-28-amd64": true, "5.11.0": false, "5.4": true, "4.19": true, "6.1.0": false, "3.10.0-1160.el7.x86_64": true,
		"5.11-rc1": false, "5.9-rc1": true, "": false, "x": false, "10.0": false,
	} {
		if got := older(release, 5, 11); got != want {
			t.Errorf("%q: %v", release, got)
		}
	}
}

// whyLacks skips a test, or fails it in CI, that needs what is not here.
func whyLacks(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(what)
	}
	t.Skip(what)
}
