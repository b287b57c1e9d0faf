package vm

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ctbox/ctbox/applets/internal/wire"
)

// TestFileIdentityOfRepeatedBuild: another file of the same size and time is not the same.
func TestFileIdentityOfRepeatedBuild(t *testing.T) {
	path := filepath.Join(t.TempDir(), "program")
	var seen [2]string
	for i, text := range []string{"one", "two"} {
		if err := os.WriteFile(path+"new", []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path+"new", time.Unix(1, 0), time.Unix(1, 0)); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+"new", path); err != nil {
			t.Fatal(err)
		}
		seen[i] = fileIdentity(path)
	}
	if seen[0] == seen[1] {
		t.Error(seen[0])
	}
}

// endless is text without an end.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	e.read += len(p)
	if e.read > 64<<20 {
		return 0, io.ErrNoProgress
	}
	return copy(p, strings.Repeat("y\n", len(p))), nil
}

// TestEndlessInitrd: what is no initrd does not fill the memory first.
func TestEndlessInitrd(t *testing.T) {
	r := &runner{Options: &Options{Initrd: new(endless), Name: "yes"}}
	defer r.close()
	if err := r.openInitrd(); err == nil || !strings.Contains(err.Error(), "yes: not an initrd") {
		t.Error(err)
	}
}

// TestAcceleratorAfterPermission: who joins the group kvm has it without starting the machine again; a broken one stays so.
func TestAcceleratorAfterPermission(t *testing.T) {
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		t.Skip(err)
	}
	f.Close()
	r := &runner{Options: &Options{Accel: "auto"}, cache: &Cache{t.TempDir()}}
	for known, want := range map[string]string{"forbidden": "kvm", kvmBroken: "tcg"} {
		r.cache.Remember(r.kvmKey(), known)
		if got, err := r.accelerator(); got != want || err != nil {
			t.Errorf("%s: %s, %v", known, got, err)
		}
	}
}

// TestPrepareRefuses: each thing that a run needs is named when it is missing, and before anything runs.
func TestPrepareRefuses(t *testing.T) {
	bin := t.TempDir()
	for _, name := range []string{"qemu-system-x86_64", "qemu-system-aarch64"} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for want, c := range map[string]struct {
		path   string
		change func(*Options)
	}{
		"no qemu in PATH: qemu-system-":       {t.TempDir(), func(*Options) {}},
		"/no/such: no such file or directory": {bin, func(o *Options) { o.Kernel = "/no/such" }},
	} {
		t.Setenv("PATH", c.path)
		o := &Options{Initrd: strings.NewReader(""), Name: "initrd", Accel: "tcg"}
		c.change(o)
		if _, err := os.Stat("/usr/libexec/qemu-kvm"); err == nil && c.path != bin {
			continue
		}
		line, err := CommandLine(o)
		if err == nil || !strings.Contains(err.Error(), want) || line != "" {
			t.Errorf("%q, %v; want %s", line, err, want)
		}
		if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestOpenInitrdRefuses(t *testing.T) {
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r := &runner{Options: &Options{Initrd: dir, Name: "dir"}}
	defer r.close()
	if err := r.openInitrd(); err == nil || err.Error() != "dir: is a directory" {
		t.Error(err)
	}
	dir.Close()
	if err := r.openInitrd(); err == nil {
		t.Error("a closed file is an initrd")
	}
}

// TestOwnInit: an initrd with an init of its own gets no other, and is loaded as it is; without, ours is a second archive.
func TestOwnInit(t *testing.T) {
	r, _ := played(t, "")
	r.whole, r.size.Rdinit = nil, true
	if err := errors.Join(r.openRdinit(), r.openWhole()); err != nil || r.machine.Init != wire.OwnInit || r.whole != r.source {
		t.Errorf("%v, %q", err, r.machine.Init)
	}
	r, _ = played(t, "")
	r.rdinit, r.whole = memory(t, 0), nil
	r.source.WriteString("12345")
	r.rdinit.WriteString("init")
	err := r.openWhole()
	if whole := string(content(t, r.whole)); err != nil || strings.Trim(whole[5:], "\x00") != "init" || whole[:5] != "12345" || len(whole)%4 != 0 {
		t.Errorf("%q, %v", whole, err)
	}
	self := memory(t, 0)
	self.WriteAt([]byte("program"), 0)
	if err := writeRdinit(r.whole, self); err != nil {
		t.Error(err)
	}
	self.Close()
	if err := writeRdinit(r.whole, self); err == nil {
		t.Error("of a closed file there is an initrd")
	}
}

// TestMemory: too little and too much are refused in words that say how much.
func TestMemoryRefused(t *testing.T) {
	for want, c := range map[string]struct {
		asked int64
		size  Initrd
	}{
		"8M of memory are too few": {8 << 20, Initrd{}},
		"more than the":            {0, Initrd{Unpacked: 1 << 45}},
		"":                         {300<<20 + 5, Initrd{}},
	} {
		r, _ := played(t, "")
		r.Memory, r.size = c.asked, c.size
		err := r.memory()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", c, err)
		}
		if want == "" && r.machine.Memory != 300<<20 {
			t.Errorf("%d bytes", r.machine.Memory)
		}
	}
}

// TestAccelerator: what was asked for, or an error.
func TestAccelerator(t *testing.T) {
	r, warnings := played(t, "")
	r.Accel = "tcg"
	if got, err := r.accelerator(); got != "tcg" || err != nil || warnings.Len() > 0 {
		t.Errorf("%s, %v, %s", got, err, warnings)
	}
	r.machine.Arch = "aarch64"
	if got := r.machineType(); got != "virt" {
		t.Error(got)
	}
	for err, hint := range map[error]string{os.ErrPermission: "join the group kvm", os.ErrNotExist: "--accel=tcg emulates"} {
		if got := said(t, noKVM(err)); !strings.Contains(got, hint) {
			t.Errorf("%v: %s", err, got)
		}
	}
	if f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0); err == nil {
		f.Close()
		return
	}
	r.Accel = "kvm"
	if got, err := r.accelerator(); err == nil {
		t.Errorf("%s without /dev/kvm", got)
	}
	r.Accel, r.Verbose = "auto", true
	if got, err := r.accelerator(); got != "tcg" || err != nil || !strings.Contains(warnings.String(), "emulating") {
		t.Errorf("%s, %v, %s", got, err, warnings)
	}
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{"": "''", "a-b_./=:,+%@9Z": "a-b_./=:,+%@9Z", "a b": "'a b'", "it's": `'it'\''s'`, "$x": "'$x'", "é": "'é'"} {
		if got := quote(in); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}
