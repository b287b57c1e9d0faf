package vm

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// note is an ELF note, aligned to 4 bytes.
func note(kind uint32, name, content string) string {
	pad := func(s string) string { return s + strings.Repeat("\x00", -len(s)&3) }
	head := binary.LittleEndian.AppendUint32(nil, uint32(len(name)))
	head = binary.LittleEndian.AppendUint32(head, uint32(len(content)))
	head = binary.LittleEndian.AppendUint32(head, kind)
	return string(head) + pad(name) + pad(content)
}

var pvhNotes = note(6, "Xen\x00", "linux\x00") + note(3, "GNU\x00", "12345678901234567890") + note(18, "Xen\x00", "\x50\x08\x00\x01\x00\x00\x00\x00")

// elf is vmlinux with notes, and with something to compress: calls, which x86 filters change, among random bytes.
func elf(notes string) []byte {
	const at = 64 + 3*56
	b := vmlinux()
	for offset, v := range map[int]uint64{120: 4, 120 + 8: at, 120 + 32: uint64(len(notes)), 120 + 48: 4} {
		change(b, offset, v)
	}
	b = append(b, notes...)
	rnd := rand.NewChaCha8([32]byte{1})
	for i := range 20_000 {
		b = append(b, 0xe8, byte(i), byte(i>>8), 0, 0, byte(rnd.Uint64()&15))
	}
	return b
}

// newBzImage is a bzImage with payload, which is followed by the size of what it holds unless it is gzip's.
func newBzImage(payload []byte, size int) []byte {
	if !bytes.HasPrefix(payload, []byte("\x1f\x8b")) {
		payload = binary.LittleEndian.AppendUint32(bytes.Clone(payload), uint32(size))
	}
	b := change(bzImage(), 0x24c, uint32(len(payload)))
	b = append(b, make([]byte, 8*512+0x2cc-len(b))...)
	b = append(b, payload...)
	return append(b, "what comes after"...)
}

// squeeze compresses with a program, as arch/x86/boot/compressed/Makefile does.
func squeeze(t testing.TB, in []byte, command string) []byte {
	t.Helper()
	words := strings.Fields(command)
	path, err := exec.LookPath(words[0])
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	cmd := exec.Command(path, words[1:]...)
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(command, err)
	}
	return out
}

func gzipped(in []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write(in)
	z.Close()
	return b.Bytes()
}

func unpacked(t testing.TB, file []byte) ([]byte, error) {
	t.Helper()
	h, err := ReadKernel(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err = unpack(&out, bytes.NewReader(file), h)
	return out.Bytes(), err
}

func TestUnpack(t *testing.T) {
	want := elf(pvhNotes)
	for _, command := range []string{
		"gzip -n -9", "bzip2 -9", "zstd -19", "lz4 -l -12 --favor-decSpeed",
		"xz --check=crc32 --x86 --lzma2=dict=32MiB",
	} {
		t.Run(strings.Fields(command)[0], func(t *testing.T) {
			packed := squeeze(t, want, command)
			if got, err := unpacked(t, newBzImage(packed, len(want))); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes, %v; want %d", len(got), err, len(want))
			}
			if _, err := unpacked(t, newBzImage(packed, len(want)+1)); len(packed) > 0 && packed[0] != 0x1f && (err == nil || !strings.Contains(err.Error(), "instead of")) {
				t.Error("of another size:", err)
			}
		})
	}
}

func TestUnpackRefuses(t *testing.T) {
	packed := gzipped(elf(pvhNotes))
	for _, test := range []struct {
		name, want string
		file       []byte
	}{
		{"lzma", "lzma compression is not supported", newBzImage([]byte("\x5d\x00\x00\x80\x00\xff\xff\xff\xff\xff\xff\xff\xff"), 9)},
		{"lzo", "lzo compression is not supported", newBzImage([]byte("\x89LZO\x00\x0d\x0a\x1a\x0a"), 9)},
		{"not compressed", "not compressed", newBzImage(bytes.Repeat([]byte("plain"), 100), 500)},
		{"empty", "unexpected EOF", newBzImage(nil, 0)[:8*512+0x2cc]},
		{"cut off", "unexpected EOF", newBzImage(packed, 0)[:len(packed)]},
		{"damaged", "gzip", change(newBzImage(packed, 0), 8*512+0x2cc+len(packed)-8, uint32(0))},
	} {
		if _, err := unpacked(t, test.file); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v; want %q", test.name, err, test.want)
		}
	}
}

