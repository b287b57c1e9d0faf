package applets

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/ctbox/ctbox/applets/internal/cli"
)

// What completes an option's value or an operand: choices, joined by "|", and these.
const (
	aFile     = "@file"
	aDir      = "@dir"
	aProgram  = "@program"  // in PATH, or a file
	aVariable = "@variable" // of the environment
	aText     = "@text"     // nothing does
)

// A completed is one applet in the completion files.
type completed struct {
	name, brief string
	runner      bool
	options     []completedOption
	operands    []completedOperand
}

type completedOption struct {
	letter, name string // "o", "output"
	help         string // short
	value        string // name of its value, "" if it has none
	spec         string // what completes that
	many         bool   // may be given again
}

type completedOperand struct {
	name, spec     string
	optional, many bool
}

// complete collects what the completion files say of applet a.
func complete(t *testing.T, a *cli.Applet) completed {
	t.Helper()
	parser, _ := kongParser(t, a)
	c := completed{name: a.Name, brief: a.Brief, runner: a.Runner}
	for _, f := range parser.Model.Flags {
		o := completedOption{name: f.Name, help: short(f.Help), many: f.IsCumulative() || f.IsCounter()}
		if f.Short != 0 {
			o.letter = string(f.Short)
		}
		if !f.IsBool() && !f.IsCounter() {
			o.value, o.spec = f.PlaceHolder, optionSpec(f)
			if o.value == "" {
				o.value = strings.ToUpper(f.Name)
			}
		}
		c.options = append(c.options, o)
	}
	c.options = append(c.options, completedOption{letter: "h", name: "help", help: "Print this help"},
		completedOption{name: "version", help: "Print the version"})
	for _, p := range parser.Model.Positional {
		o := completedOperand{name: p.Tag.PlaceHolder, optional: !p.Required, many: p.IsCumulative()}
		if o.name == "" {
			o.name = strings.ToUpper(p.Name)
		}
		o.spec = operandSpec(o.name, c.operands)
		c.operands = append(c.operands, o)
	}
	return c
}

// optionSpec reads from an option's choices or placeholder what its values are.
func optionSpec(f *kong.Flag) string {
	switch {
	case f.Enum != "":
		return strings.Join(f.EnumSlice(), "|")
	case f.Name == "workdir", f.Name == "volume":
		return aText // in the container
	case f.PlaceHolder == "ENGINE":
		return "docker|podman|nerdctl|" + aFile
	}
	var all []string
	for word := range strings.SplitSeq(f.PlaceHolder, "|") {
		switch {
		case word == "FILE", strings.HasPrefix(word, "SRC:"):
			word = aFile
		case word == "DIR":
			word = aDir
		case strings.HasPrefix(word, "VAR["):
			word = aVariable
		case word != strings.ToLower(word) || word == "":
			word = aText
		}
		all = append(all, word)
	}
	return strings.Join(all, "|")
}

// operandSpec is what an operand is, by its name and those before it: most are files.
func operandSpec(name string, before []completedOperand) string {
	switch name {
	case "DIR":
		return aDir
	case "PROGRAM", "CMD":
		return aProgram
	case "ARG":
		if before[len(before)-1].spec != aProgram {
			return aText // of a program in the container
		}
	}
	return aFile
}

// short is the beginning of a help text, as much as says something in one line of a list.
func short(help string) string {
	help, _, _ = strings.Cut(help, ". ")
	if len(help) > 60 {
		help, _, _ = strings.Cut(help, "; ")
	}
	return strings.TrimSuffix(help, ".")
}

// spellings are "-o" and "--output".
func (o completedOption) spellings() []string {
	if o.letter == "" {
		return []string{"--" + o.name}
	}
	return []string{"-" + o.letter, "--" + o.name}
}

