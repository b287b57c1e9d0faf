package vm

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"time"
)

// A KImage is what qemu boots, and all it needs of a kernel.
type KImage struct {
	File   *os.File     // at its start; qemu may have to open it again by /proc/self/fd, as it may have no name
	Header KernelHeader // of File
	ID     string       // names the kernel's content, for caches
	Packed error        // why a packed kernel stayed so, which boots more slowly; or nil
}

// Close closes the file.
func (k *KImage) Close() {
	if k != nil {
		k.File.Close()
	}
}

// Image unpacks the kernel if it is packed, unless the cache has it unpacked: an emulated processor would take long to do it.
// What cannot be unpacked is left to qemu as it is. The KImage takes the place of k, which must not be used any more.
func (k *Kernel) Image(cache *Cache) (*KImage, error) {
	id, err := contentID(k.File, cache)
	if err != nil {
		k.Close()
		return nil, err
	}
	packed := &KImage{File: k.File, Header: k.Header, ID: id}
	if f := k.Header.Format; f == Vmlinux || f == Image {
		return packed, nil
	}
	f, err := cache.File("kernel", id, func(w io.Writer) error { return unpack(w, k.File, k.Header) })
	if err != nil {
		packed.Packed = err
		return packed, nil
	}
	h, err := unpackedHeader(f, k.Header)
	if err != nil {
		f.Close()
		packed.Packed = err
		return packed, nil
	}
	k.Close()
	return &KImage{File: f, Header: h, ID: id}, nil
}

// unpackedHeader is the header of an unpacked kernel that qemu can boot. Only the packed one knows its version.
func unpackedHeader(f *os.File, packed KernelHeader) (KernelHeader, error) {
	h, err := ReadKernel(f)
	switch {
	case err != nil:
		return h, err
	case h.Arch != packed.Arch || h.Format != Vmlinux && h.Format != Image:
		return h, fmt.Errorf("the %s has a %s for %s in it", packed.Format, h.Format, h.Arch)
	}
	h.Version = packed.Version
	return h, checkPVH(f, h)
}

// contentID is the SHA-256 of the file. The cache remembers that of a file that did not change since: it is the same file with
// the same size and times, and these are older than what two changes could have in common.
func contentID(f *os.File, cache *Cache) (string, error) {
	stamp, changed, err := stampOf(f)
	if err != nil {
		return "", err
	}
	key := "sha256 " + stamp
	if id := cache.Recall(key); id != "" {
		return id, nil
	}
	h := sha256.New()
	if err := sumUp(h, f); err != nil {
		return "", err
	}
	id := fmt.Sprintf("%x", h.Sum(nil))
	if time.Since(changed) > 2*time.Second {
		cache.Remember(key, id)
	}
	return id, nil
}
