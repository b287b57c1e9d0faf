package list

import (
	"io"
	"os"

	"github.com/ctbox/ctbox/applets/internal/output"
)

// spoolMemory is how much of a spool is in memory.
const spoolMemory = 1 << 20

// A spool holds bytes that must be read later: the last in memory, the rest in a file that has no name any more.
type spool struct {
	mem    []byte // from onDisk to the end
	file   *os.File
	onDisk int64
}

func (s *spool) size() int64 { return s.onDisk + int64(len(s.mem)) }

func (s *spool) Write(p []byte) (int, error) {
	if len(s.mem)+len(p) > spoolMemory {
		if err := s.spill(); err != nil {
			return 0, err
		}
	}
	s.mem = append(s.mem, p...)
	return len(p), nil
}

func (s *spool) spill() error {
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

func (s *spool) ReadAt(p []byte, off int64) (int, error) {
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

// setByte replaces the byte at off.
func (s *spool) setByte(off int64, b byte) error {
	if off >= s.onDisk {
		s.mem[off-s.onDisk] = b
		return nil
	}
	_, err := s.file.WriteAt([]byte{b}, off)
	return err
}

// truncate forgets what comes after size.
func (s *spool) truncate(size int64) {
	s.onDisk = min(s.onDisk, size)
	s.mem = s.mem[:size-s.onDisk]
}

// close gives the file back.
func (s *spool) close() {
	if s.file != nil {
		s.file.Close()
	}
}
