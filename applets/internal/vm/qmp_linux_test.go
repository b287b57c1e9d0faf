package vm

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
)

// monitored answers a qmp with one line after the other and hangs up.
func monitored(t *testing.T, answers ...string) *qmp {
	t.Helper()
	ours, theirs, err := socketPair()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close() })
	go func(theirs *os.File) {
		defer theirs.Close()
		fmt.Fprintln(theirs, `{"QMP": {}}`)
		var asked json.RawMessage
		in := json.NewDecoder(theirs)
		for _, answer := range answers {
			if in.Decode(&asked) == nil {
				io.WriteString(theirs, answer+"\n")
			}
		}
	}(theirs)
	q, err := openQMP(ours)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

const done = `{"return": {}}`

// TestMigratedSlowly: it does not matter how often qemu is asked.
func TestMigratedSlowly(t *testing.T) {
	active := `{"return": {"status": "active", "x": "` + strings.Repeat("x", 300<<10) + `"}}`
	q := monitored(t, done, active, active, active, active, active, `{"return": {"status": "completed"}}`)
	if err := q.migrated(); err != nil {
		t.Error(err)
	}
}

// TestRefused: what qemu cannot do is not what it had no time for, or died of.
func TestRefused(t *testing.T) {
	for answer, refused := range map[string]bool{
		`{"error": {"desc": "no"}}`: true, `{"return": {"status": "failed"}}`: true, "": false, `{"return": `: false,
	} {
		if err := monitored(t, done, answer).migrated(); err == nil || errors.Is(err, errRefused) != refused {
			t.Errorf("%s: %v", answer, err)
		}
	}
}
