package tests

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// testGuestKilled: however runkvm ends, qemu ends with it; runkvm's cleanup looks for that.
func testGuestKilled(t *testing.T, initrd string) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGKILL} {
		cmd := runkvm(t, initrd, "/init", "sleep", "100")
		pipe, err := cmd.StdoutPipe()
		check(t, err)
		check(t, cmd.Start())
		if line, err := bufio.NewReader(pipe).ReadString('\n'); line != "up\n" {
			t.Errorf("%q, %v", line, err)
		}
		start := time.Now()
		check(t, cmd.Process.Signal(sig))
		cmd.Wait()
		if got := shellStatus(cmd); got != 128+int(sig) || time.Since(start) > promptly {
			t.Errorf("%v: status %d after %v", sig, got, time.Since(start))
		}
	}
	// while it boots and makes a snapshot; the next one finds nothing wrong
	cache := t.TempDir()
	for wait := 200 * time.Millisecond; wait < 2*time.Second; wait *= 2 {
		cmd := runkvmIn(t, cache, "--accel=tcg", initrd, "/init", "sleep", "100")
		check(t, cmd.Start())
		time.Sleep(wait)
		cmd.Process.Kill()
		cmd.Wait()
	}
	expect(t, runkvmIn(t, cache, "--accel=tcg", initrd), "hello\n", "log\n", 0)
}

// shellStatus is what $? would be.
func shellStatus(cmd *exec.Cmd) int {
	if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return cmd.ProcessState.ExitCode()
}

// testGuestReaderGone: as in "runkvm | head -c 1".
func testGuestReaderGone(t *testing.T, initrd string) {
	cmd := runkvm(t, initrd, "/init", "random", "1000")
	pipe, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	if _, err := io.ReadFull(pipe, make([]byte, 1)); err != nil {
		t.Error(err)
	}
	pipe.Close()
	cmd.Wait()
	if got := shellStatus(cmd); got != 128+int(syscall.SIGPIPE) {
		t.Errorf("status %d", got)
	}
}

// testGuestHeldUp: a signal or --timeout ends runkvm also while it waits for somebody outside.
func testGuestHeldUp(t *testing.T, initrd string) {
	for name, cmd := range map[string]*exec.Cmd{
		"the initrd": runkvm(t, "--timeout=1", "-"), "a reader": runkvm(t, "--timeout=1", initrd, "/init", "random", "10"),
	} {
		r, w, err := os.Pipe() // nobody writes, or nobody reads
		check(t, err)
		defer r.Close()
		defer w.Close()
		var errs strings.Builder
		cmd.Stdin, cmd.Stdout, cmd.Stderr = r, w, &errs
		start := time.Now()
		cmd.Run()
		if got := shellStatus(cmd); got != 124 || time.Since(start) > promptly || !strings.HasSuffix(errs.String(), "ctbox runkvm: timed out after 1s\n") {
			t.Errorf("%s: status %d after %v, %q", name, got, time.Since(start), errs.String())
		}
	}
}

// testGuestWrapped: where a script waits for qemu, qemu is killed, too.
func testGuestWrapped(t *testing.T, initrd string) {
	real, err := exec.LookPath("qemu-system-x86_64")
	check(t, err)
	start := time.Now()
	cmd := fakeQemu(t, runkvm(t, "--cold", "--timeout=2", initrd, "/init", "sleep", "100"), real+` "$@"; exit $?`)
	if _, errs, status := outcome(t, cmd); status != 124 || time.Since(start) > promptly {
		t.Errorf("status %d after %v, %s", status, time.Since(start), errs)
	}
}

// testGuestVerbose: what qemu itself says is shown, too.
func testGuestVerbose(t *testing.T, initrd string) {
	cmd := fakeQemu(t, runkvm(t, "-v", "--cold", initrd), "echo first >&2; echo last >&2; exit 1")
	if _, errs := expectFailure(t, cmd, "qemu: last$"); !strings.Contains(errs, "first\nlast\n") {
		t.Errorf("%q", errs)
	}
}

func testGuestFull(t *testing.T, initrd string) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	check(t, err)
	defer full.Close()
	cmd := runkvm(t, initrd)
	var errs strings.Builder
	cmd.Stdout, cmd.Stderr = full, &errs
	cmd.Run()
	if got := shellStatus(cmd); got != 125 || !strings.HasSuffix(errs.String(), "no space left on device\n") {
		t.Errorf("status %d, %q", got, errs.String())
	}
}

