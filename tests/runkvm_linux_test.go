package tests

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// runkvm prepares ctbox runkvm, emulating. Nothing that it starts or makes may be left when the test ends.
func runkvm(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cache, err := guestCache()
	check(t, err)
	return runkvmIn(t, cache, append([]string{"--accel=tcg"}, args...)...)
}

// runkvmIn is runkvm with a cache and as it is.
func runkvmIn(t *testing.T, cache string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	cmd := exec.CommandContext(ctx, program(t), append([]string{"runkvm"}, args...)...)
	tmp := t.TempDir()
	mark := "CTBOX_TEST=" + tmp
	cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+cache, "TMPDIR="+tmp, mark)
	t.Cleanup(func() {
		cancel()
		noneLeft(t, mark)
		if files, err := os.ReadDir(tmp); len(files) > 0 || err != nil {
			t.Errorf("left in TMPDIR: %v, %v", files, err)
		}
	})
	return cmd
}

// noneLeft waits until no process has mark in its environment. What is killed takes a moment to go.
func noneLeft(t *testing.T, mark string) {
	t.Helper()
	var left []string
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if left = marked(mark); len(left) == 0 {
			return
		}
	}
	t.Errorf("processes left: %q", left)
}

// marked is the names of the processes that have mark in their environment.
func marked(mark string) (names []string) {
	paths, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range paths {
		if env, err := os.ReadFile(path); err == nil && bytes.Contains(env, []byte(mark)) {
			name, _ := os.ReadFile(filepath.Dir(path) + "/comm")
			names = append(names, strings.TrimSpace(string(name)))
		}
	}
	return names
}

// TestRunkvm runs programs in guests, as a user would: most from a snapshot.
func TestRunkvm(t *testing.T) {
	requireGuests(t)
	initrd := probeInitrd(t)
	for _, test := range []struct {
		name string
		run  func(*testing.T, string)
	}{
		{"streams", testGuestStreams}, {"much output", testGuestOutput}, {"serial line", testGuestSerial}, {"statuses", testGuestStatuses},
		{"cannot run", testGuestCannotRun}, {"input", testGuestInput}, {"surroundings", testGuestSurroundings}, {"orphans", testGuestOrphans},
		{"misbehaviour", testGuestMisbehaviour}, {"lost output", testGuestLostOutput}, {"flood", testGuestFlood}, {"hang", testGuestHang},
		{"killed", testGuestKilled}, {"reader gone", testGuestReaderGone}, {"held up", testGuestHeldUp}, {"wrapped", testGuestWrapped}, {"verbose", testGuestVerbose}, {"full", testGuestFull}, {"memory", testGuestMemory},
		{"as a user", testGuestUser}, {"kernels", testGuestKernels}, {"qemus", testGuestQemus}, {"KVM", testGuestKVM}, {"KVM blamed", testGuestKVMBlamed},
		{"warm and cold", testGuestWarm}, {"damaged snapshots", testGuestSnapshots}, {"many at once", testGuestMany},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, initrd)
		})
	}
}

func testGuestStreams(t *testing.T, initrd string) {
	expect(t, runkvm(t, initrd), "hello\n", "log\n", 0)
	cmd := runkvm(t, "-", "/init", "bytes", "4096")
	cmd.Stdin = asInput(t, initrd)
	expect(t, cmd, string(allBytes(4096)), "", 0)
	expect(t, runkvm(t, initrd, "/init", "say", "ctbox runkvm: \x01c\r\x1b[31m"), "", "ctbox runkvm: \x01c\r\x1b[31m\n", 1)
}

// testGuestOutput takes what a serial line would need minutes for. How fast it is scripts/bench says, as that depends on what else runs.
func testGuestOutput(t *testing.T, initrd string) {
	const mib, least = 64, 1
	cmd := runkvm(t, initrd, "/init", "random", strconv.Itoa(mib))
	start := time.Now()
	out, errs, status := outcome(t, cmd)
	speed := mib / time.Since(start).Seconds()
	t.Logf("%.0f MiB/s with the start", speed)
	if want := probeRandom(mib); out != string(want) || errs != "" || status != 0 || speed < least {
		t.Errorf("%d bytes at %.0f MiB/s, status %d, stderr %q; want %d bytes, at least %d MiB/s", len(out), speed, status, errs, len(want), least)
	}
}

// probeRandom is what "probe random N" writes.
func probeRandom(mib int) (all []byte) {
	block := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{}).Read(block)
	for i := range mib {
		block[0], block[1] = byte(i), byte(i>>8)
		all = append(all, block...)
	}
	return all
}

// testGuestSerial: without shared memory it is the same, only slower.
func testGuestSerial(t *testing.T, initrd string) {
	expect(t, runkvm(t, "--channel=serial", initrd, "/init", "bytes", "1024"), string(allBytes(1024)), "", 0)
	cmd := runkvm(t, "--channel=serial", "-i", initrd, "/init", "cat")
	in := allBytes(64)
	cmd.Stdin = bytes.NewReader(in)
	expect(t, cmd, string(in), "", 0)
}

