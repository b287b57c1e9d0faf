package tests

import (
	"bytes"
	"debug/elf"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/ctbox/ctbox/tests/elftest"
)

// interpreterOf is the loader that an ELF program names, or "".
func interpreterOf(path string) string {
	f, err := elf.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	for _, p := range f.Progs {
		if text := make([]byte, p.Filesz); p.Type == elf.PT_INTERP {
			p.ReadAt(text, 0)
			return string(bytes.TrimRight(text, "\x00"))
		}
	}
	return ""
}

// loaded is what the system's own loader says that a program would load: canonical paths, and the names of what is
// missing. It is asked without what is better on this processor only, and without running the program.
func loaded(t *testing.T, loader, path string) (libs, missing []string) {
	t.Helper()
	cmd := exec.Command(loader, "--glibc-hwcaps-mask", "none", path)
	cmd.Env = []string{"LC_ALL=C", "LD_TRACE_LOADED_OBJECTS=1"}
	if strings.HasPrefix(filepath.Base(loader), "ld-musl-") {
		cmd = exec.Command(loader, "--list", path)
		cmd.Env = []string{"LC_ALL=C"}
	}
	out, err := cmd.CombinedOutput() // musl ends with 127 where something is missing
	line := regexp.MustCompile(`(?m)^\t(?:(\S+) => (not found|\S+)|(\S+))(?: \(0x[0-9a-f]+\))?$|^Error loading shared library (\S+):`)
	for _, m := range line.FindAllStringSubmatch(string(out), -1) {
		switch {
		case m[4] != "":
			missing = append(missing, m[4])
		case m[2] == "not found":
			missing = append(missing, m[1])
		case !strings.HasPrefix(m[3], "linux-"): // the kernel's own has no file
			libs = append(libs, canonical(t, m[2]+m[3]))
		}
	}
	if err != nil && missing == nil {
		t.Fatalf("%s: %v\n%s", path, err, out)
	}
	libs = append(libs, canonical(t, loader))
	slices.Sort(libs)
	slices.Sort(missing)
	return slices.Compact(libs), slices.Compact(missing)
}

func canonical(t *testing.T, path string) string {
	t.Helper()
	real, err := filepath.EvalSymlinks(path)
	check(t, err)
	real, err = filepath.Abs(real)
	check(t, err)
	return real
}

// libsOf is what ctbox says.
func libsOf(t *testing.T, args ...string) (libs, missing []string) {
	t.Helper()
	out, errs, err := try("", append([]string{staticCtbox(t), "libs"}, args...)...)
	if (err != nil) != (errs != "") {
		t.Fatalf("%q: %v, but says %q", args, err, errs)
	}
	for _, name := range strings.Fields(out) {
		libs = append(libs, canonical(t, name))
	}
	for _, m := range regexp.MustCompile(`(?m)^ctbox libs: .*: (\S+): not found$`).FindAllStringSubmatch(errs, -1) {
		missing = append(missing, m[1])
	}
	if strings.Count(errs, "\n") != len(missing) {
		t.Fatalf("%q: %s", args, errs)
	}
	slices.Sort(libs)
	slices.Sort(missing)
	return slices.Compact(libs), slices.Compact(missing)
}

func compareLibs(t *testing.T, loader, path string) {
	t.Helper()
	libs, missing := libsOf(t, path)
	wantLibs, wantMissing := loaded(t, loader, path)
	if !slices.Equal(libs, wantLibs) || !slices.Equal(missing, wantMissing) {
		t.Errorf("%s:\n%q, missing %q\nwant:\n%q, missing %q", path, libs, missing, wantLibs, wantMissing)
	}
}

// systemPrograms are the programs of this machine that its loader would load.
func systemPrograms(t *testing.T) (loader string, programs []string) {
	t.Helper()
	self := canonical(t, "/bin/sh")
	if loader = interpreterOf(self); loader == "" {
		lacking(t, "/bin/sh has no loader")
	}
	for _, dir := range []string{"/usr/bin", "/usr/sbin"} {
		files, err := os.ReadDir(dir)
		check(t, err)
		for _, f := range files {
			path, err := filepath.EvalSymlinks(filepath.Join(dir, f.Name()))
			if err == nil && interpreterOf(path) == loader {
				programs = append(programs, path)
			}
		}
	}
	slices.Sort(programs)
	return loader, slices.Compact(programs)
}

