package engine

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ctbox/ctbox/applets/internal/interrupt"
)

// cut is a context that ends by a signal as soon as the fake has made that file.
func (f fake) cut(t *testing.T, file string) context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	t.Cleanup(func() { cancel(nil) })
	go func() {
		for ctx.Err() == nil {
			if _, err := os.Stat(filepath.Join(f.dir, file)); err == nil {
				cancel(interrupt.Signal{Signal: 2})
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	return ctx
}

// TestCut: a signal while the engine thinks is not an error of the engine, and nothing waits for it.
func TestCut(t *testing.T) {
	hang := `touch "$d/up"; sleep 100`
	for command, act := range map[string]func(fake, context.Context) error{
		"image": func(f fake, ctx context.Context) error { _, err := f.Load(ctx, testImage("l1")); return err },
		"load":  func(f fake, ctx context.Context) error { _, err := f.Load(ctx, testImage("l1")); return err },
		"create": func(f fake, ctx context.Context) error {
			_, err := f.Run(ctx, Container{Stdout: io.Discard, Stderr: io.Discard})
			return err
		},
	} {
		f := newFake(t, map[string]string{command: hang})
		f.answer = 50 * time.Second // hangs no longer than that, not even to be slow
		if command == "create" {
			f.answer = 100 * time.Millisecond // what a client that makes a container is given to finish
		}
		if err := act(f, f.cut(t, "up")); !errors.Is(err, interrupt.Signal{Signal: 2}) || err.Error() != "interrupt" {
			t.Errorf("%s: %v", command, err)
		}
	}
}

// TestClientGone: the engine's command goes away between two calls, as when it is upgraded.
func TestClientGone(t *testing.T) {
	f := newFake(t, map[string]string{"create": `rm "$0"`})
	_, err := f.Run(context.Background(), Container{Stdin: strings.NewReader("x"), Stdout: io.Discard, Stderr: io.Discard})
	wantError(t, err, "docker: ", "no such file or directory", "may be left")
	_, err = f.load(context.Background(), testImage("l1"), 0)
	wantError(t, err, "docker: ", "no such file or directory")
}

// TestLoadLost: the engine took an image, and is gone when it is asked for it.
func TestLoadLost(t *testing.T) {
	down := `if [ -e "$d/sent" ]; then echo "Cannot connect to the Docker daemon" >&2; else echo "Error: No such image: x" >&2; fi; exit 1`
	f := newFake(t, map[string]string{"image": down, "version": down})
	_, err := f.Load(context.Background(), testImage("l1"))
	wantError(t, err, "Cannot connect to the Docker daemon")
}

// TestLoadNoList: an engine that does not say what it has is sent everything.
func TestLoadNoList(t *testing.T) {
	f := newFake(t, map[string]string{"images": "exit 1"})
	f.has(t, "sha256:1", `["l1"]`)
	if l, err := f.Load(context.Background(), testImage("l1", "l2")); err != nil || l.Layers != 2 || f.sent(t) != "omit 0" {
		t.Errorf("Load = %+v, %v; sent %q", l, err, f.sent(t))
	}
}

func TestRemoveFails(t *testing.T) {
	f := newFake(t, map[string]string{"image": `echo "Error: image store is locked" >&2; exit 1`})
	wantError(t, f.Remove(config), "image store is locked")
	if f.called("rmi") != nil {
		t.Errorf("removed: %q", f.called("rmi"))
	}
}

// TestLogLines: what an engine says as a line of its log is said as the message in it.
func TestLogLines(t *testing.T) {
	for words, want := range map[string]string{
		`time="2026-11-21T07:43:07Z" level=fatal msg="no space left on device"`: "docker: no space left on device\n",
		`level=fatal without time msg="x"`:                                      `level=fatal without time msg="x"`,
	} {
		f := newFake(t, map[string]string{"load": "cat >/dev/null; echo '" + words + "' >&2; exit 1"})
		_, err := f.load(context.Background(), testImage("l1"), 0)
		wantError(t, err, want)
	}
}

// TestRecords: an exit status is what the engine's record has, and never one that it has not.
func TestRecords(t *testing.T) {
	for record, want := range map[string]string{
		`{"Status":"exited","ExitCode":3}`:  "",
		`{"Status":"created","ExitCode":3}`: "docker: ",
		`{}`:                                "docker: ",
		`null`:                              "docker: ",
		`[]`:                                "container ctbox-",
		``:                                  "container ctbox-",
		`{"ExitCode":"3"}`:                  "container ctbox-",
	} {
		start := "exit 3"
		if want != "" {
			start = ":"
		}
		f := newFake(t, map[string]string{"container": "echo '" + record + "'", "start": start})
		r, _, _, err := run(t, f, Container{})
		if want != "" {
			wantError(t, err, want)
		} else if err != nil || r.Status != 3 {
			t.Errorf("%s: %+v, %v", record, r, err)
		}
	}
}

// TestRunAlreadyRemoved: that somebody else was faster is what was wanted.
func TestRunAlreadyRemoved(t *testing.T) {
	f := newFake(t, map[string]string{"rm": `echo "Error: No such container: x" >&2; exit 1`})
	if _, _, _, err := run(t, f, Container{}); err != nil {
		t.Error(err)
	}
}

// TestRunHeeds: a container that ends by the signal is not killed.
func TestRunHeeds(t *testing.T) {
	f := newFake(t, map[string]string{"start": `touch "$d/up"; while [ ! -e "$d/signalled" ]; do sleep 0.02; done`, "kill": `touch "$d/signalled"`})
	f.grace = time.Minute
	r, err := f.Run(f.cut(t, "up"), Container{Stdout: io.Discard, Stderr: io.Discard})
	if got := f.called("kill"); !errors.Is(err, interrupt.Signal{Signal: 2}) || len(got) != 1 || got[0] != "kill --signal 2 "+r.Name {
		t.Errorf("error %v, kill %q", err, got)
	}
}

// TestRunClientHangs: a client that does not end when its container does is ended.
func TestRunClientHangs(t *testing.T) {
	f := newFake(t, map[string]string{"start": `touch "$d/up"; exec sleep 100`})
	if _, err := f.Run(f.cut(t, "up"), Container{Stdout: io.Discard, Stderr: io.Discard}); !errors.Is(err, interrupt.Signal{Signal: 2}) {
		t.Error(err)
	}
	if len(f.called("kill")) != 21 || len(f.called("rm")) != 1 {
		t.Errorf("kill %q, rm %q", f.called("kill"), f.called("rm"))
	}
}
