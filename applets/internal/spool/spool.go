// Package spool holds bytes that must be read later: the last in memory, the rest in a file that has no name any more.
package spool

import (
	"io"
	"os"

	"github.com/ctbox/ctbox/applets/internal/output"
)

// memory is how much of a spool is in memory, in bytes.
const memory = 1 << 20

// A Spool is written at its end and read anywhere. Its zero value is empty. Its file is in TMPDIR.
type Spool struct {
	mem    []byte // from onDisk to the end
	file   *os.File
	onDisk int64
}

// Size is how much is in it, in bytes.
func (s *Spool) Size() int64 { return s.onDisk + int64(len(s.mem)) }

// Write adds p.
func (s *Spool) Write(p []byte) (int, error) {
	if len(s.mem)+len(p) > memory {
		if err := s.spill(); err != nil {
			return 0, err
		}
	}
	s.mem = append(s.mem, p...)
	return len(p), nil
}

func (s *Spool) spill() error {
	if s.file == nil {
		f, err := output.Unnamed("")
		if err != nil {
			return err
		}
		s.file = f
	}
	n, err := s.file.WriteAt(s.mem, s.onDisk)
	if err != nil {
		return err
	}
	s.onDisk += int64(n)
	s.mem = s.mem[:0]
	return nil
}

// ReadAt is that of io.ReaderAt; several goroutines may read at once.
func (s *Spool) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	if off < s.onDisk {
		var err error
		n, err = s.file.ReadAt(p[:min(int64(len(p)), s.onDisk-off)], off)
		if err != nil {
			return n, err
		}
	}
	if at := off + int64(n) - s.onDisk; at < int64(len(s.mem)) {
		n += copy(p[n:], s.mem[max(at, 0):])
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// SetByte replaces the byte at off.
func (s *Spool) SetByte(off int64, b byte) error {
	if off >= s.onDisk {
		s.mem[off-s.onDisk] = b
		return nil
	}
	_, err := s.file.WriteAt([]byte{b}, off)
	return err
}

// Truncate forgets what comes after size.
func (s *Spool) Truncate(size int64) {
	s.onDisk = min(s.onDisk, size)
	s.mem = s.mem[:size-s.onDisk]
}

// Close gives the file back.
func (s *Spool) Close() {
	if s.file != nil {
		s.file.Close()
	}
	*s = Spool{}
}
