package tests

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestRundockerEngines runs images in engines that are really there.
func TestRundockerEngines(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	for name, start := range map[string]func(*testing.T) *engineHandle{"docker": startDocker, "podman": startPodman} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rundockerTests(t, start(t))
		})
	}
}

func rundockerTests(t *testing.T, e *engineHandle) {
	hello := newImages(t).image("hello", layer{"init": file(t, probe(t), 0o755)})
	for _, test := range []struct {
		name string
		run  func(*testing.T, *engineHandle, string)
	}{
		{"streams", testStreams}, {"slow reader", testSlowReader}, {"statuses", testStatuses}, {"killed", testKilled},
		{"cannot run", testCannotRun}, {"timeout", testTimeout}, {"signals", testSignals}, {"delta", testDelta},
		{"lost layer", testLostLayer}, {"lost image", testLostImage}, {"together", testTogether},
		{"moved tag", testMovedTag}, {"input", testInput}, {"broken output", testBrokenOutput}, {"removal", testRemoval},
		{"isolation", testIsolation},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.run(t, e, hello)
			if left := e.run(t, "ps", "--all", "--quiet", "--filter", "label=ctbox=1"); left != "" {
				t.Errorf("containers left: %s", left)
			}
		})
	}
}

// A layer is the files of a layer by name; newImages makes image archives of them.
type layer map[string]entry

type entry struct {
	mode    int64
	content []byte
}

func file(t *testing.T, path string, mode int64) entry {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return entry{mode, b}
}

type images struct {
	t   *testing.T
	dir string
}

func newImages(t *testing.T) images { return images{t, t.TempDir()} }

