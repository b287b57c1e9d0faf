package vm

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/ctbox/ctbox/applets/internal/compress"
)

// Formats of kernels.
const (
	BzImage = "bzImage" // x86: Documentation/arch/x86/boot.rst of Linux
	Vmlinux = "vmlinux" // ELF, 64 bits, little-endian
	Image   = "Image"   // arm64: Documentation/arch/arm64/booting.rst
	ImageGz = "Image.gz"
	Zboot   = "zboot" // an EFI program that unpacks an Image: drivers/firmware/efi/libstub/zboot-header.S
)

// A KernelHeader is what the head of a kernel says of it.
type KernelHeader struct {
	Format  string // BzImage, Vmlinux, Image, ImageGz or Zboot
	Arch    string // as GOARCH: "amd64", "386", "arm64"
	Version string // as uname -r prints it; only a BzImage has it
	// InitSize is the memory, in bytes, that the kernel takes from its load address on until it knows of
	// any other: init_size of a BzImage (it unpacks itself there, so this is more than the kernel has
	// later), image_size of an Image, the extent of a Vmlinux's segments. 0: the header does not say.
	InitSize int64
	// LoadAt is the lowest physical address, in bytes, that the kernel takes: pref_address of a BzImage, the first
	// segment of a Vmlinux. 0 for others.
	LoadAt int64
	// SetupSects is the number of 512-byte sectors of a BzImage's real-mode code after the first one.
	SetupSects int
	// PayloadOffset and PayloadLength are where in the file the compressed kernel is, in bytes. Length 0:
	// there is none. In a BzImage the last 4 bytes are the size of what is compressed, little-endian.
	PayloadOffset, PayloadLength int64
}

// errNotKernel is the error for a file that begins like no kernel that we know.
var errNotKernel = errors.New("not a Linux kernel: neither bzImage, vmlinux nor arm64 Image")

// headLen covers the setup header of an x86 kernel, which ends before 0x290.
const headLen = 0x290

// ReadKernel reads the header of the kernel in r. A file that is cut off within its header is
// io.ErrUnexpectedEOF; numbers in a header that contradict each other are errors.
func ReadKernel(r io.ReaderAt) (KernelHeader, error) {
	head := make([]byte, headLen)
	n, err := r.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return KernelHeader{}, err
	}
	whole := n == headLen
	switch {
	case string(head[0x202:0x206]) == "HdrS" && whole:
		return readBzImage(r, head)
	case string(head[:4]) == "\x7fELF" && n >= 64:
		return readVmlinux(r, head)
	case string(head[:2]) == "MZ" && string(head[4:8]) == "zimg" && n >= 64:
		return readZboot(r, head)
	case string(head[:3]) == "\x1f\x8b\x08":
		return readPacked(KernelHeader{Format: ImageGz}, io.NewSectionReader(r, 0, 1<<62))
	case string(head[56:60]) == "ARM\x64":
		return readImage(head)
	case bytes.HasPrefix(head, []byte("\x7fELF")), string(head[:2]) == "MZ" && !whole:
		return KernelHeader{}, io.ErrUnexpectedEOF
	}
	return KernelHeader{}, errNotKernel
}

// readBzImage reads the setup header. All kernels since 2.6.35 (2010) speak protocol 2.10 or later.
func readBzImage(r io.ReaderAt, head []byte) (KernelHeader, error) {
	h := KernelHeader{Format: BzImage, Arch: "386", SetupSects: int(head[0x1f1])}
	if h.SetupSects == 0 {
		h.SetupSects = 4
	}
	le := binary.LittleEndian
	protocol := le.Uint16(head[0x206:])
	if protocol < 0x20a {
		return KernelHeader{}, fmt.Errorf("boot protocol %d.%02d is older than 2.10", protocol>>8, protocol&0xff)
	}
	if protocol >= 0x20c && head[0x236]&1 != 0 {
		h.Arch = "amd64"
	}
	h.InitSize = int64(le.Uint32(head[0x260:]))
	h.LoadAt = int64(le.Uint64(head[0x258:]) & (1<<62 - 1))
	h.PayloadLength = int64(le.Uint32(head[0x24c:]))
	if h.PayloadLength > 0 {
		h.PayloadOffset = int64(h.SetupSects+1)*512 + int64(le.Uint32(head[0x248:]))
	}
	var err error
	h.Version, err = release(r, int64(le.Uint16(head[0x20e:])), int64(h.SetupSects)*512)
	return h, err
}

