// Package archive opens the files that a list names and packs them into archives.
// Invariants: no name can lead out of its source, nothing but regular files is ever opened, and an archive
// that is finished without an error holds every record of its list, byte-equal to its ID.
package archive

import (
	"errors"
	"hash"
	"io"

	"github.com/ctbox/ctbox/applets/internal/list"
	"github.com/ctbox/ctbox/applets/internal/progress"
)

// A Source is a tree of files: a directory, and whatever else can answer these questions. Names are canonical.
// All but Close may be called from several goroutines at once.
type Source interface {
	// Stat describes the name itself, never what a symbolic link points at.
	Stat(name []byte) (Stat, error)
	// Readlink is the target of a symbolic link, as bytes.
	Readlink(name []byte) ([]byte, error)
	// Open opens the content of a regular file that Stat described. It never blocks.
	Open(name []byte, st Stat) (Content, error)
	// Xattrs are the extended attributes of a file or directory that belong in a list, sorted by name.
	Xattrs(name []byte) ([]Xattr, error)
	// Close releases what the source holds.
	Close() error
}

// Content is an open regular file.
type Content interface {
	io.ReadCloser
	// Unchanged reports an error if the file's size or time of modification is no longer that of Stat.
	Unchanged() error
	// Xattrs is as in Source, for the open file.
	Xattrs() ([]Xattr, error)
}

// Stat is what ctbox needs of inode(7).
type Stat struct {
	Mode, UID, GID  uint32 // type and permissions in Mode
	Major, Minor    uint32 // of a device node
	Dev, Ino, Nlink uint64
	Size            int64 // bytes
	Sec, Nsec       int64 // time of modification
	CSec, CNsec     int64 // time of the last change of the inode
}

// Type is the file type in the mode.
func (s *Stat) Type() uint32 { return s.Mode & list.TypeMask }

// Errors that say that a tree is not what the list, or a look a moment ago, says.
var (
	ErrChanged = errors.New("changed since it was listed")
	ErrRacing  = errors.New("changed while it was read")
	ErrSymlink = errors.New("path goes through a symbolic link")
)

// drain reads exactly size bytes of c into h through buf, and counts them. A file that has become shorter or longer is
// ErrRacing; one that has become longer by now may be noticed only by Unchanged.
func drain(c io.Reader, size int64, h hash.Hash, buf []byte, count *progress.Line) error {
	if size == 0 {
		return atEnd(c)
	}
	for left := size; left > 0; {
		// A byte more than there should be saves asking for the end of most files.
		n, err := take(c, buf[:min(int64(len(buf)), left+1)], h)
		if err != nil {
			return err
		}
		count.Bytes(n)
		left -= int64(n)
		if left < 0 {
			return ErrRacing
		}
	}
	return nil
}

// take reads some bytes into p, and into h if it is not nil.
func take(c io.Reader, p []byte, h hash.Hash) (int, error) {
	n, err := c.Read(p)
	if h != nil {
		h.Write(p[:n])
	}
	switch {
	case n > 0:
		return n, nil
	case err == nil || err == io.EOF:
		return 0, ErrRacing
	}
	return 0, err
}

// atEnd reports an error unless c is read to its end.
func atEnd(c io.Reader) error {
	var one [1]byte
	n, err := c.Read(one[:])
	switch {
	case n > 0:
		return ErrRacing
	case err != nil && err != io.EOF:
		return err
	}
	return nil
}
