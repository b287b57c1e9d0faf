package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// act is an applet that does what its field says.
type act struct {
	do func(Stdio) error

	Quiet bool     `short:"q" help:"Say nothing of what is done, which takes words enough to need a second line here."`
	Style string   `short:"s" enum:"a-long-choice,another-long-choice" default:"a-long-choice" help:"Choose."`
	Names []string `arg:"" optional:"" placeholder:"NAME" help:"Name of something."`
}

func (a *act) Run(std Stdio) error { return a.do(std) }

// runAct runs an applet called "test" and returns its status, standard output and standard error.
func runAct(runner bool, do func(Stdio) error, args ...string) (status int, out, err string) {
	var stdout, stderr bytes.Buffer
	a := &Applet{
		Name: "test", Brief: "do as told", Example: "ctbox test x", Runner: runner,
		New: func() Command { return &act{do: do} },
	}
	status = Run(a, Stdio{Out: &stdout, Err: &stderr}, args)
	return status, stdout.String(), stderr.String()
}

func TestErrorsAndStatuses(t *testing.T) {
	_, missing := os.Open("no/such")
	link := os.Symlink("x", "no/such")
	for _, c := range []struct {
		name   string
		err    error
		status int // of an ordinary applet
		runner int
		want   string
	}{
		{"none", nil, 0, 0, ""},
		{"plain", errors.New("no"), 1, 125, "ctbox test: no\n"},
		{"usage", Usagef("no %s", "such"), 2, 125, "ctbox test: no such (see \"ctbox test --help\")\n"},
		{"path", missing, 1, 125, "ctbox test: no/such: no such file or directory\n"},
		{"wrapped path", fmt.Errorf("x.list:3: %w", missing), 1, 125, "ctbox test: x.list:3: no/such: no such file or directory\n"},
		{"link", link, 1, 125, "ctbox test: no/such: no such file or directory\n"},
		{"status", WithStatus(CannotRun, errors.New("no")), 126, 126, "ctbox test: no\n"},
		{"status only", ExitStatus(7), 7, 7, ""},
		{"wrapped status", fmt.Errorf("x: %w", ExitStatus(7)), 7, 7, ""},
		{"joined", errors.Join(errors.New("one"), errors.New("two")), 1, 125, "ctbox test: one\nctbox test: two\n"},
		{"joined and path", errors.Join(errors.New("one"), missing), 1, 125, "ctbox test: one\nctbox test: no/such: no such file or directory\n"},
		{"joined and status", errors.Join(errors.New("one"), ExitStatus(3)), 3, 3, "ctbox test: one\n"},
		{"status of joined", WithStatus(4, errors.Join(errors.New("one"), errors.New("two"))), 4, 4, "ctbox test: one\nctbox test: two\n"},
		{"hint", Hint(errors.New("no"), "try %d", 1), 1, 125, "ctbox test: no\nctbox test: hint: try 1\n"},
		{"wrapped hint", fmt.Errorf("x: %w", Hint(errors.New("no"), "try")), 1, 125, "ctbox test: x: no\nctbox test: hint: try\n"},
		{"hint and status", Hint(WithStatus(127, errors.New("no")), "try"), 127, 127, "ctbox test: no\nctbox test: hint: try\n"},
		{"hint for joined", Hint(errors.Join(errors.New("one"), errors.New("two")), "try"), 1, 125, "ctbox test: one\nctbox test: two\nctbox test: hint: try\n"},
		{"hint for nothing", Hint(nil, "try"), 0, 0, ""},
		{"control bytes", errors.New("a\nb\x1b[2J\xffé"), 1, 125, "ctbox test: a\\nb\\x1b[2J\\xffé\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for runner, want := range map[bool]int{false: c.status, true: c.runner} {
				status, out, err := runAct(runner, func(Stdio) error { return c.err })
				if status != want || out != "" || err != c.want {
					t.Errorf("runner %v: status %d, output %q, messages %q; want %d, %q", runner, status, out, err, want, c.want)
				}
			}
		})
	}
}

func TestMisuse(t *testing.T) {
	never := func(Stdio) error {
		t.Error("ran")
		return nil
	}
	for runner, want := range map[bool]int{false: Misused, true: RunnerError} {
		status, out, err := runAct(runner, never, "--zap")
		if status != want || out != "" || err != "ctbox test: unknown option --zap (see \"ctbox test --help\")\n" {
			t.Errorf("runner %v: %d, %q, %q", runner, status, out, err)
		}
	}
	if status, _, err := runAct(false, never, "-s", "x\x1by"); status != Misused || strings.Contains(err, "\x1b") || strings.Count(err, "\n") != 1 {
		t.Errorf("bad choice: %d, %q", status, err)
	}
}

