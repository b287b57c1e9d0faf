//go:build linux && (amd64 || arm64 || loong64 || ppc64 || ppc64le || riscv64 || s390x)

package archive

import (
	"bytes"
	"unsafe"

	"golang.org/x/sys/unix"
)

// fstatat is fstatat(2) with AT_SYMLINK_NOFOLLOW. That of package unix makes two copies of the name on the heap; with a
// cache, fileids does little else than this.
func fstatat(at int, base []byte, raw *unix.Stat_t) error {
	var name [256]byte // one more than most file systems allow
	if len(base) >= len(name) || bytes.IndexByte(base, 0) >= 0 {
		return unix.Fstatat(at, string(base), raw, unix.AT_SYMLINK_NOFOLLOW)
	}
	copy(name[:], base)
	_, _, errno := unix.Syscall6(unix.SYS_NEWFSTATAT, uintptr(at), uintptr(unsafe.Pointer(&name)), uintptr(unsafe.Pointer(raw)),
		unix.AT_SYMLINK_NOFOLLOW, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
