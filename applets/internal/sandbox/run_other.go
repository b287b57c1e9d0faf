//go:build !linux || !(amd64 || arm64)

package sandbox

import (
	"context"
	"errors"
)

var errNotLinux = errors.New("sandboxes are made of the namespaces of Linux on x86-64 or arm64: use rundocker or runkvm here")

// Run needs Linux.
func Run(context.Context, *Options) (*End, error) { return nil, errNotLinux }

// Plan needs Linux.
func Plan(context.Context, *Options) (string, error) { return "", errNotLinux }

// Commit needs Linux.
func (o *Options) Commit(context.Context, *End, string, string) error { return errNotLinux }
