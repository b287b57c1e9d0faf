package compress

import "strings"

// blockSize is the unit of a tar, in bytes: headers are one block and begin at a multiple of it.
const blockSize = 512

// entries finds where the entries of a tar begin, in a part of a stream after another. It looks at every block, and goes by no
// sizes: so it needs to know none of the ways to write them, finds the entries of the layers in an image
// as well, and finds itself again after anything else. A file with such a header in it costs a worse cut.
type entries struct {
	marks []int // offsets of entries, increasing
	next  int   // offset of the first block that was not looked at
	joint bool  // the next header goes on with the last entry
}

// scan looks at the blocks of in that are complete.
func (e *entries) scan(in []byte) {
	for ; e.next+blockSize <= len(in); e.next += blockSize {
		b := in[e.next : e.next+blockSize]
		if !isHeader(b) {
			continue
		}
		if !e.joint {
			e.marks = append(e.marks, e.next)
		}
		e.joint = strings.IndexByte("xgLK", b[156]) >= 0 // POSIX's headers before a header, and GNU's
	}
}

// in is what begins before end, in the memory of to.
func (e *entries) in(to []int, end int) []int {
	to = to[:0]
	for _, mark := range e.marks {
		if mark < end {
			to = append(to, mark)
		}
	}
	return to
}

// shift makes offsets relative to at.
func (e *entries) shift(at int) {
	kept := e.marks[:0]
	for _, mark := range e.marks {
		if mark > at {
			kept = append(kept, mark-at)
		}
	}
	e.marks = kept
	for e.next -= at; e.next < 0; {
		e.next += blockSize // the cut was in this block
	}
}

// isHeader knows a header (POSIX.1-2017 pax, "ustar Interchange Format"; GNU's begins alike) by its magic and by
// its checksum, in which the field itself counts as spaces.
func isHeader(b []byte) bool {
	if string(b[257:262]) != "ustar" {
		return false
	}
	sum, want := 8*int(' '), 0
	for _, c := range b[:148] {
		sum += int(c)
	}
	for _, c := range b[156:] {
		sum += int(c)
	}
	for _, c := range b[148:156] {
		if c >= '0' && c <= '7' {
			want = want<<3 + int(c-'0')
		}
	}
	return sum == want
}
