package archive

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/list"
	"github.com/ctbox/ctbox/applets/internal/progress"
	"github.com/ctbox/ctbox/applets/internal/statcache"
)

// An Owner replaces the owner of everything in a list.
type Owner struct{ UID, GID uint32 }

// Fake gives st another mode, type, owner or device number: those that name is to have in a list. What it calls a
// device, FIFO or socket is not read. It may be called from several goroutines at once.
type Fake func(name []byte, st *Stat) error

// Identify writes the list of the names that feed brings, in their order. Files are read by several workers at once.
type Identify struct {
	Open    func() (Source, error) // a source for each worker
	Workers int                    // 0: one for each processor, at most maxWorkers
	Owner   *Owner                 // if not nil, instead of the owners on disk
	Fake    Fake                   // if not nil, what the list says instead of what the disk does
	Null    bool                   // records end in NUL
	Write   func([]byte) error     // gets whole records
	Fail    func(error)            // gets what is wrong with one name; the others go on
	Output  io.Writer              // where the list goes: if that is a file of the tree, the list cannot hold it
	Cache   *Cache                 // if not nil, what it knows is not read

	Progress *progress.Line // counts files and the bytes read of them
}

var errSelf = errors.New("is the file that the list is written to")

// maxWorkers keeps the descriptors of a run, two for each worker, below the smallest usual limits.
const maxWorkers = 16

// A worker takes so many names at once, or names of so many bytes: enough to make hand-over cheap, few enough to share
// work fairly, and in a very deep tree to keep memory bounded.
const (
	batchNames = 64 // as bits in batch.leaves
	batchBytes = 64 << 10
)

// enoughText is how much of a list is written at once, in bytes, unless there is no more for now.
const enoughText = 32 << 10

type batch struct {
	names   []byte // one after another
	ends    []int
	results []identity
	recalls []recall      // with a cache, one for each name
	leaves  uint64        // a bit for each name that a walk has seen to be no directory; without a cache, to be a regular file
	err     error         // the worker could not begin at all
	done    chan struct{} // gets a value when results are there
}

// batchPool recycles batches, so that the heap stays small however many names there are.
var batchPool = sync.Pool{New: func() any { return &batch{done: make(chan struct{}, 1)} }}

func newBatch() *batch {
	b := batchPool.Get().(*batch)
	b.names, b.ends, b.recalls, b.leaves = b.names[:0], b.ends[:0], b.recalls[:0], 0
	return b
}

func (b *batch) name(i int) []byte {
	start := 0
	if i > 0 {
		start = b.ends[i-1]
	}
	return b.names[start:b.ends[i]]
}

type identity struct {
	id     list.ID
	node   inode // of a regular file
	linked bool  // it has several names
	err    error
}

type inode struct{ dev, ino uint64 }

// Run calls feed once; feed hands every name, canonical and in list order, to its argument and returns the error of
// that at once. Memory is bounded by the number of workers, but for the names of files that have several.
func (x *Identify) Run(feed func(each func(name []byte) error) error) error {
	return x.run(func(f *feeder) error { return feed(f.name) })
}

// RunDir is Run with all names of d, as Dir.Walk brings them.
func (x *Identify) RunDir(d *Dir, oneFS bool) error {
	return x.run(func(f *feeder) error {
		return d.walk(walker{feed: f, oneFS: oneFS, each: f.name, fail: x.Fail})
	})
}

func (x *Identify) run(feed func(*feeder) error) error {
	workers := x.Workers
	if workers <= 0 {
		workers = min(runtime.GOMAXPROCS(0), maxWorkers)
	}
	work, ordered := make(chan *batch, 4*workers), make(chan *batch, 4*workers)
	stop := make(chan struct{})
	var running sync.WaitGroup
	for range workers {
		running.Go(func() { x.worker(work) })
	}
	var feedErr error
	running.Go(func() {
		defer close(ordered)
		defer close(work)
		f := feeder{cache: x.Cache, work: work, ordered: ordered, stop: stop}
		feedErr = f.run(feed)
	})
	err := x.collect(ordered)
	close(stop)
	for range ordered {
		// after an error of Write: let the feeder see stop
	}
	running.Wait()
	if x.Cache != nil {
		x.Cache.done = feedErr == nil && err == nil
	}
	if errors.Is(feedErr, errStopped) {
		feedErr = nil
	}
	return errors.Join(feedErr, err)
}