func testGuestStatuses(t *testing.T, initrd string) {
	for _, status := range []int{1, 2, 126, 127, 255} {
		expect(t, runkvm(t, initrd, "/init", "exit", strconv.Itoa(status)), "", "", status)
	}
	expect(t, runkvm(t, initrd, "/init", "die", "15"), "", "ctbox runkvm: /init: terminated\n", 128+15)
	expect(t, runkvm(t, initrd, "/init", "die", "9"), "", "ctbox runkvm: /init: killed\n", 128+9)
}

func testGuestCannotRun(t *testing.T, _ string) {
	b := newBench(t)
	b.run("mkdir", "-p", "tree/dir")
	b.write("tree/plain", "x")
	b.write("tree/script", "#!/nosuch/sh\n")
	b.write("tree/text", "no program\n")
	b.run("chmod", "755", "tree/script", "tree/text")
	initrd := b.initrd("tree", "")
	for _, test := range []struct {
		args   []string
		status int
		why    string
	}{
		{nil, 127, "/init: no such file"},
		{[]string{"nosuch"}, 127, "nosuch: not found in PATH"},
		{[]string{"/plain"}, 126, "/plain: permission denied"},
		{[]string{"/dir"}, 126, "/dir: is a directory"},
		{[]string{"/text"}, 126, "/text: neither an ELF program nor a script"},
		{[]string{"/script"}, 127, "/nosuch/sh"},
	} {
		out, errs, status := outcome(t, runkvm(t, append([]string{initrd}, test.args...)...))
		if out != "" || !strings.HasPrefix(errs, "ctbox runkvm: ") || !strings.Contains(errs, test.why) || strings.Count(errs, "\n") != 1 || status != test.status {
			t.Errorf("%q: %q, %q, status %d, want %d, %q", test.args, out, errs, status, test.status, test.why)
		}
	}
	expect(t, runkvm(t, "--workdir=/nosuch", initrd, "/plain"), "", "ctbox runkvm: working directory /nosuch: no such file or directory\n", 125)
}

func testGuestInput(t *testing.T, initrd string) {
	random := probeRandom(5)
	run := func(in []byte, want string, status int, args ...string) {
		t.Helper()
		cmd := runkvm(t, args...)
		cmd.Stdin = bytes.NewReader(in)
		expect(t, cmd, want, "", status)
	}
	run(random, "", 0, initrd, "/init", "cat")
	run(nil, "", 0, "-i", initrd, "/init", "cat")
	run(random, string(random), 0, "-i", initrd, "/init", "cat")
	run(random, "", 3, "-i", initrd, "/init", "exit", "3")
	// what nobody reads holds nobody up, and neither does input that does not end
	r, w, err := os.Pipe()
	check(t, err)
	defer w.Close()
	defer r.Close()
	cmd := runkvm(t, "-i", initrd, "/init", "exit", "4")
	cmd.Stdin = r
	expect(t, cmd, "", "", 4)
}

// testGuestSurroundings: what a program finds is what was asked for, and nothing of the host.
func testGuestSurroundings(t *testing.T, initrd string) {
	odd := []string{"", "a b", "'\"$x\\", "line\nbreak", "\xff\xfe", strings.Repeat("long", 10000)}
	cmd := runkvm(t, append([]string{"-eA=1,2 =3", "-e", "INHERITED", "-eABSENT", "-eHOME=/", "--workdir=/dev", initrd, "/init", "show"}, odd...)...)
	cmd.Env = append(cmd.Env, "INHERITED=in\nherited", "SECRET=1")
	out, errs, status := outcome(t, cmd)
	want := fmt.Sprintf("args %q\ndir \"/dev\"\nhost \"localhost\"\nids 0 0, pid 1: false, session leader: true\n"+
		"env \"A=1,2 =3\"\nenv \"HOME=/\"\nenv \"INHERITED=in\\nherited\"\nenv %q\nfd 0 /dev/null\nfd 1 pipe\nfd 2 pipe\n",
		append([]string{"/init", "show"}, odd...), "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	if !strings.HasPrefix(out, want) || errs != "" || status != 0 {
		t.Errorf("%q, %q, status %d; want\n%q", out, errs, status, want)
	}
	for _, mount := range []string{"/ ramfs", "/dev devtmpfs", "/proc proc", "/sys sysfs", "/tmp tmpfs", "/dev/shm tmpfs", "/dev/pts devpts"} {
		if !strings.Contains(out, " "+mount+" ") {
			t.Errorf("no %s in %s", mount, out)
		}
	}
}

// testGuestOrphans: what a program leaves behind ends with it, and does not hold up the end (R10, R11, R30).
func testGuestOrphans(t *testing.T, initrd string) {
	start := time.Now()
	out, errs, status := outcome(t, runkvm(t, initrd, "/init", "orphans", "5"))
	if strings.Trim(out, "orphan\n") != "" || errs != "" || status != 5 || time.Since(start) > promptly {
		t.Errorf("%.100q, %q, status %d in %v", out, errs, status, time.Since(start))
	}
}

