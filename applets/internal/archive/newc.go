package archive

import (
	"bytes"
	"errors"
	"hash"
	"io"

	"github.com/ctbox/ctbox/applets/internal/list"
)

// Limits of newc archives and of the kernel that unpacks them (Documentation/driver-api/early-userspace/
// buffer-format.rst, init/initramfs.c, include/linux/kdev_t.h).
const (
	newcHeader    = 110
	newcMaxSize   = 1<<32 - 1 // bytes of content: 8 hexadecimal digits
	newcMaxTime   = 1<<32 - 1
	newcMaxName   = 4095 // bytes, without the NUL that ends it: PATH_MAX less one; longer names are skipped
	newcMaxTarget = 4095
	newcComponent = 255
	newcMaxMajor  = 1<<12 - 1
	newcMaxMinor  = 1<<20 - 1

	newcTrailer = "TRAILER!!!"
	// Segments of an initrd are padded with zeros to a multiple of newcBlock, with at least newcLeast of them:
	// the kernel wants the next segment at a multiple of 4, and its LZ4 needs the zeros to see its end.
	newcBlock = 512
	newcLeast = 4
)

// Reasons to refuse an entry: the kernel would drop it without a word, or newc cannot hold it.
var (
	errNewcSize      = errors.New("larger than 4 GiB less one byte, the most that an initrd can hold")
	errNewcTime      = errors.New("time of modification is not between 1970 and 2106, all that an initrd can hold")
	errNewcName      = errors.New("name is longer than the 4095 bytes that the kernel unpacks")
	errNewcComponent = errors.New("name has a component longer than the 255 bytes that the kernel unpacks")
	errNewcEmptyName = errors.New("empty name")
	errNewcTrailer   = errors.New("this name ends an initrd")
	errNewcTarget    = errors.New("target of a symbolic link is not 1 to 4095 bytes long")
	errNewcDevice    = errors.New("device number is larger than Linux's 4095:1048575")
)

// A NewcEntry is the header of one record of a newc archive.
type NewcEntry struct {
	Name         []byte // as the kernel unpacks it: "." for the root, else without "./"
	Mode         uint32 // st_mode: type and permissions
	UID, GID     uint32
	Size, Time   int64  // bytes, of the target for a symbolic link; seconds since 1970
	Major, Minor uint32 // of a device node

	// Names of one file are consecutive or not. The first has all the content, Ino 0 and in Nlink the number of names;
	// Header sets Ino. The others have that Ino and Nlink, and Size 0. For a file with one name, both may be 0; Nlink is
	// then 1, or 2 for a directory: no reader looks at that, and gen_init_cpio and most file systems say so.
	Ino, Nlink uint32
}

// A NewcWriter writes a newc cpio archive, the format of initrds. The bytes are a function of the entries alone: inode
// numbers count from 1, device numbers of the file system are 0, there is no checksum. Parents must come before what they
// hold; the writer does not check that.
type NewcWriter struct {
	buffer
	ino  uint32
	size int64 // of all that was written
	head [newcHeader]byte
}

// NewNewcWriter writes to w.
func NewNewcWriter(w io.Writer) *NewcWriter { return &NewcWriter{buffer: newBuffer(w)} }

// Header writes the header of an entry. If its Size is not 0, Content must follow.
func (n *NewcWriter) Header(e *NewcEntry) error {
	if err := e.check(); err != nil {
		return err
	}
	if e.Ino == 0 {
		n.ino++
		e.Ino = n.ino
	}
	return n.header(e)
}

// Content copies exactly Size bytes of c, adds them to h if that is not nil, and fills up with zeros to a multiple of 4.
// A symbolic link's content is its target.
func (n *NewcWriter) Content(c io.Reader, size int64, h hash.Hash) error {
	if err := n.copy(c, size, h); err != nil {
		return err
	}
	n.size += size
	return n.fill(-n.size & 3)
}

// lent is Content that is in memory, and stays there until settle.
func (n *NewcWriter) lent(p []byte) error {
	if err := n.lend(p); err != nil {
		return err
	}
	n.size += int64(len(p))
	return n.fill(-n.size & 3)
}

// Close writes the end of the archive and the padding after it. It does not close the underlying writer.
func (n *NewcWriter) Close() error {
	if err := n.header(&NewcEntry{Name: []byte(newcTrailer), Nlink: 1}); err != nil {
		return err
	}
	if err := n.fill(NewcPadding(n.size)); err != nil {
		return err
	}
	return n.flush()
}

// NewcPadding is how many zero bytes follow a segment of an initrd, plain or compressed, of size bytes, so that
// another one may come after it.
func NewcPadding(size int64) int64 {
	padding := -size & (newcBlock - 1)
	if padding < newcLeast {
		padding += newcBlock
	}
	return padding
}

// fill writes zeros.
func (n *NewcWriter) fill(size int64) error {
	n.size += size
	return n.write(zeros[:size])
}

func (e *NewcEntry) check() error {
	kind := e.Mode & list.TypeMask
	switch {
	case len(e.Name) == 0:
		return errNewcEmptyName
	case len(e.Name) > newcMaxName:
		return errNewcName
	case string(e.Name) == newcTrailer:
		return errNewcTrailer
	case e.Size < 0 || e.Size > newcMaxSize:
		return errNewcSize
	case e.Time < 0 || e.Time > newcMaxTime:
		return errNewcTime
	case e.Major > newcMaxMajor || e.Minor > newcMaxMinor:
		return errNewcDevice
	case kind == list.Symlink && (e.Size == 0 || e.Size > newcMaxTarget):
		return errNewcTarget
	}
	for rest, more := e.Name, true; more; {
		var part []byte
		if part, rest, more = bytes.Cut(rest, []byte("/")); len(part) > newcComponent {
			return errNewcComponent
		}
	}
	return nil
}

// header formats the 13 fields.
func (n *NewcWriter) header(e *NewcEntry) error {
	nlink := e.Nlink
	switch {
	case nlink == 0 && e.Mode&list.TypeMask == list.Directory:
		nlink = 2
	case nlink == 0:
		nlink = 1
	}
	copy(n.head[:], "070701")
	for i, field := range [...]uint32{
		e.Ino, e.Mode, e.UID, e.GID, nlink, uint32(e.Time), uint32(e.Size),
		0, 0, // device of the file system
		e.Major, e.Minor, uint32(len(e.Name) + 1),
		0, // checksum, of 070702 only
	} {
		hex8(n.head[6+8*i:], field)
	}
	if err := n.write(n.head[:]); err != nil {
		return err
	}
	if err := n.write(e.Name); err != nil {
		return err
	}
	n.size += int64(newcHeader + len(e.Name))
	return n.fill(1 + -(n.size+1)&3)
}

// hex8 writes eight upper-case digits, as GNU cpio and the kernel's gen_init_cpio do.
func hex8(b []byte, v uint32) {
	for i := 7; i >= 0; i-- {
		b[i] = "0123456789ABCDEF"[v&15]
		v >>= 4
	}
}
