package program

import (
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// machine is the ELF number of the machine that runs the test, and of one that it is not.
func machine(t *testing.T) (own, other uint16) {
	t.Helper()
	other = 22 // s390x
	for _, m := range machines {
		if m.goarch == runtime.GOARCH {
			own = m.machine
		}
	}
	if own == 0 || own == other || exists(binfmt+"s390x") {
		t.Skip("no ELF numbers for this machine, or an emulator for s390x")
	}
	return own, other
}

// static64 is an ELF program that needs no loader: its only program header is of type PT_NULL.
func static64(machine uint16) string {
	b := []byte(elf64(binary.LittleEndian, machine, ""))
	b[64] = 0
	return string(b)
}

// tinyRoot makes a tree with programs of all kinds, good and bad.
func tinyRoot(t *testing.T) string {
	t.Helper()
	own, other := machine(t)
	root := t.TempDir()
	for _, dir := range []string{"bin", "usr/bin", "etc", "lib", "closed"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	little := binary.ByteOrder(binary.LittleEndian)
	for name, content := range map[string]string{
		"bin/sh":          static64(own),
		"usr/bin/env":     static64(own),
		"usr/bin/python":  "#!/bin/sh\n",
		"lib/ld.so":       static64(own),
		"dynamic":         elf64(little, own, "/lib/ld.so"),
		"noloader":        elf64(little, own, "/lib64/ld-linux-x86-64.so.2"),
		"danglingloader":  elf64(little, own, "/lib/ld-musl.so"),
		"foreign":         elf64(binary.BigEndian, other, ""),
		"cut":             static64(own)[:70],
		"script":          "#!/bin/sh -e\n",
		"nobash":          "#!/bin/bash\n",
		"brokenshell":     "#!/bin/noloader\n",
		"plainshell":      "#!/etc/plain\n",
		"dirshell":        "#!/bin\n",
		"viaenv":          "#!/usr/bin/env python\n",
		"envperl":         "#!/usr/bin/env perl\n",
		"nested":          "#!/usr/bin/python\n",
		"hostonly":        "#!" + os.Args[0] + "\n",
		"crlf":            "#!/bin/sh\r\necho\r\n",
		"empty":           "",
		"text":            "echo hello\n",
		"garbage":         "\x00\x01\x02",
		"bin/noloader":    elf64(little, own, "/lib/none.so"),
		"loop":            "#!/loop\n",
		"etc/plain":       "#!/bin/sh\n",
		"bin/onlyincwd":   "#!/bin/sh\n",
		"closed/in":       "#!/bin/sh\n",
		"bin/déjà vu":     "#!/bin/sh\n",
		"usr/bin/another": "#!/bin/sh\n",
	} {
		mode := os.FileMode(0o755)
		if name == "etc/plain" {
			mode = 0o644
		}
		write(t, filepath.Join(root, name), content, mode)
	}
	for name, target := range map[string]string{
		"absolute":         "/bin/sh",
		"relative":         "bin/sh",
		"up":               "../../../../bin/sh",
		"usr/bin/up":       "../../script",
		"sbin":             "usr/sbin",
		"first":            "/second",
		"second":           "/usr/lib/systemd",
		"host":             os.Args[0],
		"hostup":           "../../../../../../.." + os.Args[0],
		"self":             "self",
		"dots":             "/usr/../bin/./sh",
		"todir":            "bin",
		"lib/ld-musl.so":   "/lib/libc.musl.so",
		"linked":           "usr/bin",
		"tonothing":        "/linked/absent",
		"linkedlonger":     "linked/../bin/../../bin/sh",
		"trailing":         "bin//",
		"closed/tonothing": "nothing",
	} {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(filepath.Join(root, "fifo"), 0o755); err != nil {
		t.Fatal(err)
	}
	return root
}

// TestCheckIn: what is said of programs in another root, and which of it means that something is missing.
func TestCheckIn(t *testing.T) {
	root := tinyRoot(t)
	const lack = "missing: " // an ErrMissing, status 127 of a runner
	for name, want := range map[string]string{
		"/bin/sh":     "",
		"/dynamic":    "",
		"/script":     "",
		"/nested":     "",
		"/viaenv":     "",
		"/absolute":   "",
		"/relative":   "",
		"/up":         "",
		"/usr/bin/up": "",
		"/dots":       "",
		// From /linked/.. one is in /usr, as everywhere where a link leads to another directory.
		"/linkedlonger":        "",
		"/linked/another":      "",
		"bin/sh":               "",
		"/bin/déjà vu":         "",
		"another":              "",
		"/absent":              lack + "no such program",
		"/absent/init":         lack + "no such program",
		"absent":               lack + "no such program in PATH",
		"onlyincwd":            lack + "no such program in PATH",
		"/host":                lack + "symlink to " + os.Args[0] + ", which is not there",
		"/hostup":              lack + "symlink to ../../../../../../.." + os.Args[0] + ", which is not there",
		"/hostonly":            lack + "its interpreter " + os.Args[0] + " is missing",
		"/first":               lack + "/second is a symlink to /usr/lib/systemd, which is not there",
		"/sbin/init":           lack + "/sbin is a symlink to usr/sbin, which is not there",
		"/tonothing":           lack + "symlink to /linked/absent, which is not there",
		"/closed/tonothing":    lack + "symlink to nothing, which is not there",
		"/noloader":            lack + "its loader /lib64/ld-linux-x86-64.so.2 is missing",
		"/danglingloader":      lack + "its loader /lib/ld-musl.so: symlink to /lib/libc.musl.so, which is not there",
		"/nobash":              lack + "its interpreter /bin/bash is missing",
		"/envperl":             lack + "its interpreter perl is missing",
		"/brokenshell":         lack + "its interpreter /bin/noloader cannot: its loader /lib/none.so is missing",
		"/plainshell":          "its interpreter /etc/plain: not executable (mode 0644)",
		"/dirshell":            "its interpreter /bin: is a directory",
		"/crlf":                "the first line ends in a carriage return",
		"/empty":               "empty file",
		"/text":                `text whose first line does not begin with "#!"`,
		"/garbage":             "neither a script nor an ELF program",
		"/foreign":             "it is for s390x machines",
		"/cut":                 "truncated ELF program",
		"/loop":                "too many interpreters, each the script of the next",
		"/etc/plain":           "not executable (mode 0644)",
		"/bin":                 "is a directory",
		"/todir":               "is a directory",
		"/":                    "is a directory",
		"/..":                  "is a directory",
		"/fifo":                "not a regular file",
		"/self":                "too many levels of symbolic links",
		"/script/x":            "not a directory",
		"/trailing":            "is a directory",
		"/bin/../../../../etc": "is a directory",
	} {
		err := CheckIn(root, name, "/usr/bin:closed:/nowhere:/etc")
		got := ""
		if err != nil {
			got = err.Error()
		}
		if errors.Is(err, ErrMissing) {
			got = lack + got
		}
		if got != want {
			t.Errorf("%s: %q; want %q", name, got, want)
		}
	}
}

// TestCheckInNothingElse: a link that leads out of the root to what is there is not followed out of it.
func TestCheckInNothingElse(t *testing.T) {
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	if err := os.MkdirAll(root+"/sub", 0o755); err != nil {
		t.Fatal(err)
	}
	outside := write(t, filepath.Join(dir, "outside"), "echo\n", 0o755)
	for name, target := range map[string]string{
		"absolute": outside, "up": "../outside", "sub/up": "../../outside", "exe": "/proc/self/exe", "root": "/proc/self/root/bin/sh",
	} {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
		if err := CheckIn(root, "/"+name, ""); !errors.Is(err, ErrMissing) {
			t.Errorf("%s -> %s: %v", name, target, err)
		}
	}
	if err := CheckIn(root, "/../outside", ""); !errors.Is(err, ErrMissing) {
		t.Errorf("..: %v", err)
	}
	if err := CheckIn(filepath.Join(dir, "absent"), "/init", ""); err == nil || errors.Is(err, ErrMissing) {
		t.Errorf("no root: %v", err)
	}
}

// TestCheckInDescriptors: none is left open, however the walk ends.
func TestCheckInDescriptors(t *testing.T) {
	root := tinyRoot(t)
	count := func() int {
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip(err)
		}
		return len(fds)
	}
	before := count()
	for _, name := range []string{"/viaenv", "/self", "/tonothing", "/linkedlonger", "/script/x", "/noloader", "another", "absent"} {
		CheckIn(root, name, "/bin:/usr/bin")
	}
	if after := count(); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

// TestAgreesWithKernel: what CheckIn says without fault starts with this root, and what has one does not, with the error
// that belongs to it.
func TestAgreesWithKernel(t *testing.T) {
	if os.Geteuid() != 0 {
		lacks(t, "only root can change the root directory")
	}
	root := tinyRoot(t) // its ELF programs are killed as soon as they have been started
	for name, want := range map[string]error{
		"/bin/sh": nil, "/dynamic": nil, "/script": nil, "/nested": nil, "/up": nil, "/dots": nil, "/usr/bin/up": nil, "/linkedlonger": nil,
		"/absent": unix.ENOENT, "/first": unix.ENOENT, "/sbin/init": unix.ENOENT, "/nobash": unix.ENOENT, "/tonothing": unix.ENOENT,
		"/noloader": unix.ENOENT, "/danglingloader": unix.ENOENT, "/brokenshell": unix.ENOENT, "/crlf": unix.ENOENT, "/host": unix.ENOENT,
		"/plainshell": unix.EACCES, "/etc/plain": unix.EACCES, "/bin": unix.EACCES, "/fifo": unix.EACCES, "/dirshell": unix.EACCES,
		"/empty": unix.ENOEXEC, "/text": unix.ENOEXEC, "/garbage": unix.ENOEXEC, "/foreign": unix.ENOEXEC,
		"/loop": unix.ELOOP, "/self": unix.ELOOP, "/script/x": unix.ENOTDIR,
	} {
		got := startIn(root, name)
		if got != want {
			t.Errorf("%s: the kernel says %v, not %v", name, got, want)
		}
		if said := CheckIn(root, name, ""); (said == nil) != (got == nil) {
			t.Errorf("%s: %v, the kernel %v", name, said, got)
		}
	}
}

// startIn starts a program with root as its "/" and returns the error of execve(2).
func startIn(root, name string) error {
	p, err := os.StartProcess(name, []string{name}, &os.ProcAttr{
		Dir: "/", Env: []string{}, Sys: &syscall.SysProcAttr{Chroot: root},
	})
	if err == nil {
		p.Wait()
		return nil
	}
	var errno syscall.Errno
	errors.As(err, &errno)
	return errno
}

// TestAllowed: the mode alone decides about files of others, also for root.
func TestAllowed(t *testing.T) {
	name := write(t, filepath.Join(t.TempDir(), "file"), "", 0o600)
	allowed := func(right uint32) bool {
		t.Helper()
		fi, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		return Allowed(fi, right)
	}
	if !allowed(1) {
		t.Error("root of a user namespace may do anything with a file of its own")
	}
	if os.Geteuid() != 0 {
		lacks(t, "only root can give a file away")
	}
	for _, c := range []struct {
		uid, gid int
		mode     os.FileMode
		right    uint32
		want     bool
	}{
		{1001, 1001, 0o700, 1, false},
		{1001, 1001, 0o755, 1, true},
		{1001, 1001, 0o751, 5, false},
		{1001, 0, 0o710, 1, true},
		{1001, 0, 0o701, 1, false}, // the group's bits, not those of others
		{0, 1001, 0o500, 5, true},
		{0, 1001, 0o077, 1, false},
	} {
		if err := errors.Join(os.Chown(name, c.uid, c.gid), os.Chmod(name, c.mode)); err != nil {
			t.Fatal(err)
		}
		if got := allowed(c.right); got != c.want {
			t.Errorf("%04o of %d:%d, right %d: %v", c.mode, c.uid, c.gid, c.right, got)
		}
	}
}

// TestCheckInOwner: a program that its owner alone may execute cannot be started by the root of another user's namespace.
func TestCheckInOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		lacks(t, "only root can give a file away")
	}
	root := tinyRoot(t)
	os.Chown(root+"/script", 1001, 1001)
	os.Chmod(root+"/script", 0o700)
	err := CheckIn(root, "/script", "")
	if err == nil || err.Error() != "not executable (mode 0700 of 1001:1001)" {
		t.Error(err)
	}
}

// TestCheckInNoexec: the last fault that is looked for, of a program that has no other.
func TestCheckInNoexec(t *testing.T) {
	if root := os.Getenv("NOEXEC_ROOT"); root != "" { // in the mount namespace that is made below
		noexecRoot(t, root)
		return
	}
	if os.Geteuid() != 0 {
		lacks(t, "only root can mount")
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestCheckInNoexec$")
	cmd.Env = append(os.Environ(), "NOEXEC_ROOT="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS} // which makes all mounts private
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func noexecRoot(t *testing.T, root string) {
	if err := unix.Mount("none", root, "tmpfs", unix.MS_NOEXEC, ""); err != nil {
		t.Fatal(err)
	}
	own, _ := machine(t)
	write(t, filepath.Join(root, "init"), static64(own), 0o755)
	if err := CheckIn(root, "/init", ""); err != errNoexec || Advice(err) == "" {
		t.Errorf("%v, not %v", err, errNoexec)
	}
}

// TestAdvice: an error that has a cure has it also when it is wrapped.
func TestAdvice(t *testing.T) {
	root := tinyRoot(t)
	for name, want := range map[string]string{
		"/noloader": "link the program statically", "/brokenshell": "link the program statically", "/nobash": "put the interpreter",
		"/crlf": "sed -i", "/text": "begin a script", "/etc/plain": "chmod a+rx", "/plainshell": "chmod a+rx", "/garbage": "", "/absent": "",
	} {
		got := Advice(CheckIn(root, name, ""))
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: %q; want %q", name, got, want)
		}
	}
}

// lacks skips a test, or fails it in CI, that needs what is not here.
func lacks(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(what)
	}
	t.Skip(what)
}
