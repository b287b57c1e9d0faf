package interrupt

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestRun(t *testing.T) {
	mine := errors.New("mine")
	if err := Run(0, func(context.Context) error { return mine }); err != mine {
		t.Errorf("%v", err)
	}
	if err := Run(time.Hour, func(ctx context.Context) error { return ctx.Err() }); err != nil {
		t.Errorf("%v", err)
	}
	start := time.Now()
	err := Run(10*time.Millisecond, func(ctx context.Context) error {
		<-ctx.Done()
		return context.Cause(ctx)
	})
	if err == nil || err.Error() != "timed out after 10ms" || time.Since(start) > time.Minute {
		t.Errorf("%v after %v", err, time.Since(start))
	}
}

// What ends well in spite of a signal has ended well.
func TestSignalTooLate(t *testing.T) {
	if signal.Ignored(syscall.SIGTERM) {
		t.Skip("SIGTERM is ignored")
	}
	err := Run(time.Minute, func(ctx context.Context) error {
		syscall.Kill(os.Getpid(), syscall.SIGTERM)
		<-ctx.Done()
		if cause := context.Cause(ctx); cause != (Signal{syscall.SIGTERM}) || cause.Error() != "terminated" {
			t.Error(cause)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestSignals runs this test again as a program that is sent a signal: it has time to undo what it did, and dies of the signal;
// what is ignored does nothing.
func TestSignals(t *testing.T) {
	if os.Getenv("INTERRUPT_TEST") == "ignored" {
		signal.Ignore(syscall.SIGTERM)
	}
	if os.Getenv("INTERRUPT_TEST") != "" {
		Run(time.Second, func(ctx context.Context) error {
			os.Stdout.WriteString("up\n")
			syscall.Kill(os.Getpid(), syscall.SIGTERM)
			<-ctx.Done()
			os.Stdout.WriteString(context.Cause(ctx).Error() + ", undone\n")
			return context.Cause(ctx)
		})
		os.Exit(9)
	}
	for mode, want := range map[string]string{"default": "up\nterminated, undone\n", "ignored": "up\ntimed out after 1s, undone\n"} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestSignals$")
		cmd.Env = append(os.Environ(), "INTERRUPT_TEST="+mode)
		out, err := cmd.Output()
		ws, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
		if string(out) != want || mode == "default" && ws.Signal() != syscall.SIGTERM || mode == "ignored" && ws.ExitStatus() != 9 {
			t.Errorf("%s: %q, %v", mode, strings.TrimSpace(string(out)), err)
		}
	}
}
