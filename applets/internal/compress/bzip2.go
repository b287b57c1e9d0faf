package compress

import (
	"bufio"
	"compress/bzip2"
	"encoding/binary"
	"io"
)

// bzip2Reader reads one bzip2 stream.
type bzip2Reader struct {
	decoder io.Reader
	in      *bzip2Input
}

func newBzip2(br *bufio.Reader) *bzip2Reader {
	in := &bzip2Input{br: br, left: -1}
	return &bzip2Reader{bzip2.NewReader(in), in}
}

func (z *bzip2Reader) Read(p []byte) (int, error) {
	z.in.begins = true
	return z.in.explain(z.decoder.Read(p))
}

// bzip2Input keeps the decoder from reading beyond the end of its stream. The end is marked by 48 bits that are
// aligned to nothing, but the decoder looks for them only where a block could begin: with the first byte that
// it takes in a Read. It has then up to 7 bits left of the byte before.
type bzip2Input struct {
	br     *bufio.Reader
	begins bool // the next byte is the first one in a Read
	taken  int64
	last   byte // the one before
	left   int  // bytes until the end, or -1: not known yet
	err    error
}

// Read makes it an io.Reader; the decoder prefers ReadByte.
func (in *bzip2Input) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	b, err := in.ReadByte()
	if err != nil {
		return 0, err
	}
	p[0] = b
	return 1, nil
}

// ReadByte gives the decoder the next byte of the stream.
func (in *bzip2Input) ReadByte() (byte, error) {
	if in.left < 0 && (in.begins || in.taken == int64(len("BZh9"))) {
		in.look()
	}
	if in.left == 0 {
		return 0, io.EOF
	}
	b, err := in.br.ReadByte()
	if err != nil {
		in.err = early(err)
		return 0, in.err
	}
	in.begins, in.last = false, b
	in.taken++
	if in.left > 0 {
		in.left--
	}
	return b, nil
}

// look looks for the end mark, with 0 to 7 of its bits in the last byte. A checksum of 32 bits and up to 7
// bits of padding follow.
func (in *bzip2Input) look() {
	b, err := in.br.Peek(10)
	if err != nil {
		return
	}
	ahead := binary.BigEndian.Uint64(b)
	for k := range 8 {
		if bits := uint64(in.last)<<(64-k) | ahead>>k; bits>>16 == 0x177245385090 {
			in.left = 10
		}
	}
}

// explain prefers the reason why the input could not be read to what the decoder made of it.
func (in *bzip2Input) explain(n int, err error) (int, error) {
	if err != nil && in.err != nil {
		err = in.err
	}
	return n, err
}
