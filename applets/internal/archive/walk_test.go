package archive

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func walk(t testing.TB, dir string) (names, errs []string) {
	t.Helper()
	must(t, openDir(t, dir).Walk(false,
		func(name []byte) error { names = append(names, string(name)); return nil },
		func(err error) { errs = append(errs, err.Error()) }))
	return names, errs
}

// TestWalkOrder: names come in the order of their bytes, which is not that of a depth-first walk.
func TestWalkOrder(t *testing.T) {
	dir := t.TempDir()
	want := []string{".", "./.hidden", "./a", "./a\x01", "./a-b", "./a-b/c", "./a.b", "./a/x", "./a/x-y", "./a/x/deep", "./a0", "./ab", "./\xff"}
	for _, d := range []string{"a-b", "a/x"} {
		must(t, os.MkdirAll(filepath.Join(dir, d), 0o755))
	}
	for _, f := range []string{"a/x-y", "a/x/deep", "a-b/c", "a\x01", "a.b", "a0", "ab", "\xff", ".hidden"} {
		write(t, dir, f, "")
	}
	names, errs := walk(t, dir)
	if !slices.Equal(names, want) || errs != nil || !slices.IsSorted(names) {
		t.Errorf("%q %q", names, errs)
	}
}

// TestWalkMany: a directory larger than one buffer of getdents64(2) and one chunk of names, next to others.
func TestWalkMany(t *testing.T) {
	dir := t.TempDir()
	want := []string{"."}
	for i := range 3000 {
		name := fmt.Sprintf("%s%04d", strings.Repeat("n", 40), i)
		if i%3 == 0 {
			must(t, os.Mkdir(filepath.Join(dir, name), 0o755))
			write(t, dir, name+"/f", "")
			want = append(want, "./"+name, "./"+name+"/f")
		} else {
			write(t, dir, name, "")
			want = append(want, "./"+name)
		}
	}
	names, errs := walk(t, dir)
	if !slices.Equal(names, want) || errs != nil {
		t.Errorf("%d names, not %d; %q", len(names), len(want), errs)
	}
}

// TestWalkGone: what vanishes during the walk is told, and the rest is walked.
func TestWalkGone(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"a", "b", "c", "d"} {
		write(t, dir, d+"/f", "")
	}
	var names, errs []string
	must(t, openDir(t, dir).Walk(false, func(name []byte) error {
		names = append(names, string(name))
		if string(name) == "./a" {
			must(t, os.RemoveAll(filepath.Join(dir, "b")))
			must(t, os.RemoveAll(filepath.Join(dir, "c")))
			must(t, os.Symlink("d", filepath.Join(dir, "c")))
		}
		return nil
	}, func(err error) { errs = append(errs, err.Error()) }))
	if fmt.Sprint(names) != "[. ./a ./a/f ./b ./c ./d ./d/f]" ||
		fmt.Sprint(errs) != "[./b: no such file or directory ./c: not a directory]" {
		t.Errorf("%q %q", names, errs)
	}
}

func TestWalkEnds(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a/b/c", "")
	oops := errors.New("oops")
	for stop := 1; stop <= 4; stop++ {
		n := 0
		err := openDir(t, dir).Walk(true, func([]byte) error {
			if n++; n == stop {
				return oops
			}
			return nil
		}, func(error) { t.Error("told to go on") })
		if err != oops || n != stop {
			t.Errorf("%v after %d names", err, n)
		}
	}
}

// TestWalkDeleted: the directory itself may be gone.
func TestWalkDeleted(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gone")
	must(t, os.Mkdir(dir, 0o755))
	d := openDir(t, dir)
	must(t, os.Remove(dir))
	var errs []string
	must(t, d.Walk(false, func([]byte) error { return nil }, func(err error) { errs = append(errs, err.Error()) }))
	if len(errs) > 1 {
		t.Errorf("%q", errs)
	}
}

// TestEntries: names that are prefixes of each other, or the same, sort as whole names.
func TestEntries(t *testing.T) {
	var e entries
	var want []string
	for _, name := range []string{"b", "a", "a\x01", "ab", "a", "\xff", "b", "a-", "abc", "a", strings.Repeat("z", 255)} {
		for range 300 {
			e.add([]byte(name), false)
			e.add([]byte(name), true)
		}
		want = append(want, name, name+"/")
	}
	e.sort()
	slices.Sort(want)
	want = slices.Compact(want)
	var got []string
	for _, start := range e.starts {
		got = append(got, string(bytes.Clone(e.name(start))))
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func BenchmarkWalk(b *testing.B) {
	dir, _ := benchTree(b)
	top := openDir(b, dir)
	b.ReportAllocs()
	for b.Loop() {
		names := 0
		must(b, top.Walk(false, func([]byte) error { names++; return nil }, func(err error) { b.Error(err) }))
		if names != 1011 {
			b.Fatal(names)
		}
	}
}
