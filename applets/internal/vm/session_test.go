package vm

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ctbox/ctbox/applets/internal/fuzztest"
	"github.com/ctbox/ctbox/applets/internal/wire"
)

// A player is a guest that does what a test says, after it has read the job.
type player struct {
	*wire.Writer
	in  *wire.Reader
	job *wire.Job
	end wire.End
}

func (p *player) out(kind byte, text string) {
	sum := &p.end.Out
	if kind == wire.Stderr {
		sum = &p.end.Err
	}
	sum.Add([]byte(text))
	p.Frame(kind, []byte(text))
}

func (p *player) finish() { p.Frame(wire.Ended, p.end.AppendTo(nil)) }

// play runs a session against play. The guest hangs up when play returns.
func play(t *testing.T, s *session, play func(*player)) (*wire.End, string, string, error) {
	t.Helper()
	ours, theirs := net.Pipe()
	s.job, s.window = &wire.Job{Nonce: [16]byte{7}, Tree: s.tree != nil, Stdin: s.stdin != nil}, 1000
	var out, errs bytes.Buffer
	s.stderr, s.awake, s.abort = &errs, func() {}, func() { ours.Close() }
	if s.stdout == nil {
		s.stdout = &out
	}
	done := make(chan bool)
	go func() {
		defer close(done)
		defer theirs.Close()
		p := &player{Writer: wire.NewWriter(theirs), in: wire.NewReader(theirs)}
		kind, payload, readErr := p.in.Next()
		var err error
		if p.job, err = wire.ParseJob(payload); readErr != nil || err != nil || kind != wire.Start {
			t.Errorf("first frame %c, %v", kind, err)
			return
		}
		p.end.Nonce = p.job.Nonce
		p.Frame(wire.Alive, nil)
		play(p)
	}()
	end, err := s.run(ours)
	ours.Close()
	<-done
	return end, out.String(), errs.String(), err
}

func TestSession(t *testing.T) {
	end, out, errs, err := play(t, new(session), func(p *player) {
		p.out(wire.Stdout, "one\r\n\x00")
		p.out(wire.Stderr, "log")
		p.out(wire.Stdout, "two")
		p.end.Code = 3
		p.finish()
	})
	if err != nil || end.How != wire.Exited || end.Code != 3 || out != "one\r\n\x00two" || errs != "log" {
		t.Errorf("%+v, %q, %q, %v", end, out, errs, err)
	}
}

// TestSessionInput: tree first, then standard input, never more on the way than the window.
func TestSessionInput(t *testing.T) {
	tree, stdin := strings.Repeat("tree ", 1000), strings.Repeat("stdin", 777)
	s := &session{tree: strings.NewReader(tree), stdin: strings.NewReader(stdin)}
	var got [2]strings.Builder
	_, _, _, err := play(t, s, func(p *player) {
		for i, kind := range []byte{wire.Tree, wire.Stdin} {
			for {
				k, payload, err := p.in.Next()
				if err != nil || k != kind {
					t.Errorf("frame %c, %v; want %c", k, err, kind)
					return
				}
				if len(payload) == 0 {
					break
				}
				if len(payload) > 1000 {
					t.Errorf("%d bytes at once", len(payload))
				}
				got[i].Write(payload)
				p.Frame(wire.Credit, wire.AppendCredit(nil, int64(len(payload))))
			}
		}
		p.finish()
	})
	if err != nil || got[0].String() != tree || got[1].String() != stdin {
		t.Errorf("%d and %d bytes came, %v", got[0].Len(), got[1].Len(), err)
	}
}

// TestSessionUnread: a program that does not read its input, or ends before, is no error.
func TestSessionUnread(t *testing.T) {
	r, w := io.Pipe() // never gives anything
	defer w.Close()
	for name, in := range map[string]io.Reader{"more than is read": strings.NewReader(strings.Repeat("x", 1<<20)), "nothing": r} {
		end, _, _, err := play(t, &session{stdin: in}, func(p *player) { p.out(wire.Stdout, "x"); go io.Copy(io.Discard, readAll{p.in}); p.finish() })
		if err != nil || end.Code != 0 {
			t.Errorf("%s: %+v, %v", name, end, err)
		}
	}
}

// readAll reads frames for their own sake.
type readAll struct{ in *wire.Reader }

func (r readAll) Read(p []byte) (int, error) {
	_, _, err := r.in.Next()
	return min(1, len(p)), err
}

// TestSessionLies: whatever else a guest says, it is not a success.
func TestSessionLies(t *testing.T) {
	for name, lie := range map[string]func(*player){
		"nothing":           func(p *player) {},
		"output and no end": func(p *player) { p.out(wire.Stdout, "x") },
		"lost output":       func(p *player) { p.end.Out.Add([]byte("lost")); p.finish() },
		"more output":       func(p *player) { p.Frame(wire.Stdout, []byte("more")); p.finish() },
		"changed output": func(p *player) {
			p.end.Out.Add([]byte("this"))
			p.Frame(wire.Stdout, []byte("that"))
			p.finish()
		},
		"stderr for stdout":  func(p *player) { p.end.Out.Add([]byte("x")); p.Frame(wire.Stderr, []byte("x")); p.finish() },
		"foreign end":        func(p *player) { p.end.Nonce[0]++; p.finish() },
		"no such way to end": func(p *player) { p.end.How = 9; p.finish() },
		"signal 0":           func(p *player) { p.end.How = wire.Signaled; p.finish() },
		"short end":          func(p *player) { p.Frame(wire.Ended, p.end.AppendTo(nil)[:40]) },
		"long end":           func(p *player) { p.Frame(wire.Ended, append(p.end.AppendTo(nil), 0)) },
		"empty end":          func(p *player) { p.Frame(wire.Ended, nil) },
		"a job":              func(p *player) { p.Frame(wire.Start, p.job.AppendTo(nil)) },
		"unknown frame":      func(p *player) { p.Frame('?', nil) },
		"credit for nothing": func(p *player) { p.Frame(wire.Credit, wire.AppendCredit(nil, 1)) },
		"negative credit":    func(p *player) { p.Frame(wire.Credit, wire.AppendCredit(nil, -1)) },
		"short credit":       func(p *player) { p.Frame(wire.Credit, []byte("x")) },
	} {
		if end, _, _, err := play(t, new(session), lie); err == nil {
			t.Errorf("%s: believed: %+v", name, end)
		}
	}
}

