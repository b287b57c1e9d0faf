package compress

import (
	"bufio"
	"bytes"
	"testing"
)

func TestWindowOf(t *testing.T) {
	data := samples(t)["text"]
	for line, want := range map[string]int64{
		"gzip": 32 << 10, "bzip2 -2": 800_000, "lz4 -l": 8 << 20, "xz -0": 256 << 10, "xz -6": 8 << 20, "xz --x86 --lzma2=preset=9": 64 << 20,
		"xz --lzma2=dict=96MiB --block-size=100KiB -T2": 96 << 20, "xz --delta=dist=4 --lzma2=dict=48MiB": 48 << 20,
		"zstd -q --no-content-size --zstd=wlog=20": 1 << 20, "zstd -q --no-content-size --long=27": 128 << 20,
	} {
		packed := run(t, line, data)
		if got := Window(bufio.NewReader(bytes.NewReader(packed))); packed != nil && got != want {
			t.Errorf("%s: %d, want %d", line, got, want)
		}
	}
	if got := Window(bufio.NewReader(bytes.NewReader(data))); got != 0 {
		t.Errorf("plain data: %d", got)
	}
	for n, size := range []int{1, 200, 256, 70_000} { // each has a longer size field, if it is a window at all
		small := run(t, "zstd -q --stream-size="+[]string{"1", "200", "256", "70000"}[n], data[:size])
		if got := Window(bufio.NewReader(bytes.NewReader(small))); small != nil && (got < int64(size) || got > 1<<17) {
			t.Errorf("zstd of %d bytes: %d", size, got)
		}
	}
}

// Headers that no tool here writes.
func TestWindowOfHeaders(t *testing.T) {
	const xz = "\xfd7zXZ\x00\x00\x04\xe6\xd6\xb4\x46"
	for head, want := range map[string]int64{
		"\x28\xb5\x2f\xfd\xe0\x00\x00\x00\x00\x01":             1 << 32, // one segment, of a size in 8 bytes
		"\x28\xb5\x2f\xfd\xe0\xff\xff\xff\xff\xff\xff\xff\xff": 1 << 62,
		xz + "\x02\x00\x03\x01\x00":                            0, // a delta filter alone
		xz + "\x02\x00\x03\x7f\x00":                            0, // its properties would be beyond the header
		xz + "\x02\x00\x21\x01\x28":                            1<<32 - 1,
	} {
		if got := Window(bufio.NewReader(bytes.NewReader([]byte(head)))); got != want {
			t.Errorf("%q: %d, want %d", head, got, want)
		}
	}
}
