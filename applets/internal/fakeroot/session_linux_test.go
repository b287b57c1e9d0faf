package fakeroot

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A state that cannot be read, or could not be written, ends a session before the command has begun.
func TestSessionRefused(t *testing.T) {
	dir := t.TempDir()
	began := filepath.Join(dir, "began")
	if err := os.WriteFile(filepath.Join(dir, "damaged"), []byte("x\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	for state, want := range map[string]string{
		dir:              "is a directory",
		dir + "/damaged": dir + "/damaged:1: not a line of a fakeroot save file",
		dir + "/no/such": dir + "/no/such: cannot be written: no such file or directory",
		"/dev/null/x":    "not a directory",
	} {
		s := &Session{State: state, Path: "/bin/sh", Args: []string{"-c", ": >" + began}}
		if _, err := s.Run(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", state, err, want)
		}
		if _, err := os.Stat(began); err == nil {
			t.Fatalf("%s: the command has begun", state)
		}
	}
}

// Without any fakeroot, nothing of it is in the environment of what runs instead.
func TestSessionWithout(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv(StateFile, "")
	t.Setenv(session, "")
	s := &Session{State: filepath.Join(t.TempDir(), "state"), Path: "/bin/true"}
	if _, err := s.Run(); err != ErrNoFakeroot {
		t.Error(err)
	}
	if _, ok := os.LookupEnv(session); ok {
		t.Error("the environment says that a session runs")
	}
	gone := filepath.Join(t.TempDir(), "fakeroot")
	if why, _, err := s.under(gone, &loaded{}); err != nil || !strings.Contains(why, gone) {
		t.Errorf("a fakeroot that is gone: %q, %v", why, err)
	}
}

// What the daemon saved replaces the state only if it is one, and nobody else has written that meanwhile.
func TestSessionSave(t *testing.T) {
	const line = "dev=1,ino=2,mode=100644,uid=0,gid=0,nlink=1,rdev=0\n"
	s := &Session{State: filepath.Join(t.TempDir(), "state")}
	for _, c := range []struct{ before, now, saved, want string }{
		{"", "", line, ""},
		{line, line, "", ""},
		{line, line, line, ""},
		{"", "", line[:10], "fakeroot's daemon:1: the last line is cut off"},
		{"", "", "x\n", "fakeroot's daemon:1: not a line"},
		{"", line, "", "another command has written it meanwhile"},
		{line, "", line, "another command has written it meanwhile"},
		{"", "x\n", line, "state:1: not a line"},
	} {
		os.Remove(s.State)
		if c.now != "" {
			if err := os.WriteFile(s.State, []byte(c.now), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		before := &loaded{text: []byte(c.before)}
		if c.before != "" {
			before.file = os.Stdin
		}
		err := s.save(before, []byte(c.saved))
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q, then %q: %v, want %q", c.before, c.saved, err, c.want)
		}
		want := c.now
		if err == nil {
			want = c.saved
		}
		if got, _ := os.ReadFile(s.State); string(got) != want {
			t.Errorf("%q, then %q: state %q", c.before, c.saved, got)
		}
	}
}

// The status is that of the command's parent if that is known and the script has none of its own.
func TestSessionResult(t *testing.T) {
	exited, killed := func(code int) syscall.WaitStatus { return syscall.WaitStatus(code << 8) }, syscall.WaitStatus(syscall.SIGKILL)
	for _, c := range []struct {
		command        int
		cut            syscall.Signal
		script, keeper any
		want           int
	}{
		{3, 0, exited(7), nil, 7},
		{3, 0, killed, exited(7), 7},
		{3, 0, nil, exited(7), 7},
		{3, 0, exited(7), exited(8), 7},
		{3, 0, exited(7), killed, 7},
		{3, 0, killed, killed, 128 + 9},
		{0, syscall.SIGTERM, exited(1), nil, 128 + 15},
	} {
		p := &processes{script: 1, keeper: 2, command: c.command, cut: c.cut, ended: map[int]syscall.WaitStatus{}}
		for pid, ws := range map[int]any{1: c.script, 2: c.keeper} {
			if ws != nil {
				p.ended[pid] = ws.(syscall.WaitStatus)
			}
		}
		if got := p.result(); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
}
