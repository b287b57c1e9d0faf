package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ctbox/ctbox/applets/internal/cli"
	"github.com/ctbox/ctbox/applets/internal/interrupt"
)

// A fake is an engine's command that plays a part and notes how it was called.
type fake struct {
	*Engine
	dir string
}

const (
	config   = "sha256:c0"
	manifest = "sha256:a0"
)

// part is what the fake says to each command, as shell; tests replace single ones. "$d" is its directory;
// $d/store holds the IDs of its images, one a file, with the diff IDs as JSON.
var part = map[string]string{
	"version":   `echo 20.10.24`,
	"images":    `ls "$d/store"`,
	"load":      `cat >"$d/sent"; echo '["l1"]' >"$d/store/sha256:c0"; echo "Loaded image: x:y"`,
	"create":    `echo 0123456789`,
	"start":     `:`,
	"kill":      `:`,
	"rm":        `:`,
	"rmi":       `:`,
	"container": `echo '{"Status":"exited","ExitCode":0,"StartedAt":"2026-11-21T07:43:07Z"}'`,
	"image": `shift 5; for i; do
  if [ -e "$d/store/$i" ]; then case $f in *Layers*) tr -d '[]"' <"$d/store/$i" | tr , ' ';; *) echo "$i";; esac
  else echo "Error: No such image: $i" >&2; rc=1; fi; done; exit $rc`,
}

func newFake(t *testing.T, own map[string]string) fake {
	t.Helper()
	dir := t.TempDir()
	var script strings.Builder
	script.WriteString("#!/bin/sh\nd=${0%/*}; rc=0; f=$5\nprintf '%s\\n' \"$*\" >>\"$d/log\"\nwhat=$1\n" +
		"[ \"$1\" = inspect ] && what=$3\ncase $what in\n")
	for name, play := range part {
		if own[name] != "" {
			play = own[name]
		}
		script.WriteString(name + ")\n" + play + "\n;;\n")
	}
	script.WriteString("*) exit 99;;\nesac\n")
	path := filepath.Join(dir, "docker")
	if err := errors.Join(os.WriteFile(path, []byte(script.String()), 0o755), os.Mkdir(filepath.Join(dir, "store"), 0o755)); err != nil {
		t.Fatal(err)
	}
	e, err := Find(path)
	if err != nil {
		t.Fatal(err)
	}
	e.answer, e.work, e.grace = 5*time.Second, 5*time.Second, 50*time.Millisecond
	return fake{e, dir}
}

// called returns the calls of one of the commands.
func (f fake) called(command string) []string {
	log, _ := os.ReadFile(filepath.Join(f.dir, "log"))
	var calls []string
	for line := range strings.Lines(string(log)) {
		if strings.HasPrefix(line, command+" ") || line == command+"\n" {
			calls = append(calls, strings.TrimSuffix(line, "\n"))
		}
	}
	return calls
}

