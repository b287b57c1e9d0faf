package progress

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What is counted, two seconds after the start, and what is shown of it.
func TestText(t *testing.T) {
	for _, c := range []struct {
		files, bytes, total, listed, list int64
		want                              string
	}{
		{0, 5, 0, 0, 0, "5 B, 2 B/s"},
		{7, 0, 0, 0, 0, "7 files, 0 B, 0 B/s"},
		{2, 1 << 20, 3 << 20, 0, 0, "2 files, 1.0 MiB of 3.0 MiB, 33%, 512.0 KiB/s"},
		{0, 4095, 4096, 0, 0, "3.9 KiB of 4.0 KiB, 99%, 1.9 KiB/s"},
		{0, 4096, 4096, 0, 0, "4.0 KiB of 4.0 KiB, 100%, 2.0 KiB/s"},
		{0, 4097, 4096, 0, 0, "4.0 KiB, 2.0 KiB/s"}, // it has grown, so nobody knows
		{0, 0, 10, 0, 0, "0 B of 10 B, 0%, 0 B/s"},
		{0, 0, 0, 999, 1000, "0 B, 99% of the list, 0 B/s"},
		{0, 1 << 30, 0, 1001, 1000, "1.0 GiB, 100% of the list, 512.0 MiB/s"}, // the last record had no newline
		{0, 1<<63 - 1, 0, 1, 1<<63 - 1, "7.9 EiB, 0% of the list, 4.0 EiB/s"},
	} {
		l := &Line{name: "ctbox gz"}
		l.past.begin(time.Now())
		l.files.Store(c.files)
		l.bytes.Store(c.bytes)
		l.total.Store(c.total)
		l.listed.Store(c.listed)
		l.list.Store(c.list)
		if got := string(l.text(nil, l.past.start.Add(2*time.Second))); got != "ctbox gz: "+c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
		if begun := c.files > 0 || c.bytes > 0 || c.listed > 0; l.begun() != begun {
			t.Errorf("%s: begun is %v", c.want, !begun)
		}
	}
}

func TestSizes(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1126: "1.0 KiB", 1127: "1.1 KiB", 1<<20 - 1: "1023.9 KiB", 1 << 20: "1.0 MiB",
		1<<40 + 1<<39: "1.5 TiB", 1 << 50: "1.0 PiB",
	} {
		if got := string(appendSize(nil, n)); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}

// The rate is that of the last lines: it follows what changes, and falls to nothing when nothing comes.
func TestRate(t *testing.T) {
	var p pace
	now := time.Now()
	p.begin(now)
	bytes, rate := int64(0), int64(0)
	lines := func(n int, each int64) {
		for range n {
			now, bytes = now.Add(100*time.Millisecond), bytes+each
			rate = p.rate(now, bytes)
		}
	}
	for _, c := range []struct {
		lines      int
		each, want int64
	}{{5, 100, 1000}, {60, 100, 1000}, {60, 500, 5000}, {15, 0, 2500}, {60, 0, 0}} {
		if lines(c.lines, c.each); rate != c.want {
			t.Errorf("after %d lines of %d bytes more: %d, want %d", c.lines, c.each, rate, c.want)
		}
	}
	if again := p.rate(p.past[p.next].at, bytes); again != 0 {
		t.Errorf("in no time: %d", again)
	}
}

// The time before the first input is not part of the rate.
func TestRateAfterWaiting(t *testing.T) {
	l := &Line{name: "ctbox gz"}
	now := time.Now()
	l.past.begin(now)
	shown := ""
	show := func(now time.Time) { shown = string(l.text(nil, now)) }
	for range 5 {
		now = now.Add(time.Minute)
		if l.tick(now, show); shown != "" {
			t.Errorf("%q before there is anything", shown)
		}
	}
	l.Bytes(2 << 20)
	if l.tick(now.Add(time.Second), show); shown != "ctbox gz: 2.0 MiB, 2.0 MiB/s" {
		t.Errorf("%q", shown)
	}
}

// Where standard error is no terminal nothing is shown, and nothing is in the way, unless it is always.
func TestNoTerminal(t *testing.T) {
	for _, when := range []string{"auto", "never"} {
		var out, err io.Writer = new(bytes.Buffer), new(bytes.Buffer)
		wasOut, wasErr := out, err
		l := Start(when, "ctbox gz", &out, &err)
		if l != nil || out != wasOut || err != wasErr {
			t.Errorf("%s: %v", when, l)
		}
		in := strings.NewReader("x")
		l.Inputs(in, "-", "name")
		l.File()
		l.Bytes(1)
		l.Total(1)
		l.List(1)
		l.Listed(1)
		if l.Reader(in) != io.Reader(in) || l.Writer(out) != out {
			t.Errorf("%s: what counts nothing is in the way", when)
		}
		l.Stop()
	}
}

func TestAlways(t *testing.T) {
	var out io.Writer = io.Discard
	var text bytes.Buffer
	var err io.Writer = &text
	l := Start("always", "ctbox gz", &out, &err)
	l.Total(1 << 20)
	if _, err := io.Copy(l.Writer(io.Discard), l.Reader(strings.NewReader("word"))); err != nil {
		t.Error(err)
	}
	l.Stop()
	if got := text.String(); !strings.HasPrefix(got, "ctbox gz: 8 B of 1.0 MiB, 0%, ") || !strings.HasSuffix(got, "B/s\n") ||
		strings.ContainsAny(got, "\r\x1b") {
		t.Errorf("%q", got)
	}
	if out != io.Discard || err != io.Writer(&text) || Clear(err) != "" {
		t.Error("what is no terminal is treated like one")
	}
}

func TestCapable(t *testing.T) {
	for term, want := range map[string]bool{"": false, "dumb": false, "xterm-256color": true, "linux": true} {
		if capable(term) != want {
			t.Errorf("%q: %v", term, !want)
		}
	}
}

func TestInputs(t *testing.T) {
	dir := t.TempDir()
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	for name, size := range map[string]int{one: 1000, two: 20} {
		if err := os.WriteFile(name, make([]byte, size), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	stdin, err := os.Open(two)
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	if _, err := stdin.Read(make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		stdin io.Reader
		files []string
		want  int64
	}{
		{stdin, []string{one}, 1000}, {stdin, []string{one, two}, 1020}, {stdin, []string{"-"}, 17},
		{stdin, []string{""}, 17}, {stdin, []string{one, "-"}, 1017}, {strings.NewReader("x"), []string{one, "-"}, 0},
		{stdin, []string{one, dir}, 0}, {stdin, []string{one, dir + "/none"}, 0}, {stdin, []string{one, os.DevNull}, 0},
	} {
		l := new(Line)
		if l.Inputs(c.stdin, c.files...); l.total.Load() != c.want {
			t.Errorf("%q: %d, want %d", c.files, l.total.Load(), c.want)
		}
	}
}

// Counting goes on for each piece of data, and drawing must not make garbage either.
func TestAllocations(t *testing.T) {
	l := &Line{name: "ctbox gz"}
	l.past.begin(time.Now())
	r, w, buf := l.Reader(zeros{}), l.Writer(io.Discard), make([]byte, 512)
	l.buf = make([]byte, 0, 200)
	for name, use := range map[string]func(){
		"reader": func() { r.Read(buf) },
		"writer": func() { w.Write(buf) },
		"counts": func() { l.File(); l.Bytes(1); l.Listed(1) },
		"text":   func() { l.text(l.buf[:0], time.Now()) },
	} {
		if n := testing.AllocsPerRun(100, use); n > 0 {
			t.Errorf("%s: %.0f allocations", name, n)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }
