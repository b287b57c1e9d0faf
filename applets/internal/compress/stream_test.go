package compress

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/mikelolasagasti/xz"
)

// packers are the programs whose streams NewStream reads, with options that change the structure.
var packers = []struct{ method, line string }{
	{"gzip", "gzip -1"}, {"gzip", "gzip -9n"},
	{"bzip2", "bzip2 -1"}, {"bzip2", "bzip2 -9"},
	{"xz", "xz"}, {"xz", "xz -0 --check=none"}, {"xz", "xz --check=sha256 --block-size=4KiB"}, {"xz", "xz --check=crc32 --x86 --lzma2=dict=32MiB"},
	{"xz", "xz -T2 --block-size=100KiB"}, {"xz", "xz --delta=dist=4 --lzma2=preset=1"},
	{"lz4", "lz4 -l"}, {"lz4", "lz4 -l -9"},
	{"zstd", "zstd -q"}, {"zstd", "zstd -q --no-check -19"}, {"zstd", "zstd -q --long=27"}, {"zstd", "zstd -q --no-content-size"},
}

// run packs data as a program does, or returns nil where there is none.
func run(t *testing.T, line string, data []byte) []byte {
	t.Helper()
	words := strings.Fields(line)
	path, err := exec.LookPath(words[0])
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Error(err)
		}
		return nil
	}
	cmd := exec.Command(path, append(words[1:], "-c")...)
	cmd.Stdin = bytes.NewReader(data)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return out
}

// samples are what streams are made of: nothing, little, repetitive, and more than one lz4 block of data that
// holds whole streams itself, which must not be taken for the end of the one around it.
func samples(t *testing.T) map[string][]byte {
	random := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{}).Read(random)
	inner := random[:300]
	for _, p := range packers {
		inner = slices.Concat(inner, run(t, p.line, random[:2000]), random[:1], run(t, p.line, nil))
	}
	return map[string][]byte{
		"empty": nil, "short": []byte("short"), "text": []byte(strings.Repeat("all work and no play\n", 50_000)),
		"streams": slices.Concat(random, inner, make([]byte, 8<<20), inner),
	}
}

// TestStreamEnds: NewStream stops at the first byte after the stream, whatever it is. lz4 needs zeros there.
func TestStreamEnds(t *testing.T) {
	all := samples(t)
	if testing.Short() {
		delete(all, "streams")
	}
	for _, p := range packers {
		for name, data := range all {
			packed := run(t, p.line, data)
			if packed == nil {
				continue
			}
			for _, after := range []string{"", "\x00", "\x00\x00\x00\x00garbage", "garbage", "\x1f\x8b\x08", "BZh91AY&SY", "\xfd7zXZ\x00"} {
				if p.method == "lz4" && after != "" && after[0] != 0 || len(data) > 1<<20 && after != "" && after[0] != 'B' {
					continue
				}
				br := bufio.NewReaderSize(io.MultiReader(bytes.NewReader(packed), strings.NewReader(after)), 100)
				err := readStream(br, p.method, data)
				rest, _ := io.ReadAll(br)
				if err != nil || string(rest) != after {
					t.Errorf("%s, %s, then %q: %v; left is %.20q", p.line, name, after, err, rest)
				}
			}
		}
	}
}

// readStream reads one stream and compares what was found.
func readStream(br *bufio.Reader, method string, want []byte) error {
	z, found, err := NewStream(br)
	if err != nil {
		return err
	}
	defer z.Close()
	got, err := io.ReadAll(z)
	if err == nil && (found != method || !bytes.Equal(got, want)) {
		err = fmt.Errorf("%d bytes by %s", len(got), found)
	}
	return err
}

