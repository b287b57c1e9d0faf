package vm

import (
	"bytes"
	"encoding/json"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/fuzztest"
	"github.com/ctbox/ctbox/applets/internal/wire"
)

// What a cache file says is believed only if its checksum is right; even then, it is kept within the RAM that there is.
func FuzzSnapshot(f *testing.F) {
	const size = 1 << 20
	ram, err1 := memoryFile("ram", size)
	state, err2 := memoryFile("state", 0)
	if err := errors.Join(err1, err2); err != nil {
		f.Fatal(err)
	}
	ram.WriteAt([]byte("a page"), 5000)
	state.WriteString("the devices")
	var good bytes.Buffer
	if err := writeSnapshot(&good, wire.Hello{Token: 42, Memory: true}, ram, state); err != nil {
		f.Fatal(err)
	}
	body := good.Bytes()[:good.Len()-4]
	f.Add(body)
	f.Add(body[:len(body)-1])
	f.Add([]byte(snapshotMagic))
	for _, at := range []int{len(snapshotMagic) + 8, len(snapshotMagic) + 16, len(snapshotMagic) + 24, len(body) - 11 - 8} {
		for _, bad := range []string{"\xff\xff\xff\xff\xff\xff\xff\x7f", "\xff\xff\xff\xff\xff\xff\xff\xff", "\x01\x00\x10\x00\x00\x00\x00\x00"} {
			hostile := bytes.Clone(body)
			copy(hostile[at:], bad)
			f.Add(hostile)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		sum := crc32.Checksum(body, castagnoli)
		whole := append(bytes.Clone(body), byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24))
		for _, text := range [][]byte{whole, body} {
			if ram.Truncate(0) != nil || ram.Truncate(size) != nil || state.Truncate(0) != nil {
				t.Fatal("no room")
			}
			var hello wire.Hello
			var err error
			fuzztest.Bounded(t, len(text), 3<<20, 4, func() { hello, err = readSnapshot(bytes.NewReader(text), ram, state) })
			if now, _ := sizeOf(ram); now != size {
				t.Fatalf("RAM has %d bytes", now)
			}
			if err != nil {
				if !errors.Is(err, errSnapshot) {
					t.Error(err)
				}
				continue
			}
			var again bytes.Buffer
			if err := writeSnapshot(&again, hello, ram, state); err != nil {
				t.Fatal(err)
			}
			length, _ := sizeOf(state)
			if !hello.Memory || int(length) > len(text) || !bytes.Contains(again.Bytes(), stateOf(t, state)) {
				t.Errorf("%+v, a state of %d bytes", hello, length)
			}
		}
	})
}

func stateOf(t *testing.T, f *os.File) []byte {
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<40))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Whatever is in the place of a cache's file, it is a value that was remembered, for that key, or none.
func FuzzRecall(f *testing.F) {
	c := &Cache{f.TempDir()}
	c.Remember("key", "a \"value\"\n\x00")
	path := c.path(known, "key")
	good, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	for _, text := range []string{"", `"value"`, `"key" `, `"key" "`, `"key" 'x'`, "\"key\" `x\n`", `"other" "x"`, `"key" "\xff"`, `"key" "x" "y"`, strings.Repeat("x", 70000)} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		value := c.Recall("key")
		if value == "" {
			return
		}
		if !bytes.HasPrefix(text, []byte(`"key" `)) {
			t.Fatalf("%q is %q", text, value)
		}
		c.Remember("key", value)
		if again := c.Recall("key"); again != value {
			t.Errorf("%q became %q", value, again)
		}
	})
	os.RemoveAll(filepath.Dir(path))
}

// qemu is trusted to run, not to make sense: an answer is a JSON object of ours, or an error; never more than a megabyte of it.
func FuzzQMP(f *testing.F) {
	for _, text := range []string{
		`{"QMP":{}} {"return":{}} {"event":"x"} {"return":{"status":"completed"}}`, `{"QMP":{}} {"error":{"desc":"no"}}`, `null null null`, `{"QMP":{}} {"return":null}`,
		`[]`, "", "{", `{"QMP":{}} {"return":{}} {"return":{"status":7}}`, `{"QMP":{}} {"return":{}} {"return":[],"error":{}}`, strings.Repeat("[", 20000), strings.Repeat(`{"event":1}`, 3000),
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		ours, theirs, err := socketPair()
		if err != nil {
			t.Fatal(err)
		}
		defer ours.Close()
		go func() {
			theirs.Write(text)
			unix.Shutdown(int(theirs.Fd()), unix.SHUT_WR)
			io.Copy(io.Discard, theirs)
			theirs.Close()
		}()
		fuzztest.Bounded(t, len(text), 1<<20, 64, func() {
			var state struct{ Status string }
			q, err := openQMP(ours)
			if err == nil {
				err = q.do("query-migrate", nil, &state)
			}
			if err == nil && !json.Valid(bytes.TrimSpace(text)) && !bytes.Contains(text, []byte("eturn")) {
				t.Errorf("%q was an answer: %+v", text, state)
			}
		})
	})
}

// The console remembers the end of what a guest prints, all lines of which are whole, and the first fault, however it comes.
func FuzzConsole(f *testing.F) {
	for _, text := range []string{"", "a\nb", "[ 1.2] Kernel panic - not syncing: x\r\nInitramfs unpacking failed: y\n", strings.Repeat("line\n", 300), strings.Repeat("x", 600) + panicked + "\n", strings.Repeat("x", 512-len(panicked)) + panicked + " more\n", "\x1b[2J\n\n\n"} {
		f.Add([]byte(text), uint16(7))
	}
	f.Fuzz(func(t *testing.T, text []byte, step uint16) {
		dead := 0
		c := &console{dead: func() { dead++ }}
		for rest := text; len(rest) > 0; {
			n := min(len(rest), int(step)+1)
			c.Write(rest[:n])
			rest = rest[n:]
		}
		fault, died := "", 0
		lines := strings.SplitAfter(string(text), "\n")
		for _, line := range lines[:len(lines)-1] {
			line = line[:min(len(line)-1, 512)]
			for _, what := range faults {
				at := strings.Index(line, what)
				if at >= 0 && fault == "" {
					fault = strings.TrimSpace(line[at:])
				}
				if at >= 0 && what == panicked {
					died = 1
				}
			}
		}
		if c.Fault() != fault || dead != died {
			t.Errorf("fault %q, %d deaths; not %q, %d", c.Fault(), dead, fault, died)
		}
		tail := c.Tail()
		if len(tail) > tailSize || strings.Count(tail, "\n") > tailLines || !bytes.HasSuffix(text, []byte(tail)) ||
			len(text) < tailSize && strings.Count(string(text), "\n") < tailLines && tail != string(text) {
			t.Errorf("%q: the tail is %q", text, tail)
		}
		if cap(c.tail)+cap(c.line) > 16*tailSize {
			t.Errorf("%d bytes are held", cap(c.tail)+cap(c.line))
		}
	})
}
