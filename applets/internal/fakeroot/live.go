package fakeroot

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/archive"
)

// live is a running daemon as a source. It has seen what was unlinked, so nothing here is stale.
type live struct {
	Context
	mu     sync.Mutex
	ask    chan []byte // a message without its head
	answer chan error  // after which that message is the answer
	dead   error
	late   *time.Timer
}

// patience is how long an answer may take: a daemon that was killed leaves its queues behind, and nobody at them.
var patience = 30 * time.Second

// A message to faked and from it, as message.h of fakeroot 1.20 to 1.36 has it: the head, which differs between
// transports, then the fields of stat(2) that can be faked, packed, and room for an extended attribute.
const (
	statLen  = 4 + 4 + 8 + 8 + 8 + 4 + 4
	xattrLen = 4 + 1024 + 4
	bodyLen  = statLen + xattrLen + 4
	statFunc = 3 // of the functions in communicate.h
)

var errLayout = errors.New("its daemon has another form of messages")

// dial finds the daemon that FAKEROOTKEY names: a key for message queues, or the port of fakeroot-tcp.
func dial(key string, c Context) (*live, error) {
	n, err := strconv.ParseInt(key, 10, 32)
	if err != nil || n <= 0 {
		return nil, fmt.Errorf("$%s: %q is no key", Key, key)
	}
	exchange, err := openQueues(int(n))
	if err != nil && n < 1<<16 {
		if tcp, tcpErr := openTCP(int(n)); tcpErr == nil {
			exchange, err = tcp, nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("$%s=%s: %w", Key, key, err)
	}
	l := &live{Context: c, ask: make(chan []byte), answer: make(chan error, 1), late: time.NewTimer(patience)}
	go func() {
		for m := range l.ask {
			l.answer <- exchange(m)
		}
	}()
	// Of no file: does the daemon speak as we do?
	if _, err := l.stat(new(archive.Stat)); err != nil {
		return nil, fmt.Errorf("$%s=%s: %w", Key, key, err)
	}
	return l, nil
}

// Fake implements Source.
func (l *live) Fake(name []byte, st *archive.Stat) error {
	e, err := l.stat(st)
	if err != nil {
		return fmt.Errorf("fakeroot: %w", err)
	}
	e.fake(name, st, &l.Context)
	return nil
}

// Finish implements Source.
func (l *live) Finish() error { return nil }

// stat asks for one file. After an error there are no more answers.
func (l *live) stat(st *archive.Stat) (entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead != nil {
		return entry{}, l.dead
	}
	m := question(st)
	l.ask <- m
	l.late.Reset(patience)
	select {
	case l.dead = <-l.answer:
	case <-l.late.C:
		l.dead = fmt.Errorf("no answer within %v", patience)
	}
	if l.dead == nil {
		return reply(m, st)
	}
	return entry{}, l.dead
}

// order is that of message queues; exchange turns it where that of the network is another.
var order = binary.NativeEndian

// question is the body of a message that asks for st, which the daemon answers with itself if it has no entry.
func question(st *archive.Stat) []byte {
	m := make([]byte, 0, bodyLen)
	m = order.AppendUint32(m, st.UID)
	m = order.AppendUint32(m, st.GID)
	m = order.AppendUint64(m, st.Ino)
	m = order.AppendUint64(m, st.Dev)
	m = order.AppendUint64(m, unix.Mkdev(st.Major, st.Minor))
	m = order.AppendUint32(m, st.Mode)
	m = order.AppendUint32(m, uint32(st.Nlink))
	return m[:bodyLen]
}

func reply(m []byte, st *archive.Stat) (entry, error) {
	if order.Uint64(m[8:]) != st.Ino || order.Uint64(m[16:]) != st.Dev {
		return entry{}, errLayout
	}
	e := entry{uid: order.Uint32(m), gid: order.Uint32(m[4:]), rdev: order.Uint64(m[24:]), mode: order.Uint32(m[32:])}
	if st.Mode == 0 && e.mode == 0 {
		return e, nil // the question of dial
	}
	return e, e.check()
}
