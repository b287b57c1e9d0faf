package tests

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// forever is how long a test waits for what must come.
const forever = 2 * time.Minute

// until waits for a condition.
func until(t *testing.T, what string, met func() bool, state func() string) {
	t.Helper()
	for deadline := time.Now().Add(forever); !met(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no %s:\n%s", what, state())
		}
	}
}

// A terminal is a pseudo terminal (pty(7)), and all that was ever written to it.
type terminal struct {
	t       *testing.T
	master  *os.File
	slave   *os.File
	columns int
	mu      sync.Mutex
	text    []byte
	eof     chan struct{}
}

func newTerminal(t *testing.T, columns int) *terminal {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		lacking(t, "no pseudo terminals: "+err.Error())
	}
	x := &terminal{t: t, master: os.NewFile(uintptr(fd), "ptmx"), eof: make(chan struct{})}
	t.Cleanup(func() { x.master.Close() })
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	check(t, err)
	check(t, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0))
	x.slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	check(t, err)
	t.Cleanup(func() { x.slave.Close() })
	x.resize(columns)
	go x.read()
	return x
}

func (x *terminal) read() {
	defer close(x.eof)
	buf := make([]byte, 4096)
	for {
		n, err := x.master.Read(buf)
		x.mu.Lock()
		x.text = append(x.text, buf[:n]...)
		x.mu.Unlock()
		if err != nil {
			return // EIO, when nobody has the other side open
		}
	}
}

func (x *terminal) resize(columns int) {
	x.t.Helper()
	x.columns = columns
	size := unix.Winsize{Row: 24, Col: uint16(columns)}
	check(x.t, unix.IoctlSetWinsize(int(x.master.Fd()), unix.TIOCSWINSZ, &size))
}

// raw takes the terminal out of the mode that deals in lines, as a pager does, or back.
func (x *terminal) raw(on bool) {
	x.t.Helper()
	settings, err := unix.IoctlGetTermios(int(x.slave.Fd()), unix.TCGETS)
	check(x.t, err)
	settings.Lflag |= unix.ICANON
	if on {
		settings.Lflag &^= unix.ICANON
	}
	check(x.t, unix.IoctlSetTermios(int(x.slave.Fd()), unix.TCSETS, settings))
}

func (x *terminal) seen() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return string(x.text)
}

// await waits until so many matches of pattern were written.
func (x *terminal) await(n int, pattern string) {
	x.t.Helper()
	what := regexp.MustCompile(pattern)
	until(x.t, pattern, func() bool { return len(what.FindAllString(x.seen(), n)) >= n },
		x.last)
}

// last is the end of what was written, for messages.
func (x *terminal) last() string {
	text := x.seen()
	return strconv.Quote(text[max(0, len(text)-1000):])
}

// rows are what the screen shows at the end, when all that ran there has ended.
func (x *terminal) rows() []string {
	x.t.Helper()
	x.slave.Close()
	select {
	case <-x.eof:
	case <-time.After(forever):
		x.t.Fatal("something still has the terminal open: " + x.last())
	}
	return x.render(x.seen())
}

// render is what a screen shows of text; anything that is more than ctbox's share of ECMA-48 is an error.
func (x *terminal) render(text string) []string {
	x.t.Helper()
	rows, column := [][]byte{nil}, 0
	for len(text) > 0 {
		row := &rows[len(rows)-1]
		c := text[0]
		switch {
		case strings.HasPrefix(text, "\x1b[K"):
			*row = (*row)[:min(column, len(*row))]
			text = text[2:]
		case c == '\r':
			column = 0
		case c == '\n':
			rows = append(rows, nil) // the column stays
		case c < ' ' || c > '~':
			x.t.Fatalf("what is %q to a terminal?", text[:min(10, len(text))])
		case column == x.columns:
			rows, column = append(rows, nil), 0
			continue
		default:
			*row = append(*row, bytes.Repeat([]byte(" "), max(column+1-len(*row), 0))...)
			(*row)[column] = c
			column++
		}
		text = text[1:]
	}
	var lines []string
	for _, row := range rows {
		lines = append(lines, strings.TrimRight(string(row), " "))
	}
	for len(lines) > 0 && lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}

// A job is ctbox at work, for as long as the test likes.
type job struct {
	t   *testing.T
	cmd *exec.Cmd
	in  *os.File // write to it
	out *os.File // read from it; nobody else does
}

// begin makes a command, to be started, whose standard input and output are pipes, with err as standard error. Term is
// its TERM, or "".
func begin(t *testing.T, err *os.File, term, name string, args ...string) *job {
	t.Helper()
	j := &job{t: t, cmd: exec.Command(name, args...)}
	in, w, e := os.Pipe()
	check(t, e)
	r, out, e := os.Pipe()
	check(t, e)
	j.in, j.out = w, r
	j.cmd.Stdin, j.cmd.Stdout, j.cmd.Stderr = in, out, err
	j.cmd.Env = []string{"SOURCE_DATE_EPOCH="}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "TERM=") {
			j.cmd.Env = append(j.cmd.Env, v)
		}
	}
	if term != "" {
		j.cmd.Env = append(j.cmd.Env, "TERM="+term)
	}
	return j
}

// on starts ctbox on a terminal.
func (x *terminal) on(args ...string) *job {
	x.t.Helper()
	return begin(x.t, x.slave, "xterm", box(x.t), args...).start()
}

// controlled starts a command as the leader of the terminal's session.
func (x *terminal) controlled(name string, args ...string) *job {
	x.t.Helper()
	j := begin(x.t, x.slave, "xterm", name, args...)
	j.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 2}
	return j.start()
}

func (j *job) start() *job {
	j.t.Helper()
	err := j.cmd.Start()
	j.cmd.Stdin.(*os.File).Close()
	j.cmd.Stdout.(*os.File).Close()
	check(j.t, err)
	j.t.Cleanup(func() {
		j.in.Close()
		j.out.Close()
		if j.cmd.ProcessState == nil {
			j.cmd.Process.Kill()
			j.cmd.Wait()
		}
	})
	return j
}

func (j *job) feed(text string) *job {
	j.t.Helper()
	_, err := io.WriteString(j.in, text)
	check(j.t, err)
	return j
}

// finish ends standard input, and returns standard output and how the command ended.
func (j *job) finish() (string, syscall.WaitStatus) {
	j.t.Helper()
	j.in.Close()
	j.out.SetReadDeadline(time.Now().Add(forever))
	text, err := io.ReadAll(j.out)
	check(j.t, err)
	return string(text), j.wait()
}

func (j *job) wait() syscall.WaitStatus {
	j.t.Helper()
	defer time.AfterFunc(forever, func() { j.cmd.Process.Kill() }).Stop()
	j.cmd.Wait()
	return j.cmd.ProcessState.Sys().(syscall.WaitStatus)
}
