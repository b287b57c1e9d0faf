package engine

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ctbox/ctbox/applets/internal/interrupt"
	"golang.org/x/sys/unix"
)

// A Container says what to run, and where its streams go.
type Container struct {
	Image   string   // ID that Load returned
	Args    []string // command and arguments; none: those of the image
	Env     []string // VAR=VALUE, or VAR for ctbox's own value
	Network string   // as the engine's --network
	Stdin   io.Reader
	Stdout  io.Writer // an *os.File is handed to the engine's client: no byte passes through ctbox
	Stderr  io.Writer
	Keep    bool // leave the stopped container
}

// Result says how a container ended.
type Result struct {
	Name        string // of the container; "" if there was none
	Status      int    // exit status; 128+N when signal N ended it
	OutOfMemory bool
}

// Run creates, attaches to, starts and removes a container. It returns when the output was read to its end.
// When ctx ends first, the container is killed and the error is ctx's cause; an interrupt.Signal is passed to the
// container before that. An error that says the command could not be started has status 126 or 127.
func (e *Engine) Run(ctx context.Context, c Container) (r Result, err error) {
	name := "ctbox-" + strings.ToLower(rand.Text()[:16])
	release := e.guard(name, c.Keep)
	defer func() {
		if !c.Keep {
			err = errors.Join(err, e.remove(name))
		}
		release()
	}()
	if err := e.create(ctx, name, c); err != nil {
		return r, err
	}
	r.Name = name
	words, err := e.attach(ctx, name, c)
	defer words.release() // what was not taken for the client's is the container's
	var cut *interrupted
	if errors.As(err, &cut) {
		return r, cut.cause
	}
	if err != nil && nobodyReads(c.Stdout) {
		words.drop("broken pipe")
		r.Status = 128 + int(syscall.SIGPIPE)
		return r, nil
	}
	state, inspectErr := e.inspect(name)
	if inspectErr != nil {
		return r, inspectErr
	}
	r.OutOfMemory = state.OOMKilled
	r.Status, err = e.outcome(state, words, err)
	return r, err
}

// create makes the container. It is not cut short by ctx, since the engine would go on and nobody would
// know of the container.
func (e *Engine) create(ctx context.Context, name string, c Container) error {
	args := []string{"create", "--name", name, "--label", "ctbox=1", "--pull", "never",
		"--network", c.Network,
		"--log-driver", "none", // with a log, docker takes 5 times as long for 200 MB of output
	}
	if c.Stdin != nil {
		args = append(args, "--interactive")
	}
	for _, v := range c.Env {
		args = append(args, "--env", v)
	}
	args = append(args, c.Image)
	longer, cancel := linger(ctx, e.answer)
	defer cancel()
	_, err := e.ask(longer, e.work, append(args, c.Args...)...)
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return err
}

// attach starts the container with its streams attached and waits for the client to end. What the client may
// have said for itself, rather than the container, it holds back in words.
func (e *Engine) attach(ctx context.Context, name string, c Container) (words *relay, err error) {
	words = &relay{w: c.Stderr}
	r, w, err := os.Pipe()
	if err != nil {
		return words, err
	}
	defer r.Close()
	cmd, err := e.client(name, c, w)
	w.Close()
	if err != nil {
		return words, err
	}
	exited, drained := make(chan struct{}), make(chan struct{})
	go func() { drain(r, words, exited); close(drained) }()
	go func() { err = cmd.Wait(); close(exited) }()
	select {
	case <-exited:
	case <-ctx.Done():
		e.stop(name, cmd, context.Cause(ctx), exited)
		<-exited
		err = &interrupted{context.Cause(ctx)}
	}
	<-drained
	words.end()
	return words, err
}

// interrupted is the error of a container that did not come to its own end.
type interrupted struct{ cause error }

func (i *interrupted) Error() string { return i.cause.Error() }

