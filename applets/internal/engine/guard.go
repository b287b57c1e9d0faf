package engine

import (
	"io"
	"os/exec"
	"syscall"
)

// guard makes a shell wait for the end of ctbox, to remove the container (with keep, to kill it) when ctbox could not:
// after SIGKILL, for instance when memory ran out. The shell tells that by its input, which ends without a word. It
// asks twice, since a client may still be creating the container. Without a shell there is no guard.
func (e *Engine) guard(name string, keep bool) (release func()) {
	remove := []string{"rm", "--force", name}
	if keep {
		remove = []string{"kill", name}
	}
	cmd := exec.Command("sh", append([]string{"-c", `read -r word || { "$@"; sleep 2; "$@"; }`, "sh", e.path}, remove...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := cmd.StdinPipe()
	if err != nil || cmd.Start() != nil {
		return func() {}
	}
	return func() {
		io.WriteString(in, "done\n")
		in.Close()
		cmd.Wait()
	}
}