// A payload can unpack to a million times its size. It fills neither memory nor disk.
func TestUnpackBomb(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	frame := []byte("\x28\xb5\x2f\xfd\x00\x58") // zstd, RFC 8878: window of 2 MiB, then blocks of one repeated byte
	const block = 128 << 10
	for range mostUnpacked/block + 2 {
		frame = append(frame, 2, block>>5&0xff, block>>13, 0)
	}
	file := newBzImage(frame, 0)
	h, err := ReadKernel(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	if err := unpack(io.Discard, bytes.NewReader(file), h); err == nil || !strings.Contains(err.Error(), "more than 1073741824") {
		t.Error(err)
	}
}

func TestCheckPVH(t *testing.T) {
	for _, test := range []struct {
		name string
		file []byte
		want string
	}{
		{"there", elf(pvhNotes), ""},
		{"alone", elf(note(18, "Xen\x00", "\x50\x08\x00\x01")), ""},
		{"no notes", elf(""), ErrNoPVH.Error()},
		{"of another owner", elf(note(18, "GNU\x00", "12345678")), ErrNoPVH.Error()},
		{"of another type", elf(note(17, "Xen\x00", "12345678")), ErrNoPVH.Error()},
		{"empty", elf(note(18, "Xen\x00", "")), ErrNoPVH.Error()},
		{"cut off", elf(pvhNotes[:len(pvhNotes)-9]), ErrNoPVH.Error()},
		{"without its table", elf(pvhNotes)[:64], "unexpected EOF"},
		{"without its header", elf(pvhNotes)[:60], "unexpected EOF"},
		{"name beyond the end", change(elf(pvhNotes), 64+3*56, ^uint32(0)), ErrNoPVH.Error()},
		{"content beyond the end", change(elf(pvhNotes), 64+3*56+4, ^uint32(0)), ErrNoPVH.Error()},
		{"far away", change(elf(pvhNotes), 120+8, uint64(1<<63)), "ELF notes of"},
		{"many", change(elf(pvhNotes), 120+32, uint64(1<<40)), "ELF notes of"},
		{"beyond the end", change(elf(pvhNotes), 120+8, uint64(1<<31)), "unexpected EOF"},
	} {
		err := checkPVH(bytes.NewReader(test.file), KernelHeader{Format: Vmlinux, Arch: "amd64"})
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: %v; want %q", test.name, err, test.want)
		}
	}
	if err := checkPVH(bytes.NewReader(nil), KernelHeader{Format: Image, Arch: "arm64"}); err != nil {
		t.Error(err)
	}
}

// What is aligned to 8 bytes has more padding.
func TestCheckPVHAlignment(t *testing.T) {
	other, xen := []byte(note(1, "ABC\x00pad.", "1234pad.")), []byte(note(18, "Xen\x00pad.", "12345678"))
	other[0], other[4], xen[0] = 4, 4, 4
	file := elf(string(other) + string(xen))
	for align, want := range map[uint64]error{4: ErrNoPVH, 8: nil} {
		if err := checkPVH(bytes.NewReader(change(file, 120+48, align)), KernelHeader{Format: Vmlinux, Arch: "amd64"}); err != want {
			t.Errorf("aligned to %d: %v", align, err)
		}
	}
}

func arm64Image() []byte {
	return append(put(64, map[int]any{0: "MZ", 16: uint64(40 << 20), 56: "ARM\x64"}), elf("")...)
}

func newZboot(payload []byte) []byte {
	b := put(4096, map[int]any{0: "MZ\x00\x00zimg", 8: uint32(4096), 12: uint32(len(payload)), 24: "gzip"})
	return append(append(b, payload...), "\x00\x00\x00\x00after"...)
}

func TestPackedImages(t *testing.T) {
	image := arm64Image()
	for name, file := range map[string][]byte{
		"zboot gzip": newZboot(gzipped(image)), "zboot zstd": newZboot(squeeze(t, image, "zstd -q")), "Image.gz": gzipped(image),
	} {
		if got, err := unpacked(t, file); err != nil || !bytes.Equal(got, image) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		h, err := ReadKernel(bytes.NewReader(file))
		if err == nil {
			err = unpack(io.Discard, bytes.NewReader(file[:len(file)-20]), h)
		}
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s, cut off: %v", name, err)
		}
	}
}

// TestInstalledVmlinux holds ours to what other programs make of the kernels that are installed here.
func TestInstalledVmlinux(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	kernels, _ := filepath.Glob("/boot/vmlinuz-*")
	for _, name := range kernels {
		file, err := os.ReadFile(name)
		if err != nil {
			t.Log(err)
			continue
		}
		h, err := ReadKernel(bytes.NewReader(file))
		if err != nil || h.Format != BzImage {
			continue
		}
		ours, err := unpacked(t, file)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if packed := file[h.PayloadOffset : h.PayloadOffset+h.PayloadLength-4]; bytes.HasPrefix(packed, []byte("\x02\x21\x4c\x18")) {
			if theirs := squeeze(t, packed, "lz4 -dc"); !bytes.Equal(ours, theirs) {
				t.Errorf("%s: %d bytes, lz4 makes %d", name, len(ours), len(theirs))
			}
		}
		path := filepath.Join(t.TempDir(), "vmlinux")
		if err := os.WriteFile(path, ours, 0o600); err != nil {
			t.Fatal(err)
		}
		notes := squeeze(t, nil, "readelf -nW "+path)
		has := checkPVH(bytes.NewReader(ours), KernelHeader{Format: Vmlinux, Arch: "amd64"}) == nil
		if has != bytes.Contains(notes, []byte("(0x00000012)")) {
			t.Errorf("%s: PVH entry: %v; readelf says %s", name, has, notes)
		}
	}
}

// small fails when it has taken so many bytes.
type small int

func (f *small) Write(p []byte) (int, error) {
	if *f -= small(len(p)); *f < 0 {
		return 0, io.ErrShortWrite
	}
	return len(p), nil
}

func FuzzUnpack(f *testing.F) {
	cut := elf(pvhNotes)[:2000]
	for _, file := range [][]byte{
		newBzImage(gzipped(cut), 0), newBzImage([]byte("\x02\x21\x4c\x18\x02\x00\x00\x00\x10a"), 1), elf(pvhNotes)[:600],
		newZboot(gzipped(arm64Image()[:64])), gzipped(arm64Image()[:64]),
	} {
		f.Add(file)
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		r := bytes.NewReader(file)
		h, err := ReadKernel(r)
		if err != nil {
			return
		}
		if err := checkPVH(r, h); err == io.EOF {
			t.Error("a bare EOF")
		}
		room := small(16 << 20)
		if err := unpack(&room, r, h); err == io.EOF {
			t.Error("a bare EOF")
		}
	})
}