// image writes NAME.image, with its layers base first, and returns its path. Its command is /init.
func (m images) image(name string, layers ...layer) string {
	m.t.Helper()
	var names bytes.Buffer
	for i, l := range layers {
		layerName := filepath.Join(m.dir, name+strconv.Itoa(i))
		fmt.Fprintln(&names, layerName)
		if err := os.WriteFile(layerName+".layer", l.tar(m.t), 0o644); err != nil {
			m.t.Fatal(err)
		}
	}
	path := filepath.Join(m.dir, name+".image")
	cmd := exec.Command(program(m.t), "mkimage", "--cmd", "/init", "--tag", "ctbox-test:latest", "-o", path)
	cmd.Stdin = &names
	if out, err := cmd.CombinedOutput(); err != nil {
		m.t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	return path
}

func (l layer) tar(t *testing.T) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(l)) {
		h := &tar.Header{Name: name, Mode: l[name].mode, Size: int64(len(l[name].content)), Typeflag: tar.TypeReg, ModTime: time.Unix(0, 0)}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(l[name].content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// rundocker prepares ctbox rundocker for an engine.
func (e *engineHandle) rundocker(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(program(t), append([]string{"rundocker", "--engine=" + e.Command}, args...)...)
	e.reach(cmd)
	return cmd
}

// outcome runs cmd and returns what it wrote and its exit status.
func outcome(t *testing.T, cmd *exec.Cmd) (stdout, stderr string, status int) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// expect runs cmd and compares all that it did.
func expect(t *testing.T, cmd *exec.Cmd, stdout, stderr string, status int) {
	t.Helper()
	out, errs, got := outcome(t, cmd)
	if out != stdout || errs != stderr || got != status {
		t.Errorf("%v:\nstdout %.200q, stderr %q, status %d\nwant   %.200q,        %q,        %d", cmd.Args[1:], out, errs, got, stdout, stderr, status)
	}
}

// allBytes is what "probe bytes N" writes.
func allBytes(n int) []byte {
	b := make([]byte, 0, 256*n+4)
	for i := range 256 * n {
		b = append(b, byte(i))
	}
	return append(b, "\r\n\x00."...)
}

func testStreams(t *testing.T, e *engineHandle, hello string) {
	expect(t, e.rundocker(t, hello), "hello\n", "log\n", 0)
	out, errs, status := outcome(t, e.rundocker(t, hello, "/init", "bytes", "40000"))
	if want := allBytes(40000); out != string(want) || errs != "" || status != 0 {
		t.Errorf("%d bytes, %x; want %d, %x; stderr %q, status %d", len(out), sha256.Sum256([]byte(out)), len(want), sha256.Sum256(want), errs, status)
	}
	// standard error that reads like the client's
	expect(t, e.rundocker(t, hello, "/init", "say", "Error response from daemon: x"), "", "Error response from daemon: x\n", 1)
}

func testSlowReader(t *testing.T, e *engineHandle, hello string) {
	cmd := e.rundocker(t, hello, "/init", "bytes", "40000")
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second) // the container would be done by now
	var got bytes.Buffer
	for {
		if _, err := io.CopyN(&got, pipe, 1<<20); err != nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err := cmd.Wait(); err != nil || !bytes.Equal(got.Bytes(), allBytes(40000)) {
		t.Errorf("%d bytes, %v", got.Len(), err)
	}
}

// testStatuses: 125 to 127 are the command's own here.
func testStatuses(t *testing.T, e *engineHandle, hello string) {
	for _, status := range []int{0, 1, 7, 124, 125, 126, 127, 128, 137, 255} {
		expect(t, e.rundocker(t, hello, "/init", "exit", strconv.Itoa(status)), "", "", status)
	}
}

// up starts a container that sleeps, and waits for its first line.
func up(t *testing.T, e *engineHandle, args ...string) *exec.Cmd {
	t.Helper()
	cmd := e.rundocker(t, append(args, "/init", "sleep", "60")...)
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Signal(syscall.SIGTERM); cmd.Wait() })
	if _, err := io.ReadFull(pipe, make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	return cmd
}

func testKilled(t *testing.T, e *engineHandle, hello string) {
	cmd := up(t, e, hello)
	var id string
	for id == "" { // docker lets output through before it lists the container as running
		id = e.run(t, "ps", "--quiet", "--filter", "label=ctbox=1")
	}
	e.run(t, "kill", id)
	cmd.Wait()
	if status := cmd.ProcessState.ExitCode(); status != 137 {
		t.Errorf("status %d", status)
	}
}

func testCannotRun(t *testing.T, e *engineHandle, hello string) {
	m := newImages(t)
	plain := entry{0o644, []byte("x")}
	none := m.image("none", layer{"note": plain})
	for _, c := range []struct {
		image  string
		args   []string
		words  string
		status int
	}{
		{none, nil, "/init: no such file in the image", 127},
		{hello, []string{"nosuch"}, "nosuch: no such file in the image", 127},
		{m.image("plain", layer{"init": plain}), nil, "/init: permission denied", 126},
		{m.image("text", layer{"init": {0o755, []byte("text\n")}}), nil, "/init: exec format error", 126},
		{m.image("script", layer{"init": {0o755, []byte("#!/nosuch\n")}}), nil, "/init: cannot be executed: no such file or directory", 127},
	} {
		out, errs, status := outcome(t, e.rundocker(t, append([]string{c.image}, c.args...)...))
		if out != "" || status != c.status || !strings.HasPrefix(errs, "ctbox rundocker: "+c.words+"\nctbox rundocker: hint: ") || strings.Count(errs, "\n") != 2 {
			t.Errorf("stdout %q, stderr %q, status %d; want %q, %d", out, errs, status, c.words, c.status)
		}
	}
}

func testTimeout(t *testing.T, e *engineHandle, hello string) {
	begin := time.Now()
	expect(t, e.rundocker(t, "--timeout=10", hello, "/init", "sleep", "60"), "up\n", "ctbox rundocker: timed out after 10s\n", 124)
	if took := time.Since(begin); took > promptly {
		t.Errorf("took %v", took)
	}
}

func testSignals(t *testing.T, e *engineHandle, hello string) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT} {
		cmd := up(t, e, hello)
		cmd.Process.Signal(sig)
		cmd.Wait()
		if status := cmd.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != sig {
			t.Errorf("%v: %v", sig, cmd.ProcessState)
		}
		if left := e.run(t, "ps", "--all", "--quiet"); left != "" {
			t.Errorf("%v: containers left: %s", sig, left)
		}
	}
	cmd := up(t, e, hello)
	cmd.Process.Kill()
	left := "?"
	for i := 0; left != "" && i < 100; i++ {
		time.Sleep(100 * time.Millisecond)
		left = e.run(t, "ps", "--all", "--quiet")
	}
	if left != "" {
		t.Errorf("after SIGKILL, container left: %s", left)
	}
}