// once calls do when there is a file of the engine's.
func (f fake) once(file string, do func()) {
	go func() {
		for {
			if _, err := os.Stat(filepath.Join(f.dir, file)); err == nil {
				do()
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
}

func (f fake) has(t *testing.T, id, layers string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(f.dir, "store", id), []byte(layers+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

// testImage sends how many layers it was told to leave out.
func testImage(diffIDs ...string) Image {
	return Image{IDs: []string{config, manifest}, DiffIDs: diffIDs, Send: func(w io.Writer, omit int) error {
		_, err := fmt.Fprintf(w, "omit %d", omit)
		return err
	}}
}

func (f fake) sent(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(f.dir, "sent"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func wantError(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want %q", words)
	}
	for _, w := range words {
		if !strings.Contains(said(err), w) {
			t.Errorf("error %q does not say %q", said(err), w)
		}
	}
}

// said is what the user sees of an error: its lines and hints.
func said(err error) string {
	var out bytes.Buffer
	a := cli.Applet{Name: "rundocker", Brief: "x", New: func() cli.Command { return &failing{err} }}
	status := cli.Run(&a, cli.Stdio{In: nil, Out: &out, Err: &out}, nil)
	return fmt.Sprintf("%s%d\n", out.String(), status)
}

type failing struct{ err error }

func (f *failing) Run(cli.Stdio) error { return f.err }

func TestFind(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	_, err := Find("")
	wantError(t, err, "no container engine in PATH", "hint: install docker.io or podman")
	_, err = Find("podman")
	wantError(t, err, "podman: executable file not found", "hint: ")
	_, err = Find(dir + "/podman")
	wantError(t, err, "ctbox rundocker: "+dir+"/podman: no such file or directory", "hint: ")
	for _, name := range []string{"nerdctl", "podman", "docker"} { // each goes before the last
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		e, err := Find("")
		if err != nil || e.Name() != name {
			t.Errorf("found %v, %v; want %s", e, err, name)
		}
	}
	if e, err := Find("podman"); err != nil || e.Name() != "podman" {
		t.Errorf("Find(podman) = %v, %v", e, err)
	}
}

// TestLoadNoEngine plays what docker 20.10, 28 and podman 4 say when they cannot serve.
func TestLoadNoEngine(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "sock")
	if err := os.WriteFile(socket, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		says string
		want []string
	}{
		{"Cannot connect to the Docker daemon at unix:///no/sock. Is the docker daemon running?",
			[]string{"docker: Cannot connect to the Docker daemon at unix:///no/sock", "hint: there is no such socket: start the daemon"}},
		{"Cannot connect to the Docker daemon at unix://" + socket + ". Is the docker daemon running?",
			[]string{"hint: the socket is stale"}},
		{"Cannot connect to the Docker daemon at tcp://127.0.0.1:1. Is the docker daemon running?",
			[]string{"hint: start the daemon, or set DOCKER_HOST"}},
		{`permission denied while trying to connect to the Docker daemon socket at unix:///s: Get "http://%2Fs/v1.50/version": dial unix /s: connect: permission denied`,
			[]string{"docker: permission denied", "hint: join the group docker", "podman"}},
		{"permission denied while trying to connect to the docker API at unix:///s", []string{"hint: join the group docker"}}, // 29
		{"failed to connect to the docker API at unix:///no/sock; check if the path is correct and if the daemon is running: dial unix /no/sock: connect: no such file or directory",
			[]string{"docker: failed to connect", "hint: there is no such socket"}},
		{"failed to connect to the docker API at tcp://nosuch:1: lookup nosuch: no such host", []string{"hint: check DOCKER_HOST"}},
		{"Error response from daemon: client version 1.50 is too new. Maximum supported API version is 1.41",
			[]string{"docker: client version 1.50 is too new", "hint: unset DOCKER_API_VERSION"}},
		{"Error response from daemon: client version 1.10 is too old. Minimum supported API version is 1.44, please upgrade your client to a newer version",
			[]string{"hint: install a newer docker command"}},
		{`Failed to initialize: unable to resolve docker endpoint: context "nosuch": context not found: open /home/u/meta.json: no such file or directory`,
			[]string{"docker: unable to resolve docker endpoint", "hint: check DOCKER_CONTEXT"}},
		{`error during connect: Get "http://docker.example.com/v1.50/version": command [ssh -- h docker system dial-stdio] has exited with exit status 255`,
			[]string{"docker: error during connect", "hint: check DOCKER_HOST"}},
	} {
		play := "printf '\\n%s\\n' '" + c.says + "' >&2; exit 1"
		f := newFake(t, map[string]string{"version": play, "image": play})
		_, err := f.Load(context.Background(), testImage("l1"))
		wantError(t, err, append(c.want, "125")[:len(c.want)]...)
		if lines := strings.Count(said(err), "\n"); lines != 3 { // error, hint, status
			t.Errorf("%d lines:\n%s", lines, said(err))
		}
	}
}

func TestLoadHangs(t *testing.T) {
	f := newFake(t, map[string]string{"image": "sleep 60 & wait"})
	f.answer = 100 * time.Millisecond
	begin := time.Now()
	_, err := f.Load(context.Background(), testImage("l1"))
	wantError(t, err, `no answer to "inspect" within 100ms`, "hint: the engine hangs")
	if took := time.Since(begin); took > 30*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestLossyVersion(t *testing.T) {
	f := newFake(t, map[string]string{"version": `echo 24.0.2`})
	lossy := f.Lossy(context.Background())
	if warning := <-lossy; !strings.Contains(warning, "24.0.2 may lose output") {
		t.Errorf("warning %q", warning)
	}
	if again := <-lossy; again != "" {
		t.Errorf("told again: %q", again)
	}
	for _, play := range []string{"", "echo 24.0.2; exit 1", "echo no daemon >&2; exit 1"} {
		if warning := <-newFake(t, map[string]string{"version": play}).Lossy(context.Background()); warning != "" {
			t.Errorf("%q: warning %q", play, warning)
		}
	}
	f.path = filepath.Join(f.dir, "podman")
	if warning := <-f.Lossy(context.Background()); warning != "" || len(f.called("version")) != 1 {
		t.Errorf("podman was asked: %q, %q", warning, f.called("version"))
	}
}

func TestLoadPresent(t *testing.T) {
	for _, id := range []string{config, manifest} { // graph driver store, containerd store
		f := newFake(t, nil)
		f.has(t, id, `["l1"]`)
		l, err := f.Load(context.Background(), testImage("l1"))
		if err != nil || l.ID != id || l.New || f.called("load") != nil {
			t.Errorf("Load = %+v, %v; loads %q", l, err, f.called("load"))
		}
	}
}

func TestLoadPodmanID(t *testing.T) {
	f := newFake(t, map[string]string{"image": `echo c0`}) // without "sha256:"
	if l, err := f.Load(context.Background(), testImage("l1")); err != nil || l.ID != config || l.New {
		t.Errorf("Load = %+v, %v", l, err)
	}
}

// TestLoadAbsent: an engine that has not the image says so in its own words, and one whose words are not known is asked
// whether it is there at all. What it says of a load without a name is taken for an answer.
func TestLoadAbsent(t *testing.T) {
	for words, versions := range map[string]int{
		"Error: No such image: x": 0, "Error response from daemon: no such image: x: No such image: x": 0, // docker 20, 28
		"Error: inspecting object: x: image not known": 0, "FATA[0000] no such object: x": 0, // podman, nerdctl
		"Error: never heard of x": 1,
	} {
		f := newFake(t, map[string]string{"image": "echo '" + words + "' >&2; exit 1", "load": `cat >"$d/sent"; echo "Loaded image ID: sha256:c0"`})
		l, err := f.Load(context.Background(), testImage("l1"))
		if err != nil || l.ID != config || !l.New || len(f.called("version")) != versions || len(f.called("inspect")) != 1 {
			t.Errorf("%s: %+v, %v; calls %q", words, l, err, append(f.called("version"), f.called("inspect")...))
		}
	}
}

func TestLoadDelta(t *testing.T) {
	for _, c := range []struct {
		layers []string // of images that are there
		omit   int
	}{
		{nil, 0},
		{[]string{`["l1"]`}, 1},
		{[]string{`["l1","x"]`, `["l1","l2","y"]`}, 2},
		{[]string{`["l2","l3"]`, `["x","l1"]`, `null`}, 0}, // only from the base on
		{[]string{`["l1","l2","l3"]`}, 3},                  // another config
	} {
		f := newFake(t, nil)
		for i, layers := range c.layers {
			f.has(t, fmt.Sprintf("sha256:%d", i), layers)
		}
		l, err := f.Load(context.Background(), testImage("l1", "l2", "l3"))
		want := Loaded{ID: config, New: true, Layers: 3 - c.omit, Bytes: 6}
		if err != nil || l != want || f.sent(t) != fmt.Sprintf("omit %d", c.omit) {
			t.Errorf("%q: Load = %+v, %v; sent %q", c.layers, l, err, f.sent(t))
		}
	}
}

// TestLoadDeltaFails plays an engine that has lost what it claims to have: all is sent, once.
func TestLoadDeltaFails(t *testing.T) {
	full := `echo x >"$d/store/sha256:c0"; echo "Loaded image ID: sha256:c0"`
	for name, play := range map[string]string{
		"status": `echo "open .../blobs/sha256/1: no such file or directory" >&2; exit 1`,
		"words":  `echo x >"$d/store/sha256:c0"; echo "Error unpacking image x: content digest y: not found"`,
		"silent": `echo "Loaded image: x:y"`,
	} {
		f := newFake(t, map[string]string{"load": `cat >"$d/sent"; read -r x <"$d/sent"; case $x in "omit 0") ` + full + `;; *) ` + play + `;; esac`})
		f.has(t, "sha256:1", `["l1"]`)
		l, err := f.Load(context.Background(), testImage("l1", "l2"))
		if err != nil || !l.New || l.Layers != 2 || len(f.called("load")) != 2 || f.sent(t) != "omit 0" {
			t.Errorf("%s: Load = %+v, %v; loads %q", name, l, err, f.called("load"))
		}
	}
}

func TestLoadRefused(t *testing.T) {
	for _, c := range []struct{ play, want, hint string }{
		{`echo "Loaded image: x:y"; echo '[]' >"$d/store/sha256:beef"`, "load brought no image: Loaded image: x:y", ""},
		{`echo "Loaded image: sha256:beef"; echo '[]' >"$d/store/sha256:beef"`, "image id mismatch: loaded sha256:beef, but the archive holds sha256:c0", "mkimage"},
		{`echo "Loaded image ID: sha256:beef"; echo '[]' >"$d/store/sha256:beef"`, "image id mismatch", "mkimage"},
		{`echo "Error processing tar file(exit status 1): write /x: no space left on device" >&2; exit 1`, "no space left on device", "hint: make room"},
		{`echo "open /var/lib/docker/tmp/docker-import-1/repositories: no such file or directory" >&2; exit 1`, "repositories: no such file", "hint: not an image"},
		{`echo "open /var/lib/docker/tmp/docker-import-1/blobs/json: no such file or directory" >&2; exit 1`, "json: no such file", "hint: not an image"}, // an OCI layout
		{`echo "invalid archive: does not contain a manifest.json" >&2; exit 1`, "does not contain a manifest.json", "mkimage"},
		{`echo "Error: payload does not match any of the supported image formats:" >&2; echo " * oci: x" >&2; exit 125`, "docker: payload does not match", "mkimage"},
		{`echo "Error unpacking image x: failed to extract layer" ; echo x >"$d/store/sha256:c0"`, "load: Error unpacking image x", ""},
	} {
		f := newFake(t, map[string]string{"load": `cat >"$d/sent"; ` + c.play})
		_, err := f.Load(context.Background(), testImage("l1"))
		wantError(t, err, c.want, c.hint)
	}
}

func TestLoadUnreadable(t *testing.T) {
	f := newFake(t, map[string]string{"load": `cat >/dev/null; echo x >"$d/store/sha256:c0"; echo "Loaded image: x"`})
	img := testImage("l1")
	img.Send = func(w io.Writer, _ int) error {
		io.WriteString(w, "begin")
		return errors.New("x.image: unexpected end")
	}
	_, err := f.Load(context.Background(), img)
	wantError(t, err, "x.image: unexpected end")
	if _, err := os.Stat(filepath.Join(f.dir, "store", config)); err == nil {
		t.Error("the engine took half an archive")
	}
}

// TestLoadCancelled: a signal just before the client of load starts is not an error of that client.
func TestLoadCancelled(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(interrupt.Signal{Signal: 2})
	f := newFake(t, nil)
	if _, err := f.load(ctx, testImage("l1"), 0); !errors.Is(err, interrupt.Signal{Signal: 2}) || f.called("load") != nil {
		t.Errorf("error %v, load %q", err, f.called("load"))
	}
}

// TestLoadEarlyEnd: an engine may stop reading at the tar's trailer.
func TestLoadEarlyEnd(t *testing.T) {
	f := newFake(t, map[string]string{"load": `exec <&-; echo x >"$d/store/sha256:c0"; echo "Loaded image: x"`})
	img := testImage("l1")
	img.Send = func(w io.Writer, _ int) error { _, err := w.Write(make([]byte, 1<<20)); return err }
	if l, err := f.Load(context.Background(), img); err != nil || l.ID != config {
		t.Errorf("Load = %+v, %v", l, err)
	}
}

func TestRemove(t *testing.T) {
	for tags, want := range map[string]string{"x:1 y:2 ": "rmi x:1 y:2", "": "rmi " + config} {
		f := newFake(t, map[string]string{"image": "echo '" + tags + "'"})
		if err := f.Remove(config); err != nil || !slices.Equal(f.called("rmi"), []string{want}) {
			t.Errorf("%s: %v, %q; want %q", tags, err, f.called("rmi"), want)
		}
	}
}

// TestAnswersAreNoOptions: what an engine says is asked about, and must not become part of how that is done.
func TestAnswersAreNoOptions(t *testing.T) {
	f := newFake(t, map[string]string{
		"image": `echo --force x:y -f`, "images": `echo --host=tcp://evil; echo -H`, "load": `cat >/dev/null; echo "Loaded image: --host=x"`,
	})
	if err := f.Remove(config); err != nil {
		t.Error(err)
	}
	f.Load(context.Background(), testImage("l1"))
	calls := append(f.called("inspect"), f.called("rmi")...)
	if len(calls) < 3 || !slices.Contains(calls, "rmi x:y") {
		t.Errorf("%q", calls)
	}
	for _, call := range calls {
		if strings.Contains(call, "-f") && !strings.Contains(call, "--format") || strings.Contains(call, "--force") || strings.Contains(call, "-H") || strings.Contains(call, "--host") {
			t.Errorf("called as %q", call)
		}
	}
}

func run(t *testing.T, f fake, c Container) (Result, string, string, error) {
	t.Helper()
	var out, errs bytes.Buffer
	c.Image, c.Network, c.Stdout, c.Stderr = config, "none", &out, &errs
	r, err := f.Run(context.Background(), c)
	return r, out.String(), errs.String(), err
}

func TestRun(t *testing.T) {
	f := newFake(t, map[string]string{
		"start":     `printf 'a\r\n\0b'; echo log >&2; cat; exit 7`,
		"container": `echo '{"Status":"exited","ExitCode":7,"OOMKilled":true,"StartedAt":"2026-11-21T07:43:07Z"}'`,
	})
	r, out, errs, err := run(t, f, Container{Args: []string{"/init", "-x", "a b"}, Env: []string{"A=1,2", "B"}, Stdin: strings.NewReader("input")})
	if err != nil || r.Status != 7 || !r.OutOfMemory {
		t.Errorf("Run = %+v, %v", r, err)
	}
	if out != "a\r\n\x00binput" || errs != "log\n" {
		t.Errorf("stdout %q, stderr %q", out, errs)
	}
	want := "create --name " + r.Name + " --label ctbox=1 --pull never --network none --log-driver none" +
		" --interactive --env A=1,2 --env B sha256:c0 /init -x a b"
	if got := f.called("create"); !slices.Equal(got, []string{want}) {
		t.Errorf("create: %q\nwant     %q", got, want)
	}
	if got := f.called("start"); !slices.Equal(got, []string{"start --attach --interactive " + r.Name}) {
		t.Errorf("start: %q", got)
	}
	if got := f.called("rm"); !slices.Equal(got, []string{"rm --force " + r.Name}) {
		t.Errorf("rm: %q", got)
	}
}

func TestRunKeep(t *testing.T) {
	f := newFake(t, nil)
	if _, _, _, err := run(t, f, Container{Keep: true}); err != nil || f.called("rm") != nil {
		t.Errorf("error %v, rm %q", err, f.called("rm"))
	}
}

// TestRunNotStarted plays what runc and crun say through docker and podman about a command that cannot be run.
func TestRunNotStarted(t *testing.T) {
	const runc = "failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: "
	const podman = "Error: unable to start container 9d0355020bad0a8e9d5f5fa05da41552a579ffeb502c981013e096e47d676edd: "
	for _, c := range []struct {
		words  string
		status string
		want   string
	}{
		{runc + `exec: \"/init\": stat /init: no such file or directory: unknown`, "127", "/init: no such file in the image"},
		{runc + `exec: \"nosuch\": executable file not found in $PATH: unknown`, "127", "nosuch: no such file in the image"},
		{runc + `exec: \"/x\": permission denied: unknown`, "126", "/x: permission denied"},
		{runc + `exec: \"/dev\": is a directory: unknown`, "126", "/dev: is a directory"},
		{runc + `error mounting \"x\" to rootfs`, "1", "docker: error mounting"},
		{podman + "runc: runc create failed: unable to start container process: exec: \"/nosuch\": stat /nosuch: no such file or directory: OCI runtime attempted to invoke a command that was not found", "127", "/nosuch: no such"},
		{podman + "crun: executable file `/nosuch` not found: No such file or directory: OCI runtime attempted to invoke a command that was not found", "127", "/nosuch: no such"},
		{podman + "crun: open executable: Permission denied: OCI permission denied", "126", "command: permission denied"},
		{podman + "crun: setrlimit `RLIMIT_NOFILE`: Operation not permitted: OCI permission denied", "1", "default_ulimits"},
	} {
		own := map[string]string{
			"start":     `cat <<'END' >&2` + "\n" + c.words + "\nEND\nexit 1",
			"container": `echo '{"Status":"created","ExitCode":0,"Error":"","StartedAt":"0001-01-01T00:00:00Z"}'`,
		}
		if !strings.HasPrefix(c.words, "Error: ") { // docker keeps a record, and the client says it too
			own["start"] = `echo "Error response from daemon: ` + `something" >&2; exit 1`
			own["container"] = `cat <<'END'` + "\n" + `{"Status":"created","ExitCode":127,"Error":"` + c.words + `","StartedAt":"0001-01-01T00:00:00Z"}` + "\nEND"
		}
		f := newFake(t, own)
		_, out, errs, err := run(t, f, Container{})
		wantError(t, err, c.want, "\n"+c.status+"\n")
		if out != "" || errs != "" {
			t.Errorf("%s: stdout %q, stderr %q; want one message, and that from us", c.words, out, errs)
		}
		if len(f.called("rm")) != 1 {
			t.Error("not removed")
		}
	}
}

// TestRunLateFailure: the runtime's last word before execve failed, against programs that sound like it.
func TestRunLateFailure(t *testing.T) {
	for _, c := range []struct {
		stderr string
		exit   int
		want   string // of the message; "" if it is the program's own status and words
	}{
		{`exec /init: exec format error`, 1, "/init: exec format error"},
		{`exec /init: exec format error`, 255, "/init: exec format error"},
		{`exec /init: no such file or directory`, 1, "/init: cannot be executed: no such file"},
		{`standard_init_linux.go:228: exec user process caused: exec format error`, 1, "command: exec format error"},
		{"{\"msg\":\"exec container process `/init`: Exec format error\",\"level\":\"error\",\"time\":\"2026\"}", 1, "/init: exec format error"},
		{"{\"msg\":\"exec container process (missing dynamic library?) `/init`: No such file or directory\",\"level\":\"error\"}", 1, "/init: cannot be executed: no such file"},
		{`exec /init: exec format error`, 3, ""},
		{"exec /init: exec format error\nmore", 1, ""},
		{`exec x: permission denied, giving up`, 1, ""},
		{`Error: no such file or directory`, 1, ""},
		{`time="flies"`, 0, ""},
	} {
		f := newFake(t, map[string]string{
			"start":     `cat <<'END' >&2` + "\n" + c.stderr + "\nEND",
			"container": fmt.Sprintf(`echo '{"Status":"exited","ExitCode":%d,"StartedAt":"2026-11-21T07:43:07Z"}'`, c.exit),
		})
		r, _, errs, err := run(t, f, Container{})
		switch {
		case c.want != "":
			wantError(t, err, c.want, "hint: ")
			if errs != "" {
				t.Errorf("stderr %q beside the message", errs)
			}
		case err != nil || r.Status != c.exit || errs != c.stderr+"\n":
			t.Errorf("%q: status %d, stderr %q, %v", c.stderr, r.Status, errs, err)
		}
	}
}

func TestRunEngineStatuses(t *testing.T) {
	for _, exit := range []int{0, 1, 7, 125, 126, 127, 137, 255} {
		f := newFake(t, map[string]string{
			"start":     fmt.Sprintf(`exit %d`, exit),
			"container": fmt.Sprintf(`echo '{"Status":"exited","ExitCode":%d,"StartedAt":"2026-11-21T07:43:07Z"}'`, exit),
		})
		if r, _, _, err := run(t, f, Container{}); err != nil || r.Status != exit {
			t.Errorf("status %d, %v; want %d", r.Status, err, exit)
		}
	}
}

// TestRunNoEnd: what is no exit status, as the 256 that would be ctbox's own 0, must not pass for one.
func TestRunNoEnd(t *testing.T) {
	for _, state := range []string{
		`"Status":"exited","ExitCode":256`, `"Status":"exited","ExitCode":-1`, `"Status":"running","Running":true,"ExitCode":0`,
	} {
		f := newFake(t, map[string]string{"container": `echo '{"StartedAt":"2026-11-21T07:43:07Z",` + state + `}'`})
		_, _, _, err := run(t, f, Container{})
		wantError(t, err, "docker: no end on record: status ")
	}
}

// TestRunClientFails: what the client did not hand on must not pass for the whole.
func TestRunClientFails(t *testing.T) {
	for _, c := range []struct{ play, state, want string }{
		{`echo "error during connect: EOF" >&2; exit 1`, `"Status":"running","Running":true`, "docker: the output is not complete: error during connect: EOF"},
		{`echo "write /dev/stdout: no space left on device" >&2; exit 1`, `"Status":"exited","ExitCode":0`, "not complete: write /dev/stdout: no space left"},
		{`exit 1`, `"Status":"exited","ExitCode":3`, "not complete: exit status 1"},
		{`kill -9 $$`, `"Status":"exited","ExitCode":0`, "not complete: signal: killed"},
	} {
		f := newFake(t, map[string]string{
			"start":     c.play,
			"container": `echo '{"StartedAt":"2026-11-21T07:43:07Z",` + c.state + `}'`,
		})
		_, _, errs, err := run(t, f, Container{})
		wantError(t, err, c.want)
		if len(f.called("rm")) != 1 || errs != "" {
			t.Errorf("rm %q, stderr %q", f.called("rm"), errs)
		}
	}
}

func TestRunReaderGone(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	r.Close()
	for play, want := range map[string]string{
		`kill -PIPE $$`: "",
		`echo "write /dev/stdout: broken pipe" >&2; exit 1`:                        "",
		`echo "Error: own" >&2; echo "write /dev/stdout: broken pipe" >&2; exit 1`: "Error: own\n",
		`echo "Error: own" >&2; echo "Error: own too" >&2; kill -PIPE $$`:          "Error: own\nError: own too\n",
	} {
		f := newFake(t, map[string]string{"start": play})
		var errs bytes.Buffer
		got, err := f.Run(context.Background(), Container{Stdout: w, Stderr: &errs})
		if err != nil || got.Status != 141 || errs.String() != want || len(f.called("rm")) != 1 {
			t.Errorf("status %d, %v, stderr %q, rm %q", got.Status, err, errs.String(), f.called("rm"))
		}
	}
}

// TestRunNoRecord: somebody may remove the container first; what it said is passed on all the same.
func TestRunNoRecord(t *testing.T) {
	f := newFake(t, map[string]string{"start": `echo "Error: own" >&2; exit 1`, "container": `echo "Error: No such container: x" >&2; exit 1`})
	r, _, errs, err := run(t, f, Container{})
	wantError(t, err, "container "+r.Name+": docker: No such container: x")
	if errs != "Error: own\n" {
		t.Errorf("stderr %q", errs)
	}
}

func TestRunRemoveFails(t *testing.T) {
	f := newFake(t, map[string]string{"rm": `echo "Error response from daemon: driver failed" >&2; exit 1`})
	r, _, _, err := run(t, f, Container{})
	wantError(t, err, "container "+r.Name+" may be left: docker: driver failed")
}

// TestRunEnds: the container is signalled, killed and removed when the context ends; so is a client that hangs.
func TestRunEnds(t *testing.T) {
	late := errors.New("timed out")
	ctx, cancel := context.WithCancelCause(context.Background())
	f := newFake(t, map[string]string{
		"start": `touch "$d/up"; while [ ! -e "$d/killed" ]; do sleep 0.02; done; echo "Error: last words" >&2`,
		"kill":  `touch "$d/killed"`,
	})
	f.once("up", func() { cancel(late) })
	var errs bytes.Buffer
	_, err := f.Run(ctx, Container{Stdout: io.Discard, Stderr: &errs})
	if errs.String() != "Error: last words\n" {
		t.Errorf("stderr %q", errs.String())
	}
	if !errors.Is(err, late) || len(f.called("kill")) == 0 || len(f.called("rm")) != 1 {
		t.Errorf("error %v, kill %q, rm %q", err, f.called("kill"), f.called("rm"))
	}
}

func TestRunSignalled(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	f := newFake(t, map[string]string{"start": `touch "$d/up"; while [ ! -e "$d/killed" ]; do sleep 0.02; done`, "kill": `case $* in *--signal*) ;; *) touch "$d/killed";; esac`})
	f.once("up", func() { cancel(interrupt.Signal{Signal: 15}) })
	r, err := f.Run(ctx, Container{Stdout: io.Discard, Stderr: io.Discard})
	if err != (interrupt.Signal{Signal: 15}) && !errors.Is(err, interrupt.Signal{Signal: 15}) {
		t.Errorf("error %v", err)
	}
	if got := f.called("kill"); len(got) < 2 || got[0] != "kill --signal 15 "+r.Name || got[1] != "kill "+r.Name {
		t.Errorf("kill: %q", got)
	}
}

func TestRunEndsBeforeStart(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	f := newFake(t, map[string]string{"create": `touch "$d/creating"; sleep 0.3; touch "$d/created"`})
	f.once("creating", func() { cancel(interrupt.Signal{Signal: 2}) })
	_, err := f.Run(ctx, Container{Stdout: io.Discard, Stderr: io.Discard})
	_, created := os.Stat(filepath.Join(f.dir, "created"))
	if !errors.Is(err, interrupt.Signal{Signal: 2}) || created != nil || f.called("start") != nil || len(f.called("rm")) != 1 {
		t.Errorf("error %v, created %v, start %q, rm %q", err, created, f.called("start"), f.called("rm"))
	}
}

// TestStderrHeldOpen: a process that the client left behind keeps the pipe open (ssh ControlPersist).
func TestStderrHeldOpen(t *testing.T) {
	f := newFake(t, map[string]string{"start": `echo before >&2; sleep 30 >/dev/null & exit 0`})
	begin := time.Now()
	_, _, errs, err := run(t, f, Container{})
	if err != nil || errs != "before\n" || time.Since(begin) > 25*time.Second {
		t.Errorf("stderr %q, %v, after %v", errs, err, time.Since(begin))
	}
}

// TestStderrSlowReader: nothing is lost when standard error is read slowly.
func TestStderrSlowReader(t *testing.T) {
	f := newFake(t, map[string]string{"start": `head -c 300000 /dev/zero >&2`})
	var got slow
	_, err := f.Run(context.Background(), Container{Stdout: io.Discard, Stderr: &got})
	if err != nil || got != 300000 {
		t.Errorf("%d bytes, %v", got, err)
	}
}

type slow int

func (s *slow) Write(p []byte) (int, error) {
	time.Sleep(50 * time.Millisecond)
	*s += slow(len(p))
	return len(p), nil
}

func TestRelayReleasesInTime(t *testing.T) {
	var out bytes.Buffer
	r := relay{w: &out}
	r.Write([]byte("Err"))
	if r.peek() != "Err" {
		t.Fatalf("held %q", r.peek())
	}
	r.Write([]byte("or: x\n"))
	for range 40 {
		if r.peek() == "" {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	r.Write([]byte("Error: y\n"))
	if out.String() != "Error: x\nError: y\n" {
		t.Errorf("passed %q", out.String())
	}
}
