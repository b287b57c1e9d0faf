// Package engine loads and runs images through a container engine's own command: docker, podman or nerdctl.
// Contexts, DOCKER_HOST, ssh, TLS and rootless engines come with that command and its environment.
//
// Invariant: when a call returns, however it ends, no container that it made is left unless that was asked
// for; and what it says of a container is what the engine has on record, never the client's exit status.
package engine

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/ctbox/ctbox/applets/internal/cli"
)

// An Engine is the command of a container engine. Commands are the words that docker, podman and nerdctl share.
type Engine struct {
	path   string
	answer time.Duration // limit for a question: inspect, version
	work   time.Duration // limit for create and rm, which copy a tree in podman's vfs store
	grace  time.Duration // what a container has to end after a signal was passed to it
}

// names are the engines to look for, best known first.
var names = []string{"docker", "podman", "nerdctl"}

// Find looks for the engine called name, a command or a path; for "" it takes the first of docker, podman
// and nerdctl that is in PATH.
func Find(name string) (*Engine, error) {
	const cure = "install docker.io or podman, or name an engine with --engine=PATH"
	candidates := names
	if name != "" {
		candidates = []string{name}
	}
	var lookErr *exec.Error
	for _, c := range candidates {
		path, err := exec.LookPath(c)
		if err == nil {
			return &Engine{path: path, answer: 10 * time.Second, work: 2 * time.Minute, grace: time.Second}, nil
		}
		errors.As(err, &lookErr)
	}
	if name != "" {
		return nil, cli.Hint(notRun(name, lookErr.Err), cure)
	}
	return nil, cli.Hint(errors.New("no container engine in PATH: docker, podman or nerdctl"), cure)
}

// Name is the engine's command without its directory.
func (e *Engine) Name() string { return filepath.Base(e.path) }

// Lossy asks docker, and no other engine, whether it is of a version that is known to lose output, while other
// questions are asked. The channel gives a warning if it is, and is then closed. Containerd under 24.0 closes a
// container's output before all of it was read (moby issue 45689). The clients that truncate, docker 28.0.0 to 28.0.2,
// do so in "docker run" only, when the exit status overtakes the output (docker/cli pull request 5957); "start -a" waits
// for the output.
func (e *Engine) Lossy(ctx context.Context) <-chan string {
	warning := make(chan string, 1)
	go func() {
		defer close(warning)
		if e.Name() == "podman" || e.Name() == "nerdctl" {
			return
		}
		server, err := e.ask(ctx, e.answer, "version", "--format", "{{.Server.Version}}")
		if err == nil && strings.HasPrefix(server, "24.0.") {
			warning <- "docker " + strings.TrimSpace(server) + " may lose output that is read slowly: upgrade it"
		}
	}()
	return warning
}

// silence is the error of an engine that hangs.
type silence string

func (s silence) Error() string { return string(s) }

// errLate is the cause of a question's end when its limit has passed.
var errLate = errors.New("no answer")

// ask runs one short command and returns its standard output, also when it fails: an inspect of several
// names prints what it found. The error holds the engine's own words.
func (e *Engine) ask(ctx context.Context, limit time.Duration, args ...string) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errLate)
	defer cancel()
	cmd := e.command(ctx, args...)
	var out, errs clipped
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	switch {
	case err == nil:
		return out.String(), nil
	case errors.Is(context.Cause(ctx), errLate):
		return "", cli.Hint(silence(fmt.Sprintf("%s: no answer to %q within %v", e.Name(), args[0], limit)),
			"the engine hangs: restart it, or check DOCKER_HOST")
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	}
	return out.String(), e.explain(errs.String(), err)
}

// command prepares one of the engine's commands in a process group of its own: a ^C on the terminal is
// then ours alone to act on, and the whole group can be ended.
func (e *Engine) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, e.path, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second // for what a killed client's children still hold open
	return cmd
}

// linger returns a context that ends d after ctx does: to let a step finish that must not be cut short.
func linger(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-time.After(d):
			cancel(context.Cause(ctx))
		case <-longer.Done():
		}
	})
	return longer, func() {
		stop()
		cancel(nil)
	}
}

// clipped keeps the first of what is written to it: answers of an engine are not data.
type clipped struct{ b strings.Builder }

const clip = 4 << 20

func (c *clipped) Write(p []byte) (int, error) {
	c.b.Write(p[:min(len(p), clip-c.b.Len())])
	return len(p), nil
}

func (c *clipped) String() string { return c.b.String() }
