package tests

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A batch of names is what fileids waits for before it begins.
const batch = 64

// names makes so many files in a directory, and names them.
func names(b *bench, dir string, count int) (text string) {
	b.t.Helper()
	check(b.t, os.Mkdir(b.path(dir), 0o777))
	for i := range count {
		name := fmt.Sprintf("f%04d", i)
		b.write(filepath.Join(dir, name), name)
		text += "./" + name + "\n"
	}
	return text
}

func hexDigest(text string) string { return fmt.Sprintf("%x\n", sha256.Sum256([]byte(text))) }

func expectRows(t *testing.T, x *terminal, want ...string) {
	t.Helper()
	if got := x.rows(); !slices.Equal(got, want) {
		t.Errorf("the screen shows %q, want %q\nafter %s", got, want, x.last())
	}
}

// Each applet shows its line, while somebody keeps it from its end; then the line is gone, and what it wrote is
// what it writes without.
func TestProgressIsShown(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	check(t, os.Mkdir(b.path("tree"), 0o777))
	b.write("tree/large", strings.Repeat("large\n", 1<<19))
	b.write("tree.list", b.ctbox("fileids", "--owner=0:0", "tree"))
	b.ctbox("mklayer", "-C", "tree", "-o", "tree.layer", "tree.list")
	b.write("layers", "tree\n")
	for _, c := range []struct {
		in, line string
		args     []string
	}{
		{"", `\d+\.\d MiB of 6\.0 MiB, \d+%, \S+ .?i?B/s`, []string{"mkimage", "layers"}},
		{"", `\d+ B, \d+% of the list, 0 B/s`, []string{"mklayer", "-C", "tree", "tree.list"}},
		{"", `\d+ B, \d+% of the list, 0 B/s`, []string{"mkinitrd", "-C", "tree", "tree.list"}},
		{names(b, "files", 2*batch), `\d+ files, \d+ B, \d+ B/s`, []string{"fileids", "-C", "files"}},
		{"text", `4 B, \d B/s`, []string{"sha256"}},
	} {
		t.Run(c.args[0], func(t *testing.T) {
			t.Parallel()
			x := newTerminal(t, 80)
			j := begin(t, x.slave, "xterm", box(t), c.args...)
			j.cmd.Dir = b.dir
			j.start().feed(c.in)
			x.await(2, `\rctbox `+c.args[0]+`: `+c.line+`\x1b\[K\r`)
			got, status := j.finish()
			want := exec.Command(program(t), append(c.args, "--progress=never")...)
			want.Dir, want.Env, want.Stdin = b.dir, j.cmd.Env, strings.NewReader(c.in)
			if text, err := want.Output(); err != nil || status != 0 || got != string(text) {
				t.Errorf("status %v, %d bytes; without progress %v, %d bytes", status, len(got), err, len(text))
			}
			expectRows(t, x)
		})
	}
}

