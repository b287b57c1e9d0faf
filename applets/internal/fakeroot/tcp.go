package fakeroot

import (
	"encoding/binary"
	"errors"
	"io"

	"golang.org/x/sys/unix"
)

// openTCP connects to the daemon of fakeroot-tcp. Package net would be a tenth of ctbox.
func openTCP(port int) (exchange func(body []byte) error, err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil, err
	}
	unix.CloseOnExec(fd)
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return func(body []byte) error {
		m := binary.BigEndian.AppendUint32(nil, statFunc)
		m = append(m, body...)
		turn(m[4:])
		if err := send(fd, m); err != nil {
			return err
		}
		if err := receive(fd, m); err != nil {
			return err
		}
		copy(body, m[4:])
		turn(body)
		return nil
	}, nil
}

// turn changes the fields of stat between the orders of the network and of this machine: either way it is the same.
func turn(body []byte) {
	at := 0
	for _, size := range [...]int{4, 4, 8, 8, 8, 4, 4} {
		f := body[at : at+size]
		if size == 4 {
			binary.BigEndian.PutUint32(f, order.Uint32(f))
		} else {
			binary.BigEndian.PutUint64(f, order.Uint64(f))
		}
		at += size
	}
}

func send(fd int, p []byte) error {
	for len(p) > 0 {
		n, err := unix.Write(fd, p)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		p = p[max(n, 0):]
	}
	return nil
}

func receive(fd int, p []byte) error {
	for len(p) > 0 {
		n, err := unix.Read(fd, p)
		switch {
		case n == 0 && err == nil:
			return io.ErrUnexpectedEOF
		case err != nil && !errors.Is(err, unix.EINTR):
			return err
		}
		p = p[max(n, 0):]
	}
	return nil
}
