//go:build !linux

package output

import (
	"os"

	"golang.org/x/sys/unix"
)

// handler is nothing here: without libc there is no call to change what a signal does.
type handler struct{}

func (handler) take(unix.Signal)    {}
func (handler) restore(unix.Signal) {}
func (handler) leave(unix.Signal)   {}

// raise sends sig to this process. Go's own action for SIGQUIT stays (every stack, status 2): without libc
// there is no call here to change it.
func raise(sig unix.Signal) { unix.Kill(os.Getpid(), sig) }