// counting is an engine that keeps what is sent to its load.
func counting(t *testing.T, e *engineHandle) (*engineHandle, func() int64) {
	t.Helper()
	own := e.wrapped(t, "[ \"$1\" = load ] || exec \"$e\" \"$@\"\ntee \"$d/sent\" | \"$e\" \"$@\"\n")
	sent := filepath.Join(filepath.Dir(own.Command), "sent")
	return own, func() int64 {
		fi, err := os.Stat(sent)
		os.Remove(sent)
		if err != nil {
			return 0
		}
		return fi.Size()
	}
}

// wrapped is the engine with a shell script for a command, in which $e is the engine's own and $d a directory.
func (e *engineHandle) wrapped(t *testing.T, script string) *engineHandle {
	t.Helper()
	own := *e
	own.Command = filepath.Join(t.TempDir(), e.Name)
	script = "#!/bin/sh\nd=${0%/*} e='" + e.Command + "'\n" + script
	check(t, os.WriteFile(own.Command, []byte(script), 0o755))
	return &own
}

// testDelta: what the engine has is not sent, and what it has lost is.
func testDelta(t *testing.T, e *engineHandle, _ string) {
	e, sent := counting(t, e)
	m := newImages(t)
	base := layer{"init": file(t, probe(t), 0o755), "base": {0o644, bytes.Repeat(fmt.Append(nil, t.Name(), time.Now().UnixNano()), 50000)}}
	first := m.image("first", base, layer{"note": {0o644, []byte("first")}})
	second := m.image("second", base, layer{"note": {0o644, []byte("second")}})
	size := func(path string) int64 {
		fi, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return fi.Size()
	}
	ask := func(image, note string) {
		t.Helper()
		expect(t, e.rundocker(t, image, "/init", "read", "/note"), note, "", 0)
	}

	ask(first, "first")
	if n := sent(); n != size(first) {
		t.Errorf("first run sent %d of %d bytes", n, size(first))
	}
	ask(first, "first")
	if n := sent(); n != 0 {
		t.Errorf("second run sent %d bytes", n)
	}
	ask(second, "second")
	if n := sent(); n == 0 || n > 20000 {
		t.Errorf("%d bytes sent for a layer of one small file", n)
	} else {
		t.Logf("changed layer: %d of %d bytes sent", n, size(second))
	}

	ids := strings.Fields(e.run(t, "images", "--quiet", "--no-trunc"))
	slices.Sort(ids)
	e.run(t, append([]string{"rmi", "--force"}, slices.Compact(ids)...)...)
	ask(second, "second")
	if n := sent(); n != size(second) {
		t.Errorf("after the images were removed, %d of %d bytes sent", n, size(second))
	}
}

// testLostLayer: an engine claims a layer that it does not have, or has lost it since; all is sent then.
func testLostLayer(t *testing.T, e *engineHandle, _ string) {
	m := newImages(t)
	note := fmt.Sprint("lost ", time.Now().UnixNano())
	base := layer{"init": file(t, probe(t), 0o755), "base": {0o644, []byte(note)}}
	image := m.image("lost", base, layer{"note": {0o644, []byte(note)}})
	liar := e.wrapped(t, `case "$1 $*" in
"images "*) echo sha256:0000 ;;
*.RootFS.Layers*) exec cat "$d/layers" ;;
load*)
	echo load >>"$d/loads"
	exec "$e" "$@"
	;;
*) exec "$e" "$@" ;;
esac
`)
	dir := filepath.Dir(liar.Command)
	check(t, os.WriteFile(filepath.Join(dir, "layers"), fmt.Appendf(nil, "sha256:%x \n", sha256.Sum256(base.tar(t))), 0o644))
	expect(t, liar.rundocker(t, image, "/init", "read", "/note"), note, "", 0)
	if loads, err := os.ReadFile(filepath.Join(dir, "loads")); err != nil || strings.Count(string(loads), "load") != 2 {
		t.Errorf("loads: %q, %v; want one without layers, and one with", loads, err)
	}
}

