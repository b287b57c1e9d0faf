package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ctbox/ctbox/applets"
)

// What packagers do: a staged installation, with links that work before and after it is moved in place.
func TestMakeInstall(t *testing.T) {
	if _, err := exec.LookPath("make"); err != nil {
		lacking(t, "make")
	}
	src := copySource(t, filepath.Join(t.TempDir(), "ctbox-1.2.3"))
	stage := filepath.Join(t.TempDir(), "a stage")
	runMake := func(args ...string) {
		t.Helper()
		cmd := exec.Command("make", append(args, "-C", src, "VERSION=1.2.3", "DESTDIR="+stage, "PREFIX=/usr")...)
		cmd.Env = append(os.Environ(), "MAKEFLAGS=")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("make %s: %v\n%s", args, err, out)
		}
	}
	runMake("install", "install-links")
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
		if err != nil || to != "../../../usr/bin/ctbox" {
			t.Errorf("%s: %q, %v", link.Name(), to, err)
		}
	}
	runMake("uninstall")
	left, err := exec.Command("find", stage, "!", "-type", "d").Output()
	if err != nil || len(left) != 0 {
		t.Errorf("after uninstall: %s%v", left, err)
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
