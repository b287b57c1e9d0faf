package vm

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
)

func TestConsoleFault(t *testing.T) {
	for text, want := range map[string]string{
		"": "",
		"[    0.1] Linux version 6.1\r\nmore\r\n":                                     "",
		"[    0.6] Initramfs unpacking failed: write error\r\n":                       "Initramfs unpacking failed: write error",
		"x\n[ 1.2] Kernel panic - not syncing: Attempted to kill init!\r\n[ 1.3] y\n": "Kernel panic - not syncing: Attempted to kill init!",
		"Initramfs unpacking failed: no cpio magic\nKernel panic - not syncing: y\n":  "Initramfs unpacking failed: no cpio magic",
		"Initramfs unpacking fail":                                                    "", // cut off
	} {
		for _, step := range []int{1, 3, 1000} {
			dead := 0
			c := &console{dead: func() { dead++ }}
			for rest := []byte(text); len(rest) > 0; {
				n := min(step, len(rest))
				c.Write(rest[:n])
				rest = rest[n:]
			}
			if got := c.Fault(); got != want {
				t.Errorf("%q in steps of %d: %q, want %q", text, step, got, want)
			}
			if died := strings.Contains(text, panicked); died != (dead == 1) {
				t.Errorf("%q: %d deaths", text, dead)
			}
		}
	}
}

// TestConsoleBounded: a guest may print for ever, with or without newlines.
func TestConsoleBounded(t *testing.T) {
	for _, unit := range []string{"y\n", "a line of some length\n", "no newline at all "} {
		c := new(console)
		var all strings.Builder
		for range 200_000 {
			c.Write([]byte(unit))
			all.WriteString(unit)
		}
		if size := cap(c.tail) + cap(c.line); size > 16*tailSize {
			t.Errorf("%q: %d bytes are held", unit, size)
		}
		got := c.Tail()
		if len(got) > tailSize || !strings.HasSuffix(all.String(), got) {
			t.Errorf("%q: the tail is not the end: %d bytes", unit, len(got))
		}
		if strings.HasSuffix(unit, "\n") && got != strings.Repeat(unit, tailLines) {
			t.Errorf("%q: the tail is %d bytes and begins %.20q", unit, len(got), got)
		}
	}
}

func TestConsoleShortTail(t *testing.T) {
	var echo bytes.Buffer
	c := &console{echo: &echo}
	fmt.Fprint(c, "one\ntwo")
	if c.Tail() != "one\ntwo" || echo.String() != "one\ntwo" {
		t.Errorf("tail %q, echo %q", c.Tail(), echo.String())
	}
}

// TestConsoleUnread: what came is known though nobody reads the echo.
func TestConsoleUnread(t *testing.T) {
	r, w := io.Pipe()
	defer r.Close()
	c := &console{echo: w}
	go c.Write([]byte("x\n"))
	if _, err := r.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if c.Tail() != "" || c.Fault() != "" { // these would wait
		t.Errorf("%q", c.Tail())
	}
}
