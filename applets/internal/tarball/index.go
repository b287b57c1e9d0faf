package tarball

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"io"
	"slices"
	"strings"

	"github.com/ctbox/ctbox/applets/internal/spool"
)

// An index has, for each name in a tar, where its entries begin, sorted by name, then by place. Memory does not grow with
// it, but for a mark every markEvery bytes.
//
// A record is the length of the name and the place, both as varints, a byte that is the type flag, and the name.
type index struct {
	runs   []run // sorted parts, while it is made
	spool  spool.Spool
	sorted spool.Spool // all of them in order
	marks  []mark

	fresh []byte // records that are not in a run yet
	heads []int  // where they begin
	text  []byte // of the record that was put last
}

// sizes in bytes
const (
	runSize   = 4 << 20  // of the records that are sorted at once
	markEvery = 16 << 10 // of a sorted index
	readAhead = 96 << 10 // of a run or index: more than a record has, whose name is at most list.MaxName
)

type run struct{ from, to int64 }

// A mark is the place of a record in the sorted index.
type mark struct {
	name string
	at   int64
}

// implied is the place of a directory that is there because of a name below it. Those that the tar has win.
const implied = -1

// record is one of an index.
type record struct {
	name []byte
	at   int64 // of the entry's first header
	kind byte
}

func (r *record) append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(r.name)))
	b = binary.AppendVarint(b, r.at)
	return append(append(b, r.kind), r.name...)
}

// parse reads a record at the start of b, and returns its size, or 0 if b ends before it does.
func (r *record) parse(b []byte) int {
	length, n := binary.Uvarint(b)
	at, m := binary.Varint(b[max(n, 0):])
	end := n + m + 1 + int(length)
	if n <= 0 || m <= 0 || len(b) < end {
		return 0
	}
	r.at, r.kind, r.name = at, b[n+m], b[end-int(length):end]
	return end
}

func (r *record) compare(other *record) int {
	if c := bytes.Compare(r.name, other.name); c != 0 {
		return c
	}
	return cmp.Compare(r.at, other.at)
}

// add adds a record, in any order.
func (x *index) add(r record) error {
	x.heads = append(x.heads, len(x.fresh))
	x.fresh = r.append(x.fresh)
	if len(x.fresh) < runSize {
		return nil
	}
	return x.flush()
}

// flush makes a run of the fresh records.
func (x *index) flush() error {
	if len(x.heads) == 0 {
		return nil
	}
	slices.SortFunc(x.heads, func(a, b int) int {
		var p, q record
		p.parse(x.fresh[a:])
		q.parse(x.fresh[b:])
		return p.compare(&q)
	})
	from := x.spool.Size()
	for _, at := range x.heads {
		var r record
		n := r.parse(x.fresh[at:])
		if _, err := x.spool.Write(x.fresh[at : at+n]); err != nil {
			return err
		}
	}
	x.runs = append(x.runs, run{from, x.spool.Size()})
	x.fresh, x.heads = x.fresh[:0], x.heads[:0]
	return nil
}

// sort ends the adding, and calls see for each record in order.
func (x *index) sort(see func(*record) error) error {
	if err := x.flush(); err != nil {
		return err
	}
	var m merger
	for _, r := range x.runs {
		c := &cursor{from: io.NewSectionReader(&x.spool, r.from, r.to-r.from)}
		if err := c.next(); err != nil {
			return err
		}
		m = append(m, c)
	}
	m.order()
	for len(m) > 0 {
		if err := x.put(&m[0].rec); err != nil {
			return err
		}
		if err := see(&m[0].rec); err != nil {
			return err
		}
		if err := m.advance(); err != nil {
			return err
		}
	}
	x.spool.Close()
	x.runs, x.fresh, x.heads = nil, nil, nil
	return nil
}

// put adds a record that belongs after all that were put before.
func (x *index) put(r *record) error {
	at := x.sorted.Size()
	if n := len(x.marks); n == 0 || at-x.marks[n-1].at >= markEvery {
		x.marks = append(x.marks, mark{string(r.name), at})
	}
	x.text = r.append(x.text[:0])
	_, err := x.sorted.Write(x.text)
	return err
}

