// Package compress writes and reads gzip and zstd streams.
// Invariant: the same input, method and level give the same bytes, however many cores there are and
// however the input was split into writes; and memory does not grow with the data.
package compress

import (
	"errors"
	"fmt"
	"io"
	"runtime"

	"github.com/klauspost/compress/zstd"
)

// errClosed is the error of a write after Close.
var errClosed = errors.New("write after close")

// A Writer compresses what is written to it. Close must be called, after an error too.
type Writer struct {
	encoder encoder
	err     error // the first one: nothing is written after it
	closed  bool
}

// An encoder is one method. Its write must not fail after close.
type encoder = io.WriteCloser

// NewWriter returns a Writer of method "gzip", "zstd" or "none" that writes to w, which must not be used
// otherwise until Close. Level 0 is the method's default; gzip has levels 1 to 9 (6 is the default), zstd
// 1 to 22 (3), of which this library tells four apart. "none" has no levels and ignores it.
//
// gzip cuts its input where a change to it moves few bytes of the output: in a tar, between entries. A newc cpio
// is not cut, because the kernel reads only the first member of an initrd; its length is a multiple of 4, at which the
// kernel looks for another one.
func NewWriter(w io.Writer, method string, level int) (*Writer, error) {
	enc, err := newEncoder(w, method, level)
	if err != nil {
		return nil, err
	}
	return &Writer{encoder: enc}, nil
}

func newEncoder(w io.Writer, method string, level int) (encoder, error) {
	switch method {
	case "gzip":
		if level < 0 || level > 9 {
			return nil, fmt.Errorf("gzip level %d: not 1 to 9", level)
		}
		return newMembers(w, level, runtime.GOMAXPROCS(0), layerSizes), nil
	case "zstd":
		if level < 0 || level > 22 {
			return nil, fmt.Errorf("zstd level %d: not 1 to 22", level)
		}
		return newFrame(w, level, 2)
	case "none":
		return plain{w}, nil
	}
	return nil, fmt.Errorf("compression %q: not gzip, zstd or none", method)
}

// Write compresses p. An error of the underlying writer may come from a later Write, or from Close.
func (w *Writer) Write(p []byte) (int, error) {
	switch {
	case w.err != nil:
		return 0, w.err
	case w.closed:
		return 0, errClosed
	}
	n, err := w.encoder.Write(p)
	w.err = err
	return n, err
}

// Reuse makes a writer of method "gzip", at its default level, copy the members of u that it would make. It comes before the
// first Write.
func (w *Writer) Reuse(u *Reuse) {
	if m, ok := w.encoder.(*members); ok {
		m.reuse = u
	}
}

// Members is how many members Write and Close have written, all of them independent, and how many of these were copied.
func (w *Writer) Members() (written, copied int) {
	if m, ok := w.encoder.(*members); ok {
		return m.written, m.copied
	}
	return 0, 0
}

// Close writes what is left and waits for everything that Write started. It does not close the underlying
// writer. After a failed Write it returns that error again, and so does every further Close.
func (w *Writer) Close() error {
	if w.closed {
		return w.err
	}
	w.closed = true
	if err := w.encoder.Close(); w.err == nil {
		w.err = err
	}
	return w.err
}

// plain is method "none".
type plain struct{ io.Writer }

func (plain) Close() error { return nil }

// frame is method "zstd": one frame with a checksum (RFC 8878).
type frame struct{ *zstd.Encoder }

// newFrame makes an encoder whose bytes are the same for any number of threads; two overlap the search
// for matches with the entropy coding, and more would idle.
func newFrame(w io.Writer, level, threads int) (encoder, error) {
	speed := zstd.SpeedDefault
	if level != 0 {
		speed = zstd.EncoderLevelFromZstd(level)
	}
	// Without WithZeroFrames an empty input would give an empty output, which zstd refuses to read.
	enc, err := zstd.NewWriter(w, zstd.WithEncoderLevel(speed), zstd.WithEncoderConcurrency(threads),
		zstd.WithZeroFrames(true))
	return frame{enc}, err
}

// To calls fill with a writer that compresses to w, or with w itself for "none".
func To(w io.Writer, method string, level int, fill func(io.Writer) error) error {
	if method == "none" {
		return fill(w)
	}
	z, err := NewWriter(w, method, level)
	if err != nil {
		return err
	}
	err = fill(z)
	if closeErr := z.Close(); err == nil {
		err = closeErr
	}
	return err
}

// Gzip compresses r to its end, with method "gzip" of NewWriter. When r fails, a reader of what was written notices
// that the end is missing.
func Gzip(w io.Writer, r io.Reader, level int) error {
	enc, err := newEncoder(w, "gzip", level)
	if err != nil {
		return err
	}
	m := enc.(*members)
	if err := m.readFrom(r); err != nil {
		m.abandon()
		return err
	}
	return m.Close()
}
