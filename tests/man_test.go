package tests

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestManualExamples runs what the pages show. In a literal display, a line that begins "$ " is a command, "> " goes on with
// it, and the lines up to the next command are all that it prints; it must succeed. The commands of one page run in
// order, in a directory with the trees base and app, the sources src and the kernel vmlinuz. All displays of EXAMPLES have commands.
// Comments before a display say what it takes:
//
//	.\" engine: NAME...    docker, podman, namespaces, qemu with the kernel vmlinuz, or debian, which is a tree with apt
//	.\" needs: PROGRAM...  programs that other users may lack
//	.\" installs: debian   a tree of its own, which an ordinary user makes; see installDebian
func TestManualExamples(t *testing.T) {
	pages, err := filepath.Glob("../man/*.[1-9]")
	if err != nil || len(pages) == 0 {
		t.Fatal("no pages", err)
	}
	for _, page := range pages {
		t.Run(filepath.Base(page), func(t *testing.T) {
			examples := manualExamples(t, page)
			dir := exampleTrees(t)
			for _, e := range examples {
				t.Run(fmt.Sprint("line ", e.line), func(t *testing.T) {
					if e.installs {
						installDebian(t)
						return
					}
					env := e.environ(t, dir)
					err := e.run(dir, env)
					if err != nil && slices.Contains(e.engines, "debian") { // a mirror may not have answered
						err = e.run(dir, env)
					}
					if err != nil {
						t.Error(err)
					}
				})
			}
		})
	}
}

// A manualExample is a command of a page and all that it prints.
type manualExample struct {
	line            int
	command, output string
	engines, needs  []string
	installs        bool
}

// environ is the environment that the example needs, and makes ready what else it needs; where it cannot be had, the test is
// skipped.
func (e *manualExample) environ(t *testing.T, dir string) (env []string) {
	t.Helper()
	requireTool(t, e.needs...)
	for _, engine := range e.engines {
		if testing.Short() && engine != "namespaces" {
			t.Skip("starts an engine")
		}
		if _, err := staticBusybox(); err != nil {
			lacking(t, err.Error())
		}
		switch engine {
		case "docker":
			env = append(env, startDocker(t).Env...)
		case "podman":
			env = append(env, startPodman(t).Env...)
		case "qemu":
			env = append(env, guestEnviron(t)...)
			link(t, stockKernel(t), filepath.Join(dir, "vmlinuz"))
		case "namespaces":
			requireNamespaces(t)
		case "debian":
			link(t, debianTree(t), filepath.Join(dir, "debian"))
		default:
			t.Fatalf("line %d: no engine is called %q", e.line, engine)
		}
	}
	ours := os.Environ() // each engine's has it, too, and it must not go over what another has changed
	env = slices.DeleteFunc(env, func(v string) bool { return slices.Contains(ours, v) })
	return append(ours, env...)
}

// link makes a symbolic link, which may be there.
func link(t *testing.T, target, path string) {
	t.Helper()
	if err := os.Symlink(target, path); !errors.Is(err, fs.ErrExist) {
		check(t, err)
	}
}

// run runs the example in dir and compares what it prints. The command may be another user's, by a command line that runs it as that.
func (e *manualExample) run(dir string, env []string, as ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	const stay = `test "$PWD" = "$1" || echo "the next command would run in $PWD"`
	line := append(as, "sh", "-euc", "umask 022\n"+e.command+stay, "sh", dir)
	cmd := exec.CommandContext(ctx, line[0], line[1:]...)
	cmd.Dir, cmd.Env, cmd.WaitDelay = dir, append(slices.Clone(env), "PWD="+dir, "TMPDIR="+dir, "SOURCE_DATE_EPOCH="), time.Minute
	out, err := cmd.CombinedOutput()
	if err != nil || string(out) != e.output {
		return fmt.Errorf("line %d: %s\n%v\nprints:\n%swant:\n%s", e.line, e.command, err, out, e.output)
	}
	return nil
}

