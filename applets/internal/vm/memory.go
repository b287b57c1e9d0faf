// Package vm knows what a virtual machine needs to run a Linux kernel with an initrd.
// Invariant: an initrd that the kernel would not unpack whole is an error here, never a machine that boots
// with less.
package vm

import (
	"errors"
	"io"
	"os"

	"github.com/ctbox/ctbox/applets/internal/archive"
	"github.com/ctbox/ctbox/applets/internal/list"
)

// File systems that a kernel can unpack an initrd to; it is told by rootfstype= on its command line.
const (
	Tmpfs = "tmpfs" // what it takes if it is told nothing: files may fill half of the memory
	Ramfs = "ramfs" // files may fill all of it
)

// DefaultKernel is the memory, in bytes, to take for a kernel that is not known. Debian's for the cloud needs
// 51.5 MiB.
const DefaultKernel = 64 << 20

// MostInitrd is the largest initrd that is measured, in bytes. The x86 boot protocol has 32 bits for the size,
// and QEMU loads no more elsewhere.
const MostInitrd = 1<<32 - 1

// An Initrd is what matters of an initrd for the memory of a guest. Sizes are in bytes.
type Initrd struct {
	Loaded int64 // as it is handed to the kernel
	// Unpacked is the most that its files take at any time while the kernel unpacks them, with what the
	// kernel keeps for each.
	Unpacked   int64
	Window     int64 // that the kernel holds of a segment's content to decompress it
	Rdinit     bool  // it has /rdinit, or a link there
	Compressed bool  // or a part of it is
}

const (
	page = 4096
	// perFile is what an inode with its name takes beside its pages: an inode of tmpfs has 700 bytes.
	perFile = 1024
	// perName is what a further name of a file takes. It has no pages, but a tmpfs has an inode for every two pages of
	// memory and takes one for each link (shmem_link); without one, the link is left out without a word.
	perName = page
	// perGroup is what the kernel keeps of a file with hard links until the archive ends: a struct hash of
	// init/initramfs.c with PATH_MAX bytes for its name, which kmalloc rounds up.
	perGroup = 8192
)

// Measure reads an initrd to its end. Of regular files it reads only what it must. Memory grows with the
// number of names in the initrd. The errors are those of archive.InitrdReader, and one for more than
// MostInitrd bytes.
func Measure(r io.Reader) (Initrd, error) {
	f, ok := r.(*os.File)
	if ok {
		info, err := f.Stat()
		ok = err == nil && info.Mode().IsRegular()
		if ok && info.Size() > MostInitrd {
			return Initrd{}, errTooLarge
		}
	}
	if !ok {
		r = &capped{r, MostInitrd}
	}
	in := archive.NewInitrdReader(r)
	defer in.Close()
	t := tree{names: map[string]*inode{}}
	for {
		e, err := in.Next()
		if err == io.EOF {
			_, rdinit := t.names["rdinit"]
			return Initrd{Loaded: in.Offset(), Unpacked: t.most, Window: in.Window(), Rdinit: rdinit, Compressed: in.Compressed()}, nil
		} else if err != nil {
			return Initrd{}, err
		}
		t.add(e)
	}
}

var errTooLarge = errors.New("larger than an initrd can be, which is 4 GiB")

// capped fails instead of reading on for ever, as an endless stream of zeros would be an initrd so far.
type capped struct {
	r    io.Reader
	left int64
}

func (c *capped) Read(p []byte) (int, error) {
	if c.left < 0 {
		return 0, errTooLarge
	}
	n, err := c.r.Read(p[:min(int64(len(p)), c.left+1)])
	if c.left -= int64(n); c.left < 0 {
		return n, errTooLarge
	}
	return n, err
}

// A tree is what the kernel has unpacked so far. It does what init/initramfs.c does, but where that leaves a file
// out, because its directory is missing or something else is in its place, the file counts here.
type tree struct {
	names     map[string]*inode
	links     map[linkKey]*inode // of the current segment
	segment   int
	now, most int64
}

