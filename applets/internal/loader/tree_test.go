package loader

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ctbox/ctbox/tests/elftest"
)

// Every link and directory on the way is passed, by its canonical name; none outside the tree.
func TestPassed(t *testing.T) {
	root := fixture{
		"bin/x":               elftest.File{Interp: "/lib/ld.so", Needed: []string{"liba.so", "libb.so"}, RPath: "$ORIGIN/../other/./lib:/up"},
		"lib":                 "->usr/lib",
		"usr/lib/ld.so":       "->../../deep/er/../ld-2.so",
		"deep/er/any":         "",
		"deep/ld-2.so":        elftest.File{},
		"other":               "->/../../../usr//share/",
		"usr/share/lib":       "->.",
		"usr/share/liba.so":   "->./liba.so.1",
		"usr/share/liba.so.1": elftest.File{},
		"up":                  "->../../../../bin/up",
		"bin/up/libb.so":      elftest.File{},
	}.make(t)
	r := find(t, root, "bin/x")
	r.expect(t, "/lib/ld.so", "/other/lib/liba.so", "/up/libb.so")
	slices.Sort(r.passed)
	want := []string{
		"./bin", "./bin/up", "./bin/up/libb.so", "./deep", "./deep/er", "./deep/ld-2.so", "./lib", "./other", "./up",
		"./usr", "./usr/lib", "./usr/lib/ld.so",
		"./usr/share", "./usr/share/lib", "./usr/share/liba.so", "./usr/share/liba.so.1",
	}
	if got := slices.Compact(r.passed); !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
}

// However a name is spelled and wherever links point, what is found is in the tree.
func TestInside(t *testing.T) {
	dir := t.TempDir()
	outside := elftest.File{Needed: []string{"liboutside.so"}}
	must(t, os.WriteFile(filepath.Join(dir, "outside"), outside.Bytes(), 0o644))
	x := fixture{
		"bin/x":       elftest.File{Needed: []string{"liba.so", "../outside"}, RPath: "/../..:$ORIGIN/../../..:" + dir},
		"bin/up":      "->../../outside",
		"bin/root":    "->" + dir + "/outside",
		"bin/self":    "->/bin/x",
		"bin/proc":    "->/proc/self/root",
		"lib/liba.so": elftest.File{},
	}
	must(t, os.Rename(x.make(t), filepath.Join(dir, "root")))
	must(t, os.WriteFile(filepath.Join(dir, "liba.so"), elftest.File{}.Bytes(), 0o644))
	for _, name := range []string{"bin/x", "./bin/x", "/bin/x", "../bin/x", "/../../bin/../bin/x", "bin/self"} {
		find(t, filepath.Join(dir, "root"), name).expect(t, "/lib/liba.so", "!"+name+": ../outside: not found")
	}
	for _, name := range []string{"bin/up", "bin/root", "bin/proc", "../outside", dir + "/outside"} {
		find(t, filepath.Join(dir, "root"), name).expect(t, "!"+name+": no such file or directory")
	}
}

// Without a root, relative names begin at the current directory, and the host's "/" is the root.
func TestHost(t *testing.T) {
	root, err := filepath.EvalSymlinks(fixture{
		"bin/x":       elftest.File{Needed: []string{"liba.so"}, RPath: "$ORIGIN/../lib"},
		"lib/liba.so": elftest.File{Machine: 62},
		"run/x":       "->../bin/x",
	}.make(t))
	must(t, err)
	t.Chdir(filepath.Join(root, "run"))
	for _, name := range []string{"../bin/x", root + "/bin/x"} {
		find(t, "", name).expect(t, root+"/lib/liba.so")
	}
}

// Paths that only waste time come to an end.
func TestPaths(t *testing.T) {
	x := fixture{"a": "->b/b", "b": "->a", "c": "->c/c/c/c", "d": "->./d2", "d2": "->.", "up/x": "", "file": ""}
	for i := range 60 { // e0 -> e1 -> ... -> e60
		x["e"+strings.Repeat("x", i)] = "->e" + strings.Repeat("x", i+1)
	}
	x["e"+strings.Repeat("x", 60)] = ""
	root := x.make(t)
	f, err := Open(root, Report{})
	must(t, err)
	defer f.Close()
	for path, want := range map[string]string{
		"a": "too many levels", "c": "too many levels", "e": "too many levels",
		"d/d/d/d": "", "/" + strings.Repeat("d/", 21): "too many levels",
		"e" + strings.Repeat("x", 30): "", "up/../up/./x": "", "../../up": "", "//": "",
		strings.Repeat("y", 256):         "name too long",
		strings.Repeat("up/../", 20_000): "",
		strings.Repeat("y", 5000) + "/x": "name too long",
		"file/..":                        "not a directory",
		"file/x":                         "not a directory",
		"":                               "no such file",
	} {
		_, _, err := f.walk(path, nil)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%.40q: %v, want %q", path, err, want)
		}
	}
}
