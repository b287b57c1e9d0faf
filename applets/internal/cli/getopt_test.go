package cli

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/alecthomas/kong"
)

// filter is the shape of an ordinary applet.
type filter struct {
	Null    bool     `short:"0" help:"Switch."`
	Quiet   bool     `short:"q" help:"Switch."`
	Verbose int      `short:"v" type:"counter" help:"Switch that counts."`
	Output  string   `short:"o" placeholder:"FILE" help:"Value."`
	Level   int      `short:"l" default:"6" placeholder:"N" help:"Number."`
	Format  string   `enum:"tar,oci" default:"tar" help:"Choice."`
	Env     []string `short:"e" sep:"none" placeholder:"V=X" help:"Value, many times."`
	AddOnly bool     `help:"Switch without a letter."`
	Jobs    uint     `short:"j" placeholder:"N" help:"Number of things."`
	Memory  Size     `short:"m" placeholder:"MEM" help:"Value that knows how it is written."`
	Timeout Duration `default:"90" placeholder:"TIME" help:"Another, with a default."`
	Base    string   `arg:"" placeholder:"BASE" help:"Operand."`
	More    []string `arg:"" optional:"" placeholder:"FILE" help:"Operands."`
}

func (*filter) Run(Stdio) error { return nil }

// two is an applet with a fixed number of operands.
type two struct {
	Quiet bool   `short:"q" help:"Switch."`
	Base  string `arg:"" placeholder:"BASE" help:"Operand."`
	New   string `arg:"" optional:"" placeholder:"NEW" help:"Operand."`
}

func (*two) Run(Stdio) error { return nil }

// none is an applet without operands.
type none struct {
	Quiet bool `short:"q" help:"Switch."`
}

func (*none) Run(Stdio) error { return nil }

// parse returns what cmd's fields are after parsing, as text, or the error.
func parse(t testing.TB, cmd Command, args []string, stop bool) (string, error) {
	t.Helper()
	parser, err := newParser(&Applet{Name: "test", Runner: stop}, cmd)
	if err != nil {
		t.Fatal(err)
	}
	opts, operands, err := getopt(parser.Model.Node, args, stop)
	if err == nil {
		err = assign(parser.Model.Node, opts, operands)
	}
	if err != nil {
		return "", err
	}
	return show(cmd), nil
}

// show lists the fields of a filter that are not at their defaults, operands last.
func show(cmd Command) string {
	f, ok := cmd.(*filter)
	if !ok {
		return fmt.Sprintf("%+v", cmd)
	}
	var b strings.Builder
	flag := func(set bool, format string, v any) {
		if set {
			fmt.Fprintf(&b, format+" ", v)
		}
	}
	flag(f.Null, "null", nil)
	flag(f.Quiet, "quiet", nil)
	flag(f.Verbose > 0, "verbose=%d", f.Verbose)
	flag(f.Output != "", "output=%s", strings.Trim(fmt.Sprintf("%q", f.Output), `"`))
	flag(f.Level != 6, "level=%d", f.Level)
	flag(f.Format != "tar", "format=%s", f.Format)
	flag(f.Env != nil, "env=%q", f.Env)
	flag(f.AddOnly, "add-only", nil)
	flag(f.Jobs != 0, "jobs=%d", f.Jobs)
	flag(f.Memory != 0, "memory=%d", f.Memory)
	flag(f.Timeout != Duration(90*time.Second), "timeout=%v", time.Duration(f.Timeout))
	s := strings.ReplaceAll(b.String(), "%!(EXTRA <nil>)", "")
	return s + fmt.Sprintf("%q", append([]string{f.Base}, f.More...))
}

