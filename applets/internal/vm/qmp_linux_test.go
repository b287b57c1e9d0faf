package vm

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
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

// TestSavedInSteps: the first step that qemu refuses is the error of saving and of restoring a machine.
func TestSavedInSteps(t *testing.T) {
	const no, completed = `{"error": {"desc": "no"}}`, `{"return": {"status": "completed"}}`
	state := memory(t, 0)
	for name, act := range map[string]func(*qmp) error{
		"migrate-set-capabilities getfd migrate query-migrate":    func(q *qmp) error { return q.save(state) },
		"migrate-set-capabilities migrate-incoming query-migrate": func(q *qmp) error { return q.restore(3) },
		"cont": func(q *qmp) error { return q.resume() },
	} {
		steps := strings.Fields(name)
		for i, step := range steps {
			answers := append([]string{done}, slices.Repeat([]string{done}, i)...)
			err := act(monitored(t, append(answers, no)...))
			if !errors.Is(err, errRefused) || err.Error() != "qemu: "+step+": no" {
				t.Errorf("%s refused: %v", step, err)
			}
		}
		answers := slices.Repeat([]string{done}, len(steps))
		if err := act(monitored(t, append(answers, completed)...)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestMonitorGone: a qemu that has ended is one that does not answer.
func TestMonitorGone(t *testing.T) {
	p, theirs := lineOf(t)
	p.control = p.line
	theirs.Close()
	if err := p.monitor(func(*qmp) error { return nil }); err != io.EOF {
		t.Error(err)
	}
	q := monitored(t, done)
	q.conn.Close()
	if err := q.resume(); err == nil || errors.Is(err, errRefused) {
		t.Error(err)
	}
}
