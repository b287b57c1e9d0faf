package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// doCases are what scripts/do has to get right. Each runs a command in a directory with some files; all that it prints,
// standard error too, is compared. What do says that it builds is left out where it does not matter.
var doCases = []struct {
	name    string
	files   map[string]string
	command string
	want    string
}{
	{
		"names", map[string]string{
			"plain.do":         `echo "$1|$2|$3" >&2`,
			"default.b.c.do":   `echo "$1|$2|$3" >&2`,
			"sub/default.c.do": `echo "$1|$2|$3" >&2`,
			"default.do":       `echo "$1|$2|$3" >&2`,
			"sub/dir/x":        "",
		}, `redo -- plain x.a.b.c sub/x.b.c sub/dir/a.x.c sub/dir/README .b.c -n.q`,
		`do  plain
plain|plain|plain.do-tmp
do  x.a.b.c
x.a.b.c|x.a|x.a.b.c.do-tmp
do  sub/x.b.c
x.b.c|x.b|x.b.c.do-tmp
do  sub/dir/a.x.c
dir/a.x.c|dir/a.x|dir/a.x.c.do-tmp
do  sub/dir/README
sub/dir/README|sub/dir/README|sub/dir/README.do-tmp
do  .b.c
.b.c||.b.c.do-tmp
do  -n.q
-n.q|-n.q|-n.q.do-tmp
`,
	}, {
		"what a target is made of", map[string]string{
			"out.do":   `echo one; echo two`,
			"file.do":  `echo three >"$3"`,
			"empty.do": `: >"$3"`,
			"link.do":  `ln -s file "$3"`,
			"none.do":  `:`,
			"all.do":   `redo-ifchange out file empty link none`,
		}, `redo -j4 2>/dev/null; cat out file; wc -c <empty; readlink link; ls`,
		"one\ntwo\nthree\n0\nfile\nall.do\nempty\nempty.do\nfile\nfile.do\nlink\nlink.do\nnone.do\nout\nout.do\n",
	}, {
		"once in a run, again in the next", map[string]string{
			"all.do": `redo-ifchange a b; redo a; redo-ifchange ./b sub/../a "$PWD/a" link/a`,
			"a.do":   `echo a >>log; cat source`,
			"b.do":   `redo-ifchange a source; echo b >>log; cat a`,
			"source": "1\n",
			"sub/x":  "",
		}, `ln -s . link; redo 2>/dev/null; echo 2 >source; redo all 2>/dev/null; cat log a b`,
		"a\nb\na\nb\n2\n2\n",
	}, {
		"names that shells dislike", map[string]string{
			"default.t.do": `redo-ifchange "$2.s"; cat "$2.s"`,
			"a b.s":        "1\n", "*.s": "2\n", "$x'\".s": "3\n", "a\\b.s": "4\n", "d e/ f.s": "5\n",
		}, `redo 'a b.t' '*.t' "\$x'\".t" 'a\b.t' 'd e/ f.t' 2>/dev/null; cat 'a b.t' '*.t' "\$x'\".t" 'a\b.t' 'd e/ f.t'`,
		"1\n2\n3\n4\n5\n",
	}, {
		"a failure leaves no target", map[string]string{
			"old.do":   "redo-ifchange inner; echo new",
			"inner.do": "echo half; echo half >half; cat half >$3; false; echo whole >$3",
			"next.do":  "echo next",
		}, `echo 'echo old' >inner.do.1; mv inner.do inner.do.2; mv inner.do.1 inner.do; redo old; cat old inner
mv inner.do.2 inner.do; redo old next || echo "status $?"; ls`,
		`do  old
do    inner
new
old
do  old
do    inner
do: inner: inner.do: exit status 1
do: old: old.do: exit status 1
status 1
half
inner.do
next.do
old.do
`,
	}, {
		"a failure that is expected", map[string]string{
			"all.do": "if redo-ifchange bad; then echo no; else echo yes; fi >&2; redo-ifchange good; redo-ifchange bad",
			"bad.do": "exit 7", "good.do": "echo",
		}, `redo; echo $?`,
		"do  all\ndo    bad\ndo: bad: bad.do: exit status 7\nyes\ndo    good\ndo: bad: failed before\ndo: all: all.do: exit status 1\n1\n",
	}, {
		"sources", map[string]string{
			"default.do": "echo made", "kept": "mine\n", "dir/file": "mine\n",
			"all.do": "redo-ifchange kept dir dir/file all.do new; redo kept",
		}, `redo; cat kept dir/file new; ls`,
		"do  all\ndo    new\ndo: kept: is there, and was not made here\ndo: all: all.do: exit status 1\n" +
			"mine\nmine\nmade\nall.do\ndefault.do\ndir\nkept\nnew\n",
	}, {
		"no way to make it", map[string]string{"all.do": "redo-ifchange x.y"},
		`redo; redo nowhere/x; redo ''; redo sub/; redo "a
b"; ls`,
		"do  all\ndo: x.y: is not there, and no .do file makes it\ndo: all: all.do: exit status 1\n" +
			"do: nowhere/x: no such directory\ndo: : not the name of a file\ndo: sub/: not the name of a file\ndo: a\nb: a newline in a name\nall.do\n",
	}, {
		"what a .do file must not do", map[string]string{
			"both.do": `echo; echo >"$3"`, "itself.do": `echo >"$1"`, "dir.do": `mkdir "$3"`, "a.do": "redo-ifchange b", "b.do": "redo-ifchange a",
		}, `for t in both itself dir a; do redo $t; done 2>&1 | grep -v '^do  '; ls -A`,
		"do: both: both.do: wrote to standard output and to its third argument\n" +
			"do: itself: itself.do: wrote to its first argument, not to the third\ndo: dir: dir.do: made a directory\n" +
			"do: a: needs itself\ndo: b: b.do: exit status 1\ndo: a: a.do: exit status 1\n" +
			".do-made\na.do\nb.do\nboth.do\ndir.do\nitself.do\n",
	}, {
		"standard input is the caller's", map[string]string{
			"all.do":       "printf 'a\\nb\\n' | while read -r t; do redo-ifchange $t.x; done; printf 'c.x\\0d.x' | xargs -0 redo-ifchange",
			"default.x.do": "cat; echo $2 >&2",
		}, `echo input | redo 2>&1 | grep -v '^do  '`,
		"a\nb\nc\nd\n",
	}, {
		"interpreters", map[string]string{
			"e.do":     "false; echo no >&2",
			"no.do":    "#!/bin/sh\nfalse; echo yes >&2",
			"e2.do":    "#! /bin/sh -e \nfalse; echo no >&2",
			"awk.do":   "#!/usr/bin/awk -f\nBEGIN { print ARGV[1] }",
			"gone.do":  "#!/no/such/interpreter\n",
			"short.do": "echo no newline at the end >&2; exit 0",
		}, `for t in e no e2 awk short; do redo $t; done 2>&1 | grep -v '^do  '; cat awk; redo gone >/dev/null 2>&1; echo $?`,
		"do: e: e.do: exit status 1\nyes\ndo: e2: e2.do: exit status 1\nno newline at the end\nawk\n1\n",
	}, {
		"the other commands", map[string]string{
			"all.do": "redo-always; redo-ifcreate nothing; yes | head -n 99999 | redo-stamp; redo; redo-ifchange; echo well >&2; redo-ifcreate all.do",
		}, `redo`,
		"do  all\nwell\ndo: redo-ifcreate: all.do: is there\ndo: all: all.do: exit status 1\n",
	}, {
		"elsewhere", map[string]string{
			"one/all.do": "redo-ifchange ../two/x ../y.q", "two/x.do": "redo-ifchange ../y.q; pwd | sed 's|.*/||'", "default.q.do": "pwd >log; echo",
		}, `cd one; CDPATH=.. redo; cat ../two/x`,
		"do  all\ndo    " + "PWD/two/x\ndo      PWD/y.q\ntwo\n",
	}, {
		"usage", map[string]string{"all.do": ""}, `redo -x; echo $?; redo -j 4 --jobs=2 -j7; echo $?`,
		"usage: do [-jN] [TARGET]...\n2\ndo  all\n0\n",
	},
}

