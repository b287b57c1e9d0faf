package compress

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"

	"github.com/ctbox/ctbox/applets/internal/fuzztest"
)

func packed(t testing.TB, method string, n int) []byte {
	var b bytes.Buffer
	pack(t, &b, method, tree(30, n, 20_000), 0)
	return b.Bytes()
}

// unpack reads as callers do: with io.Copy, which prefers a reader's WriteTo.
func unpack(r io.Reader) ([]byte, string, error) {
	z, method, err := NewReader(r)
	if err != nil {
		return nil, method, err
	}
	defer z.Close()
	var data bytes.Buffer
	_, err = io.Copy(&data, z)
	return data.Bytes(), method, err
}

// TestPlain: what is no compression that we know passes as it is, however short.
func TestPlain(t *testing.T) {
	for _, s := range []string{"", "\x1f", "BZh1 is text\n", "BZh91AY", "./bin 0040755-0-0-0\n", "]\x00\x00\x00", strings.Repeat("x", 1<<20)} {
		got, method, err := unpack(iotest.OneByteReader(strings.NewReader(s)))
		if string(got) != s || method != "none" || err != nil {
			t.Errorf("%.20q: %d bytes, %q, %v", s, len(got), method, err)
		}
	}
}

func TestRefused(t *testing.T) {
	for name, head := range map[string]string{
		"lz4 frame": "\x04\x22\x4d\x18\x64\x40\xa7",
		"lzip":      "LZIP\x01\x0c\x00\x00",
		"lzo":       "\x89LZO\x00\x0d\x0a",
		"compress":  "\x1f\x9d\x90\x61",
	} {
		_, _, err := unpack(strings.NewReader(head))
		if err == nil || !strings.HasPrefix(err.Error(), name+" compression is not supported") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTruncated cuts streams at every byte of their heads and ends, and here and there between.
func TestTruncated(t *testing.T) {
	for _, method := range []string{"gzip", "zstd"} {
		whole := packed(t, method, 100)
		ends := map[int]bool{} // where a cut leaves whole gzip members
		for i := range len(whole) {
			if method == "gzip" && bytes.HasPrefix(whole[i:], []byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff")) {
				ends[i] = true
			}
		}
		if method == "gzip" && len(ends) < 2 {
			t.Fatal("the stream has one member")
		}
		for n := 4; n < len(whole); n++ {
			if n > 40 && n < len(whole)-40 && n%9973 != 0 || ends[n] {
				continue
			}
			if _, _, err := unpack(bytes.NewReader(whole[:n])); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s cut at %d of %d: %v", method, n, len(whole), err)
			}
		}
	}
}

func TestGarbageAfter(t *testing.T) {
	for _, method := range []string{"gzip", "zstd"} {
		for _, tail := range []string{"\x00", "\n", "\x00\x00", "\x1f\x8b", strings.Repeat("\x00", 512), "garbage after the end"} {
			_, _, err := unpack(io.MultiReader(bytes.NewReader(packed(t, method, 3)), strings.NewReader(tail)))
			if err == nil {
				t.Errorf("%s: %.10q is not noticed", method, tail)
			}
			if method == "gzip" && tail[0] != 0x1f && !strings.Contains(err.Error(), "garbage after the last member") {
				t.Errorf("%s: %.10q: %v", method, tail, err)
			}
		}
	}
}

// TestMore: streams may be joined, and zstd's may begin with a frame to skip.
func TestMore(t *testing.T) {
	for _, method := range []string{"gzip", "zstd"} {
		twice := append(packed(t, method, 3), packed(t, method, 3)...)
		got, _, err := unpack(bytes.NewReader(twice))
		if want := join(tree(30, 3, 20_000)); err != nil || !bytes.Equal(got, append(want, want...)) {
			t.Errorf("%s twice: %d bytes, %v", method, len(got), err)
		}
	}
	skip := append([]byte("\x5a\x2a\x4d\x18\x03\x00\x00\x00xyz"), packed(t, "zstd", 1)...)
	got, method, err := unpack(bytes.NewReader(skip))
	if err != nil || method != "zstd" || !bytes.Equal(got, join(tree(30, 1, 20_000))) {
		t.Errorf("after a skippable frame: %d bytes, %q, %v", len(got), method, err)
	}
}

// TestCorrupt flips bits all over: every one is noticed, for both formats carry a checksum.
func TestCorrupt(t *testing.T) {
	want := join(tree(30, 20, 20_000))
	for _, method := range []string{"gzip", "zstd"} {
		whole := packed(t, method, 20)
		flips := 200
		if testing.Short() {
			flips = 40
		}
		for i := 10; i < len(whole); i += 1 + len(whole)/flips {
			bad := bytes.Clone(whole)
			bad[i] ^= 0x10
			got, _, err := unpack(bytes.NewReader(bad))
			if err == nil && !bytes.Equal(got, want) {
				t.Errorf("%s: other content without an error, bit flipped at %d", method, i)
			}
		}
	}
}

// TestSourceError: why the source cannot be read is not blamed on the format.
func TestSourceError(t *testing.T) {
	boom := errors.New("input/output error")
	for _, method := range []string{"gzip", "zstd", "none"} {
		for _, n := range []int{0, 1, 5, 15, 70_000} {
			data := packed(t, method, 100)
			_, _, err := unpack(io.MultiReader(bytes.NewReader(data[:n]), iotest.ErrReader(boom)))
			if err != boom {
				t.Errorf("%s, after %d bytes: %v", method, n, err)
			}
		}
	}
}

// TestWindow: a frame that asks for more memory than we give is refused.
func TestWindow(t *testing.T) {
	var b bytes.Buffer
	z, err := zstd.NewWriter(&b, zstd.WithWindowSize(2*mostWindow))
	if err != nil {
		t.Fatal(err)
	}
	z.Write(make([]byte, 5<<20))
	z.Close()
	if _, _, err := unpack(&b); err == nil || !strings.Contains(err.Error(), "window") {
		t.Errorf("a window of %d: %v", 2*mostWindow, err)
	}
}

// hostileStreams are what somebody could put in place of a layer or an initrd (M04): bombs, garbage, heads that claim much.
func hostileStreams(t testing.TB) [][]byte {
	all := [][]byte{
		[]byte("\x1f\x8b\x08\x1f\x00\x00\x00\x00\x00\xff\x03\x00abcname\x00"), []byte("\x28\xb5\x2f\xfd\xa4\xff\xff\xff\xff"),
		[]byte("\x28\xb5\x2f\xfd\x00\x88\x01\x00\x00"), []byte("\x50\x2a\x4d\x18\xff\xff\xff\xff"), []byte("\x02\x21\x4c\x18\x06\x00\x00\x00\x50hello"),
		[]byte("\x02\x21\x4c\x18\x09\x00\x00\x00\x1fa\x01\x00\xff\xff\xff\x00\x00"), []byte("\x02\x21\x4c\x18\x80\x80\x80\x00x"), []byte("BZh91AY&SY\xff\xff\xff\xff"),
		[]byte("\xfd7zXZ\x00\x00\x01\x69\x22\xde\x36\x02\x00\x21\x01\x28\x00\x00\x00"), []byte("BZh91AY&SY\x19\x31\x65\x3d\x00\x00\x00\x81"),
	}
	for _, method := range []string{"gzip", "zstd", "none"} {
		good := packed(t, method, 1)
		var bomb bytes.Buffer
		if err := To(&bomb, method, 0, func(w io.Writer) error { _, err := w.Write(make([]byte, 3<<20)); return err }); err != nil {
			t.Fatal(err)
		}
		if method == "none" {
			bomb.Truncate(1000)
		}
		for _, b := range [][]byte{good, bomb.Bytes()} {
			all = append(all, b, append(bytes.Clone(b), b...), append(bytes.Clone(b), "x"...), append(bytes.Clone(b), make([]byte, 512)...), b[:len(b)-1])
		}
	}
	return all
}

// FuzzReader compares with what Go has for gzip and, for lz4, with the format's page put into code byte by byte. However little
// there is, no more memory goes into it than the largest window that is accepted.
func FuzzReader(f *testing.F) {
	for _, b := range hostileStreams(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		const most = 4 << 20
		fuzztest.Bounded(t, len(data), 3*mostWindow+2*most, 300, func() {
			r, method, err := NewReader(bytes.NewReader(data))
			if err != nil {
				return
			}
			got, err := io.ReadAll(io.LimitReader(r, most))
			want, theirs := data, error(nil)
			switch method {
			case "gzip":
				var z *gzip.Reader
				if z, theirs = gzip.NewReader(bytes.NewReader(data)); theirs == nil {
					want, theirs = io.ReadAll(io.LimitReader(z, most))
				}
			case "lz4":
				want, theirs = naiveLZ4(data, most)
			case "none":
			default:
				want, theirs = got, err
			}
			if (err == nil) != (theirs == nil) || err == nil && !bytes.Equal(got, want[:min(most, len(want))]) {
				t.Errorf("%s: %d bytes, %v; not %d, %v", method, len(got), err, len(want), theirs)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		})
	})
}

// naiveLZ4 decodes the legacy format as lz4_Frame_format.md and lz4_Block_format.md describe it, until there are enough bytes.
func naiveLZ4(in []byte, enough int) (out []byte, err error) {
	defer func() {
		if recover() != nil { // an index out of range
			err = errCorrupt
		}
	}()
	for len(in) > 0 && len(out) < enough {
		if string(in[:min(4, len(in))]) == lz4Magic {
			in = in[4:]
			continue
		}
		size := int(in[0]) | int(in[1])<<8 | int(in[2])<<16 | int(in[3])<<24
		block := in[4 : 4+size]
		if in = in[4+size:]; size == 0 {
			return out, errors.New("more after the end")
		}
		begin := len(out)
		length := func(n int) int {
			for more := n == 15; more; block = block[1:] {
				n += int(block[0])
				more = block[0] == 255
			}
			return n
		}
		for {
			token := int(block[0])
			block = block[1:]
			n := length(token >> 4)
			out, block = append(out, block[:n:n]...), block[n:]
			if len(block) == 0 {
				break
			}
			at := len(out) - int(block[0]) - int(block[1])<<8
			block = block[2:]
			for n = length(token&15) + 4; n > 0 && at >= begin && at < len(out); n-- {
				out = append(out, out[at])
				at++
			}
			if n > 0 || len(out)-begin > 8<<20 {
				return out, errCorrupt
			}
		}
		if len(out)-begin > 8<<20 {
			return out, errCorrupt
		}
	}
	return out, nil
}
