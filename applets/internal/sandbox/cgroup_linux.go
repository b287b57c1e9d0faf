//go:build linux && (amd64 || arm64)

package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cgroupTable is where this process is in the machine's cgroups: what /proc/self/cgroup and /proc/self/mountinfo say.
type cgroupTable struct{ self, mounts string }

func readCgroupTable() cgroupTable {
	// Without them there are no cgroups for us, which is not an error.
	self, _ := os.ReadFile("/proc/self/cgroup")
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	return cgroupTable{string(self), string(mounts)}
}

// home is the directory of our own cgroup among those that have the controller, and whether they are of version 2.
// See cgroups(7) and proc_pid_mountinfo(5).
func (c cgroupTable) home(controller string) (dir string, v2 bool) {
	path, v2 := "", true
	for line := range strings.Lines(c.self) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) == 3 && f[0] == "0" && path == "" {
			path = f[2]
		} else if len(f) == 3 && cgroupHas(f[1], controller) {
			path, v2 = f[2], false
		}
	}
	for line := range strings.Lines(c.mounts) {
		before, after, _ := strings.Cut(line, " - ")
		f, of := strings.Fields(before), strings.Fields(after)
		if len(f) < 6 || len(of) < 3 {
			continue
		}
		if v2 && of[0] == "cgroup2" || !v2 && of[0] == "cgroup" && cgroupHas(of[2], controller) {
			if rel, ok := cgroupBelow(f[3], path); ok {
				return filepath.Join(f[4], rel), v2
			}
		}
	}
	return "", v2
}

// cgroupHas finds a word in "one,two".
func cgroupHas(list, word string) bool { return strings.Contains(","+list+",", ","+word+",") }

// cgroupBelow is path as seen from the root of a mount. In a container, it may be outside of what is mounted.
func cgroupBelow(root, path string) (string, bool) {
	rel, ok := strings.CutPrefix(path, strings.TrimSuffix(root, "/"))
	return rel, ok && strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "/..") && (rel == "" || rel[0] == '/')
}

// A cgroupPlace is where cgroups for runs can be made: below parent.
type cgroupPlace struct {
	home, parent string
	v2           bool
}

// place finds, and prepares, where a new cgroup counts what the controller counts. In version 2 a cgroup has either processes or
// children with controllers, so it is beside our own and takes over the limits of that: nobody is moved, and nothing is escaped.
// This works where a user's systemd runs the terminal, below "systemd-run --user --scope", and for root.
func (c cgroupTable) place(controller string) (p cgroupPlace, err error) {
	p.home, p.v2 = c.home(controller)
	p.parent = p.home
	if p.home == "" {
		return p, errors.New("no cgroup for " + controller + " is mounted")
	}
	if p.v2 {
		// The root of all may have both, and is the only one without this file.
		if _, err := os.Stat(filepath.Join(p.home, "cgroup.type")); err == nil {
			p.parent = filepath.Dir(p.home)
		}
		err = cgroupEnable(p.parent, controller)
	}
	return p, err
}

// cgroupEnable lets children of dir have the controller. It remains enabled: systemd and others do the same.
func cgroupEnable(dir, controller string) error {
	has := func(file string) bool {
		text, _ := os.ReadFile(filepath.Join(dir, file))
		return slices.Contains(strings.Fields(string(text)), controller)
	}
	if !has("cgroup.controllers") {
		return fmt.Errorf("%s is not delegated to %s", controller, dir)
	}
	if has("cgroup.subtree_control") {
		return nil
	}
	return os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+controller), 0o600)
}

const cgroupPrefix = "ctbox-"

// A cgroup is a directory that was made for one run.
type cgroup struct {
	cgroupPlace
	path  string
	dir   *os.File // locked as long as the run lasts; good for clone3's CLONE_INTO_CGROUP in version 2
	procs *os.File // to be written to: "0" is the process that writes
}

