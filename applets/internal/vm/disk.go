package vm

import (
	"encoding/binary"
	"io"
)

// diskDevice is what a guest calls its disk. Kernels for machines of all kinds have NVMe built in, and virtio often not.
const diskDevice = "/dev/nvme0n1"

// A Disk is where a guest's root file system is.
type Disk struct {
	Device string // in the guest
	Kind   string // of file system, as mount(2) has it
}

// FindDisk says what root file system is in r: an image of ext4, erofs or squashfs, or such a one in the first partition of a
// GPT (UEFI 2.10, 5.3). It reports false for what is none, such as an initrd.
func FindDisk(r io.ReaderAt) (Disk, bool) {
	if kind := fileSystem(r, 0); kind != "" {
		return Disk{diskDevice, kind}, true
	}
	var header [16]byte
	const sector, entries = 512, 2 * 512
	if _, err := r.ReadAt(header[:8], sector); err != nil || string(header[:8]) != "EFI PART" {
		return Disk{}, false
	}
	if _, err := r.ReadAt(header[:8], entries+32); err != nil {
		return Disk{}, false
	}
	kind := fileSystem(r, int64(binary.LittleEndian.Uint64(header[:8])&(1<<48-1))*sector)
	return Disk{diskDevice + "p1", kind}, kind != ""
}

// fileSystem knows a file system at an offset by its magic number (fs/ext4/ext4.h, fs/erofs/erofs_fs.h, fs/squashfs/squashfs_fs.h).
func fileSystem(r io.ReaderAt, at int64) string {
	for _, f := range [...]struct {
		kind, magic string
		at          int64
	}{
		{"squashfs", "hsqs", 0}, {"ext4", "\x53\xef", 1024 + 56}, {"erofs", "\xe2\xe1\xf5\xe0", 1024},
	} {
		b := make([]byte, len(f.magic))
		if _, err := r.ReadAt(b, at+f.at); err == nil && string(b) == f.magic {
			return f.kind
		}
	}
	return ""
}
