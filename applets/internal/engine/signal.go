package engine

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/ctbox/ctbox/applets/internal/output"
)

// A Signal is the error of a run that was ended by a signal to ctbox.
type Signal struct{ syscall.Signal }

func (s Signal) Error() string { return s.Signal.String() }

// Raise lets the process die of the signal, so that a shell or make sees why it ended.
func (s Signal) Raise() { output.Die(s.Signal) }

// Signals returns a context that SIGINT, SIGTERM, SIGHUP and SIGQUIT cancel with a Signal as the cause, so that the
// container can be removed. A second signal ends the process at once. What was ignored stays ignored (nohup).
func Signals(ctx context.Context) (context.Context, func()) {
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
