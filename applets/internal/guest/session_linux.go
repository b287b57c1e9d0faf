package guest

import (
	"errors"
	"io"
	"sync"

	"github.com/ctbox/ctbox/applets/internal/wire"
)

// A session is the conversation with the host after its answer.
type session struct {
	*machine
	in *wire.Reader

	mu    sync.Mutex // held while a frame is written
	out   io.Writer
	ended bool // an End was sent, after which nothing comes
}

var errEnded = errors.New("the session has ended")

// run does the job that the first frame holds.
func (s *session) run() error {
	kind, payload, err := s.in.Next()
	if err != nil {
		return err
	}
	job, err := wire.ParseJob(payload)
	if err != nil || kind != wire.Start {
		return errors.New("the host's job is damaged")
	}
	if err := s.send(wire.Alive, nil); err != nil {
		return err
	}
	end := wire.End{Nonce: job.Nonce}
	if err := s.do(job, &end); err != nil {
		return err
	}
	return s.send(wire.Ended, end.AppendTo(nil))
}

// do fills in how the job ended. An error is one of the line to the host.
func (s *session) do(job *wire.Job, end *wire.End) error {
	settle(job)
	if s.disk != "" {
		if err := s.diskRoot(); err != nil {
			refuse(end, 125, "disk: "+err.Error())
			return nil
		}
	}
	if job.Tree {
		if err := s.tree(); err != nil {
			refuse(end, 125, "initrd: "+err.Error())
			return nil
		}
	}
	s.finish()
	return s.program(job, end)
}

// refuse says that the program did not start, and why.
func refuse(end *wire.End, code byte, why string) {
	end.How, end.Code, end.Message = wire.Refused, code, why
}

// send writes a frame with one Write.
func (s *session) send(kind byte, payload []byte) error {
	return s.write(append(wire.AppendFrame(nil, kind, len(payload)), payload...))
}

// write writes whole frames.
func (s *session) write(frames []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return errEnded
	}
	s.ended = frames[0] == wire.Ended
	_, err := s.out.Write(frames)
	return err
}

// credit tells the host that n bytes of Stdin or Tree are used up.
func (s *session) credit(n int) error {
	return s.send(wire.Credit, wire.AppendCredit(nil, int64(n)))
}
