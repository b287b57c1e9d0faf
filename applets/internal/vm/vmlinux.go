package vm

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/ctbox/ctbox/applets/internal/compress"
)

// ErrNoPVH is the error for an x86 kernel that qemu can boot only as a bzImage.
var ErrNoPVH = errors.New("the kernel has no PVH entry point (CONFIG_PVH)")

// mostUnpacked is the largest kernel that is unpacked, in bytes: twice what one with all debugging in it has.
const mostUnpacked = 1 << 30

// payload is the compressed kernel in the file r, whose header is h.
func payload(r io.ReaderAt, h KernelHeader) *io.SectionReader {
	if h.Format == ImageGz {
		return io.NewSectionReader(r, 0, 1<<62)
	}
	return io.NewSectionReader(r, h.PayloadOffset, h.PayloadLength)
}

// unpack writes the kernel that is compressed in the file r, whose header is h.
func unpack(w io.Writer, r io.ReaderAt, h KernelHeader) error {
	packed, size := payload(r, h), int64(-1)
	if h.Format == BzImage {
		var err error
		if packed, size, err = cutSize(packed); err != nil {
			return err
		}
	}
	z, _, err := compress.NewStream(bufio.NewReaderSize(packed, 64<<10))
	if err != nil {
		return err
	}
	defer z.Close()
	n, err := io.Copy(w, io.LimitReader(z, mostUnpacked+1))
	switch {
	case err != nil:
		return err
	case n > mostUnpacked:
		return fmt.Errorf("unpacks to more than %d bytes", mostUnpacked)
	case size >= 0 && n != size:
		return fmt.Errorf("unpacks to %d bytes instead of %d", n, size)
	}
	return nil
}

// cutSize takes the size of what is compressed off the end of a bzImage's payload: to lz4 it would be another block. gzip ends
// with the size by itself, and needs it (arch/x86/boot/compressed/Makefile).
func cutSize(packed *io.SectionReader) (*io.SectionReader, int64, error) {
	var last [4]byte
	n := packed.Size() - int64(len(last))
	if n < 0 {
		return nil, 0, io.ErrUnexpectedEOF
	}
	if _, err := packed.ReadAt(last[:], n); err != nil {
		return nil, 0, early(err)
	}
	size := int64(binary.LittleEndian.Uint32(last[:]))
	var magic [2]byte
	if packed.ReadAt(magic[:], 0); string(magic[:]) == "\x1f\x8b" {
		return packed, size, nil
	}
	return io.NewSectionReader(packed, 0, n), size, nil
}

// checkPVH refuses a vmlinux for x86-64 that qemu cannot boot: one without the note that says where its 32-bit entry point is
// (XEN_ELFNOTE_PHYS32_ENTRY in include/xen/interface/elfnote.h). Other kernels pass.
func checkPVH(r io.ReaderAt, h KernelHeader) error {
	if h.Format != Vmlinux || h.Arch != "amd64" {
		return nil
	}
	head := make([]byte, 64)
	if _, err := r.ReadAt(head, 0); err != nil {
		return early(err)
	}
	table, err := programHeaders(r, head)
	for ; err == nil && len(table) > 0; table = table[56:] {
		const ptNote = 4
		if binary.LittleEndian.Uint32(table) != ptNote {
			continue
		}
		var found bool
		if found, err = hasPVH(r, table[:56]); found {
			return nil
		}
	}
	if err == nil {
		err = ErrNoPVH
	}
	return err
}

// hasPVH looks through the notes of a segment: lengths of name and content, type, name, content (elf(5)). The last two are padded
// to the segment's alignment, as qemu has it (include/hw/elf_ops.h).
func hasPVH(r io.ReaderAt, segment []byte) (bool, error) {
	const phys32Entry = 18
	const most = 1 << 20 // bytes of notes; kernels have some hundred
	le := binary.LittleEndian
	at, size, align := le.Uint64(segment[8:]), le.Uint64(segment[32:]), uint64(4)
	if le.Uint64(segment[48:]) == 8 {
		align = 8
	}
	if at > mostKernel || size > most {
		return false, fmt.Errorf("ELF notes of %d bytes at %#x", size, at)
	}
	notes := make([]byte, size)
	if n, err := r.ReadAt(notes, int64(at)); n < len(notes) {
		return false, early(err)
	}
	for len(notes) >= 12 {
		name, content, kind := uint64(le.Uint32(notes)), uint64(le.Uint32(notes[4:])), le.Uint32(notes[8:])
		begin := 12 + (name+align-1)&^(align-1)
		end := begin + (content+align-1)&^(align-1)
		if begin+content > uint64(len(notes)) {
			break
		}
		if kind == phys32Entry && string(notes[12:12+name]) == "Xen\x00" && content >= 4 {
			return true, nil
		}
		notes = notes[min(end, uint64(len(notes))):]
	}
	return false, nil
}