// Standard error that is no terminal gets lines only if that is asked for, whatever standard output is; and the last one
// says that all was done.
func TestProgressInPipe(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	check(t, os.Mkdir(b.path("tree"), 0o777))
	b.write("tree/file", strings.Repeat("file\n", 1<<19))
	b.write("tree.list", b.ctbox("fileids", "--owner=0:0", "tree"))
	b.ctbox("mklayer", "-C", "tree", "-o", "one.layer", "tree.list")
	b.ctbox("mklayer", "-C", "tree", "-z", "gzip", "--root-entry", "-o", "two.layer", "tree.list")
	b.write("other.list", b.ctbox("fileids", "--owner=1:1", "tree"))
	b.ctbox("mklayer", "-C", "tree", "-o", "three.layer", "other.list") // of the size of one, so both are read before
	b.write("layers", "one\ntwo\nthree\n")
	const all = `(\S+ .?i?B) of (\S+ .?i?B), 100%`
	for _, c := range []struct {
		args []string
		line string
	}{
		{[]string{"sha256", "tree/file"}, `2\.5 MiB of 2\.5 MiB, 100%`},
		{[]string{"sha256", "tree/file", "one.layer"}, `5\.0 MiB of 5\.0 MiB, 100%`},
		{[]string{"sha256", "tree/file", os.DevNull}, `2\.5 MiB`},
		{[]string{"sha256", "nosuch"}, `0 B`},
		{[]string{"fileids", "tree"}, `2 files, 2\.5 MiB`},
		{[]string{"mklayer", "-C", "tree", "tree.list"}, `2\.5 MiB, 100% of the list`},
		{[]string{"mklayer", "-C", "tree", "-z", "zstd", "-o", "zstd.layer", "tree.list"}, `\S+ .?i?B, 100% of the list`},
		{[]string{"mkinitrd", "-C", "tree", "tree.list"}, `2\.5 MiB, 100% of the list`},
		{[]string{"mkimage", "layers"}, all},
		{[]string{"mkimage", "-o", "none.image", "layers"}, all},
		{[]string{"mkimage", "-z", "gzip", "-o", "gzip.image", "layers"}, all},
		{[]string{"mkimage", "-q", "-z", "zstd", "layers"}, all},
		{[]string{"mkimage", "--format=oci-dir", "-o", "image", "layers"}, all},
	} {
		for _, when := range []string{"auto", "always", "never"} {
			cmd := exec.Command(program(t), append(c.args, "--progress="+when)...)
			cmd.Args[0] = "ctbox"
			cmd.Dir = b.dir
			var stderr strings.Builder
			cmd.Stderr = &stderr
			cmd.Run()
			text := strings.ReplaceAll(stderr.String(), "ctbox sha256: nosuch: no such file or directory\n", "")
			if when != "always" && text != "" || when == "always" &&
				!regexp.MustCompile(`(^|\n)ctbox `+c.args[0]+`: `+c.line+`, \S+ .?i?B/s\n$`).MatchString(text) {
				t.Errorf("%q: %q", cmd.Args, text)
			}
		}
	}
}

// A witness is a ctbox that began after others did the same, and shows its line: what they would show is there by now.
func witness(t *testing.T) {
	t.Helper()
	x := newTerminal(t, 80)
	j := x.on("sha256").feed("witness")
	x.await(15, `\rctbox sha256: `)
	j.finish()
}

func TestProgressOnlyOnCapableTerminals(t *testing.T) {
	t.Parallel()
	type quiet struct {
		x *terminal
		j *job
	}
	var all []quiet
	for _, c := range []struct{ term, when string }{{"", "auto"}, {"dumb", "auto"}, {"xterm", "never"}} {
		x := newTerminal(t, 80)
		all = append(all, quiet{x, begin(t, x.slave, c.term, box(t), "sha256", "--progress="+c.when).start().feed("quiet")})
	}
	r, w, err := os.Pipe() // is no terminal at all
	check(t, err)
	defer r.Close()
	piped := begin(t, w, "xterm", box(t), "sha256").start().feed("quiet")
	w.Close()
	witness(t)
	for _, q := range all {
		if got, status := q.j.finish(); got != hexDigest("quiet") || status != 0 {
			t.Error(got, status)
		}
		if expectRows(t, q.x); q.x.seen() != "" {
			t.Error(q.x.last())
		}
	}
	if got, status := piped.finish(); got != hexDigest("quiet") || status != 0 {
		t.Error(got, status)
	}
	if n, err := r.Read(make([]byte, 1)); n > 0 {
		t.Error("something in the pipe", err)
	}
}

// Where a line cannot be erased, "always" means lines that stay.
func TestProgressAlwaysOnDumbTerminal(t *testing.T) {
	t.Parallel()
	x := newTerminal(t, 80)
	j := begin(t, x.slave, "dumb", box(t), "sha256", "--progress=always").start().feed("text")
	x.await(2, `(?m)^ctbox sha256: 4 B, \d B/s\r$`) // CR is the terminal's own, with each newline
	if got, status := j.finish(); got != hexDigest("text") || status != 0 {
		t.Error(got, status)
	}
}

// erased is what comes before a text that takes the place of a line: without it, only a longer one would.
const erased = "\r\x1b[K"

