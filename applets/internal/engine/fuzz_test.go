package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/ctbox/ctbox/applets/internal/fuzztest"
)

// What an engine prints is text of others: it is one line of a message, and never an option, a second line, or a panic.
func FuzzReply(f *testing.F) {
	for _, reply := range []string{
		"Loaded image: a:b\nLoaded image ID: sha256:00\n", "Loaded image(s): a,b,", "Loaded image: --force", "Loaded image: ",
		"Error response from daemon: Error: runc: \n", `time="x" level=error msg="Error: no such image"`, `time="`, ` msg=`,
		`exec: "x": executable file not found in $PATH`, `": permission deniedexec: "`, "executable file `a` not found",
		"unable to start container : unable to start container 1: x", "crun: a`b` open executable: Permission denied",
		"Cannot connect to the Docker daemon at unix:///x/\x1b[2J\x00. Is the docker daemon running?", "unix://Is the docker daemon running?",
		"\x1b]0;title\a\r\n\r\n", strings.Repeat("Error: ", 500), strings.Repeat("\n", 500) + "x",
	} {
		f.Add(reply)
	}
	e := &Engine{path: "/bin/docker"}
	f.Fuzz(func(t *testing.T, reply string) {
		fuzztest.Bounded(t, len(reply), 256<<10, 64, func() {
			for _, name := range loadedNames(reply) {
				if name == "" || strings.ContainsAny(name, " ,\n") || name[0] == '-' || !strings.Contains(reply, name) {
					t.Errorf("name %q of %q", name, reply)
				}
			}
			if line := firstLine(reply); strings.Contains(line, "\n") || !strings.Contains(reply, line) {
				t.Errorf("%q is no line of %q", line, reply)
			}
			if words := e.explain(reply, errors.New("exit status 1")).Error(); strings.Contains(words, "\n") || words == "docker: " {
				t.Errorf("%q became %q", reply, words)
			}
			if words := e.refused(reply).Error(); strings.HasPrefix(words, ":") {
				t.Errorf("%q became %q", reply, words)
			}
		})
	})
}

// Only a container that has come to its end, on record, has an exit status, and only one that a process can have.
func FuzzOutcome(f *testing.F) {
	for _, record := range []string{
		`{"Status":"exited","ExitCode":0,"StartedAt":"2026-11-21T07:43:07Z"}`, `{"Status":"exited","ExitCode":256}`,
		`{"Status":"exited","ExitCode":-256,"StartedAt":"x"}`, `{"Running":true,"StartedAt":"x"}`, `{"Status":"created","Error":"exec: \"x\": no"}`,
		`{"StartedAt":"0001-01-01T00:00:00Z","Error":"\u001b"}`, `{"ExitCode":4294967296,"Status":"exited"}`, `{}`, `null`, `[]`,
	} {
		for _, client := range []int{0, 1, 255} {
			f.Add([]byte(record), []byte("exec /x: no such file or directory\n"), client)
		}
	}
	failures := map[int]error{}
	for _, code := range []int{1, 255} {
		failures[code] = exec.Command("sh", "-c", "exit $0", strconv.Itoa(code)).Run()
	}
	e := &Engine{path: "/bin/docker"}
	f.Fuzz(func(t *testing.T, record, stderr []byte, client int) {
		var s state
		if json.Unmarshal(record, &s) != nil {
			return
		}
		var out bytes.Buffer
		words := &relay{w: &out}
		words.Write(stderr)
		words.end()
		status, err := e.outcome(s, words, failures[client])
		if err == nil && (s.Running || !s.started() || status != s.ExitCode || status != status&0xff) {
			t.Errorf("%s: status %d", record, status)
		}
		if err == nil {
			words.release()
			if !bytes.Equal(out.Bytes(), stderr) {
				t.Errorf("the container said %q, not %q", out.Bytes(), stderr)
			}
		}
	})
}

// However it comes in pieces: what the container says arrives whole, in order and only once.
func FuzzRelay(f *testing.F) {
	f.Add([]byte("Error: x\nError response from daemon: y\n"), uint16(3))
	f.Add([]byte("Error respond"), uint16(1))
	f.Add(append([]byte("time=\""), bytes.Repeat([]byte{'x'}, longestHeld+1)...), uint16(3000))
	f.Add([]byte(`{"msg":"exec `), uint16(0))
	f.Fuzz(func(t *testing.T, data []byte, step uint16) {
		var out bytes.Buffer
		r := &relay{w: &out}
		for rest := data; len(rest) > 0; {
			n := min(len(rest), int(step)+1)
			if wrote, err := r.Write(rest[:n]); wrote != n || err != nil {
				t.Fatal(wrote, err)
			}
			rest = rest[n:]
			if held := r.peek(); len(held) > longestHeld || out.Len()+len(held) != len(data)-len(rest) {
				t.Fatalf("%d bytes are out, %d are held, of %q", out.Len(), len(held), data)
			}
		}
		r.end()
		r.release()
		if !bytes.Equal(out.Bytes(), data) {
			t.Errorf("%q became %q", data, out.Bytes())
		}
	})
}
