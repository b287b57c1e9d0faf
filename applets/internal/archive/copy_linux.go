package archive

import (
	"errors"

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
