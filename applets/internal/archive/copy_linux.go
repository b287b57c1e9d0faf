package archive

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// copyRange copies up to size bytes from one file to another, from where they stand, without a way through this process.
// What it does not copy must be copied otherwise: not all file systems can, nor can a file that is open for appending, and
// why not is of no interest.
func copyRange(to, from int, size int64) (copied int64) {
	const most = 1 << 30 // at once
	for copied < size {
		n, err := unix.CopyFileRange(from, nil, to, nil, int(min(size-copied, most)), 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n <= 0 {
			break
		}
		copied += int64(n)
	}
	return copied
}

// writev writes all of parts, none of which is empty, to a plain file. It changes parts.
func writev(f *os.File, parts [][]byte) error {
	for len(parts) > 0 {
		var some [bufferParts]unix.Iovec // that of package unix makes them on the heap
		count := min(len(parts), len(some))
		for i, p := range parts[:count] {
			some[i].Base = &p[0]
			some[i].SetLen(len(p))
		}
		n, _, errno := unix.Syscall(unix.SYS_WRITEV, f.Fd(), uintptr(unsafe.Pointer(&some)), uintptr(count))
		switch {
		case errno == unix.EINTR:
		case errno != 0:
			return &fs.PathError{Op: "write", Path: f.Name(), Err: errno}
		case n == 0:
			return io.ErrShortWrite
		default:
			parts = after(parts, int(n))
		}
	}
	return nil
}

// after is what is left of parts without their first n bytes.
func after(parts [][]byte, n int) [][]byte {
	for len(parts) > 0 && n >= len(parts[0]) {
		n -= len(parts[0])
		parts = parts[1:]
	}
	if n > 0 {
		parts[0] = parts[0][n:]
	}
	return parts
}
