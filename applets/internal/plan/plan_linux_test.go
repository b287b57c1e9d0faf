//go:build linux && (amd64 || arm64)

package plan

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestKernelConstants(t *testing.T) {
	for _, c := range [...][2]uint64{
		{sysPidfdSendSignal, unix.SYS_PIDFD_SEND_SIGNAL}, {sysOpenTree, unix.SYS_OPEN_TREE}, {sysMoveMount, unix.SYS_MOVE_MOUNT},
		{sysCloseRange, unix.SYS_CLOSE_RANGE}, {sysMountSetattr, unix.SYS_MOUNT_SETATTR},
		{cloneNewNS, unix.CLONE_NEWNS}, {cloneNewCgroup, unix.CLONE_NEWCGROUP}, {cloneNewUTS, unix.CLONE_NEWUTS},
		{cloneNewIPC, unix.CLONE_NEWIPC}, {cloneNewUser, unix.CLONE_NEWUSER}, {cloneNewPID, unix.CLONE_NEWPID},
		{cloneNewNet, unix.CLONE_NEWNET}, {clonePIDFD, unix.CLONE_PIDFD},
		{oPath, unix.O_PATH}, {atRecursive, unix.AT_RECURSIVE}, {atEmptyPath, unix.AT_EMPTY_PATH},
		{openTreeClone, unix.OPEN_TREE_CLONE}, {openTreeCloexec, unix.OPEN_TREE_CLOEXEC},
		{moveMountEmptyPath, unix.MOVE_MOUNT_F_EMPTY_PATH}, {resolveNoMagiclinks, unix.RESOLVE_NO_MAGICLINKS}, {sysOpenat2, unix.SYS_OPENAT2},
		{prSetPdeathsig, unix.PR_SET_PDEATHSIG}, {prSetSeccomp, unix.PR_SET_SECCOMP}, {prCapbsetDrop, unix.PR_CAPBSET_DROP},
		{prSetNoNewPrivs, unix.PR_SET_NO_NEW_PRIVS}, {seccompModeFilter, unix.SECCOMP_MODE_FILTER}, {sigSetmask, unix.SIG_SETMASK},
		{stRelatime, unix.ST_RELATIME}, {seccompAllow, unix.SECCOMP_RET_ALLOW}, {seccompErrno, unix.SECCOMP_RET_ERRNO},
		{auditArchI386, unix.AUDIT_ARCH_I386}, {auditArchX86_64, unix.AUDIT_ARCH_X86_64}, {auditArchARM, unix.AUDIT_ARCH_ARM},
		{auditArchAARCH64, unix.AUDIT_ARCH_AARCH64}, {afVsock, unix.AF_VSOCK}, {capVersion3, unix.LINUX_CAPABILITY_VERSION_3},
		{rlimitNproc, unix.RLIMIT_NPROC}, {capChown, unix.CAP_CHOWN}, {capDacOverride, unix.CAP_DAC_OVERRIDE},
		{capFowner, unix.CAP_FOWNER}, {capDacReadSearch, unix.CAP_DAC_READ_SEARCH},
		{prCapAmbient, unix.PR_CAP_AMBIENT}, {prCapAmbientRaise, unix.PR_CAP_AMBIENT_RAISE}, {sysSetns, unix.SYS_SETNS}, {pollIn, unix.POLLIN}, {pPIDFD, unix.P_PIDFD}, {capFsetid, unix.CAP_FSETID}, {capKill, unix.CAP_KILL}, {capSetgid, unix.CAP_SETGID},
		{capSetuid, unix.CAP_SETUID}, {capSetpcap, unix.CAP_SETPCAP}, {capNetBindService, unix.CAP_NET_BIND_SERVICE},
		{capNetRaw, unix.CAP_NET_RAW}, {capSysChroot, unix.CAP_SYS_CHROOT}, {capMknod, unix.CAP_MKNOD},
		{capAuditWrite, unix.CAP_AUDIT_WRITE}, {capSetfcap, unix.CAP_SETFCAP},
	} {
		if c[0] != c[1] {
			t.Errorf("%#x is %#x", c[0], c[1])
		}
	}
	if here != unix.AT_FDCWD {
		t.Error(here)
	}
}

