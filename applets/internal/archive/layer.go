package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/ctbox/ctbox/applets/internal/list"
	"github.com/ctbox/ctbox/applets/internal/progress"
)

// A Layer packs a list as a tar layer (OCI image-spec, layer.md). With Time at its zero value the bytes are a function of
// the list and SOURCE_DATE_EPOCH; the source only supplies, and must prove, the content.
type Layer struct {
	List        *list.Input
	Source      Source
	Time        Times
	Prefix      string // of all names in the archive: nothing, or a directory with its slash, and then RootEntry must be set
	RootEntry   bool   // write an entry for "."
	Whole       bool   // it is no layer but all there is: nothing is deleted, and a name without its directory is an error
	SkipSockets bool
	Warn        func(format string, args ...any)
	Progress    *progress.Line // counts how much of the list is done
	Trust       *Cache         // if not nil, files that it knows are not proven again

	ahead   lookahead
	tar     *TarWriter
	tree    list.Tree
	entry   TarEntry
	name    []byte
	orphans int
	orphan  string
}

// Reasons to refuse a list: each makes a layer that some engine refuses or unpacks wrongly.
var (
	errReserved   = errors.New(`names that begin ".wh." are reserved for deletions in layers`)
	errRootGone   = errors.New("the root cannot be deleted")
	errWhiteout00 = errors.New("character device 0:0 deletes the name where layers are overlaid")
	errNoNumber   = errors.New("device without -rdev=")
	errSocket     = errors.New("a socket cannot be in an archive (--skip-sockets leaves it out)")
	errRootType   = errors.New("the root must be a directory")
	errXattrType  = errors.New("only files and directories can have -xattr=")
)

// Write packs the list.
func (l *Layer) Write(w io.Writer) error {
	l.tar = NewTarWriter(w)
	l.ahead = lookahead{list: l.List, source: l.Source, xattrs: true, times: l.Time.Rule != Fixed, progress: l.Progress, trust: l.Trust}
	if err := l.ahead.run(l); err != nil {
		return err
	}
	if l.orphans > 0 {
		l.Warn("names without their directory in the list: %d, first %s: engines may give the directories mode 0755 and owner 0:0",
			l.orphans, l.orphan)
	}
	return l.tar.Close()
}

func (l *Layer) record(it *item) error {
	orphan, err := l.tree.Add(&it.Record)
	if err != nil {
		return err
	}
	switch {
	case l.Whole && it.ID.Deleted:
		return errDiskDeletes
	case l.Whole && orphan:
		return orphanError(it.Name)
	case orphan:
		if l.orphans == 0 {
			l.orphan = list.Quote(it.Name)
		}
		l.orphans++
	}
	isRoot := len(it.Name) == len(list.Root)
	switch {
	case list.IsWhiteout(it.Name):
		return errReserved
	case it.ID.Deleted && isRoot:
		return errRootGone
	case it.ID.Deleted:
		return l.whiteout(it.Name)
	case isRoot && it.ID.Type() != list.Directory:
		return errRootType
	case isRoot && !l.RootEntry:
		return nil
	case it.ID.HasAttr && it.ID.Type() != list.Regular && it.ID.Type() != list.Directory:
		return errXattrType
	}
	return l.present(it)
}

// whiteout writes the entry that deletes name. Its fields are fixed, as there is no file to take them from.
func (l *Layer) whiteout(name []byte) error {
	parent := list.Parent(name)
	l.name = append(l.name[:0], name[2:len(parent)+1]...)
	l.name = append(append(l.name, ".wh."...), name[len(parent)+1:]...)
	if err := list.CheckName(append([]byte("./"), l.name...)); err != nil {
		return fmt.Errorf("with the prefix that deletes it, %w", err)
	}
	l.entry = TarEntry{Name: l.name, Kind: tarRegular, Mode: 0o644, Time: l.Time.Epoch}
	return l.tar.Header(&l.entry)
}

// present writes the entry of a name that is there.
func (l *Layer) present(it *item) error {
	id := &it.ID
	l.name = append(append(l.name[:0], l.Prefix...), bytes.TrimPrefix(it.Name, []byte("./"))...)
	if l.Prefix != "" && len(it.Name) == len(list.Root) {
		l.name = l.name[:len(l.Prefix)-1]
	}
	l.entry = TarEntry{Mode: id.Mode, UID: id.UID, GID: id.GID, Major: id.Major, Minor: id.Minor}
	switch id.Type() {
	case list.Regular:
		return l.regular(it)
	case list.Symlink:
		l.entry.Kind, l.entry.Target = tarSymlink, it.target
	case list.Directory:
		l.entry.Kind = tarDirectory
		l.name = append(l.name, '/')
	case list.CharDevice:
		l.entry.Kind = tarChar
		if id.HasRdev && id.Major == 0 && id.Minor == 0 {
			return errWhiteout00
		}
	case list.BlockDevice:
		l.entry.Kind = tarBlock
	case list.FIFO:
		l.entry.Kind = tarFIFO
	case list.Socket:
		if !l.SkipSockets {
			return errSocket
		}
		l.Warn("%s: socket left out", list.Quote(it.Name))
		return nil
	}
	if id.IsDevice() && !id.HasRdev {
		return errNoNumber
	}
	return l.header(it)
}

// header writes the header of an entry. What is neither on disk nor needs to be has the fixed time.
func (l *Layer) header(it *item) error {
	if it.err != nil {
		return it.err
	}
	l.entry.Name, l.entry.Time, l.entry.Xattrs = l.name, it.time(l.Time), it.attrs
	return l.tar.Header(&l.entry)
}

// regular writes a file, or a hard link to one that this layer holds already.
func (l *Layer) regular(it *item) error {
	if it.link != nil {
		if err := it.sameFile(); err != nil {
			return err
		}
		l.entry.Kind, l.entry.Target = tarLink, append([]byte(l.Prefix), it.ID.Link[len("./"):]...)
		return l.header(it)
	}
	if it.err != nil {
		return it.err
	}
	return l.ahead.content(it, l)
}

// put writes the header and content of a file.
func (l *Layer) put(it *item, c io.Reader) error {
	l.entry.Kind, l.entry.Size = tarRegular, it.st.Size
	if err := l.header(it); err != nil {
		return err
	}
	if c == nil {
		return l.tar.lent(it.data)
	}
	return l.tar.Content(c, it.st.Size, nil)
}

func (l *Layer) settle() error { return l.tar.settle() }