// release reads the first word of the text that kernel_version points to, relative to the second sector.
func release(r io.ReaderAt, at, end int64) (string, error) {
	if at == 0 || at >= end {
		return "", nil
	}
	text := make([]byte, min(256, end-at))
	n, err := r.ReadAt(text, 512+at)
	if err != nil && err != io.EOF {
		return "", err
	}
	if n < len(text) {
		return "", io.ErrUnexpectedEOF
	}
	version, _, _ := strings.Cut(string(text), "\x00")
	version, _, _ = strings.Cut(version, " ")
	return version, nil
}

// mostKernel bounds sizes of kernels that can be meant: the largest with all debugging in it have 500 MiB.
const mostKernel = 4 << 30

// readImage reads the header of an arm64 kernel. image_size is 0 in those before 3.17.
func readImage(head []byte) (KernelHeader, error) {
	size := binary.LittleEndian.Uint64(head[16:])
	if size > mostKernel {
		return KernelHeader{}, fmt.Errorf("kernel claims %d bytes of memory", size)
	}
	return KernelHeader{Format: Image, Arch: "arm64", InitSize: int64(size)}, nil
}

// readZboot reads where the payload is, and its header in turn.
func readZboot(r io.ReaderAt, head []byte) (KernelHeader, error) {
	h := KernelHeader{Format: Zboot}
	h.PayloadOffset = int64(binary.LittleEndian.Uint32(head[8:]))
	h.PayloadLength = int64(binary.LittleEndian.Uint32(head[12:]))
	return readPacked(h, io.NewSectionReader(r, h.PayloadOffset, h.PayloadLength))
}

// readPacked adds to h what the head of a compressed Image says. A compression that cannot be read leaves h as
// it is.
func readPacked(h KernelHeader, r io.Reader) (KernelHeader, error) {
	z, method, err := compress.NewStream(bufio.NewReader(r))
	if err != nil {
		if method == "" {
			return h, err
		}
		return h, nil
	}
	defer z.Close()
	head := make([]byte, 64)
	if _, err := io.ReadFull(z, head); err != nil {
		return KernelHeader{}, early(err)
	}
	if string(head[56:60]) != "ARM\x64" {
		return KernelHeader{}, errNotKernel
	}
	inner, err := readImage(head)
	h.Arch, h.InitSize = inner.Arch, inner.InitSize
	return h, err
}

// readVmlinux finds the extent of the loadable segments in physical memory.
func readVmlinux(r io.ReaderAt, head []byte) (KernelHeader, error) {
	le := binary.LittleEndian
	arch := map[uint16]string{62: "amd64", 183: "arm64"}[le.Uint16(head[18:])] // EM_X86_64, EM_AARCH64
	if head[4] != 2 || head[5] != 1 || arch == "" {
		return KernelHeader{}, errors.New("ELF file, but not of x86-64 or arm64")
	}
	table, err := programHeaders(r, head)
	if err != nil {
		return KernelHeader{}, err
	}
	begin, extent, err := loadExtent(table)
	return KernelHeader{Format: Vmlinux, Arch: arch, InitSize: extent, LoadAt: begin}, err
}

// programHeaders reads the table that an ELF header points to: 56 bytes for each segment.
func programHeaders(r io.ReaderAt, head []byte) ([]byte, error) {
	le := binary.LittleEndian
	size, count := int(le.Uint16(head[54:])), int(le.Uint16(head[56:]))
	if size != 56 {
		return nil, fmt.Errorf("ELF program headers of %d bytes", size)
	}
	table := make([]byte, size*count)
	if at := le.Uint64(head[32:]); at > mostKernel {
		return nil, io.ErrUnexpectedEOF
	} else if n, err := r.ReadAt(table, int64(at)); n < len(table) {
		return nil, early(err)
	}
	return table, nil
}

// loadExtent is the first address of the PT_LOAD segments, and the distance in bytes from there to the last one.
func loadExtent(table []byte) (begin, extent int64, err error) {
	first, last := uint64(1<<64-1), uint64(0)
	for ; len(table) > 0; table = table[56:] {
		if binary.LittleEndian.Uint32(table) != 1 {
			continue
		}
		at := binary.LittleEndian.Uint64(table[24:])
		size := binary.LittleEndian.Uint64(table[40:])
		if size > mostKernel || at > 1<<62 {
			return 0, 0, fmt.Errorf("ELF segment of %d bytes at address %#x", size, at)
		}
		first, last = min(first, at), max(last, at+size)
	}
	if last <= first {
		return 0, 0, errors.New("ELF file without a segment to load")
	}
	if last-first > mostKernel {
		return 0, 0, fmt.Errorf("ELF segments are spread over %d bytes", last-first)
	}
	return int64(first), int64(last - first), nil
}

// early is the error for a file that ends where there must be more.
func early(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
