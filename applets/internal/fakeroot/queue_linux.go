//go:build linux && (amd64 || arm64 || riscv64 || loong64)

package fakeroot

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Where other architectures pass all of System V IPC through one system call, fakeroot's daemon is out of reach.

// headLen is what comes before the body: the type of the message (msgop(2)), then function, process and serial number.
const headLen = 8 + 4 + 4 + 4

// openQueues finds what faked made, and never makes any itself: a key that nobody serves would then look like one.
func openQueues(key int) (exchange func(body []byte) error, err error) {
	q, err := findQueues(key)
	if err != nil {
		return nil, err
	}
	return q.exchange, nil
}

// removeQueues is for those of a daemon that was killed: who waits for its answers learns that there will be none.
func removeQueues(key int) {
	const remove = 0 // IPC_RMID (linux/ipc.h)
	if q, err := findQueues(key); err == nil {
		unix.Syscall(unix.SYS_MSGCTL, q.to, remove, 0)
		unix.Syscall(unix.SYS_MSGCTL, q.from, remove, 0)
		unix.Syscall(unix.SYS_SEMCTL, q.sem, 0, remove)
	}
}

func findQueues(key int) (*queues, error) {
	var id [3]uintptr
	for i, call := range [...]uintptr{unix.SYS_MSGGET, unix.SYS_MSGGET, unix.SYS_SEMGET} {
		var errno unix.Errno
		if call == unix.SYS_SEMGET {
			id[i], _, errno = unix.Syscall(call, uintptr(key+i), 1, 0)
		} else {
			id[i], _, errno = unix.Syscall(call, uintptr(key+i), 0, 0)
		}
		if errors.Is(errno, unix.ENOENT) {
			return nil, errors.New("its daemon is not running")
		}
		if errno != 0 {
			return nil, errno
		}
	}
	return &queues{to: id[0], from: id[1], sem: id[2]}, nil
}

type queues struct {
	to, from, sem uintptr
	serial        uint32
}

// exchange takes turns with other clients by the semaphore, which the kernel gives back should we die.
func (q *queues) exchange(body []byte) error {
	if err := q.add(-1); err != nil {
		return err
	}
	err := q.roundTrip(body)
	return errors.Join(err, q.add(1))
}

func (q *queues) add(n int16) error {
	const undo = 0x1000 // SEM_UNDO
	op := struct {
		num     uint16
		op, flg int16
	}{0, n, undo}
	_, err := again(func() (uintptr, unix.Errno) {
		_, _, errno := unix.Syscall(unix.SYS_SEMOP, q.sem, uintptr(unsafe.Pointer(&op)), 1)
		return 0, errno
	})
	return err
}

func (q *queues) roundTrip(body []byte) error {
	q.serial++
	var head []byte
	head = order.AppendUint64(head, 1)
	head = order.AppendUint32(head, statFunc)
	head = order.AppendUint32(head, uint32(os.Getpid()))
	head = order.AppendUint32(head, q.serial)
	m := append(head[:headLen:headLen], body...)
	_, err := again(func() (uintptr, unix.Errno) {
		_, _, errno := unix.Syscall6(unix.SYS_MSGSND, q.to, uintptr(unsafe.Pointer(&m[0])), uintptr(len(m)-8), 0, 0, 0)
		return 0, errno
	})
	if err != nil {
		return err
	}
	in := make([]byte, 2*len(m)) // a longer answer is to be seen, not refused
	for {
		n, err := again(func() (uintptr, unix.Errno) {
			n, _, errno := unix.Syscall6(unix.SYS_MSGRCV, q.from, uintptr(unsafe.Pointer(&in[0])), uintptr(len(in)-8), 0, 0, 0)
			return n, errno
		})
		switch {
		case err != nil:
			return err
		case int(n) != len(m)-8:
			return fmt.Errorf("%w (%d bytes)", errLayout, n)
		case string(in[12:headLen]) == string(m[12:headLen]): // others are for clients that were killed
			copy(body, in[headLen:])
			return nil
		}
	}
}

// again repeats a call that a signal interrupted: Go sends itself many.
func again(call func() (uintptr, unix.Errno)) (uintptr, error) {
	for {
		n, errno := call()
		switch errno {
		case 0:
			return n, nil
		case unix.EINTR:
		case unix.EIDRM, unix.EINVAL:
			return 0, errors.New("its daemon has ended")
		default:
			return 0, errno
		}
	}
}
