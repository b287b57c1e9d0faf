package tests

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// probeTree is a tree with the program of testdata/probe.
func (b *localBench) probeTree() string { return b.tree("probe", probe(b.t)) }

// TestRunlocalOutput: standard output is /init's, byte for byte, however much it is.
func TestRunlocalOutput(t *testing.T) {
	mib := 1024
	if testing.Short() {
		mib = 64
	}
	b := ordinaryBench(t)
	cmd := b.runlocal(b.probeTree(), "/init", "random", strconv.Itoa(mib))
	got := sha256.New()
	cmd.Stdout = got
	start := time.Now()
	if err := cmd.Run(); err != nil {
		t.Errorf("%v", err)
	}
	t.Logf("%.0f MiB/s", float64(mib)/time.Since(start).Seconds())
	want := sha256.New()
	sumRandom(want, mib)
	if string(got.Sum(nil)) != string(want.Sum(nil)) {
		t.Errorf("%x, want %x", got.Sum(nil), want.Sum(nil))
	}
	b.expect(string(allBytes(64)), "", 0, b.path("probe"), "/init", "bytes", "64")
	b.expect("hello\n", "log\n", 0, b.path("probe"))
}

// sumRandom hashes what "probe random N" writes.
func sumRandom(h hash.Hash, mib int) {
	block := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{}).Read(block)
	for i := range mib {
		block[0], block[1] = byte(i), byte(i>>8)
		h.Write(block)
	}
}

// TestRunlocalReaderGone: a run ends when nobody reads its output, whatever the program makes of that. Process 1 does not die of SIGPIPE.
func TestRunlocalReaderGone(t *testing.T) {
	asEach(t, func(b *localBench) {
		tree := b.probeTree()
		for _, args := range [][]string{{"random", "4096"}, {"stubborn"}, {"mute"}, {"trap", "0"}} {
			cmd := b.runlocal(append([]string{tree, "/init"}, args...)...)
			out, err := cmd.StdoutPipe()
			check(b.t, err)
			check(b.t, cmd.Start())
			io.ReadFull(out, make([]byte, 3))
			start := time.Now()
			out.Close()
			cmd.Wait()
			status := shellStatus(cmd)
			own := args[0] == "random" && status == 2 // Go's for a first process that was to die of SIGPIPE
			if status != 128+int(syscall.SIGPIPE) && !own || time.Since(start) > promptly {
				b.t.Errorf("%v: status %d after %v", args, status, time.Since(start))
			}
		}
	})
}

// TestRunlocalStatuses: those of the program, and those of a shell for what was none.
func TestRunlocalStatuses(t *testing.T) {
	asEach(t, func(b *localBench) {
		tree := b.probeTree()
		b.write("probe/text", "no program\n", 0o755)
		b.write("probe/plain", "x", 0o644)
		b.write("probe/script", "#!/nosuch/sh\n", 0o755)
		b.write("file", "", 0o644)
		b.mkdir("empty")
		for _, status := range []int{0, 1, 7, 124, 125, 126, 127, 128, 137, 255} {
			b.expect("", "", status, tree, "/init", "exit", strconv.Itoa(status))
		}
		for _, test := range []struct {
			status int
			args   []string
		}{
			{127, []string{tree, "/nosuch"}}, {127, []string{tree, "nosuch"}}, {127, []string{tree, "/script"}}, {127, []string{b.path("empty")}},
			{126, []string{tree, "/plain"}}, {126, []string{tree, "/text"}}, {126, []string{tree, "/"}},
			{125, []string{b.path("nosuch")}}, {125, []string{b.path("file")}}, {125, []string{}}, {125, []string{"--nosuch", tree}},
			{125, []string{"--workdir=/nosuch", tree}}, {125, []string{"--bind=/nosuch/x:/mnt", tree}}, {125, []string{"--user=x", tree}},
		} {
			out, errs, status := outcome(b.t, b.runlocal(test.args...))
			if out != "" || !strings.HasPrefix(errs, "ctbox runlocal: ") || status != test.status {
				b.t.Errorf("%v: %q, %q, status %d, want %d", test.args, out, errs, status, test.status)
			}
		}
		// The first process of a namespace is hard to kill, even by itself; others are not.
		out, errs, status := outcome(b.t, b.runlocal(tree, "/init", "parent", "/init", "die", "15"))
		if out != "signal: terminated\n" || errs != "" || status != 0 {
			b.t.Errorf("%q, %q, %d", out, errs, status)
		}
		b.expect("", "ctbox runlocal: /init: segmentation fault\n", 128+11, tree, "/init", "crash")
	})
}

// running starts a run, waits for the first line, and a moment for ctbox to be ready for signals: the program may be quicker.
func (b *localBench) running(args ...string) (*exec.Cmd, *bufio.Reader) {
	b.t.Helper()
	cmd := b.runlocal(args...)
	pipe, err := cmd.StdoutPipe()
	check(b.t, err)
	check(b.t, cmd.Start())
	out := bufio.NewReader(pipe)
	if line, err := out.ReadString('\n'); line != "up\n" {
		b.t.Fatalf("%v: %q, %v", args, line, err)
	}
	time.Sleep(100 * time.Millisecond)
	return cmd, out
}

