package program

import (
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Helper is a program that works for this process, and dies with it.
type Helper struct {
	Cmd   *exec.Cmd
	Ended chan struct{} // closed when it has ended; how is in Cmd.ProcessState
}

// Start starts a helper as the leader of a process group. A thread is kept for as long as it runs, because what Pdeathsig asks for
// comes when the thread that forked ends (PR_SET_PDEATHSIG in prctl(2)).
func Start(cmd *exec.Cmd) (*Helper, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	h := &Helper{Cmd: cmd, Ended: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			cmd.Wait()
			close(h.Ended)
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return h, nil
}

// Kill ends the helper and what it started, if it has not ended.
func (h *Helper) Kill() {
	select {
	case <-h.Ended: // the number may be another's
	default:
		unix.Kill(-h.Cmd.Process.Pid, unix.SIGKILL)
	}
}
