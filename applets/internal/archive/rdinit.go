package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/list"
	"github.com/ctbox/ctbox/applets/internal/program"
)

// OpenInit opens a program for Initrd.Init. Anything but a regular file that can be executed is an error.
func OpenInit(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0) // do not wait for the writer of a FIFO
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	switch {
	case err != nil:
	case !fi.Mode().IsRegular():
		err = fmt.Errorf("%s: not a regular file", name)
	case fi.Mode()&0o111 == 0:
		err = fmt.Errorf("%s: may not be executed", name)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Limits of the kernel's: interpreters that are scripts (fs/exec.c), and links in one path (path_resolution(7)).
const (
	mostInterpreters = 5
	mostLinks        = 40
)

// checkInit reports why Init could not start in the guest: what its first line or its ELF header asks for must be in the
// list, and so must what that asks for.
func (i *Initrd) checkInit() error {
	if i.Init == nil {
		return nil
	}
	interpreter, err := program.Interpreter(i.Init)
	if err == nil {
		err = i.checkInterpreter(interpreter, mostInterpreters)
	}
	if err != nil {
		return fmt.Errorf("%s: cannot be the guest's init: %w", i.Init.Name(), err)
	}
	return nil
}

// checkInterpreter finds the program at path, if that is not empty, in the list, and then the interpreter of that.
func (i *Initrd) checkInterpreter(path string, depth int) error {
	if path == "" {
		return nil
	}
	rec, err := i.follow(path)
	var next string
	switch {
	case depth == 0:
		err = errors.New("too many interpreters, each the script of the next")
	case err != nil:
	case rec.ID.Type() != list.Regular || rec.ID.Mode&0o111 == 0:
		err = errors.New("may not be executed")
	default:
		next, err = i.interpreter(rec.Name)
	}
	if err == nil {
		err = i.checkInterpreter(next, depth-1)
	}
	if err != nil {
		return fmt.Errorf("its interpreter %s: %w", path, err)
	}
	return nil
}

// interpreter is the interpreter of a file that is in the list.
func (i *Initrd) interpreter(name []byte) (string, error) {
	st, err := i.Source.Stat(name)
	if err != nil {
		return "", err
	}
	c, err := i.Source.Open(name, st)
	if err != nil {
		return "", err
	}
	defer c.Close()
	const head = 64 << 10
	text, err := io.ReadAll(io.LimitReader(c, head))
	if err != nil {
		return "", err
	}
	next, err := program.Interpreter(bytes.NewReader(text))
	if err != nil && len(text) == head {
		return "", nil // what it needs may be named further behind; only linkers know why
	}
	return next, err
}

var errNotListed = errors.New("not in the list")

// follow finds the record that a path in the guest leads to.
func (i *Initrd) follow(name string) (*list.Record, error) {
	for range mostLinks {
		name = path.Clean("/" + name)
		rec, err := i.first(name)
		if err != nil {
			return nil, err
		}
		at := string(rec.Name[len("."):])
		if rec.ID.Type() != list.Symlink {
			if at != name {
				return nil, errNotListed
			}
			return rec, nil
		}
		target, err := i.Source.Readlink(rec.Name)
		if err != nil {
			return nil, err
		}
		rest := name[len(at):]
		if name = string(target) + rest; !strings.HasPrefix(name, "/") {
			name = path.Dir(at) + "/" + name
		}
	}
	return nil, unix.ELOOP
}

// first finds the first record on the way to a path that is no directory, or the path itself.
func (i *Initrd) first(name string) (*list.Record, error) {
	for scan := i.List.Scan(); ; {
		rec, err := scan.Next()
		if err == io.EOF {
			return nil, errNotListed
		}
		if err != nil {
			return nil, err
		}
		at := rec.Name[len("."):]
		if len(at) > 0 && (string(at) == name || rec.ID.Type() != list.Directory && list.Below([]byte(name), at)) {
			return rec, nil
		}
	}
}
