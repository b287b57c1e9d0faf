//go:build linux && (amd64 || arm64)

package plan

import "syscall"

// capabilitiesKept are what docker leaves to root in a container: enough for an installation, nothing for the kernel's own
// matters. In the sandbox's user namespace they are over mapped ids only.
const capabilitiesKept uint64 = 1<<capChown | 1<<capDacOverride | 1<<capFowner | 1<<capFsetid |
	1<<capKill | 1<<capSetgid | 1<<capSetuid | 1<<capSetpcap | 1<<capNetBindService |
	1<<capNetRaw | 1<<capSysChroot | 1<<capMknod | 1<<capAuditWrite | 1<<capSetfcap

// capabilitiesDropped lists for prctl(PR_CAPBSET_DROP) all that this kernel has and that are not in keep. It must be done before
// capset: it needs CAP_SETPCAP, of which the sandbox may have been deprived.
func capabilitiesDropped(keep uint64) []uintptr {
	var drop []uintptr
	for c := range uintptr(64) {
		// EINVAL is for what the kernel does not have; see cap_valid in capabilities(7).
		if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_CAPBSET_READ, c, 0); errno != 0 {
			break
		}
		if keep>>c&1 == 0 {
			drop = append(drop, c)
		}
	}
	return drop
}

// A capabilitySet is what capset(2) takes: pointers to its two fields.
type capabilitySet struct {
	header struct{ version, pid uint32 }
	data   [2]struct{ effective, permitted, inheritable uint32 } // the low and the high 32
}

// capabilitiesOnly is for a process, itself, that is to have keep and no other: effective and permitted. Nothing is inheritable,
// and so nothing is ambient: the kernel takes away what is no longer both (capabilities(7)).
func capabilitiesOnly(keep uint64) *capabilitySet {
	s := new(capabilitySet)
	s.header.version = capVersion3
	for i := range s.data {
		half := uint32(keep >> (32 * i))
		s.data[i].effective, s.data[i].permitted = half, half
	}
	return s
}

// capabilities leaves the program what docker does. Without a user namespace two of these are over the host: device nodes, and
// the way out of a chroot.
func (p *Plan) capabilities() {
	keep := capabilitiesKept
	if p.o.Root == ChangeRoot {
		keep &^= 1<<capMknod | 1<<capSysChroot
	}
	if p.o.Net == UserNet {
		keep &^= 1 << capNetRaw // with it, the helpers of that network reach the host's loopback
	}
	for _, c := range capabilitiesDropped(keep) {
		p.do("drop capabilities", callPrctl, prCapbsetDrop, int(c), 0, 0, 0)
	}
	only := capabilitiesOnly(keep)
	p.do("drop capabilities", callCapset, raw(&only.header), raw(&only.data))
}
