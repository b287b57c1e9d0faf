package list

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"

	"github.com/ctbox/ctbox/applets/internal/spool"
)

// A Diff compares two lists by name. Its output is the list of the layer that turns a tree like Base into one like
// New, by the rules of the OCI image specification (layer.md, "Representing Changes") and by what engines really do:
//
//   - A name that is gone is written "NAME -", but only the topmost: nothing below a deleted name, nothing below what
//     became something other than a directory; children one by one where the directory lives on.
//   - The directories above each change and above each deletion come along with their lines of New, because engines
//     give a directory that the layer does not mention mode 0755 and owner 0:0.
//   - When one name of a group of hard links changes, all of the group is written: a link cannot reach into a lower
//     layer.
type Diff struct {
	Base, New *Input
	Out       io.Writer
	Null      bool
	Warn      func(format string, args ...any) // for what is legal and nearly always an accident

	new       *Scanner
	tree      Tree        // of New, and of what was deleted
	changed   *nameSet    // names whose hard-link group must be written whole; nil if there are no hard links
	firsts    *nameSet    // names that have such a group; small, to stay in the processor's cache
	held      spool.Spool // records behind an undecided directory, each after its verdict
	kept      int64       // end of the last held record that is to be written
	undecided int         // directories on the stack that are not written unless something below them is
	replay    *splitter   // of held
	text      []byte      // of a deletion
	line      []byte      // to be written
	wrote     bool
}

// Verdicts on a held record.
const (
	verdictDrop = 'N'
	verdictKeep = 'Y'
)

var errReserved = errors.New(`names that begin ".wh." are reserved for deletions in layers`)

// Added writes the records of New that are not in Base, as comm -1 -3 does, and reports whether there were any.
func (d *Diff) Added() (differ bool, err error) {
	m := newMerge(d.Base, d.New)
	m.same = func(*Record) error { return nil }
	m.differ = func(base, new *Record) error {
		if new == nil {
			return nil
		}
		return d.write(new.Text)
	}
	err = m.run()
	return d.wrote, err
}

// Layer writes the layer's list and reports whether it is not empty. A name that New itself calls deleted is one
// that is not there.
func (d *Diff) Layer() (differ bool, err error) {
	errGroups := d.findGroups()
	defer d.held.Close()
	m := newMerge(d.Base, d.New)
	m.same, m.differ, d.new = d.unchanged, d.differing, m.new.Scanner
	if err := cmp.Or(m.run(), errGroups); err != nil {
		return false, err // the first bad line, which findGroups may have passed over
	}
	d.tree.Advance(nil, d.drop)
	return d.wrote, d.flush()
}

// findGroups is a pass of its own over lists with hard links, to learn which unchanged names must be written because
// another name of their group is. A group is known by its first name.
func (d *Diff) findGroups() error {
	links, err := d.New.HasLinks()
	if err != nil || !links {
		return err
	}
	d.changed, d.firsts = newNameSet(26), newNameSet(18)
	m := newMerge(d.Base, d.New)
	m.equal = d.findFirsts
	m.differ = func(base, new *Record) error {
		base, new = present(base), present(new)
		switch {
		case base == nil && new == nil:
		case new == nil:
			d.changed.add(base.Name)
		case new.ID.Link != nil:
			d.changed.add(new.ID.Link)
			d.firsts.add(new.ID.Link)
		default:
			d.changed.add(new.Name)
		}
		return nil
	}
	return m.run()
}

// inChangedGroup reports whether rec, though unchanged, belongs to a group that is to be written.
func (d *Diff) inChangedGroup(rec *Record) bool {
	switch {
	case d.changed == nil || rec.ID.Type() != Regular:
		return false
	case rec.ID.Link != nil:
		return d.changed.has(rec.ID.Link)
	}
	return d.firsts.has(rec.Name) && d.changed.has(rec.Name)
}

// findFirsts takes the targets of links from records that are not parsed. It may find some where there are none.
func (d *Diff) findFirsts(text []byte) {
	for {
		i := indexLink(text)
		if i < 0 {
			return
		}
		text = text[i+len(linkField):]
		target, _, _ := bytes.Cut(text, []byte{d.sep()})
		if name, err := unescape(target); err == nil {
			d.firsts.add(name)
		}
	}
}