// testGuestMemory: what cannot hold the initrd does not start (K17), and what can does (K18).
func testGuestMemory(t *testing.T, initrd string) {
	b := newBench(t)
	b.run("mkdir", "big")
	b.run("cp", probe(t), "big/init")
	check(t, os.WriteFile(b.path("big/random"), probeRandom(48), 0o644))
	big := b.initrd("big", "")
	start := time.Now()
	_, errs := expectFailure(t, runkvm(t, "-m", "128M", big), "128M of memory are too few")
	if !strings.Contains(errs, "hint: -m ") || time.Since(start) > promptly {
		t.Errorf("%q after %v", errs, time.Since(start))
	}
	_, least, _ := strings.Cut(strings.TrimSpace(errs), "hint: -m ")
	expect(t, runkvm(t, "--cold", "-m", least, big), "hello\n", "log\n", 0)
	for _, much := range []string{"1000T", "8T"} { // of which the guest would write a part at once
		expectFailure(t, runkvm(t, "-m", much, initrd), "memory|too large|no number")
	}
	// the kernel is made to cut off a file after it unpacked /init, which then runs as if nothing had happened
	b.run("mkdir", "small")
	b.run("cp", probe(t), "small/init")
	b.initrd("small", "", "--rdinit="+program(t))
	b.run("sh", "-c", `grep random big.list | "$1" mkinitrd -C big | cat small.initrd - >parts`, "sh", program(t))
	out, _ := expectFailure(t, runkvm(t, "-m", least, "--append=rootfstype=tmpfs", b.path("parts")), "Initramfs unpacking failed: write error$")
	if out != "hello\n" {
		t.Errorf("it did not run: %q", out)
	}
	expect(t, runkvm(t, big, "/init", "read", "/random"), string(probeRandom(48)), "", 0)
}

// unprivileged makes cmd run as a user without any rights, who can write nowhere.
func unprivileged(t *testing.T, cmd *exec.Cmd) *exec.Cmd {
	t.Helper()
	requireRoot(t)
	requireTool(t, "setpriv")
	setpriv, err := exec.LookPath("setpriv")
	check(t, err)
	cmd.Args = append([]string{"setpriv", "--reuid=65532", "--regid=65532", "--clear-groups", cmd.Path}, cmd.Args[1:]...)
	cmd.Path = setpriv
	return cmd
}

// testGuestUser: neither root nor a home is needed.
func testGuestUser(t *testing.T, initrd string) {
	for _, home := range []string{"", "/proc"} {
		cmd := unprivileged(t, runkvmIn(t, "", "--accel=tcg", "-"))
		cmd.Env = append(cmd.Env, "HOME="+home)
		cmd.Stdin = asInput(t, initrd)
		expect(t, cmd, "hello\n", "log\n", 0)
	}
}

func testGuestKernels(t *testing.T, initrd string) {
	b := newBench(t)
	check(t, os.Chmod(filepath.Dir(b.dir), 0o755))
	check(t, os.Chmod(b.dir, 0o755))
	b.run("cp", stockKernel(t), "kernel")
	b.write("text", strings.Repeat("no kernel\n", 10000))
	b.write("empty", "")
	b.run("sh", "-c", "head -c 1000000 kernel >cut")
	for name, why := range map[string]string{
		"nosuch": "no such file", "text": "not a|no kernel", "empty": "not a|no kernel|empty", ".": "is a directory", "cut": "unexpected EOF",
	} {
		_, errs := expectFailure(t, runkvm(t, "--kernel="+b.path(name), initrd), why)
		if !strings.Contains(errs, b.path(name)) {
			t.Errorf("%s is not named: %s", name, errs)
		}
	}
	expect(t, runkvm(t, "--cold", "--kernel="+b.path("kernel"), initrd), "hello\n", "log\n", 0)
	cmd := runkvm(t, initrd)
	cmd.Env = append(cmd.Env, "CTBOX_KERNEL="+b.path("nosuch"))
	expectFailure(t, cmd, "no such file")
	check(t, os.Chmod(b.path("kernel"), 0o600))
	cmd = unprivileged(t, runkvm(t, "--kernel="+b.path("kernel"), "-"))
	cmd.Stdin = asInput(t, initrd)
	if _, errs := expectFailure(t, cmd, "permission denied"); !strings.Contains(errs, "hint: ") {
		t.Errorf("no hint: %s", errs)
	}
}

// fakeQemu puts a shell script in the place of qemu.
func fakeQemu(t *testing.T, cmd *exec.Cmd, script string) *exec.Cmd {
	t.Helper()
	dir := t.TempDir()
	check(t, os.WriteFile(dir+"/qemu-system-x86_64", []byte("#!/bin/sh\n"+script), 0o755))
	cmd.Env = append(cmd.Env, "PATH="+dir+":/usr/bin:/bin")
	return cmd
}

// rubbish is a script that writes text to whatever the descriptors are that qemu gets.
func rubbish(text string) string {
	return "for fd in 3 4 5 6 7 8 9; do (eval \"echo '" + text + "' >&$fd\"); done 2>/dev/null; exit 0"
}

