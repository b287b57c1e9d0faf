package engine

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// relay passes on a container's standard error, but holds it back while it reads like a word of the client or of
// the runtime itself, which share the stream. What began otherwise, is longer, or is older than a second, was the container's.
type relay struct {
	w      io.Writer
	mu     sync.Mutex
	held   []byte
	passed bool
	timer  *time.Timer
}

// ownWords begin the messages of docker; of podman; of logrus in either and in nerdctl; and of runc and crun when
// execve fails after they have let go of the engine.
var ownWords = [...]string{
	"Error response from daemon: ", "error during connect: ", "write /dev/stdout: ",
	"Error: ",
	"time=\"", "FATA[",
	"exec ", "standard_init_linux.go:", `{"msg":"exec `,
}

const longestHeld = 8 << 10

func (r *relay) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.passed {
		return r.w.Write(p)
	}
	if len(r.held) == 0 {
		r.timer = time.AfterFunc(time.Second, r.release)
	}
	r.held = append(r.held, p...)
	if !mayBeOurs(string(r.held)) {
		return len(p), r.pass()
	}
	return len(p), nil
}

func mayBeOurs(text string) bool {
	for _, words := range ownWords {
		n := min(len(text), len(words))
		if text[:n] == words[:n] {
			return len(text) <= longestHeld
		}
	}
	return false
}

// release passes on what is held, and from then on everything.
func (r *relay) release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pass()
}

func (r *relay) pass() error {
	held := r.held
	r.passed, r.held = true, nil
	if len(held) == 0 {
		return nil
	}
	_, err := r.w.Write(held)
	return err
}

// end keeps what is held until somebody has judged it: the client is gone.
func (r *relay) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.timer != nil {
		r.timer.Stop()
	}
}

// peek returns what is held.
func (r *relay) peek() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return string(r.held)
}

// take returns what is held, for a message of ours to say it instead.
func (r *relay) take() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	held := strings.TrimSpace(string(r.held))
	r.held = nil
	return held
}

// drop forgets the last line that is held if it has phrase in it: a client has the last word.
func (r *relay) drop(phrase string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	last := bytes.LastIndexByte(bytes.TrimSuffix(r.held, []byte("\n")), '\n') + 1
	if bytes.Contains(r.held[last:], []byte(phrase)) {
		r.held = r.held[:last]
	}
}

// drain copies the client's standard error to w until its end, or until nothing more comes after the client
// exited: an ssh master connection that it started keeps the pipe open.
func drain(r *os.File, w io.Writer, exited <-chan struct{}) {
	const idle = 200 * time.Millisecond
	go func() {
		<-exited
		r.SetReadDeadline(time.Now().Add(idle))
	}()
	buf := make([]byte, 32<<10)
	for quiet := false; ; {
		n, err := r.Read(buf)
		w.Write(buf[:n])
		switch late := errors.Is(err, os.ErrDeadlineExceeded); {
		case late && quiet, err != nil && !late:
			return
		case late:
			r.SetReadDeadline(time.Now().Add(idle))
			quiet = true
		default:
			quiet = false
		}
	}
}
