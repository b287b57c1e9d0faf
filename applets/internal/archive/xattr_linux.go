package archive

import (
	"errors"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

func fdXattrs(fd int) XattrReader {
	if n, err := unix.Flistxattr(fd, nil); n == 0 && err == nil {
		return nil // as with nearly all files
	}
	return reader(
		func(buf []byte) (int, error) { return unix.Flistxattr(fd, buf) },
		func(name string, buf []byte) (int, error) { return unix.Fgetxattr(fd, name, buf) })
}

// pathXattrs is for a directory that we may not read; its attributes can be read all the same, by path.
func pathXattrs(at int, base string) XattrReader {
	path := "/proc/self/fd/" + strconv.Itoa(at) + "/" + base
	return reader(
		func(buf []byte) (int, error) { return unix.Llistxattr(path, buf) },
		func(name string, buf []byte) (int, error) { return unix.Lgetxattr(path, name, buf) })
}

func reader(names func([]byte) (int, error), value func(string, []byte) (int, error)) XattrReader {
	return func(each func(string, []byte)) error {
		all, err := sized(names)
		if err != nil || len(all) == 0 {
			return err
		}
		for name := range strings.SplitSeq(strings.TrimSuffix(string(all), "\x00"), "\x00") {
			if isBookkeeping(name) {
				continue
			}
			v, err := sized(func(buf []byte) (int, error) { return value(name, buf) })
			if err != nil {
				return err
			}
			each(name, v)
		}
		return nil
	}
}

// sized calls get with a buffer, and again with a larger one while the kernel says ERANGE. Few files have attributes,
// so the first try is small and on the stack.
func sized(get func([]byte) (int, error)) ([]byte, error) {
	var small [128]byte
	n, err := get(small[:])
	if err == nil && n == 0 {
		return nil, nil
	}
	if err == nil {
		return append([]byte(nil), small[:n]...), nil
	}
	const largest = 64 << 10 // XATTR_LIST_MAX and XATTR_SIZE_MAX (linux/limits.h)
	if errors.Is(err, unix.ERANGE) {
		buf := make([]byte, largest)
		n, err = get(buf)
		if err == nil {
			return buf[:n], nil
		}
	}
	if errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.ENODATA) {
		return nil, nil
	}
	return nil, err
}
