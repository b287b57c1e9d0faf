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

// A Dir is a directory as a source. It keeps directories below it open, because names come sorted, and a walk has
// been where the names that it brings will be looked for.
type Dir struct {
	*tree
	shared bool    // the tree belongs to another Dir
	alone  bool    // one goroutine uses this Dir: it may keep last in use, and what follows
	last   *parent // what is in use, if alone
	spare  *file   // closed, to be used again
	target []byte  // that Readlink gave last
}

// A tree is what a Dir and those that share it have in common.
type tree struct {
	top parent

	mu   sync.Mutex
	open []*parent // used lately come last
}

// mostOpen is how many directories below the top stay open without being used: about as many as a walk is ahead of those
// who look at its names.
const mostOpen = 32

// A parent is an open directory above names that are looked at.
type parent struct {
	fd    int
	name  []byte // canonical
	users int
}

// OpenDir opens path, following symbolic links in path itself: the user named it.
func OpenDir(path string) (*Dir, error) {
	fd, err := retry(func() (int, error) { return unix.Open(path, openDirectory|unix.O_DIRECTORY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return &Dir{tree: &tree{top: parent{fd: fd, name: []byte(list.Root)}}}, nil
}

// Share returns another Dir for the same directory, whatever its path names by now. d must be closed last.
func (d *Dir) Share() *Dir { return &Dir{tree: d.tree, shared: true} }

// Close releases the directory.
func (d *Dir) Close() error {
	if d.last != nil {
		d.put(d.last)
		d.last = nil
	}
	if d.shared {
		return nil
	}
	for _, p := range d.open {
		unix.Close(p.fd)
	}
	d.open = nil
	return unix.Close(d.top.fd)
}

// at opens the parent of name and returns it, valid until release, with the last component.
func (d *Dir) at(name []byte) (p *parent, base []byte, err error) {
	dir := list.Parent(name)
	if dir == nil {
		return &d.top, name, nil
	}
	base = name[len(dir)+1:]
	if !d.alone {
		p, err = d.take(dir)
		return p, base, err
	}
	if d.last != nil && bytes.Equal(d.last.name, dir) {
		return d.last, base, nil
	}
	if p, err = d.take(dir); err != nil {
		return nil, nil, err
	}
	if d.last != nil {
		d.put(d.last)
	}
	d.last = p
	return p, base, nil
}

// release ends the use of a directory from at.
func (d *Dir) release(p *parent) {
	if !d.alone && p != &d.top {
		d.put(p)
	}
}

// take opens the directory dir, if it is not open yet. It starts from the lowest above it that is: in sorted names that
// often is near, and a deep tree then costs no more than a flat one.
func (t *tree) take(dir []byte) (*parent, error) {
	if len(dir) == len(list.Root) {
		return &t.top, nil
	}
	from := t.nearest(dir)
	if len(from.name) == len(dir) {
		return from, nil
	}
	fd, err := openLong(from.fd, dir[len(from.name)+1:])
	t.put(from)
	if errors.Is(err, unix.ELOOP) {
		return nil, ErrSymlink
	}
	if err != nil {
		return nil, err
	}
	return t.keep(dir, fd, 1), nil
}

// offer keeps a directory open that was listed as name.
func (t *tree) offer(name []byte, fd int) {
	if len(name) == len(list.Root) {
		unix.Close(fd)
		return
	}
	t.keep(name, fd, 0)
}

// nearest takes dir, or else the lowest open directory above it.
func (t *tree) nearest(dir []byte) *parent {
	t.mu.Lock()
	defer t.mu.Unlock()
	for ; len(dir) > len(list.Root); dir = list.Parent(dir) {
		for i, p := range slices.Backward(t.open) {
			if len(p.name) != len(dir) || !bytes.Equal(p.name, dir) {
				continue
			}
			p.users++
			if i < len(t.open)/2 {
				t.open = append(slices.Delete(t.open, i, i+1), p)
			}
			return p
		}
	}
	return &t.top
}

// put ends a use of p.
func (t *tree) put(p *parent) {
	if p == &t.top {
		return
	}
	t.mu.Lock()
	p.users--
	t.mu.Unlock()
}

// keep adds a directory to those that are open, and closes one that was not used for long. Where another goroutine has
// opened the same one meanwhile, both stay until they are closed so.
func (t *tree) keep(name []byte, fd, users int) *parent {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := new(parent)
	if len(t.open) >= mostOpen {
		if i := slices.IndexFunc(t.open, func(p *parent) bool { return p.users == 0 }); i >= 0 {
			p = t.open[i]
			unix.Close(p.fd)
			t.open = slices.Delete(t.open, i, i+1)
		}
	}
	p.fd, p.name, p.users = fd, append(p.name[:0], name...), users
	t.open = append(t.open, p)
	return p
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

// list opens a directory to read it.
func (d *Dir) list(name []byte) (int, error) {
	at, base, err := d.at(name)
	if err != nil {
		return -1, err
	}
	defer d.release(at)
	return at.list(base)
}

func (p *parent) list(base []byte) (int, error) {
	return retry(func() (int, error) {
		return unix.Openat(p.fd, string(base), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	})
}

// Stat implements Source.
func (d *Dir) Stat(name []byte) (st Stat, err error) {
	at, base, err := d.at(name)
	if err != nil {
		return Stat{}, err
	}
	var raw unix.Stat_t
	for err = unix.EINTR; err == unix.EINTR; {
		err = fstatat(at.fd, base, &raw)
	}
	d.release(at)
	if err != nil {
		return Stat{}, err
	}
	return fromUnix(&raw)
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
	return bornAt(at.fd, string(base))
}

// Readlink implements Source. If d is alone, the target is valid until the next call.
func (d *Dir) Readlink(name []byte) ([]byte, error) {
	at, base, err := d.at(name)
	if err != nil {
		return nil, err
	}
	defer d.release(at)
	buf := d.target
	for size := 256; ; size *= 4 {
		if len(buf) < size {
			buf = make([]byte, size)
		}
		if d.alone {
			d.target = buf
		}
		n, err := retry(func() (int, error) { return readlinkat(at.fd, base, buf) })
		switch {
		case errors.Is(err, unix.EINVAL):
			return nil, ErrRacing // it is no symbolic link now
		case err != nil:
			return nil, err
		case n == 0:
			return nil, errors.New("symbolic link without a target")
		case n < len(buf):
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
	fd, err := openFile(at.fd, base, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, st.UID)
	if errors.Is(err, unix.ELOOP) {
		return nil, ErrRacing // it is a symbolic link now
	}
	if err != nil {
		return nil, err
	}
	f := d.newFile(fd, st)
	if err := f.same(); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// openRegular is Stat and Open at once, for a name that was a regular file a moment ago. An error means only that it
// cannot be done so.
func (d *Dir) openRegular(name []byte) (*file, error) {
	at, base, err := d.at(name)
	if err != nil {
		return nil, err
	}
	defer d.release(at)
	fd, err := openFile(at.fd, base, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, euid)
	if err != nil {
		return nil, err
	}
	var raw unix.Stat_t
	if err = unix.Fstat(fd, &raw); err == nil && uint32(raw.Mode)&list.TypeMask != list.Regular {
		err = ErrRacing
	}
	f := d.newFile(fd, Stat{})
	if err == nil {
		f.st, err = fromUnix(&raw)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// file is an open regular file of a Dir. Plain system calls: regular files never wait, so Go's poller is no help.
type file struct {
	fd     int
	st     Stat
	steady bool // ctime, too, was that of st the last time that it was asked for
	owner  *Dir // if it is alone
}

// newFile uses a file again that was closed, so that a file costs no memory.
func (d *Dir) newFile(fd int, st Stat) *file {
	if !d.alone {
		return &file{fd: fd, st: st}
	}
	f := d.spare
	if f == nil {
		f = new(file)
	}
	d.spare = nil
	*f = file{fd: fd, st: st, owner: d}
	return f
}

// Close closes the file, which must not be used again.
func (f *file) Close() error {
	if f.owner != nil {
		f.owner.spare = f
	}
	return unix.Close(f.fd)
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
	f.steady = int64(raw.Ctim.Sec) == f.st.CSec && int64(raw.Ctim.Nsec) == f.st.CNsec
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
func (f *file) Xattrs() ([]Xattr, error) { return SelectXattrs(fdXattrs(f.fd)) }

// Xattrs implements Source, for directories; other types have no attributes that a list holds.
func (d *Dir) Xattrs(name []byte) ([]Xattr, error) {
	at, base, err := d.at(name)
	if err != nil {
		return nil, err
	}
	defer d.release(at)
	fd, err := at.list(base)
	if errors.Is(err, unix.EACCES) {
		return SelectXattrs(pathXattrs(at.fd, string(base)))
	}
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	return SelectXattrs(fdXattrs(fd))
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