// unchanged handles a record that is in both lists.
func (d *Diff) unchanged(rec *Record) error {
	if rec.ID.Deleted {
		return nil
	}
	node, err := d.enter(rec)
	switch {
	case err != nil:
		return err
	case d.inChangedGroup(rec):
		return d.emit(rec.Text)
	case node.Type == Directory:
		return d.hold(node, rec.Text)
	}
	return nil
}

// differing handles a name that only one list has, or both with different IDs.
func (d *Diff) differing(base, new *Record) error {
	base, new = present(base), present(new)
	if new == nil {
		if base == nil {
			return nil
		}
		return d.deleted(base)
	}
	node, err := d.enter(new)
	if err != nil {
		return err
	}
	if base != nil && base.ID.Type() == Symlink && node.Type == Directory {
		d.Warn("%s: a directory replaces a symbolic link, which hides all that lies behind the link", Quote(new.Name))
	}
	return d.emit(new.Text)
}

// enter takes a name of New into the tree.
func (d *Diff) enter(rec *Record) (*Node, error) {
	d.tree.Advance(rec.Name, d.drop)
	above := d.tree.Above()
	err := d.tree.allows(above)
	if errors.Is(err, ErrBelowDeleted) {
		err = fmt.Errorf("%s, above it, is in the base list and missing here", Quote(rec.Name[:above.length]))
	}
	if err != nil {
		return nil, d.new.Wrap(err)
	}
	return d.tree.Push(Node{Type: rec.ID.Type()}), d.flush()
}

// present is rec, or nil if it says that its name is not there.
func present(rec *Record) *Record {
	if rec != nil && rec.ID.Deleted {
		return nil
	}
	return rec
}

// deleted handles a name that only Base has. The root is never deleted.
func (d *Diff) deleted(base *Record) error {
	d.tree.Advance(base.Name, d.drop)
	above := d.tree.Above()
	if above != nil && (above.Deleted || above.Type != Directory) || len(base.Name) == len(Root) {
		return nil
	}
	d.tree.Push(Node{Deleted: true})
	d.text = append(append(d.text[:0], base.Name...), " -"...)
	return d.emit(d.text)
}

// emit writes a record, and before it the directories above it.
func (d *Diff) emit(text []byte) error {
	t := &d.tree
	for i := len(t.stack) - 1; i >= 0; i-- {
		n := &t.stack[i]
		if n.length >= len(t.last) || t.last[n.length] != '/' {
			continue
		}
		if !n.undecided {
			break // it is written, and so is all above it
		}
		n.undecided = false
		d.undecided--
		if err := d.held.SetByte(n.held, verdictKeep); err != nil {
			return err
		}
	}
	if err := d.flush(); err != nil {
		return err
	}
	if d.undecided == 0 {
		return d.write(text)
	}
	err := d.append(verdictKeep, text)
	d.kept = d.held.Size()
	return err
}

// hold keeps the record of an unchanged directory until it is known whether something below it changes.
func (d *Diff) hold(n *Node, text []byte) error {
	n.undecided, n.held = true, d.held.Size()
	d.undecided++
	return d.append(verdictDrop, text)
}

// drop forgets a directory below which nothing changed, and with it what was held only for its sake.
func (d *Diff) drop(n *Node) {
	if !n.undecided {
		return
	}
	d.undecided--
	if n.held >= d.kept {
		d.held.Truncate(n.held)
	}
}

func (d *Diff) append(verdict byte, text []byte) error {
	d.line = append(append(append(d.line[:0], verdict), text...), d.sep())
	_, err := d.held.Write(d.line)
	return err
}

// flush writes what is held once nothing in it is undecided.
func (d *Diff) flush() error {
	if d.undecided > 0 || d.held.Size() == 0 {
		return nil
	}
	if d.replay == nil {
		d.replay = newSplitter("", nil, d.Null, MaxRecord+1)
	}
	d.replay.reset(io.NewSectionReader(&d.held, 0, d.held.Size()))
	for {
		piece, err := d.replay.next()
		if err == io.EOF {
			d.held.Truncate(0)
			d.kept = 0
			return nil
		}
		if err == nil && piece[0] == verdictKeep {
			err = d.write(piece[1:])
		}
		if err != nil {
			return err
		}
	}
}

func (d *Diff) write(text []byte) error {
	d.wrote = true
	d.line = append(append(d.line[:0], text...), d.sep())
	_, err := d.Out.Write(d.line)
	return err
}

func (d *Diff) sep() byte {
	if d.Null {
		return 0
	}
	return '\n'
}
