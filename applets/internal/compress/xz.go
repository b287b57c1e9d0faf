package compress

import "encoding/binary"

// xzPieces are the pieces of one xz stream (The .xz File Format 1.2.1). LZMA2, always the last filter of a
// block, is made of chunks that tell their lengths.
type xzPieces struct {
	check  int64 // length in bytes of a block's check
	length int64 // of the current block's compressed data
	fields int64 // numbers in the index not read yet
	index  int64 // length of the index so far
}

// header is the stream header (2.1.1): magic, flags and a CRC.
func (x *xzPieces) header(p *pieces) (int64, piece) {
	// The length by the low four bits of the flags' second byte (2.1.1.2).
	x.check = [16]int64{0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64}[p.peek(12)[7]&15]
	return 12, x.block
}

// block is a block's header (3.1), or where the first byte of one would be 0, the index.
func (x *xzPieces) block(p *pieces) (int64, piece) {
	size := int64(p.peek(1)[0])
	if size == 0 {
		x.index, x.fields = 1, -1
		return 1, x.number
	}
	x.length = 0
	return (size + 1) * 4, x.chunk
}

// chunk is one of LZMA2. After a control byte that is not defined nothing can be found; the decoder says so.
func (x *xzPieces) chunk(p *pieces) (length int64, next piece) {
	switch control := p.peek(1)[0]; {
	case control == 0:
		x.length++
		return 1, x.endOfBlock
	case control >= 0x80:
		length = 5 + int64(binary.BigEndian.Uint16(p.peek(5)[3:])) + 1
		if control >= 0xc0 {
			length++ // new properties
		}
	case control <= 2: // not compressed
		length = 3 + int64(binary.BigEndian.Uint16(p.peek(3)[1:])) + 1
	default:
		return 1, nil
	}
	x.length += length
	return length, x.chunk
}

// endOfBlock is padding and check (3.3, 3.4), which may both be empty.
func (x *xzPieces) endOfBlock(p *pieces) (int64, piece) {
	if length := -x.length&3 + x.check; length > 0 {
		return length, x.block
	}
	return x.block(p)
}

// number is one of the index (4): how many records, and then two for each.
func (x *xzPieces) number(p *pieces) (int64, piece) {
	if x.fields == 0 {
		return -x.index&3 + 4 + 12, nil // padding, CRC, and the stream footer
	}
	n, v := int64(0), uint64(0)
	for more := true; more && n < 9; n++ {
		b := p.peek(int(n) + 1)[n]
		v |= uint64(b&0x7f) << (7 * n)
		more = b >= 0x80
	}
	if x.fields < 0 {
		x.fields = 2 * int64(min(v, 1<<60))
	} else {
		x.fields--
	}
	x.index += n
	return n, x.number
}
