// Package list reads, writes and compares lists, the text format that is the build: ctbox-list(5).
// Invariant: a list that a Scanner accepts has canonical names in strictly increasing byte order and
// IDs with one spelling each, so equal trees are equal bytes.
package list

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// MaxRecord is the longest record in bytes: a name, the same name again as a percent-encoded link, and the rest.
const MaxRecord = 4*MaxName + 1<<10

var (
	errRecordLong = errors.New("record is too long")
	errNoID       = errors.New("no ID")
	errForNull    = errors.New("NUL byte in a line: was it made for -0?")
	errForLines   = errors.New("newline in a record: was it made without -0?")
)

// A splitter cuts a stream at newlines or NULs; the last separator may be missing.
type splitter struct {
	file     string // for messages
	r        io.Reader
	sep      byte
	max      int
	line     int
	buf      []byte // unread bytes are buf[pos:end]
	pos, end int
	err      error // of r, to be told when the buffer is empty
}

func newSplitter(file string, r io.Reader, null bool, most int) *splitter {
	s := &splitter{file: file, r: r, sep: '\n', max: most, buf: make([]byte, 64<<10)}
	if null {
		s.sep = 0
	}
	return s
}

// reset starts on another stream and keeps the buffer.
func (s *splitter) reset(r io.Reader) { s.r, s.line, s.pos, s.end, s.err = r, 0, 0, 0, nil }

// next returns the next piece, without its separator, or io.EOF. The piece is valid until the call after.
func (s *splitter) next() ([]byte, error) {
	s.line++
	for searched := s.pos; ; {
		if i := bytes.IndexByte(s.buf[searched:s.end], s.sep); i >= 0 {
			piece := s.buf[s.pos : searched+i]
			s.pos = searched + i + 1
			return piece, s.check(piece)
		}
		if s.err != nil {
			return s.last()
		}
		unread := s.end - s.pos
		if unread > s.max {
			return nil, s.tooLong(s.buf[s.pos:s.end])
		}
		s.fill()
		searched = s.pos + unread
	}
}

func (s *splitter) last() ([]byte, error) {
	piece := s.buf[s.pos:s.end]
	s.pos = s.end
	if s.err != io.EOF {
		return nil, s.err
	}
	if len(piece) == 0 {
		return nil, io.EOF
	}
	return piece, s.check(piece)
}

// fill moves the unread bytes to the front and reads more behind them.
func (s *splitter) fill() {
	if s.pos > 0 {
		s.end = copy(s.buf, s.buf[s.pos:s.end])
		s.pos = 0
	}
	if s.end == len(s.buf) {
		s.buf = append(s.buf, make([]byte, len(s.buf))...)
	}
	n, err := s.r.Read(s.buf[s.end:])
	s.end += n
	s.err = err
}

func (s *splitter) check(piece []byte) error {
	if len(piece) > s.max {
		return s.tooLong(piece)
	}
	return nil
}

func (s *splitter) tooLong(piece []byte) error {
	if err := s.otherMode(piece); err != nil {
		return err
	}
	return errRecordLong
}

// otherMode is for a piece that is no record: an error if it looks like several, with the other separator.
func (s *splitter) otherMode(piece []byte) error {
	switch {
	case s.sep != 0 && bytes.IndexByte(piece, 0) >= 0:
		return errForNull
	case s.sep == 0 && (bytes.HasSuffix(piece, []byte("\n")) || bytes.Contains(piece, []byte("\n./"))):
		return errForLines
	}
	return nil
}

func (s *splitter) wrap(err error) error { return fmt.Errorf("%s:%d: %w", s.file, s.line, err) }

// A Record is one line of a list.
type Record struct {
	Name []byte // canonical
	ID   ID
	Text []byte // the record as it stands in the list, without newline or NUL
}

// IDText is the ID as it stands in the list.
func (r *Record) IDText() []byte { return r.Text[len(r.Name)+1:] }

// A Scanner reads the records of a list and checks that they are one.
type Scanner struct {
	split *splitter
	order order
	rec   Record
}

