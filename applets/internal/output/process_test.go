package output

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The test binary is also the process that the tests below send signals to.
func TestMain(m *testing.M) {
	if role := os.Getenv("OUTPUT_TEST_ROLE"); role != "" {
		child(role, os.Args[1])
	}
	for _, sig := range []os.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT} {
		if signal.Ignored(sig) { // of a test under nohup(1), or in the background of a script: children would ignore it, too
			signal.Notify(make(chan os.Signal, 1), sig)
		}
	}
	os.Exit(m.Run())
}

// child writes a target as role says: "text", or "hang" half-way, or "nested" with a second target open, or
// "huge" until the file may grow no more, or "again" one target after the other for ever, likewise "beside" something
// else that is undone, or "directories", or what stops as the signal comes.
func child(role, path string) {
	if role != "after" { // which has a handler of its own
		LeaveSignals()
	}
	var err error
	switch role {
	case "text":
		err = Target{Path: path, Stdout: os.Stdout}.Write(text("text\n"))
	case "hang":
		err = Target{Path: path}.Write(hang)
	case "nested":
		err = Target{Path: path}.Write(func(io.Writer) error { return Target{Path: path + "2"}.Write(hang) })
	case "huge":
		limit := unix.Rlimit{Cur: 1 << 16, Max: 1 << 16}
		if err = unix.Setrlimit(unix.RLIMIT_FSIZE, &limit); err == nil {
			err = Target{Path: path}.Write(text(strings.Repeat("x", 1<<17)))
		}
	case "again":
		fmt.Println("ready")
		for err == nil {
			err = Target{Path: path}.Write(text("again"))
		}
	case "beside":
		// What begins after the signal would not be undone; so it does not begin.
		OnSignal(func(<-chan struct{}) {
			go Target{Path: path + ".late"}.Write(text("late"))
			time.Sleep(10 * time.Millisecond)
			os.WriteFile(path+".undone", nil, 0o666)
		})
		fmt.Println("ready")
		for err == nil {
			err = Target{Path: path}.Write(text("again"))
		}
	case "directories":
		fmt.Println("ready")
		for err == nil {
			err = ReplaceDir(path, hasMark, fillMany)
		}
	case "nameless":
		stop := removeOnSignal(make(chan string))
		fmt.Println("ready")
		for atEnd.TryLock() { // until the signal is there
			atEnd.Unlock()
			time.Sleep(time.Millisecond)
		}
		stop() // does not return
	case "after":
		// A signal after the writing is the program's own business again.
		got := make(chan os.Signal, 1)
		err = Target{Path: path}.Write(text("done"))
		signal.Notify(got, unix.SIGTERM)
		fmt.Println("ready")
		<-got
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func hang(w io.Writer) error {
	io.WriteString(w, "half of it")
	fmt.Println("ready")
	time.Sleep(time.Hour)
	return nil
}

// start runs child in a role and, if it says so, waits until it is ready. Arguments before the name of
// the program, such as a shell's, may come first.
func start(t *testing.T, role, path string, wrap ...string) *exec.Cmd {
	t.Helper()
	args := append(wrap, os.Args[0], path)
	cmd := exec.Command(args[0], args[1:]...)
	if err := begin(t, role, cmd); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// begin is start for a command of any kind. It returns why that cannot be started.
func begin(t *testing.T, role string, cmd *exec.Cmd) error {
	t.Helper()
	cmd.Env = append(os.Environ(), "OUTPUT_TEST_ROLE="+role)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	watchdog := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	t.Cleanup(func() { watchdog.Stop(); cmd.Process.Kill() })
	if n, _ := io.ReadFull(out, make([]byte, len("ready\n"))); n != len("ready\n") {
		t.Fatalf("%s: not ready", role)
	}
	return nil
}

// wantSignal waits for cmd to die of sig.
func wantSignal(t *testing.T, cmd *exec.Cmd, sig unix.Signal) {
	t.Helper()
	cmd.Wait()
	if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); !ws.Signaled() || ws.Signal() != sig {
		t.Errorf("ended with %v, want death of %v", cmd.ProcessState, sig)
	}
}

func TestSignalRemovesTemp(t *testing.T) {
	for _, role := range []string{"hang", "nested"} {
		for _, sig := range []unix.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT} {
			t.Run(role+" "+unix.SignalName(sig), func(t *testing.T) {
				dir := t.TempDir()
				path := filepath.Join(dir, "out")
				write(t, path, "old")
				cmd := start(t, role, path)
				if found, _ := filepath.Glob(filepath.Join(dir, ".out*")); len(found) == 0 {
					t.Fatal("no temporary file beside the target")
				}
				cmd.Process.Signal(sig)
				wantSignal(t, cmd, sig)
				wantNames(t, dir, "out")
				wantFile(t, path, "old")
			})
		}
	}
}

// A signal at any moment: before the temporary file, while it is written, while it is put in place.
func TestSignalAtAnyTime(t *testing.T) {
	rounds := 200
	if testing.Short() {
		rounds = 20
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "out")
	write(t, path, "again")
	for range rounds {
		cmd := start(t, "again", path)
		time.Sleep(rand.N(3 * time.Millisecond))
		cmd.Process.Signal(unix.SIGTERM)
		wantSignal(t, cmd, unix.SIGTERM)
		wantNames(t, dir, "out")
		wantFile(t, path, "again")
	}
}

// A signal undoes all that there is, wherever it finds the writer.
func TestSignalUndoesAll(t *testing.T) {
	for range 20 {
		dir := t.TempDir()
		path := filepath.Join(dir, "out")
		write(t, path, "again")
		cmd := start(t, "beside", path)
		time.Sleep(rand.N(3 * time.Millisecond))
		cmd.Process.Signal(unix.SIGTERM)
		wantSignal(t, cmd, unix.SIGTERM)
		wantNames(t, dir, "out", "out.undone")
	}
}

// A directory is removed file by file, and one that is being removed must not be put in place.
func TestSignalAtAnyTimeDir(t *testing.T) {
	rounds := 100
	if testing.Short() {
		rounds = 20
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "out")
	if err := ReplaceDir(path, hasMark, fillMany); err != nil {
		t.Fatal(err)
	}
	for range rounds {
		cmd := start(t, "directories", path)
		time.Sleep(rand.N(10 * time.Millisecond))
		cmd.Process.Signal(unix.SIGTERM)
		wantSignal(t, cmd, unix.SIGTERM)
		wantNames(t, dir, "out")
		if files, _ := filepath.Glob(filepath.Join(path, "*")); len(files) != many {
			t.Fatalf("%d files, want %d", len(files), many)
		}
	}
}

// many is how many files fillMany makes, so that it takes long to remove them.
const many = 100

func fillMany(dir string) error {
	for i := range many - 1 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), nil, 0o666); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "mark"), nil, 0o666)
}

