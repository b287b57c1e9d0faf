package vm

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/ctbox/ctbox/applets/internal/wire"
)

// A session is the host's side of a run, once the guest has said Hello and frames can flow.
type session struct {
	job            *wire.Job
	tree, stdin    io.Reader // what the Job promises, else nil
	stdout, stderr io.Writer
	window         int64      // see wire.Window
	awake          func()     // called at the first frame
	abort          func()     // ends the guest, called when input cannot be read
	heard          bool       // there was one
	sending        sync.Mutex // held while input is on its way to the guest
}

// errRecord is what a guest says that cannot be.
var errRecord = errors.New("the guest sent a damaged record")

// A writeError is a failure of the host's own output, not of the guest.
type writeError struct{ error }

func (e writeError) Unwrap() error { return e.error }

// run sends the job and relays until the End, which it has verified.
func (s *session) run(conn io.ReadWriter) (*wire.End, error) {
	credit := newCredit(s.window)
	defer credit.end()
	w := wire.NewWriter(conn)
	if err := w.Frame(wire.Start, s.job.AppendTo(nil)); err != nil {
		return nil, err
	}
	failed := make(chan error, 1)
	go func() {
		if err := s.send(w, credit); err != nil {
			failed <- err
			s.abort()
		}
	}()
	end, err := s.receive(wire.NewReader(conn), credit)
	select {
	case err = <-failed: // it is why the guest ended
		return nil, err
	default:
		return end, err
	}
}

// send is done when all input is with the guest. Only a failure to read it is an error: who writes finds out by reading.
func (s *session) send(w *wire.Writer, credit *credit) error {
	if !credit.take(0) {
		return nil
	}
	for _, in := range [...]struct {
		kind byte
		r    io.Reader
	}{{wire.Tree, s.tree}, {wire.Stdin, s.stdin}} {
		if in.r == nil {
			continue
		}
		if err := s.feed(w, in.kind, in.r, credit); err != nil {
			return err
		}
	}
	return nil
}

// feed sends what r gives, and an empty frame at its end.
func (s *session) feed(w *wire.Writer, kind byte, r io.Reader, credit *credit) error {
	buf := make([]byte, min(wire.MostPayload, credit.most))
	for {
		n, err := r.Read(buf)
		if n > 0 && !s.pass(w, kind, buf[:n], credit) {
			return nil
		}
		if err == io.EOF {
			s.pass(w, kind, nil, credit)
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// pass sends a frame, unless the session is over.
func (s *session) pass(w *wire.Writer, kind byte, payload []byte, credit *credit) bool {
	s.sending.Lock()
	defer s.sending.Unlock()
	return credit.take(int64(len(payload))) && w.Frame(kind, payload) == nil
}

// settle returns when what was being sent is with the guest or lost; nothing is sent any more. It is for after run, when the guest
// is gone. Who waits for standard input goes on waiting, which may be for ever.
func (s *session) settle() {
	s.sending.Lock()
	defer s.sending.Unlock()
}

// receive passes output on until the End.
func (s *session) receive(r *wire.Reader, credit *credit) (*wire.End, error) {
	var out, errs wire.Sum
	for {
		kind, payload, err := r.Next()
		if err != nil {
			return nil, err
		}
		if !s.heard {
			s.heard = true
			s.awake()
			credit.begin()
		}
		switch kind {
		case wire.Alive:
		case wire.Stdout:
			out.Add(payload)
			_, err = s.stdout.Write(payload)
		case wire.Stderr:
			errs.Add(payload)
			_, err = s.stderr.Write(payload)
		case wire.Credit:
			if !credit.give(payload) {
				return nil, errRecord
			}
		case wire.Ended:
			return s.ended(payload, out, errs)
		default:
			return nil, errRecord
		}
		if err != nil {
			return nil, writeError{err}
		}
	}
}

// ended believes an End only if it is the right one.
func (s *session) ended(payload []byte, out, errs wire.Sum) (*wire.End, error) {
	end, err := wire.ParseEnd(payload)
	switch {
	case err != nil || end.Nonce != s.job.Nonce:
		return nil, fmt.Errorf("%w of how the run ended", errRecord)
	case end.Out != out || end.Err != errs:
		return nil, fmt.Errorf("output was lost or damaged on the way: the guest sent %d bytes, %d came", end.Out.Bytes+end.Err.Bytes, out.Bytes+errs.Bytes)
	}
	return end, nil
}

// A credit is how much may still be sent. There is none before the guest's first frame: input that was taken from the user
// and given to a guest that is dead could not be given to the next.
type credit struct {
	mu          sync.Mutex
	more        sync.Cond
	left, most  int64
	begun, over bool
}

func newCredit(window int64) *credit {
	c := &credit{left: window, most: window}
	c.more.L = &c.mu
	return c
}

// take waits for credit of n bytes, at most the window; false means that the session is over.
func (c *credit) take(n int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for (c.left < n || !c.begun) && !c.over {
		c.more.Wait()
	}
	c.left -= n
	return !c.over
}

// give adds the credit that a frame grants; false means that it grants what was not used.
func (c *credit) give(payload []byte) bool {
	n, ok := wire.ParseCredit(payload)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !ok || n < 0 || n > c.most-c.left {
		return false
	}
	c.left += n
	c.more.Broadcast()
	return true
}

func (c *credit) begin() {
	c.mu.Lock()
	c.begun = true
	c.more.Broadcast()
	c.mu.Unlock()
}

func (c *credit) end() {
	c.mu.Lock()
	c.over = true
	c.more.Broadcast()
	c.mu.Unlock()
}
