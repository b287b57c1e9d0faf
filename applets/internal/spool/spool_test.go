package spool

import (
	"bytes"
	"io"
	"testing"
)

// TestSpool holds a spool against a byte slice.
func TestSpool(t *testing.T) {
	var s Spool
	defer s.Close()
	var want []byte
	check := func() {
		t.Helper()
		got := make([]byte, len(want))
		n, err := s.ReadAt(got, 0)
		if s.Size() != int64(len(want)) || n != len(want) || err != nil && err != io.EOF || !bytes.Equal(got, want) {
			t.Fatalf("%d bytes, not %d: %v", n, len(want), err)
		}
		for _, off := range []int{len(want) / 3, len(want) - 1} {
			if b := make([]byte, 10); off >= 0 {
				if n, _ := s.ReadAt(b, int64(off)); !bytes.Equal(b[:n], want[off:min(off+10, len(want))]) {
					t.Fatalf("at %d: %q", off, b[:n])
				}
			}
		}
		if n, err := s.ReadAt(make([]byte, 1), s.Size()); n != 0 || err != io.EOF {
			t.Fatalf("past the end: %d, %v", n, err)
		}
	}
	for _, size := range []int{0, 10, memory - 10, 1, memory, 3*memory + 1, 5} {
		p := bytes.Repeat([]byte{byte(size)}, size)
		s.Write(p)
		want = append(want, p...)
		check()
	}
	for _, off := range []int64{0, 5, memory, s.Size() - 1} {
		if err := s.SetByte(off, 'X'); err != nil {
			t.Fatal(err)
		}
		want[off] = 'X'
	}
	check()
	for _, size := range []int64{s.Size() - 1, 2*memory + 3, memory / 2, 0} {
		s.Truncate(size)
		want = want[:size]
		check()
		s.Write([]byte("more"))
		want = append(want, "more"...)
		check()
	}
}
