//go:build linux && (amd64 || arm64)

package sandbox

import (
	"fmt"
	"math"
	"os"
	"strings"
	"unsafe"

	"github.com/ctbox/ctbox/applets/internal/plan"
	"golang.org/x/sys/unix"
)

// A bound holds one run to its limits: by cgroups where the machine lets us make them, else by what a process may do to itself.
type bound struct {
	rlimits []plan.Rlimit // the default ones, and those that stand in for a cgroup
	cpus    *unix.CPUSet  // for sched_setaffinity(2), or nil
	groups  []*cgroup     // to be entered by the process itself, before it has other namespaces
	how     []string      // what holds each limit, for -v
	weak    []string      // warnings: limits that nothing holds
}

// bind prepares the limits of a run whose user is uid outside of it. Free it with close.
func (l Limits) bind(uid int) *bound {
	var table cgroupTable
	if l != (Limits{}) {
		table = readCgroupTable()
	}
	return l.bindIn(table, uid)
}

func (l Limits) bindIn(table cgroupTable, uid int) *bound {
	b := &bound{rlimits: plan.DefaultLimits()}
	for _, want := range [...]struct {
		controller, option string
		given              bool
		instead            func(l Limits, uid int) string
	}{
		{"memory", "mem", l.Memory > 0, b.boundMemory},
		{"pids", "pids", l.Pids > 0, b.boundPids},
		{"cpu", "cpu", l.CPU > 0, b.boundCPU},
	} {
		if !want.given {
			continue
		}
		g, err := b.enter(table, want.controller)
		if err == nil {
			err = g.set(want.controller, l)
		}
		if err == nil {
			b.how = append(b.how, fmt.Sprintf("limit %s: cgroup %s", want.option, g.path))
			if want.option == "pids" {
				b.without(unix.RLIMIT_NPROC)
			}
		} else {
			b.how = append(b.how, fmt.Sprintf("limit %s: %s; no cgroup: %v", want.option, want.instead(l, uid), err))
		}
	}
	return b
}

// enter returns a cgroup with the controller, if possible one that is there already.
func (b *bound) enter(table cgroupTable, controller string) (*cgroup, error) {
	p, err := table.place(controller)
	if err != nil {
		return nil, err
	}
	for _, g := range b.groups {
		if g.cgroupPlace == p {
			return g, nil
		}
	}
	g, err := p.make()
	if err == nil {
		b.groups = append(b.groups, g)
	}
	return g, err
}

// joins are descriptors to which the process writes "0" to be in its cgroups. The kernel then asks what we may do, not what the
// process may, so it can be in a new user namespace already (since Linux 5.16); but a new cgroup namespace would begin above.
func (b *bound) joins() []int {
	var fds []int
	for _, g := range b.groups {
		fds = append(fds, int(g.procs.Fd()))
	}
	return fds
}

// close ends what is left of the run and removes its cgroups.
func (b *bound) close() error {
	var first error
	for _, g := range b.groups {
		if err := g.remove(); first == nil {
			first = err
		}
	}
	b.groups = nil
	return first
}

// rlimit replaces one of the list.
func (b *bound) rlimit(resource int, value int64) {
	b.without(resource)
	b.rlimits = append(b.rlimits, plan.Limit(resource, uint64(value), uint64(value)))
}

func (b *bound) without(resource int) {
	var others []plan.Rlimit
	for _, r := range b.rlimits {
		if r.Resource != resource {
			others = append(others, r)
		}
	}
	b.rlimits = others
}

// boundMemory bounds the address space, of which programs in Go or Java reserve much more than they use.
func (b *bound) boundMemory(l Limits, _ int) string {
	b.rlimit(unix.RLIMIT_AS, l.Memory)
	return "RLIMIT_AS, for the address space of each process"
}

// boundPids relies on Linux 5.14, which counts the processes of each user namespace. The real root is never refused one; see
// copy_process in kernel/fork.c.
func (b *bound) boundPids(l Limits, uid int) string {
	b.rlimit(unix.RLIMIT_NPROC, l.Pids)
	switch {
	case uid == 0 && limitInitialIDs():
		b.weak = append(b.weak, fmt.Sprintf("limit pids=%d is not held: root has no RLIMIT_NPROC, and there is no cgroup", l.Pids))
		return "nothing"
	case !plan.CountsPerNamespace():
		return "RLIMIT_NPROC, for all processes of the user (before Linux 5.14)"
	}
	return "RLIMIT_NPROC"
}

// boundCPU leaves as many processors as were asked for, rounded up. Which ones differs from run to run, lest all crowd the first.
// A program may change it back.
func (b *bound) boundCPU(l Limits, _ int) string {
	var all, some unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		b.weak = append(b.weak, fmt.Sprintf("limit cpu=%v is not held: sched_getaffinity: %v", l.CPU, err))
		return "nothing"
	}
	want := int(math.Ceil(l.CPU))
	if want < all.Count() {
		limitPick(&all, &some, want, os.Getpid()%all.Count())
		b.cpus = &some
	}
	return fmt.Sprintf("%d of %d processors", min(want, all.Count()), all.Count())
}

// limitPick copies n of the processors of all, in a circle from the one in place first.
func limitPick(all, some *unix.CPUSet, n, first int) {
	const most = 1024 // bits of a CPUSet
	for place, cpu := 0, 0; n > 0; cpu++ {
		if !all.IsSet(cpu % most) {
			continue
		}
		if place >= first {
			some.Set(cpu % most)
			n--
		}
		place++
	}
}

// mask is the processors as sched_setaffinity(2) has them.
func (b *bound) mask() []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(b.cpus)), unsafe.Sizeof(*b.cpus))
}

// limitInitialIDs tells whether our uid 0 is the kernel's.
func limitInitialIDs() bool {
	text, err := os.ReadFile("/proc/self/uid_map")
	f := strings.Fields(string(text))
	return err != nil || len(f) > 1 && f[0] == "0" && f[1] == "0"
}
