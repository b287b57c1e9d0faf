//go:build linux && (amd64 || arm64)

package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// whyUser is an ID that nobody has.
const whyUser = 54321

// TestExplainReal makes the reasons happen, each in a process, and where needed in namespaces, of its own.
func TestExplainReal(t *testing.T) {
	switch name := os.Getenv("WHY_REAL"); name {
	case "":
	case "mount": // in the process that whyMount starts
		err := unix.Mount("none", os.Getenv("WHY_DIR"), os.Getenv("WHY_TYPE"), 0, os.Getenv("WHY_DATA"))
		errno, _ := err.(syscall.Errno)
		os.Exit(int(errno))
	default: // in the process that is started below
		whyReals[name].inside(t, os.Getenv("WHY_DIR"))
		return
	}
	for name, c := range whyReals {
		t.Run(name, func(t *testing.T) { c.run(t, name) })
	}
}

// A whyReal is a reason: how the process is started in which it comes up, what that does, and what is to be said.
type whyReal struct {
	attr   func(dir string) *syscall.SysProcAttr
	mode   os.FileMode // of the program
	before func(dir string) error
	fail   func(dir string) Failure
	want   string
}

var whyReals map[string]whyReal

// run starts a copy of the test binary, because its own directory is closed to other users.
func (c whyReal) run(t *testing.T, name string) {
	dir, err := os.MkdirTemp("", "why")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	self, err := os.ReadFile("/proc/self/exe")
	exe := filepath.Join(dir, "self")
	if err = errors.Join(err, os.Chmod(dir, 0o755), os.WriteFile(exe, self, 0o755), os.Chmod(exe, c.mode)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run=^TestExplainReal$", "-test.v")
	cmd.SysProcAttr = c.attr(dir)
	cmd.Env = []string{"WHY_REAL=" + name, "WHY_DIR=" + dir, "PATH=" + dir + "/bin:/usr/bin:/bin"}
	cmd.Dir = "/"
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	var exit *exec.ExitError
	switch {
	case err != nil && !errors.As(err, &exit):
		whyLacks(t, "no process, or none in namespaces: "+err.Error())
	case strings.Contains(string(out), "cannot be made here"):
		whyLacks(t, "see above")
	case err != nil || !strings.Contains(string(out), "explained: "):
		t.Error(err)
	}
}

// inside makes the failure, which must come, and looks at what Explain makes of it.
func (c whyReal) inside(t *testing.T, dir string) {
	runtime.LockOSThread()
	if c.before != nil {
		if err := c.before(dir); err != nil {
			t.Skipf("cannot be made here: %v", err)
		}
	}
	f := c.fail(dir)
	if f.Step == "" {
		t.Fatal("nothing failed")
	}
	ev := gather()
	if _, err := os.Stat(filepath.Join(dir, "etc")); err == nil { // of this system's files, only those below /proc
		ev.root = dir
		os.Symlink("/proc", filepath.Join(dir, "proc"))
	}
	err := explainBy(f, ev)
	fmt.Printf("explained: %v\n", err)
	if !strings.Contains(err.Error(), c.want) {
		t.Errorf("%v; want %q", err, c.want)
	}
}

const whyNamespaces = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET

// whyTry starts a process as the plan does, as far as its clone(2) and, if mapping, its map of IDs.
func whyTry(mapping bool) Failure {
	f := Failure{Step: "clone", Call: "clone"}
	attr := &syscall.SysProcAttr{Cloneflags: whyNamespaces}
	if mapping {
		f = Failure{Step: "map user ids", Call: "write"}
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
	}
	p, err := os.StartProcess(os.Args[0], []string{os.Args[0], "-test.run=^$"}, &os.ProcAttr{Env: []string{}, Sys: attr})
	if err == nil {
		p.Wait()
		return Failure{}
	}
	errors.As(err, &f.Errno)
	return f
}

// whyMount mounts as the root of new namespaces, from the directory of the failure.
func whyMount(f Failure, dir, kind, data string) Failure {
	if err := os.Mkdir(dir+"/target", 0o755); err != nil {
		return Failure{}
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestExplainReal$")
	cmd.Env = []string{"WHY_REAL=mount", "WHY_DIR=" + dir + "/target", "WHY_TYPE=" + kind, "WHY_DATA=" + data}
	cmd.Dir = f.Path
	cmd.SysProcAttr = inUserNamespace(dir)
	cmd.SysProcAttr.Cloneflags = whyNamespaces
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return Failure{}
	case errors.As(err, &exit):
		f.Errno = syscall.Errno(exit.ExitCode())
	default:
		errors.As(err, &f.Errno) // it could not go to the directory
	}
	return f
}

func asUser(string) *syscall.SysProcAttr {
	if os.Geteuid() != 0 {
		return nil // one is a user already
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: whyUser, Gid: whyUser}}
}

