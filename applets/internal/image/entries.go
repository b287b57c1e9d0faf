package image

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/ctbox/ctbox/applets/internal/compress"
)

// entryWriter hands a tar to a compressor and tells it where entries begin, as mklayer does when it compresses
// what it writes: so both give the same bytes. From the first thing on that is not a header where
// one should be it only hands on; that costs no more than worse cuts.
type entryWriter struct {
	z     *compress.Writer
	head  []byte // what has come of a header
	left  int64  // bytes before the next header
	joint bool   // the next header belongs to the entry that has begun
	lost  bool
}

func (e *entryWriter) Write(p []byte) (int, error) {
	size := len(p)
	for len(p) > 0 {
		n := len(p)
		switch {
		case e.lost:
		case e.left > 0:
			n = int(min(e.left, int64(n)))
			e.left -= int64(n)
		default:
			n = min(n, blockSize-len(e.head))
			e.head, p = append(e.head, p[:n]...), p[n:]
			if len(e.head) == blockSize {
				if err := e.header(); err != nil {
					return 0, err
				}
			}
			continue
		}
		if _, err := e.z.Write(p[:n]); err != nil {
			return 0, err
		}
		p = p[n:]
	}
	return size, nil
}

// header looks at a whole header and writes it.
func (e *entryWriter) header() error {
	size, kind, ok := parseHeader(e.head)
	if e.lost = !ok; ok {
		if !e.joint {
			e.z.Boundary()
		}
		e.joint = strings.IndexByte("xgLK", kind) >= 0
		if strings.IndexByte("123456", kind) < 0 { // types that have no content, whatever their size
			e.left = size + padding(size)
		}
	}
	return e.flush()
}

// parseHeader returns size and type of an entry; a block of zeros, a bad checksum or a size that is not octal is
// not ok.
func parseHeader(b []byte) (size int64, kind byte, ok bool) {
	want, err := octal(b[148:156])
	if err != nil {
		return 0, 0, false
	}
	for i, c := range b {
		if i >= 148 && i < 156 {
			c = ' '
		}
		want -= int64(c)
	}
	size, err = octal(b[124:136])
	return size, b[156], want == 0 && err == nil
}

func octal(b []byte) (int64, error) {
	n, err := strconv.ParseUint(string(bytes.Trim(b, " \x00")), 8, 48)
	return int64(n), err
}

func (e *entryWriter) flush() error {
	_, err := e.z.Write(e.head)
	e.head = e.head[:0]
	return err
}

// Close writes what is left and closes the compressor.
func (e *entryWriter) Close() error {
	err := e.flush()
	if e := e.z.Close(); err == nil {
		err = e
	}
	return err
}
