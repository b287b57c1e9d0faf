package fakeroot

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/ctbox/ctbox/applets/internal/list"
)

// An entry is what fakeroot says of one file: a line of its save file.
type entry struct {
	dev, rdev      uint64 // as the C library writes device numbers (makedev(3))
	mode, uid, gid uint32
	nlink          uint32 // when fakeroot last heard of the file: links that were made after that are not counted
}

// A Save holds a save file. The inode is the key, so that one look finds the entry, and also one of another device.
type Save struct {
	entries map[uint64]entry
	others  map[inode]entry // those whose inode number is in entries already
}

type inode struct{ dev, ino uint64 }

const (
	// maxLine is more than the longest line with 64-bit numbers.
	maxLine = 256
	// maxEntries keeps memory below some 400 MB. A distribution with everything in it has a tenth of this.
	maxEntries = 4 << 20
)

// fields are what faked's save_database writes, in its order, with the base and the width of the number.
var fields = [...]struct {
	name string
	base int
	bits int
}{
	{"dev=", 16, 64}, {"ino=", 10, 64}, {"mode=", 8, 16}, {"uid=", 10, 32}, {"gid=", 10, 32}, {"nlink=", 10, 32}, {"rdev=", 10, 64},
}

var errLine = errors.New("not a line of a fakeroot save file: dev=,ino=,mode=,uid=,gid=,nlink=,rdev=")

// ReadSave reads the save file at path.
func ReadSave(path string) (*Save, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return Parse(path, f)
}

// Parse reads what "fakeroot -s" wrote. An empty file is one: of a session that changed no owner, mode or device.
// Whatever fakeroot would not write is an error that begins with name and the number of the line, because fakeroot
// itself takes a file that is cut off, or no save file at all, as far as it understands it.
func Parse(name string, r io.Reader) (*Save, error) {
	s := &Save{entries: map[uint64]entry{}}
	in := bufio.NewReaderSize(r, 64<<10)
	for line := 1; ; line++ {
		text, err := in.ReadSlice('\n')
		switch {
		case err == io.EOF && len(text) == 0:
			return s, nil
		case err == bufio.ErrBufferFull || len(text) > maxLine:
			err = errors.New("line is too long")
		case err == io.EOF:
			err = errors.New("the last line is cut off")
		case err == nil && line > maxEntries:
			err = fmt.Errorf("more than %d files", maxEntries)
		case err == nil:
			err = s.add(text[:len(text)-1])
		default:
			return nil, err
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, line, err)
		}
	}
}

func (s *Save) add(line []byte) error {
	var n [len(fields)]uint64
	for i, f := range fields {
		text, rest, more := bytes.Cut(line, []byte(","))
		digits, ok := bytes.CutPrefix(text, []byte(f.name))
		if !ok || more != (i < len(fields)-1) {
			return errLine
		}
		v, err := strconv.ParseUint(string(digits), f.base, f.bits)
		if err != nil || string(strconv.AppendUint(nil, v, f.base)) != string(digits) {
			return fmt.Errorf("%s is no number that fakeroot writes", list.Quote(text))
		}
		n[i], line = v, rest
	}
	e := entry{dev: n[0], mode: uint32(n[2]), uid: uint32(n[3]), gid: uint32(n[4]), nlink: uint32(n[5]), rdev: n[6]}
	if err := e.check(); err != nil {
		return err
	}
	return s.insert(n[1], e)
}

// check refuses what no file has, and gives files that mknod(2) made without a type the one that it means.
func (e *entry) check() error {
	const nobody = 1<<32 - 1 // (uid_t)-1 is no owner
	if e.uid == nobody || e.gid == nobody {
		return fmt.Errorf("%d is no owner", uint32(nobody))
	}
	switch e.mode & list.TypeMask {
	case 0:
		e.mode |= list.Regular
	case list.Regular, list.Directory, list.Symlink, list.CharDevice, list.BlockDevice, list.FIFO, list.Socket:
	default:
		return fmt.Errorf("mode %o has no known type", e.mode)
	}
	return nil
}

func (s *Save) insert(ino uint64, e entry) error {
	first, ok := s.entries[ino]
	if !ok {
		s.entries[ino] = e
		return nil
	}
	key := inode{e.dev, ino}
	if _, again := s.others[key]; again || first.dev == e.dev {
		return errors.New("the same file as in a line before")
	}
	if s.others == nil {
		s.others = map[inode]entry{}
	}
	s.others[key] = e
	return nil
}

// Len is the number of files in the save file.
func (s *Save) Len() int { return len(s.entries) + len(s.others) }

// find looks a file up. moved is true when only files of other devices have its inode number; e is one of them.
func (s *Save) find(dev, ino uint64) (e entry, known, moved bool) {
	e, ok := s.entries[ino]
	if !ok || e.dev == dev {
		return e, ok, false
	}
	if other, ok := s.others[inode{dev, ino}]; ok {
		return other, true, false
	}
	return e, false, true
}
