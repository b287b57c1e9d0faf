package compress

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"time"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
)

// sizes bound a gzip member's uncompressed size, in bytes. Only the last one may be shorter than least.
type sizes struct{ least, most int }

// layerSizes is what members are cut to, and the cuts give an average of 340 KiB. A tar of Go's sources (60
// MB) was this much larger than as one member, and one changed file made this much of it new, of 13 MB:
//
//	 64 to  256 KiB  +1.4%   33 KB
//	128 to  512 KiB  +0.8%   96 KB
//	256 to 1024 KiB  +0.4%  160 KB
//
// GNU gzip pays 1.1% for --rsyncable there. Twice the size would also be twice the memory.
var layerSizes = sizes{128 << 10, 512 << 10}

const (
	// unitHead is how many bytes after a boundary decide whether to cut there: a tar header, so that new
	// content of the same size does not move a cut.
	unitHead = 512
	// gearReach is how many bytes a gear hash of 64 bits remembers.
	gearReach = 64
	// mostMembers bounds the members in flight, at about 2 MiB each.
	mostMembers = 16
)

// members is method "gzip": independent members (RFC 1952, 2.2), each compressed by a goroutine of
// its own and written in order. The goroutines touch nothing but their member and always end, so an
// abandoned writer leaves nothing behind; w is used only by the caller's goroutine.
type members struct {
	w       io.Writer
	level   int
	sizes   sizes
	gear    [256]uint64
	filling *member
	flying  []*member // being compressed, oldest first
	spare   []*member
	limit   int    // of len(flying)
	marks   []int  // offsets in filling of the boundaries, increasing
	any     bool   // a member was begun
	whole   *whole // if not nil, all pieces are one member
}

// whole is what a single member has of its own.
type whole struct {
	begun bool
	crc   uint32
	size  uint32 // mod 2^32
}

// bareHeader begins a member (RFC 1952, 2.3): no name, no time, and 255 (unknown) as its system.
var bareHeader = []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255}

// A member is the memory for one piece of the stream, used again and again.
type member struct {
	in   []byte
	out  bytes.Buffer
	gzip *gzip.Writer
	part *flate.Writer // instead, where the member is a part of a whole one
	err  error
	done chan struct{}
}

func newMembers(w io.Writer, level, threads int, s sizes) *members {
	if level == 0 {
		level = 6
	}
	m := &members{w: w, level: level, sizes: s, gear: gearTable()}
	m.limit = min(threads+1, mostMembers) // one more than threads: they work on while the caller writes
	m.filling = m.newMember()
	return m
}

func (m *members) newMember() *member {
	return &member{in: make([]byte, 0, m.sizes.most+unitHead), done: make(chan struct{}, 1)}
}

func (m *members) boundary() {
	at := len(m.filling.in)
	if at == 0 || len(m.marks) > 0 && m.marks[len(m.marks)-1] == at {
		return
	}
	m.marks = append(m.marks, at)
}

