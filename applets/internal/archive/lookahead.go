package archive

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime"
	"sync"

	"github.com/ctbox/ctbox/applets/internal/list"
	"github.com/ctbox/ctbox/applets/internal/progress"
	"github.com/ctbox/ctbox/applets/internal/statcache"
)

// A lookahead goes through a list and brings, with each record, what the source holds of it, proven. Workers look at
// records ahead of their use, several at once; they are used one after another in list order (see relay), so the first
// error in that order is the one that is told.
//
// Memory is a fixed number of pages, each with room for the content of small files. A larger file is read when its
// turn comes (see stream). What it keeps beyond that is the first names of groups of hard links.
type lookahead struct {
	list   *list.Input
	source Source
	xattrs bool // extended attributes are wanted, and proven
	times  bool // what has no content is looked up too, for its time

	trust *Cache // if not nil, files that it knows are not proven again

	progress *progress.Line // counts the bytes of records that were used

	links  map[string]*linked // what -link= fields of the list name
	stream stream
}

// A page holds so many records, or so many with content, or records of so many bytes, and so many bytes of the files that
// they name: enough to make hand-over cheap, few enough to share work fairly.
const (
	pageRecords = 256
	pageFiles   = 16
	pageText    = 64 << 10
	pageContent = 1 << 20

	mostLookers = 4 // workers; more would only wait for the one who writes
	sparePages  = 3 // more than workers: how far they are ahead of what is written
)

// linked is the first name of a group of hard links, if its record comes with content.
type linked struct {
	present bool
	id      list.ID // without Link
	chain   bool    // it had one
	names   uint32  // in the list
	ino     uint32  // in a newc archive
}

// An item is a record and what the source holds of it.
type item struct {
	list.Record
	line   int
	group  *linked // for the first name of a group of hard links
	link   *linked // for later names: the first, whose content is theirs
	onDisk bool    // st is known
	st     Stat
	attrs  []Xattr
	target []byte // of a symbolic link
	loaded bool   // content is known
	data   []byte
	err    error           // of the source
	proven statcache.Stamp // of the file, when a cache that is trusted learned that it is what the record says
}

type page struct {
	items []item
	text  []byte // what the records consist of
	room  []byte // for content
	err   error  // the list goes wrong after these records

	number int // of the page, from 0
}

// A packer packs what a lookahead brings.
type packer interface {
	// record packs an item, which is valid until it returns; the bytes of its content, until settle does.
	record(it *item) error
	// put packs a file, of it.st.Size bytes, when content calls it. If c is nil, they are it.data.
	put(it *item, c io.Reader) error
	settle() error
}

// run packs every item, in list order.
func (l *lookahead) run(to packer) error {
	if err := l.findLinks(); err != nil {
		return err
	}
	l.progress.List(l.list.Size())
	lookers := min(runtime.GOMAXPROCS(0), mostLookers)
	scan := l.list.Scan()
	r := newRelay(lookers+sparePages,
		func(p *page) (more bool) { return l.fill(p, scan) },
		func(p *page) error { return p.use(scan, to, l.progress) })
	var running sync.WaitGroup
	for range lookers - 1 {
		running.Go(func() { l.work(r) })
	}
	l.work(r)
	running.Wait()
	return r.err
}

// use packs the items of a page, and counts them.
func (p *page) use(scan *list.Scanner, to packer, count *progress.Line) error {
	for i := range p.items {
		if err := to.record(&p.items[i]); err != nil {
			return scan.WrapAt(p.items[i].line, p.items[i].Name, err)
		}
		count.Listed(len(p.items[i].Text) + 1)
	}
	if err := to.settle(); err != nil {
		return err
	}
	return p.err
}

