//go:build darwin || freebsd

package output

import "golang.org/x/sys/unix"

const getTermios = unix.TIOCGETA
