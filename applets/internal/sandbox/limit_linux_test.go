//go:build linux && (amd64 || arm64)

package sandbox

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ctbox/ctbox/applets/internal/plan"
	"golang.org/x/sys/unix"
)

// limitScript runs a shell in the cgroups of b. What it starts may outlive it.
func limitScript(t *testing.T, b *bound, script string) string {
	t.Helper()
	cmd := exec.Command("sh", "-c")
	var join strings.Builder
	for i, g := range b.groups {
		cmd.ExtraFiles = append(cmd.ExtraFiles, g.procs)
		fmt.Fprintf(&join, "echo 0 >&%d; exec %d>&-; ", 3+i, 3+i)
	}
	var out bytes.Buffer
	cmd.Args, cmd.Stdout = append(cmd.Args, join.String()+script), &out
	cmd.WaitDelay = 100 * time.Millisecond // for those that hold the output
	cmd.Run()
	return out.String()
}

// limitGroups binds a run to cgroups, or skips the test where none can be made.
func limitGroups(t *testing.T, l Limits, count int) *bound {
	t.Helper()
	b := l.bind(os.Getuid())
	t.Cleanup(func() { b.close() })
	if t.Log(b.how); len(b.groups) < count {
		t.Skip("no cgroup can be made here")
	}
	return b
}

const limitBomb = `i=0; while [ $i -lt 50 ]; do i=$((i+1)); sleep 60 </dev/null >/dev/null 2>&1 & echo $i; done 2>/dev/null`

// A fork bomb ends at its limit, and nothing of it remains: neither processes nor the cgroup.
func TestLimitPidsInCgroup(t *testing.T) {
	b := limitGroups(t, Limits{Pids: 20}, 1)
	out := limitScript(t, b, limitBomb)
	if n := strings.Count(out, "\n"); n != 19 { // and the shell
		t.Errorf("%d processes", n)
	}
	procs, err := os.ReadFile(filepath.Join(b.groups[0].path, "cgroup.procs"))
	if left := strings.Fields(string(procs)); err != nil || len(left) < 15 {
		t.Errorf("the cgroup has %q, %v", left, err)
	}
	path := b.groups[0].path
	for _, g := range b.groups {
		g.kill()
	}
	if err := b.close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Errorf("%s is still there", path)
	}
	for pid := range strings.FieldsSeq(string(procs)) {
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		if err == nil && !strings.Contains(string(stat), ") Z ") { // PID 1 may take its time to wait for its new children
			t.Errorf("still there: %s", stat)
		}
	}
}

// In version 2 a process can be born in the cgroup.
func TestLimitBornInCgroup(t *testing.T) {
	b := limitGroups(t, Limits{Pids: 20}, 1)
	g := b.groups[0]
	if !g.v2 {
		t.Skip("version 1")
	}
	cmd := exec.Command("cat", "/proc/self/cgroup")
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(g.dir.Fd())}
	out, err := cmd.CombinedOutput()
	if !strings.Contains(string(out), "/"+filepath.Base(g.path)+"\n") || err != nil {
		t.Errorf("%q, %v", out, err)
	}
}

// limitHog holds 200 MB: tail keeps what could be the end.
const limitHog = `head -c 200000000 /dev/zero | tail -c 200000000 | wc -c`

func TestLimitMemoryInCgroup(t *testing.T) {
	b := limitGroups(t, Limits{Memory: 64 << 20}, 1)
	if out := limitScript(t, b, limitHog); strings.TrimSpace(out) == "200000000" {
		t.Error("200 MB in a cgroup of 64 MiB")
	}
	if err := b.close(); err != nil {
		t.Error(err)
	}
	b = limitGroups(t, Limits{Memory: 512 << 20}, 1)
	if out := limitScript(t, b, limitHog); strings.TrimSpace(out) != "200000000" {
		t.Errorf("200 MB in a cgroup of 512 MiB: %q", out)
	}
}

// All three limits at once: one cgroup in version 2, three in version 1. A fifth of a processor is seen in what a loop gets.
func TestLimitCPUInCgroup(t *testing.T) {
	b := limitGroups(t, Limits{Memory: 64 << 20, Pids: 30, CPU: 0.2}, 1)
	if len(b.how) != 3 || strings.Contains(fmt.Sprint(b.how), "no cgroup") {
		t.Skip("not all controllers are here")
	}
	out := limitScript(t, b, `timeout 1 sh -c 'while :; do :; done'; times`)
	// The last line is of the shell's children: user and system, "0m0.210000s 0m0.000000s".
	fields := strings.Fields(out)
	if len(fields) != 4 {
		t.Fatalf("%q", out)
	}
	used := 0.0
	for _, f := range fields[2:] {
		d, err := time.ParseDuration(f)
		if err != nil {
			t.Fatal(err)
		}
		used += d.Seconds()
	}
	if used > 0.5 {
		t.Errorf("%.2f s of processor time in a second, not 0.2", used)
	}
}

