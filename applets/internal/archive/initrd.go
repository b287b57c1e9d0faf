package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/ctbox/ctbox/applets/internal/list"
	"github.com/ctbox/ctbox/applets/internal/progress"
)

// An Initrd packs a list as a newc archive, which the kernel unpacks as its first root file system. It refuses what the
// kernel would leave out or change without a word (init/initramfs.c). With Time at its zero value the bytes are a
// function of the list, SOURCE_DATE_EPOCH and Init.
type Initrd struct {
	List        *list.Input
	Source      Source
	Time        Times
	SkipSockets bool
	AllowEmpty  bool     // a list without records is no error
	Init        *os.File // if not nil, the entry rdinit of mode 0755, owner 0:0; it comes where the list would have it
	Warn        func(format string, args ...any)
	Progress    *progress.Line // counts how much of the list is done
	Trust       *Cache         // if not nil, files that it knows are not proven again

	ahead  lookahead
	newc   *NewcWriter
	tree   list.Tree
	entry  NewcEntry
	begun  bool // there was a record
	added  bool // Init is in the archive
	xattrs int  // records with extended attributes
	xattr  string
}

// initName is where the guest's kernel is told to find Init (rdinit=/rdinit).
const initName = "./rdinit"

// Reasons to refuse a list.
var (
	errNoRecords = errors.New("the list is empty (--allow-empty makes an empty initrd)")
	errDeletes   = errors.New("an initrd cannot delete names")
	errConsole   = errors.New("must be a character device: in its place, the guest would have no console")
	errDev       = errors.New("must be a directory: the kernel has one there, which this would not replace")
	errTwoInits  = errors.New("is in the list, and --rdinit would add another")
)

// Write packs the list.
func (i *Initrd) Write(w io.Writer) error {
	if i.Time.Rule == Fixed && i.Time.Epoch > newcMaxTime {
		return fmt.Errorf("SOURCE_DATE_EPOCH: %w", errNewcTime)
	}
	if err := i.checkInit(); err != nil {
		return err
	}
	i.newc = NewNewcWriter(w)
	i.ahead = lookahead{list: i.List, source: i.Source, times: i.Time.Rule != Fixed, progress: i.Progress,
		trust: i.Trust}
	if err := i.ahead.run(i); err != nil {
		return err
	}
	if !i.begun && !i.AllowEmpty {
		return errNoRecords
	}
	if i.xattrs > 0 {
		i.Warn("names whose extended attributes an initrd cannot hold: %d, first %s", i.xattrs, i.xattr)
	}
	if err := i.addInit(nil); err != nil {
		return err
	}
	return i.newc.Close()
}

func (i *Initrd) record(it *item) error {
	i.begun = true
	if err := i.check(it); err != nil {
		return err
	}
	if err := i.addInit(it.Name); err != nil {
		return err
	}
	if it.ID.HasAttr {
		if i.xattrs == 0 {
			i.xattr = list.Quote(it.Name)
		}
		i.xattrs++
	}
	id := &it.ID
	i.entry = NewcEntry{Name: it.Name, Mode: id.Mode, UID: id.UID, GID: id.GID, Major: id.Major, Minor: id.Minor}
	if len(it.Name) > len(list.Root) {
		i.entry.Name = it.Name[len("./"):]
	}
	switch id.Type() {
	case list.Regular:
		return i.regular(it)
	case list.Symlink:
		return i.symlink(it)
	case list.Socket:
		if i.SkipSockets {
			i.Warn("%s: socket left out", list.Quote(it.Name))
			return nil
		}
		return errSocket
	}
	return i.header(it)
}

// check is about what a record is, and where in the tree.
func (i *Initrd) check(it *item) error {
	if it.ID.Deleted {
		return errDeletes
	}
	orphan, err := i.tree.Add(&it.Record)
	kind := it.ID.Type()
	switch name := string(it.Name); {
	case err != nil:
		return err
	case orphan:
		return fmt.Errorf("its directory %s is not in the list: the kernel would leave it out",
			list.Quote(list.Parent(it.Name)))
	case name == list.Root && kind != list.Directory:
		return errRootType
	case name == "./dev" && kind != list.Directory:
		return errDev
	case name == "./dev/console" && kind != list.CharDevice:
		return errConsole
	case it.ID.IsDevice() && !it.ID.HasRdev:
		return errNoNumber
	}
	return nil
}

// header writes the header of an entry. What is neither on disk nor needs to be has the fixed time.
func (i *Initrd) header(it *item) error {
	if it.err != nil {
		return it.err
	}
	i.entry.Time = it.time(i.Time)
	return i.newc.Header(&i.entry)
}

// regular writes a file, or another name for one that this archive holds already.
func (i *Initrd) regular(it *item) error {
	if it.link != nil {
		i.entry.Ino, i.entry.Nlink = it.link.ino, it.link.names
		if err := it.sameFile(); err != nil {
			return err
		}
		return i.header(it)
	}
	if it.err != nil {
		return it.err
	}
	return i.ahead.content(it, i)
}

// put writes the header and content of a file.
func (i *Initrd) put(it *item, c io.Reader) error {
	i.entry.Size = it.st.Size
	if it.group != nil {
		i.entry.Nlink = it.group.names
	}
	if err := i.header(it); err != nil {
		return err
	}
	if it.group != nil {
		it.group.ino = i.entry.Ino
	}
	if c == nil {
		return i.newc.lent(it.data)
	}
	return i.newc.Content(c, it.st.Size, nil)
}

func (i *Initrd) settle() error { return i.newc.settle() }

func (i *Initrd) symlink(it *item) error {
	i.entry.Size = int64(len(it.target))
	if err := i.header(it); err != nil {
		return err
	}
	return i.newc.lent(it.target)
}

// addInit adds Init if its place is before next, which is nil at the end.
func (i *Initrd) addInit(next []byte) error {
	place := bytes.Compare([]byte(initName), next)
	switch {
	case i.Init == nil || i.added || next != nil && place > 0:
		return nil
	case place == 0:
		return errTwoInits
	}
	i.added = true
	if err := i.writeInit(); err != nil {
		return fmt.Errorf("%s: %w", i.Init.Name(), err)
	}
	return nil
}

func (i *Initrd) writeInit() error {
	fi, err := i.Init.Stat()
	if err != nil {
		return err
	}
	e := NewcEntry{Name: []byte(initName[len("./"):]), Mode: list.Regular | 0o755, Size: fi.Size(), Time: i.Time.Epoch}
	if err := i.newc.Header(&e); err != nil {
		return err
	}
	return i.newc.Content(io.NewSectionReader(i.Init, 0, 1<<62), e.Size, nil)
}
