package tests

import (
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// A cookbook is do-examples in a clone of its own, where nothing has been built but ctbox.
type cookbook struct {
	t    *testing.T
	dir  string // the clone; do-examples is in it
	as   []string
	env  []string
	wrap string // shell commands before each command
}

const withoutDebian = "SKIP=rundocker runkvm debdownload"

// newCookbook makes a clone that belongs to a user, or to the caller for 0, and that everybody can reach.
func newCookbook(t *testing.T, user int, env ...string) *cookbook {
	t.Helper()
	top, err := os.MkdirTemp("", "ctbox-test-")
	check(t, err)
	t.Cleanup(func() { os.RemoveAll(top) })
	c := &cookbook{t: t, dir: filepath.Join(top, "clone")}
	if slices.Contains(env, withoutDebian) {
		c.dir = filepath.Join(top, "a clone") // which debootstrap does not understand
	}
	for _, dir := range []string{"bin", "scripts", "do-examples", "../home"} {
		check(t, os.MkdirAll(filepath.Join(c.dir, dir), 0o755))
	}
	check(t, os.Symlink(program(t), filepath.Join(c.dir, "bin", "ctbox")))
	clone(t, "../scripts/do", filepath.Join(c.dir, "scripts", "do"))
	sources, err := exec.Command("../scripts/sources", "do-examples").Output() // not what somebody may have built
	check(t, err)
	for name := range strings.Lines(string(sources)) {
		name = strings.TrimSuffix(name, "\n")
		clone(t, filepath.Join("..", name), filepath.Join(c.dir, name))
	}
	if os.Geteuid() == 0 && user != 0 {
		c.as = []string{"setpriv", fmt.Sprintf("--reuid=%d", user), fmt.Sprintf("--regid=%d", user), "--clear-groups"}
	}
	check(t, filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			err = os.Chmod(path, 0o755) // whatever the umask
		}
		if err == nil && c.as != nil {
			err = os.Lchown(path, user, user)
		}
		return err
	}))
	c.env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Join(top, "home")}, env...)
	return c
}

// clone copies a file with the mode that git would give it.
func clone(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	check(t, err)
	info, err := os.Stat(from)
	check(t, err)
	mode := os.FileMode(0o644)
	if info.Mode()&0o100 != 0 {
		mode = 0o755
	}
	check(t, os.WriteFile(to, text, mode))
	check(t, os.Chmod(to, mode))
}

func (c *cookbook) path(name string) string { return filepath.Join(c.dir, "do-examples", name) }