// findLinks learns which names later records link to, so that only those are remembered, and by how many.
func (l *lookahead) findLinks() error {
	any, err := l.list.HasLinks()
	if err != nil || !any {
		return err
	}
	l.links = map[string]*linked{}
	for scan := l.list.Scan(); ; {
		rec, err := scan.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if rec.ID.Link == nil {
			continue
		}
		first := l.links[string(rec.ID.Link)]
		if first == nil {
			first = &linked{names: 1}
			l.links[string(rec.ID.Link)] = first
		}
		if bytes.Compare(rec.ID.Link, rec.Name) < 0 {
			first.names++
		}
	}
}

// fill fills one page with records. It reports whether there may be more.
func (l *lookahead) fill(p *page, scan *list.Scanner) (more bool) {
	p.items, p.text, p.err = p.items[:0], p.text[:0], nil
	for files := 0; files < pageFiles && len(p.items) < pageRecords && len(p.text) < pageText; {
		rec, err := scan.Next()
		if err != nil {
			if err != io.EOF {
				p.err = err
			}
			return false
		}
		it := p.add(rec)
		it.line = scan.Line()
		l.place(it)
		l.recall(it)
		if it.hasContent() {
			files++
		}
	}
	return true
}

// add copies a record, which is valid only until the next one is read.
func (p *page) add(rec *list.Record) *item {
	start := len(p.text)
	p.text = append(append(p.text, rec.Text...), rec.ID.Link...)
	text := p.text[start:]
	p.items = append(p.items, item{Record: *rec})
	it := &p.items[len(p.items)-1]
	it.Text = text[:len(rec.Text)]
	it.Name = text[:len(rec.Name)]
	if rec.ID.Link != nil {
		it.ID.Link = text[len(rec.Text):]
	}
	return it
}

// place finds the group of hard links that a record belongs to.
func (l *lookahead) place(it *item) {
	if it.ID.Type() != list.Regular || l.links == nil {
		return
	}
	if to := l.links[string(it.ID.Link)]; to != nil && to.present {
		it.link = to
		return
	}
	if it.group = l.links[string(it.Name)]; it.group != nil {
		it.group.present, it.group.id, it.group.chain = true, it.ID, it.ID.Link != nil
		it.group.id.Link = nil
	}
}

var (
	errLinkChain  = errors.New("is a hard link to a hard link")
	errLinkDiffer = errors.New("is a hard link to a name with another mode, owner or content")
)

// sameFile reports why a later name of a group cannot be a hard link to the first.
func (it *item) sameFile() error {
	same := it.ID
	same.Link = nil
	switch {
	case it.link.chain:
		return errLinkChain
	case !bytes.Equal(same.AppendTo(nil), it.link.id.AppendTo(nil)):
		return errLinkDiffer
	}
	return nil
}

func (it *item) hasContent() bool { return it.ID.Type() == list.Regular && it.link == nil }

func (it *item) time(t Times) int64 {
	if it.onDisk {
		return t.of(&it.st)
	}
	return t.Epoch
}

// needsXattrs is about what is no regular file. Only directories can have extended attributes then.
func (l *lookahead) needsXattrs(it *item) bool {
	return l.xattrs && it.ID.HasAttr && it.ID.Type() == list.Directory
}

// A looker is one of those who look ahead.
type looker struct {
	*lookahead
	source Source // its own, where that is faster than one for all
}

// work looks up the items of pages.
func (l *lookahead) work(r *relay) {
	own := looker{l, l.source}
	if d, ok := l.source.(*Dir); ok {
		d = d.Share()
		d.alone = true
		defer d.Close()
		own.source = d
	}
	for p := r.next(); p != nil; p = r.next() {
		p.empty()
		for i := 0; i < len(p.items) && !r.stopped.Load(); i++ {
			p.items[i].err = own.look(&p.items[i], p)
		}
		r.finish(p)
	}
}

func (l *looker) look(it *item, p *page) (err error) {
	switch {
	case it.hasContent():
		return l.load(it, p)
	case it.ID.Type() == list.Symlink:
		return l.readlink(it, p)
	case l.needsXattrs(it):
		if it.attrs, err = l.source.Xattrs(it.Name); err == nil {
			err = it.checkXattrs()
		}
	}
	if err != nil || !l.times || it.ID.Deleted {
		return err
	}
	it.st, err = l.source.Stat(it.Name)
	it.onDisk = err == nil
	if errors.Is(err, fs.ErrNotExist) {
		return nil // its line is enough
	}
	return err
}

