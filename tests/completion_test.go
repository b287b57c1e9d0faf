//go:build linux

package tests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// completions is the directory with the completion files.
func completions(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../completions")
	check(t, err)
	return dir
}

// bashTypist is a bash that has read rc and may have the completion of ctbox from there.
func bashTypist(t *testing.T, rc string) (*typist, string) {
	t.Helper()
	requireTool(t, "bash")
	dir, env := completionPlace(t)
	file := filepath.Join(dir, "home", "rc")
	text := "PROMPT_COMMAND='PS1=\"ready$((++prompts))> \"'\nHISTFILE=\n" + rc + "\ncd " + dir + "/work\n"
	check(t, os.WriteFile(file, []byte(text), 0o666))
	return newTypist(t, env, filepath.Join(dir, "result"), "\x1b*", "bash", "--noprofile", "--rcfile", file, "-i"), dir
}

// zshTypist is a zsh that has the completion of ctbox.
func zshTypist(t *testing.T) (*typist, string) {
	t.Helper()
	requireTool(t, "zsh")
	dir, env := completionPlace(t)
	text := `fpath=(` + completions(t) + ` $fpath)
autoload -Uz compinit
compinit -u -D
zstyle ':completion:all-matches::::' completer _all_matches _complete
zstyle ':completion:all-matches:*' insert yes
zle -C all-matches complete-word _generic
bindkey '^Xa' all-matches
unsetopt beep
LISTMAX=10000
precmd() { PS1="ready$((++prompts))> " }
cd ` + dir + `/work
`
	check(t, os.WriteFile(filepath.Join(dir, "home", ".zshrc"), []byte(text), 0o666))
	return newTypist(t, env, filepath.Join(dir, "result"), "\x18a", "zsh", "-d", "-i"), dir
}

// completionCases are lines and what completes their last word: itself where nothing does.
var completionCases = []struct{ line, want string }{
	{"ctbox mkl", "mklayer"},
	{"ctbox run", "rundocker runkvm runlocal"},
	{"ctbox --i", "--install"},
	{"ctbox --install ", "other tree"},
	{"ctbox mklayer --m", "--mtime"},
	{"ctbox mklayer --mtime=", "clamp epoch keep"},
	{"ctbox mklayer --mtime=c", "clamp"},
	{"ctbox mklayer --mtime k", "keep"},
	{"ctbox mklayer -z ", "gzip none zstd"},
	{"ctbox mklayer -qz g", "gzip"},
	{"ctbox mklayer -C t", "tree"},
	{"ctbox mklayer --directory=", "other tree"},
	{"ctbox mklayer -o b", "base.list"},
	{"ctbox mklayer --output=b", "base.list"},
	{"ctbox mklayer b", "base.list"},
	{"ctbox mklayer -q b", "base.list"},
	{"ctbox mklayer -o x b", "base.list"},
	{"ctbox mklayer base.list --roo", "--root-entry"},
	{"ctbox mklayer -- -", "-dash"},
	{"ctbox listdiff b", "base.list"},
	{"ctbox listdiff base.list a", "app.layer"},
	{"ctbox sha256 base.list app.layer b", "base.list"},
	{"ctbox mkinitrd --rdinit=s", "self"},
	{"ctbox mkinitrd --rdinit=b", "base.list"},
	{"ctbox runlocal ", "other tree"},
	{"ctbox runlocal -e CTBOX_", "CTBOX_ONE CTBOX_TWO"},
	{"ctbox runlocal -e A=1 --net=no", "none"},
	{"ctbox runlocal -e A=1 t", "tree"},
	{"ctbox runlocal --fa", "--fake-chown"},
	{"ctbox need ctb", "ctbox"},
	{"ctbox try-fakeroot b", "base.list"},
	{"ctbox try-fakeroot base.list mkl", "mklayer"},
	{"ctbox try-fakeroot base.list cat b", "base.list"},
	{"mklayer --mtime=c", "clamp"},
	{"mklayer b", "base.list"},
	{"runlocal t", "tree"},
	{"sha256 --ch", "--check"},
	{"need ctb", "ctbox"},
	// Nothing goes there, or nothing that is known.
	{"ctbox q", "q"},
	{"ctbox bogus b", "b"},
	{"ctbox mklayer --mtime b", "b"},
	{"ctbox mklayer -- --m", "--m"},
	{"ctbox listdiff base.list app.layer b", "b"},
	{"ctbox runlocal b", "b"},
	{"ctbox runlocal --user b", "b"},
	{"ctbox runlocal tree b", "b"},
	{"ctbox runlocal tree --fa", "--fa"},
	{"ctbox try-fakeroot base.list cat --h", "--h"},
	// mkimage is another program here, and files are what is left.
	{"mkimage --fo", "--fo"},
	{"mkimage b", "base.list"},
}

