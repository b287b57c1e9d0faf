package tests

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestReadmeRuns runs the sh blocks of README.md as a reader does who copies them: those of one "## " section after each other,
// in one shell, in a clone. A block after the line "<!-- with: docker -->", or qemu, is in it where that is to be had.
func TestReadmeRuns(t *testing.T) {
	requireTool(t, "make", "tar", "go")
	requireNamespaces(t)
	text, err := os.ReadFile("../README.md")
	check(t, err)
	clone := copySource(t, filepath.Join(t.TempDir(), "ctbox"))
	for _, dir := range []string{"man", "do-examples", "completions"} {
		if err := os.CopyFS(filepath.Join(clone, dir), os.DirFS(filepath.Join("..", dir))); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	copyFile(t, "../README.md", filepath.Join(clone, "README.md"))
	copyFile(t, "../LICENSE", filepath.Join(clone, "LICENSE"))
	copyFile(t, "../CHANGELOG.md", filepath.Join(clone, "CHANGELOG.md"))
	ran := 0
	for section := range strings.SplitSeq(string(text), "\n## ") {
		title, _, _ := strings.Cut(section, "\n")
		for with, script := range readmeScripts(section) {
			t.Run(title+" "+with, func(t *testing.T) { runReadme(t, clone, with, script) })
			ran++
		}
	}
	if ran < 4 {
		t.Errorf("only %d scripts in README.md", ran)
	}
}

// readmeScripts gives a section's blocks for each thing that they need: all that need nothing, with those that need it among them.
func readmeScripts(section string) map[string]string {
	scripts := map[string]string{}
	blocks := strings.Split(section, "\n```sh\n")
	needs := make([]string, len(blocks))
	for i, before := range blocks[:len(blocks)-1] {
		last := before[strings.LastIndexByte(before, '\n')+1:]
		if mark, ok := strings.CutPrefix(last, "<!-- with: "); ok {
			needs[i+1] = strings.TrimSuffix(mark, " -->")
		}
		scripts[needs[i+1]] = ""
	}
	for with := range scripts {
		for i, block := range blocks[1:] {
			if needs[i+1] == "" || needs[i+1] == with {
				code, _, _ := strings.Cut(block, "\n```")
				scripts[with] += code + "\n"
			}
		}
	}
	return scripts
}

func runReadme(t *testing.T, clone, with, script string) {
	env := os.Environ()
	switch with {
	case "":
	case "docker":
		if testing.Short() {
			t.Skip("starts an engine")
		}
		env = startDocker(t).Env
	case "qemu":
		env = guestEnviron(t)
	default:
		t.Fatalf("nothing is called %q", with)
	}
	cmd := exec.Command("sh", "-euxc", script)
	cmd.Dir = clone
	cmd.Env = append(env, "PWD="+clone, "TMPDIR="+t.TempDir(), "MAKEFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestDemo runs scripts/demo with everything that it can use, and counts who says hello.
func TestDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("starts an engine and a virtual machine")
	}
	requireRoot(t)
	requireNamespaces(t)
	requireTool(t, "docker", "dockerd")
	requireGuests(t)
	cache, err := guestCache()
	check(t, err)
	cmd := exec.Command("../scripts/demo")
	cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir(), "XDG_CACHE_HOME="+cache)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, runner := range []string{"local", "docker", "vm"} {
		if !strings.Contains(string(out), "cat "+runner+".out\nHello, world!\n") {
			t.Errorf("no hello from %s:\n%s", runner, out)
		}
	}
}