// make makes parent/ctbox-PID-RANDOM.
func (p cgroupPlace) make() (g *cgroup, err error) {
	cgroupSweep(p.parent)
	g = &cgroup{cgroupPlace: p}
	if g.path, err = os.MkdirTemp(p.parent, fmt.Sprintf("%s%d-*", cgroupPrefix, os.Getpid())); err != nil {
		return nil, &os.PathError{Op: "mkdir in", Path: p.parent, Err: errors.Unwrap(err)}
	}
	if g.dir, err = os.Open(g.path); err == nil {
		// For cgroupSweep of others, who may be in another pid namespace.
		err = unix.Flock(int(g.dir.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if err == nil {
		g.procs, err = os.OpenFile(filepath.Join(g.path, "cgroup.procs"), os.O_WRONLY, 0)
	}
	if err != nil {
		return nil, errors.Join(err, g.remove())
	}
	if p.parent != p.home {
		g.inherit()
	}
	return g, nil
}

// cgroupSweep removes what runs have left that were killed. A cgroup with processes is not removed by the kernel.
func cgroupSweep(parent string) {
	entries, _ := os.ReadDir(parent)
	for _, e := range entries {
		name, ours := strings.CutPrefix(e.Name(), cgroupPrefix)
		number, _, _ := strings.Cut(name, "-")
		pid, err := strconv.Atoi(number)
		if !ours || err != nil || pid < 1 || unix.Kill(pid, 0) != unix.ESRCH {
			continue
		}
		path := filepath.Join(parent, e.Name())
		if dir, err := os.Open(path); err == nil {
			if unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
				unix.Rmdir(path)
			}
			dir.Close()
		}
	}
}

// inherit takes over the limits of the cgroup that the run would be in otherwise.
func (g *cgroup) inherit() {
	for _, file := range [...]string{"memory.max", "memory.high", "memory.swap.max", "pids.max", "cpu.max"} {
		if text, err := os.ReadFile(filepath.Join(g.home, file)); err == nil && !strings.HasPrefix(string(text), "max") {
			g.write(file, strings.TrimSpace(string(text)))
		}
	}
}

func (g *cgroup) write(file, text string) error {
	return os.WriteFile(filepath.Join(g.path, file), []byte(text), 0o600)
}

// set limits what one controller counts. A lower limit that is there already stays.
func (g *cgroup) set(controller string, l Limits) error {
	switch {
	case controller == "memory" && g.v2:
		g.write("memory.swap.max", "0")  // absent without swap accounting
		g.write("memory.oom.group", "1") // absent before Linux 4.19
		return g.lower("memory.max", l.Memory, "")
	case controller == "memory":
		if err := g.write("memory.limit_in_bytes", strconv.FormatInt(l.Memory, 10)); err != nil {
			return err
		}
		g.write("memory.memsw.limit_in_bytes", strconv.FormatInt(l.Memory, 10)) // absent without swap accounting
		return nil
	case controller == "pids":
		return g.lower("pids.max", l.Pids, "")
	case g.v2:
		return g.lower("cpu.max", l.quota(), fmt.Sprintf(" %d", limitCPUPeriod))
	}
	if err := g.write("cpu.cfs_period_us", strconv.Itoa(limitCPUPeriod)); err != nil {
		return err
	}
	return g.write("cpu.cfs_quota_us", strconv.FormatInt(l.quota(), 10))
}

// lower writes a limit unless the file has a lower one: "N", or "N PERIOD" with the share as the limit.
func (g *cgroup) lower(file string, n int64, period string) error {
	text, _ := os.ReadFile(filepath.Join(g.path, file))
	if f := strings.Fields(string(text)); len(f) > 0 {
		old, err := strconv.ParseInt(f[0], 10, 64)
		if len(f) > 1 && err == nil {
			if per, _ := strconv.ParseInt(f[1], 10, 64); per > 0 {
				old = old * limitCPUPeriod / per
			}
		}
		if err == nil && old <= n {
			return nil
		}
	}
	return g.write(file, strconv.FormatInt(n, 10)+period)
}

// kill ends all that is in the cgroup.
func (g *cgroup) kill() {
	if g.v2 && g.write("cgroup.kill", "1") == nil { // since Linux 5.14
		return
	}
	text, _ := os.ReadFile(filepath.Join(g.path, "cgroup.procs"))
	for number := range strings.FieldsSeq(string(text)) {
		if pid, err := strconv.Atoi(number); err == nil && pid > 1 { // 0 is a process that we cannot name
			unix.Kill(pid, unix.SIGKILL)
		}
	}
}

// cgroupPatience is how long killed processes have to go. They do so in milliseconds, if they are not waiting for a disk.
const cgroupPatience = 5 * time.Second

// remove kills what is left in the cgroup and removes it.
func (g *cgroup) remove() error {
	g.procs.Close() // either may be nil, which is an error without consequence
	defer g.dir.Close()
	wait := time.Millisecond
	for end := time.Now().Add(cgroupPatience); ; wait = min(2*wait, cgroupPatience/50) {
		err := unix.Rmdir(g.path)
		if err == nil || err == unix.ENOENT {
			return nil
		} else if err != unix.EBUSY || time.Now().After(end) {
			return &os.PathError{Op: "rmdir", Path: g.path, Err: err}
		}
		g.kill()
		time.Sleep(wait)
	}
}
