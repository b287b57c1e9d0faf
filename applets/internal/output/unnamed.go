package output

import (
	"cmp"
	"io/fs"
	"os"
)

// Unnamed makes a file for what must be read again, in dir or else where the system has such files. It has no name, so
// that nothing is left of it whatever ends the program; errors are about its directory.
func Unnamed(dir string) (*os.File, error) {
	dir = cmp.Or(dir, os.TempDir())
	f, err := unnamedIn(dir)
	if err != nil && dir != os.TempDir() {
		f, err = unnamedIn(os.TempDir())
	}
	return f, err
}

func unnamedIn(dir string) (*os.File, error) {
	if f, err := os.OpenFile(dir, os.O_RDWR|tmpfile, 0o600); err == nil {
		return f, nil
	}
	f, err := os.CreateTemp(dir, ".ctbox-") // where the file system or the kernel has no better
	if err == nil {
		err = os.Remove(f.Name())
	}
	if err != nil {
		return nil, &fs.PathError{Op: "create", Path: dir, Err: Cause(err)}
	}
	return f, nil
}
