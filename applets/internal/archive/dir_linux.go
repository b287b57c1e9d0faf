package archive

import (
	"errors"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// openDirectory is how a directory is opened that only leads on: O_PATH asks for no right to read it.
const openDirectory = unix.O_PATH

// noOpenat2 remembers that the kernel (before 5.6) or a seccomp filter refuses openat2(2).
var noOpenat2 atomic.Bool

// openBeneath opens path below at; a symbolic link anywhere in it is ELOOP.
func openBeneath(at int, path string, flags int) (int, error) {
	how := unix.OpenHow{
		Flags:   uint64(flags),
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	}
	const tries = 100 // EAGAIN: the tree was renamed in meanwhile (openat2(2))
	for i := 0; !noOpenat2.Load(); i++ {
		fd, err := retry(func() (int, error) { return unix.Openat2(at, path, &how) })
		switch {
		case errors.Is(err, unix.EAGAIN) && i < tries:
			continue
		case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM):
			noOpenat2.Store(true)
			continue
		}
		return fd, err
	}
	return openWalk(at, path, flags)
}

var euid = uint32(os.Geteuid())

// openFile opens a regular file, leaving its time of access alone where the kernel lets us: that is the owner's right.
func openFile(at int, base []byte, flags int, owner uint32) (int, error) {
	if owner == euid || euid == 0 {
		fd, err := retry(func() (int, error) { return openat(at, base, flags|unix.O_NOATIME) })
		if !errors.Is(err, unix.EPERM) {
			return fd, err
		}
	}
	return retry(func() (int, error) { return openat(at, base, flags) })
}

// bornAt asks for what stat(2) has no place for. Not every file system keeps it.
func bornAt(at int, base string) (sec, nsec int64, ok bool) {
	var raw unix.Statx_t
	err := unix.Statx(at, base, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BTIME, &raw)
	return raw.Btime.Sec, int64(raw.Btime.Nsec), err == nil && raw.Mask&unix.STATX_BTIME != 0
}
