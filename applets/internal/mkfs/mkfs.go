// Package mkfs has programs of others make file systems of tars.
// Invariant: what it hands on was made of a tar that is whole, by a program that said that it went well.
package mkfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/output"
	"github.com/ctbox/ctbox/applets/internal/program"
)

// A Program reads a tar from its standard input, and writes a file system to the file that is its last argument.
type Program struct {
	Name string
	Args []string
	Env  []string // added to the environment
}

// Missing is the error for a program that is not here. It is its name.
type Missing string

func (m Missing) Error() string { return string(m) + ": " + program.ErrMissing.Error() }

// Run runs the program with what tar writes, and writes what it made to the start of a file of zeros, but for the zeros in it.
// It returns the size of that in bytes.
func (p *Program) Run(to io.WriterAt, tar func(io.Writer) error) (size int64, err error) {
	path, err := program.Look(p.Name)
	if err != nil {
		return 0, Missing(p.Name)
	}
	f, err := output.Unnamed("")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	cmd := exec.Command(path, append(p.Args, "/dev/fd/3")...)
	cmd.ExtraFiles = []*os.File{f}
	cmd.Env = append(os.Environ(), p.Env...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	in, err := cmd.StdinPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	packed := tar(in)
	if packed != nil && !errors.Is(packed, unix.EPIPE) {
		cmd.Process.Kill() // a tar that is cut short might do
	}
	in.Close()
	ended := cmd.Wait()
	switch {
	case packed != nil && !errors.Is(packed, unix.EPIPE):
		return 0, packed
	case ended != nil:
		return 0, p.failed(ended, said.String())
	case packed != nil:
		return 0, fmt.Errorf("%s: did not read all", p.Name)
	}
	return copySparse(to, f)
}

// failed says what the program said.
func (p *Program) failed(err error, said string) error {
	if strings.Contains(said, "--tar") {
		return fmt.Errorf("%s: is too old to read tars: erofs-utils 1.7 can", p.Name)
	}
	first, _, _ := strings.Cut(strings.TrimSpace(said), "\n")
	return fmt.Errorf("%s: %w: %s", p.Name, err, first)
}

// copySparse copies what is not zeros.
func copySparse(to io.WriterAt, f *os.File) (size int64, err error) {
	buf, zeros := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		n, err := f.ReadAt(buf, size)
		if p := buf[:n]; !bytes.Equal(p, zeros[:n]) {
			if _, err := to.WriteAt(p, size); err != nil {
				return 0, err
			}
		}
		size += int64(n)
		if err == io.EOF {
			return size, nil
		}
		if err != nil {
			return 0, err
		}
	}
}