// The result may go to the same terminal, and messages do: each has a row, with nothing of the line in it.
func TestProgressMakesRoom(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	all := names(b, "tree", 2*batch)
	x := newTerminal(t, 200)
	j := begin(t, x.slave, "xterm", box(t), "fileids", "-C", b.path("tree"), "--owner=0:0")
	j.cmd.Stdout.(*os.File).Close()
	out, err := unix.FcntlInt(x.slave.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	check(t, err)
	j.cmd.Stdout = os.NewFile(uintptr(out), "terminal")
	first, second := all[:len(all)/2], all[len(all)/2:]
	j.start().feed(first)
	x.await(2, `\rctbox fileids: 64 files`)
	shown := len(x.seen())
	j.feed("./f0063x\n" + second)
	x.await(1, `nosuch|no such file`)
	until(t, "line after the message", func() bool {
		_, after, found := strings.Cut(x.seen()[shown:], "no such file")
		return found && strings.Contains(after, "\rctbox fileids: ")
	}, x.last)
	j.in.Close()
	if status := j.wait(); status.ExitStatus() != 1 {
		t.Error(status)
	}
	rows := x.rows()
	if !strings.Contains(x.seen(), erased+"ctbox fileids: ./f0063x") {
		t.Errorf("not erased: %s", x.last())
	}
	message := slices.Index(rows, "ctbox fileids: ./f0063x: no such file or directory")
	if message < 0 {
		t.Fatalf("%q", rows)
	}
	rows = slices.Delete(rows, message, message+1)
	cmd := exec.Command(program(t), "fileids", "-C", b.path("tree"), "--owner=0:0")
	cmd.Stdin = strings.NewReader(all)
	list, err := cmd.Output()
	if err != nil || strings.Join(rows, "\n")+"\n" != string(list) {
		t.Errorf("%v, on the screen:\n%s", err, strings.Join(rows, "\n"))
	}
}

// A digest may come to the terminal while a line is there.
func TestProgressBeforeResult(t *testing.T) {
	t.Parallel()
	x := newTerminal(t, 80)
	j := begin(t, x.slave, "xterm", "sh", "-c", `exec "$0" sha256 >&2`, box(t)).start().feed("text")
	x.await(2, `\rctbox sha256: 4 B`)
	if got, status := j.finish(); got != "" || status != 0 {
		t.Error(got, status)
	}
	digest := strings.TrimSpace(hexDigest("text"))
	expectRows(t, x, digest)
	if !strings.Contains(x.seen(), erased+digest) {
		t.Errorf("not erased: %s", x.last())
	}
}

// Where the cursor is behind a text that has no end yet, a line would overwrite it.
func TestProgressBesideUnendedLine(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	all := strings.ReplaceAll(names(b, "tree", batch), "\n", "\x00")
	x := newTerminal(t, 80)
	j := begin(t, x.slave, "xterm", "sh", "-c", `exec "$0" fileids -0 -C "$1" >&2`, box(t), b.path("tree")).start().feed(all)
	last := fmt.Sprintf("%x\x00", sha256.Sum256([]byte("f0063")))
	x.await(1, last)
	witness(t)
	if !strings.HasSuffix(x.seen(), last) {
		t.Error(x.last())
	}
	if _, status := j.finish(); status != 0 {
		t.Error(status)
	}
}

// The line never wraps, also when the window becomes narrower, and fits again when it becomes wider.
func TestProgressInNarrowWindow(t *testing.T) {
	t.Parallel()
	x := newTerminal(t, 13)
	j := x.on("sha256").feed("text")
	x.await(2, `\rctbox sha256\x1b\[K\r`)
	x.resize(60)
	x.await(2, `\rctbox sha256: 4 B, \d B/s\x1b\[K\r`)
	x.resize(20)
	x.await(2, `\rctbox sha256: 4 B, \x1b\[K\r`)
	x.resize(1)
	x.await(2, `\r\x1b\[K\r`)
	j.finish()
	x.columns = 60 // for this the text was never longer
	expectRows(t, x)
}

// Of a window without a size, most programs think that it has 80 columns.
func TestProgressInWindowWithoutSize(t *testing.T) {
	t.Parallel()
	x := newTerminal(t, 0)
	j := x.on("sha256").feed("text")
	x.await(2, `\rctbox sha256: 4 B, \d B/s\x1b\[K\r`)
	j.finish()
	x.columns = 80
	expectRows(t, x)
}

// A signal leaves neither a line nor a temporary file, and is what ctbox dies of.
func TestProgressAndSignals(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*terminal, *job){
		"INT":     func(_ *terminal, j *job) { j.cmd.Process.Signal(unix.SIGINT) },
		"TERM":    func(_ *terminal, j *job) { j.cmd.Process.Signal(unix.SIGTERM) },
		"HUP":     func(_ *terminal, j *job) { j.cmd.Process.Signal(unix.SIGHUP) },
		"^C":      func(x *terminal, _ *job) { x.master.WriteString("\x03") },
		"stopped": func(x *terminal, j *job) { stop(t, x); j.cmd.Process.Signal(unix.SIGTERM) },
	} {
		for _, file := range []string{"", "file"} {
			t.Run(name+file, func(t *testing.T) {
				t.Parallel()
				x, dir := newTerminal(t, 80), t.TempDir()
				args := []string{"sha256"}
				if file != "" {
					args = append(args, "-o", filepath.Join(dir, file))
				}
				j := x.controlled(box(t), args...).feed("text")
				x.await(2, `\rctbox sha256: 4 B`)
				end(x, j)
				status := j.wait()
				want := map[string]syscall.Signal{"INT": unix.SIGINT, "^C": unix.SIGINT, "HUP": unix.SIGHUP}[name]
				if want == 0 {
					want = unix.SIGTERM
				}
				if !status.Signaled() || status.Signal() != want {
					t.Errorf("status %v", status)
				}
				if left, _ := os.ReadDir(dir); len(left) > 0 {
					t.Errorf("left behind: %v", left)
				}
				if rows := x.rows(); name != "stopped" && len(rows) > 0 && !slices.Equal(rows, []string{"^C"}) {
					t.Errorf("the screen shows %q", rows)
				}
			})
		}
	}
}

