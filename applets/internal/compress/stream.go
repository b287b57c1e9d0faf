package compress

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/mikelolasagasti/xz"
)

// ErrNotCompressed is the error of NewStream for data that begins like no compression that is known.
var ErrNotCompressed = errors.New("not compressed in any known way")

// NewStream returns a reader of the one compressed stream that br is at, and its method: "gzip" (one member),
// "zstd" (one frame), "xz", "bzip2" (one stream) or "lz4" (the legacy format). At io.EOF br is at the first
// byte after the stream, whatever follows there. Input that ends within the stream is io.ErrUnexpectedEOF.
// Close frees the decoder; it does not touch br.
//
// An lz4 stream has no end of its own: it ends where the input ends or a zero word follows, as it does for
// Linux. What follows the payload of a kernel must therefore be cut off before.
func NewStream(br *bufio.Reader) (io.ReadCloser, string, error) {
	head, err := br.Peek(sniffLen)
	if err != nil && err != io.EOF {
		return nil, "", err
	}
	method := sniff(head)
	if method == "none" && bytes.HasPrefix(head, []byte("\x5d\x00\x00")) {
		method = "lzma"
	}
	if method == "none" {
		return nil, method, ErrNotCompressed
	}
	r, err := newStream(br, method)
	return r, method, err
}

func newStream(br *bufio.Reader, method string) (io.ReadCloser, error) {
	s := &stream{method: method, close: func() {}}
	var err error
	switch method {
	case "gzip":
		var z *gzip.Reader
		if z, err = gzip.NewReader(br); err == nil {
			z.Multistream(false)
			s.r = z
		}
	case "zstd":
		var z *zstd.Decoder
		s.pieces = newPieces(br, zstdHeader)
		if z, err = newZstd(s.pieces); err == nil {
			s.r, s.close = z, z.Close
		}
	case "xz":
		s.pieces = newPieces(br, (&xzPieces{}).header)
		s.r, err = xz.NewReader(s.pieces, 0)
	case "bzip2":
		s.r = newBzip2(br)
	case "lz4":
		s.r = &lz4Reader{br: br}
	default:
		return nil, fmt.Errorf("%s compression is not supported: unpack it first", method)
	}
	if err != nil {
		return nil, s.explain(early(err))
	}
	return s, nil
}

func newZstd(r io.Reader) (*zstd.Decoder, error) {
	return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(mostWindow))
}

// A stream is the decoder of one stream.
type stream struct {
	method string
	r      io.Reader
	pieces *pieces // what the decoder reads from, unless it is so exact that it reads br itself
	close  func()
}

func (s *stream) Close() error { s.close(); return nil }

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	return n, s.explain(err)
}

// explain prefers the reason why the input could not be read to what the decoder made of it: that of zstd takes
// any error where a frame could begin for the end.
func (s *stream) explain(err error) error {
	if err == nil || s.pieces == nil {
		return describe(s.method, err)
	}
	switch why := s.pieces.err; {
	case why == nil && err == io.EOF:
		err = errCorrupt // it ends before its end
	case why == io.ErrUnexpectedEOF:
		err = why
	case why != nil && why != io.EOF:
		return why
	}
	return describe(s.method, err)
}

// describe says what err, from a decoder, means for the user. Errors that are not about the format are
// those of the input.
func describe(method string, err error) error {
	var deflate flate.CorruptInputError
	var bz bzip2.StructuralError
	switch {
	case err == nil || err == io.EOF:
		return err
	case errors.Is(err, gzip.ErrHeader):
		err = errors.New("not a valid header")
	case errors.Is(err, gzip.ErrChecksum):
		err = errors.New("checksum or length does not match")
	case errors.As(err, &deflate):
		err = fmt.Errorf("corrupt data before byte %d", int64(deflate))
	case errors.As(err, &bz):
		err = errors.New(string(bz))
	case errors.Is(err, xz.ErrMemlimit):
		err = fmt.Errorf("dictionary of more than %d bytes", xz.DefaultDictMax)
	case errors.Is(err, xz.ErrOptions), errors.Is(err, xz.ErrUnsupportedCheck):
		err = errors.New("filter or check that is not supported")
	case errors.Is(err, xz.ErrData), errors.Is(err, xz.ErrBuf), errors.Is(err, xz.ErrFormat):
		err = errCorrupt
	case method != "zstd" && !errors.Is(err, errCorrupt) && !errors.Is(err, io.ErrUnexpectedEOF):
		return err
	}
	return fmt.Errorf("%s: %w", method, err)
}

var errCorrupt = errors.New("corrupt data")

// pieces reads one stream whose structure says where it ends, for a decoder that reads on beyond that.
type pieces struct {
	br   *bufio.Reader
	next piece // finds the next piece
	left int64 // bytes of the current piece not read yet
	err  error // why there is no more: io.EOF after the last piece
}

// A piece looks at what pieces is at and returns the length in bytes, at least 1, of what it has recognized,
// and what comes after that: nil for the end. It needs not judge the content: the decoder does.
type piece func(*pieces) (length int64, next piece)

func newPieces(br *bufio.Reader, first piece) *pieces { return &pieces{br: br, next: first} }

// peek returns the next n bytes, or zeros with p.err set.
func (p *pieces) peek(n int) []byte {
	b, err := p.br.Peek(n)
	if err != nil {
		p.err = early(err)
		return make([]byte, n)
	}
	return b
}

func (p *pieces) Read(b []byte) (int, error) {
	for p.left == 0 && p.err == nil {
		if p.next == nil {
			p.err = io.EOF
			break
		}
		p.left, p.next = p.next(p)
	}
	if p.err != nil {
		return 0, p.err
	}
	n, err := p.br.Read(b[:min(int64(len(b)), p.left)])
	p.left -= int64(n)
	if err != nil {
		p.err = early(err)
	}
	return n, p.err
}

// zstdHeader is the piece that a zstd frame begins with (RFC 8878, 3.1.1.1).
func zstdHeader(p *pieces) (int64, piece) {
	flags := p.peek(5)[4]
	single := flags >> 5 & 1
	length := 5 + int64(1-single) + []int64{0, 1, 2, 4}[flags&3]
	if size := flags >> 6; size > 0 {
		length += 1 << size
	} else {
		length += int64(single)
	}
	checksum := flags&4 != 0
	var block piece
	block = func(p *pieces) (int64, piece) {
		b := p.peek(3)
		length := int64(b[1])<<5 | int64(b[2])<<13 | int64(b[0]>>3)
		if b[0]>>1&3 == 1 { // one byte, repeated
			length = 1
		}
		switch {
		case b[0]&1 == 0:
			return 3 + length, block
		case checksum:
			return 3 + length, func(*pieces) (int64, piece) { return 4, nil }
		}
		return 3 + length, nil
	}
	return length, block
}