type full struct{}

var errFull = errors.New("disk full")

func (full) Write([]byte) (int, error) { return 0, errFull }

// TestSessionOutputFails: that is our failure and not the guest's.
func TestSessionOutputFails(t *testing.T) {
	_, _, _, err := play(t, &session{stdout: full{}}, func(p *player) { p.out(wire.Stdout, "x") })
	var ours writeError
	if !errors.As(err, &ours) || !errors.Is(err, errFull) {
		t.Errorf("%v", err)
	}
}

// TestSessionInputFails: the guest then refuses, but the cause is with us.
func TestSessionInputFails(t *testing.T) {
	_, _, _, err := play(t, &session{tree: io.MultiReader(strings.NewReader("x"), broken{})}, func(p *player) {
		for err := error(nil); err == nil; _, _, err = p.in.Next() { // it waits for more
		}
	})
	if !errors.Is(err, errFull) {
		t.Errorf("%v", err)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errFull }

// mapped is a connection through memory: to use it when that is gone is a crash. A Write waits for the guest's end.
type mapped struct {
	io.Reader
	writing, gone chan struct{}
	unmapped      atomic.Bool
	bad           atomic.Bool
}

func (m *mapped) Write(p []byte) (int, error) {
	if p[0] == wire.Stdin {
		close(m.writing)
		<-m.gone
		time.Sleep(20 * time.Millisecond)
	}
	m.bad.Store(m.bad.Load() || m.unmapped.Load())
	return len(p), nil
}

// TestSessionSettles: after settle nothing is sent, neither what was on its way nor the end of the input.
func TestSessionSettles(t *testing.T) {
	for name, stdin := range map[string]io.Reader{"sending": strings.NewReader("x"), "reading": nil} {
		r, w := io.Pipe()
		guest, say := io.Pipe()
		m := &mapped{Reader: guest, writing: make(chan struct{}), gone: make(chan struct{})}
		s := &session{job: new(wire.Job), window: 1000, stdin: stdin, awake: func() {}, abort: func() {}}
		if stdin == nil {
			s.stdin = r
		}
		go func() {
			frames := wire.NewWriter(say)
			frames.Frame(wire.Alive, nil)
			if stdin != nil {
				<-m.writing
			}
			frames.Frame(wire.Ended, new(wire.End).AppendTo(nil))
		}()
		if _, err := s.run(m); err != nil {
			t.Error(err)
		}
		close(m.gone)
		s.settle()
		m.unmapped.Store(true)
		w.Close()
		time.Sleep(50 * time.Millisecond)
		if m.bad.Load() {
			t.Errorf("%s: used what is gone", name)
		}
	}
}

// Whatever a guest sends, as itself or as a rootfs that has taken its place: what is passed on is what came, and the end is only
// believed with the nonce and the sums. Nothing that it says makes the host wait, or keep it.
func FuzzSession(f *testing.F) {
	job := &wire.Job{Nonce: [16]byte{7}}
	frame := func(kind byte, payload string) string {
		return string(wire.AppendFrame(nil, kind, len(payload))) + payload
	}
	end := wire.End{Nonce: job.Nonce, Code: 3}
	end.Out.Add([]byte("out"))
	other := end
	other.Nonce[0]++
	fine, forged := string(end.AppendTo(nil)), string(other.AppendTo(nil))
	for _, talk := range []string{
		frame('a', "") + frame('o', "out") + frame('x', fine), frame('o', "out") + frame('e', "") + frame('x', forged), frame('o', "ou") + frame('x', fine), frame('x', fine), frame('x', fine[:20]),
		frame('c', "\xff\xff\xff\xff\xff\xff\xff\xff"), frame('c', "\xff\xff\xff\xff\xff\xff\xff\x7f"), frame('c', ""), frame('t', "x"), frame('j', ""), "o\xff\xff\xff\xff", "o\x00\x00\x01\x00",
		frame('o', "out") + frame('o', "") + frame('x', fine) + frame('o', "more"), strings.Repeat(frame('e', ""), 1000),
	} {
		f.Add([]byte(talk))
	}
	f.Fuzz(func(t *testing.T, talk []byte) {
		var out, errs bytes.Buffer
		s := &session{job: job, stdout: &out, stderr: &errs, window: 1000, awake: func() {}, abort: func() {}}
		conn := struct {
			io.Reader
			io.Writer
		}{bytes.NewReader(talk), io.Discard}
		var got *wire.End
		var err error
		fuzztest.Bounded(t, len(talk), 1<<20, 64, func() { got, err = s.run(conn) })
		var outSum, errSum wire.Sum
		outSum.Add(out.Bytes())
		errSum.Add(errs.Bytes())
		if (got == nil) != (err != nil) || got != nil && (got.Nonce != job.Nonce || got.Out != outSum || got.Err != errSum) {
			t.Errorf("%+v, %v", got, err)
		}
		if out.Len()+errs.Len() > len(talk) || !bytes.Contains(talk, out.Bytes()[:min(1, out.Len())]) {
			t.Errorf("%q and %q of %q", out.Bytes(), errs.Bytes(), talk)
		}
	})
}
