package program

import "os"

// A lack is what a program needs to start and does not find. It is an ErrMissing.
type lack struct {
	what, path string // "loader" and its path, for example
	why        error
}

func (l lack) Error() string {
	if l.why == ErrMissing {
		return "its " + l.what + " " + l.path + " is missing"
	}
	return "its " + l.what + " " + l.path + ": " + l.why.Error()
}

func (l lack) Unwrap() error { return l.why }

// A tree is where a program and what it needs are looked for: this machine, or a directory that is to be the root.
type tree interface {
	open(path string) (*os.File, error) // for reading
	runnable(path string) error         // why execve(2) refuses the file, whatever is in it
	exists(path string) error
	look(name string) (string, error) // in PATH
	shells() bool                     // whether a shell takes over what the kernel does not know
}

// here is this machine.
type here struct{}

func (here) open(path string) (*os.File, error) { return os.Open(path) }
func (here) runnable(path string) error         { return runnable(path) }
func (here) look(name string) (string, error)   { return Look(name) }
func (here) shells() bool                       { return true }

func (here) exists(path string) error {
	if !exists(path) {
		return ErrMissing
	}
	return nil
}
