package environ

import (
	"slices"
	"testing"
)

const path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

func TestNew(t *testing.T) {
	t.Setenv("HERE", "x=y")
	t.Setenv("EMPTY", "")
	for _, c := range []struct{ asked, want []string }{
		{nil, []string{path, "HOME=/root"}},
		{[]string{"A=1", "HERE", "EMPTY", "CTBOX_TEST_NOT_HERE"}, []string{path, "HOME=/root", "A=1", "HERE=x=y", "EMPTY="}},
		{[]string{"A=1", "B=2", "A=3"}, []string{path, "HOME=/root", "B=2", "A=3"}},
		{[]string{"PATH=/bin", "HOME="}, []string{"PATH=/bin", "HOME="}},
		{[]string{"A=1", "CTBOX_TEST_NOT_HERE", "A=", "A=2=3"}, []string{path, "HOME=/root", "A=2=3"}},
	} {
		if got := New(c.asked...); !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, want %q", c.asked, got, c.want)
		}
	}
	// One that is not here takes away what was asked for before.
	if got := New("HOME=/x", "CTBOX_TEST_NOT_HERE=1", "CTBOX_TEST_NOT_HERE"); !slices.Equal(got, []string{path, "HOME=/x"}) {
		t.Errorf("%q", got)
	}
}

func TestLookup(t *testing.T) {
	env := []string{"A=1", "AB=2", "C", "D=", "E=x=y"}
	for name, want := range map[string]string{"A": "1", "AB": "2", "B": "", "C": "", "D": "", "E": "x=y", "": ""} {
		if got := Lookup(env, name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
