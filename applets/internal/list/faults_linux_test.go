package list

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/tests/failtest"
)

// spoolMemory is what package spool keeps in memory, in bytes.
const spoolMemory = 1 << 20

// tooBig is a list that does not fit into a spool's memory.
func tooBig() string {
	var b strings.Builder
	for i := 0; b.Len() <= spoolMemory; i++ {
		fmt.Fprintf(&b, "./d%07d 0040755-0-0-0\n", i)
	}
	return b.String()
}

// A pipe's list that cannot be kept is no shorter list.
func TestSpoolFaults(t *testing.T) {
	text := tooBig()
	open := func() error {
		in, err := Open("", struct{ io.Reader }{strings.NewReader(text)}, false)
		if err == nil {
			in.Close()
		}
		return err
	}
	t.Setenv("TMPDIR", t.TempDir())
	// A file that never has a name, where there is that, or else one whose name is taken away.
	nameless := failtest.Call{Number: unix.SYS_OPENAT, Err: unix.EOPNOTSUPP, Arg: 2, Mask: unix.O_TMPFILE, Value: unix.O_TMPFILE}
	for name, calls := range map[string][]failtest.Call{
		"create": {{Number: unix.SYS_OPENAT, Err: unix.EMFILE, Arg: 2, Mask: unix.O_RDWR, Value: unix.O_RDWR}},
		"remove": {nameless, {Number: unix.SYS_UNLINKAT, Err: unix.EACCES}},
		"write":  {{Number: unix.SYS_PWRITE64, Err: unix.ENOSPC}},
	} {
		var err error
		failtest.During(t, func() { err = open() }, calls...)
		if want := calls[len(calls)-1].Err; !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", name, err, want)
		}
	}
	var err error
	if failtest.During(t, func() { err = open() }, nameless); err != nil {
		t.Errorf("no file without a name: %v", err)
	}
	if err := open(); err != nil {
		t.Error(err)
	}
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "absent"))
	if err := open(); !errors.Is(err, unix.ENOENT) {
		t.Errorf("no directory for it: %v", err)
	}
}

// Neither is one that cannot be read again.
func TestReadFaults(t *testing.T) {
	reads := failtest.Call{Number: unix.SYS_PREAD64, Err: unix.EIO}
	text := tooBig()
	file := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	for want, open := range map[string]func() (*Input, error){
		file + ":1: input/output error": func() (*Input, error) { return Open(file, nil, false) },
		"<stdin>:1: input/output error": func() (*Input, error) { return Open("", struct{ io.Reader }{strings.NewReader(text)}, false) },
	} {
		in, err := open()
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		failtest.During(t, func() { _, err = in.Scan().Next() }, reads)
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// A first pass that goes wrong, where the second would not, is an error all the same: it looked for hard links.
func TestGroupsFault(t *testing.T) {
	file := filepath.Join(t.TempDir(), "list")
	lines := shorthand("./a f\n./b f")
	text := strings.Join(lines, "\n") + "-link=./a\n"
	if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	in, err := Open(file, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	for _, n := range []int{0, 1, 2} {
		d := Diff{Base: kept(""), New: in, Out: io.Discard, Warn: func(string, ...any) {}}
		var differ bool
		failtest.During(t, func() { differ, err = d.Layer() }, failtest.Call{Number: unix.SYS_PREAD64, Err: unix.EIO, After: n, Times: 1})
		if differ || !errors.Is(err, unix.EIO) {
			t.Errorf("read %d: %v, %v", n+1, differ, err)
		}
	}
}

// The verdict on a directory of which much was held back is part of the layer.
func TestVerdictFault(t *testing.T) {
	const dir, was, is = "./p 0040755-0-0-0\n", " 0010600-0-0-0", " 0010666-0-0-0"
	const n = spoolMemory / len("./p-000000"+is+"\n") * 2
	lines := func(id string) string {
		return dir + generated(n, func(i int) string { return fmt.Sprintf("./p-%06d", i) + id }) + "./p/x" + id + "\n"
	}
	base, new := lines(was), lines(is)
	var out bytes.Buffer
	var err error
	run := func() {
		out.Reset()
		d := Diff{Base: kept(base), New: kept(new), Out: &out}
		_, err = d.Layer()
	}
	if run(); err != nil || out.String() != new {
		t.Errorf("%d bytes of %d: %v", out.Len(), len(new), err)
	}
	failtest.During(t, run, failtest.Call{Number: unix.SYS_PWRITE64, Err: unix.EIO, Arg: 2, Mask: 1<<32 - 1, Value: 1}) // of one byte
	if !errors.Is(err, unix.EIO) {
		t.Error(err)
	}
}