// The programs of this machine need what its own loader says, each and all together.
func TestLibsOfSystem(t *testing.T) {
	loader, programs := systemPrograms(t)
	each := max(1, len(programs)/150)
	all := map[string]bool{}
	for i, path := range programs {
		libs, _ := loaded(t, loader, path)
		for _, lib := range libs {
			all[lib] = true
		}
		if i%each == 0 {
			compareLibs(t, loader, path)
		}
	}
	t.Logf("%d programs, %d libraries", len(programs), len(all))
	out, errs, _ := try(strings.Join(programs, "\n")+"\n", staticCtbox(t), "libs")
	got := map[string]bool{}
	for _, name := range strings.Fields(out) {
		got[canonical(t, name)] = true
	}
	if !maps.Equal(got, all) {
		t.Errorf("%q\nwant %q\n%s", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(all)), errs)
	}
}

// A compiler makes programs and libraries in one directory, which is also where it and all others are run.
type compiler struct {
	t       *testing.T
	dir     string
	command []string
}

func newCompiler(t *testing.T, command ...string) *compiler {
	t.Helper()
	requireTool(t, command[0])
	c := &compiler{t, t.TempDir(), command}
	check(t, os.WriteFile(filepath.Join(c.dir, "lib.c"), nil, 0o644))
	check(t, os.WriteFile(filepath.Join(c.dir, "main.c"), []byte("int main(void) { return 0; }\n"), 0o644))
	return c
}

func (c *compiler) make(out string, args ...string) {
	c.t.Helper()
	check(c.t, os.MkdirAll(filepath.Join(c.dir, filepath.Dir(out)), 0o755))
	line := append(slices.Clone(c.command), "-Wl,--no-as-needed", "-Wl,--allow-shlib-undefined", "-o", out)
	cmd := exec.Command(line[0], append(line[1:], args...)...)
	cmd.Dir = c.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		c.t.Fatalf("%q: %v\n%s", cmd.Args, err, out)
	}
}

func (c *compiler) library(out string, args ...string) {
	c.t.Helper()
	c.make(out, append([]string{"-shared", "-fPIC", "lib.c", "-Wl,-soname," + filepath.Base(out)}, args...)...)
}

func (c *compiler) program(out string, args ...string) {
	c.t.Helper()
	c.make(out, append([]string{"main.c"}, args...)...)
}

