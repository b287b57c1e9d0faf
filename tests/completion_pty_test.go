//go:build linux

package tests

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A typist types into an interactive shell on a terminal of its own.
type typist struct {
	t        *testing.T
	terminal *os.File
	result   string // where the ctbox of completionPlace writes its arguments
	all      string // keys that insert all matches
	prompts  int

	mu     sync.Mutex
	screen bytes.Buffer
}

// newTypist starts a shell, whose prompts are ready1>, ready2> and so on.
func newTypist(t *testing.T, env []string, result, all string, args ...string) *typist {
	t.Helper()
	terminal, line := openTerminal(t)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = line, line, line
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	check(t, cmd.Start())
	check(t, line.Close())
	p := &typist{t: t, terminal: terminal, result: result, all: all}
	read := make(chan struct{})
	go p.watch(read)
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		terminal.Close()
		<-read
	})
	p.waitForPrompt()
	return p
}

// openTerminal makes a pair of pseudo-terminals: ours, and the shell's.
func openTerminal(t *testing.T) (terminal, line *os.File) {
	t.Helper()
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	check(t, err)
	control, err := terminal.SyscallConn()
	check(t, err)
	number, first := 0, error(nil)
	check(t, control.Control(func(fd uintptr) {
		n, err := unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		number = n
		first = errors.Join(err, unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0),
			unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: 40, Col: 200}))
	}))
	check(t, first)
	line, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	check(t, err)
	return terminal, line
}

// watch keeps what the shell shows.
func (p *typist) watch(read chan<- struct{}) {
	defer close(read)
	buf := make([]byte, 4096)
	for {
		n, err := p.terminal.Read(buf)
		p.mu.Lock()
		p.screen.Write(buf[:n])
		p.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (p *typist) shown() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.screen.String()
}

// tail is the end of what was shown, for messages.
func (p *typist) tail() string {
	text := p.shown()
	return text[max(0, len(text)-1000):]
}

// wait waits until there is what says so. A minute and a half is for ever.
func (p *typist) wait(what string, there func() bool) {
	p.t.Helper()
	for deadline := time.Now().Add(90 * time.Second); !there(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.t.Fatalf("no %s; on the screen:\n%q", what, p.tail())
		}
	}
}

func (p *typist) waitForPrompt() {
	p.t.Helper()
	p.prompts++
	prompt := fmt.Sprintf("ready%d> ", p.prompts)
	p.wait(prompt, func() bool { return strings.Contains(p.shown(), prompt) })
}

// typed types a line and waits for the next prompt.
func (p *typist) typed(line string) {
	p.t.Helper()
	_, err := p.terminal.WriteString(line + "\r")
	check(p.t, err)
	p.waitForPrompt()
}

// args types a line, keys for completion and all, and returns with which arguments it ran what.
func (p *typist) args(line string) []string {
	p.t.Helper()
	if err := os.Remove(p.result); err != nil && !errors.Is(err, fs.ErrNotExist) {
		p.t.Fatal(err)
	}
	p.typed(line)
	text, err := os.ReadFile(p.result)
	if err != nil {
		p.t.Fatalf("%q ran nothing: %v; on the screen:\n%q", line, err, p.tail())
	}
	return strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")
}

// completionPlace makes a directory with bin, in which ctbox and links to it write to the file result what they are called with, and
// mkimage is somebody else's; home; and work. It returns its path, and the environment of a shell there.
func completionPlace(t *testing.T) (dir string, env []string) {
	t.Helper()
	dir = t.TempDir()
	for _, sub := range []string{"bin", "home", "work/tree/sub", "work/other"} {
		check(t, os.MkdirAll(filepath.Join(dir, sub), 0o777))
	}
	stub := "#!/bin/sh\nprintf '%s\\0' \"${0##*/}\" \"$@\" >" + dir + "/result\n"
	for name, text := range map[string]string{"bin/ctbox": stub, "bin/mkimage": stub, "bin/zz prog": stub, "bin/zz$(pwn)": stub, "bin/zz`pwn`": stub,
		"bin/pwn": "#!/bin/sh\n>" + dir + "/pwned\n"} {
		check(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o777))
	}
	for _, name := range []string{"mklayer", "need", "runlocal", "sha256", "try-fakeroot"} {
		check(t, os.Symlink("ctbox", filepath.Join(dir, "bin", name)))
	}
	for _, name := range []string{"work/base.list", "work/app.layer", "work/tree/init", "work/-dash"} {
		check(t, os.WriteFile(filepath.Join(dir, name), nil, 0o666))
	}
	return dir, []string{
		"PATH=" + filepath.Join(dir, "bin") + ":/usr/bin:/bin", "HOME=" + filepath.Join(dir, "home"),
		"ZDOTDIR=" + filepath.Join(dir, "home"), "TERM=dumb", "LC_ALL=C.UTF-8", "INPUTRC=/dev/null", "CTBOX_ONE=1", "CTBOX_TWO=2",
	}
}
