package archive

import (
	"bytes"
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/list"
)

// Layout of struct linux_dirent64 (getdents64(2)): inode 8, offset 8, length of record 2, type 1, name.
const (
	direntLength = 16
	direntType   = 18
	direntName   = 19
)

// direntBuffer is what getdents64(2) fills at once, in bytes.
const direntBuffer = 32 << 10

// readdir calls each with every name in the open directory but "." and "..", and with its type: that of list, or 0 if it
// is neither a directory nor, for sure, a regular file. It reads through buf.
func readdir(fd int, buf []byte, each func(name []byte, kind uint32)) error {
	for {
		n, err := retry(func() (int, error) { return unix.Getdents(fd, buf) })
		if err != nil || n == 0 {
			return err
		}
		for rest := buf[:n]; len(rest) > 0; {
			size := int(binary.NativeEndian.Uint16(rest[direntLength:]))
			if size <= direntName || size > len(rest) {
				return errors.New("file system returned a damaged directory")
			}
			name, _, _ := bytes.Cut(rest[direntName:size], []byte{0})
			if !isDots(name) {
				each(name, typeOf(fd, name, rest[direntType]))
			}
			rest = rest[size:]
		}
	}
}

// typeOf trusts the type that the file system gives with the name; some give none.
func typeOf(fd int, name []byte, kind byte) uint32 {
	switch kind {
	case unix.DT_DIR:
		return list.Directory
	case unix.DT_REG:
		return list.Regular
	case unix.DT_UNKNOWN:
		if st, err := statAt(fd, string(name)); err == nil {
			return st.Type()
		}
	}
	return 0
}
