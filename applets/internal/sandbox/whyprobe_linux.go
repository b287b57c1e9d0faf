//go:build linux && (amd64 || arm64)

package sandbox

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/program"
)

// gather asks the system itself.
func gather() *evidence {
	ev := &evidence{euid: os.Geteuid(), look: program.Look, nosuid: isNosuid, setcap: hasCaps, jailed: isJailed()}
	ev.exe, _ = os.Executable()
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		ev.release = unix.ByteSliceToString(name.Release[:])
	}
	var limit unix.Rlimit
	if ev.nproc = unix.RLIM_INFINITY; unix.Getrlimit(unix.RLIMIT_NPROC, &limit) == nil {
		ev.nproc = limit.Cur
	}
	state, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	ev.dumpable = err != nil || state == 1
	return ev
}

// isJailed finds out whether this process is in a chroot. The mark of the root of a mount is there since Linux 5.8; a
// chroot to a mount point shows only beside the first process, and only to those who may look at it.
func isJailed() bool {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, "/", 0, unix.STATX_BASIC_STATS, &st)
	if err == nil && st.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT != 0 && st.Attributes&unix.STATX_ATTR_MOUNT_ROOT == 0 {
		return true
	}
	own, err1 := os.Readlink("/proc/self/ns/mnt")
	first, err2 := os.Readlink("/proc/1/ns/mnt")
	if err1 != nil || err2 != nil || own != first {
		return false
	}
	here, err1 := os.Stat("/")
	there, err2 := os.Stat("/proc/1/root")
	return err1 == nil && err2 == nil && !os.SameFile(here, there)
}

func isNosuid(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Flags&unix.ST_NOSUID != 0
}

func hasCaps(path string) bool {
	n, err := unix.Getxattr(path, "security.capability", nil)
	return err == nil && n > 0
}