// every is options with something in each field.
func every(dir string) *Options {
	return &Options{
		Dir: dir, Args: []string{"sh", "-c", "exit"}, Env: []string{"PATH=/bin::/usr/bin", "A=1"}, Workdir: "/w", Hostname: "h",
		Root: Overlay, Binds: []Bind{{dir, "/a/b", true}, {dir + "/f", "/c", false}}, Tmpfs: []Tmpfs{{"/t", 4096}},
		Net: UserNet, Resolver: "nameserver 10.0.2.3\n", User: &User{33, 44}, Mapped: true, Wait: true, FakeChown: true, Keep: true,
		Limits: []Rlimit{{syscall.RLIMIT_CORE, 1, 2}}, Memory: 1 << 20, CPUs: []byte{1, 0}, Cgroups: []int{9},
	}
}

// A field that equal forgets would let a sandbox go on that is not what was asked for.
func TestEqual(t *testing.T) {
	a := every("/x")
	if !a.equal(every("/x")) {
		t.Error("not equal to itself")
	}
	for i := range reflect.TypeFor[Options]().NumField() {
		b := every("/x")
		f := reflect.ValueOf(b).Elem().Field(i)
		if f.IsZero() && f.Kind() != reflect.Int {
			t.Errorf("%s is not tested", reflect.TypeFor[Options]().Field(i).Name)
		}
		if f.IsZero() {
			f.SetInt(1)
		} else {
			f.SetZero()
		}
		if a.equal(b) || b.equal(a) {
			t.Errorf("%s makes no difference", reflect.TypeFor[Options]().Field(i).Name)
		}
	}
	b := every("/x")
	b.User = &User{33, 45}
	if a.equal(b) {
		t.Error("another group makes no difference")
	}
}

// position is where a step is in the plan, -1 if nowhere.
func position(p *Plan, name string) int {
	return slices.IndexFunc(p.steps, func(s *step) bool { return s.name == name })
}

// TestOrder holds what makes a sandbox of the plan, whatever was asked for.
func TestOrder(t *testing.T) {
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, "f"), nil, 0o644)
	all := every(dir)
	for _, root := range []Root{Overlay, Writable, ReadOnly} {
		for _, o := range []*Options{Defaults(dir, nil, nil), all} {
			o.Root = root
			p := New(o)
			last := -1
			for _, name := range []string{"die with the parent", "setsid", StepUnshare, "make mounts private", StepDir, "mount scratch",
				"pivot_root", "mount /dev", "mount /proc", "mount /tmp", "leave the host", "close files", "drop capabilities",
				"allow no new privileges", "filter system calls", StepExec} {
				if at := position(p, name); at <= last {
					t.Errorf("%v: %s is at %d, not after %d", root, name, at, last)
				} else {
					last = at
				}
			}
			pivot, leave := position(p, "pivot_root"), position(p, "leave the host")
			atHost := true // the current directory is of the host
			for i, s := range p.steps {
				switch {
				case s.call == callChdir && i > pivot:
					atHost = false
				case s.call == callFchdir && s.args[0] == slotHost:
					atHost = true
				}
				if s.call != callMount && s.call != callMoveMount {
					continue
				}
				source, target := s.args[0], s.args[1]
				if s.call == callMoveMount {
					source, target = "", s.args[3]
				}
				inside := i > pivot && i < leave && (strings.HasPrefix(target.(string), "/") || !atHost && !strings.Contains(target.(string), "/"))
				before := i < pivot && (strings.HasPrefix(target.(string), scratch()) || target == "/")
				if !inside && !before {
					t.Errorf("%v: step %d mounts outside: %v", root, i, s)
				}
				if from := source.(string); i > pivot && strings.HasPrefix(from, "/") && from != target {
					t.Errorf("%v: step %d has a source of the new root: %v", root, i, s)
				}
			}
		}
	}
}

