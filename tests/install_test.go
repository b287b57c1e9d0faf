package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ctbox/ctbox/applets"
)

// makeIn runs make in a source with the variables and targets in args, and returns what it says.
func makeIn(t *testing.T, src string, args ...string) string {
	t.Helper()
	cmd := exec.Command("make", append(args, "-C", src)...)
	cmd.Env = append(os.Environ(), "MAKEFLAGS=")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("make %s: %v\n%s", args, err, out)
	}
	return string(out)
}

// filesIn lists all that is in dir and is no directory.
func filesIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	check(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			name, _ := filepath.Rel(dir, path)
			names = append(names, name)
		}
		return err
	}))
	return names
}

// What packagers do: a staged installation, with links that work before and after it is moved in place.
func TestMakeInstall(t *testing.T) {
	requireTool(t, "make")
	src := copySource(t, filepath.Join(t.TempDir(), "ctbox-1.2.3"))
	stage := filepath.Join(t.TempDir(), "a stage")
	places := []string{"VERSION=1.2.3", "DESTDIR=" + stage, "PREFIX=/usr"}
	makeIn(t, src, append(places, "install", "install-links")...)
	for path, want := range map[string]string{
		"usr/bin/ctbox":           "ctbox 1.2.3\n",
		"usr/libexec/ctbox/need":  "need (ctbox) 1.2.3\n",
		"usr/libexec/ctbox/gauge": "",
	} {
		out, err := exec.Command(filepath.Join(stage, path), "--version").Output()
		if !strings.HasPrefix(string(out), want) || (err != nil) != (want == "") {
			t.Errorf("%s --version: %v, %q", path, err, out)
		}
	}
	links, err := os.ReadDir(filepath.Join(stage, "usr/libexec/ctbox"))
	if err != nil || len(links) != len(applets.Names()) {
		t.Errorf("%d links for %d applets, %v", len(links), len(applets.Names()), err)
	}
	for _, link := range links {
		to, err := os.Readlink(filepath.Join(stage, "usr/libexec/ctbox", link.Name()))
		if err != nil || to != "../../bin/ctbox" {
			t.Errorf("%s: %q, %v", link.Name(), to, err)
		}
	}
	makeIn(t, src, append(places, "uninstall")...)
	if left := filesIn(t, stage); len(left) != 0 {
		t.Errorf("after uninstall: %q", left)
	}
}

// What others have in the same directories stays, and so do the directories; names may have spaces and the umask may be any.
func TestMakeUninstall(t *testing.T) {
	requireTool(t, "make")
	src := copySource(t, filepath.Join(t.TempDir(), "the source"))
	check(t, os.MkdirAll(filepath.Join(src, "do-examples/tree"), 0o755))
	check(t, os.WriteFile(filepath.Join(src, "do-examples/tree/run"), []byte("#!/bin/sh\n"), 0o755))
	stage, prefix := filepath.Join(t.TempDir(), "a stage"), "/opt/our own"
	in := func(name string) string { return filepath.Join(stage, prefix, name) }
	others := []string{"bin/ctbox-2", "share/bash-completion/completions/need", "share/man/man1/ctbox-need2.1", "libexec/other/need"}
	for _, name := range others {
		check(t, os.MkdirAll(filepath.Dir(in(name)), 0o755))
		check(t, os.WriteFile(in(name), nil, 0o644))
	}
	check(t, os.MkdirAll(in("libexec/ctbox"), 0o755))
	check(t, os.Symlink("../../old/bin/ctbox", in("libexec/ctbox/need"))) // of an older version

	places := []string{"CTBOX=" + staticCtbox(t), "DESTDIR=" + stage, "PREFIX=" + prefix}
	for range 2 { // the second time, all is there already
		cmd := exec.Command("sh", append([]string{"-c", `umask 077; exec make "$@"`, "make", "-C", src, "install", "install-links"}, places...)...)
		cmd.Env = append(os.Environ(), "MAKEFLAGS=")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	for name, want := range map[string]os.FileMode{
		"bin/ctbox": 0o755, "share/man/man5": 0o755, "share/man/man5/ctbox-list.5": 0o644, "share/doc/ctbox/LICENSE": 0o644,
		"share/doc/ctbox/examples/tree": 0o755, "share/doc/ctbox/examples/tree/run": 0o755,
	} {
		if fi, err := os.Stat(in(name)); err != nil || fi.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", name, fi, err)
		}
	}
	program, err1 := os.Stat(in("bin/ctbox"))
	if need, err2 := os.Stat(in("libexec/ctbox/need")); !os.SameFile(need, program) {
		t.Errorf("need is not ctbox: %v, %v", err1, err2)
	}
	makeIn(t, src, append(places, "uninstall")...)
	slices.Sort(others)
	if left := filesIn(t, in("")); !slices.Equal(left, others) {
		t.Errorf("after uninstall: %q", left)
	}
	for name, there := range map[string]bool{"share/doc/ctbox": false, "libexec/ctbox": false, "share/man/man5": true} {
		if _, err := os.Stat(in(name)); (err == nil) != there {
			t.Errorf("after uninstall: %s: %v", name, err)
		}
	}
}

func TestReadmeHasEveryApplet(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(string(readme), "\n| `"); got != len(applets.Names()) {
		t.Errorf("%d rows for %d applets", got, len(applets.Names()))
	}
	for _, name := range applets.Names() {
		if !strings.Contains(string(readme), "\n| `"+name+"` | ") {
			t.Errorf("no row for %s", name)
		}
	}
}
