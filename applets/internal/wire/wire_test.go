package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

func TestHello(t *testing.T) {
	for _, h := range []Hello{{}, {Token: 1, Memory: true}, {Token: 1<<64 - 1}} {
		line := h.String()
		got, err := ParseHello(strings.TrimSuffix(line, "\n"))
		if got != h || err != nil || strings.Count(line, "\n") != 1 {
			t.Errorf("%q: %v, %v", line, got, err)
		}
	}
}

func TestHelloOfOthers(t *testing.T) {
	for _, line := range []string{
		"", "ctbox", "[    0.1] ctbox rdinit 1 0123456789abcdef memory", "ctbox rdinit 1 ",
		"ctbox rdinit 1 0123456789abcdef", "ctbox rdinit 1 0123456789abcdef ", "ctbox rdinit 1 0123456789abcde memory",
		"ctbox rdinit 1 0123456789abcdef0 memory", "ctbox rdinit 1 0123456789abcdeg memory",
		"ctbox rdinit 1 0123456789abcdef memory ", "ctbox rdinit 1 0123456789abcdef memory\r",
	} {
		if h, err := ParseHello(line); err == nil || errors.Is(err, ErrVersion) {
			t.Errorf("%q: %v, %v", line, h, err)
		}
	}
	for _, line := range []string{"ctbox rdinit 2 0123456789abcdef memory", "ctbox rdinit 11 x", "ctbox rdinit "} {
		if _, err := ParseHello(line); !errors.Is(err, ErrVersion) {
			t.Errorf("%q: %v", line, err)
		}
	}
}

// writes counts calls.
type writes struct {
	bytes.Buffer
	n int
}

func (w *writes) Write(p []byte) (int, error) {
	w.n++
	return w.Buffer.Write(p)
}

func TestFrames(t *testing.T) {
	var line writes
	w := NewWriter(&line)
	payloads := [][]byte{nil, []byte("x"), bytes.Repeat([]byte("ab"), MostPayload/2), nil, []byte("end")}
	for i, p := range payloads {
		if err := w.Frame(byte(i), p); err != nil {
			t.Fatal(err)
		}
	}
	if line.n != len(payloads) {
		t.Errorf("%d writes for %d frames", line.n, len(payloads))
	}
	if err := w.Frame('x', make([]byte, MostPayload+1)); err == nil || line.n != len(payloads) {
		t.Errorf("too large a payload: %v, %d writes", err, line.n)
	}
	for name, r := range map[string]io.Reader{
		"whole": bytes.NewReader(line.Bytes()), "bytes": iotest.OneByteReader(bytes.NewReader(line.Bytes())),
	} {
		frames := NewReader(r)
		for i, want := range payloads {
			kind, got, err := frames.Next()
			if int(kind) != i || !bytes.Equal(got, want) || err != nil {
				t.Errorf("%s: frame %d: kind %d, %d bytes, %v", name, i, kind, len(got), err)
			}
		}
		if _, _, err := frames.Next(); err != io.EOF {
			t.Errorf("%s: after the last: %v", name, err)
		}
	}
}

