//go:build !linux

package archive

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// openDirectory is how a directory is opened that only leads on.
const openDirectory = unix.O_RDONLY

// openBeneath opens path below at; a symbolic link anywhere in it is ELOOP.
func openBeneath(at int, path string, flags int) (int, error) { return openWalk(at, path, flags) }

const euid = 0 // does not matter to openFile here

func openFile(at int, base []byte, flags int, _ uint32) (int, error) {
	return retry(func() (int, error) { return openat(at, base, flags) })
}

const direntBuffer = 0 // package os has one

// readdir calls each with every name in the open directory and its type.
func readdir(fd int, _ []byte, each func(name []byte, kind uint32)) error {
	own, err := unix.Dup(fd) // os.File closes what it is given
	if err != nil {
		return err
	}
	d := os.NewFile(uintptr(own), "")
	defer d.Close()
	for {
		names, err := d.Readdirnames(1000)
		for _, name := range names {
			st, _ := statAt(fd, name)
			each([]byte(name), st.Type())
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// fdXattrs: lists made elsewhere than on Linux hold no extended attributes; theirs mean other things.
func fdXattrs(int) XattrReader { return nil }

func pathXattrs(int, string) XattrReader { return nil }

func bornAt(int, string) (sec, nsec int64, ok bool) { return 0, 0, false }