// stop stops the output of a terminal, as ^S does.
func stop(t *testing.T, x *terminal) {
	t.Helper()
	check(t, unix.IoctlSetInt(int(x.slave.Fd()), unix.TCXONC, unix.TCOOFF))
}

// Who reads a list may have seen enough. That is the end, as it is without a line; but the line goes first.
func TestProgressAndBrokenPipe(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	all := names(b, "tree", 2*batch)
	x := newTerminal(t, 80)
	j := x.on("fileids", "-C", b.path("tree")).feed(all[:len(all)/2])
	x.await(2, `\rctbox fileids: 64 files`)
	j.out.Close()
	j.feed(all[len(all)/2:])
	if status := j.wait(); !status.Signaled() || status.Signal() != unix.SIGPIPE {
		t.Errorf("status %v, want that of SIGPIPE", status)
	}
	expectRows(t, x)
}

// The reader of a FIFO may go too: -o FIFO is then complete, with a line or without.
func TestProgressAndBrokenFIFO(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	all := names(b, "tree", 2*batch)
	check(t, unix.Mkfifo(b.path("fifo"), 0o666))
	x := newTerminal(t, 80)
	j := x.on("fileids", "-C", b.path("tree"), "-o", b.path("fifo"))
	reader, err := os.Open(b.path("fifo"))
	check(t, err)
	j.feed(all[:len(all)/2])
	x.await(2, `\rctbox fileids: 64 files`)
	reader.Close()
	j.feed(all[len(all)/2:])
	if _, status := j.finish(); status != 0 {
		t.Errorf("status %v", status)
	}
	expectRows(t, x)
}

// Of several ctbox on one terminal one shows its line, then another.
func TestProgressOfOneAtATime(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	all := names(b, "tree", 2*batch)
	x := newTerminal(t, 80)
	digest := x.on("sha256").feed("text")
	x.await(1, `\rctbox sha256: `)
	list := x.on("fileids", "-C", b.path("tree")).feed(all)
	_, err := list.out.Read(make([]byte, 1)) // now it has something to show
	check(t, err)
	before := strings.Count(x.seen(), "\rctbox sha256: ")
	x.await(before+20, `\rctbox sha256: `) // takes two seconds, one more than fileids waits
	if strings.Contains(x.seen(), "fileids") {
		t.Errorf("two lines: %s", x.last())
	}
	if got, status := digest.finish(); got != hexDigest("text") || status != 0 {
		t.Error(got, status)
	}
	x.await(2, `\rctbox fileids: \d+ files`)
	if last := strings.LastIndex(x.seen(), "sha256"); last > strings.Index(x.seen(), "fileids") {
		t.Errorf("two lines: %s", x.last())
	}
	list.finish()
	expectRows(t, x)
}