// Write decides on a cut only when it has seen all bytes that may take part in the decision, so that
// the sizes of writes do not matter.
func (m *members) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		in := m.filling.in
		k := copy(in[len(in):cap(in)], p)
		m.filling.in = in[:len(in)+k]
		p = p[k:]
		n += k
		if len(m.filling.in) == cap(in) {
			if err := m.cut(); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// Close ends the stream. It waits for every goroutine even after an error.
func (m *members) Close() (err error) {
	for err == nil && len(m.filling.in) > m.sizes.most {
		err = m.cut()
	}
	if err == nil && (len(m.filling.in) > 0 || !m.any) {
		m.start(m.filling)
	}
	for len(m.flying) > 0 {
		if e := m.land(err == nil); err == nil {
			err = e
		}
	}
	if err == nil && m.whole != nil {
		err = m.write(m.whole.end())
	}
	return err
}

// cut sends the front of filling to be compressed and keeps the rest.
func (m *members) cut() error {
	full := m.filling
	at := m.place(full.in)
	if len(m.flying) == m.limit {
		if err := m.land(true); err != nil {
			return err
		}
	}
	next := m.take()
	next.in = append(next.in[:0], full.in[at:]...)
	full.in = full.in[:at]
	m.filling = next
	m.moveMarks(at)
	m.start(full)
	return nil
}

func (m *members) take() *member {
	if last := len(m.spare) - 1; last >= 0 {
		p := m.spare[last]
		m.spare = m.spare[:last]
		return p
	}
	return m.newMember()
}

// moveMarks makes the marks relative to at and drops those before it.
func (m *members) moveMarks(at int) {
	kept := m.marks[:0]
	for _, mark := range m.marks {
		if mark > at {
			kept = append(kept, mark-at)
		}
	}
	m.marks = kept
}

func (m *members) start(p *member) {
	m.any = true
	m.flying = append(m.flying, p)
	if m.whole != nil {
		go p.compressPart(m.level)
	} else {
		go p.compress(m.level)
	}
}

// land waits for the oldest member and writes it, if write is set.
func (m *members) land(write bool) error {
	p := m.flying[0]
	m.flying = append(m.flying[:0], m.flying[1:]...)
	<-p.done
	m.spare = append(m.spare, p)
	if !write || p.err != nil {
		return p.err
	}
	if m.whole != nil {
		if err := m.write(m.whole.add(p.in)); err != nil {
			return err
		}
	}
	return m.write(p.out.Bytes())
}

func (m *members) write(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	n, err := m.w.Write(b)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	return err
}

// add takes note of a part and returns what comes before it.
func (w *whole) add(in []byte) (before []byte) {
	w.crc = crc32.Update(w.crc, crc32.IEEETable, in)
	w.size += uint32(len(in))
	if !w.begun {
		w.begun, before = true, bareHeader
	}
	return before
}

// end is an empty last block, with the codes that DEFLATE fixes (RFC 1951, 3.2.6), and the trailer.
func (w *whole) end() []byte {
	b := []byte{3, 0}
	b = binary.LittleEndian.AppendUint32(b, w.crc)
	return binary.LittleEndian.AppendUint32(b, w.size)
}

// compressPart makes blocks of which none is the last one, and which end with a byte.
func (p *member) compressPart(level int) {
	defer func() { p.done <- struct{}{} }()
	p.out.Reset()
	if p.part == nil {
		if p.part, p.err = flate.NewWriter(&p.out, level); p.err != nil {
			return
		}
	} else {
		p.part.Reset(&p.out)
	}
	if _, p.err = p.part.Write(p.in); p.err == nil {
		p.err = p.part.Flush()
	}
}

// compress makes a member with a bare header: no name, no time, and 255 (unknown) as its system.
func (p *member) compress(level int) {
	defer func() { p.done <- struct{}{} }()
	p.out.Reset()
	if p.gzip == nil {
		if p.gzip, p.err = gzip.NewWriterLevel(&p.out, level); p.err != nil {
			return
		}
	} else {
		p.gzip.Reset(&p.out)
	}
	p.gzip.ModTime = time.Unix(0, 0) // the package writes a zero Time's seconds since 1970, cut to 32 bits
	if _, p.err = p.gzip.Write(p.in); p.err == nil {
		p.err = p.gzip.Close()
	}
}

// place says where the member that begins with in ends: at the boundary with the smallest hash of what
// follows it; between least and most without one, at the smallest rolling hash. As the smallest of
// all places in reach is not counted from the start, two streams that differ before soon cut at the same
// places again. Among equals the last wins: constant data gives few members.
func (m *members) place(in []byte) int {
	at, best := 0, uint32(1<<32-1)
	for _, mark := range m.marks {
		if mark < m.sizes.least || mark > m.sizes.most {
			continue
		}
		if h := crc32.ChecksumIEEE(in[mark:min(mark+unitHead, len(in))]); h <= best {
			at, best = mark, h
		}
	}
	if at > 0 {
		return at
	}
	return m.roll(in)
}

// roll finds the smallest gear hash (Xia et al., "Ddelta", 2014) between least and most.
func (m *members) roll(in []byte) int {
	var h uint64
	first := m.sizes.least - gearReach
	for _, b := range in[first:m.sizes.least] {
		h = h<<1 + m.gear[b]
	}
	at, best := m.sizes.least, h
	for i, b := range in[m.sizes.least:m.sizes.most] {
		h = h<<1 + m.gear[b]
		if h <= best {
			at, best = m.sizes.least+i+1, h
		}
	}
	return at
}

// gearTable is 256 random numbers, those of splitmix64 from seed 0. They decide where members are cut, so
// other numbers would be other bytes for the same input.
func gearTable() (t [256]uint64) {
	var x uint64
	for i := range t {
		x += 0x9e3779b97f4a7c15
		z := (x ^ x>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		t[i] = z ^ z>>31
	}
	return t
}