// client starts "start --attach", which attaches before it starts. Standard input is copied, since a process group in
// the background may not read the terminal itself.
func (e *Engine) client(name string, c Container, stderr *os.File) (*exec.Cmd, error) {
	args := []string{"start", "--attach"}
	if c.Stdin != nil {
		args = append(args, "--interactive")
	}
	cmd := e.command(context.Background(), append(args, name)...)
	cmd.WaitDelay = 0 // a slow reader of the output may take as long as it likes
	cmd.Stdout, cmd.Stderr = c.Stdout, stderr
	if c.Stdin != nil {
		in, err := cmd.StdinPipe()
		if err != nil {
			return nil, err
		}
		go func() { io.Copy(in, c.Stdin); in.Close() }()
	}
	if err := cmd.Start(); err != nil {
		return nil, notRun(e.path, err)
	}
	return cmd, nil
}

// stop ends the container: by the signal that ctbox got, then, when that was not heeded in time, by SIGKILL.
func (e *Engine) stop(name string, cmd *exec.Cmd, cause error, exited <-chan struct{}) {
	var sig interrupt.Signal
	if errors.As(cause, &sig) {
		e.ask(context.Background(), e.answer, "kill", "--signal", strconv.Itoa(int(sig.Signal)), name)
		if ended(exited, e.grace) {
			return
		}
	}
	for range 20 { // it may be about to start
		e.ask(context.Background(), e.answer, "kill", name)
		if ended(exited, 250*time.Millisecond) {
			return
		}
	}
	cmd.Cancel()
}

func ended(exited <-chan struct{}, limit time.Duration) bool {
	select {
	case <-exited:
		return true
	case <-time.After(limit):
		return false
	}
}

// remove removes the container if there is one, dead or alive.
func (e *Engine) remove(name string) error {
	_, err := e.ask(context.Background(), e.work, "rm", "--force", name)
	if err != nil && strings.Contains(strings.ToLower(err.Error()), "no such container") {
		return nil
	}
	if err != nil {
		err = fmt.Errorf("container %s may be left: %w", name, err)
	}
	return err
}

// nobodyReads reports whether w is a pipe or socket without a reader. Clients differ in how they say that.
func nobodyReads(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	fds := []unix.PollFd{{Fd: int32(f.Fd())}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n > 0 && fds[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0
}

// state is the engine's record of a container, as docker's API has it (ContainerState).
type state struct {
	Status    string
	Running   bool
	OOMKilled bool
	ExitCode  int
	Error     string // why it could not be started; docker only
	StartedAt string // RFC 3339; year 1 or absent: never
}

func (s state) started() bool {
	if s.StartedAt == "" {
		return s.Status != "created" && s.Status != "" // {} is no record
	}
	return !strings.HasPrefix(s.StartedAt, "0001-01-01")
}

// inspect reads the record. The output's end and the record of it are not quite simultaneous in every engine.
func (e *Engine) inspect(name string) (s state, err error) {
	for range 20 {
		var out string
		out, err = e.ask(context.Background(), e.answer, "inspect", "--type", "container", "--format", "{{json .State}}", name)
		if err == nil {
			err = json.Unmarshal([]byte(out), &s)
		}
		if err != nil {
			return s, fmt.Errorf("container %s: %w", name, err)
		}
		if !s.Running {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	return s, nil
}

// outcome turns the record into an exit status, or into an error if the command was never run or its output
// not handed on. A client that did its work exits with the command's own status.
func (e *Engine) outcome(s state, words *relay, client error) (int, error) {
	if !s.started() {
		said := words.take()
		return 0, e.refused(cmp.Or(s.Error, said))
	}
	if err := execFailed(s.ExitCode, words); err != nil {
		return 0, err
	}
	var exit *exec.ExitError
	if client != nil && (s.Running || !errors.As(client, &exit) || exit.ExitCode() != s.ExitCode) {
		text := firstLine(words.take())
		if text == "" {
			text = client.Error()
		}
		return 0, fmt.Errorf("%s: the output is not complete: %s", e.Name(), text)
	}
	if s.Running || s.ExitCode&^0xff != 0 { // 256 would be our own 0
		return 0, fmt.Errorf("%s: no end on record: status %q, exit status %d", e.Name(), s.Status, s.ExitCode)
	}
	return s.ExitCode, nil
}