func TestText(t *testing.T) {
	dir := t.TempDir()
	o := every(dir)
	text := New(o).String()
	for _, line := range []string{
		"clone: clone(CLONE_NEWUSER|CLONE_NEWPID|CLONE_NEWNET|CLONE_PIDFD|SIGCHLD)\n",
		"unshare: unshare(CLONE_NEWNS|CLONE_NEWUTS|CLONE_NEWIPC|CLONE_NEWCGROUP)\n",
		"mount scratch: mount(\"tmpfs\", \"/tmp\", \"tmpfs\", 0x6, \"mode=700,size=1048576\")\n",
		"wait for ids: read(4, \"\\x00\", 1)\n",
		"enter a cgroup: write(9, \"0\", 1)\n",
		"set user: setuid(33)\n",
		"exec: execve(\"/bin/sh\", [\"sh\" \"-c\" \"exit\"], [\"PATH=/bin::/usr/bin\" \"A=1\"])\n",
		"exec: execve(\"/usr/bin/sh\", ",
	} {
		if !strings.Contains(text, line) {
			t.Errorf("no %q in\n%s", line, text)
		}
	}
	if n := strings.Count(text, "exec: execve("); n != 2 {
		t.Errorf("%d places for the program, and the empty one in PATH is none", n)
	}
	if !strings.Contains(text, "reset signals: rt_sigaction(1, ") || !strings.Contains(text, " and 61 more\n") {
		t.Error("signals are not counted")
	}
}

func TestGuess(t *testing.T) {
	t.Setenv("HERE", "x")
	for _, c := range []struct {
		line string
		dir  string // "" is no guess
		args []string
		env  string
	}{
		{"ctbox runlocal d", "d", []string{"/init"}, ""},
		{"/bin/runlocal d sh -c x", "d", []string{"sh", "-c", "x"}, ""},
		{"ctbox runlocal -e A=1 -e HERE d -e", "d", []string{"-e"}, "A=1 HERE=x"},
		{"./ctbox-1.0 runlocal d runlocal", "d", []string{"runlocal"}, ""},
		{"fileids runlocal d", "", nil, ""},
		{"ctbox ./runlocal d", "", nil, ""},
		{"runlocal runlocal", "runlocal", []string{"/init"}, ""},
		{"ctbox runlocal", "", nil, ""},
		{"ctbox runlocal -n d", "", nil, ""},
		{"ctbox runlocal -eA=1 d", "", nil, ""},
		{"ctbox runlocal -e A=1", "", nil, ""},
		{"ctbox runlocal -- d", "", nil, ""},
		{"ctbox runlocal -e -n d", "", nil, ""},
		{"ctbox mklayer runlocal d", "", nil, ""},
		{"ctbox", "", nil, ""},
	} {
		o := Guess(strings.Fields(c.line), 1000)
		if o == nil || c.dir == "" {
			if o != nil || c.dir != "" {
				t.Errorf("%s: %v", c.line, o)
			}
			continue
		}
		if o.Dir != c.dir || !slices.Equal(o.Args, c.args) || !strings.HasSuffix(strings.Join(o.Env, " "), c.env) {
			t.Errorf("%s: %+v", c.line, o)
		}
		if Guess(strings.Fields(c.line), 0) != nil {
			t.Errorf("%s: a guess for root, whose ids the parent maps", c.line)
		}
	}
	if Guess([]string{"runlocal", ""}, 1000) != nil || Guess(nil, 1000) != nil {
		t.Error("a guess from nothing")
	}
}

// TestTooLong gives more than the kernel would take, too.
func TestTooLong(t *testing.T) {
	o := Defaults(t.TempDir(), []string{"x", strings.Repeat("y", arenaSize)}, nil)
	if _, err := Start(o); !errors.Is(err, errArena) {
		t.Error(err)
	}
}

// TestFailure runs plans that cannot succeed, to see their steps named.
func TestFailure(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		change func(*Options)
		step   string
		errno  syscall.Errno
	}{
		{func(o *Options) { o.Dir += "/absent" }, StepDir, syscall.ENOENT},
		{func(o *Options) { o.Binds = []Bind{{dir + "/absent", "/x", false}} }, "open " + dir + "/absent", syscall.ENOENT},
		{func(o *Options) { o.Workdir = "/absent" }, "go to /absent", syscall.ENOENT},
		{func(o *Options) {}, StepExec, syscall.ENOENT},
		{func(o *Options) { o.Args = []string{"name"} }, StepExec, syscall.ENOENT},
		{func(o *Options) { o.Args = []string{"/dev"} }, StepExec, syscall.EACCES},
	} {
		o := Defaults(dir, nil, nil)
		c.change(o)
		child, err := Start(o)
		if err != nil {
			t.Skip("needs user namespaces: ", err)
		}
		ws := child.Wait()
		f := child.Failure()
		child.Close()
		if f == nil || f.Step != c.step || f.Errno != c.errno || ws.ExitStatus() != failed || f.Error() != c.step+": "+c.errno.Error() {
			t.Errorf("%s: %+v, %v", c.step, f, ws)
		}
	}
}

