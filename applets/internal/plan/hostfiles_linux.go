//go:build linux && (amd64 || arm64)

package plan

import (
	"syscall"
	"unsafe"
)

// hostFiles are how the files are found that a program can reach although they are the host's: the standard ones, and this program,
// which was /proc/self/exe when an interpreter was looked for. It may change their modes and owners as far as its caller may, and
// leave a set-user-ID file of the caller's with its own bytes in it, or make one of this program.
type hostFiles struct {
	own int // this program, open, or -1
	was [4]syscall.Stat_t
}

func openHostFiles() *hostFiles {
	files := new(hostFiles)
	var err error
	if files.own, err = syscall.Open("/proc/self/exe", syscall.O_RDONLY|syscall.O_CLOEXEC, 0); err != nil {
		files.own = -1
	}
	for i := range files.was {
		if syscall.Fstat(files.fd(i), &files.was[i]) != nil {
			files.was[i].Mode = 0 // a type that no file has
		}
	}
	return files
}

// fd is the i-th of the files.
func (files *hostFiles) fd(i int) int {
	if i < 3 {
		return i
	}
	return files.own
}

// restore gives the files back the modes and owners that they had; what goes wrong with that went wrong for the program, too. Root of
// a user namespace that is root's may also grant capabilities (capabilities(7)), which any writing takes away from a file.
func (files *hostFiles) restore() {
	for i := range files.was {
		var now syscall.Stat_t
		was, fd := &files.was[i], files.fd(i)
		if was.Mode == 0 || syscall.Fstat(fd, &now) != nil || now.Dev != was.Dev || now.Ino != was.Ino || now.Ctim == was.Ctim {
			continue
		}
		if was.Mode&syscall.S_IFMT == syscall.S_IFREG && syscall.Geteuid() == 0 {
			name := []byte("security.capability\x00")
			syscall.RawSyscall(syscall.SYS_FREMOVEXATTR, uintptr(fd), uintptr(unsafe.Pointer(&name[0])), 0)
		}
		if now.Uid != was.Uid || now.Gid != was.Gid {
			syscall.Fchown(fd, int(was.Uid), int(was.Gid))
		}
		if now.Mode != was.Mode {
			syscall.Fchmod(fd, was.Mode&0o1777) // set-user-ID bits do not outlast writing, either
		}
	}
}

func (files *hostFiles) close() {
	if files != nil && files.own >= 0 {
		syscall.Close(files.own)
	}
}
