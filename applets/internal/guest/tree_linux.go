package guest

import (
	"errors"
	"io"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/archive"
	"github.com/ctbox/ctbox/applets/internal/list"
)

// A tree is a directory in which an initrd is unpacked as the kernel would do it (init/initramfs.c), except that what the
// kernel leaves out without a word is an error.
type tree struct {
	root    int // descriptor of the directory
	segment int
	links   map[link]string // first names of files with more than one, of this segment
	dirs    []dirTime       // set last, because making files changes them
	buf     []byte
}

// A link is what names of one file have in common. The type of the file is part of it.
type link struct {
	dev [2]uint32
	ino uint32
	fmt uint32
}

type dirTime struct {
	name string
	time unix.Timespec
}

// unpack unpacks the initrd that in holds. An error names the file.
func unpack(root int, in io.Reader) error {
	t := &tree{root: root, links: map[link]string{}, buf: make([]byte, 256<<10)}
	r := archive.NewInitrdReader(in)
	defer r.Close()
	for {
		e, err := r.Next()
		if err == io.EOF {
			return t.finish()
		}
		if err != nil {
			return err
		}
		if e.Segment != t.segment {
			t.segment = e.Segment
			clear(t.links)
		}
		if err := t.add(e, r); err != nil {
			return errors.New(string(e.Name) + ": " + err.Error())
		}
	}
}

// add makes the file of one record.
func (t *tree) add(e *archive.InitrdEntry, content io.Reader) error {
	name, kind := string(e.Name), e.Mode&list.TypeMask
	same := kind
	if kind == list.Symlink {
		same = 0 // an old one goes too
	}
	if err := t.clear(name, same); err != nil {
		return err
	}
	linked, err := t.link(e, name)
	if err != nil || linked && kind != list.Regular {
		return err // the first name has brought the rest
	}
	switch kind {
	case list.Regular:
		err = t.file(e, name, content, linked)
	case list.Symlink:
		err = t.symlink(name, content)
	case list.Directory:
		err = unix.Mkdirat(t.root, name, e.Mode&0o7777)
	default:
		err = unix.Mknodat(t.root, name, e.Mode, int(unix.Mkdev(e.Major, e.Minor)))
	}
	if err != nil && err != unix.EEXIST {
		return err
	}
	return t.dress(e, name)
}

// dress sets owner, mode and time, in this order: a new owner takes the setuid bit away.
func (t *tree) dress(e *archive.InitrdEntry, name string) error {
	if err := unix.Fchownat(t.root, name, int(e.UID), int(e.GID), unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	kind, when := e.Mode&list.TypeMask, unix.NsecToTimespec(int64(e.Time)*1e9)
	if kind != list.Symlink {
		if err := unix.Fchmodat(t.root, name, e.Mode&0o7777, 0); err != nil {
			return err
		}
	}
	if kind == list.Directory {
		t.dirs = append(t.dirs, dirTime{name, when})
		return nil
	}
	return setTime(t.root, name, when)
}

// clear removes what has the name and is of another type. A directory goes only if it is empty.
func (t *tree) clear(name string, kind uint32) error {
	var st unix.Stat_t
	switch err := unix.Fstatat(t.root, name, &st, unix.AT_SYMLINK_NOFOLLOW); {
	case err == unix.ENOENT:
		return nil // or its directory is missing, which making it will tell
	case err != nil:
		return err
	case st.Mode&unix.S_IFMT == kind:
		return nil
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		return unix.Unlinkat(t.root, name, unix.AT_REMOVEDIR)
	}
	return unix.Unlinkat(t.root, name, 0)
}

// link makes name a further name of a file, if the record is one of that, and replaces what has it.
func (t *tree) link(e *archive.InitrdEntry, name string) (bool, error) {
	if !e.Linked() {
		return false, nil
	}
	key := link{e.Dev, e.Ino, e.Mode & list.TypeMask}
	first, ok := t.links[key]
	if !ok {
		t.links[key] = name
		return false, nil
	}
	if first == name {
		return true, nil
	}
	if err := t.clear(name, 0); err != nil {
		return false, err
	}
	return true, unix.Linkat(t.root, first, t.root, name, 0)
}

// file writes a regular file. Of one that has more names, content may come with any of them.
func (t *tree) file(e *archive.InitrdEntry, name string, content io.Reader, linked bool) error {
	flags := unix.O_WRONLY | unix.O_CREAT | unix.O_CLOEXEC | unix.O_NOFOLLOW
	if !linked {
		flags |= unix.O_TRUNC
	}
	fd, err := unix.Openat(t.root, name, flags, e.Mode&0o7777)
	if err != nil {
		return err
	}
	f := port(fd)
	defer f.close()
	if linked && e.Size > 0 {
		if err := unix.Ftruncate(fd, e.Size); err != nil {
			return err
		}
	}
	n, err := io.CopyBuffer(f, content, t.buf)
	if err == nil && n != e.Size {
		err = io.ErrUnexpectedEOF
	}
	return err
}

func (t *tree) symlink(name string, content io.Reader) error {
	target, err := io.ReadAll(content)
	if err != nil {
		return err
	}
	return unix.Symlinkat(string(target), t.root, name)
}

// finish gives the directories their times, the last one first: of a name that was there twice, the first time counts. One may
// have been replaced since, and what took its place gets the time.
func (t *tree) finish() error {
	for _, d := range slices.Backward(t.dirs) {
		if err := setTime(t.root, d.name, d.time); err != nil && err != unix.ENOENT {
			return errors.New(d.name + ": " + err.Error())
		}
	}
	return nil
}
