package mkfs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// run has a shell script be the program.
func run(t *testing.T, script string, tar func(io.Writer) error) (string, error) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("/dev/fd is a copy of the descriptor elsewhere")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mk"), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	out, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	p := Program{Name: "mk", Args: []string{"an", "option"}, Env: []string{"MKFS_TEST=value"}}
	size, err := p.Run(out, tar)
	if err != nil {
		return "", err
	}
	if err := out.Truncate(size); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(out.Name())
	return string(text), err
}

func write(text string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	}
}

func TestRun(t *testing.T) {
	got, err := run(t, `{ echo "$1 $2 $MKFS_TEST"; cat; } >"$3"; truncate -s 200000 "$3"; printf end >>"$3"`, write("the tar"))
	want := "an option value\nthe tar"
	want += strings.Repeat("\x00", 200000-len(want)) + "end"
	if err != nil || got != want {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestRunFails(t *testing.T) {
	failed := errors.New("cannot read")
	large := write(strings.Repeat("x", 1<<20))
	for _, test := range []struct {
		script string
		tar    func(io.Writer) error
		want   string
	}{
		{"cat >/dev/null; echo first >&2; echo second; exit 3", write("x"), "mk: exit status 3: first"},
		{"echo this is wrong; exit 1", large, "mk: exit status 1: this is wrong"},
		{"exec <&-; exit 0", large, "mk: did not read all"},
		{"echo \"unrecognized option '--tar=f'\" >&2; exit 1", large, "mk: is too old to read tars: erofs-utils 1.7 can"},
		{"cat >/dev/null; exec sleep 60", func(io.Writer) error { return failed }, "cannot read"},
		{"cat; exit 9", func(io.Writer) error { return fmt.Errorf("list:7: %w", failed) }, "list:7: cannot read"},
	} {
		if _, err := run(t, test.script, test.tar); err == nil || err.Error() != test.want {
			t.Errorf("%q: %v, want %q", test.script, err, test.want)
		}
	}
	var missing Missing
	if _, err := (&Program{Name: "mkfs.nothing"}).Run(nil, nil); !errors.As(err, &missing) || missing != "mkfs.nothing" {
		t.Error(err)
	}
}
