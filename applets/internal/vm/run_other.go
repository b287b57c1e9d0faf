//go:build !linux

package vm

import (
	"context"
	"errors"

	"github.com/ctbox/ctbox/applets/internal/wire"
)

var errLinux = errors.New("virtual machines are run on Linux only")

// Run needs Linux: the memory of guests is in files without names (memfd_create(2)), and they end with ctbox (prctl(2)).
func Run(context.Context, *Options) (*wire.End, error) { return nil, errLinux }

// CommandLine needs Linux, as Run.
func CommandLine(*Options) (string, error) { return "", errLinux }
