package tests

import (
	"os"
	"strings"
	"testing"
)

// TestSecurity: each promise of SECURITY.md names the tests that hold it, and they are there.
func TestSecurity(t *testing.T) {
	text, err := os.ReadFile("../SECURITY.md")
	check(t, err)
	_, promises, _ := strings.Cut(string(text), "\n## What is promised\n")
	promises, _, found := strings.Cut(promises, "\n## What is not promised\n")
	n := 0
	for _, promise := range strings.Split(promises, "\n\n**")[1:] {
		refs := caseRef.FindAllStringSubmatch(promise, -1)
		if len(refs) == 0 {
			t.Errorf("nothing holds: **%.40s", promise)
		}
		for _, ref := range refs {
			n++
			if !oneFunc.MatchString(ref[2]) {
				t.Errorf("no name of a test: %q", ref[0])
			} else if err := lookUp("", ref[1], ref[2]); err != nil {
				t.Error(err)
			}
		}
	}
	if !found || n < 30 {
		t.Errorf("%d tests", n)
	}
}