// bashModel writes the cases of _ctbox_model.
func bashModel(all []completed) string {
	var b strings.Builder
	for _, c := range all {
		var options, operands []string
		for _, o := range c.options {
			for _, s := range o.spellings() {
				if o.spec != "" {
					s += "=" + o.spec
				}
				options = append(options, bashWord(s))
			}
		}
		for _, o := range c.operands {
			if o.many {
				o.spec += "..."
			}
			operands = append(operands, bashWord(o.spec))
		}
		fmt.Fprintf(&b, "\t%s)\n\t\toptions=(%s)\n\t\toperands=(%s)\n", cmp.Or(c.name, "''"), fold(options), strings.Join(operands, " "))
		if c.runner {
			b.WriteString("\t\trunner=1\n")
		}
		if c.name == "" {
			fmt.Fprintf(&b, "\t\tapplets='%s'\n", strings.Join(Names(), "|"))
		}
		b.WriteString("\t\t;;\n")
	}
	return b.String()
}

// bashWord quotes a word that is more than one to the shell.
func bashWord(s string) string {
	if strings.Contains(s, "|") {
		return "'" + s + "'"
	}
	return s
}

// fold joins words to lines of a hundred columns.
func fold(words []string) string {
	var b strings.Builder
	column := 0
	for _, w := range words {
		switch {
		case column == 0:
		case column+len(w) > 100:
			b.WriteString("\n\t\t\t")
			column = 0
		default:
			b.WriteString(" ")
		}
		b.WriteString(w)
		column += len(w) + 1
	}
	return b.String()
}

// zshModel writes _ctbox_names and the cases of _ctbox_arguments.
func zshModel(all []completed) string {
	var b strings.Builder
	b.WriteString("_ctbox_names() {\n\tlocal -a names=(\n")
	for _, c := range all {
		if c.name != "" {
			fmt.Fprintf(&b, "\t\t%s\n", zshQuote(c.name+":"+c.brief))
		}
	}
	b.WriteString("\t)\n\t_describe -t applets applet names\n}\n\n_ctbox_is_applet() {\n\t[[ $1 == (" + strings.Join(Names(), "|") + ") ]]\n}\n\n")
	b.WriteString("_ctbox_arguments() {\n\tcase $1 in\n")
	for _, c := range all {
		stop := ""
		if c.runner {
			stop = " -A '-*'"
		}
		fmt.Fprintf(&b, "\t(%s)\n\t\t_arguments -s -S%s :", cmp.Or(c.name, "''"), stop)
		for _, o := range c.options {
			b.WriteString(" \\\n\t\t\t" + zshOption(o))
		}
		for _, o := range c.operands {
			prefix := ":"
			if o.optional {
				prefix = "::"
			}
			if o.many {
				prefix = "*:"
			}
			b.WriteString(" \\\n\t\t\t" + zshQuote(prefix+zshValue(o.name, o.spec)))
		}
		b.WriteString("\n\t\t;;\n")
	}
	b.WriteString("\tesac\n}\n")
	return b.String()
}

// zshOption is an option as _arguments wants it: '(-o --output)'{-o+,--output=}'[help]:VALUE:action'.
func zshOption(o completedOption) string {
	words := o.spellings()
	exclude := "(" + strings.Join(words, " ") + ")"
	switch {
	case o.name == "help", o.name == "version":
		exclude = "(- *)"
	case o.many:
		exclude = "*"
	}
	if o.spec != "" {
		for i, w := range words {
			if words[i] = w + "="; len(w) == 2 {
				words[i] = w + "+"
			}
		}
	}
	spelt := words[0]
	if len(words) > 1 {
		spelt = "{" + strings.Join(words, ",") + "}"
	}
	text := "[" + strings.NewReplacer("[", `\[`, "]", `\]`, ":", `\:`).Replace(o.help) + "]"
	if o.spec != "" {
		text += ":" + zshValue(o.value, o.spec)
	}
	return zshQuote(exclude) + spelt + zshQuote(text)
}

// zshValue is "VALUE:action".
func zshValue(name, spec string) string {
	name = strings.ReplaceAll(name, ":", `\:`)
	actions := map[string]string{
		aFile: "_files", aDir: "_path_files -/", aProgram: "_ctbox_programs", aVariable: "_parameters -g '*export*'", aText: " ",
	}
	if action, ok := actions[spec]; ok {
		return name + ":" + action
	}
	if words, ok := strings.CutSuffix(spec, "|"+aFile); ok {
		return name + ": _ctbox_words_or_files " + strings.ReplaceAll(words, "|", " ")
	}
	return name + ":(" + strings.ReplaceAll(spec, "|", " ") + ")"
}

func zshQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// fishModel writes the options that take values, for the functions, and then what complete is told.
func fishModel(all []completed) string {
	var b strings.Builder
	b.WriteString("function __ctbox_valued -a applet\n\tswitch $applet\n")
	for _, c := range all {
		var valued []string
		for _, o := range c.options {
			if o.spec != "" {
				valued = append(valued, o.spellings()...)
			}
		}
		if len(valued) > 0 {
			fmt.Fprintf(&b, "\t\tcase %s\n\t\t\tprintf '%%s\\n' %s\n", c.name, strings.Join(valued, " "))
		}
	}
	b.WriteString("\tend\nend\n\nset -g __ctbox_applets " + strings.Join(Names(), " ") + "\nset -g __ctbox_runners")
	for _, c := range all {
		if c.runner {
			b.WriteString(" " + c.name)
		}
	}
	b.WriteString("\n\ncomplete -c ctbox -f\n")
	for _, c := range all {
		b.WriteString("\n")
		if c.name != "" {
			fmt.Fprintf(&b, "complete -c ctbox -n '__ctbox_at' -a %s -d %s\n", c.name, fishQuote(c.brief))
		}
		for _, o := range c.options {
			line := "complete -c ctbox -n " + fishQuote(strings.TrimSpace("__ctbox_at options "+c.name))
			if o.letter != "" {
				line += " -s " + o.letter
			}
			line += " -l " + o.name
			if o.spec != "" {
				line += " -r " + fishValue(o.spec)
			}
			fmt.Fprintf(&b, "%s -d %s\n", line, fishQuote(o.help))
		}
		for i, o := range c.operands {
			if o.spec == aText {
				continue
			}
			place := fmt.Sprint(i + 1)
			if o.many {
				place += "+"
			}
			fmt.Fprintf(&b, "complete -c ctbox -n %s %s\n", fishQuote(strings.TrimSpace("__ctbox_at "+place+" "+c.name)), fishValue(o.spec))
		}
	}
	return b.String()
}

// fishValue is the part of a line that says what a value is.
func fishValue(spec string) string {
	values := map[string]string{
		aFile: "-F", aDir: "-f -a '(__ctbox_directories)'", aProgram: "-f -a '(__ctbox_programs)'", aVariable: "-f -a '(set -nx)'", aText: "-f",
	}
	if value, ok := values[spec]; ok {
		return value
	}
	words, files := strings.CutSuffix(spec, "|"+aFile)
	value := "-a '" + strings.ReplaceAll(words, "|", " ") + "'"
	if files {
		return "-F " + value
	}
	return "-f " + value
}

func fishQuote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
}

// The completion files say what the applets are. What they do with it stands beside it, written by hand.
func TestCompletions(t *testing.T) {
	var all []completed
	for _, a := range append([]*cli.Applet{&box}, table[:]...) {
		all = append(all, complete(t, a))
	}
	for name, model := range map[string]string{"ctbox.bash": bashModel(all), "_ctbox": zshModel(all), "ctbox.fish": fishModel(all)} {
		path := filepath.Join("..", "completions", name)
		old, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		want := generated(t, string(old), model)
		if name == "_ctbox" {
			_, rest, _ := strings.Cut(want, "\n")
			want = "#compdef ctbox " + strings.Join(Names(), " ") + "\n" + rest
		}
		if want == string(old) {
			continue
		}
		if os.Getenv("UPDATE") == "" {
			t.Errorf("%s does not have what the applets are: UPDATE=1 go test -run TestCompletions ./applets", path)
		} else if err := os.WriteFile(path, []byte(want), 0o666); err != nil {
			t.Error(err)
		}
	}
}

// generated puts model between the marks in text.
func generated(t *testing.T, text, model string) string {
	t.Helper()
	lines := strings.SplitAfter(text, "\n")
	from := slices.IndexFunc(lines, func(l string) bool { return strings.TrimSpace(l) == "# generated" })
	to := slices.IndexFunc(lines, func(l string) bool { return strings.TrimSpace(l) == "# end of generated" })
	if from < 0 || to < from {
		t.Fatal("no marks for what is generated")
	}
	return strings.Join(lines[:from+1], "") + model + strings.Join(lines[to:], "")
}