func testGuestQemus(t *testing.T, initrd string) {
	real, err := exec.LookPath("qemu-system-x86_64")
	check(t, err)
	expect(t, fakeQemu(t, runkvm(t, "--cold", initrd), `echo warning; echo warning >&2; exec `+real+` "$@"`), "hello\n", "log\n", 0)
	for _, test := range []struct{ script, why string }{
		{"exit 0", "the guest ended before its init came up"},
		{"echo broken >&2; exit 1", "qemu: broken$"},
		{"echo 'not today' >&2; kill -ABRT $$", `qemu died of a signal \(aborted\): not today$`},
		{"exec head -c 3000000 /dev/urandom", "the guest ended before its init came up"},
		{rubbish("rubbish"), "ended before its init came up"},
		{rubbish("ctbox rdinit 0 x"), "another version"},
	} {
		start := time.Now()
		for _, options := range [][]string{{"--cold"}, nil} {
			cmd := fakeQemu(t, runkvmIn(t, t.TempDir(), append(options, "--accel=tcg", initrd)...), test.script)
			if out, _ := expectFailure(t, cmd, test.why); out != "" || time.Since(start) > promptly {
				t.Errorf("%s: %q after %v", test.script, out, time.Since(start))
			}
		}
	}
	for _, script := range []string{"exec sleep 100", "exec yes"} {
		_, errs, status := outcome(t, fakeQemu(t, runkvm(t, "--timeout=1", initrd), script))
		if status != 124 || !strings.HasSuffix(errs, "ctbox runkvm: timed out after 1s\n") || len(errs) > 64<<10 {
			t.Errorf("%s: status %d, %.1000q", script, status, errs)
		}
	}
	cmd := runkvm(t, initrd)
	cmd.Env = append(cmd.Env, "PATH="+t.TempDir())
	if _, errs := expectFailure(t, cmd, "no qemu in PATH"); !strings.Contains(errs, "hint: ") {
		t.Errorf("no hint: %s", errs)
	}
}

// testGuestKVM: a KVM that is broken is noticed, and said to be so once; one that works or is absent is nothing to speak of.
func testGuestKVM(t *testing.T, initrd string) {
	cache := t.TempDir()
	start := time.Now()
	out, errs, status := outcome(t, runkvmIn(t, cache, initrd))
	if out != "hello\n" || status != 0 || time.Since(start) > promptly {
		t.Fatalf("%q, %q, status %d after %v", out, errs, status, time.Since(start))
	}
	said := strings.TrimSuffix(errs, "log\n")
	broken := strings.HasPrefix(said, "ctbox runkvm: /dev/kvm does not work: ") && strings.Count(said, "\n") == 1
	if said != "" && !broken {
		t.Errorf("said %q", said)
	}
	expect(t, runkvmIn(t, cache, initrd), "hello\n", "log\n", 0)
	_, err := os.Stat("/dev/kvm")
	if err == nil {
		cmd := unprivileged(t, runkvmIn(t, "", "--accel=kvm", "-"))
		cmd.Stdin = asInput(t, initrd)
		if out, errs, status := outcome(t, cmd); status != 0 && (status != 125 || out != "") || status == 125 && !strings.HasPrefix(errs, "ctbox runkvm: ") {
			t.Errorf("as a user: %q, %q, status %d", out, errs, status)
		}
	}
	switch {
	case broken:
		expectFailure(t, runkvmIn(t, cache, "--accel=kvm", initrd), "qemu|no sign of life")
	case err != nil:
		expectFailure(t, runkvmIn(t, cache, "--accel=kvm", initrd), "/dev/kvm: no such file")
	default:
		expect(t, runkvmIn(t, cache, "--accel=kvm", initrd), "hello\n", "log\n", 0)
	}
}

// testGuestKVMBlamed: KVM is called broken only when a guest comes up without it, not for the failure of something else.
func testGuestKVMBlamed(t *testing.T, initrd string) {
	if f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0); err != nil {
		t.Skip(err)
	} else {
		f.Close()
	}
	cache := t.TempDir()
	for range 2 {
		cmd := fakeQemu(t, runkvmIn(t, cache, initrd), `case "$*" in *"-accel kvm"*) : >"$0.kvm";; esac; echo no room >&2; exit 1`)
		dir, _, _ := strings.Cut(strings.TrimPrefix(cmd.Env[len(cmd.Env)-1], "PATH="), ":")
		if _, errs := expectFailure(t, cmd, "qemu: no room$"); strings.Contains(errs, "/dev/kvm") {
			t.Error(errs)
		}
		if _, err := os.Stat(dir + "/qemu-system-x86_64.kvm"); err != nil {
			t.Error(err)
		}
	}
}

// testGuestMany: what runs at the same time shares nothing but the cache, which has nothing yet.
func testGuestMany(t *testing.T, initrd string) {
	cache := t.TempDir()
	var all sync.WaitGroup
	for i := range 8 {
		cmd := runkvmIn(t, cache, "--accel=tcg", initrd, "/init", "exit", fmt.Sprint(i))
		all.Go(func() { expect(t, cmd, "", "", i) })
	}
	all.Wait()
	expect(t, runkvmIn(t, cache, "--accel=tcg", initrd), "hello\n", "log\n", 0)
}
