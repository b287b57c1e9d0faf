package archive

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/ctbox/ctbox/applets/internal/list"
)

const (
	initrdHead    = 110  // length of a record's fixed part (buffer-format.rst of Linux)
	initrdPathMax = 4096 // PATH_MAX: the most for a name with its NUL, and for the target of a symlink
	initrdNameMax = 255  // NAME_MAX: the most between slashes
	initrdTrailer = "TRAILER!!!"
)

// An InitrdEntry is one file of an initrd.
type InitrdEntry struct {
	// Name is as stored, without leading "./" or "/", and "." for the root. It may hold any bytes but NUL.
	Name []byte
	// Mode is st_mode with the type of the file. Time is in seconds since 1970.
	Mode, UID, GID, Time, Ino, Links uint32
	Dev                              [2]uint32 // major and minor number of the device that Ino is of
	Major, Minor                     uint32    // of a device node
	Size                             int64     // of the content, in bytes; a symlink's is its target
	// Segment counts archives from 0. Each ends with its TRAILER!!!, and hard links do not cross that: two
	// files are one if they have the same Segment, Dev, Ino and type, and both Links are 2 or more.
	Segment int
}

// Linked reports whether the kernel looks for an earlier name of the same file.
func (e *InitrdEntry) Linked() bool {
	t := e.Mode & list.TypeMask
	return e.Links >= 2 && t != list.Directory && t != list.Symlink
}

// check finds what the kernel silently leaves out.
func (e *InitrdEntry) check() error {
	switch e.Mode & list.TypeMask {
	case list.Regular, list.Symlink:
	case list.Directory, list.CharDevice, list.BlockDevice, list.FIFO, list.Socket:
		if e.Size > 0 {
			return errors.New("content in something that is no file")
		}
	default:
		return fmt.Errorf("unknown type of file, mode %#o", e.Mode)
	}
	if len(e.Name) == 0 {
		return errors.New("empty name")
	}
	for part := range bytes.SplitSeq(e.Name, []byte{'/'}) {
		if len(part) > initrdNameMax {
			return fmt.Errorf("%d bytes between slashes: at most %d can be", len(part), initrdNameMax)
		}
	}
	return nil
}

// canonicalName drops what names of the same file may differ in at their beginnings.
func canonicalName(name []byte) []byte {
	n := name
	for {
		switch {
		case bytes.HasPrefix(n, []byte("./")):
			n = n[2:]
		case len(n) > 0 && n[0] == '/':
			n = n[1:]
		case len(n) == 0 && len(name) > 0:
			return []byte(".")
		default:
			return n
		}
	}
}

// initrdHeader is what the package does not tell, or not safely.
type initrdHeader struct {
	magic          string
	mode, check    uint32
	size, nameSize uint32
	dev, rdev      [2]uint32
}

func checkMagic(magic []byte) error {
	switch string(magic) {
	case "070701", "070702":
		return nil
	case "070707":
		return errors.New("cpio in its old format: use cpio -H newc")
	}
	return errors.New("no header of a newc archive")
}

// readInitrdHeader reads the 13 numbers of a header; ok is false if one of their 104 digits is not hexadecimal.
func readInitrdHeader(head []byte) (h initrdHeader, ok bool) {
	var raw [52]byte
	if _, err := hex.Decode(raw[:], head[6:initrdHead]); err != nil {
		return h, false
	}
	field := func(i int) uint32 {
		return uint32(raw[4*i])<<24 | uint32(raw[4*i+1])<<16 | uint32(raw[4*i+2])<<8 | uint32(raw[4*i+3])
	}
	return initrdHeader{
		magic: string(head[:6]), mode: field(1), size: field(6), nameSize: field(11), check: field(12),
		dev: [2]uint32{field(7), field(8)}, rdev: [2]uint32{field(9), field(10)},
	}, true
}