var errStopped = errors.New("stopped")

// A feeder groups names and hands each group to a worker and, in order, to the collector.
type feeder struct {
	cache         *Cache
	batch         *batch // nil if it would be empty
	work, ordered chan<- *batch
	stop          <-chan struct{}
	leaf          bool // as in batch, of the name that is brought next
}

func (f *feeder) run(feed func(*feeder) error) error {
	if f.cache != nil {
		f.cache.put = f.add
	}
	err := feed(f)
	if f.batch != nil && !errors.Is(err, errStopped) {
		err = errors.Join(err, f.send())
	}
	if err == nil && f.cache != nil {
		f.cache.finish()
	}
	return err
}

// name brings a name.
func (f *feeder) name(name []byte) error {
	f.add(name)
	if f.leaf {
		f.batch.leaves |= 1 << (len(f.batch.ends) - 1)
		f.leaf = false
	}
	if f.full() {
		return f.send()
	}
	return nil
}

// add adds a name to the batch, with what the cache has of it.
func (f *feeder) add(name []byte) *recall {
	if f.batch == nil {
		f.batch = newBatch()
	}
	b := f.batch
	b.names = append(b.names, name...)
	b.ends = append(b.ends, len(b.names))
	if f.cache == nil {
		return nil
	}
	b.recalls = append(b.recalls, recall{})
	r := &b.recalls[len(b.recalls)-1]
	f.cache.recall(name, r)
	return r
}

func (f *feeder) full() bool {
	size := len(f.batch.names)
	if f.cache != nil {
		size += f.cache.held
	}
	return len(f.batch.ends) >= batchNames || size >= batchBytes
}

func (f *feeder) send() error {
	b := f.batch
	f.batch = nil
	if f.cache != nil {
		f.cache.held = 0
	}
	select {
	case f.ordered <- b:
	case <-f.stop:
		return errStopped
	}
	f.work <- b
	return nil
}

func (x *Identify) worker(work <-chan *batch) {
	src, err := x.Open()
	if err == nil {
		defer src.Close()
	}
	if d, ok := src.(*Dir); ok {
		d.alone = true
	}
	r := identifier{src: src, fake: x.Fake, self: fileOf(x.Output), hash: sha256.New(), cache: x.Cache, progress: x.Progress}
	for b := range work {
		if b.err = err; err == nil {
			b.results = append(b.results[:0], make([]identity, len(b.ends))...)
			r.all(b)
		}
		b.done <- struct{}{}
	}
}

// collect writes the records in order. Only here is it known which name of an inode came first.
func (x *Identify) collect(ordered <-chan *batch) error {
	first := map[inode][]byte{}
	sep := byte('\n')
	if x.Null {
		sep = 0
	}
	text := make([]byte, 0, enoughText+8<<10)
	for b := range ordered {
		<-b.done
		if b.err != nil {
			return b.err
		}
		for i := range b.results {
			name, r := b.name(i), &b.results[i]
			if r.err == nil {
				r.err = x.writable(name)
			}
			if x.Cache != nil && !x.cached(name, r, &b.recalls[i]) {
				continue
			}
			if r.err != nil {
				x.Fail(explain(name, r.err))
				continue
			}
			x.finish(name, r, first)
			text = append(r.id.AppendTo(append(append(text, name...), ' ')), sep)
		}
		batchPool.Put(b)
		if len(text) < enoughText && len(ordered) > 0 {
			continue
		}
		if err := x.Write(text); err != nil {
			return err
		}
		text = text[:0]
	}
	return nil
}

