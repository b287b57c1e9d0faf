package compress

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
)

// sizes bound a gzip member's uncompressed size, in bytes. Only the last one may be shorter than least.
type sizes struct{ least, most int }

// layerSizes is what members are cut to, and the cuts give an average of 340 KiB. A tar of Go's sources (137
// MB) was this much larger than in members of 64 MiB, and for one changed file rsync(1) sent this much, of 32 MB:
//
//	 64 to  256 KiB  +1.3%   51 KB
//	128 to  512 KiB  +0.7%   50 KB
//	256 to 1024 KiB  +0.3%   79 KB
//
// GNU gzip pays 1.1% for --rsyncable there, for 31 KB. Twice the size would also be twice the memory.
var layerSizes = sizes{128 << 10, 512 << 10}

const (
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
	entries entries // of filling
	filling *member
	flying  []*member // being compressed, oldest first
	spare   []*member
	limit   int    // of len(flying)
	any     bool   // a member was begun
	whole   *whole // if not nil, all pieces are one member
	reuse   *Reuse // may be nil
	written int    // members
	copied  int    // of them, from reuse
	err     error  // of w: nothing may come after what is missing
}

// A member is the memory for one piece of the stream, used again and again.
type member struct {
	in     []byte
	marks  []int // offsets of entries in it
	out    bytes.Buffer
	part   bool // of a whole
	reused bool // it was copied
	flate  *flate.Writer
	unpack gzip.Reader
	err    error
	done   chan struct{}
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
	return &member{in: make([]byte, 0, m.sizes.most+blockSize), done: make(chan struct{}, 1)}
}

func (m *members) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		k := copy(m.free(), p)
		p = p[k:]
		n += k
		if err := m.add(k); err != nil {
			return n, err
		}
	}
	return n, nil
}

