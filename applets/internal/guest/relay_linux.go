package guest

import (
	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/wire"
)

// A stream is what comes from one pipe.
type stream struct {
	kind byte
	sum  *wire.Sum
}

// relay sends what comes from both pipes, in the order in which it comes, until their ends, and sums it up.
func (s *session) relay(stdout, stderr port, end *wire.End) error {
	streams := [...]stream{{wire.Stdout, &end.Out}, {wire.Stderr, &end.Err}}
	ready := []unix.PollFd{{Fd: int32(stdout), Events: unix.POLLIN}, {Fd: int32(stderr), Events: unix.POLLIN}}
	frame := make([]byte, wire.HeadBytes+wire.MostPayload)
	for open := len(streams); open > 0; {
		if _, err := unix.Poll(ready, -1); err == unix.EINTR {
			continue
		} else if err != nil {
			return err
		}
		for i := range ready {
			if ready[i].Revents == 0 {
				continue
			}
			more, err := s.pass(port(ready[i].Fd), streams[i], frame)
			if err != nil {
				return err
			}
			if !more {
				port(ready[i].Fd).close()
				ready[i].Fd = -1 // which poll(2) passes over
				open--
			}
		}
	}
	return nil
}

// pass makes a frame of what can be read now. At the pipe's end there is no more.
func (s *session) pass(from port, of stream, frame []byte) (more bool, err error) {
	n, err := from.Read(frame[wire.HeadBytes:])
	if err != nil {
		return false, nil
	}
	of.sum.Add(frame[wire.HeadBytes : wire.HeadBytes+n])
	wire.AppendFrame(frame[:0], of.kind, n)
	return true, s.write(frame[:wire.HeadBytes+n])
}

// feed writes what the host sends to the program's standard input, and gives credit for what that took. When nobody
// reads it any more, the rest is used up all the same.
func (s *session) feed(stdin port) {
	defer s.rescue()
	for {
		kind, payload, err := s.in.Next()
		if err != nil || kind != wire.Stdin || len(payload) == 0 {
			break
		}
		if stdin >= 0 {
			if _, err := stdin.Write(payload); err != nil {
				stdin.close()
				stdin = -1
			}
		}
		if s.credit(len(payload)) != nil {
			break
		}
	}
	if stdin >= 0 {
		stdin.close()
	}
}
