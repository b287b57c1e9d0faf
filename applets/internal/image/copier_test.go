package image

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// copyAll reads a copier to its end.
func copyAll(w io.Writer, r io.Reader) (read []byte, c *copier, err error) {
	c = newCopier(w, r)
	defer c.stop()
	read, err = io.ReadAll(c)
	return read, c, err
}

// Reader, writer and digest get the same bytes, however they come.
func TestCopier(t *testing.T) {
	large := strings.Repeat("0123456789", readSize)
	for _, text := range []string{"", "x", large[:readSize], large[:readSize+1], large} {
		for name, r := range map[string]io.Reader{
			"whole":         strings.NewReader(text),
			"halves":        iotest.HalfReader(strings.NewReader(text)),
			"end with data": iotest.DataErrReader(strings.NewReader(text)),
		} {
			var w bytes.Buffer
			got, c, err := copyAll(&w, r)
			if err != nil || string(got) != text || w.String() != text || digest(c.hash) != digestOf([]byte(text)) {
				t.Errorf("%d bytes, %s: %d read, %d written, %v", len(text), name, len(got), w.Len(), err)
			}
		}
	}
}

type badWriter struct{ left int }

var errFull = errors.New("full")

func (w *badWriter) Write(p []byte) (int, error) {
	if w.left -= len(p); w.left < 0 {
		return 0, errFull
	}
	return len(p), nil
}

// What fails on either side comes to the reader, after what was copied before.
func TestCopierFails(t *testing.T) {
	text := strings.Repeat("x", 5*readSize)
	if got, _, err := copyAll(&badWriter{3 * readSize}, strings.NewReader(text)); err != errFull || len(got) != 3*readSize {
		t.Errorf("written: %d bytes, %v", len(got), err)
	}
	var w bytes.Buffer
	got, _, err := copyAll(&w, io.MultiReader(strings.NewReader(text), iotest.ErrReader(io.ErrNoProgress)))
	if err != io.ErrNoProgress || len(got) != len(text) || w.Len() != len(text) {
		t.Errorf("read: %d bytes, %d written, %v", len(got), w.Len(), err)
	}
}

// A reader who stops early waits for nobody.
func TestCopierStopped(t *testing.T) {
	for _, size := range []int{0, 1, readSize, 9 * readSize} {
		c := newCopier(io.Discard, strings.NewReader(strings.Repeat("x", 9*readSize)))
		if n, err := io.CopyN(io.Discard, c, int64(size)); err != nil {
			t.Errorf("%d bytes, %v", n, err)
		}
		c.stop()
	}
}
