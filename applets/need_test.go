package applets

import (
	"cmp"
	"slices"
	"testing"
)

// The table is searched by halves, and a line without any package would print "()".
func TestPackages(t *testing.T) {
	if !slices.IsSortedFunc(packages[:], func(a, b packaged) int { return cmp.Compare(a.program, b.program) }) {
		t.Error("packages are not in the order of their programs")
	}
	for i, p := range packages {
		if p.debian+p.fedora+p.alpine+p.arch == "" {
			t.Errorf("%s: no package", p.program)
		}
		if i > 0 && packages[i-1].program == p.program {
			t.Errorf("%s: twice", p.program)
		}
		if whereFrom(p.program) == "" {
			t.Errorf("%s: not found", p.program)
		}
	}
	if s := whereFrom("no-such-program"); s != "" {
		t.Errorf("unknown program: %q", s)
	}
}
