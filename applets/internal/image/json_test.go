package image

import (
	"bytes"
	"encoding/json"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/ctbox/ctbox/applets/internal/fuzztest"
)

// What is kept: the order of names, the text of numbers and strings.
func TestParseKeepsText(t *testing.T) {
	for _, s := range []string{
		`{"z":1,"a":[1.10,1e400,-0,12345678901234567890123,-1.5E-3],"m":{"":null}}`,
		`"\u00e9\/\ud83d\ude00\"\\\b\f\n\r\t"`, `[]`, `{}`, `true`, `0`, `"é😀"`,
	} {
		n, err := parse([]byte(" \t\r\n" + s + " \n"))
		if err != nil {
			t.Errorf("%s: %v", s, err)
		} else if got := string(n.compact()); got != s {
			t.Errorf("%s: came out as %s", s, got)
		}
	}
}

func TestParseErrors(t *testing.T) {
	deep := strings.Repeat("[", 100_000)
	for in, want := range map[string]string{
		"":                          "byte 0: ends where a JSON value should be",
		"{":                         "byte 1: ends where a name in quotes should be",
		"\xef\xbb\xbf{}":            "byte 0: begins with a byte order mark",
		"\xff\xfe{\x00}\x00":        "byte 0: is UTF-16, not UTF-8",
		"\xfe\xff\x00{\x00}":        "byte 0: is UTF-16, not UTF-8",
		`{"a":1,"a":2}`:             `byte 7: "a" is there twice`,
		`{"a":{"b":1,"\u0062":2}}`:  `byte 12: "b" is there twice`,
		`{"a" 1}`:                   `byte 5: '1' is not a colon`,
		`{"a":1 "b":2}`:             `byte 7: '"' is not a comma or a closing brace`,
		`{"a":1,}`:                  `byte 7: '}' is not a name in quotes`,
		`[1,]`:                      `byte 3: ']' is not a JSON value`,
		`[1 2]`:                     `byte 3: '2' is not a comma or a closing bracket`,
		`01`:                        `byte 1: text after the JSON value`,
		`1.`:                        `byte 2: ends where a digit should be`,
		`1e+x`:                      `byte 3: 'x' is not a digit`,
		`-`:                         `byte 1: ends where a digit should be`,
		`nul`:                       `byte 0: 'n' is not a JSON value`,
		`"\ud800"`:                  `byte 7: half of a surrogate pair`,
		`"\ud800\u0041"`:            `byte 7: half of a surrogate pair`,
		`"\udc00\ud800"`:            `byte 7: half of a surrogate pair`,
		`"\u12"`:                    `byte 2: unknown escape in a string`,
		`"\uzzzz"`:                  `byte 2: bad escape in a string`,
		`"\x"`:                      `byte 2: unknown escape in a string`,
		"\"\xc3\x28\"":              `byte 1: is not UTF-8`,
		"\"\xed\xa0\x80\"":          `byte 1: is not UTF-8`,
		"\"\n\"":                    `byte 1: control character '\n' in a string`,
		`{"abc`:                     `byte 5: ends inside a string`,
		`"abc`:                      `byte 4: ends inside a string`,
		`"abc\`:                     `byte 5: unknown escape in a string`,
		deep:                        `byte 1000: nested deeper than 1000`,
		strings.Repeat(`{"":`, 2e4): `byte 4000: nested deeper than 1000`,
	} {
		if err(in) == want {
			continue
		}
		t.Errorf("%.60q: %q, want %q", in, err(in), want)
	}
	depth := strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth)
	if got := err(depth); got != "" {
		t.Errorf("%d deep: %s", maxDepth, got)
	}
}

func err(s string) string {
	if _, err := parse([]byte(s)); err != nil {
		return err.Error()
	}
	return ""
}

func TestIndented(t *testing.T) {
	n, err := parse([]byte(`{"a":{},"b":[],"c":[1,{"d":"x"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	const want = "{\n  \"a\": {},\n  \"b\": [],\n  \"c\": [\n    1,\n    {\n      \"d\": \"x\"\n    }\n  ]\n}\n"
	if got := string(n.indented()); got != want {
		t.Errorf("got %s", got)
	}
}

// What parse takes is what encoding/json takes, with the same values and the same text, less what parse says that it refuses (J01 to J08).
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`{"a":[1,"\ud83d\ude00",null]}`, `"\u0000"`, `1e400`, `[[],{}]`, `{"a":1,"a":2}`, "\"\xff\"",
		"", "{", "\xef\xbb\xbf{}", "\xff\xfe{\x00}\x00", "null", "[]", `"x"`, `{"a":1,"\u0061":2}`, `12345678901234567890123`, `1.10`, `-0`, `01`, `1.`, `+1`, `.5`, `1e`,
		`"\ud800"`, `"\udc00\ud800"`, `"\ud800\u0041"`, `"\uD83D\uDE00"`, `"\x"`, "\"\t\"", `{"a":1,}`, `[1,]`, `{} {}`, "\v{}", "\u2028{}", `{"a" :\r\n\t1 }`,
		strings.Repeat("[", 1001) + strings.Repeat("]", 1001), strings.Repeat(`{"a":`, 1000) + "1" + strings.Repeat("}", 1000), "tru", "nulll", "NaN",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var n *node
		var err error
		fuzztest.Bounded(t, len(in), 64<<10, 512, func() { n, err = parse(in) })
		if err != nil {
			if json.Valid(in) && !isStricter(in) {
				t.Fatalf("%q: %v, but it is JSON", in, err)
			}
			return
		}
		if !json.Valid(in) {
			t.Fatalf("%q is not JSON", in)
		}
		var plain bytes.Buffer
		if json.Compact(&plain, in); !bytes.Equal(plain.Bytes(), n.compact()) {
			t.Fatalf("%q became %q, not %q", in, n.compact(), plain.Bytes())
		}
		again, err := parse(n.indented())
		if err != nil || string(again.compact()) != string(n.compact()) {
			t.Fatalf("%q became %q: %v", in, n.indented(), err)
		}
		var want any
		d := json.NewDecoder(bytes.NewReader(in))
		d.UseNumber()
		if err := d.Decode(&want); err != nil || !reflect.DeepEqual(n.plain(), want) {
			t.Fatalf("%q is %v, not %v (%v)", in, n.plain(), want, err)
		}
	})
}

// plain is what encoding/json makes of n.
func (n *node) plain() any {
	switch n.kind {
	case '{':
		all := map[string]any{}
		for _, m := range n.members {
			all[m.key] = m.value.plain()
		}
		return all
	case '[':
		all := []any{}
		for _, item := range n.items {
			all = append(all, item.plain())
		}
		return all
	case '"':
		return n.str
	case '0':
		return json.Number(n.text)
	}
	return map[string]any{"true": true, "false": false, "null": nil}[n.text]
}

// isStricter tells what is refused of JSON, by other means: bytes and halves of surrogates that are no text, names that are
// there twice, and nesting without end.
func isStricter(in []byte) bool {
	type level struct {
		names map[string]bool // nil in an array
		name  bool            // comes next
	}
	if !utf8.Valid(in) || bytes.HasPrefix(in, []byte("\xef\xbb\xbf")) {
		return true
	}
	half := regexp.MustCompile(`(?i)\\ud[89a-f]`) // whole pairs are rare enough
	var levels []level
	for d := json.NewDecoder(bytes.NewReader(in)); ; {
		token, err := d.Token()
		if err != nil {
			return half.Match(in)
		}
		top := len(levels) - 1
		switch token {
		case json.Delim('{'), json.Delim('['):
			if top >= 0 {
				levels[top].name = levels[top].names != nil
			}
			next := level{}
			if token == json.Delim('{') {
				next = level{map[string]bool{}, true}
			}
			if levels = append(levels, next); len(levels) > maxDepth {
				return true
			}
		case json.Delim('}'), json.Delim(']'):
			levels = levels[:top]
		default:
			if top < 0 || levels[top].names == nil {
				continue
			}
			if name := levels[top].name; name && levels[top].names[token.(string)] {
				return true
			} else if name {
				levels[top].names[token.(string)] = true
			}
			levels[top].name = !levels[top].name
		}
	}
}

// What quote writes is read as what it was given, if that is Unicode at all.
func FuzzQuote(f *testing.F) {
	f.Add("a\"\\\n\x7f\u2028é")
	f.Fuzz(func(t *testing.T, s string) {
		n, err := parse([]byte(quote(s)))
		if err != nil || n.str != strings.ToValidUTF8(s, "\ufffd") && strings.ToValidUTF8(s, "") == s {
			t.Fatalf("%q: %v", s, err)
		}
	})
}
