package vm

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// qmpLimit is how long qemu may take to answer: it has little to do.
const qmpLimit = 10 * time.Second

// A qmp is a connection to qemu's monitor (QEMU Machine Protocol specification: a JSON object a line).
type qmp struct {
	conn *os.File
	in   io.LimitedReader
	dec  *json.Decoder
}

const mostAnswer = 1 << 20 // bytes that a command may bring

// errRefused is qemu's answer that it cannot do something.
var errRefused = errors.New("qemu")

// openQMP begins a conversation on a socket.
func openQMP(conn *os.File) (*qmp, error) {
	q := &qmp{conn: conn, in: io.LimitedReader{R: conn, N: mostAnswer}}
	q.dec = json.NewDecoder(&q.in)
	conn.SetDeadline(time.Now().Add(qmpLimit))
	var greeting json.RawMessage
	if err := q.dec.Decode(&greeting); err != nil {
		return nil, err
	}
	return q, q.do("qmp_capabilities", nil, nil)
}

// monitor calls do with a connection to the monitor.
func (p *process) monitor(do func(*qmp) error) error {
	q, err := openQMP(p.control)
	if err != nil {
		return err
	}
	return do(q)
}

// do executes a command and stores what it returns in reply, unless that is nil. files are handed over with it.
func (q *qmp) do(command string, args map[string]any, reply any, files ...*os.File) error {
	message := map[string]any{"execute": command}
	if args != nil {
		message["arguments"] = args
	}
	line, err := json.Marshal(message)
	if err != nil {
		return err
	}
	q.conn.SetDeadline(time.Now().Add(qmpLimit))
	q.in.N = mostAnswer
	if err := q.send(line, files); err != nil {
		return err
	}
	for {
		var answer struct {
			Return json.RawMessage
			Error  *struct{ Desc string }
		}
		if err := q.dec.Decode(&answer); err != nil {
			return err
		}
		switch {
		case answer.Error != nil:
			return fmt.Errorf("%w: %s: %s", errRefused, command, answer.Error.Desc)
		case answer.Return != nil && reply != nil:
			return json.Unmarshal(answer.Return, reply)
		case answer.Return != nil:
			return nil
		} // else it is an event
	}
}

// send writes a line, with which files go along. A line is short, and the socket's buffer empty.
func (q *qmp) send(line []byte, files []*os.File) error {
	var rights []byte
	for _, f := range files {
		rights = append(rights, unix.UnixRights(int(f.Fd()))...)
	}
	raw, err := q.conn.SyscallConn()
	if err != nil {
		return err
	}
	var sendErr error
	err = raw.Write(func(fd uintptr) bool {
		sendErr = unix.Sendmsg(int(fd), line, rights, nil, unix.MSG_NOSIGNAL)
		return sendErr != unix.EAGAIN
	})
	return errors.Join(err, os.NewSyscallError("sendmsg", sendErr))
}

// ignoreShared leaves the RAM, which is a file of ours, out of a machine's state.
func (q *qmp) ignoreShared() error {
	capability := map[string]any{"capability": "x-ignore-shared", "state": true}
	return q.do("migrate-set-capabilities", map[string]any{"capabilities": []any{capability}}, nil)
}

// save writes the state of the machine, RAM apart, to f. The machine is paused from then on.
func (q *qmp) save(f *os.File) error {
	if err := q.ignoreShared(); err != nil {
		return err
	}
	if err := q.do("getfd", map[string]any{"fdname": "state"}, nil, f); err != nil {
		return err
	}
	if err := q.do("migrate", map[string]any{"uri": "fd:state"}, nil); err != nil {
		return err
	}
	return q.migrated()
}

// migrated waits for the end of saving or restoring.
func (q *qmp) migrated() error {
	for end := time.Now().Add(qmpLimit); ; time.Sleep(time.Millisecond) {
		var state struct{ Status string }
		if err := q.do("query-migrate", nil, &state); err != nil {
			return err
		}
		switch {
		case state.Status == "completed":
			return nil
		case state.Status == "failed":
			return fmt.Errorf("%w: state of the machine: failed", errRefused)
		case time.Now().After(end):
			return fmt.Errorf("qemu: state of the machine: %s after %v", state.Status, qmpLimit)
		}
	}
}

// resume lets a paused machine go on.
func (q *qmp) resume() error { return q.do("cont", nil, nil) }

// restore loads the state in descriptor number fd of qemu's; the machine then runs.
func (q *qmp) restore(fd int) error {
	if err := q.ignoreShared(); err != nil {
		return err
	}
	if err := q.do("migrate-incoming", map[string]any{"uri": fmt.Sprintf("fd:%d", fd)}, nil); err != nil {
		return err
	}
	return q.migrated()
}
