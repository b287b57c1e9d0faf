//go:build linux && (amd64 || arm64)

package applets

import (
	"reflect"
	"strings"
	"testing"

	"github.com/ctbox/ctbox/applets/internal/cli"
	"github.com/ctbox/ctbox/applets/internal/plan"
)

// FuzzGuess: a run that was started before its time is what the command line means.
func FuzzGuess(f *testing.F) {
	f.Setenv("SOURCE_DATE_EPOCH", "1")
	for _, line := range []string{
		"d", "d sh -c x", "-e A=1 -e A=2 d -e B=1", "-e PATH=/bin -e HOME d x", "-e SOURCE_DATE_EPOCH=5 ./d/ --rw", "d -- x", "-- d",
		"d --help", "-n d", "-e A d -n", "=x d", "-e =1 d", "-e A, d", "@d x", "d $HOME ${HOME}", "-e A=${HOME} d",
	} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		args := strings.Split(line, " ")
		guess := plan.Guess(append([]string{"ctbox", "runlocal"}, args...), 1000)
		if guess == nil {
			return
		}
		cmd, err := cli.Parse(&runlocal, args)
		if err != nil {
			t.Fatal(err)
		}
		o, err := cmd.(*runlocalCommand).options(cli.Stdio{})
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(guess, &o.Plan) {
			t.Errorf("%q: guessed %+v, is %+v", args, guess, o.Plan)
		}
	})
}

func TestParseBind(t *testing.T) {
	for text, want := range map[string]plan.Bind{
		"a:/b":        {Source: "a", Target: "/b"},
		"/a:/b/../c/": {Source: "/a", Target: "/c"},
		"a:b:/c:ro":   {Source: "a:b", Target: "/c", ReadOnly: true},
		"a:/ro":       {Source: "a", Target: "/ro"},
		"a":           {},
		":/a":         {},
		"a:b":         {},
		"a:":          {},
		"a:/":         {},
		"a:/..":       {},
		"a:ro":        {},
		"":            {},
	} {
		got, err := parseBind(text)
		if got != want || (err == nil) != (want.Source != "") {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
}