// TestJoinedStreams reads archives of several streams, and refuses garbage after them.
func TestJoinedStreams(t *testing.T) {
	data := []byte(strings.Repeat("content ", 1000))
	for _, p := range packers {
		one := run(t, p.line, data)
		if one == nil {
			continue
		}
		got, method, err := unpack(iotest.HalfReader(bytes.NewReader(append(bytes.Clone(one), one...))))
		if err != nil || method != p.method || !bytes.Equal(got, append(bytes.Clone(data), data...)) {
			t.Errorf("%s: %d bytes by %s, %v", p.line, len(got), method, err)
		}
		if _, _, err := unpack(bytes.NewReader(append(bytes.Clone(one), "garbage"...))); err == nil {
			t.Errorf("%s: garbage is not noticed", p.line)
		}
	}
	if one := run(t, "xz", data); one != nil {
		for n := 1; n < len(one); n++ { // sniffing needs some of it, the decoder more
			if _, _, err := unpack(bytes.NewReader(append(bytes.Clone(one), one[:n]...))); err == nil {
				t.Errorf("xz with %d bytes of another stream is taken", n)
			}
		}
		padded := slices.Concat(one, make([]byte, 8), one, make([]byte, 4))
		if got, _, err := unpack(bytes.NewReader(padded)); err != nil || len(got) != 2*len(data) {
			t.Errorf("xz with padding: %d bytes, %v", len(got), err)
		}
		if _, _, err := unpack(bytes.NewReader(append(one, 0, 0))); err == nil {
			t.Error("xz with odd padding is not noticed")
		}
	}
}

// TestStreamsCut cuts streams: each cut is noticed, but those between the blocks of lz4.
func TestStreamsCut(t *testing.T) {
	data := samples(t)["streams"][:200_000]
	for _, p := range packers {
		whole := run(t, p.line, data)
		for n := 4; n < len(whole); n += 1 + n/9 {
			if n < 10 && p.method != "zstd" {
				continue // the magic number is longer, or an empty stream
			}
			err := readStream(bufio.NewReader(bytes.NewReader(whole[:n])), p.method, data)
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s cut at %d of %d: %v", p.line, n, len(whole), err)
			}
		}
	}
}

// TestStreamsCorrupt flips bits. lz4 and xz --check=none have no checksum: there only the error must be one of
// the format.
func TestStreamsCorrupt(t *testing.T) {
	data := samples(t)["text"][:300_000]
	for _, p := range packers {
		whole := run(t, p.line, data)
		unchecked := p.method == "lz4" || strings.Contains(p.line, "no-check") || strings.Contains(p.line, "check=none")
		for i := 6; i < len(whole); i += 1 + len(whole)/50 {
			bad := bytes.Clone(whole)
			bad[i] ^= 0x10
			z, method, err := NewStream(bufio.NewReader(bytes.NewReader(bad)))
			var got []byte
			if err == nil {
				got, err = io.ReadAll(io.LimitReader(z, 10<<20))
			}
			if err == nil && !unchecked && !bytes.Equal(got, data) {
				t.Errorf("%s: other content without an error, bit flipped at %d", p.line, i)
			}
			if err != nil && !strings.HasPrefix(err.Error(), method+": ") && err != ErrNotCompressed {
				t.Errorf("%s: bit flipped at %d: %v", p.line, i, err)
			}
		}
	}
}

// TestStreamSourceError: why the source cannot be read is not blamed on the format.
func TestStreamSourceError(t *testing.T) {
	boom := errors.New("input/output error")
	data := samples(t)["streams"][:100_000]
	for _, p := range packers {
		whole := run(t, p.line, data)
		for n := 0; n < len(whole); n += 1 + n/3 {
			br := bufio.NewReader(io.MultiReader(bytes.NewReader(whole[:n]), iotest.ErrReader(boom)))
			if err := readStream(br, p.method, data); err != boom {
				t.Errorf("%s after %d bytes: %v", p.line, n, err)
			}
		}
	}
}

func TestStreamRefused(t *testing.T) {
	for head, want := range map[string]string{
		"":                                     ErrNotCompressed.Error(),
		"text":                                 ErrNotCompressed.Error(),
		"\x5d\x00\x00\x80\x00\xff\xff\xff\xff": "lzma compression is not supported",
		"\x04\x22\x4d\x18\x64\x40\xa7":         "lz4 frame compression is not supported",
		"\x02\x21\x4c\x18\xff\xff\xff\x7f":     "lz4: corrupt data: block of 2147483647 bytes",
		"\x02\x21\x4c\x18\x01\x00\x00\x00\x1f": "lz4: corrupt data",
	} {
		z, _, err := NewStream(bufio.NewReader(strings.NewReader(head)))
		if err == nil {
			_, err = io.ReadAll(z)
		}
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v", head, err)
		}
	}
}

