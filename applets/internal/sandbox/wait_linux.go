//go:build linux && (amd64 || arm64)

package sandbox

import (
	"bytes"
	"context"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/interrupt"
	"github.com/ctbox/ctbox/applets/internal/plan"
)

// grace is how long a program has to end by itself when it was told to.
const grace = 2 * time.Second

// wait ends with the program, which ends when ctx does or when its standard output is closed.
func (r *run) wait(ctx context.Context) (*End, error) {
	stopForward := r.forward()
	stopEnd := context.AfterFunc(ctx, func() { r.end(ctx) })
	stopFeed := r.feed()
	closed := r.watch()
	ws := r.child.Wait()
	stopEnd()
	stopForward()
	if r.Plan.Root == plan.ChangeRoot {
		killOrphans()
	}
	stopFeed()
	r.child.Rewind()
	switch failure := r.child.Failure(); {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case closed:
		return nil, ErrClosed
	case failure != nil:
		return nil, failure
	case ws.Signaled():
		return r.kept(&End{Signal: ws.Signal()})
	}
	return r.kept(&End{Code: ws.ExitStatus()})
}

func (r *run) kill() { r.child.Signal(unix.SIGKILL) }

// end passes on the signal that ctx ends with, and SIGTERM when time is out.
func (r *run) end(ctx context.Context) {
	told, ok := context.Cause(ctx).(interrupt.Signal)
	if !ok {
		told.Signal = unix.SIGTERM
	}
	if r.handles(told.Signal) {
		r.child.Signal(told.Signal)
		time.AfterFunc(grace, r.kill)
		return
	}
	r.kill()
}

// handles says whether the program has a handler for a signal. Without one, the first process of a PID namespace does not even
// notice (pid_namespaces(7)).
func (r *run) handles(s syscall.Signal) bool {
	status, _ := os.ReadFile("/proc/" + strconv.Itoa(r.child.PID) + "/status")
	_, caught, _ := bytes.Cut(status, []byte("\nSigCgt:\t"))
	caught, _, _ = bytes.Cut(caught, []byte("\n"))
	mask, err := strconv.ParseUint(string(caught), 16, 64)
	return err == nil && mask&(1<<(s-1)) != 0
}

// forward passes on the signals that do not end ctbox.
func (r *run) forward() (stop func()) {
	got := make(chan os.Signal, 8)
	signal.Notify(got, unix.SIGUSR1, unix.SIGUSR2, unix.SIGWINCH, unix.SIGCONT)
	go func() {
		for s := range got {
			r.child.Signal(s.(syscall.Signal))
		}
	}()
	return func() {
		signal.Stop(got)
		close(got)
	}
}

// watch waits for the end of the program, and kills it when nobody reads what it writes: process 1 does not die of SIGPIPE.
func (r *run) watch() (closed bool) {
	fds := []unix.PollFd{{Fd: int32(r.child.PIDFD), Events: unix.POLLIN}, {Fd: 1}}
	for {
		_, err := unix.Poll(fds, -1)
		switch {
		case err == unix.EINTR:
		case err != nil || fds[0].Revents != 0:
			return closed
		case fds[1].Revents != 0:
			closed, fds[1].Fd = true, -1
			r.kill()
		}
	}
}

// feed passes standard input on, and ends a run that has none because it cannot be read.
func (r *run) feed() (stop func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := r.child.Feed(); err != nil {
			r.Warn("standard input: %v", err)
			r.kill()
		}
	}()
	return func() { <-done }
}

// killOrphans ends what the program left behind where no PID namespace does that: as subreaper, this process is their parent. Which
// of its threads that is, the kernel chooses, and those that are forked meanwhile come later.
func killOrphans() {
	for {
		threads, _ := os.ReadDir("/proc/self/task")
		for _, thread := range threads {
			children, _ := os.ReadFile("/proc/self/task/" + thread.Name() + "/children")
			for pid := range bytes.FieldsSeq(children) {
				if n, err := strconv.Atoi(string(pid)); err == nil {
					unix.Kill(n, unix.SIGKILL)
				}
			}
		}
		pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		if err == syscall.ECHILD || len(threads) == 0 {
			return
		}
		if pid == 0 {
			time.Sleep(time.Millisecond)
		}
	}
}

// kept adds what the program wrote.
func (r *run) kept(end *End) (*End, error) {
	if !r.Plan.Keep {
		return end, nil
	}
	upper, userns, err := r.child.Kept()
	if err != nil {
		return nil, os.NewSyscallError("recvmsg", err)
	}
	end.Upper, end.UserNS = os.NewFile(uintptr(upper), "upper"), os.NewFile(uintptr(userns), "userns")
	return end, nil
}
