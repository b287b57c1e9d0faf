package applets

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"unicode/utf8"

	"github.com/alecthomas/kong"

	"github.com/ctbox/ctbox/applets/internal/cli"
)

// commands is every command line there is.
func commands() []*cli.Applet { return slices.Concat(table[:], unlisted[:], []*cli.Applet{&box}) }

// kongParser is kong's own parser for an applet. Strings, which it would send through JSON, keep their bytes.
func kongParser(t testing.TB, a *cli.Applet) (*kong.Kong, cli.Command) {
	t.Helper()
	text := func(ctx *kong.DecodeContext, target reflect.Value) error {
		token, err := ctx.Scan.PopValue("string")
		if err == nil {
			target.SetString(token.String())
		}
		return err
	}
	cmd := a.New()
	parser, err := kong.New(cmd, kong.NoDefaultHelp(), kong.Exit(func(int) { t.Error("kong would exit") }),
		kong.KindMapper(reflect.String, kong.MapperFunc(text)))
	if err != nil {
		t.Fatal(a.Name, err)
	}
	return parser, cmd
}

// asKong gives one command line to ctbox and to kong, in a form that means the same to both. They make the same of it, or refuse it
// in the same words. It returns the error of ctbox.
func asKong(t *testing.T, a *cli.Applet, line []string) error {
	t.Helper()
	ours, ourErr := cli.Parse(a, line)
	parser, theirs := kongParser(t, a)
	_, theirErr := parser.Parse(line)
	if (ourErr == nil) != (theirErr == nil) || ourErr == nil && !reflect.DeepEqual(ours, theirs) {
		t.Errorf("%s %q: %+v, %v; kong has %+v, %v", a.Name, line, ours, ourErr, theirs, theirErr)
		return ourErr
	}
	operands := len(line) - slices.Index(line, "--") - 1
	valid := !slices.ContainsFunc(line, func(word string) bool { return !utf8.ValidString(word) })
	if ourErr != nil && valid && takes(parser.Model.Node, operands) && ourErr.Error() != theirErr.Error() {
		t.Errorf("%s %q: %v; kong says %v", a.Name, line, ourErr, theirErr)
	}
	return ourErr
}

// takes says whether a model takes n operands: of a wrong number, kong speaks in other words.
func takes(model *kong.Node, n int) bool {
	least, most := 0, len(model.Positional)
	for _, p := range model.Positional {
		if p.Required {
			least++
		}
		if p.IsCumulative() {
			most = n
		}
	}
	return least <= n && n <= most
}

// spell writes one use of an option.
func spell(f *kong.Flag, value string) string {
	if f.IsBool() || f.IsCounter() {
		return "--" + f.Name
	}
	return "--" + f.Name + "=" + value
}

// values are what options may be given, rightly and wrongly.
var values = []string{
	"", "-", "--", "0", "7", "-1", "0x10", "1_0", "08", " 1", "99999999999999999999", "no", "none", "1.5", "90", "2m30s", "-3s", "512M",
	"a b", "a,b", `a\,b`, "a=b", "=", `"`, "${x}", "<&>\u2028", "\xff", "\xc3(", "~", "\n",
}

// Of every option of every command, every value is what kong would make of it; and where they add up, two are.
func TestOptionsAreKongs(t *testing.T) {
	values := values
	if testing.Short() { // the race detector makes it ten times as long, and finds nothing here
		values = []string{"", "7", "-1", "x"}
	}
	for _, a := range commands() {
		parser, _ := kongParser(t, a)
		var operands []string
		for _, p := range parser.Model.Positional {
			if p.Required {
				operands = append(operands, "-"+p.Name)
			}
		}
		if err := asKong(t, a, append([]string{"--"}, operands...)); err != nil {
			t.Errorf("%s does not take what it requires: %v", a.Name, err)
		}
		for _, f := range parser.Model.Flags {
			taken := 0
			for _, value := range append(f.EnumSlice(), values...) {
				line := append([]string{spell(f, value), "--"}, operands...)
				if asKong(t, a, line) == nil {
					taken++
				}
				if f.IsCumulative() || f.IsCounter() {
					asKong(t, a, append([]string{spell(f, "1")}, line...))
				}
			}
			if taken == 0 {
				t.Errorf("%s --%s took none of the values", a.Name, f.Name)
			}
		}
	}
}

// Many options and operands at once, from a generator with a fixed seed.
func TestLinesAreKongs(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 4))
	taken, lines := 0, 1000
	if testing.Short() {
		lines = 200
	}
	for range lines {
		data := []byte{byte(random.Uint32())}
		for range random.IntN(6) {
			data = append(append(data, byte(random.Uint32())), values[random.IntN(len(values))]+"\x00"...)
		}
		if a, line := decodeLine(t, data); asKong(t, a, line) == nil {
			taken++
		}
	}
	if taken < lines/10 || taken > lines*9/10 {
		t.Errorf("%d of %d lines were good: they are to be mixed", taken, lines)
	}
}

// decodeLine makes a command line from bytes: the first chooses the command, and of each word that ends in NUL, the first byte chooses
// the option whose value it is; or it is an operand.
func decodeLine(t testing.TB, data []byte) (*cli.Applet, []string) {
	all := commands()
	if len(data) == 0 {
		data = []byte{0}
	}
	a := all[int(data[0])%len(all)]
	parser, _ := kongParser(t, a)
	flags := parser.Model.Flags
	var line, operands []string
	for word := range bytes.SplitSeq(data[1:], []byte{0}) {
		if len(word) == 0 {
			continue
		}
		if i := int(word[0]) % (2*len(flags) + 1); i < len(flags) {
			line = append(line, spell(flags[i], string(word[1:])))
		} else {
			operands = append(operands, string(word[1:]))
		}
	}
	return a, append(append(line, "--"), operands...)
}

// FuzzParse looks for command lines that kong takes in another way.
func FuzzParse(f *testing.F) {
	for i := range commands() {
		f.Add([]byte{byte(i)})
		f.Add([]byte{byte(i), 1, '1', 0, 2, '7', 0, 3, 0, 255, 'x', 0, 254, '-'})
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		a, line := decodeLine(t, data)
		asKong(t, a, line)
	})
}
