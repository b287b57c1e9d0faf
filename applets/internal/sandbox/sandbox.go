// Package sandbox runs a program in a root file system of its own, as an ordinary user, by the plan of package plan.
// Invariant: when Run returns, or this process dies, nothing of the program is left: no process, mount or file.
package sandbox

import (
	"errors"
	"os"
	"syscall"

	"github.com/ctbox/ctbox/applets/internal/plan"
)

// Options is what to run and how. Of Plan, what is about ids, limits and the network's name server is filled in by Run.
type Options struct {
	Plan    plan.Options
	MapAuto bool // further user and group ids, from /etc/subuid and /etc/subgid
	Limits  Limits
	Verbose bool // say what holds the limits
	Warn    func(format string, args ...any)
}

// An End is how the program ended.
type End struct {
	Code          int            // exit status, if Signal is 0
	Signal        syscall.Signal // that killed it
	Upper, UserNS *os.File       // with Plan.Keep: what it wrote, and the user namespace in which that can be read
}

// ErrClosed is the error of a run that was ended because nobody reads its standard output any more.
var ErrClosed = errors.New("standard output is closed")
