package archive

import (
	"errors"
	"fmt"
	"io"

	"github.com/ctbox/ctbox/applets/internal/list"
	"github.com/ctbox/ctbox/applets/internal/progress"
)

// A Disk packs a list into a file system. With Time at its zero value, that is a function of the list, SOURCE_DATE_EPOCH and
// what To is told besides.
type Disk struct {
	List        *list.Input
	Source      Source
	Time        Times
	SkipSockets bool
	To          FileSystem
	Warn        func(format string, args ...any)
	Progress    *progress.Line // counts how much of the list is done
	Trust       *Cache         // if not nil, files that it knows are not proven again

	ahead lookahead
	tree  list.Tree
	entry DiskEntry
}

// A FileSystem is what a Disk writes. Files come in list order, each after its directory; the root may be missing.
type FileSystem interface {
	// Add adds a file that is neither a regular file nor another name for one.
	Add(e *DiskEntry) error
	// AddFile adds a regular file of size bytes, which c has, or e.Content if c is nil. It returns a number for Link.
	AddFile(e *DiskEntry, c io.Reader, size int64) (ino uint32, err error)
	// Link adds another name for a file.
	Link(name []byte, ino uint32) error
}

// A DiskEntry is a file for a file system. It is valid until the call with it returns.
type DiskEntry struct {
	Name           []byte // as in the list
	Mode, UID, GID uint32 // type and permissions in Mode
	Major, Minor   uint32 // of a device node
	Links          uint32 // names that a regular file has in the list
	Time           int64  // of modification, in seconds since 1970
	Target         []byte // of a symbolic link
	Content        []byte // of a regular file, if it is in memory
	Xattrs         []Xattr
}

var errDiskDeletes = errors.New("a disk cannot delete names")

// Write packs the list.
func (d *Disk) Write() error {
	d.ahead = lookahead{list: d.List, source: d.Source, xattrs: true, times: d.Time.Rule != Fixed, progress: d.Progress, trust: d.Trust}
	return d.ahead.run(d)
}

func (d *Disk) record(it *item) error {
	if err := d.check(it); err != nil {
		return err
	}
	id := &it.ID
	if id.Type() == list.Socket && d.SkipSockets {
		d.Warn("%s: socket left out", list.Quote(it.Name))
		return nil
	}
	if it.link != nil {
		if err := it.sameFile(); err != nil {
			return err
		}
		return d.To.Link(it.Name, it.link.ino)
	}
	if it.err != nil {
		return it.err
	}
	d.entry = DiskEntry{Name: it.Name, Mode: id.Mode, UID: id.UID, GID: id.GID, Major: id.Major, Minor: id.Minor, Links: 1}
	if id.Type() == list.Regular {
		return d.ahead.content(it, d)
	}
	d.entry.Time, d.entry.Target, d.entry.Xattrs = it.time(d.Time), it.target, it.attrs
	return d.To.Add(&d.entry)
}

// check is about what a record is, and where in the tree.
func (d *Disk) check(it *item) error {
	if it.ID.Deleted {
		return errDiskDeletes
	}
	orphan, err := d.tree.Add(&it.Record)
	switch kind := it.ID.Type(); {
	case err != nil:
		return err
	case orphan:
		return orphanError(it.Name)
	case len(it.Name) == len(list.Root) && kind != list.Directory:
		return errRootType
	case it.ID.IsDevice() && !it.ID.HasRdev:
		return errNoNumber
	case it.ID.HasAttr && kind != list.Regular && kind != list.Directory:
		return errXattrType
	}
	return nil
}

func orphanError(name []byte) error {
	return fmt.Errorf("its directory %s is not in the list", list.Quote(list.Parent(name)))
}

// put writes a file.
func (d *Disk) put(it *item, c io.Reader) error {
	if it.group != nil {
		d.entry.Links = it.group.names
	}
	d.entry.Time, d.entry.Content, d.entry.Xattrs = it.time(d.Time), it.data, it.attrs
	ino, err := d.To.AddFile(&d.entry, c, it.st.Size)
	if it.group != nil {
		it.group.ino = ino
	}
	return err
}

// settle has nothing to do: nothing is kept of content that is in memory.
func (d *Disk) settle() error { return nil }
