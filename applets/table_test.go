package applets

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/ctbox/ctbox/applets/internal/cli"
)

func TestTableIsInOrder(t *testing.T) {
	names := Names()
	if !slices.IsSorted(names) || len(slices.Compact(slices.Clone(names))) != len(names) {
		t.Errorf("not in order, or one twice: %q", names)
	}
}

func TestAppletsAreDescribed(t *testing.T) {
	name := regexp.MustCompile(`^[a-z][a-z0-9-]*$`)
	brief := regexp.MustCompile(`^[a-z].{8,60}[^.]$`)
	for _, a := range table {
		if !name.MatchString(a.Name) {
			t.Errorf("%q is no name for a command", a.Name)
		}
		if !brief.MatchString(a.Brief) {
			t.Errorf("%s: %q is not one short line, lower case, without full stop", a.Name, a.Brief)
		}
		if !strings.Contains(a.Example, "ctbox "+a.Name) {
			t.Errorf("%s: the example %q does not use it", a.Name, a.Example)
		}
	}
}

func TestHelpFitsTheScreen(t *testing.T) {
	args := [][]string{{"ctbox", "--help"}}
	for _, a := range table {
		args = append(args, []string{"ctbox", a.Name, "--help"})
	}
	for _, args := range args {
		var out, stderr bytes.Buffer
		if status := Main(args, nil, &out, &stderr); status != 0 || out.Len() == 0 || stderr.Len() != 0 {
			t.Errorf("%q: status %d, %s", args, status, stderr.String())
		}
		for line := range strings.Lines(out.String()) {
			if utf8.RuneCountInString(strings.TrimSuffix(line, "\n")) > 80 {
				t.Errorf("%q: more than 80 columns: %s", args, line)
			}
		}
	}
}

// A letter is the same option in every applet, so that hands can learn it.
func TestLetters(t *testing.T) {
	long := map[string]string{
		"0": "null", "o": "output", "C": "directory", "z": "compress", "q": "quiet", "v": "verbose",
		"t": "template", "e": "env", "c": "check", "x": "one-file-system", "F": "fakeroot", "h": "help",
	}
	letter := map[string]string{}
	for l, name := range long {
		letter[name] = l
	}
	for _, a := range table {
		options, err := cli.Options(a)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range options {
			if o.Letter == "" {
				if l := letter[o.Name]; l != "" {
					t.Errorf("%s: --%s has no letter, elsewhere it is -%s", a.Name, o.Name, l)
				}
				continue
			}
			if a.Name == "mkdisk" && o.Name == "type" {
				continue // mount and mkfs have taught hands another -t
			}
			if other, ok := long[o.Letter]; ok && other != o.Name {
				t.Errorf("%s: -%s is --%s, elsewhere it is --%s", a.Name, o.Letter, o.Name, other)
			}
			if other, ok := letter[o.Name]; ok && other != o.Letter {
				t.Errorf("%s: --%s is -%s, elsewhere it is -%s", a.Name, o.Name, o.Letter, other)
			}
			long[o.Letter], letter[o.Name] = o.Name, o.Letter
		}
	}
}

// Building and using a model is most of what start-up costs beyond Go itself. kong needs some 70 allocations
// for an option with its help; mkimage, with more than twenty, may have what these take.
func TestParseAllocations(t *testing.T) {
	if testing.Short() {
		t.Skip("the race detector, which goes with -short, allocates too")
	}
	const limit, perOption = 1300, 80
	for _, a := range table {
		options, err := cli.Options(a)
		if err != nil {
			t.Fatal(err)
		}
		var args []string
		for {
			if _, err := cli.Parse(a, args); err == nil {
				break
			} else if len(args) > 3 {
				t.Fatalf("%s: %v", a.Name, err)
			}
			args = append(args, "operand")
		}
		n := testing.AllocsPerRun(10, func() { cli.Parse(a, args) })
		t.Logf("%s: %.0f allocations for %d options", a.Name, n, len(options))
		if n > float64(max(limit, perOption*len(options))) {
			t.Errorf("%s: %.0f allocations are too many", a.Name, n)
		}
	}
}
