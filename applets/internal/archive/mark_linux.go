package archive

import (
	"errors"
	"strconv"

	"golang.org/x/sys/unix"
)

// Mark reads one extended attribute of any name, bookkeeping too, and reports whether it is there. A value of more than
// eight bytes is "".
func (d *Dir) Mark(name []byte, attr string) (value string, has bool, err error) {
	at, base, err := d.at(name)
	if err != nil {
		return "", false, err
	}
	defer d.release(at)
	var buf [8]byte
	n, err := unix.Lgetxattr("/proc/self/fd/"+strconv.Itoa(at.fd)+"/"+string(base), attr, buf[:])
	switch {
	case err == nil:
		return string(buf[:n]), true, nil
	case errors.Is(err, unix.ERANGE):
		return "", true, nil
	case errors.Is(err, unix.ENODATA), errors.Is(err, unix.ENOTSUP):
		return "", false, nil
	}
	return "", false, err
}