func TestFramesCutOff(t *testing.T) {
	whole := append(AppendFrame(nil, Stdout, 3), "abc"...)
	for n := 1; n < len(whole); n++ {
		if _, _, err := NewReader(bytes.NewReader(whole[:n])).Next(); err != io.ErrUnexpectedEOF {
			t.Errorf("cut at %d: %v", n, err)
		}
	}
	for _, size := range []uint32{MostPayload + 1, 1 << 31, 1<<32 - 1} {
		head := binary.LittleEndian.AppendUint32([]byte{Stdout}, size)
		if _, _, err := NewReader(io.MultiReader(bytes.NewReader(head), zeros{})).Next(); err != errSize {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

var jobs = []*Job{
	{Seed: []byte{}},
	{
		Nonce: [16]byte{1, 15: 2}, Sec: 1 << 40, Nsec: 999999999, Seed: []byte("seed\x00"), Tree: true, Dir: "/",
		Args: []string{"/init", "", "a b", "\xff"}, Env: []string{"A=1", "B="},
	},
	{Sec: -1, Seed: []byte{}, Stdin: true, Args: []string{""}, Env: []string{strings.Repeat("x", 1000)}},
}

func TestJob(t *testing.T) {
	for _, j := range jobs {
		b := j.AppendTo(nil)
		if got, err := ParseJob(b); err != nil || !reflect.DeepEqual(got, j) {
			t.Errorf("%+v became %+v, %v", j, got, err)
		}
		for n := range b {
			if _, err := ParseJob(b[:n]); err == nil {
				t.Errorf("%+v: no error when cut at %d", j, n)
			}
		}
		if _, err := ParseJob(append(b, 0)); err == nil {
			t.Errorf("%+v: no error for what comes after", j)
		}
	}
}

// A truth value is 0 or 1.
func TestJobFlags(t *testing.T) {
	j := jobs[0]
	b := j.AppendTo(nil)
	k := *j
	k.Stdin = !k.Stdin
	for i, other := range k.AppendTo(nil) {
		if b[i] == other {
			continue
		}
		b[i] = 2
		if got, err := ParseJob(b); err == nil {
			t.Errorf("byte %d is 2, which is believed: %+v", i, got)
		}
	}
}

var ends = []*End{
	{},
	{Nonce: [16]byte{15: 9}, How: Exited, Code: 255, Out: Sum{1, 2}, Err: Sum{1<<64 - 1, 1<<32 - 1}},
	{How: Signaled, Code: 64},
	{How: Refused, Code: 125, Message: "no"},
}

func TestEnd(t *testing.T) {
	for _, e := range ends {
		b := e.AppendTo(nil)
		if got, err := ParseEnd(b); err != nil || *got != *e {
			t.Errorf("%+v became %+v, %v", e, got, err)
		}
		for n := range b {
			if _, err := ParseEnd(b[:n]); err == nil {
				t.Errorf("%+v: no error when cut at %d", e, n)
			}
		}
		if _, err := ParseEnd(append(b, 0)); err == nil {
			t.Errorf("%+v: no error for what comes after", e)
		}
	}
	for _, e := range []*End{
		{How: 3}, {How: 255}, {How: Signaled}, {How: Signaled, Code: 65}, {How: Refused}, {How: Refused, Code: 124},
	} {
		if got, err := ParseEnd(e.AppendTo(nil)); err == nil {
			t.Errorf("%+v is believed: %+v", e, got)
		}
	}
}

// RFC 3720, appendix B.4.
func TestSum(t *testing.T) {
	var s, parts Sum
	s.Add(make([]byte, 32))
	if s != (Sum{32, 0x8a9136aa}) {
		t.Errorf("%d, %#x", s.Bytes, s.CRC)
	}
	for range 4 {
		parts.Add(make([]byte, 8))
	}
	if parts != s {
		t.Errorf("in parts %+v, at once %+v", parts, s)
	}
}

func TestCredit(t *testing.T) {
	for _, n := range []int64{0, 1, 1 << 40} {
		b := AppendCredit(nil, n)
		if got, ok := ParseCredit(b); got != n || !ok {
			t.Errorf("%d became %d, %v", n, got, ok)
		}
		for _, damaged := range [][]byte{nil, b[:7], append(b, 0)} {
			if got, ok := ParseCredit(damaged); ok {
				t.Errorf("%x is believed: %d", damaged, got)
			}
		}
	}
}

func FuzzParseJob(f *testing.F) {
	for _, j := range jobs {
		f.Add(j.AppendTo(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if j, err := ParseJob(b); err == nil && !bytes.Equal(j.AppendTo(nil), b) {
			t.Errorf("%x became %+v", b, j)
		}
	})
}

func FuzzParseEnd(f *testing.F) {
	for _, e := range ends {
		f.Add(e.AppendTo(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, err := ParseEnd(b); err == nil && !bytes.Equal(e.AppendTo(nil), b) {
			t.Errorf("%x became %+v", b, e)
		}
	})
}

func FuzzParseHello(f *testing.F) {
	f.Add(Hello{Token: 1, Memory: true}.String())
	f.Add(Hello{}.String())
	f.Fuzz(func(t *testing.T, line string) {
		h, err := ParseHello(line)
		if err == nil && !strings.EqualFold(h.String(), line+"\n") {
			t.Errorf("%q became %+v", line, h)
		}
	})
}

// Whatever comes, frames are what stood there in order, and memory stays small.
func FuzzReader(f *testing.F) {
	f.Add(append(AppendFrame(nil, Stdout, 3), "abc"...))
	f.Add([]byte{Stderr, 255, 255, 255, 255, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := NewReader(bytes.NewReader(b))
		for {
			kind, payload, err := r.Next()
			if err != nil {
				return
			}
			frame := append(AppendFrame(nil, kind, len(payload)), payload...)
			if len(payload) > MostPayload || !bytes.HasPrefix(b, frame) {
				t.Fatalf("frame %q of %d bytes is not of %q", kind, len(payload), b)
			}
			b = b[len(frame):]
		}
	})
}
