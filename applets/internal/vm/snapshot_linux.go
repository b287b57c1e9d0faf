package vm

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"hash"
	"hash/crc32"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/wire"
)

// A snapshot is a file that holds a machine which has booted and said Hello, and waits for the answer: pages of RAM that are
// not zero, the state of its devices as qemu wrote it, and the Hello. Integers are little-endian:
//
//	magic, token of the Hello (8), RAM's size (8)
//	for each run of pages: offset (8), length (8), the bytes; at the end 16 times 0xff
//	length of the state (8), the state
//	CRC-32C of all that (4)
//
// It is machine and all of one qemu, kernel and ctbox; the name of the file says which.
const snapshotMagic = "ctbox snapshot 1\n"

// chunk is how finely runs of zeros are left out, in bytes.
const chunk = 64 << 10

var errSnapshot = errors.New("damaged snapshot")

// writeSnapshot writes the machine whose RAM is in ram and whose devices' state is in state.
func writeSnapshot(w io.Writer, hello wire.Hello, ram, state *os.File) error {
	size, err := sizeOf(ram)
	if err != nil {
		return err
	}
	sum := crc32.New(castagnoli)
	out := bufio.NewWriterSize(io.MultiWriter(w, sum), 1<<20)
	out.WriteString(snapshotMagic)
	writeInts(out, hello.Token, uint64(size))
	if err := writeRAM(out, ram, size); err != nil {
		return err
	}
	length, err := sizeOf(state)
	if err != nil {
		return err
	}
	writeInts(out, ^uint64(0), ^uint64(0), uint64(length))
	if _, err := io.Copy(out, io.NewSectionReader(state, 0, length)); err != nil {
		return err
	}
	if err := out.Flush(); err != nil {
		return err
	}
	_, err = w.Write(binary.LittleEndian.AppendUint32(nil, sum.Sum32()))
	return err
}

func writeInts(w *bufio.Writer, ints ...uint64) {
	var b [8]byte
	for _, n := range ints {
		binary.LittleEndian.PutUint64(b[:], n)
		w.Write(b[:])
	}
}

// writeRAM writes the runs of chunks that are not all zero. What is a hole in the file is not read.
func writeRAM(w *bufio.Writer, ram *os.File, size int64) error {
	buf := make([]byte, 16*chunk)
	zero := make([]byte, chunk)
	for at := int64(0); at < size; {
		data, err := unix.Seek(int(ram.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil
		}
		if err != nil {
			return os.NewSyscallError("lseek", err)
		}
		at = data &^ (chunk - 1)
		n, err := ram.ReadAt(buf[:min(int64(len(buf)), size-at)], at)
		if err != nil {
			return err
		}
		for i := 0; i < n; i += chunk {
			if part := buf[i:min(n, i+chunk)]; !bytes.Equal(part, zero[:len(part)]) {
				writeInts(w, uint64(at)+uint64(i), uint64(len(part)))
				if _, err := w.Write(part); err != nil {
					return err
				}
			}
		}
		at += int64(n)
	}
	return nil
}

func sizeOf(f *os.File) (int64, error) {
	fi, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return fi.Size(), nil
}

// A snapshotReader reads and sums up.
type snapshotReader struct {
	r   *bufio.Reader
	sum hash.Hash32
	buf []byte
}

// readSnapshot fills ram, which must be empty and of the right size, and state. Only its success says that the file was whole.
func readSnapshot(r io.Reader, ram, state *os.File) (wire.Hello, error) {
	s := snapshotReader{bufio.NewReaderSize(r, 1<<20), crc32.New(castagnoli), make([]byte, 16*chunk)}
	size, err := sizeOf(ram)
	if err != nil {
		return wire.Hello{}, err
	}
	magic, err := s.take(len(snapshotMagic))
	if err != nil || string(magic) != snapshotMagic {
		return wire.Hello{}, errSnapshot
	}
	token, err1 := s.int()
	ramSize, err2 := s.int()
	if err1 != nil || err2 != nil || ramSize != uint64(size) {
		return wire.Hello{}, errSnapshot
	}
	if err := s.ram(ram, uint64(size)); err != nil {
		return wire.Hello{}, err
	}
	length, err := s.int()
	if err != nil || length > 64<<20 {
		return wire.Hello{}, errSnapshot
	}
	if err := s.copy(state, 0, length); err != nil {
		return wire.Hello{}, err
	}
	want := s.sum.Sum32()
	var last [4]byte
	if _, err := io.ReadFull(s.r, last[:]); err != nil || binary.LittleEndian.Uint32(last[:]) != want {
		return wire.Hello{}, errSnapshot
	}
	return wire.Hello{Token: token, Memory: true}, nil
}

// ram reads runs of pages.
func (s *snapshotReader) ram(ram *os.File, size uint64) error {
	for {
		at, err1 := s.int()
		length, err2 := s.int()
		switch {
		case err1 != nil || err2 != nil:
			return errSnapshot
		case at == ^uint64(0):
			return nil
		case at > size || length > size-at:
			return errSnapshot
		}
		if err := s.copy(ram, int64(at), length); err != nil {
			return err
		}
	}
}

func (s *snapshotReader) copy(f *os.File, at int64, length uint64) error {
	for length > 0 {
		p, err := s.take(int(min(length, uint64(len(s.buf)))))
		if err != nil {
			return err
		}
		if _, err := f.WriteAt(p, at); err != nil {
			return err
		}
		at += int64(len(p))
		length -= uint64(len(p))
	}
	return nil
}

func (s *snapshotReader) int() (uint64, error) {
	p, err := s.take(8)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(p), nil
}

// take returns the next n bytes, at most a buffer full, valid until the next call.
func (s *snapshotReader) take(n int) ([]byte, error) {
	if _, err := io.ReadFull(s.r, s.buf[:n]); err != nil {
		return nil, errSnapshot
	}
	s.sum.Write(s.buf[:n])
	return s.buf[:n], nil
}