// manualExamples reads the commands of an mdoc page. It is an error if there are none, and if a display in EXAMPLES has none.
func manualExamples(t *testing.T, path string) (all []*manualExample) {
	t.Helper()
	text, err := os.ReadFile(path)
	check(t, err)
	section, literal, mark := "", false, manualExample{}
	var last *manualExample // nil until a display's first command
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		macro, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case macro == ".Sh":
			section = rest
		case macro == `.\"`:
			if err := mark.require(rest); err != nil {
				t.Fatalf("line %d: %v", number, err)
			}
		case macro == ".Bd":
			literal, last = strings.HasPrefix(rest, "-literal"), nil
		case macro == ".Ed":
			if section == "EXAMPLES" && last == nil {
				t.Errorf("line %d: a display in EXAMPLES without a command", number)
			}
			literal, mark = false, manualExample{}
		case macro == ".Dl" && (section == "EXAMPLES" || strings.HasPrefix(rest, "$")):
			t.Errorf("line %d: commands belong in a literal display", number)
		case literal && strings.HasPrefix(line, "$ "):
			last = &manualExample{line: number, command: unescape(line[2:]), engines: mark.engines, needs: mark.needs, installs: mark.installs}
			all = append(all, last)
		case literal && last != nil && strings.HasPrefix(line, ">"):
			last.command += unescape(strings.TrimLeft(line[1:], " "))
		case literal && last != nil:
			last.output += unescape(line)
		}
	}
	if len(all) == 0 {
		t.Error("no commands")
	}
	return all
}

// require takes a comment that says what an example takes. There are no other comments: one that keeps an example from being run
// must not look like it works.
func (e *manualExample) require(comment string) error {
	what, words, _ := strings.Cut(comment, ":")
	switch what {
	case "engine":
		e.engines = strings.Fields(words)
	case "needs":
		e.needs = strings.Fields(words)
	case "installs":
		e.installs = true
	default:
		return fmt.Errorf("unknown comment %q", comment)
	}
	return nil
}

// unescape undoes what a literal line needs in mdoc: `\&` before a dot at its start, and `\e` for a backslash.
func unescape(line string) string {
	return strings.ReplaceAll(strings.TrimPrefix(line, `\&`), `\e`, `\`)
}

// staticBusybox is the program in the trees of the examples.
func staticBusybox() ([]byte, error) {
	const path = "/bin/busybox"
	f, err := elf.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if f.Section(".interp") != nil {
		return nil, fmt.Errorf("%s is not static", path)
	}
	return os.ReadFile(path)
}

// exampleTrees makes the trees of the examples: app is base with a file added, one removed, and /init. They can be run
// where the machine has a static busybox. The sources in src are of a program that "make install" puts into $(DESTDIR).
func exampleTrees(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) {
		path := filepath.Join(dir, name)
		check(t, os.MkdirAll(filepath.Dir(path), 0o755))
		check(t, os.WriteFile(path, []byte(text), mode))
		for ; path != dir; path, mode = filepath.Dir(path), 0o755 { // whatever the umask is
			check(t, os.Chmod(path, mode))
		}
	}
	busybox, err := staticBusybox()
	if err != nil {
		busybox = []byte("busybox\n")
	}
	for _, tree := range []string{"base", "app"} {
		write(tree+"/bin/busybox", string(busybox), 0o755)
		write(tree+"/bin/hello", "#!/bin/sh\necho hello\n", 0o755)
		write(tree+"/etc/passwd", "root:x:0:0::/:\n", 0o644)
		check(t, os.Symlink("busybox", filepath.Join(dir, tree, "bin/sh")))
	}
	write("base/etc/motd", "Welcome.\n", 0o644)
	write("app/etc/hostname", "hello\n", 0o644)
	check(t, os.Symlink("bin/hello", filepath.Join(dir, "app/init")))
	write("src/hello.c", "#include <stdio.h>\nint main(void) { puts(\"hello\"); return 0; }\n", 0o644)
	write("src/Makefile", "install:\n\tgcc -o $(DESTDIR)/hello hello.c\n", 0o644)
	return dir
}
