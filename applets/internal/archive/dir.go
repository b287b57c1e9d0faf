package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/list"
)

// A Dir is a directory as a source. It keeps the parents of the last names open, because names come sorted: as many as
// there were calls at the same time.
type Dir struct {
	root   int  // descriptor of the directory itself
	shared bool // root belongs to another Dir

	mu   sync.Mutex
	idle []*parent // those used last come last
	busy []*parent
}

// A parent is an open directory above the names that are looked at.
type parent struct {
	fd   int    // -1 if not open yet
	name []byte // canonical
}

// OpenDir opens path, following symbolic links in path itself: the user named it.
func OpenDir(path string) (*Dir, error) {
	fd, err := retry(func() (int, error) { return unix.Open(path, openDirectory|unix.O_DIRECTORY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return &Dir{root: fd}, nil
}

// Share returns another Dir for the same directory, whatever its path names by now. d must be closed last.
func (d *Dir) Share() *Dir { return &Dir{root: d.root, shared: true} }

// Close releases the directory.
func (d *Dir) Close() error {
	for _, p := range append(d.idle, d.busy...) {
		unix.Close(p.fd)
	}
	d.idle, d.busy = nil, nil
	if d.shared {
		return nil
	}
	return unix.Close(d.root)
}

// at opens the parent of name and returns its descriptor, valid until release, with the last component.
func (d *Dir) at(name []byte) (dirfd int, base string, err error) {
	dir := list.Parent(name)
	if dir == nil {
		return d.root, list.Root, nil
	}
	base = string(name[len(dir)+1:])
	if len(dir) == len(list.Root) {
		return d.root, base, nil
	}
	p := d.take(dir)
	if !bytes.Equal(p.name, dir) {
		if err := d.enter(p, dir); err != nil {
			return -1, "", err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.busy = append(d.busy, p)
	return p.fd, base, nil
}

// take takes the idle parent that is dir or lies above it, else the one that was used longest ago, else a new one.
func (d *Dir) take(dir []byte) *parent {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.idle) == 0 {
		return &parent{fd: -1}
	}
	best := 0
	for i, p := range d.idle {
		if bytes.Equal(p.name, dir) {
			best = i
			break
		}
		if list.Below(dir, p.name) {
			best = i
		}
	}
	p := d.idle[best]
	d.idle = slices.Delete(d.idle, best, best+1)
	return p
}

// release ends the use of a descriptor from at.
func (d *Dir) release(dirfd int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := slices.IndexFunc(d.busy, func(p *parent) bool { return p.fd == dirfd })
	if i >= 0 { // it is not the root
		d.idle = append(d.idle, d.busy[i])
		d.busy = slices.Delete(d.busy, i, i+1)
	}
}

// enter makes p the directory dir, or closes it. It starts from the one before where that lies above: in sorted names
// it often does, and a deep tree then costs no more than a flat one.
func (d *Dir) enter(p *parent, dir []byte) error {
	from, rest := d.root, dir[len("./"):]
	if p.fd >= 0 && list.Below(dir, p.name) {
		from, rest = p.fd, dir[len(p.name)+1:]
	}
	fd, err := openLong(from, rest)
	if p.fd >= 0 {
		unix.Close(p.fd)
	}
	if errors.Is(err, unix.ELOOP) {
		return ErrSymlink
	}
	p.fd, p.name = fd, append(p.name[:0], dir...)
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
	defer d.release(at)
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
	defer d.release(at)
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
		CSec: int64(raw.Ctim.Sec), CNsec: int64(raw.Ctim.Nsec),
	}
	if t := st.Type(); t == list.CharDevice || t == list.BlockDevice {
		st.Major, st.Minor = unix.Major(dev), unix.Minor(dev)
	}
	if st.Size < 0 {
		return st, fmt.Errorf("file system reports a size of %d", st.Size)
	}
	return st, nil
}

// Born is when the file was made, in seconds and nanoseconds since the epoch; ok is false where the system does not say.
func (d *Dir) Born(name []byte) (sec, nsec int64, ok bool) {
	at, base, err := d.at(name)
	if err != nil {
		return 0, 0, false
	}
	defer d.release(at)
	return bornAt(at, base)
}

// Readlink implements Source.
func (d *Dir) Readlink(name []byte) ([]byte, error) {
	at, base, err := d.at(name)
	if err != nil {
		return nil, err
	}
	defer d.release(at)
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
	defer d.release(at)
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
		defer d.release(at)
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
