//go:build linux && (amd64 || arm64)

package sandbox

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/ctbox/ctbox/applets/internal/cli"
	"github.com/ctbox/ctbox/applets/internal/program"
)

// CannotStart is the error of the program name that execve(2) refused with errno, or that is not in the PATH pathEnv, where
// dir is the root directory: what is wrong, and what to do about it. The exit status in it is 127 if the program or what
// it needs is missing, otherwise 126. What the kernel calls "no such file" may be an interpreter, or a link.
func CannotStart(dir, name, pathEnv string, errno syscall.Errno) error {
	why := program.CheckIn(dir, name, pathEnv)
	if why == nil || errno == syscall.EACCES && errors.Is(why, program.ErrMissing) {
		why = errno // of something that is only there at run time, or in PATH and not executable
	}
	status := cli.CannotRun
	if errors.Is(why, program.ErrMissing) || why == syscall.ENOENT {
		status = cli.NotFound
	}
	err := cli.WithStatus(status, fmt.Errorf("%s: %w", name, why))
	if advice := program.Advice(why); advice != "" {
		return cli.Hint(err, "%s", advice)
	}
	return err
}
