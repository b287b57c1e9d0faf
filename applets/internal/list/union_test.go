package list

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
)

func union(lists ...[]string) (string, error) {
	var out bytes.Buffer
	u := Union{Out: &out, Null: true}
	for _, lines := range lists {
		in, err := Open("-", strings.NewReader(joined(lines)), true)
		if err != nil {
			return "", err
		}
		defer in.Close()
		u.Inputs = append(u.Inputs, in)
	}
	err := u.Write()
	return out.String(), err
}

func joined(lines []string) (text string) {
	for _, line := range lines {
		text += line + "\x00"
	}
	return text
}

// What listdiff takes apart, listmerge puts together, whatever changes there were, and however many.
func TestUnionUndoesDiff(t *testing.T) {
	rounds := uint64(400)
	if testing.Short() {
		rounds = 100
	}
	for seed := range rounds {
		pick := randomly(rand.New(rand.NewPCG(seed, 3)))
		now := randomTree(pick)
		lists, last := [][]string{now.lines()}, now.lines()
		for range 1 + pick(3) {
			now = now.mutated(pick)
			layer, err := layerOf(last, now.lines())
			if err != nil {
				t.Fatal(seed, err)
			}
			lists, last = append(lists, layer), now.lines()
		}
		got, err := union(lists...)
		if want := joined(last); err != nil || got != want {
			t.Fatalf("seed %d: %v\n%q\ngot\n%s\nwant\n%s", seed, err, lists, got, want)
		}
	}
}

func layerOf(base, new []string) ([]string, error) {
	var inputs [2]*Input
	for i, lines := range [][]string{base, new} {
		in, err := Open("-", strings.NewReader(joined(lines)), true)
		if err != nil {
			return nil, err
		}
		defer in.Close()
		inputs[i] = in
	}
	var out bytes.Buffer
	d := Diff{Base: inputs[0], New: inputs[1], Out: &out, Null: true, Warn: func(string, ...any) {}}
	_, err := d.Layer()
	return strings.FieldsFunc(out.String(), func(r rune) bool { return r == 0 }), err
}

func TestUnion(t *testing.T) {
	for _, c := range []struct{ what, base, over, want string }{
		{"nothing", "", "", ""},
		{"a list alone", ". d\n./a f", "", ". d\n./a f"},
		{"the last line counts", ". d\n./a f\n./b f", "./a g", ". d\n./a g\n./b f"},
		{"deleted", ". d\n./a d\n./a-b f\n./a/b f", "./a -", ". d\n./a-b f"},
		{"deleted and made anew", ". d\n./a d\n./a-b f\n./a/b f\n./a/c f", "./a/b -\n./a/c g", ". d\n./a d\n./a-b f\n./a/c g"},
		{"deleted, though it is not there", ". d", "./a -", ". d"},
		{"a file for a directory", ". d\n./a d\n./a-b f\n./a/b f", "./a f", ". d\n./a f\n./a-b f"},
		{"a directory for a file", ". d\n./a f\n./a-b f", "./a d\n./a/b f", ". d\n./a d\n./a-b f\n./a/b f"},
		{"a directory keeps what is in it", ". d\n./a d\n./a/b f", "./a D", ". d\n./a D\n./a/b f"},
		{"hard links, the first gone", "./a f\n./b =./a\n./c =./a", "./a -", "./b f\n./c =./b"},
		{"hard links, the first another", "./a f\n./b =./a\n./c =./a", "./a f", "./a f\n./b f\n./c =./b"},
		{"hard links, one gone", "./a f\n./b =./a\n./c =./a", "./b -", "./a f\n./c =./a"},
		{"hard links of both", "./a f\n./b =./a", "./a f\n./b f\n./c =./b", "./a f\n./b f\n./c =./b"},
	} {
		got, err := union(shorthand(c.base), shorthand(c.over))
		if want := joined(shorthand(c.want)); got != want || err != nil {
			t.Errorf("%s: %v\n%s\nwant\n%s", c.what, err, got, want)
		}
	}
}

func TestUnionErrors(t *testing.T) {
	for want, lists := range map[string][2]string{
		"<stdin>:1: ./a/b: lies below a name that is not a directory: ./a": {"./a f", "./a/b f"},
		`<stdin>:1: ./.wh.a: names that begin ".wh." are reserved`:         {"", "./.wh.a f"},
		"<stdin>:2: ./a: duplicate name":                                   {"./a f\n./a f", ""},
		"<stdin>:2: ./b: duplicate name":                                   {"./b f\n./b =./a", ""},
	} {
		if _, err := union(shorthand(lists[0]), shorthand(lists[1])); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	in, err := Open("-", strings.NewReader("./a -\n"), false)
	if err != nil {
		t.Fatal(err)
	}
	u := Union{Inputs: []*Input{in}, Out: iotestWriter{}}
	if err := u.Write(); err != nil {
		t.Error("nothing was to be written:", err)
	}
	in, _ = Open("-", strings.NewReader("./a 0040755-0-0-0\n"), false)
	u = Union{Inputs: []*Input{in}, Out: iotestWriter{}}
	if err := u.Write(); err != iotest.ErrTimeout {
		t.Error(err)
	}
}

type iotestWriter struct{}

func (iotestWriter) Write([]byte) (int, error) { return 0, iotest.ErrTimeout }