type inode struct {
	mode  uint32
	names int
	bytes int64 // of memory
}

type linkKey struct {
	dev       [2]uint32
	ino, mode uint32
}

// add unpacks an entry. A later name takes the place of an earlier one; the content of hard links is there once,
// the last that is not empty.
func (t *tree) add(e *archive.InitrdEntry) {
	if e.Segment != t.segment || t.links == nil {
		t.now -= int64(len(t.links)) * perGroup
		t.segment, t.links = e.Segment, map[linkKey]*inode{}
	}
	kind := e.Mode & list.TypeMask
	name := string(e.Name)
	key := linkKey{e.Dev, e.Ino, kind}
	old := t.names[name]
	node := t.links[key]
	switch {
	case e.Linked() && node != nil:
		t.put(name, node)
		if e.Size > 0 {
			t.resize(node, e.Size)
		}
		return
	case old != nil && old.mode == kind && kind != list.Symlink:
		node = old // written again
	default:
		node = &inode{mode: kind}
		t.put(name, node)
	}
	t.resize(node, e.Size)
	if e.Linked() {
		t.links[key] = node
		t.take(perGroup)
	}
}

// put makes name one of node's names, and no other's.
func (t *tree) put(name string, node *inode) {
	old := t.names[name]
	if old == node {
		return
	}
	if old != nil {
		if old.names--; old.names == 0 {
			t.now -= old.bytes
			old.bytes = 0
		} else {
			t.now -= perName
		}
	}
	if node.names++; node.names > 1 {
		t.take(perName)
	}
	t.names[name] = node
}

func (t *tree) take(bytes int64) {
	t.now += bytes
	t.most = max(t.most, t.now)
}

// resize gives node content of size bytes. Even an empty file counts for a page: names take room in their
// directory, and slabs are not full.
func (t *tree) resize(node *inode, size int64) {
	bytes := max(1, (size+page-1)/page)*page + perFile
	t.take(bytes - node.bytes)
	node.bytes = bytes
}

// Need is the memory, in bytes, of a machine that unpacks initrd i whole and then runs a little: a kernel that
// needs kernel bytes (KernelHeader.InitSize), and a root file system of Tmpfs or Ramfs. What the programs
// in the initrd take comes on top.
//
// It is the largest of three sums, found by bisecting what boots. The first is what must be there when the
// kernel has unpacked itself, and mounts its root: a tmpfs gets half of what is left then, and files must fit
// into that. The second is what must be there when everything is unpacked and the initrd not freed yet; with
// 512 MiB or more, where there are huge pages, the kernel keeps up to 66 MiB free (khugepaged), and tables
// whose sizes go with the memory begin to show. The third is
// where the boot loader puts things: a kernel unpacks itself at 16 MiB, and the initrd is above it. Of all
// memory, 1/64 goes to the kernel's table of pages; and with more than 3 GiB, when some of it is above the
// first 4 GiB of addresses, 64 MiB go to buffers for devices that do not reach that far (swiotlb).
func Need(i Initrd, kernel int64, rootfstype string) int64 {
	loaded, unpacked, kernel := clamp(i.Loaded), clamp(i.Unpacked), clamp(kernel)
	limit := unpacked
	if rootfstype != Ramfs {
		limit = 2 * unpacked
	}
	all := loaded + unpacked + clamp(i.Window) + kernel + 32*mib
	if all >= 450*mib {
		all += 66*mib + all/128
	}
	n := max(loaded+limit+kernel, all)
	n = max(n+n/63+1, loaded+kernel+18*mib)
	if n > 3<<30 {
		n += 64 * mib
	}
	return n
}

const mib = 1 << 20

// clamp keeps sums of sizes far from overflow. No machine has 2^56 bytes.
func clamp(n int64) int64 { return min(max(n, 0), 1<<56) }
