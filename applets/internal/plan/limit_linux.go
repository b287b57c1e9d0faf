//go:build linux && (amd64 || arm64)

package plan

import "syscall"

// DefaultLimits are for every run, so that it does not depend on what the user's shell or the Go runtime has set.
func DefaultLimits() []Rlimit {
	limits := []Rlimit{
		// No dumps of core. With 0, a program outside that core_pattern names would still get them; see fs/coredump.c.
		Limit(syscall.RLIMIT_CORE, 1, 1),
		// Some programs close all that they could have open, one by one: hours for a billion. Go raised ours at its start.
		Limit(syscall.RLIMIT_NOFILE, 1024, 512<<10),
	}
	if CountsPerNamespace() {
		// A fork bomb ends here, where other programs do not come to.
		limits = append(limits, Limit(rlimitNproc, 4096, 4096))
	}
	return limits
}

// Limit is a limit on a resource. What is more than our own hard limit would be refused.
func Limit(resource int, soft, hard uint64) Rlimit {
	var now syscall.Rlimit
	if err := syscall.Getrlimit(resource, &now); err == nil {
		hard = min(hard, now.Max)
	}
	return Rlimit{resource, min(soft, hard), hard}
}

// CountsPerNamespace tells whether RLIMIT_NPROC counts the processes of a user namespace, not all of the user: since Linux 5.14.
func CountsPerNamespace() bool {
	var u syscall.Utsname
	if syscall.Uname(&u) != nil {
		return false
	}
	var version [2]int
	part := 0
	for _, c := range raw(&u.Release) {
		if c >= '0' && c <= '9' {
			version[part] = 10*version[part] + int(c-'0')
		} else if part++; part == len(version) {
			break
		}
	}
	return version[0] > 5 || version[0] == 5 && version[1] >= 14
}
