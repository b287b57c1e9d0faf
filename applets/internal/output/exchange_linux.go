package output

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// tmpfile is the flag that makes a file without a name (open(2)).
const tmpfile = unix.O_TMPFILE

// exchange makes each of two directories bear the other's name, in one step where the file system can
// (renameat2(2)).
func exchange(a, b string) error {
	err := unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS):
		return swap(a, b)
	}
	return &os.LinkError{Op: "exchange", Old: a, New: b, Err: err}
}