// cached enters what was found into the next cache. It reports whether a record is to be made of it.
func (x *Identify) cached(name []byte, r *identity, known *recall) bool {
	if known.listing {
		x.Cache.note(name, known, true)
		return false
	}
	own := x.Cache.is(r.node)
	x.Cache.note(name, known, r.err == nil && !own)
	return !own
}

func (x *Identify) finish(name []byte, r *identity, first map[inode][]byte) {
	if x.Owner != nil {
		r.id.UID, r.id.GID = x.Owner.UID, x.Owner.GID
	}
	if !r.linked {
		return
	}
	if link, ok := first[r.node]; ok {
		r.id.Link = link
	} else {
		first[r.node] = append([]byte(nil), name...)
	}
}

func explain(name []byte, err error) error {
	if errors.Is(err, fs.ErrNotExist) && bytes.HasSuffix(name, []byte("\r")) {
		return fmt.Errorf("%s: %w: does its line end in CR LF?", list.Quote(name), err)
	}
	return fmt.Errorf("%s: %w", list.Quote(name), err)
}

// writable reports why no list can hold a name that a file system gave.
func (x *Identify) writable(name []byte) error {
	if !x.Null && bytes.IndexByte(name, '\n') >= 0 {
		return errors.New("newline in name: use -0")
	}
	return list.CheckName(name)
}

// identifier makes the ID of one name after another with the same buffers.
type identifier struct {
	src  Source
	fake Fake
	self inode // of the output
	hash hash.Hash
	buf  []byte
	st   Stat // what the disk says of the name
	said Stat // what the list is to say, whose type is that of st or one without content

	leaf  bool    // what is below the name does not come
	early bool    // the name is a regular file, as it seems
	open  Content // of the name
	begun instant // before which a file must have changed last for its ctime to tell of every change since
	doubt bool    // the name may have changed while it was looked at

	cache  *Cache
	volume volume  // of the last file
	recall *recall // of the name, if there is a cache

	progress *progress.Line
}

func (r *identifier) all(b *batch) {
	r.begun = settled()
	if r.cache != nil {
		r.begun = r.cache.now()
	}
	for i := range b.results {
		if r.cache != nil {
			r.recall = &b.recalls[i]
		}
		if r.recall == nil || !r.recall.listing {
			r.leaf = b.leaves&(1<<i) != 0
			r.early = r.leaf && r.fake == nil && r.cache == nil
			r.identify(b.name(i), &b.results[i])
			r.again(b.name(i), &b.results[i])
			r.progress.File()
		}
	}
}

// again looks a second time at a file whose inode may have changed while it was looked at: its content can have, too, and
// its time of modification been set back since. Two looks that find the same are of a file that was so at the second.
func (r *identifier) again(name []byte, out *identity) {
	r.close()
	if !r.doubt || out.err != nil {
		return
	}
	first := out.id
	*out = identity{}
	r.identify(name, out)
	r.close()
	if id := &out.id; out.err == nil && (id.Digest != first.Digest || id.Attr != first.Attr) {
		out.err = ErrRacing
	}
}

func (r *identifier) identify(name []byte, out *identity) {
	r.doubt = false
	st, err := r.stat(name)
	r.st, r.said = st, st
	if err == nil && r.fake != nil {
		err = r.fake(name, &r.said)
	}
	if err != nil {
		out.err = err
		return
	}
	said := &r.said
	id := &out.id
	id.Mode, id.UID, id.GID = said.Mode, said.UID, said.GID
	switch said.Type() {
	case list.Regular:
		out.node, out.linked = inode{st.Dev, st.Ino}, st.Nlink > 1
		if out.node == r.self && r.self != (inode{}) {
			out.err = errSelf
			return
		}
		out.err = r.content(name, id, r.regular)
	case list.Symlink:
		out.err = r.content(name, id, r.symlink)
	case list.Directory:
		if r.leaf {
			out.err = ErrRacing // it has become one since
			return
		}
		out.err = r.content(name, id, r.directory)
	case list.CharDevice, list.BlockDevice:
		id.HasRdev, id.Major, id.Minor = true, said.Major, said.Minor
	case list.FIFO, list.Socket:
	default:
		out.err = fmt.Errorf("unknown type of file (mode %07o)", said.Mode)
	}
}

