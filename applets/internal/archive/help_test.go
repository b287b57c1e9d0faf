package archive

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ctbox/ctbox/applets/internal/list"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func openDir(t testing.TB, path string) *Dir {
	t.Helper()
	d, err := OpenDir(path)
	must(t, err)
	t.Cleanup(func() { d.Close() })
	return d
}

// identifyDir is the list of the tree below dir.
func identifyDir(t testing.TB, dir string) string {
	t.Helper()
	top := openDir(t, dir)
	records, errs := identify(top, func(x *Identify) error { return x.RunDir(top, false) })
	if errs != "" {
		t.Error(errs)
	}
	return records
}

// identifyNames is the list of names below dir, and what went wrong, one line each.
func identifyNames(t testing.TB, dir string, names ...string) (records, errs string) {
	t.Helper()
	return identify(openDir(t, dir), func(x *Identify) error { return x.Run(eachOf(names)) })
}

// eachOf brings names.
func eachOf(names []string) func(each func([]byte) error) error {
	return func(each func([]byte) error) error {
		for _, name := range names {
			if err := each([]byte(name)); err != nil {
				return err
			}
		}
		return nil
	}
}

func identify(top *Dir, run func(x *Identify) error) (records, errs string) {
	var out bytes.Buffer
	var bad strings.Builder
	x := Identify{
		Open:  func() (Source, error) { return top.Share(), nil },
		Null:  true,
		Write: func(p []byte) error { out.Write(p); return nil },
		Fail:  func(err error) { bad.WriteString(err.Error() + "\n") },
	}
	if err := run(&x); err != nil {
		bad.WriteString(err.Error() + "\n")
	}
	return out.String(), bad.String()
}

// pack makes a layer of records that end in NUL.
func pack(t testing.TB, dir, records string, options ...func(*Layer)) ([]byte, error) {
	t.Helper()
	in, err := list.Open("-", strings.NewReader(records), true)
	must(t, err)
	defer in.Close()
	l := Layer{List: in, Source: openDir(t, dir), Warn: func(string, ...any) {}}
	for _, set := range options {
		set(&l)
	}
	var out bytes.Buffer
	err = l.Write(&out)
	return out.Bytes(), err
}

// write makes a file and the directories above it.
func write(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(text), 0o644))
	return path
}
