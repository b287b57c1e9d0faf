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

	Progress *progress.Line // counts files and the bytes read of them
}

var errSelf = errors.New("is the file that the list is written to")

// maxWorkers keeps the descriptors of a run, two for each worker, below the smallest usual limits.
const maxWorkers = 16

// A worker takes so many names at once, or names of so many bytes: enough to make hand-over cheap, few enough to share
// work fairly, and in a very deep tree to keep memory bounded.
const (
	batchNames = 32
	batchBytes = 64 << 10
)

type batch struct {
	names   []byte // one after another
	ends    []int
	results []identity
	err     error         // the worker could not begin at all
	done    chan struct{} // gets a value when results are there
}

// batchPool recycles batches, so that the heap stays small however many names there are.
var batchPool = sync.Pool{New: func() any { return &batch{done: make(chan struct{}, 1)} }}

func newBatch() *batch {
	b := batchPool.Get().(*batch)
	b.names, b.ends = b.names[:0], b.ends[:0]
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
	id   list.ID
	node inode // of a regular file with several names
	err  error
}

type inode struct{ dev, ino uint64 }

// Run calls feed once; feed hands every name, canonical and in list order, to its argument and returns the error of
// that at once. Memory is bounded by the number of workers, but for the names of files that have several.
func (x *Identify) Run(feed func(each func(name []byte) error) error) error {
	workers := x.Workers
	if workers <= 0 {
		workers = min(runtime.GOMAXPROCS(0), maxWorkers)
	}
	work := make(chan *batch)
	ordered := make(chan *batch, 4*workers)
	stop := make(chan struct{})
	var running sync.WaitGroup
	for range workers {
		running.Go(func() { x.worker(work) })
	}
	var feedErr error
	running.Go(func() {
		defer close(ordered)
		defer close(work)
		feedErr = batches(feed, work, ordered, stop)
	})
	err := x.collect(ordered)
	close(stop)
	for range ordered {
		// after an error of Write: let the feeder see stop
	}
	running.Wait()
	if errors.Is(feedErr, errStopped) {
		feedErr = nil
	}
	return errors.Join(feedErr, err)
}

var errStopped = errors.New("stopped")

// batches groups the names and hands each group to a worker and, in order, to the collector.
func batches(feed func(func([]byte) error) error, work, ordered chan<- *batch, stop <-chan struct{}) error {
	var b *batch
	send := func() error {
		select {
		case ordered <- b:
		case <-stop:
			return errStopped
		}
		work <- b
		b = nil
		return nil
	}
	err := feed(func(name []byte) error {
		if b == nil {
			b = newBatch()
		}
		b.names = append(b.names, name...)
		b.ends = append(b.ends, len(b.names))
		if len(b.ends) == batchNames || len(b.names) >= batchBytes {
			return send()
		}
		return nil
	})
	if b != nil && !errors.Is(err, errStopped) {
		err = errors.Join(err, send())
	}
	return err
}

func (x *Identify) worker(work <-chan *batch) {
	src, err := x.Open()
	if err == nil {
		defer src.Close()
	}
	r := identifier{src: src, fake: x.Fake, self: fileOf(x.Output), hash: sha256.New(), buf: make([]byte, 256<<10),
		progress: x.Progress}
	for b := range work {
		if b.err = err; err == nil {
			b.results = append(b.results[:0], make([]identity, len(b.ends))...)
			for i := range b.results {
				r.identify(b.name(i), &b.results[i])
				x.Progress.File()
			}
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
	var text []byte
	for b := range ordered {
		<-b.done
		if b.err != nil {
			return b.err
		}
		text = text[:0]
		for i := range b.results {
			name, r := b.name(i), &b.results[i]
			if r.err == nil {
				r.err = x.writable(name)
			}
			if r.err != nil {
				x.Fail(explain(name, r.err))
				continue
			}
			x.finish(name, r, first)
			text = append(r.id.AppendTo(append(append(text, name...), ' ')), sep)
		}
		if err := x.Write(text); err != nil {
			return err
		}
		batchPool.Put(b)
	}
	return nil
}

func (x *Identify) finish(name []byte, r *identity, first map[inode][]byte) {
	if x.Owner != nil {
		r.id.UID, r.id.GID = x.Owner.UID, x.Owner.GID
	}
	if r.node == (inode{}) {
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

	progress *progress.Line
}

func (r *identifier) identify(name []byte, out *identity) {
	st, err := r.src.Stat(name)
	if err != nil {
		out.err = err
		return
	}
	said := st // whose type is that of st, or one without content
	if r.fake != nil {
		if err := r.fake(name, &said); err != nil {
			out.err = err
			return
		}
	}
	id := &out.id
	id.Mode, id.UID, id.GID = said.Mode, said.UID, said.GID
	switch said.Type() {
	case list.Regular:
		node := inode{st.Dev, st.Ino}
		if node == r.self && r.self != (inode{}) {
			out.err = errSelf
			return
		}
		if st.Nlink > 1 {
			out.node = node
		}
		out.err = r.regular(name, st, id)
	case list.Symlink:
		var target []byte
		target, out.err = r.src.Readlink(name)
		id.Digest = sha256.Sum256(target)
	case list.Directory:
		var attrs []Xattr
		attrs, out.err = r.src.Xattrs(name)
		setXattrs(id, attrs)
	case list.CharDevice, list.BlockDevice:
		id.HasRdev, id.Major, id.Minor = true, said.Major, said.Minor
	case list.FIFO, list.Socket:
	default:
		out.err = fmt.Errorf("unknown type of file (mode %07o)", said.Mode)
	}
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

func (r *identifier) regular(name []byte, st Stat, id *list.ID) error {
	f, err := r.src.Open(name, st)
	if err != nil {
		return err
	}
	defer f.Close()
	r.hash.Reset()
	if err := drain(f, st.Size, r.hash, r.buf, r.progress); err != nil {
		return err
	}
	r.hash.Sum(id.Digest[:0])
	attrs, err := f.Xattrs()
	if err != nil {
		return err
	}
	setXattrs(id, attrs)
	return f.Unchanged()
}

func setXattrs(id *list.ID, attrs []Xattr) {
	if len(attrs) > 0 {
		id.HasAttr, id.Attr = true, XattrDigest(attrs)
	}
}