// try runs a shell command in do-examples and returns all that it printed.
func (c *cookbook) try(command string) (string, error) {
	line := append(slices.Clone(c.as), "sh", "-ec", c.wrap+command)
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Dir, cmd.Env = c.path(""), c.env
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (c *cookbook) run(command string) string {
	c.t.Helper()
	out, err := c.try(command)
	if err != nil {
		c.t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return out
}

// sums are the digests of all that has been built and has to be the same everywhere.
func (c *cookbook) sums() map[string]string {
	c.t.Helper()
	sums := map[string]string{}
	for _, kind := range []string{"files", "list", "list.sha256", "layer", "initrd", "ext4", "image", "gz", "runlocal"} {
		found, err := filepath.Glob(c.path("*." + kind))
		check(c.t, err)
		for _, path := range found {
			f, err := os.Open(path)
			check(c.t, err)
			h := sha256.New()
			_, err = io.Copy(h, f)
			check(c.t, err)
			check(c.t, f.Close())
			sums[filepath.Base(path)] = fmt.Sprintf("%x", h.Sum(nil))
		}
	}
	return sums
}

const (
	smallExamples = "simple.files simple.list simple.list.sha256 simple.layer simple.initrd simple.image simple.image.gz " +
		"libs.files libs.list libs.list.sha256 libs.layer libs.initrd libs.runlocal " +
		"inject.files inject.list inject.layer overlay.files overlay.list overlay.layer overlay.initrd overlay.ext4 "
	debianExamples = "debootstrap.files debootstrap.list debootstrap.layer debian.files debian.list debian.list.sha256 " +
		"debian.layer debian.initrd debian.image debian.runlocal debuser.files debuser.list debuser.layer "
)

// TestExamples: redo's stand-in as root, make as an ordinary user and plain sh as another one with umask 077 build the
// whole cookbook, Debian too, and all their files are the same.
func TestExamples(t *testing.T) {
	requireTool(t, "make", "setpriv", "cc")
	requireNamespaces(t)
	want, skip := smallExamples, withoutDebian
	if !testing.Short() {
		requireTool(t, "debootstrap", "fakeroot", "fakechroot", "dpkg-deb")
		want, skip = want+debianExamples, "SKIP=rundocker runkvm"
	}
	ways := []struct {
		*cookbook
		command string
	}{
		{newCookbook(t, 0, skip), "../scripts/do -j4 all"},
		{newCookbook(t, 65532, skip), "make -j4 all"},
		{newCookbook(t, 65533, skip), "umask 077; ./pipeline.sh"},
	}
	if !testing.Short() {
		debian := download(t)
		for _, way := range ways {
			way.give(debian)
		}
	}
	outs, errs := make([]string, len(ways)), make([]error, len(ways))
	var wg sync.WaitGroup
	for i, way := range ways {
		wg.Go(func() { outs[i], errs[i] = way.try(way.command) })
	}
	wg.Wait()
	first := ways[0].sums()
	for i, way := range ways {
		if errs[i] != nil {
			t.Fatalf("%s: %v\n%s", way.command, errs[i], outs[i])
		}
		sums := way.sums()
		for name := range strings.FieldsSeq(want) {
			if sums[name] == "" || sums[name] != first[name] {
				t.Errorf("%s: %s: %q, want %q", way.command, name, sums[name], first[name])
			}
		}
	}
	t.Run("again", func(t *testing.T) { makeAgain(t, ways[1].cookbook, want) })
	t.Run("elsewhere", func(t *testing.T) {
		trees, images := []string{"libs"}, []string{"simple"}
		if !testing.Short() {
			trees, images = append(trees, "debian"), append(images, "debian")
		}
		runElsewhere(t, ways[1].cookbook, trees, images)
	})
}

// download returns the directory debdownload, from the mirror that apt uses; no example downloads again what is there.
func download(t *testing.T) string {
	t.Helper()
	requireTool(t, "apt-get")
	out, errs, err := try("", "apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Component: main")
	if err != nil || out == "" {
		lacking(t, "apt knows no mirror: "+errs)
	}
	mirror, _, _ := strings.Cut(out, "\n")
	c := newCookbook(t, 0, "MIRROR="+mirror)
	if out, err := c.try("./can.sh debdownload; ./tree.sh debdownload || ./tree.sh debdownload"); err != nil {
		lacking(t, "no Debian: "+err.Error()+"\n"+out)
	}
	return c.path("debdownload")
}

// give puts a copy of a directory into do-examples, for the user there.
func (c *cookbook) give(dir string) {
	c.t.Helper()
	for _, line := range [][]string{{"cp", "-r", dir, c.path("")}, {"chown", "-R", "--reference=" + c.path(""), c.path(filepath.Base(dir))}} {
		if out, err := exec.Command(line[0], line[1:]...).CombinedOutput(); err != nil {
			c.t.Fatalf("%q: %v\n%s", line, err, out)
		}
	}
}

// makeAgain: nothing is left to do for make; and a tree that was removed comes back with the same identities.
func makeAgain(t *testing.T, c *cookbook, all string) {
	c.t = t
	if out, err := c.try("make -q " + all); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	want := c.sums()
	c.run("rm -r simple; make -j4 " + all)
	if got := c.sums(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v\nwant\n%v", got, want)
	}
}

// runElsewhere runs the images in docker and the initrds in virtual machines; all must print what they print in a sandbox.
func runElsewhere(t *testing.T, c *cookbook, trees, images []string) {
	c.t = t
	same := func(t *testing.T, got, want string) {
		t.Helper()
		if cmp, err := exec.Command("cmp", c.path(got), c.path(want)).CombinedOutput(); err != nil {
			t.Errorf("%s", cmp)
		}
	}
	t.Run("docker", func(t *testing.T) {
		engine := startDocker(t)
		for i, image := range images {
			cmd := exec.Command("make", image+".rundocker")
			engine.reach(cmd)
			cmd.Dir = c.path("")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			same(t, image+".rundocker", trees[i]+".runlocal")
		}
	})
	t.Run("vm", func(t *testing.T) {
		requireTool(t, "qemu-system-x86_64")
		for _, tree := range trees {
			c.run("make " + tree + ".runkvm")
			same(t, tree+".runkvm", tree+".runlocal")
		}
	})
}

// TestExamplesShells: the scripts do not depend on which shell is /bin/sh.
func TestExamplesShells(t *testing.T) {
	requireTool(t, "cc", "setpriv")
	requireNamespaces(t)
	var want string
	for _, shell := range doShells {
		requireTool(t, shell)
		for _, command := range []string{"../scripts/do all", "./pipeline.sh"} {
			c := newCookbook(t, 65532, withoutDebian)
			c.run("mkdir $HOME/bin; ln -s \"$(command -v " + shell + ")\" $HOME/bin/sh; sed -i \"1s|^#!/bin/sh|#!$HOME/bin/sh|\" *.sh *.do ../scripts/do")
			out := c.run("PATH=$HOME/bin:$PATH; " + command)
			if got := fmt.Sprint(c.sums()); want == "" {
				want = got
			} else if got != want {
				t.Errorf("%s, %s: %s\nwant\n%s\n%s", shell, command, got, want, out)
			}
		}
	}
}

// faultyCtbox numbers its calls and, at the one whose number is in the file fail, prints half a result and fails.
const faultyCtbox = `#!/bin/sh
n=1
until mkdir "$HOME/calls/$n" 2>/dev/null; do n=$((n + 1)); done
if [ $n = "$(cat "$HOME/fail")" ]; then
	printf '. 0040755-0-0'
	exit 1
fi
exec "$HOME/ctbox" "$@"
`

// TestExamplesFail: whichever call of ctbox fails, what is there afterwards is right, and the next run completes it.
func TestExamplesFail(t *testing.T) {
	requireTool(t, "make", "setpriv", "cc")
	requireNamespaces(t)
	for _, way := range []struct{ name, command string }{
		{"do", "../scripts/do all"}, {"make", "make -j4 all"}, {"sh", "./pipeline.sh"},
	} {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			c := newCookbook(t, 65532, withoutDebian)
			c.run("mv ../bin/ctbox $HOME/; mkdir $HOME/calls; echo 0 >$HOME/fail; cat >../bin/ctbox <<'!'\n" + faultyCtbox + "!\nchmod 755 ../bin/ctbox; " + way.command)
			calls, err := os.ReadDir(filepath.Dir(c.dir) + "/home/calls")
			check(t, err)
			want := c.sums()
			step := 2
			if testing.Short() {
				step = 5
			}
			for n := 1; n <= len(calls); n += step {
				failAt(c, n, way.command, want)
			}
			if len(calls) < 12 {
				t.Errorf("only %d calls", len(calls))
			}
		})
	}
}

