// Package interrupt gives a run that is to be undone, such as a container or a virtual machine, time for that when a signal
// comes. Invariant: afterwards ctbox dies of the same signal.
package interrupt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/ctbox/ctbox/applets/internal/cli"
	"github.com/ctbox/ctbox/applets/internal/output"
)

// A Signal is the error of a run that was ended by a signal to ctbox.
type Signal struct{ syscall.Signal }

func (s Signal) Error() string { return s.Signal.String() }

// Raise lets the process die of the signal, so that a shell or make sees why it ended.
func (s Signal) Raise() { output.Die(s.Signal) }

// Run calls run with a context that ends when a signal comes or, unless limit is 0, when limit has passed; run then undoes
// what it did and returns the context's cause. A time-out has exit status 124; of a signal, ctbox dies.
func Run(limit time.Duration, run func(context.Context) error) error {
	ctx, stop := watch(context.Background())
	defer stop()
	if limit > 0 {
		late := cli.WithStatus(cli.TimedOut, fmt.Errorf("timed out after %v", limit))
		var cancel func()
		ctx, cancel = context.WithTimeoutCause(ctx, limit, late)
		defer cancel()
	}
	err := run(ctx)
	var sig Signal
	if errors.As(err, &sig) {
		sig.Raise()
	}
	return err
}

// watch returns a context that SIGINT, SIGTERM, SIGHUP and SIGQUIT cancel with a Signal as the cause, so that what
// runs can be ended. A second signal ends the process at once. What was ignored stays ignored (nohup).
func watch(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	got := make(chan os.Signal, 2)
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT} {
		if !signal.Ignored(s) {
			signal.Notify(got, s)
		}
	}
	go func() {
		first := true
		for s := range got {
			sig := Signal{s.(syscall.Signal)}
			if !first {
				sig.Raise()
			}
			cancel(sig)
			first = false
		}
	}()
	return ctx, func() {
		signal.Stop(got)
		close(got)
		cancel(nil)
	}
}