// readFrom takes all of r, without another buffer between.
func (m *members) readFrom(r io.Reader) error {
	for {
		n, err := r.Read(m.free())
		if e := m.add(n); e != nil {
			return e
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// free is the room for what add adds; there always is some.
func (m *members) free() []byte {
	in := m.filling.in
	return in[len(in):cap(in)]
}

// add decides on a cut only when it has seen all bytes that may take part in the decision, so that
// the sizes of writes do not matter.
func (m *members) add(n int) error {
	in := m.filling.in
	m.filling.in = in[:len(in)+n]
	if len(m.filling.in) < cap(in) {
		return nil
	}
	return m.cut()
}

// Close ends the stream. It waits for every goroutine even after an error.
func (m *members) Close() error {
	err := m.err
	for err == nil && len(m.filling.in) > m.sizes.most {
		err = m.cut()
	}
	if err == nil && (len(m.filling.in) > 0 || !m.any) {
		m.entries.scan(m.filling.in)
		m.start(m.filling)
	}
	for err == nil && len(m.flying) > 0 {
		err = m.land()
	}
	m.wait()
	if err == nil && m.whole != nil {
		err = m.write(m.whole.end())
	}
	return err
}

// abandon ends the stream in the middle of a member: the members before would be whole without the rest.
func (m *members) abandon() {
	m.wait()
	if m.err == nil && (m.whole == nil || m.whole.length == 0) {
		m.w.Write([]byte(GzipHeader)) // there is an error already
	}
}

// wait waits for goroutines whose work is not needed.
func (m *members) wait() {
	for _, p := range m.flying {
		<-p.done
	}
	m.flying = nil
}

// cut sends the front of filling to be compressed and keeps the rest.
func (m *members) cut() error {
	full := m.filling
	at := m.place(full.in)
	if len(m.flying) == m.limit {
		if err := m.land(); err != nil {
			return err
		}
	}
	next := m.take()
	next.in = append(next.in[:0], full.in[at:]...)
	full.in = full.in[:at]
	m.filling = next
	m.start(full)
	m.entries.shift(at)
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

func (m *members) start(p *member) {
	if !m.any && bytes.HasPrefix(p.in, []byte("07070")) {
		m.whole = new(whole)
	}
	m.any = true
	p.marks = m.entries.in(p.marks, len(p.in))
	m.flying = append(m.flying, p)
	p.part = m.whole != nil
	go p.compress(m.level, m.reuse)
}

// land waits for the oldest member and writes it.
func (m *members) land() error {
	p := m.flying[0]
	m.flying = append(m.flying[:0], m.flying[1:]...)
	<-p.done
	m.spare = append(m.spare, p)
	if p.err != nil {
		return p.err
	}
	if m.whole != nil {
		if err := m.write(m.whole.add(p)); err != nil {
			return err
		}
	} else {
		m.written++
	}
	if p.reused {
		m.copied++
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
	m.err = err
	return err
}

// compress makes a member, or a part of a whole: blocks of which none is the last one, and which end with a byte.
func (p *member) compress(level int, reuse *Reuse) {
	defer func() { p.done <- struct{}{} }()
	p.out.Reset()
	var end []byte
	if !p.part {
		end = trailer(crc32.ChecksumIEEE(p.in), uint32(len(p.in)))
		if p.reused = p.copied(reuse, end); p.reused {
			return
		}
		p.out.Reset()
	}
	if p.flate == nil {
		if p.flate, p.err = flate.NewWriter(&p.out, level); p.err != nil {
			return
		}
	} else {
		p.flate.Reset(&p.out)
	}
	if p.part {
		p.flate.Write(p.in) // to memory, so without error
		p.flate.Flush()
		return
	}
	p.out.WriteString(GzipHeader)
	p.pack()
	p.flate.Close()
	p.out.Write(end)
}

// pack compresses a member such that rsync(1) finds again what comes after a change: an entry begins with a byte, and in a block
// of its own. After the window of 32 KiB, nothing else before it shows. To do so costs less than it saves, as entries differ,
// but between small ones.
func (p *member) pack() {
	const large = 4 << 10
	begun, last := 0, 0
	for _, mark := range p.marks {
		if mark-last >= large {
			p.flate.Write(p.in[begun:mark]) // to memory, so without error
			p.flate.Flush()
			begun = mark
		}
		last = mark
	}
	p.flate.Write(p.in[begun:])
}

// trailerLen is the length of a trailer, in bytes.
const trailerLen = 8

// trailer ends a member; size is that of its content mod 2^32.
func trailer(crc, size uint32) []byte {
	return binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, crc), size)
}

// whole is what a single member of many parts has of its own.
type whole struct {
	crc, size uint32 // of the content
	length    int    // bytes written
}

// add takes note of a part and returns what comes before it.
func (w *whole) add(p *member) (before []byte) {
	if w.length == 0 {
		before = []byte(GzipHeader)
	}
	w.crc = crc32.Update(w.crc, crc32.IEEETable, p.in)
	w.size += uint32(len(p.in))
	w.length += len(before) + p.out.Len()
	return before
}

// end is a last block without content, or a few, of 2 to 5 bytes, and the trailer: they make the length a multiple of 4. The
// first three are one, two and three blocks with the codes that DEFLATE fixes, the last one is stored (RFC 1951, 3.2.4, 3.2.6).
func (w *whole) end() []byte {
	ends := [4]string{"\x02\x08\x30\x00", "\x02\x0c\x00", "\x03\x00", "\x01\x00\x00\xff\xff"}
	return append([]byte(ends[w.length&3]), trailer(w.crc, w.size)...)
}

// place says where the member that begins with in ends: at the entry with the smallest hash of its header;
// between least and most without one, at the smallest rolling hash. As the smallest of
// all places in reach is not counted from the start, two streams that differ before soon cut at the same
// places again. Among equals the last wins: constant data gives few members.
func (m *members) place(in []byte) int {
	m.entries.scan(in)
	at, best := 0, uint32(1<<32-1)
	for _, mark := range m.entries.marks {
		if mark < m.sizes.least || mark > m.sizes.most {
			continue
		}
		if h := crc32.ChecksumIEEE(in[mark : mark+blockSize]); h <= best {
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