// failAt builds from nothing with a ctbox that fails at its n-th call, and then with one that does not.
func failAt(c *cookbook, n int, command string, want map[string]string) {
	c.run(fmt.Sprintf("sh -e ./xclean.do; rm -r $HOME/calls/*; echo %d >$HOME/fail", n))
	out, err := c.try(command)
	for name, sum := range c.sums() {
		if sum != want[name] {
			c.t.Errorf("call %d: %s is not whole\n%s", n, name, out)
		}
	}
	// What can.sh asks ctbox for is left out when that fails; else the build has to fail.
	if err == nil && !strings.Contains(strings.ReplaceAll(out, "here: it is in SKIP", ""), " here: ") {
		c.t.Errorf("call %d: status 0\n%s", n, out)
	}
	out = c.run("echo 0 >$HOME/fail; " + command)
	if got := c.sums(); fmt.Sprint(got) != fmt.Sprint(want) {
		c.t.Errorf("after call %d: %v\nwant\n%v\n%s", n, got, want, out)
	}
}

// TestExamplesWithRedo: the real redo, in parallel, makes what make does, once, and again only what was removed.
func TestExamplesWithRedo(t *testing.T) {
	requireNamespaces(t)
	if _, err := exec.LookPath("redo-ifchange"); err != nil {
		t.Skip("Debian has no package of redo")
	}
	c, reference := newCookbook(t, 0, withoutDebian), newCookbook(t, 0, withoutDebian)
	reference.run("make -j4 all")
	c.run("redo -j4 all")
	want := fmt.Sprint(reference.sums())
	for _, step := range []struct{ before, builds string }{
		{":", "all"},
		{"rm -r simple", "all simple.files simple.fs"},
		{"rm -r libs simple.layer", "all libs.files libs.fs simple.image simple.image.gz simple.layer"},
		{"touch hello.c", "all simple.files simple.fs"},
		{"rm libs.runlocal", "all libs.runlocal"},
	} {
		out := c.run(step.before + "; redo -j4 all")
		if got := fmt.Sprint(c.sums()); got != want {
			t.Errorf("%s: %s\nwant\n%s", step.before, got, want)
		}
		var built []string
		for line := range strings.Lines(out) {
			// What redo looks at and does not build is in parentheses.
			if f := strings.Fields(line); len(f) == 2 && f[0] == "redo" && f[1][0] != '(' {
				built = append(built, f[1])
			}
		}
		slices.Sort(built)
		if got := strings.Join(built, " "); got != step.builds {
			t.Errorf("%s: built %s, want %s\n%s", step.before, got, step.builds, out)
		}
	}
}

// TestExamplesReadme does what the walk through the examples says, with redo's stand-in, and compares what it shows.
func TestExamplesReadme(t *testing.T) {
	requireTool(t, "cc", "setpriv")
	requireNamespaces(t)
	c := newCookbook(t, 65532, "SKIP=")
	c.run("mkdir $HOME/bin; ln -s \"$(cd ..; pwd)/scripts/do\" $HOME/bin/redo")
	c.wrap = "PATH=$HOME/bin:$PWD/../bin:$PATH; umask 022; exec 2>>$HOME/log\n"
	text, err := os.ReadFile("../do-examples/README.md")
	check(t, err)
	var command, shown string
	commands := 0
	flush := func() {
		if command == "" {
			return
		}
		commands++
		if got, err := c.try(command); err != nil || got != shown {
			t.Errorf("%s: %q, %v, want %q", command, got, err, shown)
		}
		command, shown = "", ""
	}
	for line := range strings.Lines(string(text)) {
		code, isCode := strings.CutPrefix(line, "    ")
		next, isCommand := strings.CutPrefix(code, "$ ")
		switch {
		case isCode && isCommand:
			flush()
			command = next
		case isCode && command != "":
			shown += code
		default:
			flush()
		}
	}
	flush()
	if commands < 10 {
		t.Errorf("only %d commands", commands)
	}
}
