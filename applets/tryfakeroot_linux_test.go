package applets

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ctbox/ctbox/applets/internal/cli"
	"github.com/ctbox/ctbox/applets/internal/fakeroot"
)

// runTryFakeroot is what a call says, and its status; the command must be one that cannot be executed, because it would be this
// process.
func runTryFakeroot(args ...string) (said string, status int) {
	var out bytes.Buffer
	status = cli.Run(&tryFakeroot, cli.Stdio{In: strings.NewReader(""), Out: &out, Err: &out}, args)
	return out.String(), status
}

// A command that is there, and is no program, has the status that a shell would give; whichever way it comes to be run.
func TestTryFakerootExec(t *testing.T) {
	dir := t.TempDir()
	state := filepath.Join(dir, "state")
	lost := filepath.Join(dir, "lost")
	if err := errors.Join(os.WriteFile(lost, []byte("#!/no/such/shell\n"), 0o777), os.WriteFile(state, nil, 0o666)); err != nil {
		t.Fatal(err)
	}
	want := lost + ": its interpreter /no/such/shell is missing\n"
	for name, c := range map[string]struct {
		env  map[string]string
		also string
	}{
		"within the session of that state": {map[string]string{"CTBOX_FAKEROOT_SESSION": state, fakeroot.Key: "1"}, ""},
		"under fakeroot":                   {map[string]string{fakeroot.Key: "1"}, "already under fakeroot, which keeps the owners: " + state + " is not used"},
		"without fakeroot":                 {map[string]string{"PATH": dir}, "no fakeroot: " + lost + " runs without"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(fakeroot.Key, "")
			t.Setenv(fakeroot.StateFile, "")
			for name, value := range c.env {
				t.Setenv(name, value)
			}
			said, status := runTryFakeroot(state, lost)
			if status != cli.NotFound || !strings.HasSuffix(said, "ctbox try-fakeroot: "+want) || !strings.Contains(said, c.also) {
				t.Errorf("status %d: %s", status, said)
			}
		})
	}
}

// What the environment says to a command without fakeroot: a state that is there counts for everybody, one that is not only for those
// who are not root, whose own owners are right.
func TestTryFakerootPlain(t *testing.T) {
	dir := t.TempDir()
	state, gone := filepath.Join(dir, "state"), filepath.Join(dir, "gone")
	for _, there := range []bool{true, false} {
		t.Setenv(fakeroot.StateFile, "old")
		c := &tryFakerootCommand{State: state, Command: gone}
		if err := c.plain(state, gone, there); !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
		want := state
		if !there && os.Geteuid() == 0 {
			want = ""
		}
		if got := os.Getenv(fakeroot.StateFile); got != want {
			t.Errorf("there %v: %q", there, got)
		}
	}
}

// ctbox itself reads the state, which is made where there is none: but within another session and, for root, without fakeroot.
func TestTryFakerootSelf(t *testing.T) {
	dir := t.TempDir()
	gone := filepath.Join(dir, "gone")
	bin := filepath.Join(dir, "bin")
	if err := errors.Join(os.Mkdir(bin, 0o777), os.WriteFile(filepath.Join(bin, "fakeroot"), []byte("#!/bin/sh\n"), 0o777)); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		path, key string
		made      bool
	}{
		"state":            {bin, "", true},
		"session":          {bin, "1", false},
		"without-fakeroot": {dir, "", os.Geteuid() != 0},
	} {
		t.Setenv("PATH", c.path)
		t.Setenv(fakeroot.Key, c.key)
		t.Setenv(fakeroot.StateFile, "")
		state := filepath.Join(dir, name)
		command := &tryFakerootCommand{State: state, Command: gone}
		if err := command.self(cli.Stdio{}, state, gone, false); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(state); (err == nil) != c.made {
			t.Errorf("%s: the state is made: %v", name, err == nil)
		}
		if named := os.Getenv(fakeroot.StateFile) == state; named != c.made {
			t.Errorf("%s: the state is named: %v", name, named)
		}
	}
	nowhere := filepath.Join(dir, "no/state")
	t.Setenv("PATH", bin)
	t.Setenv(fakeroot.Key, "")
	command := &tryFakerootCommand{State: nowhere, Command: gone}
	if err := command.self(cli.Stdio{}, nowhere, gone, false); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
