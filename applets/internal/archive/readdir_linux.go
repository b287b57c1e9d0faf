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

// readdir calls each with every name in the open directory but "." and "..".
func readdir(fd int, each func(name []byte, isDir bool)) error {
	buf := make([]byte, 32<<10)
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
				each(name, isDirectory(fd, name, rest[direntType]))
			}
			rest = rest[size:]
		}
	}
}

// isDirectory trusts the type that the file system gives with the name; some give none.
func isDirectory(fd int, name []byte, kind byte) bool {
	if kind != unix.DT_UNKNOWN {
		return kind == unix.DT_DIR
	}
	st, err := statAt(fd, string(name))
	return err == nil && st.Type() == list.Directory
}
