package applets

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/ctbox/ctbox/applets/internal/cli"
	"github.com/ctbox/ctbox/applets/internal/fakeroot"
	"github.com/ctbox/ctbox/applets/internal/interrupt"
	"github.com/ctbox/ctbox/applets/internal/output"
	"github.com/ctbox/ctbox/applets/internal/program"
)

var tryFakeroot = cli.Applet{
	Name:    "try-fakeroot",
	Brief:   "run a command under fakeroot, where that works",
	Example: "ctbox try-fakeroot tree.state make install DESTDIR=tree",
	Runner:  true,
	New:     func() cli.Command { return new(tryFakerootCommand) },
}

// tryFakerootCommand enters fakeroot with what was saved in State, and saves it there again. Standard streams are those
// of this process.
type tryFakerootCommand struct {
	State   string   `arg:"" placeholder:"STATE" help:"What fakeroot pretends: read if it is there, written when CMD has ended."`
	Command string   `arg:"" placeholder:"CMD" help:"Command to run."`
	Args    []string `arg:"" optional:"" placeholder:"ARG" help:"Its arguments."`
}

func (c *tryFakerootCommand) Run(std cli.Stdio) error {
	state, err := tryFakerootPath(c.State)
	if err != nil {
		return err
	}
	path, err := tryFakerootLook(c.Command)
	if err != nil {
		return err
	}
	_, err = fakeroot.ReadSave(state)
	there := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	switch {
	case fakeroot.InSession(state):
		return c.exec(path) // the session around this one keeps that state
	case tryFakerootIsSelf(path):
		return c.self(std, state, path, there)
	case os.Getenv(fakeroot.Key) != "":
		std.Warn("already under fakeroot, which keeps the owners: %s is not used", c.State)
		return c.exec(path)
	case tryFakerootIsStatic(path):
		std.Warn("%s is a static program: it does not see what fakeroot pretends", path)
	}
	status, err := (&fakeroot.Session{State: state, Path: path, Args: c.Args}).Run()
	var sig interrupt.Signal
	switch {
	case errors.Is(err, fakeroot.ErrNoFakeroot):
		std.Warn("%v: %s runs without", err, c.Command)
		return c.plain(state, path, there)
	case errors.As(err, &sig):
		sig.Raise()
	case err == nil && status != cli.OK:
		err = cli.ExitStatus(status)
	}
	return err
}

// self runs ctbox, which reads the state itself and does not need fakeroot. A state that is not there is one in which
// all is root's, as in a new session of fakeroot; within another session it is that one's daemon who knows.
func (c *tryFakerootCommand) self(std cli.Stdio, state, path string, there bool) error {
	if !there && os.Getenv(fakeroot.Key) != "" {
		return c.exec(path)
	}
	if !there && os.Geteuid() == 0 && !tryFakerootIsHere() {
		return c.plain(state, path, there)
	}
	if !there {
		if err := (output.Target{Path: state}).Write(func(w io.Writer) error { return nil }); err != nil {
			return err
		}
	}
	os.Setenv(fakeroot.StateFile, state)
	return c.exec(path)
}

// plain runs the command without fakeroot. Real root then makes what is to be listed, unless a state says otherwise;
// for others the state is named even if it is not there, so that ctbox does not list the real owners.
func (c *tryFakerootCommand) plain(state, path string, there bool) error {
	if there || os.Geteuid() != 0 {
		os.Setenv(fakeroot.StateFile, state)
	} else {
		os.Unsetenv(fakeroot.StateFile)
	}
	return c.exec(path)
}

// exec makes this process the command.
func (c *tryFakerootCommand) exec(path string) error {
	err := syscall.Exec(path, append([]string{c.Command}, c.Args...), os.Environ())
	if errors.Is(err, syscall.ENOEXEC) { // a script without "#!", as execvp(3) has it
		const sh = "/bin/sh"
		err = syscall.Exec(sh, append([]string{sh, path}, c.Args...), os.Environ())
	}
	status := cli.CannotRun
	if errors.Is(err, fs.ErrNotExist) {
		status = cli.NotFound
		err = cmp.Or(program.Check(path), err) // whose interpreter it is that is missing
	}
	return cli.WithStatus(status, fmt.Errorf("%s: %w", path, err))
}

// tryFakerootPath makes a path that stays right in other directories. The file need not be there, but its directory must.
func tryFakerootPath(path string) (string, error) {
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err == nil {
		dir, err = filepath.Abs(dir)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, output.Cause(err))
	}
	return filepath.Join(dir, filepath.Base(path)), nil
}

// tryFakerootLook finds the command, so that no shell of fakeroot's takes its name for one of its own.
func tryFakerootLook(name string) (string, error) {
	path, err := program.Look(name)
	if err == nil {
		return path, nil
	}
	status := cli.NotFound
	if _, statErr := os.Stat(path); statErr == nil {
		status, err = cli.CannotRun, fs.ErrPermission
	}
	return "", cli.WithStatus(status, fmt.Errorf("%s: %w", name, err))
}

func tryFakerootIsHere() bool {
	_, err := program.Look("fakeroot")
	return err == nil
}

func tryFakerootIsSelf(path string) bool {
	self, err := os.Executable()
	if err != nil {
		return false
	}
	a, err1 := os.Stat(self)
	b, err2 := os.Stat(path)
	return err1 == nil && err2 == nil && os.SameFile(a, b)
}

// tryFakerootIsStatic reports whether the program, or the interpreter of a script, loads no libraries.
func tryFakerootIsStatic(path string) bool {
	for range 5 { // interpreters that are scripts themselves, as the kernel allows
		f, err := os.Open(path)
		if err != nil {
			return false
		}
		var magic [2]byte
		f.ReadAt(magic[:], 0)
		path, err = program.Interpreter(f)
		f.Close()
		if err != nil || string(magic[:]) != "#!" {
			return err == nil && path == ""
		}
	}
	return false
}