// expectFailure runs cmd, which must fail with status 125 and say why in its last line, or before a hint.
func expectFailure(t *testing.T, cmd *exec.Cmd, why string) (stdout, stderr string) {
	t.Helper()
	out, errs, status := outcome(t, cmd)
	lines := strings.Split(strings.TrimSuffix(errs, "\n"), "\n")
	last := lines[len(lines)-1]
	if len(lines) > 1 && strings.Contains(last, ": hint: ") {
		last = lines[len(lines)-2]
	}
	if status != 125 || !strings.HasPrefix(last, "ctbox runkvm: ") || !regexp.MustCompile(why).MatchString(last) {
		t.Errorf("%v: stdout %.100q, status %d, want 125 and %q in the last line of\n%s", cmd.Args[1:], out, status, why, errs)
	}
	return out, errs
}

// testGuestMisbehaviour: a guest that breaks is never a success with the wrong output.
func testGuestMisbehaviour(t *testing.T, initrd string) {
	_, errs := expectFailure(t, runkvm(t, initrd, "/init", "write", "1", "/proc/sysrq-trigger"), "Kernel panic - not syncing: sysrq triggered crash$")
	if !strings.Contains(errs, "ctbox runkvm: console: ") {
		t.Errorf("nothing of the console in %s", errs)
	}
	start := time.Now()
	expectFailure(t, runkvm(t, "--cold", "--append=panic=0", initrd, "/init", "write", "1", "/proc/sysrq-trigger"), "Kernel panic")
	if time.Since(start) > promptly {
		t.Errorf("a kernel that stays after its panic stayed for %v", time.Since(start))
	}
	for _, harmless := range []string{"7", "9", "15"} { // the kernel does not deliver the second one to init
		expect(t, runkvm(t, initrd, "/init", "pid1", harmless), "sending\nsent\n", "", 0)
	}
	expectFailure(t, runkvm(t, "--channel=serial", initrd, "/init", "write", "1", "/dev/ttyS1"), "frame is too large|damaged record|lost or damaged")
	for _, test := range []struct {
		args []string
		out  string // of a success
	}{
		{[]string{"write", "10", "/dev/ttyS1"}, "written\n"},
		{[]string{"scribble", "2", "\xff"}, "scribbling\nscribbled\n"},
		{[]string{"scribble", "2", "\x01"}, "scribbling\nscribbled\n"},
	} {
		out, errs, status := outcome(t, runkvm(t, append([]string{"--timeout=30", initrd, "/init"}, test.args...)...))
		if !(status == 0 && out == test.out) && status != 125 && status != 124 {
			t.Errorf("%q: %q, status %d\n%s", test.args, out, status, errs)
		}
	}
}

// testGuestLostOutput: a machine that goes off before its init has said that all is sent has failed (K10, K15).
func testGuestLostOutput(t *testing.T, initrd string) {
	for _, kib := range []string{"0", "1", "4096"} {
		expectFailure(t, runkvm(t, initrd, "/init", "reboot", kib), "the guest ended without saying how$")
	}
}

// testGuestFlood: the console is nobody's output. It is not kept, and does not show when all is well.
func testGuestFlood(t *testing.T, initrd string) {
	expect(t, runkvm(t, initrd, "/init", "flood", "1"), "done\n", "", 0)
	cmd := runkvm(t, "--timeout=4", initrd, "/init", "flood", "0")
	var peak int
	time.AfterFunc(3*time.Second, func() { peak = peakMemory(cmd.Process.Pid) })
	out, errs, status := outcome(t, cmd)
	if out != "" || status != 124 || strings.Count(errs, "\n") > 200 || !strings.HasSuffix(errs, "\nctbox runkvm: timed out after 4s\n") {
		t.Errorf("%q, status %d, %d lines of messages", out, status, strings.Count(errs, "\n"))
	}
	if peak == 0 || peak > 64<<10 {
		t.Errorf("peak memory %d KiB", peak)
	}
}

// peakMemory is the most that a process had resident, in KiB.
func peakMemory(pid int) (kib int) {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	fmt.Sscan(rest, &kib)
	return kib
}

// testGuestHang: a deadline ends whatever goes on; what was printed before is there.
func testGuestHang(t *testing.T, initrd string) {
	for _, options := range [][]string{{"--timeout=3"}, {"--timeout=3", "--channel=serial"}} {
		start := time.Now()
		out, errs, status := outcome(t, runkvm(t, append(options, initrd, "/init", "sleep", "100")...))
		if took := time.Since(start); status != 124 || took < 3*time.Second || took > promptly || out != "up\n" && out != "" {
			t.Errorf("%q: %q, %q, status %d after %v", options, out, errs, status, took)
		}
	}
}
