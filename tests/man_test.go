package tests

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestManualExamples runs what the EXAMPLES of each page show. In a literal display there, a line that begins "$ " is
// a command, "> " goes on with it, and the lines up to the next command are all that it prints; it must succeed.
// The commands of one page run in order, in a directory with the trees base and app. A display without commands is
// only text. One after the comment `.\" engine: docker`, or podman, qemu or namespaces, runs with that where it is to
// be had, and one after `.\" not run: REASON` does not run.
func TestManualExamples(t *testing.T) {
	pages, err := filepath.Glob("../man/*.[1-9]")
	if err != nil || len(pages) == 0 {
		t.Fatal("no pages", err)
	}
	for _, page := range pages {
		t.Run(filepath.Base(page), func(t *testing.T) {
			text, err := os.ReadFile(page)
			if err != nil {
				t.Fatal(err)
			}
			examples, err := manualExamples(string(text))
			if err != nil {
				t.Fatal(err)
			}
			dir := exampleTrees(t)
			for _, e := range examples {
				t.Run(fmt.Sprint("line ", e.line), func(t *testing.T) { e.run(t, dir) })
			}
		})
	}
}

// A manualExample is a command of a page and all that it prints.
type manualExample struct {
	line            int
	command, output string
	engine          string // that it needs: "docker", "podman", "qemu", "namespaces" or ""
	skip            string // why it is not run, or ""
}

// environ is the environment that the example needs; where it cannot be had, the test is skipped.
func (e *manualExample) environ(t *testing.T) []string {
	t.Helper()
	if e.engine == "" {
		return os.Environ()
	}
	if testing.Short() && e.engine != "namespaces" {
		t.Skip("starts an engine")
	}
	if _, err := staticBusybox(); err != nil {
		lacking(t, err.Error())
	}
	switch e.engine {
	case "docker":
		return startDocker(t).Env
	case "podman":
		return startPodman(t).Env
	case "qemu":
		return guestEnviron(t)
	case "namespaces":
		requireNamespaces(t)
		return os.Environ()
	}
	t.Fatalf("line %d: no engine is called %q", e.line, e.engine)
	return nil
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

func (e *manualExample) run(t *testing.T, dir string) {
	if e.skip != "" {
		t.Skipf("line %d: %s", e.line, e.skip)
	}
	cmd := exec.Command("sh", "-euc", "umask 022\n"+e.command)
	cmd.Dir, cmd.Env = dir, append(slices.Clone(e.environ(t)), "PWD="+dir, "TMPDIR="+dir, "SOURCE_DATE_EPOCH=")
	out, err := cmd.CombinedOutput()
	if err != nil || string(out) != e.output {
		t.Errorf("%s\n%v\nprints:\n%swant:\n%s", e.command, err, out, e.output)
	}
}

// manualExamples reads the commands in the EXAMPLES section of an mdoc page. A page without any is an error.
func manualExamples(page string) (all []*manualExample, err error) {
	_, section, _ := strings.Cut(page, "\n.Sh EXAMPLES\n")
	number := strings.Count(page, "\n") - strings.Count(section, "\n")
	section, _, _ = strings.Cut(section, "\n.Sh ")
	literal, mark := false, manualExample{}
	var last *manualExample // nil until a display's first command
	for line := range strings.Lines(section) {
		number++
		engine, needsEngine := strings.CutPrefix(strings.TrimSpace(line), `.\" engine: `)
		reason, notRun := strings.CutPrefix(strings.TrimSpace(line), `.\" not run: `)
		switch {
		case needsEngine:
			mark.engine = engine
		case notRun:
			mark.skip = reason
		case strings.HasPrefix(line, ".Bd -literal"):
			literal, last = true, nil
		case strings.HasPrefix(line, ".Ed"):
			literal, mark = false, manualExample{}
		case strings.HasPrefix(line, ".Dl $"):
			return nil, fmt.Errorf("line %d: commands belong in a literal display", number)
		case literal && strings.HasPrefix(line, "$ "):
			last = &manualExample{line: number, command: unescape(line[2:]), engine: mark.engine, skip: mark.skip}
			all = append(all, last)
		case literal && last != nil && strings.HasPrefix(line, ">"):
			last.command += unescape(strings.TrimLeft(line[1:], " "))
		case literal && last != nil:
			last.output += unescape(line)
		}
	}
	if len(all) == 0 {
		err = errors.New("no commands in EXAMPLES")
	}
	return all, err
}

// unescape undoes what a literal line needs in mdoc: `\&` before a dot at its start, and `\e` for a backslash.
func unescape(line string) string {
	return strings.ReplaceAll(strings.TrimPrefix(line, `\&`), `\e`, `\`)
}

// exampleTrees makes the trees of the examples: app is base with a file added, one removed, and /init. They can be run
// where the machine has a static busybox.
func exampleTrees(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil { // whatever the umask is
			t.Fatal(err)
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
	}
	write("base/etc/motd", "Welcome.\n", 0o644)
	write("app/etc/hostname", "hello\n", 0o644)
	for link, target := range map[string]string{"base/bin/sh": "busybox", "app/bin/sh": "busybox", "app/init": "bin/hello"} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