// limitedShell runs a shell under the rlimits of b in new namespaces, as a user who is not the real root.
func limitedShell(t *testing.T, b *bound, script string) string {
	t.Helper()
	host := os.Getuid()
	if host == 0 {
		host = 54321
	}
	self, err := os.Open(os.Args[0]) // in a directory that this user may not search
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	cmd := exec.Command("/proc/self/fd/3", "-test.run=^TestLimitRlimits$")
	cmd.ExtraFiles = []*os.File{self}
	for _, r := range b.rlimits {
		script = fmt.Sprintf("%d %d %d\n", r.Resource, r.Cur, r.Max) + script
	}
	cmd.Env = append(os.Environ(), "SANDBOX_TEST_RLIMITS="+script)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWPID,
		UidMappings: []syscall.SysProcIDMap{{HostID: host, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		Credential:  &syscall.Credential{NoSetGroups: true},
	}
	out, err := cmd.Output()
	if err != nil && len(out) == 0 && os.Getenv("CI") != "true" {
		t.Skip("needs user namespaces: ", err)
	}
	return string(out)
}

// limitShell is the other side: it takes the limits upon itself and becomes the shell.
func limitShell(script string) {
	for {
		line, rest, _ := strings.Cut(script, "\n")
		var resource int
		var r unix.Rlimit
		if n, _ := fmt.Sscan(line, &resource, &r.Cur, &r.Max); n != 3 {
			break
		}
		if err := unix.Prlimit(0, resource, &r, nil); err != nil {
			fmt.Println(line, err)
			os.Exit(1)
		}
		script = rest
	}
	fmt.Println(unix.Exec("/bin/sh", []string{"sh", "-c", script}, []string{"PATH=/usr/bin:/bin"}))
	os.Exit(1)
}

func TestLimitRlimits(t *testing.T) {
	if script := os.Getenv("SANDBOX_TEST_RLIMITS"); script != "" {
		limitShell(script)
	}
	bind := func(l Limits) *bound { return l.bindIn(cgroupTable{}, 1000) }
	if out := limitedShell(t, bind(Limits{}), limitHog); strings.TrimSpace(out) != "200000000" {
		t.Errorf("without limits: %q", out)
	}
	if out := limitedShell(t, bind(Limits{Memory: 64 << 20}), limitHog); strings.TrimSpace(out) == "200000000" {
		t.Error("200 MB under RLIMIT_AS of 64 MiB")
	}
	if out := limitedShell(t, bind(Limits{}), "ulimit -c -S; ulimit -n; ulimit -u -H || :"); !strings.HasPrefix(out, "0\n1024\n") {
		t.Errorf("the default limits: %q", out) // dash counts core in blocks of 512 bytes
	}
	if !plan.CountsPerNamespace() {
		t.Skip("this kernel counts all processes of a user")
	}
	if n := strings.Count(limitedShell(t, bind(Limits{Pids: 20}), limitBomb), "\n"); n < 15 || n > 19 {
		t.Errorf("%d processes under RLIMIT_NPROC of 20", n)
	}
}

// The real root has no RLIMIT_NPROC. That is said, not hidden.
func TestLimitPidsOfRoot(t *testing.T) {
	b := Limits{Pids: 20}.bindIn(cgroupTable{}, 0)
	if want := limitInitialIDs(); want != (len(b.weak) == 1) || want != strings.Contains(b.how[0], "pids: nothing") {
		t.Errorf("%q, %q", b.weak, b.how)
	}
}

func TestLimitProcessors(t *testing.T) {
	var all, some unix.CPUSet
	for _, cpu := range []int{1, 4, 5, 1023} {
		all.Set(cpu)
	}
	limitPick(&all, &some, 3, 2)
	if some.Count() != 3 || !some.IsSet(5) || !some.IsSet(1023) || !some.IsSet(1) {
		t.Errorf("%v", some)
	}
	b := Limits{CPU: 0.5}.bindIn(cgroupTable{}, 1000)
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		t.Fatal(err)
	}
	if one := b.cpus != nil && b.cpus.Count() == 1; one != (all.Count() > 1) {
		t.Errorf("%v of %v: %q", b.cpus, all, b.how)
	}
	if b := (Limits{CPU: 8192}).bindIn(cgroupTable{}, 1000); b.cpus != nil {
		t.Errorf("%v", b.cpus)
	}
}