func TestGetopt(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		// Operands and where options may stand.
		{"a", `["a"]`},
		{"a b c", `["a" "b" "c"]`},
		{"-0 a", `null ["a"]`},
		{"a -0", `null ["a"]`},
		{"a -0 b", `null ["a" "b"]`},
		{"a -o out b -q c", `quiet output=out ["a" "b" "c"]`},
		{"-", `["-"]`},
		{"- - -q", `quiet ["-" "-"]`},
		{"''", `[""]`},
		{"a '' b", `["a" "" "b"]`},
		{"a,b c;d", `["a,b" "c;d"]`},
		{"\xff b\xfec -o\xfd -e \xfc,", `output=\xfd env=["\xfc,"] ["\xff" "b\xfec"]`},
		// The end of options.
		{"-- a", `["a"]`},
		{"a --", `["a"]`},
		{"-- -b", `["-b"]`},
		{"a -- -b", `["a" "-b"]`},
		{"-q -- -0 --output x", `quiet ["-0" "--output" "x"]`},
		{"-- --", `["--"]`},
		{"a -- b -- c", `["a" "b" "--" "c"]`},
		{"-- --help", `["--help"]`},
		// Letters.
		{"-0q a", `null quiet ["a"]`},
		{"-vvv a", `verbose=3 ["a"]`},
		{"-v a -v", `verbose=2 ["a"]`},
		{"-oout a", `output=out ["a"]`},
		{"-o out a", `output=out ["a"]`},
		{"-0qoout a", `null quiet output=out ["a"]`},
		{"-qo out a", `quiet output=out ["a"]`},
		{"-o=out a", `output==out ["a"]`},
		{"-o - a", `output=- ["a"]`},
		{"-o -q a", `output=-q ["a"]`},
		{"-o -- a", `output=-- ["a"]`},
		{"-oq a", `output=q ["a"]`},
		{"-l -1 a", `level=-1 ["a"]`},
		{"-l-1 a", `level=-1 ["a"]`},
		// Long names.
		{"--output=out a", `output=out ["a"]`},
		{"--output out a", `output=out ["a"]`},
		{"--output=a=b a", `output=a=b ["a"]`},
		{"--output=--null a", `output=--null ["a"]`},
		{"--output -x a", `output=-x ["a"]`},
		{"-j8 -m 1K --timeout 1.5 a", `jobs=8 memory=1024 timeout=1.5s ["a"]`},
		{"--null --add-only a", `null add-only ["a"]`},
		{"a --format=oci", `format=oci ["a"]`},
		{"a --format oci", `format=oci ["a"]`},
		// The last one wins; lists grow and are not split.
		{"-o x -o y a", `output=y ["a"]`},
		{"-q -q a", `quiet ["a"]`},
		{"-e A=1 -e B=2,3 a", `env=["A=1" "B=2,3"] ["a"]`},
		{"-eA=1 --env=B a", `env=["A=1" "B"] ["a"]`},
		{"--env= a", `env=[""] ["a"]`},
	} {
		if got, err := parse(t, new(filter), words(c.args), false); got != c.want || err != nil {
			t.Errorf("%s: got %s, %v, want %s", c.args, got, err, c.want)
		}
	}
}

func TestGetoptErrors(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"", "missing operand BASE"},
		{"-q", "missing operand BASE"},
		{"--", "missing operand BASE"},
		{"-o", "option -o needs a value"},
		{"-qo", "option -o needs a value"},
		{"a --output", "option --output needs a value"},
		{"-z a", "unknown option -z"},
		{"-0z a", "unknown option -z"},
		{"-é a", "unknown option -é"},
		{"-\xff a", "unknown option -\xff"},
		{"-q\xffo a", "unknown option -\xff"},
		{"-=", "unknown option -="},
		{"--zap a", "unknown option --zap"},
		{"--zap=1 a", "unknown option --zap"},
		{"--out=x a", "unknown option --out"},
		{"--=x a", "unknown option --"},
		{"--null=1 a", "option --null takes no value"},
		{"--verbose=2 a", "option --verbose takes no value"},
		{"--help=x", "option --help takes no value"},
		{"--version=", "option --version takes no value"},
		{"-l x a", `--level: expected a valid 64 bit int but got "x"`},
		{"-j -1 a", `--jobs: expected a valid 64 bit uint but got "-1"`},
		{"-m 1X a", `--memory: "1X" is not a size: give a number with a unit, as in 512M or 2G`},
		{"--format=zip a", `--format must be one of "tar","oci" but got "zip"`},
	} {
		got, err := parse(t, new(filter), words(c.args), false)
		if err == nil || err.Error() != c.want {
			t.Errorf("%s: got %s, %v, want %s", c.args, got, err, c.want)
		}
	}
}

func TestGetoptOperandCount(t *testing.T) {
	for _, c := range []struct {
		cmd        Command
		args, want string
	}{
		{new(two), "a", "&{Quiet:false Base:a New:}"},
		{new(two), "a -q b", "&{Quiet:true Base:a New:b}"},
		{new(two), "a b c", `extra operand "c"`},
		{new(two), "a b -- -c", `extra operand "-c"`},
		{new(none), "-q", "&{Quiet:true}"},
		{new(none), "-- x", `extra operand "x"`},
		{new(none), "''", `extra operand ""`},
	} {
		got, err := parse(t, c.cmd, words(c.args), false)
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%T %s: got %s, want %s", c.cmd, c.args, got, c.want)
		}
	}
}

