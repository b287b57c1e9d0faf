package vm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/wire"
)

// played is a run with a script in the place of qemu, and what it warns of.
func played(t *testing.T, script string) (*runner, *bytes.Buffer) {
	t.Helper()
	qemu := filepath.Join(t.TempDir(), "qemu")
	if err := os.WriteFile(qemu, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	var warnings bytes.Buffer
	warn := func(format string, args ...any) { fmt.Fprintf(&warnings, format+"\n", args...) }
	r := &runner{
		Options: &Options{Accel: "auto", Warn: warn, Stdout: io.Discard, Stderr: io.Discard, Name: "initrd"}, cache: newCache(t),
		kernel:  &KImage{File: memory(t, 0)},
		machine: Machine{Arch: "x86_64", Qemu: qemu, Type: "q35", Accel: "tcg", CPUs: 1, Memory: 256 << 20},
	}
	r.source, r.whole = memory(t, 0), memory(t, 0)
	return r, &warnings
}

// TestUnborn: why there is no guest is said in qemu's words, or it is tried with another machine.
func TestUnborn(t *testing.T) {
	for script, c := range map[string]struct {
		change   func(*runner)
		want     string
		again    bool
		warnings string
	}{
		"exit 0": {nil, "the guest ended before its init came up", false, ""},
		"echo noise; echo no such device >&2; exit 1": {nil, "qemu: no such device", false, "qemu: noise\nqemu: no such device\n"},
		"exit 3":                    {nil, "qemu: it did not say why", false, ""},
		"echo oops; kill -SEGV $$":  {nil, "qemu died of a signal (segmentation fault): oops", false, "qemu: oops\n"},
		"echo shown; exit 1":        {func(r *runner) { r.Verbose = true }, "qemu: shown", false, ""},
		"exit 1 # its own":          {func(r *runner) { r.size.Rdinit = true }, "qemu: it did not say why", false, ""},
		"exit 1 # packed":           {func(r *runner) { r.kernel.Packed = errors.New("lz4") }, "cannot be unpacked: lz4", false, ""},
		"exit 1 # kvm":              {func(r *runner) { r.machine.Accel = "kvm" }, "qemu: it did not say why", true, ""},
		"exit 1 # kvm and no other": {func(r *runner) { r.machine.Accel, r.Accel = "kvm", "kvm" }, "qemu: it did not say why", false, ""},
		"echo 'qemu: unsupported machine type' >&2; exit 1": {func(r *runner) { r.machine.Type = "microvm" },
			"qemu: qemu: unsupported machine type", true, ""},
	} {
		r, warnings := played(t, script)
		if c.change != nil {
			c.change(r)
		}
		_, _, err := r.up(context.Background())
		var again retry
		if err == nil || !strings.Contains(err.Error(), c.want) || errors.As(err, &again) != c.again {
			t.Errorf("%s: %v, want %s", script, err, c.want)
		}
		if warnings.String() != c.warnings {
			t.Errorf("%s: warnings %q, want %q", script, warnings, c.warnings)
		}
		if c.again && r.machine.Type+r.machine.Accel != "q35tcg" {
			t.Errorf("%s: next is %s with %s", script, r.machine.Type, r.machine.Accel)
		}
		if c.again && r.machineType() == "q35" != strings.Contains(script, "type") {
			t.Errorf("%s: machine type %s is remembered", script, r.machineType())
		}
	}
}

// TestJudgeKVM: that KVM does not work is told, and remembered, once something else does.
func TestJudgeKVM(t *testing.T) {
	r, warnings := played(t, "")
	r.judgeKVM()
	r.noKVM = errors.New("why")
	r.judgeKVM()
	r.judgeKVM()
	if want := "/dev/kvm does not work: why; emulating from now on, which is slower\n"; warnings.String() != want {
		t.Errorf("%q", warnings)
	}
	if r.cache.Recall(r.kvmKey()) != kvmBroken {
		t.Error("it is not remembered")
	}
}

// TestRunCut: when the context ends, so does qemu, and its cause is the error: however often another machine would be tried.
func TestRunCut(t *testing.T) {
	cause := errors.New("timed out")
	for _, script := range []string{"exec sleep 100", "exit 1"} {
		ctx, cancel := context.WithCancelCause(context.Background())
		time.AfterFunc(100*time.Millisecond, func() { cancel(cause) })
		r, _ := played(t, script)
		if script == "exit 1" {
			<-ctx.Done()
			r.machine.Accel = "kvm"
		}
		if _, err := r.run(ctx); err != cause {
			t.Errorf("%s: %v", script, err)
		}
	}
}

func TestWithin(t *testing.T) {
	mine := errors.New("mine")
	ended, cancel := context.WithCancelCause(context.Background())
	cancel(mine)
	forever := make(chan int)
	for name, c := range map[string]struct {
		ctx   context.Context
		grace time.Duration
		do    func() (int, error)
		value int
		err   error
	}{
		"done":       {context.Background(), 0, func() (int, error) { return 7, nil }, 7, nil},
		"failed":     {context.Background(), 0, func() (int, error) { return 0, os.ErrInvalid }, 0, os.ErrInvalid},
		"in time":    {ended, time.Minute, func() (int, error) { time.Sleep(time.Millisecond); return 7, nil }, 7, nil},
		"not at all": {ended, time.Millisecond, func() (int, error) { return <-forever, nil }, 0, mine},
	} {
		if value, err := within(c.ctx, c.grace, c.do); value != c.value || err != c.err {
			t.Errorf("%s: %d, %v", name, value, err)
		}
	}
}

// TestVerdict: an end that nobody tells of is none.
func TestVerdict(t *testing.T) {
	end := &wire.End{How: wire.Exited, Code: 3}
	for want, c := range map[string]struct {
		heard   bool
		err     error
		console string
	}{
		"":                                   {},
		"full":                               {err: writeError{errors.New("full")}},
		"the guest gave no sign of life":     {err: io.EOF},
		"the guest ended without saying how": {heard: true, err: io.ErrUnexpectedEOF},
		"nonsense":                           {err: errors.New("nonsense")},
		"the guest's kernel: Kernel panic - not syncing: out of memory":     {console: "Kernel panic - not syncing: out of memory\n"},
		"the guest's kernel: Kernel panic - not syncing: not out of memory": {err: unix.ECONNRESET, console: "Kernel panic - not syncing: not out of memory\n"},
	} {
		r, _ := played(t, "")
		p := &process{console: &console{dead: func() {}}, said: &console{}}
		io.WriteString(p.console, c.console)
		got, err := r.verdict(p, &session{heard: c.heard}, end, c.err)
		if want == "" && (got != end || err != nil) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%+v, %v; want %s", got, err, want)
		}
	}
}