// TestRunlocalSignals: ctbox passes signals on, and dies of those that it would die of.
func TestRunlocalSignals(t *testing.T) {
	asEach(t, func(b *localBench) {
		tree := b.probeTree()
		for _, test := range []struct {
			program string
			signal  syscall.Signal
			out     string
			atLeast time.Duration
		}{
			{"trap 5", syscall.SIGTERM, "terminated\nend\n", 500 * time.Millisecond}, // has time to tidy up
			{"trap 5", syscall.SIGINT, "interrupt\nend\n", 500 * time.Millisecond},
			{"trap 0", syscall.SIGTERM, "terminated\n", 2 * time.Second}, // and not more
			{"trap 0", syscall.SIGHUP, "hangup\n", 2 * time.Second},
			{"trap 0", syscall.SIGKILL, "", 0},
			{"mute", syscall.SIGTERM, "", 0},
			{"mute", syscall.SIGINT, "", 0},
			{"mute", syscall.SIGQUIT, "", 0},
		} {
			b.t.Run(fmt.Sprint(test.program, " ", test.signal), func(t *testing.T) {
				t.Parallel()
				b := *b
				b.t = t
				cmd, out := b.running(append([]string{tree, "/init"}, strings.Fields(test.program)...)...)
				start := time.Now()
				check(t, cmd.Process.Signal(test.signal))
				rest, err := io.ReadAll(out)
				check(t, err)
				cmd.Wait()
				took := time.Since(start)
				ws := cmd.ProcessState.Sys().(syscall.WaitStatus)
				if string(rest) != test.out || !ws.Signaled() || ws.Signal() != test.signal || took < test.atLeast || took > test.atLeast+promptly {
					t.Errorf("%q, %v after %v; want %q after %v", rest, cmd.ProcessState, took, test.out, test.atLeast)
				}
			})
		}
	})
}

// TestRunlocalForwards: signals that do not end ctbox reach the program alone.
func TestRunlocalForwards(t *testing.T) {
	asEach(t, func(b *localBench) {
		cmd, out := b.running(b.probeTree(), "/init", "trap", "0")
		for _, test := range []struct {
			signal syscall.Signal
			name   string
		}{{unix.SIGUSR1, "user defined signal 1"}, {unix.SIGUSR2, "user defined signal 2"}, {unix.SIGWINCH, "window changed"}, {unix.SIGCONT, "continued"}} {
			check(b.t, cmd.Process.Signal(test.signal))
			if line, err := out.ReadString('\n'); line != test.name+"\n" {
				b.t.Errorf("%v: %q, %v", test.signal, line, err)
			}
		}
		cmd.Process.Kill()
		cmd.Wait()
	})
}

// TestRunlocalTimeout: a run that takes too long is told to end, and then ended.
func TestRunlocalTimeout(t *testing.T) {
	asEach(t, func(b *localBench) {
		tree := b.probeTree()
		for _, test := range []struct {
			program, out string
			atLeast      time.Duration
		}{{"mute", "up\n", 3 * time.Second}, {"trap 2", "up\nterminated\nend\n", 3 * time.Second}, {"trap 0", "up\nterminated\n", 5 * time.Second}} {
			b.t.Run(test.program, func(t *testing.T) {
				t.Parallel()
				b := *b
				b.t = t
				start := time.Now()
				out, errs, status := outcome(t, b.runlocal(append([]string{"--timeout=3", tree, "/init"}, strings.Fields(test.program)...)...))
				if took := time.Since(start); out != test.out || errs != "ctbox runlocal: timed out after 3s\n" || status != 124 || took < test.atLeast || took > test.atLeast+promptly {
					t.Errorf("%q, %q, status %d after %v", out, errs, status, took)
				}
			})
		}
		b.expect("", "", 3, "--timeout=1m", tree, "/init", "exit", "3")
	})
}

// TestRunlocalInput: standard input is passed, and what is not read of it holds nobody up.
func TestRunlocalInput(t *testing.T) {
	asEach(t, func(b *localBench) {
		tree := b.probeTree()
		text := string(allBytes(4096))
		file := b.write("in", text, 0o644)
		for _, test := range []struct{ redirect, command, out string }{
			{"<" + file, "cat", text}, {"</dev/null", "cat", ""}, {"<&-", "cat", ""}, {"<" + file, "exit 0", ""}, {"<" + b.write("empty.in", "", 0o644), "cat", ""},
			{"<&- >&-", "exit 0", ""}, {"<&- >&- 2>&-", "exit 0", ""},
		} {
			cmd := b.runlocal(append([]string{tree, "/init"}, strings.Fields(test.command)...)...)
			expect(b.t, b.command(append([]string{"sh", "-c", "exec \"$@\" " + test.redirect, "sh"}, cmd.Args[len(b.wrap):]...)...), test.out, "", 0)
		}
		cmd := b.runlocal(tree, "/init", "cat")
		cmd.Stdin = strings.NewReader(text)
		expect(b.t, cmd, text, "", 0)
		r, w, err := os.Pipe()
		check(b.t, err)
		defer w.Close()
		defer r.Close()
		cmd = b.runlocal(tree, "/init", "exit", "4")
		cmd.Stdin = r
		expect(b.t, cmd, "", "", 4)
	})
}

// TestRunlocalParentKilled: when ctbox dies, its program does, at any time and with all that it started.
func TestRunlocalParentKilled(t *testing.T) {
	asEach(t, func(b *localBench) {
		tree := b.tree("tree", probe(b.t))
		cmd := b.runlocal(tree, "/init", "sleep", "60")
		out, err := cmd.StdoutPipe()
		check(b.t, err)
		check(b.t, cmd.Start())
		io.ReadFull(out, make([]byte, 3))
		if n := len(marked(b.mark)); n != 2 {
			b.t.Errorf("%d processes are marked, not ctbox and its child", n)
		}
		cmd.Process.Kill()
		start := time.Now()
		if _, err := io.ReadAll(out); err != nil && !errors.Is(err, os.ErrClosed) || time.Since(start) > promptly {
			b.t.Errorf("end of output after %v, %v", time.Since(start), err)
		}
		cmd.Wait()
	})
}
