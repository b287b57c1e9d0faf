//go:build linux && (amd64 || arm64)

package sandbox

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestCgroupHome(t *testing.T) {
	const (
		hybrid  = "9:name=systemd:/\n4:memory:/jobs/1\n2:cpu,cpuacct:/\n0::/user\n"
		mounts1 = "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct\n" +
			"35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n" +
			"41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate\n"
		unified = "0::/user.slice/run-1.scope\n"
		mounts2 = "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n"
		docker  = "4:memory:/docker/af\n"
		mounts3 = "35 31 0:32 /docker/af /sys/fs/cgroup/memory ro,nosuid - cgroup cgroup rw,memory\n"
	)
	for _, c := range []struct {
		self, mounts, controller string
		dir                      string
		v2                       bool
	}{
		{hybrid, mounts1, "memory", "/sys/fs/cgroup/memory/jobs/1", false},
		{hybrid, mounts1, "cpu", "/sys/fs/cgroup/cpu", false},
		{hybrid, mounts1, "pids", "/sys/fs/cgroup/unified/user", true},
		{unified, mounts2, "memory", "/sys/fs/cgroup/user.slice/run-1.scope", true},
		{docker, mounts3, "memory", "/sys/fs/cgroup/memory", false},
		{"4:memory:/docker/aff/x\n", mounts3, "memory", "", false}, // a name that begins alike
		{"4:memory:/docker/af/x\n", mounts3, "memory", "/sys/fs/cgroup/memory/x", false},
		{"0::/../other\n", mounts2, "memory", "", true}, // above the root of our namespace
		{unified, mounts1[:strings.LastIndex(mounts1, "41")], "memory", "", true},
		{"", "", "memory", "", true},
		{"nonsense\n0:\n", "a b - c\n\n", "memory", "", true},
	} {
		if dir, v2 := (cgroupTable{c.self, c.mounts}).home(c.controller); dir != c.dir || v2 != c.v2 {
			t.Errorf("%s in %q: %q, %v, want %q", c.controller, c.self, dir, v2, c.dir)
		}
	}
}

// cgroupTree is a directory that looks like version 2: a slice with a scope, in which we are.
func cgroupTree(t *testing.T, files map[string]string) (cgroupTable, string) {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return cgroupTable{"0::/app.slice/tab.scope\n", "30 24 0:26 / " + root + " rw - cgroup2 cgroup2 rw\n"}, root
}

// cgroupRead is the content of a cgroup's files, "" for those that are not there.
func cgroupRead(g *cgroup, names ...string) (texts []string) {
	for _, name := range names {
		text, _ := os.ReadFile(filepath.Join(g.path, name))
		texts = append(texts, string(text))
	}
	return texts
}

// In version 2 a cgroup is made beside our own, with the limits of both.
func TestCgroupBeside(t *testing.T) {
	table, root := cgroupTree(t, map[string]string{
		"app.slice/cgroup.controllers":        "cpu memory pids\n",
		"app.slice/cgroup.subtree_control":    "memory pids\n",
		"app.slice/tab.scope/cgroup.type":     "domain\n",
		"app.slice/tab.scope/memory.max":      "67108864\n",
		"app.slice/tab.scope/memory.high":     "max\n",
		"app.slice/tab.scope/pids.max":        "500\n",
		"app.slice/tab.scope/cpu.max":         "25000 50000\n",
		"app.slice/tab.scope/memory.swap.max": "max\n",
	})
	for _, controller := range []string{"memory", "pids", "cpu"} {
		if p, err := table.place(controller); err != nil || p.parent != root+"/app.slice" || p.home != root+"/app.slice/tab.scope" || !p.v2 {
			t.Fatalf("%s: %+v, %v", controller, p, err)
		}
	}
	if text, _ := os.ReadFile(root + "/app.slice/cgroup.subtree_control"); string(text) != "+cpu" {
		t.Errorf("subtree_control: %q", text)
	}
	p, err := table.place("memory")
	if err != nil {
		t.Fatal(err)
	}
	// A directory has no cgroup.procs, which is what a cgroup without permission looks like: nothing may be left.
	if g, err := p.make(); err == nil {
		t.Errorf("made %s", g.path)
	}
	if left, _ := filepath.Glob(root + "/app.slice/ctbox-*"); left != nil {
		t.Errorf("left %q", left)
	}
	g := &cgroup{cgroupPlace: p, path: t.TempDir()}
	g.inherit()
	if got := fmt.Sprint(cgroupRead(g, "memory.max", "memory.high", "pids.max", "cpu.max")); got != "[67108864  500 25000 50000]" {
		t.Errorf("inherited %s", got)
	}
	for _, c := range []struct {
		l    Limits
		want string
	}{
		{Limits{128 << 20, 1000, 0.75}, "[67108864 500 25000 50000 0 1]"}, // ours are lower already
		{Limits{32 << 20, 20, 0.25}, "[33554432 20 25000 100000 0 1]"},
	} {
		for _, controller := range []string{"memory", "pids", "cpu"} {
			if err := g.set(controller, c.l); err != nil {
				t.Error(err)
			}
		}
		got := cgroupRead(g, "memory.max", "pids.max", "cpu.max", "memory.swap.max", "memory.oom.group")
		if fmt.Sprint(got) != c.want {
			t.Errorf("%+v: %q, want %s", c.l, got, c.want)
		}
	}
	g.kill()
	if got := cgroupRead(g, "cgroup.kill"); got[0] != "1" {
		t.Errorf("cgroup.kill: %q", got)
	}
}

// What is not delegated is refused before anything is made.
func TestCgroupNotDelegated(t *testing.T) {
	table, _ := cgroupTree(t, map[string]string{"app.slice/cgroup.controllers": "pids\n", "app.slice/tab.scope/cgroup.type": "domain\n"})
	if p, err := table.place("memory"); err == nil || !strings.Contains(err.Error(), "memory is not delegated") {
		t.Errorf("%+v, %v", p, err)
	}
	b := Limits{Memory: 1 << 20, Pids: 5, CPU: 0.5}.bindIn(cgroupTable{}, 1000)
	if err := b.close(); err != nil || len(b.joins()) != 0 || len(b.weak) != 0 || len(b.how) != 3 {
		t.Errorf("%+v, %v", b, err)
	}
}

// Only what a dead run has left is swept.
func TestCgroupSweep(t *testing.T) {
	parent := t.TempDir()
	dead := exec.Command("true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	gone, used := fmt.Sprintf("ctbox-%d-1", dead.Process.Pid), fmt.Sprintf("ctbox-%d-2", dead.Process.Pid)
	full, ours := fmt.Sprintf("ctbox-%d-3", dead.Process.Pid), fmt.Sprintf("ctbox-%d-4", os.Getpid())
	for _, name := range []string{gone, used, full + "/child", ours, "ctbox-x-1", "ctbox-0-1", "ctbox--1", "other"} {
		if err := os.MkdirAll(filepath.Join(parent, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	lock, err := os.Open(filepath.Join(parent, used))
	if err == nil {
		err = unix.Flock(int(lock.Fd()), unix.LOCK_EX)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	cgroupSweep(parent)
	entries, _ := os.ReadDir(parent)
	if _, err := os.Stat(filepath.Join(parent, gone)); err == nil || len(entries) != 7 {
		t.Errorf("%v, %v", entries, err)
	}
}
