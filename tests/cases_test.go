package tests

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// caseCounts is how many cases CASES.md has, by the letters that their ids begin with, in the order of its tables.
var caseCounts = []struct {
	letters string
	cases   int
}{
	{"G", 27}, {"L", 32}, {"D", 11}, {"P", 28}, {"C", 14}, {"J", 10}, {"M", 16}, {"H", 6}, {"Q", 6}, {"R", 24}, {"K", 19}, {"O", 9}, {"N", 6}, {"FR", 6},
}

var (
	caseRow = regexp.MustCompile(`(?m)^\| ([A-Z]+)([0-9]+) \| ([^|]+) \| ([^|]+) \|$`)
	caseRef = regexp.MustCompile("`((?:applets|scripts|tests)/[^` ]+)(?: ([^`]+))?`")
	caseID  = regexp.MustCompile(`\b[A-Z]{1,2}[0-9]{2}\b`)
	oneFunc = regexp.MustCompile(`^(Test|Fuzz|test)[A-Z]\w*$`)
)

// A caseEntry is a row of CASES.md.
type caseEntry struct {
	id   string
	refs [][]string // file, words in it
	text string     // of the last column
}

func readCases(t *testing.T) (all []caseEntry) {
	t.Helper()
	text, err := os.ReadFile("CASES.md")
	check(t, err)
	for _, row := range caseRow.FindAllStringSubmatch(string(text), -1) {
		e := caseEntry{id: row[1] + row[2], text: row[4]}
		for _, ref := range caseRef.FindAllStringSubmatch(row[4], -1) {
			e.refs = append(e.refs, ref[1:])
		}
		all = append(all, e)
	}
	if rows := strings.Count(string(text), "\n| ") - len(caseCounts); rows != len(all) {
		t.Errorf("%d rows, of which %d can be read", rows, len(all))
	}
	return all
}

// TestCases: every case has a test, or a reason for having none, and what CASES.md says of them is so.
func TestCases(t *testing.T) {
	all := readCases(t)
	held := 0
	for _, e := range all {
		if len(e.refs) > 0 {
			held++
		} else if !strings.HasPrefix(e.text, "None: ") || len(e.text) < 50 {
			t.Errorf("%s has neither test nor reason", e.id)
		}
		for _, ref := range e.refs {
			if err := lookUp(e.id, ref[0], ref[1]); err != nil {
				t.Errorf("%s: %v", e.id, err)
			}
		}
	}
	t.Logf("%d cases, %d with tests", len(all), held)
	compareCounts(t, all)
	compareComments(t, all)
}

// lookUp says what is wrong with a reference. Without words, the id must be in a comment of the file.
func lookUp(id, file, words string) error {
	text, err := os.ReadFile(filepath.Join("..", file))
	if err != nil {
		return err
	}
	found := strings.Contains(string(text), words)
	switch {
	case words == "":
		found = slices.Contains(commentIDs(string(text)), id)
	case strings.HasSuffix(file, "_test.go") && oneFunc.MatchString(words):
		found = strings.Contains(string(text), "\nfunc "+words+"(")
	}
	if !found {
		return fmt.Errorf("not in %s: %s", file, words)
	}
	return nil
}

// commentIDs are the ids in the comments of a script.
func commentIDs(script string) (ids []string) {
	for line := range strings.Lines(script) {
		if strings.HasPrefix(line, "#") {
			ids = append(ids, caseID.FindAllString(line, -1)...)
		}
	}
	return ids
}

// compareCounts: ids are in order, each once, and as many as there were.
func compareCounts(t *testing.T, all []caseEntry) {
	t.Helper()
	rest := all
	for _, want := range caseCounts {
		last := ""
		for n := range want.cases {
			if n == len(rest) || strings.TrimRight(rest[n].id, "0123456789") != want.letters || rest[n].id <= last {
				t.Fatalf("%s: %d cases in order, not %d, the last %s", want.letters, n, want.cases, last)
			}
			last = rest[n].id
		}
		rest = rest[want.cases:]
	}
	for _, e := range rest {
		t.Errorf("%s is one too many", e.id)
	}
	// The catalogue that the ids come from is not part of ctbox, but may lie beside it.
	catalogue, err := os.ReadFile("../../shared/research/cases.md")
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	check(t, err)
	var ours, theirs []string
	for _, e := range all {
		ours = append(ours, e.id)
	}
	for _, row := range regexp.MustCompile(`(?m)^\| ([A-Z]+[0-9]+) \|`).FindAllStringSubmatch(string(catalogue), -1) {
		theirs = append(theirs, row[1])
	}
	if !slices.Equal(ours, theirs) {
		t.Errorf("the catalogue has other ids: %q", theirs)
	}
}

// compareComments: a script that says which case it holds is one that the case refers to.
func compareComments(t *testing.T, all []caseEntry) {
	t.Helper()
	scripts, err := filepath.Glob("*/*.txtar")
	check(t, err)
	for _, path := range scripts {
		text, err := os.ReadFile(path)
		check(t, err)
		for _, id := range commentIDs(string(text)) {
			at := slices.IndexFunc(all, func(e caseEntry) bool { return e.id == id })
			if at < 0 || !slices.ContainsFunc(all[at].refs, func(ref []string) bool { return ref[0] == "tests/"+path }) {
				t.Errorf("%s: %s in a comment, but not in CASES.md", path, id)
			}
		}
	}
}
