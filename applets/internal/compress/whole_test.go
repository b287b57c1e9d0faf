package compress

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"runtime"
	"testing"
)

// TestWhole: "gzip-member" is one member, with nothing behind it, and the same for any number of threads.
func TestWhole(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, entries := range [][]entry{nil, tree(1, 1, 10), tree(2, 400, 30_000), tree(3, 3, 5<<20)} {
		var first []byte
		for _, threads := range []int{1, 2, 7} {
			runtime.GOMAXPROCS(threads)
			var packed bytes.Buffer
			pack(t, &packed, "gzip-member", entries, 1000*threads)
			if first == nil {
				first = packed.Bytes()
			}
			if !bytes.Equal(packed.Bytes(), first) {
				t.Errorf("%d threads: other bytes", threads)
			}
		}
		behind := bufio.NewReader(bytes.NewReader(first)) // so that the decoder takes no more than it needs
		z, err := gzip.NewReader(behind)
		if err != nil {
			t.Fatal(err)
		}
		z.Multistream(false)
		if got, err := io.ReadAll(z); err != nil || !bytes.Equal(got, join(entries)) {
			t.Errorf("%d bytes, %v; want %d", len(got), err, len(join(entries)))
		}
		if rest, _ := io.ReadAll(behind); len(rest) > 0 {
			t.Errorf("%d bytes behind the member", len(rest))
		}
	}
}

// TestWholeStable is TestStable.
func TestWholeStable(t *testing.T) {
	h := sha256.New()
	pack(t, h, "gzip-member", tree(6, 200, 30_000), 0)
	const want = "65aa8c8bfa3075ed694d7f2dba4506e9776b167052122538e5fa11d308db714e"
	if got := fmt.Sprintf("%x", h.Sum(nil)); got != want {
		t.Errorf("%s, was %s", got, want)
	}
}

// TestWholeErrors: an error of the underlying writer is told, in the header, in the middle and at the end.
func TestWholeErrors(t *testing.T) {
	entries := tree(16, 100, 30_000)
	var packed bytes.Buffer
	pack(t, &packed, "gzip-member", entries, 0)
	for _, left := range []int{0, 9, 10, packed.Len() / 2, packed.Len() - 1} {
		for _, short := range []bool{false, true} {
			z, err := NewWriter(&brittle{left: left, short: short}, "gzip-member", 0)
			if err != nil {
				t.Fatal(err)
			}
			z.Write(join(entries))
			if err := z.Close(); !errors.Is(err, errBroken) && !errors.Is(err, io.ErrShortWrite) {
				t.Errorf("room for %d bytes: %v", left, err)
			}
		}
	}
	if _, err := NewWriter(io.Discard, "gzip-member", 10); err == nil {
		t.Error("level 10")
	}
}