// load reads a file that the page has room for.
func (l *looker) load(it *item, p *page) error {
	if err := l.stat(it); err != nil {
		return err
	}
	used := len(p.room)
	if it.st.Size >= int64(cap(p.room)-used) {
		return nil
	}
	c, err := l.open(it)
	if err != nil {
		return err
	}
	defer c.Close()
	trusted := l.trusted(it)
	p.room = p.room[:used+int(it.st.Size)]
	it.data = p.room[used:]
	if err := readAll(c, p.room[used:len(p.room)+1]); err != nil {
		return err
	}
	if trusted {
		trusted = stayed(c) == nil
	}
	if !trusted && sha256.Sum256(it.data) != it.ID.Digest {
		return ErrChanged
	}
	it.loaded = true
	return nil
}

func (p *page) empty() {
	if p.room == nil {
		p.room = make([]byte, 0, pageContent)
	}
	p.room = p.room[:0]
}

// keep copies b to the page.
func (p *page) keep(b []byte) []byte {
	used := len(p.room)
	if len(b) > cap(p.room)-used {
		return bytes.Clone(b)
	}
	p.room = append(p.room, b...)
	return p.room[used:]
}

// readAll reads a file of one byte less than p has. That byte saves asking for the end.
func readAll(c io.Reader, p []byte) error {
	if len(p) == 1 {
		return atEnd(c)
	}
	for len(p) > 1 {
		n, err := take(c, p, nil)
		if err != nil {
			return err
		}
		p = p[n:]
	}
	if len(p) == 0 {
		return ErrRacing // it is longer
	}
	return nil
}

// content has the content of a file packed, and proves what was packed.
func (l *lookahead) content(it *item, to packer) error {
	if it.loaded {
		return to.put(it, nil)
	}
	own := looker{l, l.source}
	if err := own.stat(it); err != nil {
		return err
	}
	c, err := own.open(it)
	if err != nil {
		return err
	}
	defer c.Close()
	if own.trusted(it) {
		if err := to.put(it, c); err != nil {
			return err
		}
		return stayed(c)
	}
	l.stream.begin(c)
	err = to.put(it, &l.stream)
	if digest := l.stream.end(); err == nil && digest != it.ID.Digest {
		err = ErrChanged
	}
	return err
}

// stat describes a name whose content is needed; it must still have the type that the list says.
func (l *looker) stat(it *item) (err error) {
	it.st, err = l.source.Stat(it.Name)
	if err == nil && it.st.Type() != it.ID.Type() {
		err = fmt.Errorf("%w: it is %s now", ErrChanged, list.TypeName(it.st.Mode))
	}
	it.onDisk = err == nil
	return err
}

// open opens a file, with its extended attributes if they are wanted.
func (l *looker) open(it *item) (Content, error) {
	c, err := l.source.Open(it.Name, it.st)
	if err != nil || !l.xattrs || !it.ID.HasAttr {
		return c, err
	}
	if it.attrs, err = c.Xattrs(); err == nil {
		err = it.checkXattrs()
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// checkXattrs proves that the extended attributes are those of the list.
func (it *item) checkXattrs() error {
	if XattrDigest(it.attrs) != it.ID.Attr {
		return fmt.Errorf("extended attributes: %w", ErrChanged)
	}
	return nil
}

func (l *looker) readlink(it *item, p *page) error {
	if err := l.stat(it); err != nil {
		return err
	}
	target, err := l.source.Readlink(it.Name)
	if err != nil {
		return err
	}
	it.target = p.keep(target)
	if sha256.Sum256(it.target) != it.ID.Digest {
		return ErrChanged
	}
	return nil
}