func (x *index) close() {
	x.spool.Close()
	x.sorted.Close()
}

// before is the place of a record from which on name may be.
func (x *index) before(name []byte) int64 {
	i, _ := slices.BinarySearchFunc(x.marks, name, func(m mark, name []byte) int { return strings.Compare(m.name, string(name)) })
	if i == 0 {
		return 0
	}
	return x.marks[i-1].at
}

// A cursor reads records in order.
type cursor struct {
	from io.Reader
	buf  []byte
	pos  int
	rec  record // valid until next
	end  bool
}

func (c *cursor) next() error {
	n := c.rec.parse(c.buf[c.pos:])
	if n == 0 {
		if err := c.refill(); err != nil {
			return err
		}
		n = c.rec.parse(c.buf)
	}
	c.end = n == 0
	c.pos += n
	return nil
}

// refill moves on to where the next record is whole.
func (c *cursor) refill() error {
	rest := copy(c.buf, c.buf[c.pos:])
	c.buf, c.pos = slices.Grow(c.buf[:rest], readAhead-rest)[:readAhead], 0
	n, err := io.ReadFull(c.from, c.buf[rest:])
	c.buf = c.buf[:rest+n]
	if err == io.ErrUnexpectedEOF {
		err = io.EOF
	}
	if err == io.EOF {
		err = nil
	}
	return err
}

// A finder finds records of an index. It is made for names that come in order, each perhaps several times.
type finder struct {
	index *index
	cursor

	last  []byte // the name that was found last
	limit int64
	found record // without its name
	ok    bool
}

// find gives the last entry of name whose place is before limit.
func (f *finder) find(name []byte, limit int64) (at int64, kind byte, ok bool, err error) {
	if !bytes.Equal(f.last, name) || f.limit != limit {
		if err := f.look(name, limit); err != nil {
			f.last = f.last[:0]
			return 0, 0, false, err
		}
		f.last, f.limit = append(f.last[:0], name...), limit
	}
	return f.found.at, f.found.kind, f.ok, nil
}

// look goes on from where it is or, if that is too far, from the mark before name.
func (f *finder) look(name []byte, limit int64) (err error) {
	f.ok = false
	if f.from == nil || f.end || bytes.Compare(f.rec.name, name) > 0 {
		f.cursor = cursor{from: section(&f.index.sorted, f.index.before(name)), buf: f.buf[:0]}
		err = f.next()
	}
	for ; err == nil && !f.end; err = f.next() {
		switch c := bytes.Compare(f.rec.name, name); {
		case c > 0:
			return nil
		case c == 0 && f.rec.at < limit && f.rec.kind <= FIFO:
			f.found, f.ok = record{at: f.rec.at, kind: f.rec.kind}, true
		}
	}
	return err
}

// walk calls each for all names, in order.
func (x *index) walk(each func(name []byte) error) error {
	c := cursor{from: section(&x.sorted, 0)}
	var last []byte
	for {
		if err := c.next(); err != nil || c.end {
			return err
		}
		if bytes.Equal(last, c.rec.name) {
			continue
		}
		last = append(last[:0], c.rec.name...)
		if err := each(last); err != nil {
			return err
		}
	}
}

// A merger is a heap of cursors: that with the lowest record comes first.
type merger []*cursor

func (m merger) order() {
	for i := len(m) / 2; i >= 0; i-- {
		m.sink(i)
	}
}

func (m merger) sink(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(m); child++ {
			if m[child].rec.compare(&m[least].rec) < 0 {
				least = child
			}
		}
		if least == i {
			return
		}
		m[i], m[least] = m[least], m[i]
		i = least
	}
}

// advance moves the first cursor on.
func (m *merger) advance() error {
	h := *m
	if err := h[0].next(); err != nil {
		return err
	}
	if h[0].end {
		h[0] = h[len(h)-1]
		h = h[:len(h)-1]
	}
	h.sink(0)
	*m = h
	return nil
}
