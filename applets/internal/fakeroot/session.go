package fakeroot

import "errors"

// A Session runs a command under fakeroot(1) and keeps what fakeroot pretends in a file.
type Session struct {
	State string   // absolute path of the save file: read if it is there, written when the command has ended, whatever its status
	Path  string   // program to run
	Args  []string // its arguments
}

// ErrNoFakeroot is the error of a session that did not begin, because there is no fakeroot here or it does not work.
var ErrNoFakeroot = errors.New("no fakeroot")
