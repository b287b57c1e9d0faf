//go:build linux && (amd64 || arm64 || loong64 || ppc64 || ppc64le || riscv64 || s390x)

package archive

import (
	"bytes"
	"unsafe"

	"golang.org/x/sys/unix"
)

// System calls that are made once for a file. Those of package unix make two copies of the name on the heap; with a cache,
// fileids does little else than this.

// A cName has room for a name as the kernel wants it: ended by a zero.
type cName [256]byte // one more than most file systems allow

func (c *cName) of(base []byte) (*byte, error) {
	if len(base) >= len(c) || bytes.IndexByte(base, 0) >= 0 {
		return unix.BytePtrFromString(string(base))
	}
	copy(c[:], base)
	return &c[0], nil
}

// fstatat is fstatat(2) with AT_SYMLINK_NOFOLLOW.
func fstatat(at int, base []byte, raw *unix.Stat_t) error {
	var name cName
	p, err := name.of(base)
	if err != nil {
		return err
	}
	_, err = result(unix.Syscall6(unix.SYS_NEWFSTATAT, uintptr(at), uintptr(unsafe.Pointer(p)), uintptr(unsafe.Pointer(raw)),
		unix.AT_SYMLINK_NOFOLLOW, 0, 0))
	return err
}

// openat is openat(2).
func openat(at int, base []byte, flags int) (fd int, err error) {
	var name cName
	p, err := name.of(base)
	if err != nil {
		return -1, err
	}
	return result(unix.Syscall6(unix.SYS_OPENAT, uintptr(at), uintptr(unsafe.Pointer(p)), uintptr(flags), 0, 0, 0))
}

// readlinkat is readlinkat(2). The target must have room.
func readlinkat(at int, base, target []byte) (n int, err error) {
	var name cName
	p, err := name.of(base)
	if err != nil {
		return -1, err
	}
	return result(unix.Syscall6(unix.SYS_READLINKAT, uintptr(at), uintptr(unsafe.Pointer(p)), uintptr(unsafe.Pointer(&target[0])),
		uintptr(len(target)), 0, 0))
}

func result(r, _ uintptr, errno unix.Errno) (int, error) {
	if errno != 0 {
		return -1, errno
	}
	return int(r), nil
}