// What gcc and ld make of RPATH and its relatives is found, or not, as ld.so does.
func TestLibsOfLinker(t *testing.T) {
	loader, _ := systemPrograms(t)
	c := newCompiler(t, "gcc")
	staticCtbox(t) // while the source is where it was
	t.Chdir(c.dir)
	const rpath, runpath = "-Wl,--disable-new-dtags,-rpath,", "-Wl,--enable-new-dtags,-rpath,"

	c.library("lib/libleaf.so")
	c.library("lib/libmid.so", "lib/libleaf.so")
	c.library("lib/libown.so", "lib/libleaf.so", runpath+"$ORIGIN")
	c.library("lib/libelse.so", "lib/libleaf.so", runpath+"/nowhere")
	c.program("bin/rpath", "lib/libmid.so", rpath+"$ORIGIN/../lib")
	c.program("bin/rpathbraces", "lib/libmid.so", rpath+"${ORIGIN}/../lib/.")
	c.program("bin/runpath", "lib/libmid.so", runpath+"$ORIGIN/../lib")
	c.program("bin/runpathall", "lib/libmid.so", "lib/libleaf.so", runpath+"$ORIGIN/../lib")
	c.program("bin/own", "lib/libown.so", runpath+"/nowhere:"+c.dir+"/lib")
	c.program("bin/else", "lib/libelse.so", rpath+c.dir+"/lib")
	c.program("bin/none", "lib/libmid.so")
	c.program("bin/unknown", "lib/libmid.so", rpath+"$HOME:$ORIGINAL:$ORIGIN/../lib")
	check(t, os.Symlink("lib", "link"))
	c.program("bin/link", "lib/libmid.so", rpath+c.dir+"/link")
	c.program("bin/relative", "lib/libmid.so", rpath+"lib")
	c.library("libcurrent.so")
	c.program("bin/current", "./libcurrent.so", rpath+"/nowhere::/nowhere")
	c.program("bin/nodefault", "lib/libmid.so", rpath+"$ORIGIN/../lib", "-Wl,-z,nodefaultlib")

	// Names with a slash, and libraries that are there by another name already.
	c.make("lib/bare.so", "-shared", "-fPIC", "lib.c")
	c.program("bin/slash", "lib/bare.so")
	c.make("lib/absolute.so", "-shared", "-fPIC", "lib.c", "-Wl,-soname,"+c.dir+"/lib/libmid.so")
	c.program("bin/named", "lib/absolute.so", "lib/libown.so", rpath+"$ORIGIN/../lib")
	check(t, os.Symlink("libleaf.so", "lib/libother.so"))
	c.program("bin/twice", "lib/libother.so", "lib/libown.so", rpath+"$ORIGIN/../lib")

	// A circle.
	c.library("ring/liba.so")
	c.library("ring/libb.so", "ring/liba.so", runpath+"$ORIGIN")
	c.library("ring/liba.so", "ring/libb.so", runpath+"$ORIGIN")
	c.program("bin/ring", "ring/liba.so", rpath+"$ORIGIN/../ring")

	// $LIB is what the distribution has built into its loader.
	for _, dir := range []string{"lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu", "lib64", "lib"} {
		c.library("multi/" + dir + "/libmulti.so")
	}
	c.program("bin/multi", "multi/lib/libmulti.so", rpath+"$ORIGIN/../multi/$LIB")

	programs, err := filepath.Glob(c.dir + "/bin/*")
	check(t, err)
	more, err := filepath.Glob(c.dir + "/*/*.so")
	check(t, err)
	check(t, os.Mkdir("plug", 0o755))
	check(t, os.Symlink("../lib/libown.so", "plug/libown.so")) // its $ORIGIN is plug
	for _, path := range append(append(programs, more...), c.dir+"/plug/libown.so") {
		if interpreterOf(path) == "" {
			compareLibrary(t, loader, path)
		} else {
			compareLibs(t, loader, path)
		}
	}
	if libs, missing := libsOf(t, "bin/rpath", "bin/multi"); len(libs) < 5 || missing != nil {
		t.Errorf("%q, %q", libs, missing)
	}
}

// compareLibrary is compareLibs for a file that names no loader: only those that ask for it have it.
func compareLibrary(t *testing.T, loader, path string) {
	t.Helper()
	libs, missing := libsOf(t, path)
	wantLibs, wantMissing := loaded(t, loader, path)
	libs = append(libs, canonical(t, loader))
	slices.Sort(libs)
	if libs = slices.Compact(libs); !slices.Equal(libs, wantLibs) || !slices.Equal(missing, wantMissing) {
		t.Errorf("%s:\n%q, missing %q\nwant:\n%q, missing %q", path, libs, missing, wantLibs, wantMissing)
	}
}

// musl's loader finds things by rules of its own.
func TestLibsOfMusl(t *testing.T) {
	c := newCompiler(t, "musl-gcc")
	staticCtbox(t) // while the source is where it was
	t.Chdir(c.dir)
	const rpath, runpath = "-Wl,--disable-new-dtags,-rpath,", "-Wl,--enable-new-dtags,-rpath,"
	c.library("lib/libleaf.so")
	c.library("lib/libmid.so", "lib/libleaf.so")
	c.library("lib/libown.so", "lib/libleaf.so", runpath+"$ORIGIN")
	c.make("lib/libmath.so", "-shared", "-fPIC", "lib.c", "-Wl,-soname,libm.so.6") // musl is that itself
	c.program("bin/plain", "-lm")
	c.program("bin/rpath", "lib/libmid.so", rpath+"$ORIGIN/../lib")
	c.program("bin/runpath", "lib/libmid.so", runpath+"${ORIGIN}/../lib")
	c.program("bin/own", "lib/libown.so", runpath+"/nowhere:"+c.dir+"/lib")
	c.program("bin/none", "lib/libmid.so")
	c.program("bin/empty", "lib/libmid.so", rpath+"/nowhere::"+c.dir+"/lib/")
	c.program("bin/math", "lib/libmath.so", rpath+"/nowhere")
	c.program("bin/token", "lib/libmid.so", rpath+"$LIB:"+"$PLATFORM")
	c.make("lib/absolute.so", "-shared", "-fPIC", "lib.c", "-Wl,-soname,"+c.dir+"/lib/libmid.so")
	c.program("bin/named", "lib/absolute.so", rpath+"$ORIGIN/../lib")
	loader := interpreterOf("bin/plain")
	programs, err := filepath.Glob(c.dir + "/bin/*")
	check(t, err)
	for _, path := range programs {
		compareLibs(t, loader, path)
	}
}