// testLostImage: the image that was found there is gone when the container is made, and is sent again. Its layer is still
// there, since another image has it, too.
func testLostImage(t *testing.T, e *engineHandle, _ string) {
	m := newImages(t)
	base := layer{"init": file(t, probe(t), 0o755), "note": {0o644, []byte("was lost")}}
	expect(t, e.rundocker(t, m.image("keeper", base, layer{"x": {0o644, []byte("kept")}}), "/init", "read", "/x"), "kept", "", 0)
	thief := e.wrapped(t, `if [ "$1" = create ] && [ ! -e "$d/stolen" ]; then
	: >"$d/stolen"
	for id; do case $id in sha256:*) "$e" rmi --force "$id" >/dev/null ;; esac done
fi
exec "$e" "$@"
`)
	expect(t, thief.rundocker(t, m.image("lost", base), "/init", "read", "/note"), "was lost", "", 0)
	if _, err := os.Stat(filepath.Join(filepath.Dir(thief.Command), "stolen")); err != nil {
		t.Error("nothing was stolen")
	}
}

// testTogether: images that share their lowest layer are loaded, run and removed at once, one of them twice.
func testTogether(t *testing.T, e *engineHandle, _ string) {
	m := newImages(t)
	base := layer{"init": file(t, probe(t), 0o755), "base": {0o644, fmt.Append(nil, "together ", time.Now().UnixNano())}}
	paths := map[string]string{}
	for _, note := range []string{"one", "two", "three"} {
		paths[note] = m.image(note, base, layer{"note": {0o644, []byte(note)}})
	}
	var all sync.WaitGroup
	for _, note := range []string{"one", "two", "three", "one"} {
		all.Go(func() {
			var out, errs bytes.Buffer
			cmd := e.rundocker(t, "--rmi", paths[note], "/init", "read", "/note")
			cmd.Stdout, cmd.Stderr = &out, &errs
			// An image that another run of it still uses stays, which a warning says.
			if err := cmd.Run(); err != nil || out.String() != note {
				t.Errorf("%s: %v, stdout %q, stderr %q", note, err, out.String(), errs.String())
			}
		})
	}
	all.Wait()
}

// testMovedTag: an image that took the name of another is not run in its place.
func testMovedTag(t *testing.T, e *engineHandle, _ string) {
	m := newImages(t)
	init := file(t, probe(t), 0o755)
	one := m.image("one", layer{"init": init, "note": {0o644, []byte("one")}})
	two := m.image("two", layer{"init": init, "note": {0o644, []byte("two")}})
	for _, c := range [][2]string{{one, "one"}, {two, "two"}, {one, "one"}} {
		expect(t, e.rundocker(t, c[0], "/init", "read", "/note"), c[1], "", 0)
	}
}

func testInput(t *testing.T, e *engineHandle, hello string) {
	in := string(allBytes(1000))
	cmd := e.rundocker(t, "-i", hello, "/init", "cat")
	cmd.Stdin = strings.NewReader(in)
	expect(t, cmd, in, "", 0)

	cmd = e.rundocker(t, hello, "/init", "cat") // without -i there is none
	cmd.Stdin = strings.NewReader(in)
	expect(t, cmd, "", "", 0)

	f, err := os.Open(hello)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	go func() { io.Copy(w, f); w.Close() }()
	cmd = e.rundocker(t, "-") // the image itself, through a pipe
	cmd.Stdin = r
	expect(t, cmd, "hello\n", "log\n", 0)

	cmd = e.rundocker(t, "-e", "A=1,2", "-e", "B", hello, "/init", "env", "A")
	expect(t, cmd, "1,2\n", "", 0)
}

