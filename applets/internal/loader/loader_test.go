package loader

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ctbox/ctbox/tests/elftest"
)

// A fixture is a tree of ELF files, of text, and of links, which begin with "->".
type fixture map[string]any

func (x fixture) make(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for name, what := range x {
		path := filepath.Join(root, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		switch what := what.(type) {
		case elftest.File:
			must(t, os.WriteFile(path, what.Bytes(), 0o644))
		case elftest.Cache:
			must(t, os.WriteFile(path, what.Bytes(), 0o644))
		case string:
			if target, ok := strings.CutPrefix(what, "->"); ok {
				must(t, os.Symlink(target, path))
			} else {
				must(t, os.WriteFile(path, []byte(what), 0o644))
			}
		}
	}
	return root
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A result is what was reported, in its order.
type result struct {
	libs, passed, fails []string
}

func (r *result) report() Report {
	return Report{
		Library: func(path string) { r.libs = append(r.libs, path) },
		Passed:  func(name string) { r.passed = append(r.passed, name) },
		Fail:    func(err error) { r.fails = append(r.fails, err.Error()) },
	}
}

// find is the result for programs in a tree.
func find(t *testing.T, root string, programs ...string) result {
	t.Helper()
	var r result
	f, err := Open(root, r.report())
	must(t, err)
	defer f.Close()
	for _, name := range programs {
		f.Libraries(name)
	}
	return r
}

// expect compares words: libraries, and what fails, which begins with "!".
func (r result) expect(t *testing.T, want ...string) {
	t.Helper()
	got := slices.Clone(r.libs)
	for _, f := range r.fails {
		got = append(got, "!"+f)
	}
	if !slices.Equal(got, want) {
		t.Errorf("\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func str(s string) *string { return &s }

// architectures are what Debian and others have been built for, with the names of their directories.
var architectures = map[string]elftest.File{
	"x86_64-linux-gnu":          {Machine: 62},
	"x86_64-linux-gnux32":       {Machine: 62, Narrow: true},
	"i386-linux-gnu":            {Machine: 3, Narrow: true},
	"aarch64-linux-gnu":         {Machine: 183},
	"arm-linux-gnueabihf":       {Machine: 40, Narrow: true, Flags: 0x5000400},
	"arm-linux-gnueabi":         {Machine: 40, Narrow: true, Flags: 0x5000200},
	"mips-linux-gnu":            {Machine: 8, Narrow: true, Big: true, Flags: 0x70001007},
	"mipsel-linux-gnu":          {Machine: 8, Narrow: true, Flags: 0x70001007},
	"mips64el-linux-gnuabin32":  {Machine: 8, Narrow: true, Flags: 0x80000027},
	"mips64el-linux-gnuabi64":   {Machine: 8, Flags: 0x80000007},
	"mipsisa32r6el-linux-gnu":   {Machine: 8, Narrow: true, Flags: 0x90001407},
	"powerpc-linux-gnu":         {Machine: 20, Narrow: true, Big: true},
	"powerpc64-linux-gnu":       {Machine: 21, Big: true, Flags: 1},
	"powerpc64le-linux-gnu":     {Machine: 21, Flags: 2},
	"s390x-linux-gnu":           {Machine: 22, Big: true},
	"sparc64-linux-gnu":         {Machine: 43, Big: true},
	"hppa-linux-gnu":            {Machine: 15, Narrow: true, Big: true},
	"alpha-linux-gnu":           {Machine: 0x9026},
	"m68k-linux-gnu":            {Machine: 4, Narrow: true, Big: true},
	"riscv64-linux-gnu":         {Machine: 243, Flags: 5},
	"riscv64-linux-gnulp64":     {Machine: 243, Flags: 1},
	"riscv32-linux-gnu":         {Machine: 243, Narrow: true, Flags: 5},
	"loongarch64-linux-gnu":     {Machine: 258, Flags: 0x43},
	"loongarch64-linux-gnusf":   {Machine: 258, Flags: 0x41},
	"machine4242-linux-gnuwide": {Machine: 4242, Big: true},
}

// In one tree with the libraries of all, each program finds its own, in the default directories, by the cache and
// through an RPATH where others come first.
func TestArchitectures(t *testing.T) {
	x := fixture{}
	var cached [][2]string
	var rpath []string
	for name, file := range architectures {
		file.Soname = "libc.so.6"
		x["usr/lib/"+name+"/libc.so.6"] = file
		file.Soname = ""
		x["opt/"+name+"/libcached.so"] = file
		x["srv/"+name+"/libr.so"] = file
		cached = append(cached, [2]string{"libcached.so", "/opt/" + name + "/libcached.so"})
		rpath = append(rpath, "/srv/"+name)
	}
	slices.Sort(rpath)
	for name, file := range architectures {
		file.Needed, file.RPath = []string{"libc.so.6", "libcached.so", "libr.so"}, strings.Join(rpath, ":")
		x["bin/"+name] = file
	}
	x["lib"] = "->usr/lib"
	x["etc/ld.so.cache"] = elftest.Cache{Entries: cached}
	root := x.make(t)
	for name := range architectures {
		t.Run(name, func(t *testing.T) {
			find(t, root, "bin/"+name).expect(t,
				"/lib/"+name+"/libc.so.6", "/opt/"+name+"/libcached.so", "/srv/"+name+"/libr.so")
		})
	}
}

// An ARM or PowerPC file that says nothing of its calling convention goes with any.
func TestUnmarkedABI(t *testing.T) {
	old := elftest.File{Machine: 40, Narrow: true, Flags: 0x5000000}
	program := elftest.File{Machine: 40, Narrow: true, Flags: 0x5000400, Needed: []string{"liba.so"}}
	find(t, fixture{"lib/liba.so": old, "bin/x": program}.make(t), "bin/x").expect(t, "/lib/liba.so")
	old, program = elftest.File{Machine: 243}, elftest.File{Machine: 243, Flags: 5, Needed: []string{"liba.so"}}
	find(t, fixture{"lib/liba.so": old, "bin/x": program}.make(t), "bin/x").expect(t,
		"!bin/x: liba.so: only for another architecture")
}

// Libraries come breadth first, each once, with their loader.
func TestOrder(t *testing.T) {
	root := fixture{
		"bin/x":         elftest.File{Kind: 2, Interp: "/lib/ld.so.1", Needed: []string{"libb.so", "liba.so"}},
		"bin/y":         elftest.File{Interp: "/lib/ld.so.1", Needed: []string{"liba.so", "ld.so.1"}, LastStrTab: true},
		"bin/static":    elftest.File{Kind: 2, Static: true},
		"bin/staticpie": elftest.File{},
		"bin/object":    elftest.File{Kind: 1, Needed: []string{"liba.so"}},
		"bin/core":      elftest.File{Kind: 4, Needed: []string{"liba.so"}},
		"bin/script":    "#!/bin/x\n",
		"bin/empty":     "",
		"bin/short":     "\x7fEL",
		"lib/liba.so":   elftest.File{Soname: "liba.so", Needed: []string{"libc.so", "libb.so"}},
		"lib/libb.so":   elftest.File{Soname: "libb.so", Needed: []string{"libd.so", "ld.so.1"}},
		"lib/libc.so":   elftest.File{Needed: []string{"liba.so"}},
		"lib/libd.so":   elftest.File{Needed: []string{"libd.so"}},
		"lib/ld.so.1":   elftest.File{Soname: "ld.so.1", Needed: []string{"libno.so"}},
	}.make(t)
	all := []string{"/lib/ld.so.1", "/lib/libb.so", "/lib/liba.so", "/lib/libd.so", "/lib/libc.so"}
	find(t, root, "bin/x").expect(t, all...)
	find(t, root, "bin/static", "/bin/x", "./bin/../bin//y", "bin/script", "bin", "bin/empty", "bin/short",
		"bin/object", "bin/core", "bin/staticpie").expect(t, all...)
	find(t, root, "lib/libc.so").expect(t, "/lib/liba.so", "/lib/libc.so", "/lib/libb.so", "/lib/libd.so", "/lib/ld.so.1",
		"!/lib/ld.so.1: libno.so: not found")
}

// The order of ld.so(8): RPATH of who needs it and of those who need that, RUNPATH, the cache, the default directories.
func TestSearchOrder(t *testing.T) {
	places := []string{"mid", "main", "run", "cached", "usr/lib/x86_64-linux-gnu", "lib64", "usr/lib64", "lib", "usr/lib"}
	for i := range places {
		x := fixture{
			"bin/x":          elftest.File{Needed: []string{"libmid.so"}, RPath: "/main:/none"},
			"bin/nothing":    elftest.File{Needed: []string{"liba.so"}, RPath: "/none"},
			"bin/run":        elftest.File{Needed: []string{"liba.so"}, RPath: "/main", RunPath: str("/none:/run/")},
			"bin/emptyrun":   elftest.File{Needed: []string{"liba.so"}, RPath: "/main", RunPath: str("")},
			"main/libmid.so": elftest.File{Needed: []string{"liba.so"}, RPath: "/mid"},
			"etc/ld.so.cache": elftest.Cache{HWCap: 1 << 62, Entries: [][2]string{
				{"liba.so", "/special/liba.so+"}, {"liba.so", "/gone/liba.so"}, {"liba.so", "/cached/liba.so"}, {"liba.so", ""}}},
			"special/liba.so": elftest.File{},
		}
		for _, place := range places[i:] {
			x[place+"/liba.so"] = elftest.File{}
		}
		root := x.make(t)
		first := func(from string) string { return "/" + places[max(i, slices.Index(places, from))] + "/liba.so" }
		find(t, root, "bin/x").expect(t, "/main/libmid.so", strings.Replace(first("mid"), "/run/", "/cached/", 1))
		find(t, root, "bin/nothing").expect(t, first("cached"))
		find(t, root, "bin/run").expect(t, first("run"))
		find(t, root, "bin/emptyrun").expect(t, first("cached"))
	}
}

func TestNoDefault(t *testing.T) {
	needs := []string{"libcached.so", "libopt.so", "liblib.so"}
	root := fixture{
		"bin/x":            elftest.File{Needed: needs, NoDefault: true},
		"lib/libcached.so": elftest.File{},
		"lib/liblib.so":    elftest.File{},
		"opt/libopt.so":    elftest.File{},
		"etc/ld.so.cache": elftest.Cache{Entries: [][2]string{
			{"libcached.so", "/lib/libcached.so"}, {"libopt.so", "/opt/libopt.so"}}},
	}
	want := []string{"/opt/libopt.so", "!bin/x: libcached.so: not found", "!bin/x: liblib.so: not found"}
	find(t, root.make(t), "bin/x").expect(t, want...)
	delete(root, "etc/ld.so.cache")
	root["etc/ld.so.conf"] = "/lib\n/opt\n"
	find(t, root.make(t), "bin/x").expect(t, want...)
}

func TestTokens(t *testing.T) {
	for rpath, want := range map[string]string{
		"$ORIGIN":                          "/app/bin/liba.so",
		"${ORIGIN}/../lib":                 "/app/lib/liba.so",
		"/x${ORIGIN}":                      "/x/app/bin/liba.so",
		"$ORIGIN/$LIB":                     "/app/bin/lib/x86_64-linux-gnu/liba.so",
		"/app/${LIB}/$LIB":                 "/app/lib64/lib64/liba.so",
		"/app/$PLATFORM":                   "/app/x86_64/liba.so",
		"/${PLATFORM}/${ORIGIN}":           "/x86_64/app/bin/liba.so",
		"/a$b":                             "/a$b/liba.so",
		"app/rel":                          "/app/rel/liba.so",
		":":                                "/liba.so",
		"/none:/app/dots/./..//lib/":       "/app/lib/liba.so",
		"/link/../up":                      "/elsewhere/up/liba.so", // not /up
		strings.Repeat("$ORIGIN/", 9):      "",
		"/" + strings.Repeat("long/", 900): "",
	} {
		t.Run(rpath[:min(len(rpath), 30)], func(t *testing.T) {
			x := fixture{
				"app/bin/x":                    elftest.File{Interp: "/ld.so", Needed: []string{"liba.so"}, RPath: rpath},
				"bin/x":                        "->/app/bin/x",
				"ld.so":                        elftest.File{},
				"usr/lib/x86_64-linux-gnu/any": "",
				"app/dots/any":                 "",
				"link":                         "->elsewhere/there",
				"elsewhere/there/any":          "",
			}
			all := []string{"/ld.so", "!bin/x: liba.so: not found"}
			if want != "" {
				x[want] = elftest.File{}
				all[1] = want
			}
			find(t, x.make(t), "bin/x").expect(t, all...)
		})
	}
}

// A machine whose $PLATFORM depends on the processor has none here.
func TestNoPlatform(t *testing.T) {
	file := elftest.File{Machine: 22, Big: true}
	program := file
	program.Needed, program.RPath = []string{"liba.so"}, "/$PLATFORM:/b"
	find(t, fixture{"x": program, "$PLATFORM/liba.so": file, "b/liba.so": file}.make(t), "x").expect(t, "/b/liba.so")
}

// What is needed by a path is found there or not at all, and what is there by another name is not searched for.
func TestNames(t *testing.T) {
	root := fixture{
		"bin/x":       elftest.File{Needed: []string{"/opt/a.so", "$ORIGIN/b.so", "opt/c.so", "liba.so.1", "libd.so", "e/none.so"}},
		"opt/a.so":    elftest.File{Soname: "liba.so.1"},
		"bin/b.so":    elftest.File{},
		"opt/c.so":    elftest.File{Needed: []string{"libalias.so", "/opt/../opt/a.so"}},
		"lib/libd.so": elftest.File{RPath: "/opt"},
		"lib/none.so": elftest.File{},
		// Another name of the same file is needed, too, but what that needs is not loaded twice.
		"lib/libalias.so": "->libd.so",
	}.make(t)
	find(t, root, "bin/x").expect(t, "/opt/a.so", "/bin/b.so", "/opt/c.so", "/lib/libd.so", "/lib/libalias.so",
		"!bin/x: e/none.so: not found")
}

func TestFailures(t *testing.T) {
	whole := elftest.File{Needed: []string{"libno.so"}, Soname: "x"}.Bytes()
	arm := elftest.File{Machine: 40, Narrow: true}
	root := fixture{
		"bin/x": elftest.File{Interp: "/lib/ld.so", Needed: []string{"libno.so", "libcut.so", "libtext.so", "libarm.so", "liba.so",
			"a b\n", "libdir.so", "liblink.so", "libboth.so"}},
		"bin/y":            elftest.File{Needed: []string{"liba.so", "libno.so"}},
		"bin/arm":          elftest.File{Machine: 40, Narrow: true, Interp: "/lib/liba.so"},
		"bin/gone":         "->../bin/nowhere",
		"bin/loop":         "->loop",
		"bin/cut":          string(whole[:len(whole)-1]),
		"lib/libcut.so":    string(whole[:100]),
		"lib/libtext.so":   "INPUT(libc.so.6)\n",
		"lib/libarm.so":    arm,
		"lib/libboth.so":   arm,
		"lib64/libboth.so": "\x7fELF",
		"lib/liba.so":      elftest.File{Needed: []string{"libno.so", "libnone.so"}},
		"lib/libdir.so/x":  "",
		"lib/liblink.so":   "->liblink.so",
	}.make(t)
	find(t, root, "bin/x", "bin/y", "bin/arm", "none", "bin/gone", "bin/loop", "bin/x/y", "bin/cut", "").expect(t,
		"/lib/liba.so",
		"!bin/x: /lib/ld.so: not found",
		"!bin/x: libno.so: not found",
		"!bin/x: libcut.so: /lib/libcut.so: truncated ELF file",
		"!bin/x: libtext.so: /lib/libtext.so: no ELF program or library",
		"!bin/x: libarm.so: only for another architecture",
		`!bin/x: "a b\n": not found`,
		"!bin/x: libdir.so: /lib/libdir.so: no ELF program or library",
		"!bin/x: liblink.so: /lib/liblink.so: too many levels of symbolic links",
		"!bin/x: libboth.so: /lib64/libboth.so: truncated ELF file",
		"!/lib/liba.so: libno.so: not found",
		"!/lib/liba.so: libnone.so: not found",
		"!bin/y: libno.so: not found",
		"!bin/arm: /lib/liba.so: only for another architecture",
		"!none: no such file or directory",
		"!bin/gone: no such file or directory",
		"!bin/loop: too many levels of symbolic links",
		"!bin/x/y: not a directory",
		"!bin/cut: truncated ELF file",
		`!"": no such file or directory`,
	)
}

// What was read is forgotten when it is too much, and then read again.
func TestMemory(t *testing.T) {
	root := fixture{
		"bin/x":       elftest.File{Needed: []string{"liba.so"}},
		"lib/liba.so": elftest.File{Needed: []string{"libno.so"}},
	}.make(t)
	var r result
	f, err := Open(root, r.report())
	must(t, err)
	defer f.Close()
	for i := range 3 {
		f.Libraries("bin/x")
		if before := len(f.libraries); before < 5 || f.held < before*500 {
			t.Errorf("%d paths, %d bytes", before, f.held)
		}
		f.held = maxHeld + 1
		if f.library(fmt.Sprint("/lib/", i)); len(f.libraries) != 1 || f.held > 1000 {
			t.Errorf("%d paths, %d bytes", len(f.libraries), f.held)
		}
	}
	r.expect(t, "/lib/liba.so", "!/lib/liba.so: libno.so: not found")
}