// A runner's options end at the first operand: what follows is another command's line.
func TestGetoptRunner(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"-q dir -0 --help", `quiet ["dir" "-0" "--help"]`},
		{"dir -- -x", `["dir" "--" "-x"]`},
		{"-- dir -q", `["dir" "-q"]`},
		{"-o out dir cmd -o x", `output=out ["dir" "cmd" "-o" "x"]`},
		{"- -q", `["-" "-q"]`},
	} {
		if got, err := parse(t, new(filter), words(c.args), true); got != c.want || err != nil {
			t.Errorf("%s: got %s, %v, want %s", c.args, got, err, c.want)
		}
	}
}

func TestHelpAndVersionAnywhere(t *testing.T) {
	for args, want := range map[string]error{
		"-h": errHelp, "--help": errHelp, "a -q --help": errHelp, "-qh": errHelp, "--help --zap": errHelp,
		"--version": errVersion, "a b --version": errVersion,
	} {
		if _, err := parse(t, new(filter), words(args), false); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", args, err, want)
		}
	}
}

// words splits at spaces; two quotes are an empty word.
func words(s string) []string {
	all := strings.Fields(s)
	for i, w := range all {
		if w == "''" {
			all[i] = ""
		}
	}
	return all
}

// FuzzGetopt tries argument vectors, their words separated by NUL. Whatever they are, getopt does not panic; what it takes as operands
// are words of the input in their order, and all that stood after "--" is among them; and kong, told the same in the one form
// that it understands, makes the same of it.
func FuzzGetopt(f *testing.F) {
	for _, seed := range []string{"a", "-0qo\x00out\x00a\x00--\x00-b", "--output=x\x00-\x00--env\x00", "-\xff", "-l\x00-1\x00\x00--", "-é", "a\x00-q", "-vm2G\x00-j1\x00--timeout=1s\x00a"} {
		f.Add([]byte(seed), false)
		f.Add([]byte(seed), true)
	}
	f.Fuzz(func(t *testing.T, line []byte, stop bool) {
		var args []string
		for word := range bytes.SplitSeq(line, []byte{0}) {
			args = append(args, string(word))
		}
		ours, theirs := new(filter), new(filter)
		parser, err := newParser(&Applet{Name: "test"}, ours)
		if err != nil {
			t.Fatal(err)
		}
		opts, operands, err := getopt(parser.Model.Node, slices.Clone(args), stop)
		if err != nil {
			return
		}
		if !subsequence(operands, args) {
			t.Errorf("operands %q are not of %q in order", operands, args)
		}
		if stop && len(operands) > 1 && !slices.Equal(operands, args[len(args)-len(operands):]) {
			t.Errorf("a runner's %q became %q", args, operands)
		}
		ourErr := assign(parser.Model.Node, opts, operands)
		theirErr := kongParse(t, theirs, append(append(spelt(opts), "--"), operands...))
		if (ourErr == nil) != (theirErr == nil) || ourErr == nil && !reflect.DeepEqual(ours, theirs) {
			t.Errorf("%q: %+v, %v; kong has %+v, %v", args, ours, ourErr, theirs, theirErr)
		}
		if ourErr != nil && utf8.Valid(line) && ourErr.Error() != theirErr.Error() {
			t.Errorf("%q: %v; kong says %v", args, ourErr, theirErr)
		}
	})
}

// spelt writes options in the form that leaves nothing to guess.
func spelt(opts []setting) []string {
	var all []string
	for _, o := range opts {
		word := "--" + o.flag.Name
		if !isSwitch(o.flag) {
			word += "=" + o.value
		}
		all = append(all, word)
	}
	return all
}

// kongParse is what assign stands for. Strings, which kong would send through JSON, keep their bytes.
func kongParse(t testing.TB, cmd Command, args []string) error {
	text := func(ctx *kong.DecodeContext, target reflect.Value) error {
		token, err := ctx.Scan.PopValue("string")
		if err == nil {
			target.SetString(token.String())
		}
		return err
	}
	parser, err := kong.New(cmd, kong.NoDefaultHelp(), kong.Exit(func(int) { t.Error("kong would exit") }), kong.KindMapper(reflect.String, kong.MapperFunc(text)))
	if err != nil {
		t.Fatal(err)
	}
	_, err = parser.Parse(args)
	return err
}

func subsequence(part, whole []string) bool {
	for _, w := range whole {
		if len(part) > 0 && part[0] == w {
			part = part[1:]
		}
	}
	return len(part) == 0
}