func TestWarn(t *testing.T) {
	status, _, err := runAct(false, func(std Stdio) error {
		std.Warn("%s: odd", "a\tb")
		return nil
	})
	if status != OK || err != "ctbox test: a\\tb: odd\n" {
		t.Errorf("%d, %q", status, err)
	}
	var box bytes.Buffer
	Stdio{Err: &box}.Warn("x")
	if box.String() != "ctbox: x\n" {
		t.Errorf("the box says %q", box.String())
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"":                   "",
		"plain name,:=\"'":   "plain name,:=\"'",
		"日本 é":               "日本 é",
		"a\\b":               "a\\b",
		"\x00\a\b\t\n\r\x7f": `\x00\a\b\t\n\r\x7f`,
		"\x1b]0;title\x07":   `\x1b]0;title\a`,
		"\x9b1m":             `\x9b1m`,
		"\u009b1m":           `\u009b1m`,
		"\u202etxt":          `\u202etxt`,
		"\xff\xfe":           `\xff\xfe`,
		"\xe6\x97":           `\xe6\x97`,
		"\ufffd":             "\ufffd",
	} {
		if got := printable(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestHelp(t *testing.T) {
	want := `Usage: ctbox test [OPTION]... [NAME]...
Do as told.

  NAME                    Name of something.

Options:
  -q, --quiet             Say nothing of what is done, which takes words enough
                          to need a second line here.
  -s, --style=a-long-choice|another-long-choice
                          Choose.
  -h, --help              Print this help.
      --version           Print the version.

Example:
  ctbox test x

Full manual: man ctbox-test
`
	never := func(Stdio) error { return errors.New("ran") }
	for _, args := range [][]string{{"-h"}, {"--help"}, {"x", "-qh"}} {
		if status, out, err := runAct(false, never, args...); status != OK || out != want || err != "" {
			t.Errorf("%q: %d, %q\n%s", args, status, err, out)
		}
	}
}

func TestVersion(t *testing.T) {
	defer func(old string) { version = old }(version)
	version = "1.2.3"
	status, out, _ := runAct(false, func(Stdio) error { return errors.New("ran") }, "--version")
	if status != OK || !strings.HasPrefix(out, "test (ctbox) 1.2.3\ngo") {
		t.Errorf("%d, %q", status, out)
	}
	if s := versionText(""); !strings.HasPrefix(s, "ctbox 1.2.3\n") {
		t.Errorf("the box says %q", s)
	}
	version = ""
	if Version() == "" {
		t.Error("no version without a release")
	}
}

// full is a standard output without space.
type full struct{}

func (full) Write([]byte) (int, error) {
	return 0, &fs.PathError{Op: "write", Path: "/dev/stdout", Err: syscall.ENOSPC}
}

func TestHelpThatCannotBeWritten(t *testing.T) {
	for _, arg := range []string{"--help", "--version"} {
		var stderr bytes.Buffer
		a := &Applet{Name: "test", Brief: "x", New: func() Command { return new(act) }}
		status := Run(a, Stdio{Out: full{}, Err: &stderr}, []string{arg})
		if status != Failed || stderr.String() != "ctbox test: /dev/stdout: no space left on device\n" {
			t.Errorf("%s: %d, %q", arg, status, stderr.String())
		}
	}
}

func TestInstall(t *testing.T) {
	dir := t.TempDir()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"one", "taken", "two"}
	taken := filepath.Join(dir, "taken")
	if err := os.WriteFile(taken, []byte("theirs"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := Install(dir, names, false); err == nil || !strings.Contains(err.Error(), taken) {
		t.Errorf("a taken name: %v", err)
	}
	if data, _ := os.ReadFile(taken); string(data) != "theirs" {
		t.Errorf("the taken name now holds %q", data)
	}
	for range 2 { // again is no error: the links are ours
		if err := Install(dir, names, true); err != nil {
			t.Error(err)
		}
		for _, name := range names {
			if to, err := os.Readlink(filepath.Join(dir, name)); err != nil || filepath.Base(to) != filepath.Base(exe) {
				t.Errorf("%s: %q, %v", name, to, err)
			}
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) != len(names) {
		t.Errorf("%d names, want %d", len(entries), len(names))
	}
	if err := Install(filepath.Join(dir, "missing"), names, false); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
}

func TestEnded(t *testing.T) {
	if err := Ended("x", 0, 0); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		err    error
		status int
		text   string
	}{
		{Ended("x", 3, 0), 3, "exit status 3"},
		{Ended("/a b", 0, syscall.SIGKILL), 137, "/a b: killed"},
	} {
		if got := status(&Applet{Runner: true}, c.err); got != c.status || c.err.Error() != c.text {
			t.Errorf("%d, %v; want %d, %s", got, c.err, c.status, c.text)
		}
	}
}