// A block of lz4 comes from anywhere; what it says is at most refused.
func TestLZ4Blocks(t *testing.T) {
	for block, want := range map[string]string{
		"\x10a":                 "a",
		"\x10a\x01\x00\x00":     "aaaaa",
		"\x10a\x01\x00":         "", // after a match, it ends
		"\x12a\x01\x00\x00":     "aaaaaaa",
		"\x12a\x01\x00\x10b":    "aaaaaaab",
		"\x10a\x01":             "",
		"\x10a\x00\x00\x10b":    "", // a match with what is not there yet
		"\x10a\x02\x00\x10b":    "",
		"\x1fa\x01\x00\xff\xff": "", // a length without an end
		"\x1fa\x01\x00\xff\x00": "", // a length beyond the bound
		"\xf0\xff":              "",
		"\x20a":                 "",
		"":                      "",
	} {
		got, err := lz4Decode(nil, []byte(block), 100)
		if (err == nil) != (want != "") || err == nil && string(got) != want {
			t.Errorf("%q: %q, %v; want %q", block, got, err, want)
		}
	}
}

// What decoders complain of is said with the name of the format, and an input that cannot be read as it says itself.
func TestDescribe(t *testing.T) {
	broken := errors.New("input/output error")
	for want, err := range map[string]error{
		"gzip: not a valid header":                                    gzip.ErrHeader,
		"gzip: checksum or length does not match":                     gzip.ErrChecksum,
		"gzip: corrupt data before byte 7":                            flate.CorruptInputError(7),
		"gzip: bad magic value":                                       bzip2.StructuralError("bad magic value"),
		fmt.Sprintf("gzip: dictionary of more than %d bytes", 64<<20): xz.ErrMemlimit,
		"gzip: filter or check that is not supported":                 xz.ErrUnsupportedCheck,
		"gzip: corrupt data":                                          xz.ErrData,
		"input/output error":                                          broken,
	} {
		if got := describe("gzip", err); got.Error() != want {
			t.Errorf("%v: %v, want %s", err, got, want)
		}
	}
}

// FuzzStream also compares with reading of the same stream when more follows.
func FuzzStream(f *testing.F) {
	for _, method := range []string{"gzip", "zstd"} {
		f.Add(packed(f, method, 1))
	}
	for _, seed := range []string{
		// printf hello | xz --check=crc32, bzip2, lz4 -l
		"\xfd7zXZ\x00\x00\x01\x69\x22\xde\x36\x02\x00\x21\x01\x16\x00\x00\x00\x74\x2f\xe5\xa3\x01\x00\x04hello\x00\x00\x00\x00\x86\xa6\x10\x36" +
			"\x00\x01\x19\x05\xbc\xe8\xec\xcb\x90\x42\x99\x0d\x01\x00\x00\x00\x00\x01\x59\x5a",
		"BZh91AY&SY\x19\x31\x65\x3d\x00\x00\x00\x81\x00\x02\x44\xa0\x00\x21\x9a\x68\x33\x4d\x07\x33\x8b\xb9\x22\x9c\x28\x48\x0c\x98\xb2\x9e\x80",
		"\x02\x21\x4c\x18\x06\x00\x00\x00\x50hello",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		br := bufio.NewReader(bytes.NewReader(data))
		z, method, err := NewStream(br)
		if err != nil {
			return
		}
		n, err := io.Copy(io.Discard, io.LimitReader(z, 1<<20))
		z.Close()
		if err != nil || n == 1<<20 || method == "lz4" {
			return
		}
		rest, _ := io.ReadAll(br)
		again := bufio.NewReader(io.MultiReader(bytes.NewReader(data), strings.NewReader("more")))
		if z, _, err = NewStream(again); err == nil {
			_, err = io.Copy(io.Discard, z)
		}
		if left, _ := io.ReadAll(again); err != nil || string(left) != string(rest)+"more" {
			t.Errorf("%s: %v; %d bytes left, then %d", method, err, len(rest), len(left))
		}
	})
}
