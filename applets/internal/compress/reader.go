package compress

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

const (
	// sniffLen is the longest magic number: bzip2's with its first block.
	sniffLen = 10
	// mostWindow is the largest zstd window accepted, in bytes: zstd(1)'s own limit for -d, that of --long=27.
	mostWindow = 128 << 20
)

// foreign are formats that are told apart from plain data only to refuse them. lzma's first bytes could
// be a file's name in a tar, so it is not here.
var foreign = [...]struct{ magic, name string }{
	{"\x04\x22\x4d\x18", "lz4 frame"},
	{"\x89LZO", "lzo"},
	{"LZIP\x01", "lzip"},
	{"\x1f\x9d", "compress"},
}

// NewReader returns a reader of r's content and the method it found by r's first bytes: "gzip" (one or
// more members, and nothing after them), "zstd" (one or more frames), "xz", "bzip2", "lz4" (one or more
// streams, lz4's in its legacy format), or "none": r as it is. Other compressions that it knows are an
// error that names them. Input that ends too early is io.ErrUnexpectedEOF. Close frees the decoder; it
// does not close r.
func NewReader(r io.Reader) (io.ReadCloser, string, error) {
	src := &source{r: r}
	br := bufio.NewReaderSize(src, 64<<10)
	head, err := br.Peek(sniffLen)
	if err != nil && err != io.EOF {
		return nil, "", err
	}
	method := sniff(head)
	switch method {
	case "none":
		return io.NopCloser(br), method, nil
	case "gzip":
		zr, err := gzip.NewReader(br)
		if err != nil {
			return nil, "", src.explain(method, early(err))
		}
		zr.Multistream(false)
		return &gzipReader{zr, br, src}, method, nil
	case "zstd":
		zr, err := newZstd(br)
		if err != nil {
			return nil, "", src.explain(method, err)
		}
		return &zstdReader{zr, src}, method, nil
	}
	z, err := newStream(br, method)
	if err != nil {
		return nil, "", src.explain(method, err)
	}
	return &joined{z, br, method}, method, nil
}

// A source remembers why reading it failed, because that is no fault of the format.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// explain says what err, from a decoder, means for the user.
func (s *source) explain(method string, err error) error {
	if err != nil && err != io.EOF && s.err != nil {
		return s.err
	}
	return describe(method, err)
}

// sniff names the format that data with this head has.
func sniff(head []byte) string {
	switch {
	case bytes.HasPrefix(head, []byte("\x1f\x8b")):
		return "gzip"
	case bytes.HasPrefix(head, []byte("\x28\xb5\x2f\xfd")):
		return "zstd"
	case len(head) >= 4 && head[0]&0xf0 == 0x50 && string(head[1:4]) == "\x2a\x4d\x18":
		return "zstd" // a skippable frame comes first (RFC 8878, 3.1.2)
	case bytes.HasPrefix(head, []byte("\xfd7zXZ\x00")):
		return "xz"
	case bytes.HasPrefix(head, []byte(lz4Magic)):
		return "lz4"
	case isBzip2(head):
		return "bzip2"
	}
	for _, f := range foreign {
		if bytes.HasPrefix(head, []byte(f.magic)) {
			return f.name
		}
	}
	return "none"
}

// isBzip2 wants the magic of the first block, or of the end of an empty stream, too: text may begin "BZh1".
func isBzip2(head []byte) bool {
	if len(head) < sniffLen || string(head[:3]) != "BZh" {
		return false
	}
	block := string(head[4:])
	return block == "\x31\x41\x59\x26\x53\x59" || block == "\x17\x72\x45\x38\x50\x90"
}

// gzipReader reads member after member. It does not embed the decoder, whose WriteTo would read only one.
type gzipReader struct {
	decoder *gzip.Reader
	br      *bufio.Reader
	src     *source
}

// Close does not repeat the error that Read gave, as the decoder would.
func (z *gzipReader) Close() error { z.decoder.Close(); return nil }

func (z *gzipReader) Read(p []byte) (int, error) {
	for {
		n, err := z.decoder.Read(p)
		if n > 0 && err == io.EOF {
			return n, nil // the end is met again by the next Read
		}
		if err == io.EOF {
			if err = z.next(); err == nil {
				continue
			}
		}
		return n, z.src.explain("gzip", err)
	}
}

// next begins the next member. The decoder's own way to do so would take a few bytes of garbage for a
// header that is cut off.
func (z *gzipReader) next() error {
	head, err := z.br.Peek(2)
	switch {
	case len(head) == 0:
		return err
	case sniff(head) != "gzip":
		return errors.New("gzip: garbage after the last member")
	}
	if err := z.decoder.Reset(z.br); err != nil {
		return early(err)
	}
	z.decoder.Multistream(false)
	return nil
}

// joined reads stream after stream of one method.
type joined struct {
	io.ReadCloser
	br     *bufio.Reader
	method string
}

func (z *joined) Read(p []byte) (int, error) {
	for {
		n, err := z.ReadCloser.Read(p)
		if n > 0 && err == io.EOF {
			return n, nil // the end is met again by the next Read
		}
		if err == io.EOF {
			if err = z.next(); err == nil {
				continue
			}
		}
		return n, err
	}
}

// next begins the next stream. xz allows padding before it (The .xz File Format 1.2.1, 2.2).
func (z *joined) next() error {
	head, err := z.br.Peek(4)
	for z.method == "xz" && string(head) == "\x00\x00\x00\x00" {
		z.br.Discard(len(head))
		head, err = z.br.Peek(4)
	}
	if len(head) == 0 {
		return err
	}
	if head, err = z.br.Peek(sniffLen); sniff(head) != z.method {
		if err != nil && err != io.EOF {
			return err
		}
		return fmt.Errorf("%s: garbage after the last stream", z.method)
	}
	next, err := newStream(z.br, z.method)
	if err == nil {
		z.ReadCloser = next
	}
	return err
}

// zstdReader has the Close of an io.Closer.
type zstdReader struct {
	decoder *zstd.Decoder
	src     *source
}

func (z *zstdReader) Close() error { z.decoder.Close(); return nil }

func (z *zstdReader) Read(p []byte) (int, error) {
	n, err := z.decoder.Read(p)
	return n, z.src.explain("zstd", err)
}

// early is the error for input that ends where a header must be.
func early(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
