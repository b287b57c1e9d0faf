package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/list"
)

// A Dir is a directory as a source. It keeps the last parent directory open, because names come sorted. It is not
// safe for concurrent use: each worker takes its own.
type Dir struct {
	root   int    // descriptor of the directory itself
	shared bool   // root belongs to another Dir
	fd     int    // of the open parent, -1 if there is none
	parent []byte // canonical name of the parent
}

// OpenDir opens path, following symbolic links in path itself: the user named it.
func OpenDir(path string) (*Dir, error) {
	fd, err := retry(func() (int, error) { return unix.Open(path, openDirectory|unix.O_DIRECTORY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return &Dir{root: fd, fd: -1}, nil
}

// Share returns another Dir for the same directory, whatever its path names by now. d must be closed last.
func (d *Dir) Share() *Dir { return &Dir{root: d.root, shared: true, fd: -1} }

// Close releases the directory.
func (d *Dir) Close() error {
	d.forget()
	if d.shared {
		return nil
	}
	return unix.Close(d.root)
}

func (d *Dir) forget() {
	if d.fd >= 0 {
		unix.Close(d.fd)
	}
	d.fd = -1
}

// at opens the parent of name and returns its descriptor, valid until the next call, with the last component.
func (d *Dir) at(name []byte) (dirfd int, base string, err error) {
	parent := list.Parent(name)
	if parent == nil {
		return d.root, list.Root, nil
	}
	base = string(name[len(parent)+1:])
	if len(parent) == len(list.Root) {
		return d.root, base, nil
	}
	if d.fd >= 0 && bytes.Equal(parent, d.parent) {
		return d.fd, base, nil
	}
	if err := d.enter(parent); err != nil {
		return -1, "", err
	}
	return d.fd, base, nil
}

// enter makes parent the open parent. It starts from the one before where that lies above: in sorted names it often
// does, and a deep tree then costs no more than a flat one.
func (d *Dir) enter(parent []byte) error {
	from, rest := d.root, parent[len("./"):]
	if d.fd >= 0 && list.Below(parent, d.parent) {
		from, rest = d.fd, parent[len(d.parent)+1:]
	}
	fd, err := openLong(from, rest)
	d.forget()
	if errors.Is(err, unix.ELOOP) {
		return ErrSymlink
	}
	if err == nil {
		d.fd, d.parent = fd, append(d.parent[:0], parent...)
	}
	return err
}

// openLong opens directory path below from without following any symbolic link, in pieces where the path is longer
// than the kernel takes at once (PATH_MAX).
func openLong(from int, path []byte) (int, error) {
	const piece = 4000
	for at := from; ; {
		part, last := path, len(path) <= piece
		if !last {
			part = path[:bytes.LastIndexByte(path[:piece], '/')]
		}
		fd, err := openBeneath(at, string(part), openDirectory|unix.O_DIRECTORY|unix.O_CLOEXEC)
		if at != from {
			unix.Close(at)
		}
		if err != nil || last {
			return fd, err
		}
		at, path = fd, path[len(part)+1:]
	}
}

// open opens a directory to read it.
func (d *Dir) open(name []byte) (int, error) {
	at, base, err := d.at(name)
	if err != nil {
		return -1, err
	}
	return retry(func() (int, error) {
		return unix.Openat(at, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	})
}

// Stat implements Source.
func (d *Dir) Stat(name []byte) (Stat, error) {
	at, base, err := d.at(name)
	if err != nil {
		return Stat{}, err
	}
	return statAt(at, base)
}

func statAt(at int, base string) (Stat, error) {
	var raw unix.Stat_t
	_, err := retry(func() (int, error) { return 0, unix.Fstatat(at, base, &raw, unix.AT_SYMLINK_NOFOLLOW) })
	if err != nil {
		return Stat{}, err
	}
	return fromUnix(&raw)
}

func fromUnix(raw *unix.Stat_t) (Stat, error) {
	dev := uint64(raw.Rdev)
	st := Stat{
		Mode: uint32(raw.Mode), UID: raw.Uid, GID: raw.Gid,
		Dev: uint64(raw.Dev), Ino: raw.Ino, Nlink: uint64(raw.Nlink),
		Size: raw.Size, Sec: int64(raw.Mtim.Sec), Nsec: int64(raw.Mtim.Nsec),
	}
	if t := st.Type(); t == list.CharDevice || t == list.BlockDevice {
		st.Major, st.Minor = unix.Major(dev), unix.Minor(dev)
	}
	if st.Size < 0 {
		return st, fmt.Errorf("file system reports a size of %d", st.Size)
	}
	return st, nil
}

// Readlink implements Source.
func (d *Dir) Readlink(name []byte) ([]byte, error) {
	at, base, err := d.at(name)
	if err != nil {
		return nil, err
	}
	for size := 256; ; size *= 4 {
		buf := make([]byte, size)
		n, err := retry(func() (int, error) { return unix.Readlinkat(at, base, buf) })
		switch {
		case errors.Is(err, unix.EINVAL):
			return nil, ErrRacing // it is no symbolic link now
		case err != nil:
			return nil, err
		case n == 0:
			return nil, errors.New("symbolic link without a target")
		case n < size:
			return buf[:n], nil
		}
	}
}

// Open implements Source. O_NONBLOCK keeps a FIFO that has taken the file's place from blocking.
func (d *Dir) Open(name []byte, st Stat) (Content, error) {
	at, base, err := d.at(name)
	if err != nil {
		return nil, err
	}
	fd, err := openFile(at, base, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, st.UID)
	if errors.Is(err, unix.ELOOP) {
		return nil, ErrRacing // it is a symbolic link now
	}
	if err != nil {
		return nil, err
	}
	f := &file{fd: fd, st: st}
	if err := f.same(); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// file is an open regular file of a Dir. Plain system calls: regular files never wait, so Go's poller is no help.
type file struct {
	fd int
	st Stat
}

func (f *file) same() error {
	var raw unix.Stat_t
	if err := unix.Fstat(f.fd, &raw); err != nil {
		return err
	}
	if uint64(raw.Dev) != f.st.Dev || raw.Ino != f.st.Ino || uint32(raw.Mode)&list.TypeMask != list.Regular {
		return ErrRacing
	}
	if raw.Size != f.st.Size || int64(raw.Mtim.Sec) != f.st.Sec || int64(raw.Mtim.Nsec) != f.st.Nsec {
		return ErrRacing
	}
	return nil
}

func (f *file) Read(p []byte) (int, error) {
	n, err := retry(func() (int, error) { return unix.Read(f.fd, p) })
	switch {
	case err != nil:
		return 0, err
	case n == 0 && len(p) > 0:
		return 0, io.EOF
	}
	return n, nil
}

func (f *file) Unchanged() error         { return f.same() }
func (f *file) Xattrs() ([]Xattr, error) { return xattrs(fdXattrs(f.fd)) }
func (f *file) Close() error             { return unix.Close(f.fd) }

// Xattrs implements Source, for directories; other types have no attributes that a list holds.
func (d *Dir) Xattrs(name []byte) ([]Xattr, error) {
	fd, err := d.open(name)
	if errors.Is(err, unix.EACCES) {
		at, base, err := d.at(name)
		if err != nil {
			return nil, err
		}
		return xattrs(pathXattrs(at, base))
	}
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	return xattrs(fdXattrs(fd))
}

// retry repeats a system call that a signal interrupted.
func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// openWalk opens path below at one component at a time, for systems without openat2(2).
func openWalk(at int, path string, flags int) (int, error) {
	fd := at
	for rest := path; ; {
		part, tail, more := cutPath(rest)
		mode := flags
		if more {
			mode = openDirectory | unix.O_DIRECTORY | unix.O_CLOEXEC
		}
		next, err := retry(func() (int, error) { return unix.Openat(fd, part, mode|unix.O_NOFOLLOW, 0) })
		if errors.Is(err, unix.ENOTDIR) {
			if st, e := statAt(fd, part); e == nil && st.Type() == list.Symlink {
				err = unix.ELOOP
			}
		}
		if fd != at {
			unix.Close(fd)
		}
		if err != nil || !more {
			return next, err
		}
		fd, rest = next, tail
	}
}

func cutPath(path string) (first, rest string, more bool) {
	for i := range len(path) {
		if path[i] == os.PathSeparator {
			return path[:i], path[i+1:], true
		}
	}
	return path, "", false
}
