//go:build !linux || !(amd64 || arm64 || loong64 || ppc64 || ppc64le || riscv64 || s390x)

package archive

import "golang.org/x/sys/unix"

// fstatat is fstatat(2) with AT_SYMLINK_NOFOLLOW.
func fstatat(at int, base []byte, raw *unix.Stat_t) error {
	return unix.Fstatat(at, string(base), raw, unix.AT_SYMLINK_NOFOLLOW)
}

// openat is openat(2).
func openat(at int, base []byte, flags int) (fd int, err error) {
	return unix.Openat(at, string(base), flags, 0)
}

// readlinkat is readlinkat(2).
func readlinkat(at int, base, target []byte) (n int, err error) {
	return unix.Readlinkat(at, string(base), target)
}