// TestMagicLinks: symbolic links of DIR to files that the child has open of the host, to its working directory and to its own
// program lead nowhere.
func TestMagicLinks(t *testing.T) {
	dir := t.TempDir()
	host, err := os.MkdirTemp("/var/tmp", "") // on top of /tmp, there is something else meanwhile
	if err != nil {
		t.Skip(err)
	}
	defer os.RemoveAll(host)
	os.Mkdir(host+"/bound", 0o755)
	run := func(to string, change func(*Options)) {
		os.Remove(dir + "/link")
		if err := os.Symlink(to, dir+"/link"); err != nil {
			t.Fatal(err)
		}
		o := Defaults(dir, []string{"/absent"}, nil)
		o.Binds = []Bind{{host + "/bound", "/bound", false}}
		change(o)
		child, err := Start(o)
		if err != nil {
			t.Skip("needs user namespaces: ", err)
		}
		defer child.Close()
		if ws := child.Wait(); ws.ExitStatus() != failed || child.Failure() == nil {
			t.Errorf("link to %s: %v, %v", to, ws, child.Failure())
		} else if f := child.Failure(); f.Step == StepExec && f.Errno == syscall.ENOENT && o.Args[0] == "/absent" {
			t.Errorf("link to %s was no obstacle", to)
		}
	}
	for fd := 3; fd < 24; fd++ {
		to := "/proc/self/fd/" + strconv.Itoa(fd)
		run(to, func(o *Options) { o.Workdir = "/link" })
		run(to+host, func(o *Options) { o.Tmpfs = []Tmpfs{{"/link/tmpfs", 0}} })
		run(to, func(o *Options) { o.Tmpfs = []Tmpfs{{"/link/tmpfs", 0}} })
	}
	run("/proc/self/cwd"+host, func(o *Options) { o.Binds = append(o.Binds, Bind{"/dev/null", "/link/file", false}) })
	run("/proc/self/exe", func(o *Options) { o.Args = []string{"/link"} })
	filepath.WalkDir(host, func(path string, d os.DirEntry, err error) error {
		if err != nil || path != host && path != host+"/bound" {
			t.Errorf("%s was made, %v", path, err)
		}
		return err
	})
}

// TestSuccess: what the program answers is its own, and no failure.
func TestSuccess(t *testing.T) {
	o := Defaults("/", []string{"/bin/sh", "-c", "exit 125"}, nil)
	o.Root, o.Wait = ReadOnly, true
	child, err := Start(o)
	if err != nil {
		t.Skip("needs user namespaces: ", err)
	}
	defer child.Close()
	child.Proceed()
	if ws := child.Wait(); ws.ExitStatus() != 125 || child.Failure() != nil {
		t.Error(ws, child.Failure())
	}
}

// waitFor waits until a child has ended, and leaves it to be waited for.
func waitFor(t *testing.T, c *Child) {
	t.Helper()
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(c.PIDFD), Events: unix.POLLIN}}, 60_000)
		if err != unix.EINTR && n != 1 {
			t.Fatalf("the child does not end: %v", err)
		} else if n == 1 {
			return
		}
	}
}

// TestEndsWithin: only a program that has ended by itself, in time, has nothing left to be done.
func TestEndsWithin(t *testing.T) {
	for script, want := range map[string]bool{"exit 3": true, "exec sleep 99 # and is killed": false, "exec sleep 100": false} {
		o := Defaults("/", []string{"/bin/sh", "-c", script}, nil)
		o.Root = ReadOnly
		child, err := Start(o)
		if err != nil {
			t.Skip("needs user namespaces: ", err)
		}
		if strings.HasSuffix(script, "killed") {
			child.Signal(syscall.SIGKILL)
		}
		if script != "exec sleep 100" {
			waitFor(t, child)
		}
		if got := child.endsWithin(1); got != want {
			t.Errorf("%s: %v", script, got)
		}
		child.Signal(syscall.SIGKILL)
		child.Wait()
		child.Close()
	}
	o := Defaults(t.TempDir(), []string{"/absent"}, nil)
	if child, err := Start(o); err == nil {
		waitFor(t, child)
		if child.endsWithin(1) {
			t.Error("a program that did not start has ended by itself")
		}
		child.Wait()
		child.Close()
	}
}