// content takes what the cache knows of a file, or reads it.
func (r *identifier) content(name []byte, id *list.ID, read func([]byte, *list.ID) error) error {
	if r.recalled(name, id) {
		return nil
	}
	return read(name, id)
}

func (r *identifier) stat(name []byte) (Stat, error) {
	if r.recall != nil && r.recall.st != nil {
		return *r.recall.st, nil
	}
	if d, ok := r.src.(*Dir); ok && r.early {
		if f, err := d.openRegular(name); err == nil {
			r.open = f
			return f.st, nil
		}
	}
	return r.src.Stat(name)
}

// fileOf is the regular file behind w, if there is one.
func fileOf(w io.Writer) inode {
	f, ok := w.(*os.File)
	if !ok {
		return inode{}
	}
	var raw unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &raw); err != nil || uint32(raw.Mode)&list.TypeMask != list.Regular {
		return inode{}
	}
	return inode{uint64(raw.Dev), raw.Ino}
}

func (r *identifier) regular(name []byte, id *list.ID) error {
	if r.open == nil {
		f, err := r.src.Open(name, r.st)
		if err != nil {
			return err
		}
		r.open = f
	}
	f := r.open
	if r.buf == nil {
		r.buf = make([]byte, 256<<10)
	}
	r.hash.Reset()
	if err := drain(f, r.st.Size, r.hash, r.buf, r.progress); err != nil {
		return err
	}
	r.hash.Sum(id.Digest[:0])
	attrs, err := f.Xattrs()
	if err != nil {
		return err
	}
	setXattrs(id, attrs)
	if err := f.Unchanged(); err != nil {
		return err
	}
	own, ok := f.(*file)
	r.looked(ok && own.steady, id)
	return nil
}

// close closes what is open of a name.
func (r *identifier) close() {
	if r.open != nil {
		r.open.Close()
		r.open = nil
	}
}

func (r *identifier) symlink(name []byte, id *list.ID) error {
	target, err := r.src.Readlink(name)
	if err != nil {
		return err
	}
	id.Digest = sha256.Sum256(target)
	r.looked(r.still(name), id)
	return nil
}

func (r *identifier) directory(name []byte, id *list.ID) error {
	attrs, err := r.src.Xattrs(name)
	if err != nil {
		return err
	}
	setXattrs(id, attrs)
	r.looked(r.still(name), id)
	return nil
}

// still reports whether a name that was not open meanwhile is what it was.
func (r *identifier) still(name []byte) bool {
	now, err := r.src.Stat(name)
	return err == nil && now == r.st
}

// recalled takes what the cache knows of a file, if that is as it was then.
func (r *identifier) recalled(name []byte, id *list.ID) bool {
	if r.cache == nil {
		return false
	}
	if r.volume.dev != r.st.Dev {
		r.volume = r.cache.volume(r.src, name, &r.st)
	}
	r.recall.stamp = r.volume.stamp(&r.st)
	known := &r.recall.known
	if !r.recall.has || r.recall.stamp != known.Stamp || known.HasDigest != (r.st.Type() != list.Directory) {
		return false
	}
	r.recall.verdict = same
	id.Digest, id.HasAttr, id.Attr = known.Digest, known.HasAttr, known.Attr
	return true
}

// looked has the cache take what was found in a file that has kept its ctime meanwhile, if that can be relied on.
func (r *identifier) looked(kept bool, id *list.ID) {
	r.doubt = !kept || !r.begun.after(&r.st)
	if r.doubt || r.recall == nil || r.recall.stamp == (statcache.Stamp{}) {
		return
	}
	r.recall.verdict = found
	r.recall.known.Known = statcache.Known{
		HasDigest: r.st.Type() != list.Directory, Digest: id.Digest, HasAttr: id.HasAttr, Attr: id.Attr,
	}
}

func setXattrs(id *list.ID, attrs []Xattr) {
	if len(attrs) > 0 {
		id.HasAttr, id.Attr = true, XattrDigest(attrs)
	}
}
