package guest

import (
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/wire"
)

// offer maps the memory at a physical address, or returns nil if it cannot be used: there is no /dev/mem, the kernel calls
// it its own, or nothing is there.
func offer(path string, at int64) *wire.Memory {
	if at <= 0 || ownedByKernel(at, at+wire.Shared-1) {
		return nil
	}
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	b, err := unix.Mmap(fd, at, wire.Shared, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil || !works(b) {
		return nil
	}
	return wire.NewMemory(b)
}

// ownedByKernel says whether a range of physical addresses is RAM in use. /dev/mem of a kernel without CONFIG_STRICT_DEVMEM
// gives even that away, and the host's "memmap=" is not known to every kernel.
func ownedByKernel(first, last int64) bool {
	table := readFile("/proc/iomem")
	for line := range strings.Lines(table) {
		span, what, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " : ")
		from, to, _ := strings.Cut(span, "-")
		start, err1 := strconv.ParseInt(strings.TrimSpace(from), 16, 64)
		end, err2 := strconv.ParseInt(to, 16, 64)
		if what == "System RAM" && (err1 != nil || err2 != nil || start <= last && end >= first) {
			return true
		}
	}
	return table == ""
}

// works says whether what is written here and there is there to be read. A fault there is an answer too.
func works(b []byte) (ok bool) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	const step = 256 << 10
	for at := 0; at < len(b); at += step {
		atomic.StoreUint64((*uint64)(unsafe.Pointer(&b[at])), ^uint64(at))
	}
	for at := 0; at < len(b); at += step {
		word := (*uint64)(unsafe.Pointer(&b[at]))
		if atomic.LoadUint64(word) != ^uint64(at) {
			return false
		}
		atomic.StoreUint64(word, 0)
	}
	return true
}
