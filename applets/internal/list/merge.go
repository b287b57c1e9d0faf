package list

import (
	"bytes"
	"errors"
	"io"
)

// A merge walks two lists in step, by name. Most records of two lists are equal, so texts are compared before
// anything is parsed, and an equal pair is parsed once.
type merge struct {
	base, new side
	equal     func(text []byte)             // if not nil, takes equal records instead of same: many at once, unparsed
	same      func(*Record) error           // for equal records
	differ    func(base, new *Record) error // for the rest; nil is the list that lacks the name
}

// A side is one of the lists and its next record.
type side struct {
	*Scanner
	text   []byte
	parsed bool // text is in rec, and checked
	end    bool
}

func newMerge(base, new *Input) *merge {
	return &merge{base: side{Scanner: base.Scan()}, new: side{Scanner: new.Scan()}}
}

func (m *merge) run() error {
	err := errors.Join(m.base.advance(), m.new.advance())
	for err == nil && !(m.base.end && m.new.end) {
		if !m.base.end && !m.new.end && bytes.Equal(m.base.text, m.new.text) {
			err = m.pair()
		} else {
			err = m.differing()
		}
	}
	return err
}

func (m *merge) pair() error {
	if m.equal != nil {
		m.equal(m.new.text)
		m.equal(skipCommon(m.base.split, m.new.split))
		return both(m.base.advance(), m.new.advance())
	}
	if err := m.new.parse(); err != nil {
		return errors.Join(m.base.parse(), err)
	}
	m.base.follow(&m.new)
	if err := m.same(&m.new.rec); err != nil {
		return err
	}
	return both(m.base.advance(), m.new.advance())
}

// skipCommon moves both splitters past what their buffers have in common, up to a separator, and returns that.
func skipCommon(a, b *splitter) []byte {
	n := commonPrefix(a.buf[a.pos:a.end], b.buf[b.pos:b.end])
	text := b.buf[b.pos : b.pos+n]
	text = text[:bytes.LastIndexByte(text, b.sep)+1]
	lines := bytes.Count(text, []byte{b.sep})
	for _, s := range []*splitter{a, b} {
		s.pos += len(text)
		s.line += lines
	}
	return text
}

func (m *merge) differing() error {
	if err := both(m.base.parse(), m.new.parse()); err != nil {
		return err
	}
	order := 0
	switch {
	case m.base.end:
		order = 1
	case m.new.end:
		order = -1
	default:
		order = bytes.Compare(m.base.rec.Name, m.new.rec.Name)
	}
	var base, new *Record
	if order <= 0 {
		base = &m.base.rec
	}
	if order >= 0 {
		new = &m.new.rec
	}
	if err := m.differ(base, new); err != nil {
		return err
	}
	var err1, err2 error
	if order <= 0 {
		err1 = m.base.advance()
	}
	if order >= 0 {
		err2 = m.new.advance()
	}
	return both(err1, err2)
}

// both is errors.Join for the inner loop.
func both(err1, err2 error) error {
	if err1 == nil && err2 == nil {
		return nil
	}
	return errors.Join(err1, err2)
}

// advance reads the next record and leaves it unparsed.
func (s *side) advance() (err error) {
	s.parsed = false
	s.text, err = s.split.next()
	if s.end = err == io.EOF; s.end {
		return nil
	}
	if err != nil {
		return s.split.wrap(err)
	}
	return nil
}

// parse parses the record unless that is done. Layers have no names that look like their deletions.
func (s *side) parse() error {
	if s.parsed || s.end {
		return nil
	}
	s.parsed = true
	if err := s.Scanner.parse(s.text); err != nil {
		return s.split.wrap(err)
	}
	if IsWhiteout(s.rec.Name) {
		return s.Wrap(errReserved)
	}
	return nil
}

// follow does what parse does, for a record of base that is equal to the parsed one of new. It is in order: what base had
// before was not after this one of new, or is equal to one that new had before.
func (s *side) follow(new *side) {
	if !s.parsed {
		s.parsed = true
		s.order.take(new.rec.Name)
	}
}