// doShells are the shells that scripts/do has to run under.
var doShells = []string{"dash", "busybox", "bash"}

// TestDo runs the cases with each shell.
func TestDo(t *testing.T) {
	for _, shell := range doShells {
		t.Run(shell, func(t *testing.T) {
			bin := doWith(t, shell)
			for _, c := range doCases {
				t.Run(c.name, func(t *testing.T) {
					dir := doFiles(t, c.files)
					cmd := doCommand(dir, bin, c.command)
					out, _ := cmd.CombinedOutput()
					if got := strings.ReplaceAll(string(out), dir, "PWD"); got != c.want {
						t.Errorf("%s\nwant\n%s", got, c.want)
					}
				})
			}
		})
	}
}

// TestDoInterrupted: what was being built is not there when an interrupt has ended it, and nothing else of the run is.
func TestDoInterrupted(t *testing.T) {
	for _, shell := range doShells {
		t.Run(shell, func(t *testing.T) {
			dir := doFiles(t, map[string]string{
				"all.do": "redo-ifchange slow; echo", "slow.do": `echo half; echo half >"$3"; mkfifo fifo; read never <fifo`, "tmp/x": "",
			})
			check(t, os.Remove(dir+"/tmp/x"))
			cmd := doCommand(dir, doWith(t, shell), "redo")
			cmd.Env = append(cmd.Env, "TMPDIR="+dir+"/tmp")
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			check(t, cmd.Start())
			waitFor(t, "the slow target", func() bool { _, err := os.Stat(dir + "/fifo"); return err == nil })
			check(t, syscall.Kill(-cmd.Process.Pid, syscall.SIGINT))
			if err := cmd.Wait(); err == nil {
				t.Error("status 0")
			}
			left, err := filepath.Glob(dir + "/*")
			check(t, err)
			inTmp, err := filepath.Glob(dir + "/tmp/*")
			check(t, err)
			if len(left) != 5 || len(inTmp) != 0 { // .do-made, two .do files, fifo, tmp
				t.Errorf("%q %q", left, inTmp)
			}
		})
	}
}

// doWith returns a directory in which scripts/do is the command redo, and both it and .do files are run by a shell.
func doWith(t *testing.T, shell string) string {
	t.Helper()
	requireTool(t, shell)
	path, err := exec.LookPath(shell)
	check(t, err)
	script, err := os.ReadFile("../scripts/do")
	check(t, err)
	_, body, _ := strings.Cut(string(script), "\n")
	bin := t.TempDir()
	check(t, os.Symlink(path, bin+"/sh"))
	check(t, os.WriteFile(bin+"/redo", []byte("#!"+bin+"/sh\n"+body), 0o755))
	return bin
}

func doCommand(dir, bin, command string) *exec.Cmd {
	cmd := exec.Command("sh", "-c", command)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "LC_ALL=C")
	return cmd
}

// doFiles writes files into a new directory, whose real path is returned.
func doFiles(t *testing.T, files map[string]string) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	check(t, err)
	for name, text := range files {
		check(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		check(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	return dir
}

// waitFor looks for a condition until it holds, or a minute has passed.
func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited for %s in vain", what)
		}
	}
}