// testBrokenOutput: output that nobody got is not a success.
func testBrokenOutput(t *testing.T, e *engineHandle, hello string) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	cmd := e.rundocker(t, hello, "/init", "bytes", "40000")
	var errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = full, &errs
	cmd.Run()
	if cmd.ProcessState.ExitCode() != 125 || !strings.Contains(errs.String(), "the output is not complete: ") {
		t.Errorf("full: %v, %q", cmd.ProcessState, errs.String())
	}

	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	r.Close()
	cmd = e.rundocker(t, hello, "/init", "bytes", "40000")
	errs.Reset()
	cmd.Stdout, cmd.Stderr = w, &errs
	cmd.Run()
	if cmd.ProcessState.ExitCode() != 141 || errs.Len() > 0 {
		t.Errorf("no reader: %v, %q", cmd.ProcessState, errs.String())
	}
}

func testRemoval(t *testing.T, e *engineHandle, hello string) {
	image := newImages(t).image("gone", layer{"init": file(t, probe(t), 0o755), "x": {0o600, nil}})
	_, errs, status := outcome(t, e.rundocker(t, "--rmi", "-v", image))
	_, id, _ := strings.Cut(errs, "image sha256:")
	id, _, _ = strings.Cut(id, ",")
	if status != 0 || len(id) != 64 {
		t.Fatalf("status %d, stderr %q", status, errs)
	}
	if _, err := e.try("inspect", "--type", "image", id); err == nil {
		t.Error("--rmi left the image")
	}

	// A container that uses the image must outlive --rmi: podman's "rmi --force" takes it along.
	for _, args := range [][]string{{"--keep", "--rmi", image, "/init", "exit", "3"}, {"--keep", hello, "/init", "exit", "3"}} {
		testKeep(t, e, args)
	}
}

func testKeep(t *testing.T, e *engineHandle, args []string) {
	t.Helper()
	_, errs, status := outcome(t, e.rundocker(t, args...))
	_, name, _ := strings.Cut(errs, "container ")
	name, _, _ = strings.Cut(name, " ")
	if status != 3 || e.run(t, "inspect", "--format", "{{.State.ExitCode}}", name) != "3" {
		t.Errorf("%q: status %d, stderr %q", args, status, errs)
	}
	e.run(t, "rm", name)
}

func testIsolation(t *testing.T, e *engineHandle, hello string) {
	if out, _, _ := outcome(t, e.rundocker(t, hello, "/init", "net")); strings.Contains(out, "eth") || !strings.Contains(out, "lo") {
		t.Errorf("network interfaces: %s", out)
	}
}

// asInput opens an image for a user who cannot reach its directory.
func asInput(t *testing.T, image string) *os.File {
	t.Helper()
	f, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// TestRundockerRootless: an ordinary user without subordinate IDs.
func TestRundockerRootless(t *testing.T) {
	e := startRootlessPodman(t)
	hello := newImages(t).image("hello", layer{"init": file(t, probe(t), 0o755)})
	run := func(args ...string) *exec.Cmd {
		cmd := e.rundocker(t, args...)
		cmd.Stdin = asInput(t, hello)
		return cmd
	}
	expect(t, run("-"), "hello\n", "log\n", 0)
	expect(t, run("-", "/init", "bytes", "40000"), string(allBytes(40000)), "", 0)
	expect(t, run("-", "/init", "exit", "126"), "", "", 126)
	expect(t, run("--timeout=10", "-", "/init", "sleep", "60"), "up\n", "ctbox rundocker: timed out after 10s\n", 124)
	if left := e.run(t, "ps", "--all", "--quiet"); left != "" {
		t.Errorf("containers left: %s", left)
	}
}

// TestRundockerDenied: an ordinary user has no right to the daemon's socket.
func TestRundockerDenied(t *testing.T) {
	e := *startDocker(t)
	e.User = 65533
	cmd := e.rundocker(t, "-")
	cmd.Stdin = asInput(t, newImages(t).image("hello", layer{"init": file(t, probe(t), 0o755)}))
	out, errs, status := outcome(t, cmd)
	if out != "" || status != 125 || !strings.HasPrefix(errs, "ctbox rundocker: docker: permission denied") ||
		!strings.Contains(errs, "\nctbox rundocker: hint: join the group docker") || strings.Count(errs, "\n") != 2 {
		t.Errorf("stdout %q, stderr %q, status %d", out, errs, status)
	}
}