// matches are the words that completion added to the last word of a line, as args has them, without what they have in common and
// without the signs that shells put after some.
func matches(line string, args []string) []string {
	words := strings.Split(line, " ")
	last := words[len(words)-1]
	lead := ""
	if i := strings.IndexByte(last, '='); i >= 0 && strings.HasPrefix(last, "--") {
		lead = last[:i+1]
	}
	var all []string
	for _, arg := range args[len(words)-1:] {
		all = append(all, strings.TrimRight(strings.TrimPrefix(arg, lead), "/="))
	}
	slices.Sort(all)
	return all
}

func testCompletionCases(t *testing.T, complete func(line string) []string) {
	for _, c := range completionCases {
		if got := matches(c.line, complete(c.line)); strings.Join(got, " ") != c.want {
			t.Errorf("%q: %q, want %q", c.line, got, c.want)
		}
	}
}

func TestBashCompletion(t *testing.T) {
	p, _ := bashTypist(t, ". "+completions(t)+"/ctbox.bash")
	testCompletionCases(t, func(line string) []string { return p.args(line + p.all) })
	testTypedCases(t, p)
	for line, want := range map[string]string{
		"ctbox mklayer \"--mtime=c\t": "ctbox mklayer --mtime=clamp",
		"ctbox mklayer '--output=b\t": "ctbox mklayer --output=base.list",
		"ctbox mklayer --output='b\t": "ctbox mklayer --output=base.list",
	} {
		if got := strings.Join(p.args(line), " "); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

// Where = and : are not what words are cut at.
func TestBashCompletionOfWholeWords(t *testing.T) {
	p, _ := bashTypist(t, ". "+completions(t)+"/ctbox.bash; COMP_WORDBREAKS=${COMP_WORDBREAKS//[=:]/}")
	testCompletionCases(t, func(line string) []string { return p.args(line + p.all) })
	testTypedCases(t, p)
}

// testTypedCases types what is completed on the way.
func testTypedCases(t *testing.T, p *typist) {
	t.Helper()
	for _, c := range []struct{ line, want string }{
		{"ctbox mklay\t-C tr\t --mt\tke\tba\t", "ctbox mklayer -C tree --mtime=keep base.list"},
		{"ctbox runlocal --ho\tx tr\t cat --he", "ctbox runlocal --hostname=x tree cat --he"},
		{"ctbox sha256 'ba\t", "ctbox sha256 base.list"},
		{"ctbox sha256 \"tree/in\t", "ctbox sha256 tree/init"},
		{"ctbox sha256 tree/in\t", "ctbox sha256 tree/init"},
		{"ctbox sha256 ~/../work/ba\t", "ctbox sha256 " + filepath.Dir(p.result) + "/home/../work/base.list"},
		{"ctbox mklayer -C tree <ba\tx", "ctbox mklayer -C tree x"},
		{"ctbox mklayer -C tree <ba\tap\t", "ctbox mklayer -C tree app.layer"},
		{"ctbox listdiff base.list 2>../errors ap\t", "ctbox listdiff base.list app.layer"},
		{"../bin/ctbox sha2\tba\t", "ctbox sha256 base.list"},
		{"true; LC_ALL=C ctbox sha2\tba\t", "ctbox sha256 base.list"},
		{"ctbox need ../bin/ctb\t", "ctbox need ../bin/ctbox"},
	} {
		// zsh takes the slash of a directory away again.
		if got := strings.ReplaceAll(strings.Join(p.args(c.line), " "), "tree/ ", "tree "); got != c.want {
			t.Errorf("%q: %q, want %q", c.line, got, c.want)
		}
	}
}

// bash-completion finds the file when ctbox, or a link with a file of its name beside it, is first completed.
func TestBashCompletionLoaded(t *testing.T) {
	const library = "/usr/share/bash-completion/bash_completion"
	if _, err := os.Stat(library); err != nil {
		lacking(t, err.Error())
	}
	dir := t.TempDir()
	check(t, os.Mkdir(filepath.Join(dir, "completions"), 0o777))
	for _, name := range []string{"ctbox", "sha256", "mkimage"} {
		check(t, os.Symlink(filepath.Join(completions(t), "ctbox.bash"), filepath.Join(dir, "completions", name)))
	}
	p, _ := bashTypist(t, "BASH_COMPLETION_USER_DIR="+dir+"\n. "+library)
	if got := p.args("sha256 --ch\t"); !slices.Equal(got, []string{"sha256", "--check"}) {
		t.Errorf("a link: %q", got)
	}
	testCompletionCases(t, func(line string) []string { return p.args(line + p.all) })
}

func TestZshCompletion(t *testing.T) {
	p, _ := zshTypist(t)
	testCompletionCases(t, func(line string) []string { return p.args(line + p.all) })
	testTypedCases(t, p)
}

// fish says itself what it would complete. The file may be read twice, for ctbox and for a link.
func TestFishCompletion(t *testing.T) {
	requireTool(t, "fish")
	dir, env := completionPlace(t)
	lines := []string{}
	for _, c := range completionCases {
		lines = append(lines, c.line)
	}
	for _, line := range []string{"ctbox need ", "ctbox runlocal ", "ctbox mklayer --directory=", "ctbox sha256 ", "ctbox try-fakeroot x "} {
		for _, word := range []string{"(pwn)/", "$(pwn)/", "(pwn)", `"$(pwn)`, "$(pwn"} {
			lines = append(lines, line+word)
		}
	}
	file := completions(t) + "/ctbox.fish"
	script := "source " + file + "; source " + file + "; for line in $argv; complete -C $line; echo '###'; end"
	cmd := exec.Command("fish", append([]string{"--no-config", "-c", script}, lines...)...)
	cmd.Dir, cmd.Env = filepath.Join(dir, "work"), env
	out, err := cmd.CombinedOutput()
	check(t, err)
	answers := strings.SplitAfter(string(out), "###\n")
	if len(answers) != len(lines)+1 {
		t.Fatalf("%d answers to %d lines:\n%s", len(answers)-1, len(lines), out)
	}
	testCompletionCases(t, func(line string) []string {
		words := strings.Split(line, " ")
		answer := strings.TrimSuffix(answers[slices.Index(lines, line)], "###\n")
		if answer == "" {
			return words
		}
		words = words[:len(words)-1]
		for match := range strings.Lines(answer) {
			word, _, _ := strings.Cut(strings.TrimSuffix(match, "\n"), "\t")
			words = append(words, word)
		}
		return words
	})
	nothingRan(t, dir)
}

// hostileNames are names of files that would do something if a shell read them.
var hostileNames = []string{
	"a b", " a", "b ", "it's", `say "x"`, "$(touch pwned)", "`touch pwned`", "a;touch pwned", "a&touch pwned", "a|touch pwned", "a>pwned", "a<b",
	"(touch pwned)", "a\ntouch pwned", "a\n", "a\tb", "-rf", "--", "--output=pwned", "*", "?", "[a]", "{a,b}", "~", "~root", "#a", "!!", "a!touch", "^a^b",
	"$HOME", "${HOME}", `a\`, `\$(touch pwned)`, "'$(touch pwned)'", `"$(touch pwned)"`, "a=b", "=ls", "a:b", "%1", "@", "é", "$'a'",
}

// testHostileNames completes the name of the only file in a directory in every place for one. The command then has that name as its
// argument, and nothing else has been run.
func testHostileNames(t *testing.T, p *typist, dir string) {
	names := hostileNames
	if testing.Short() {
		names = names[:20]
	}
	for i, name := range names {
		place := filepath.Join(dir, fmt.Sprint("files", i))
		check(t, os.Mkdir(place, 0o777))
		check(t, os.WriteFile(filepath.Join(place, name), nil, 0o666))
		tree := filepath.Join(dir, fmt.Sprint("trees", i), name)
		check(t, os.MkdirAll(tree, 0o777))
		p.typed("cd " + place)
		for _, line := range []string{"ctbox sha256 -- ", "ctbox sha256 -o ", "ctbox sha256 --output="} {
			completeName(t, p, line, name)
		}
		p.args("ctbox mkinitrd --rdinit " + p.all) // with self; not every name is there
		p.typed("cd " + filepath.Dir(tree))
		for _, line := range []string{"ctbox runlocal -- ", "ctbox mklayer --directory="} {
			completeName(t, p, line, name)
		}
	}
	// What is no file, or none that can be found, is quoted as well, or not completed.
	p.typed("mkdir ../traps; cd ../traps; ln -s /nowhere '`pwn`'; ln -s /nowhere 'a`pwn`'; ln -s /nowhere 'b$(pwn)'; ln -s /nowhere 'c${x:-`pwn`}'; ln -s /nowhere $'d\\n`pwn`'")
	for _, line := range []string{"ctbox sha256 ", "ctbox sha256 \\`", "ctbox sha256 a", "ctbox sha256 --output=b", "ctbox sha256 c", "ctbox sha256 d", "ctbox mkinitrd --rdinit="} {
		for _, key := range []string{"\t", p.all} {
			p.typed(line + key)
			p.args("ctbox alive")
		}
	}
	p.args("need zz" + p.all)
	p.args("ctbox try-fakeroot x zz" + p.all)
	nothingRan(t, dir)
}

// nothingRan looks for what the commands in hostile names make.
func nothingRan(t *testing.T, dir string) {
	t.Helper()
	found, err := exec.Command("find", dir, "-name", "pwned").Output()
	if err != nil || len(found) > 0 {
		t.Errorf("%s%v", found, err)
	}
}

// completeName completes line, which makes its last word name, perhaps with the signs that shells put after a directory.
func completeName(t *testing.T, p *typist, line, name string) {
	t.Helper()
	words := strings.Split(line, " ")
	words[len(words)-1] += name
	got := p.args(line + "\t")
	got[len(got)-1] = strings.TrimSuffix(got[len(got)-1], "/")
	if !slices.Equal(got, words) {
		t.Errorf("%q and a file %q: ran %q", line, name, got)
	}
}

func TestBashCompletionOfHostileNames(t *testing.T) {
	p, dir := bashTypist(t, ". "+completions(t)+"/ctbox.bash")
	testHostileNames(t, p, dir)
}

// A command substitution that is typed runs when the line does, not when it is completed.
func TestBashCompletionRunsNothing(t *testing.T) {
	p, dir := bashTypist(t, ". "+completions(t)+"/ctbox.bash")
	const killed = "\x15" // the line
	lines := []string{"ctbox ", "ctbox sha256 ", "ctbox sha256 --output=", "ctbox sha256 -", "ctbox runlocal ", "ctbox need ", "ctbox mkinitrd --rdinit=", "ctbox runlocal -e "}
	for _, word := range []string{"$(pwn)/", "`pwn`/", "\"$(pwn)/", "$(pwn)", "${x:=$(pwn)}/", "$((y[$(pwn)]))/"} {
		for _, line := range append(lines, "ctbox sha256 "+word+" ") {
			if got := p.args(line + word + "\t" + p.all + killed + "ctbox alive"); !slices.Equal(got, []string{"ctbox", "alive"}) {
				t.Errorf("%s%s: then %q", line, word, got)
			}
		}
	}
	nothingRan(t, dir)
}

func TestZshCompletionOfHostileNames(t *testing.T) {
	p, dir := zshTypist(t)
	testHostileNames(t, p, dir)
}