// NewScanner reads a list from r; file names it in messages ("FILE:LINE: ..."). With null, records end in NUL.
func NewScanner(file string, r io.Reader, null bool) *Scanner {
	return &Scanner{split: newSplitter(file, r, null, MaxRecord)}
}

// Next returns the next record, or io.EOF. The record is valid until the next call.
func (s *Scanner) Next() (*Record, error) {
	text, err := s.split.next()
	if err == io.EOF {
		return nil, err
	}
	if err == nil {
		err = s.parse(text)
	}
	if err != nil {
		return nil, s.split.wrap(err)
	}
	return &s.rec, nil
}

func (s *Scanner) parse(text []byte) error {
	space := lastSpace(text)
	if space < 0 {
		return s.explain(text, text, errNoID)
	}
	s.rec.Text, s.rec.Name = text, text[:space]
	err := CheckName(s.rec.Name)
	if err == nil {
		err = s.rec.ID.Parse(text[space+1:])
	}
	if err != nil {
		return s.explain(text, s.rec.Name, err)
	}
	return s.order.next(s.rec.Name)
}

// explain says what is wrong with a record, or why so if it does not end where it should.
func (s *Scanner) explain(text, name []byte, err error) error {
	if mode := s.split.otherMode(text); mode != nil {
		return mode
	}
	if bytes.HasSuffix(text, []byte("\r")) {
		err = errors.New("line ends in CR LF")
	}
	return fmt.Errorf("%s: %w", Quote(name), err)
}

// lastSpace is bytes.LastIndexByte for few spaces, which is then many times slower than its counterpart.
func lastSpace(text []byte) int {
	last := -1
	for {
		i := bytes.IndexByte(text[last+1:], ' ')
		if i < 0 {
			return last
		}
		last += i + 1
	}
}

// Wrap says where in the list err happened: file, line and name of the last record.
func (s *Scanner) Wrap(err error) error { return s.WrapAt(s.split.line, s.rec.Name, err) }

// Line is the number of the last record, from 1.
func (s *Scanner) Line() int { return s.split.line }

// WrapAt is Wrap for a record that Next has gone on from. It may be called while Next runs.
func (s *Scanner) WrapAt(line int, name []byte, err error) error {
	return fmt.Errorf("%s:%d: %s: %w", s.split.file, line, Quote(name), err)
}

// order checks that names come strictly increasing by their bytes.
type order struct {
	prev  []byte
	begun bool
}

func (o *order) next(name []byte) error {
	if c := bytes.Compare(o.prev, name); o.begun && c >= 0 {
		if c == 0 {
			return fmt.Errorf("%s: duplicate name", Quote(name))
		}
		return fmt.Errorf("%s: not in order after %s: names are sorted with LC_ALL=C sort", Quote(name), Quote(o.prev))
	}
	o.take(name)
	return nil
}

// take takes a name that is in order.
func (o *order) take(name []byte) { o.prev, o.begun = append(o.prev[:0], name...), true }

// Names reads the names that fileids is given: one a line, with or without "./", sorted and unique.
type Names struct {
	split *splitter
	order order
	buf   []byte
}

// NewNames reads names from r; file names it in messages. With null, names end in NUL.
func NewNames(file string, r io.Reader, null bool) *Names {
	return &Names{split: newSplitter(file, r, null, MaxName)}
}

// Next returns the next name in its canonical form, or io.EOF. It is valid until the next call.
func (n *Names) Next() ([]byte, error) {
	text, err := n.split.next()
	if err == io.EOF {
		return nil, err
	}
	if err == nil {
		n.buf, err = Canonical(n.buf, text)
		if err == nil {
			err = n.order.next(n.buf)
		} else if mode := n.split.otherMode(text); mode != nil {
			err = mode
		} else {
			err = fmt.Errorf("%s: %w", Quote(text), err)
		}
	}
	if err != nil {
		return nil, n.split.wrap(err)
	}
	return n.buf, nil
}
