package vm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ctbox/ctbox/applets/internal/compress"
)

// put makes a head of n bytes with little-endian numbers and texts at their offsets.
func put(n int, fields map[int]any) []byte {
	b := make([]byte, n)
	for at, v := range fields {
		if s, ok := v.(string); ok {
			copy(b[at:], s)
		} else if _, err := binary.Encode(b[at:], binary.LittleEndian, v); err != nil {
			panic(err)
		}
	}
	return b
}

func bzImage() []byte {
	return put(4096, map[int]any{
		0x1f1: uint8(7), 0x1fe: uint16(0xaa55), 0x202: "HdrS", 0x206: uint16(0x20f), 0x20e: uint16(0x300),
		0x236: uint16(0x7f), 0x248: uint32(0x2cc), 0x24c: uint32(12345), 0x258: uint64(16 << 20), 0x260: uint32(0x3378000),
		0x500: "6.1.0-x (someone@somewhere) #1 SMP\x00",
	})
}

func vmlinux() []byte {
	return put(64+3*56, map[int]any{
		0: "\x7fELF\x02\x01", 18: uint16(62), 32: uint64(64), 54: uint16(56), 56: uint16(3),
		64: uint32(1), 64 + 24: uint64(16 << 20), 64 + 40: uint64(1 << 20),
		120: uint32(4), 120 + 24: uint64(1 << 40), 120 + 40: uint64(9), // a note
		176: uint32(1), 176 + 24: uint64(24 << 20), 176 + 40: uint64(8 << 20),
	})
}

func arm64() []byte {
	return put(4096, map[int]any{0: "MZ", 16: uint64(40 << 20), 56: "ARM\x64"})
}

func packed(t testing.TB, method string, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	err := compress.To(&b, method, 0, func(w io.Writer) error { _, err := w.Write(data); return err })
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zboot(payload []byte) []byte {
	return append(put(64, map[int]any{0: "MZ\x00\x00zimg", 8: uint32(64), 12: uint32(len(payload)), 24: "gzip"}), payload...)
}

func TestReadKernel(t *testing.T) {
	for _, test := range []struct {
		file []byte
		want KernelHeader
	}{
		{bzImage(), KernelHeader{BzImage, "amd64", "6.1.0-x", 0x3378000, 16 << 20, 7, 8*512 + 0x2cc, 12345}},
		{vmlinux(), KernelHeader{Format: Vmlinux, Arch: "amd64", InitSize: 16 << 20, LoadAt: 16 << 20}},
		{arm64()[:64], KernelHeader{Format: Image, Arch: "arm64", InitSize: 40 << 20}},
		{packed(t, "gzip", arm64()), KernelHeader{Format: ImageGz, Arch: "arm64", InitSize: 40 << 20}},
		{zboot(packed(t, "zstd", arm64())), KernelHeader{Format: Zboot, Arch: "arm64", InitSize: 40 << 20, PayloadOffset: 64, PayloadLength: int64(len(packed(t, "zstd", arm64())))}},
		{zboot([]byte("\x5d\x00\x00 is lzma")), KernelHeader{Format: Zboot, PayloadOffset: 64, PayloadLength: 11}},
	} {
		got, err := ReadKernel(bytes.NewReader(test.file))
		if err != nil || got != test.want {
			t.Errorf("%+v, %v; want %+v", got, err, test.want)
		}
	}
}

// change sets bytes of a valid header to something else.
func change(file []byte, at int, v any) []byte {
	_, err := binary.Encode(file[at:], binary.LittleEndian, v)
	if err != nil {
		panic(err)
	}
	return file
}

func TestReadKernelRefuses(t *testing.T) {
	for _, test := range []struct {
		name string
		file []byte
		want string
	}{
		{"empty", nil, "not a Linux kernel"},
		{"text", []byte(strings.Repeat("text\n", 1000)), "not a Linux kernel"},
		{"old", change(bzImage(), 0x206, uint16(0x203)), "boot protocol 2.03 is older"},
		{"version beyond the end", change(bzImage()[:0x4ff], 0x260, uint32(1)), "unexpected EOF"},
		{"elf of 32 bits", change(vmlinux(), 4, uint8(1)), "not of x86-64 or arm64"},
		{"elf of sparc", change(vmlinux(), 18, uint16(2)), "not of x86-64 or arm64"},
		{"elf without segments", change(vmlinux(), 56, uint16(0)), "without a segment"},
		{"elf table cut off", vmlinux()[:200], "unexpected EOF"},
		{"elf table far away", change(vmlinux(), 32, uint64(1<<63)), "unexpected EOF"},
		{"elf with odd table", change(vmlinux(), 54, uint16(55)), "program headers of 55"},
		{"elf with huge segment", change(vmlinux(), 64+40, uint64(1<<63)), "segment of"},
		{"elf with far segment", change(vmlinux(), 64+24, uint64(1<<62)), "spread over"},
		{"zboot of something else", zboot(packed(t, "gzip", bzImage())), "not a Linux kernel"},
		{"zboot cut off", zboot(packed(t, "gzip", arm64()))[:80], "unexpected EOF"},
		{"zboot without content", zboot(packed(t, "gzip", nil)), "unexpected EOF"},
		{"elf cut off", vmlinux()[:20], "unexpected EOF"},
		{"Image of 2^64-1 bytes", put(64, map[int]any{16: ^uint64(0), 56: "ARM\x64"}), "claims 18446744073709551615"},
	} {
		h, err := ReadKernel(bytes.NewReader(test.file))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %+v, %v; want %q", test.name, h, err, test.want)
		}
	}
}

type brokenFile struct{ error }

func (f brokenFile) ReadAt([]byte, int64) (int, error) { return 0, f.error }

func TestReadKernelReadError(t *testing.T) {
	boom := errors.New("input/output error")
	if _, err := ReadKernel(brokenFile{boom}); err != boom {
		t.Error(err)
	}
}

// TestInstalledKernels reads what distributions make, where some are installed.
func TestInstalledKernels(t *testing.T) {
	kernels, _ := filepath.Glob("/boot/vmlinuz-*")
	for _, name := range kernels {
		f, err := os.Open(name)
		if err != nil {
			t.Log(err)
			continue
		}
		defer f.Close()
		h, err := ReadKernel(f)
		if err != nil || h.InitSize < 1<<20 || h.InitSize > 1<<30 {
			t.Errorf("%s: %+v, %v", name, h, err)
		}
		if h.Format == BzImage && !strings.HasSuffix(name, "-"+h.Version) {
			t.Errorf("%s is version %q", name, h.Version)
		}
	}
}

func FuzzReadKernel(f *testing.F) {
	f.Add(bzImage())
	f.Add(vmlinux())
	f.Add(arm64())
	f.Add(zboot(packed(f, "gzip", arm64())))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := ReadKernel(bytes.NewReader(data))
		if err == nil && (h.Format == "" || h.InitSize < 0 || h.PayloadOffset < 0 || h.PayloadLength < 0) {
			t.Errorf("%+v", h)
		}
		if err == io.EOF {
			t.Error("a bare EOF")
		}
	})
}