func TestKilledWriterIsSweptNextTime(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out")
	write(t, path, "old")
	cmd := start(t, "hang", path)
	cmd.Process.Kill()
	wantSignal(t, cmd, unix.SIGKILL)
	wantFile(t, path, "old")
	if found, _ := filepath.Glob(filepath.Join(dir, ".out*")); len(found) != 1 {
		t.Errorf("killed, it left %q, want one file", found)
	}
	write(t, path, "new")
	wantNames(t, dir, "out")
}

func TestIgnoredSignalStaysIgnored(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	cmd := start(t, "hang", path, "/bin/sh", "-c", `trap "" HUP; exec "$0" "$1"`)
	cmd.Process.Signal(unix.SIGHUP)
	time.Sleep(20 * time.Millisecond)
	cmd.Process.Signal(unix.SIGTERM)
	wantSignal(t, cmd, unix.SIGTERM)
}

func TestSignalsAreGivenBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	cmd := start(t, "after", path)
	cmd.Process.Signal(unix.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Errorf("its own handler did not get the signal: %v", err)
	}
	wantFile(t, path, "done")
}

func TestFileSizeLimit(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out")
	write(t, path, "old")
	cmd := exec.Command(os.Args[0], path)
	cmd.Env = append(os.Environ(), "OUTPUT_TEST_ROLE=huge")
	msg, _ := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(msg), "file too large") {
		t.Errorf("%v: %s", cmd.ProcessState, msg)
	}
	wantFile(t, path, "old")
	wantNames(t, dir, "out")
}

// What others wrote before to the same descriptor stays, whether the shell's file, pipe or append.
func TestDevStdout(t *testing.T) {
	const script = `
		cd "$1" || exit
		{ echo before; "$0" /dev/stdout; echo after; } >file &&
		{ echo before; "$0" /dev/stdout; echo after; } | cat >pipe &&
		echo before >append && "$0" /dev/stdout >>append && echo after >>append &&
		{ echo before >&3; "$0" /dev/fd/3; echo after >&3; } 3>three &&
		ln -s /dev/stdout link && { echo before; "$0" link; echo after; } >linked`
	dir := t.TempDir()
	cmd := exec.Command("/bin/sh", "-c", script, os.Args[0], dir)
	cmd.Env = append(os.Environ(), "OUTPUT_TEST_ROLE=text")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, name := range []string{"file", "pipe", "append", "three", "linked"} {
		wantFile(t, filepath.Join(dir, name), "before\ntext\nafter\n")
	}
	wantNames(t, dir, "append", "file", "link", "linked", "pipe", "three")
}

func TestTerminal(t *testing.T) {
	tty, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip(err)
	}
	defer tty.Close()
	never := func(io.Writer) error {
		t.Error("fill was called")
		return nil
	}
	if err := (Target{Stdout: tty, Binary: true}).Write(never); err == nil || !strings.Contains(err.Error(), "terminal") {
		t.Errorf("binary data: %v", err)
	}
	for _, target := range []Target{{Stdout: tty}, {Stdout: tty, Binary: true, Path: "-"}} {
		if err := target.Write(text("x\n")); err != nil {
			t.Errorf("%+v: %v", target, err)
		}
	}
}

func TestFullDisk(t *testing.T) {
	dir := smallTmpfs(t)
	path := filepath.Join(dir, "out")
	write(t, path, "old")
	err := Target{Path: path}.Write(text(strings.Repeat("x", 2<<20)))
	if !errors.Is(err, unix.ENOSPC) {
		t.Errorf("got %v", err)
	}
	wantFile(t, path, "old")
	wantNames(t, dir, "out")
}
