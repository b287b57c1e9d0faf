package list

import (
	"io"
	"slices"
	"strings"
	"testing"
)

// Lines are handed on as they are, in any order; only what cannot be one is an error, with its number.
func TestLines(t *testing.T) {
	for _, c := range []struct {
		text string
		null bool
		want []string
	}{
		{"", false, nil},
		{"b\n../a\n\n/c d/\r\nb", false, []string{"b", "../a", "", "/c d/\r", "b"}},
		{"b\x00a\nc\x00", true, []string{"b", "a\nc"}},
		{"a\x00b\n", false, []string{"<stdin>:1: NUL byte in a line: was it made for -0?"}},
		{"a\n" + strings.Repeat("x", MaxName+1), false, []string{"a", "<stdin>:2: record is too long"}},
	} {
		var got []string
		for l := NewLines("<stdin>", strings.NewReader(c.text), c.null); ; {
			name, err := l.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				got = append(got, err.Error())
				break
			}
			got = append(got, name)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%.20q: %.100q, want %q", c.text, got, c.want)
		}
	}
}
