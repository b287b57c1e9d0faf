package archive

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"

	"github.com/ctbox/ctbox/applets/internal/list"
)

// A Layer packs a list as a tar layer (OCI image-spec, layer.md). With Time at its zero value the bytes are a function of
// the list and SOURCE_DATE_EPOCH; the source only supplies, and must prove, the content.
type Layer struct {
	List        *list.Input
	Source      Source
	Time        Times
	RootEntry   bool // write an entry for "."
	SkipSockets bool
	Warn        func(format string, args ...any)

	scan    *list.Scanner
	tar     *TarWriter
	tree    list.Tree
	links   map[string]*linked // what -link= fields of the list name
	hash    hash.Hash
	entry   TarEntry
	name    []byte
	target  []byte
	orphans int
	orphan  string
}

// linked is the first name of a group of hard links.
type linked struct {
	written bool
	id      list.ID
}

// Reasons to refuse a list: each makes a layer that some engine refuses or unpacks wrongly.
var (
	errReserved   = errors.New(`names that begin ".wh." are reserved for deletions in layers`)
	errRootGone   = errors.New("the root cannot be deleted")
	errWhiteout00 = errors.New("character device 0:0 deletes the name where layers are overlaid")
	errNoNumber   = errors.New("device without -rdev=")
	errSocket     = errors.New("a socket cannot be in an archive (--skip-sockets leaves it out)")
	errLinkChain  = errors.New("is a hard link to a hard link")
	errRootType   = errors.New("the root must be a directory")
	errXattrType  = errors.New("only files and directories can have -xattr=")
	errLinkDiffer = errors.New("is a hard link to a name with another mode, owner or content")
)

// Write packs the list.
func (l *Layer) Write(w io.Writer) error {
	if err := l.findLinks(); err != nil {
		return err
	}
	l.scan, l.tar, l.hash = l.List.Scan(), NewTarWriter(w), sha256.New()
	for {
		rec, err := l.scan.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if err := l.record(rec); err != nil {
			return l.scan.Wrap(err)
		}
	}
	if l.orphans > 0 {
		l.Warn("names without their directory in the list: %d, first %s: engines may give the directories mode 0755 and owner 0:0",
			l.orphans, l.orphan)
	}
	return l.tar.Close()
}

// findLinks learns which names later records link to, so that only those are remembered.
func (l *Layer) findLinks() error {
	any, err := l.List.HasLinks()
	if err != nil || !any {
		return err
	}
	l.links = map[string]*linked{}
	for scan := l.List.Scan(); ; {
		rec, err := scan.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if rec.ID.Link != nil {
			l.links[string(rec.ID.Link)] = new(linked)
		}
	}
}

func (l *Layer) record(rec *list.Record) error {
	orphan, err := l.tree.Add(rec)
	if err != nil {
		return err
	}
	if orphan {
		if l.orphans == 0 {
			l.orphan = list.Quote(rec.Name)
		}
		l.orphans++
	}
	isRoot := len(rec.Name) == len(list.Root)
	switch {
	case list.IsWhiteout(rec.Name):
		return errReserved
	case rec.ID.Deleted && isRoot:
		return errRootGone
	case rec.ID.Deleted:
		return l.whiteout(rec.Name)
	case isRoot && rec.ID.Type() != list.Directory:
		return errRootType
	case isRoot && !l.RootEntry:
		return nil
	case rec.ID.HasAttr && rec.ID.Type() != list.Regular && rec.ID.Type() != list.Directory:
		return errXattrType
	}
	return l.present(rec)
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
	return l.write(nil, 0)
}

// present writes the entry of a name that is there.
func (l *Layer) present(rec *list.Record) error {
	id := &rec.ID
	l.name = append(l.name[:0], bytes.TrimPrefix(rec.Name, []byte("./"))...)
	l.entry = TarEntry{Mode: id.Mode, UID: id.UID, GID: id.GID, Time: l.Time.Epoch}
	switch id.Type() {
	case list.Regular:
		return l.regular(rec)
	case list.Symlink:
		return l.symlink(rec)
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
		l.Warn("%s: socket left out", list.Quote(rec.Name))
		return nil
	}
	if id.IsDevice() && !id.HasRdev {
		return errNoNumber
	}
	l.entry.Major, l.entry.Minor = id.Major, id.Minor
	return l.listed(rec)
}

