//go:build linux && (amd64 || arm64)

package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/ctbox/ctbox/applets/internal/program"
)

// A usernetProcess is a running program of a usernet. It dies with us, and slirp4netns also ends when the
// other end of a pipe is closed.
type usernetProcess struct {
	*program.Helper
	cmd  *exec.Cmd
	said usernetSaid
	hold *os.File // our end of that pipe
}

// usernetLimit is how long a program may take to set up the namespace. It takes 10 ms.
const usernetLimit = 10 * time.Second

var errUsernet = errors.New("cannot set up the network")

// usernetLaunch runs a command line and waits until the network is there.
func usernetLaunch(ctx context.Context, name string, line []string) (*usernetProcess, error) {
	ready, readyTheirs, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer ready.Close()
	defer readyTheirs.Close()
	holdTheirs, hold, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer holdTheirs.Close()
	p := &usernetProcess{hold: hold}
	p.cmd = &exec.Cmd{Path: line[0], Args: append([]string{name}, line[1:]...), Dir: "/", Stderr: &p.said, WaitDelay: time.Second}
	if name == usernetSlirp {
		p.cmd.Stdout, p.cmd.ExtraFiles = &p.said, []*os.File{readyTheirs, holdTheirs}
	} else {
		p.cmd.Stdout = readyTheirs
	}
	if p.Helper, err = program.Start(p.cmd); err != nil {
		hold.Close()
		return nil, err
	}
	readyTheirs.Close()
	sign := "1"
	if name != usernetSlirp {
		sign = strconv.Itoa(p.cmd.Process.Pid) + "\n"
	}
	if err := usernetAwait(ctx, ready, sign); err != nil {
		p.end()
		return nil, fmt.Errorf("%w%s", err, p.said.after(": "))
	}
	return p, nil
}

// usernetAwait reads the sign that a program is ready.
func usernetAwait(ctx context.Context, ready *os.File, sign string) error {
	ready.SetReadDeadline(time.Now().Add(usernetLimit))
	defer context.AfterFunc(ctx, func() { ready.SetReadDeadline(time.Now()) })()
	var got []byte
	for {
		var buf [32]byte
		n, err := ready.Read(buf[:])
		got = append(got, buf[:min(n, len(sign)+1-len(got))]...)
		switch {
		case string(got) == sign:
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			return fmt.Errorf("%w within %v", errUsernet, usernetLimit)
		case err != nil: // what else it says, it says until its end
			return errUsernet
		}
	}
}

// stop ends the program, and is an error if it had failed before.
func (p *usernetProcess) stop() error {
	var err error
	select {
	case <-p.Ended:
		if !p.cmd.ProcessState.Success() { // pasta also ends well, with the namespace
			err = fmt.Errorf("%s ended (%v)%s", p.cmd.Args[0], p.cmd.ProcessState, p.said.after(": "))
		}
	default:
	}
	p.end()
	return err
}

// end kills the program and what it started, and waits for it.
func (p *usernetProcess) end() {
	p.Kill()
	<-p.Ended
	p.hold.Close()
}

// A usernetSaid is the beginning of what a program said: enough for an error, however much it complains.
type usernetSaid struct{ text []byte }

func (s *usernetSaid) Write(p []byte) (int, error) {
	s.text = append(s.text, p[:min(len(p), 1000-len(s.text))]...)
	return len(p), nil
}

// after is what was said in one line, without what is always said, and with a separator if there is anything.
func (s *usernetSaid) after(separator string) string {
	var lines []string
	for line := range strings.Lines(string(s.text)) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.Contains(line, "tapfd=") && !strings.HasPrefix(line, "WARNING: ") && !strings.Contains(line, "syslog") {
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		return ""
	}
	return separator + strings.Join(lines, "; ")
}