// inUserNamespace gives a process a user namespace, whose limits are its own.
func inUserNamespace(string) *syscall.SysProcAttr {
	uid := []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
	gid := []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	return &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER, UidMappings: uid, GidMappings: gid}
}

// inMountNamespace keeps mounts from the rest of the machine: Go makes all of them private, and those of a new user
// namespace do not go to others (mount_namespaces(7)).
func inMountNamespace(dir string) *syscall.SysProcAttr {
	if os.Geteuid() != 0 {
		attr := inUserNamespace(dir)
		attr.Cloneflags |= unix.CLONE_NEWNS
		return attr
	}
	return &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
}

func setKnob(name, value string) func(string) error {
	return func(string) error { return os.WriteFile("/proc/sys/"+name, []byte(value), 0) }
}

func tmpfsOn(point string, flags uintptr) func(string) error {
	return func(string) error { return unix.Mount("none", point, "tmpfs", flags, "") }
}

// noCloneNewuser is a filter that refuses clone(2) with CLONE_NEWUSER, as container engines do.
func noCloneNewuser(string) error {
	const number, flags = 0, 16 // offsets in struct seccomp_data; the first argument, low half
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: number},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_CLONE, Jf: 3},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: flags},
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: unix.CLONE_NEWUSER, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	list := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	// For all threads, so that /proc/self/status, which is about the first one, says so.
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&list)))
	if errno != 0 {
		return errno
	}
	return nil
}

func init() {
	cloning := func(string) Failure { return whyTry(false) }
	mapping := func(string) Failure { return whyTry(true) }
	overlay := func(dir string) Failure {
		for _, name := range []string{"u", "w"} {
			os.MkdirAll(filepath.Join(dir, "scratch", name), 0o755)
		}
		os.Mkdir(dir+"/lower", 0o755) // unless it is there
		scratch := filepath.Join(dir, "scratch")
		return whyMount(Failure{Step: "mount overlay", Call: "mount", Path: dir + "/lower"}, dir,
			"overlay", "userxattr,lowerdir=.,upperdir="+scratch+"/u,workdir="+scratch+"/w")
	}
	whyReals = map[string]whyReal{
		"no user namespaces": {inUserNamespace, 0o755, setKnob("user/max_user_namespaces", "0"), cloning,
			"clone: namespaces are switched off (user.max_user_namespaces is 0)"},
		"no network namespaces": {inUserNamespace, 0o755, setKnob("user/max_net_namespaces", "0"), cloning,
			"clone: namespaces are switched off (user.max_net_namespaces is 0)"},
		"limit used up": {inUserNamespace, 0o755, setKnob("user/max_pid_namespaces", "1"), func(string) Failure {
			holder := exec.Command("sleep", "60")
			holder.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID, Pdeathsig: unix.SIGKILL}
			if err := holder.Start(); err != nil {
				return Failure{}
			}
			defer holder.Wait()
			defer holder.Process.Kill()
			return whyTry(false)
		}, "clone: too many namespaces"},
		"chroot": {inMountNamespace, 0o755, func(dir string) error { return unix.Chroot(dir) }, cloning,
			"clone: no user namespace can be made in a chroot"},
		"unmapped user": {func(string) *syscall.SysProcAttr { return &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER} }, 0o755, nil, cloning,
			"clone: user 65534 is not mapped"},
		"processes": {asUser, 0o755, func(string) error {
			return unix.Setrlimit(unix.RLIMIT_NPROC, &unix.Rlimit{Cur: 1, Max: 1})
		}, cloning, "clone: the user has as many processes as it may (1)"},
		"closed binary": {asUser, 0o111, nil, mapping, "map user ids: this user may not read the program /"},
		"seccomp":       {asUser, 0o755, noCloneNewuser, cloning, "clone: a seccomp filter refuses it, which this process has inherited"},
		"hidden /proc": {inMountNamespace, 0o755, tmpfsOn("/proc/sys/fs", 0), func(dir string) Failure {
			return whyMount(Failure{Step: "mount proc", Call: "mount"}, dir, "proc", "")
		}, "mount proc: parts of /proc are hidden here (something is mounted on /proc/sys/fs)"},
		"no /proc": {inMountNamespace, 0o755, tmpfsOn("/proc", 0), mapping, "map user ids: /proc is not there"},
		"mounts in DIR": {inMountNamespace, 0o755, func(dir string) error {
			return errors.Join(os.MkdirAll(dir+"/lower/sub", 0o755), tmpfsOn(dir+"/lower/sub", 0)(""))
		}, overlay, "lower/sub, and an overlay takes no tree with mounts in it"},
		"closed DIR": {inMountNamespace, 0o755, func(dir string) error {
			return errors.Join(os.Mkdir(dir+"/lower", 0o700), os.Chown(dir+"/lower", whyUser, whyUser))
		}, overlay, "lower is closed to root of a user namespace"},
	}
}
