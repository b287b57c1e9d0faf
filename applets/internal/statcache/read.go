package statcache

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
)

// A Scanner reads the entries of a cache, each proven before it is given.
type Scanner struct {
	r     io.Reader
	sum   [sumSize]byte
	begun bool
	block []byte
	rest  []byte // of block
	entry Entry
	ahead bool // entry was read but not asked for yet
	err   error
}

// errVersion is about a file that begins otherwise.
var errVersion = errors.New("is of another version: it is not used")

// Scan reads a cache of size bytes from its begin.
func Scan(r io.ReaderAt, size int64) *Scanner { return &Scanner{r: io.NewSectionReader(r, 0, size)} }

// Next is the next entry, valid until the next call. After the last one it is io.EOF, and any other error stands for all
// that would follow.
func (s *Scanner) Next() (*Entry, error) {
	if s.ahead {
		s.ahead = false
		return &s.entry, nil
	}
	for s.err == nil && len(s.rest) == 0 {
		s.err = s.next()
	}
	if s.err == nil {
		s.rest, s.err = s.entry.take(s.rest)
	}
	if s.err != nil {
		return nil, s.err
	}
	return &s.entry, nil
}

// Find is the entry of name, or nil. Each name must come after the one before. It tells how many entries, of names
// between the two, it has passed over.
func (s *Scanner) Find(name []byte) (e *Entry, passed int, err error) {
	for {
		e, err := s.Next()
		if err == io.EOF {
			return nil, passed, nil
		}
		if err != nil {
			return nil, passed, err
		}
		switch bytes.Compare(e.Name, name) {
		case 0:
			return e, passed, nil
		case 1:
			s.ahead = true
			return nil, passed, nil
		}
		passed++
	}
}

// next reads a block. Nothing of it can be told apart from damage before its checksum is right.
func (s *Scanner) next() error {
	if !s.begun {
		s.begun = true
		var first [len(magic)]byte
		if n, err := io.ReadFull(s.r, first[:]); string(first[:n]) != magic {
			return whole(err, errVersion)
		}
		s.sum = sha256.Sum256(first[:])
	}
	var head [headSize]byte
	if _, err := io.ReadFull(s.r, head[:]); err != nil {
		return whole(err, errDamaged)
	}
	size := binary.LittleEndian.Uint32(head[:])
	if size > maxPayload {
		return errDamaged
	}
	if n := sumSize + int(size); cap(s.block) < n {
		s.block = make([]byte, max(n, sumSize+blockSize+4<<10))
	}
	s.block = s.block[:sumSize+size]
	copy(s.block, s.sum[:])
	if _, err := io.ReadFull(s.r, s.block[sumSize:]); err != nil {
		return whole(err, errDamaged)
	}
	s.sum = sha256.Sum256(s.block)
	if !bytes.Equal(s.sum[:], head[4:]) {
		return errDamaged
	}
	s.rest = s.block[sumSize:]
	if size == 0 {
		return s.end()
	}
	return nil
}

// end is io.EOF where nothing follows the last block.
func (s *Scanner) end() error {
	var more [1]byte
	n, err := s.r.Read(more[:])
	if n > 0 || err == nil {
		return errDamaged
	}
	return err
}

// whole is what is wrong with a file that ends early, or which cannot be read.
func whole(err, early error) error {
	if err == nil || err == io.EOF || err == io.ErrUnexpectedEOF {
		return early
	}
	return err
}