// TestEarly: a child that began before the command line was read goes on if it is what that says, and ends if it is not.
func TestEarly(t *testing.T) {
	for _, same := range []bool{true, false} {
		o := Defaults("/", []string{"/bin/sh", "-c", "sleep 100"}, nil)
		o.Root = ReadOnly
		child, err := Start(o)
		if err != nil {
			t.Skip("needs user namespaces: ", err)
		}
		early.options, early.child = o, child
		asked := *o
		if !same {
			asked.Hostname = "other"
		}
		if got := Early(&asked); (got == child) != same || got != nil && !same {
			t.Errorf("same %v: %v", same, got)
		}
		if Early(&asked) != nil {
			t.Error("it is there twice")
		}
		if same {
			child.Signal(syscall.SIGKILL)
			child.Wait()
			child.Close()
		} else if err := syscall.Kill(child.PID, 0); err != syscall.ESRCH {
			t.Errorf("the other child is still there: %v", err)
		}
	}
}

// TestFeed: a program that has the standard input as a pipe reads it all, or some; the file is then where the program has read to.
func TestFeed(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "in"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const size = 300_000 // more than the pipe holds
	if _, err := f.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	in, err := os.Open(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	saved, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(saved)
	defer unix.Dup3(saved, 0, 0)
	if err := unix.Dup3(int(in.Fd()), 0, 0); err != nil {
		t.Fatal(err)
	}
	for script, want := range map[string]int64{
		"exec cat >/dev/null": size, "dd bs=1 count=10 of=/dev/null 2>/dev/null": 10, "exit": 0, "exec <&-; kill -9 $$": 0,
	} {
		if _, err := in.Seek(0, 0); err != nil {
			t.Fatal(err)
		}
		o := Defaults("/", []string{"/bin/sh", "-c", script}, nil)
		o.Root = ReadOnly
		child, err := Start(o)
		if err != nil {
			t.Skip("needs user namespaces: ", err)
		}
		if err := child.Feed(); err != nil {
			t.Errorf("%s: %v", script, err)
		}
		child.Wait()
		child.Rewind()
		child.Close()
		if at, err := in.Seek(0, 1); at != want || err != nil {
			t.Errorf("%s: the file is at %d, not %d; %v", script, at, want, err)
		}
	}
	// Where there is no program, nothing is read.
	in.Seek(0, 0)
	child, err := Start(Defaults(t.TempDir(), []string{"/absent"}, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer child.Close()
	if err := child.Feed(); err != nil {
		t.Error(err)
	}
	child.Wait()
	if at, _ := in.Seek(0, 1); at != 0 || child.Failure() == nil {
		t.Errorf("the file is at %d; %v", at, child.Failure())
	}
}

// TestStdFiles: what a program makes of its standard files is undone.
func TestStdFiles(t *testing.T) {
	name := filepath.Join(t.TempDir(), "out")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o640)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	saved, err := unix.FcntlInt(1, unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(saved)
	defer unix.Dup3(saved, 1, 0)
	if err := unix.Dup3(int(f.Fd()), 1, 0); err != nil {
		t.Fatal(err)
	}
	o := Defaults("/", []string{"/bin/sh", "-c", "echo x; chmod 4777 /proc/self/fd/1 && stat -L -c %a /proc/self/fd/1"}, nil)
	o.Root = ReadOnly
	child, err := Start(o)
	if err != nil {
		t.Skip("needs user namespaces: ", err)
	}
	defer child.Close()
	ws := child.Wait()
	fi, err := f.Stat()
	text, _ := os.ReadFile(name)
	if err != nil || ws != 0 || string(text) != "x\n4777\n" || fi.Mode() != 0o640 {
		t.Errorf("%v, status %v, %q, mode %v", err, ws, text, fi.Mode())
	}
}