// readelf reads the same needs in all that is installed, damaged files apart.
func TestLibsReadelf(t *testing.T) {
	requireTool(t, "readelf")
	// A directory where nothing but the file itself is: all that it needs is missing, and so is told.
	_, programs := systemPrograms(t)
	libs, err := filepath.Glob("/usr/lib/*-linux-gnu*/*.so*")
	check(t, err)
	libs = slices.DeleteFunc(libs, func(path string) bool { // scripts of ld
		f, err := elf.Open(path)
		return err != nil || f.Close() != nil
	})
	root := t.TempDir()
	each := max(1, len(libs)/100)
	for i, path := range append(libs, programs[:min(100, len(programs))]...) {
		if i%each != 0 && i < len(libs) {
			continue
		}
		text, err := os.ReadFile(path)
		check(t, err)
		check(t, os.WriteFile(filepath.Join(root, "file"), text, 0o644))
		_, missing := libsOf(t, "--root="+root, "file")
		out := pipe(t, "", "readelf", "-Wld", path)
		var want []string
		for _, m := range regexp.MustCompile(`\(NEEDED\) +Shared library: \[(.*)\]|Requesting program interpreter: (.*)\]`).FindAllStringSubmatch(out, -1) {
			want = append(want, m[1]+m[2])
		}
		slices.Sort(want)
		if !slices.Equal(missing, want) {
			t.Errorf("%s: %q, want %q", path, missing, want)
		}
	}
}

// A layer of the libraries and their links is all that a program needs to run.
func TestLibsLayer(t *testing.T) {
	requireNamespaces(t)
	b := newBench(t)
	b.ctbox("libs", "/bin/ls")
	b.run("sh", "-euc", `PATH=`+filepath.Dir(staticCtbox(t))+`:$PATH
		ctbox libs -a /bin/ls >names
		ctbox fileids -C / --owner=0:0 <names >list
		test "$(wc -l <names)" = "$(wc -l <list)"
		ctbox mklayer -C / list >layer
		mkdir tree tree/bin
		cp /bin/ls tree/bin
		tar -xf layer -C tree`)
	if got := b.run("unshare", "--user", "--map-root-user", "chroot", "tree", "/bin/ls", "/bin"); got != "ls\n" {
		t.Errorf("%q", got)
	}
}

// In the cache that ldconfig writes, programs of each of its architectures find what only that can tell.
func TestLibsOfLdconfig(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("ldconfig writes for the architectures of its own machine only")
	}
	requireNamespaces(t)
	requireTool(t, "/sbin/ldconfig")
	b := newBench(t)
	archs := map[string]string{"x86-64": "machine=62", "x32": "machine=62 32", "i386": "machine=3 32"}
	write := func(path, words string) {
		f, err := elftest.Parse(strings.Fields(words))
		check(t, err)
		check(t, os.MkdirAll(filepath.Dir(b.path(path)), 0o755))
		check(t, os.WriteFile(b.path(path), f.Bytes(), 0o755))
	}
	conf := ""
	for name, words := range archs {
		write("tree/opt/"+name+"/libtest-1.2.so", words+" soname=libtest.so.1")
		write("tree/bin/"+name, words+" needed=libtest.so.1")
		conf += "/opt/" + name + "\n"
	}
	check(t, os.MkdirAll(b.path("tree/etc"), 0o755))
	for _, format := range []string{"new", "compat"} {
		b.write("tree/etc/ld.so.conf", conf)
		// It makes the links libtest.so.1, too.
		b.run("unshare", "--user", "--map-root-user", "/sbin/ldconfig", "-c", format, "-r", "tree")
		check(t, os.Remove(b.path("tree/etc/ld.so.conf")))
		for name := range archs {
			if got, want := b.ctbox("libs", "--root=tree", "bin/"+name), "/opt/"+name+"/libtest.so.1\n"; got != want {
				t.Errorf("%s, %s: %q, want %q", format, name, got, want)
			}
		}
	}
}