// lineOf is a process of which there is nothing but our end of the line.
func lineOf(t *testing.T) (p *process, theirs *os.File) {
	t.Helper()
	ours, theirs, err := socketPair()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	return &process{line: ours, console: &console{}, said: &console{}}, theirs
}

// TestHello: noise before a Hello is passed over, and a line with nothing else is no guest.
func TestHello(t *testing.T) {
	hello := wire.Hello{Token: 7, Memory: true}
	for name, c := range map[string]struct {
		says string
		want error
	}{
		"hello":   {"noise\n\r\n" + hello.String(), nil},
		"endless": {strings.Repeat("x", 65<<10), errRecord},
		"silent":  {"", errSilent},
	} {
		p, theirs := lineOf(t)
		go io.WriteString(theirs, c.says)
		limit := time.Minute
		if c.want == errSilent {
			limit = time.Millisecond
		}
		if got, err := p.hello(limit); !errors.Is(err, c.want) || c.want == nil && got != hello {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	p, theirs := lineOf(t)
	theirs.Close()
	if _, err := p.hello(time.Minute); err != io.EOF {
		t.Error(err)
	}
}

// TestTalkRefused: memory that was asked for, and is not shared, is not replaced by something slower.
func TestTalkRefused(t *testing.T) {
	r, _ := played(t, "")
	r.Channel = "memory"
	p, _ := lineOf(t)
	if _, err := r.talk(&session{}, p, wire.Hello{}); err == nil || !strings.Contains(err.Error(), "CONFIG_DEVMEM") {
		t.Error(err)
	}
	p.line.Close()
	if _, err := r.talk(&session{}, p, wire.Hello{}); !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
}

// TestWarmFails: whatever is wrong with a snapshot, the next machine boots.
func TestWarmFails(t *testing.T) {
	for name, put := range map[string]string{"damaged": "no snapshot", "none": ""} {
		r, warnings := played(t, "exec sleep 100")
		if name == "none" {
			r, warnings = played(t, "exit 1")
		}
		r.Warm, r.Verbose, r.rdinit = true, true, memory(t, 0)
		if put != "" {
			if err := r.cache.Put("warm", r.warmKey(), func(w io.Writer) error { _, err := io.WriteString(w, put); return err }); err != nil {
				t.Fatal(err)
			}
		}
		_, _, err := r.up(context.Background())
		var again retry
		if name == "damaged" && (!errors.As(err, &again) || !r.cold || r.warm() || !strings.HasPrefix(warnings.String(), "no warm start: ")) {
			t.Errorf("%v, warnings %q", err, warnings)
		}
		if name == "none" && (err == nil || err.Error() != "qemu: it did not say why") {
			t.Error(err)
		}
		if _, err := r.cache.Open("warm", r.warmKey()); err == nil {
			t.Errorf("%s: it is still there", name)
		}
	}
	r, _ := played(t, "")
	if err := r.keep(&process{}, wire.Hello{}, nil); err != errUnshared {
		t.Error(err)
	}
}