// listed writes an entry for which the list is enough: it need not exist on disk, unless its attributes or its time are
// to come from there.
func (l *Layer) listed(rec *list.Record) error {
	if rec.ID.HasAttr {
		attrs, err := l.Source.Xattrs(rec.Name)
		if err != nil {
			return err
		}
		if err := l.attributes(rec, attrs); err != nil {
			return err
		}
	}
	return l.bare(rec)
}

// bare writes an entry without content. What is not on disk keeps the fixed time.
func (l *Layer) bare(rec *list.Record) error {
	if l.Time.Rule != Fixed {
		st, err := l.Source.Stat(rec.Name)
		switch {
		case err == nil:
			l.entry.Time = l.Time.of(&st)
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
	}
	return l.write(nil, 0)
}

// attributes adds extended attributes to the entry, if they are those of the list.
func (l *Layer) attributes(rec *list.Record, attrs []Xattr) error {
	if XattrDigest(attrs) != rec.ID.Attr {
		return fmt.Errorf("extended attributes: %w", ErrChanged)
	}
	l.entry.Xattrs = attrs
	return nil
}

func (l *Layer) write(c Content, size int64) error {
	l.entry.Name, l.entry.Size = l.name, size
	if err := l.tar.Header(&l.entry); err != nil {
		return err
	}
	if c == nil {
		return nil
	}
	l.hash.Reset()
	return l.tar.Content(c, size, l.hash)
}

// regular writes a file's content, and proves it, or a hard link to a file that this layer holds already.
func (l *Layer) regular(rec *list.Record) error {
	if to := l.links[string(rec.ID.Link)]; to != nil && to.written {
		return l.hardLink(rec, to)
	}
	st, err := l.stat(rec)
	if err != nil {
		return err
	}
	c, err := l.Source.Open(rec.Name, st)
	if err != nil {
		return err
	}
	defer c.Close()
	if rec.ID.HasAttr {
		attrs, err := c.Xattrs()
		if err == nil {
			err = l.attributes(rec, attrs)
		}
		if err != nil {
			return err
		}
	}
	l.entry.Kind, l.entry.Time = tarRegular, l.Time.of(&st)
	if err := l.write(c, st.Size); err != nil {
		return err
	}
	if list.Digest(l.hash.Sum(nil)) != rec.ID.Digest {
		return ErrChanged
	}
	if first := l.links[string(rec.Name)]; first != nil {
		first.written, first.id = true, rec.ID
	}
	return nil
}

func (l *Layer) hardLink(rec *list.Record, to *linked) error {
	same := rec.ID
	same.Link = to.id.Link
	switch {
	case to.id.Link != nil:
		return errLinkChain
	case !bytes.Equal(same.AppendTo(nil), to.id.AppendTo(nil)):
		return errLinkDiffer
	}
	l.entry.Kind = tarLink
	l.target = append(l.target[:0], rec.ID.Link[len("./"):]...)
	l.entry.Target = l.target
	return l.bare(rec)
}

func (l *Layer) symlink(rec *list.Record) error {
	st, err := l.stat(rec)
	if err != nil {
		return err
	}
	target, err := l.Source.Readlink(rec.Name)
	if err != nil {
		return err
	}
	if sha256.Sum256(target) != rec.ID.Digest {
		return ErrChanged
	}
	l.entry.Kind, l.entry.Target, l.entry.Time = tarSymlink, target, l.Time.of(&st)
	return l.write(nil, 0)
}

// stat describes a name whose content is needed; it must still have the type that the list says.
func (l *Layer) stat(rec *list.Record) (Stat, error) {
	st, err := l.Source.Stat(rec.Name)
	if err == nil && st.Type() != rec.ID.Type() {
		err = fmt.Errorf("%w: it is %s now", ErrChanged, list.TypeName(st.Mode))
	}
	return st, err
}
