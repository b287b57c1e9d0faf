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

// archived is a stream that begins as a newc archive does.
func archived(entries []entry) []entry { return append([]entry{{head: []byte("070701")}}, entries...) }

// TestWhole: a newc archive is one member, with nothing behind it, and the same for any number of threads.
func TestWhole(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, entries := range [][]entry{nil, tree(1, 1, 10), tree(2, 400, 30_000), tree(3, 3, 5<<20)} {
		entries = archived(entries)
		var first []byte
		for _, threads := range []int{1, 2, 7} {
			runtime.GOMAXPROCS(threads)
			var packed bytes.Buffer
			pack(t, &packed, "gzip", entries, 1000*threads)
			if first == nil {
				first = packed.Bytes()
			}
			if !bytes.Equal(packed.Bytes(), first) {
				t.Errorf("%d threads: other bytes", threads)
			}
		}
		if len(first)%4 != 0 {
			t.Errorf("%d bytes, not a multiple of 4", len(first))
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
	pack(t, h, "gzip", archived(tree(6, 200, 30_000)), 0)
	const want = "b45fb2ce7c63dd439893607ddf08ec3df0003724767b6410b5fce79343ed3926"
	if got := fmt.Sprintf("%x", h.Sum(nil)); got != want {
		t.Errorf("%s, was %s", got, want)
	}
}

// TestWholeErrors: an error of the underlying writer is told, in the header, in the middle and at the end.
func TestWholeErrors(t *testing.T) {
	entries := archived(tree(16, 100, 30_000))
	var packed bytes.Buffer
	pack(t, &packed, "gzip", entries, 0)
	for _, left := range []int{0, 9, 10, packed.Len() / 2, packed.Len() - 1} {
		for _, short := range []bool{false, true} {
			z, err := NewWriter(&brittle{left: left, short: short}, "gzip", 0)
			if err != nil {
				t.Fatal(err)
			}
			z.Write(join(entries))
			if err := z.Close(); !errors.Is(err, errBroken) && !errors.Is(err, io.ErrShortWrite) {
				t.Errorf("room for %d bytes: %v", left, err)
			}
		}
	}
	if _, err := NewWriter(io.Discard, "gzip", 10); err == nil {
		t.Error("level 10")
	}
}
