// Package cli turns an argument vector into one applet's options and its error into an exit status.
// Invariant: whatever the command line, standard output holds only what was asked for, and
// every message is one line that begins "ctbox APPLET: ".
package cli

import (
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/ctbox/ctbox/applets/internal/output"
	"github.com/ctbox/ctbox/applets/internal/progress"
)

// Exit statuses. A runner is an applet that hands on the status of the command it ran; its own
// failures must differ from that (POSIX env(1), GNU coreutils "Exit status" of chroot and timeout).
const (
	OK          = 0
	Failed      = 1 // could not, or "no"
	Misused     = 2 // usage error
	TimedOut    = 124
	RunnerError = 125 // a runner's own failure, usage included
	CannotRun   = 126
	NotFound    = 127 // no such command, no such applet
)

// An Applet is one command of the box. Applets are static data: nothing is built before it is run.
type Applet struct {
	Name    string         // as typed: "mklayer"
	Brief   string         // one line, lower case, no full stop: the NAME line of its manual
	Example string         // one command line for --help
	Manual  string         // the applet whose page describes it; "" is its own
	Runner  bool           // runs another command: options end at the first operand, failures are 125
	New     func() Command // a new value whose fields are the options and operands
}

// A Command is an applet's parsed command line. Its exported fields carry kong tags.
type Command interface{ Run(Stdio) error }

// Stdio is all that an applet sees of the process around it.
type Stdio struct {
	In       io.Reader
	Out, Err io.Writer
	Applet   string // prefix of messages
}

// Warn writes one line to standard error; it does not change the exit status.
func (s Stdio) Warn(format string, args ...any) {
	fmt.Fprintf(s.Err, "%s%s: %s\n", progress.Clear(s.Err), prefix(s.Applet), printable(fmt.Sprintf(format, args...)))
}

// Progress shows how far the applet is, as its option --progress says: "auto", "always" or "never". It must come before
// Out, Err and Warn are used, and Stop after that.
func (s *Stdio) Progress(when string) *progress.Line {
	return progress.Start(when, prefix(s.Applet), &s.Out, &s.Err)
}

// ExitStatus is an error that only sets the exit status; nothing is printed for it.
type ExitStatus int

func (s ExitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// statusError gives an error a status other than the applet's usual one.
type statusError struct {
	error
	status int
}

func (e statusError) Unwrap() error { return e.error }

// WithStatus makes err end the applet with status.
func WithStatus(status int, err error) error { return statusError{err, status} }

// Ended is how the command called name ended, as a shell has it: its exit status, or 128+N and a message if signal N killed it.
func Ended(name string, status int, killed syscall.Signal) error {
	switch {
	case killed != 0:
		return WithStatus(128+int(killed), fmt.Errorf("%s: %v", name, killed))
	case status != OK:
		return ExitStatus(status)
	}
	return nil
}

// usageError is a command line that cannot be understood.
type usageError struct{ error }

// Usagef is an error in the command line: status 2, or 125 in a runner.
func Usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

type hintError struct {
	error
	hint string
}

func (e hintError) Unwrap() error { return e.error }

// Hint adds a second line that says what to do; only for an error with one likely cure.
func Hint(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return hintError{err, fmt.Sprintf(format, args...)}
}

// Run parses args for applet a, runs it, reports its error on std.Err and returns the exit status.
func Run(a *Applet, std Stdio, args []string) int {
	return RunBox(a, std, args, "")
}

// RunBox is Run with a help text of one's own: the box's lists its applets.
func RunBox(a *Applet, std Stdio, args []string, usage string) int {
	std.Applet = a.Name
	err := run(a, std, args, usage)
	report(std, err)
	return status(a, err)
}

func run(a *Applet, std Stdio, args []string, usage string) error {
	cmd, model, err := prepare(a, args)
	switch {
	case errors.Is(err, errHelp):
		if usage == "" {
			usage = help(a, model)
		}
		_, err = io.WriteString(std.Out, usage)
		return err
	case errors.Is(err, errVersion):
		_, err = io.WriteString(std.Out, versionText(a.Name))
		return err
	case err != nil:
		return err
	}
	if !a.Runner { // those have others to tell
		output.LeaveSignals()
	}
	return cmd.Run(std)
}

// Parse makes applet a's command from args without running it.
func Parse(a *Applet, args []string) (Command, error) {
	cmd, _, err := prepare(a, args)
	return cmd, err
}

func prepare(a *Applet, args []string) (Command, *kong.Node, error) {
	cmd := a.New()
	parser, err := newParser(a, cmd)
	if err != nil {
		return nil, nil, err
	}
	model := parser.Model.Node
	opts, operands, err := getopt(model, args, a.Runner)
	if err == nil {
		err = assign(model, opts, operands)
	}
	if err != nil && !errors.Is(err, errHelp) && !errors.Is(err, errVersion) {
		err = usageError{err}
	}
	return cmd, model, err
}

// newParser builds the model of one applet: building all of them would double the start-up time. The command line is not for it to
// parse (see assign).
func newParser(a *Applet, cmd Command) (*kong.Kong, error) {
	return kong.New(cmd, kong.Name(a.Name), kong.NoDefaultHelp())
}

func status(a *Applet, err error) int {
	var exit ExitStatus
	var with statusError
	var usage usageError
	switch {
	case err == nil:
		return OK
	case errors.As(err, &exit):
		return int(exit)
	case errors.As(err, &with):
		return with.status
	case a.Runner:
		return RunnerError
	case errors.As(err, &usage):
		return Misused
	}
	return Failed
}