// A message of a ctbox that has no line, or may not show it, takes the place of the line of another.
func TestProgressMakesRoomForOthers(t *testing.T) {
	t.Parallel()
	x := newTerminal(t, 80)
	j := x.on("sha256").feed("text")
	var want []string
	for _, c := range []struct {
		args     []string
		in, says string
	}{
		{[]string{"listdiff", "/nosuch"}, "", "ctbox listdiff: /nosuch: no such file or directory"},
		{[]string{"sha256", "/nosuch"}, "", "ctbox sha256: /nosuch: no such file or directory"},
		{[]string{"fileids", "-C", "/"}, "./nosuch\n", "ctbox fileids: ./nosuch: no such file or directory"},
	} {
		x.await(strings.Count(x.seen(), "\rctbox sha256: 4")+1, `\rctbox sha256: 4`)
		x.on(c.args...).feed(c.in).finish()
		want = append(want, c.says)
	}
	j.finish()
	expectRows(t, x, want...)
	for _, says := range want {
		if !strings.Contains(x.seen(), erased+says) {
			t.Errorf("%s: not erased: %s", says, x.last())
		}
	}
}

// In the background nothing is shown; in the foreground it is, by the same process.
func TestProgressInBackground(t *testing.T) {
	t.Parallel()
	requireTool(t, "bash")
	b := newBench(t)
	all := names(b, "tree", batch)
	x := newTerminal(t, 80)
	check(t, unix.Mkfifo(b.path("one"), 0o666))
	check(t, unix.Mkfifo(b.path("two"), 0o666))
	shell := x.controlled("bash", "-c", `set -m
"$0" sha256 <"$1/one" >"$1/out" &
"$0" fileids -C "$1/tree" <"$1/two" >/dev/null
fg >/dev/null`, box(t), b.dir)
	one, err := os.OpenFile(b.path("one"), os.O_WRONLY, 0)
	check(t, err)
	_, err = one.WriteString("text")
	check(t, err)
	two, err := os.OpenFile(b.path("two"), os.O_WRONLY, 0)
	check(t, err)
	_, err = two.WriteString(all)
	check(t, err)
	x.await(15, `\rctbox fileids: `)
	if strings.Contains(x.seen(), "sha256") {
		t.Errorf("shown in the background: %s", x.last())
	}
	two.Close()
	x.await(2, `\rctbox sha256: 4 B`)
	one.Close()
	if status := shell.wait(); status != 0 || b.read("out") != hexDigest("text") {
		t.Error(status, b.read("out"))
	}
	expectRows(t, x)
}

// A pager has the terminal for itself.
func TestProgressBesidePager(t *testing.T) {
	t.Parallel()
	x := newTerminal(t, 80)
	x.raw(true)
	j := x.on("sha256").feed("text")
	witness(t)
	if x.seen() != "" {
		t.Error(x.last())
	}
	x.raw(false)
	x.await(2, `\rctbox sha256: 4 B`)
	j.finish()
	expectRows(t, x)
}

// In a window of tmux, as its users see it.
func TestProgressUnderTmux(t *testing.T) {
	t.Parallel()
	requireTool(t, "tmux")
	b := newBench(t)
	check(t, unix.Mkfifo(b.path("in"), 0o666))
	tmux := func(args ...string) (string, error) {
		cmd := exec.Command("tmux", append([]string{"-L", "ctbox", "-f", "/dev/null"}, args...)...)
		cmd.Env = append(os.Environ(), "TMUX=", "TMUX_TMPDIR="+b.dir, "TERM=xterm", "LC_ALL=C.UTF-8", "SHELL=/bin/sh")
		text, err := cmd.CombinedOutput()
		return string(text), err
	}
	text, err := tmux("new-session", "-d", "-x", "70", "-y", "20", "sh", "-c",
		`cd "$1" && "$0" sha256 <in >out; echo "status $?"; read -r _`, box(t), b.dir)
	if err != nil {
		t.Fatal(err, text)
	}
	t.Cleanup(func() { tmux("kill-server") })
	screen := func() string {
		text, err := tmux("capture-pane", "-p")
		if err != nil {
			t.Fatal(err, text)
		}
		return text
	}
	in, err := os.OpenFile(b.path("in"), os.O_WRONLY, 0)
	check(t, err)
	_, err = in.WriteString("text")
	check(t, err)
	until(t, "line", func() bool { return strings.HasPrefix(screen(), "ctbox sha256: 4 B, ") }, screen)
	check(t, in.Close())
	until(t, "end", func() bool { return strings.Contains(screen(), "status") }, screen)
	if got := strings.TrimSpace(screen()); got != "status 0" || b.read("out") != hexDigest("text") {
		t.Errorf("%q", got)
	}
}
