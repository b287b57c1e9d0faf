package archive

import (
	"bytes"
	"io"
	"os"
	"sync"

	"github.com/ctbox/ctbox/applets/internal/statcache"
)

// A Cache lets Identify leave files unread that are as an earlier run left them: the same device and inode, size, time
// of modification and time of change (ctime), under the same name.
//
// No entry is made unless it can be relied on. The clock of a file system has a step, 1 to 10 ms on Linux. A file that
// is written to twice within a step has the same times after both, so what was read between them may be wrong and nobody
// could see it. So a file is entered only if its last change lies before the step in which reading it began: then every
// later change has a later time. It need not be asked again when that was. (git goes by the same rule but keeps what
// breaks it, marked.) Times of modification do not count here, as anybody can set them; the kernel sets ctime at each
// change and nobody else can.
type Cache struct {
	old  *statcache.Scanner // nil: nothing is known
	next *statcache.Update  // nil: it is not to be written
	warn func(error)
	now  func() instant  // settled
	file inode           // of old
	made inode           // of what is to be the next one, once there is such a file
	temp func() *os.File // that file
	left bool            // old has entries of names after the last
	done bool            // every name came, and every record went

	walked *Stat                     // of the name that is brought next, if the walk has it
	key    []byte                    // of a directory's names
	put    func(name []byte) *recall // makes the recall of key, among those of names
	open   *recall                   // what put made last
	held   int                       // bytes of names in directories that were handed on in this batch

	mu      sync.Mutex
	volumes []volume
}

// NewCache goes by file and writes what is to be in its place to next, if that is not nil. One Cache is for one Run of one
// Identify. Neither file is part of the list.
func NewCache(file *statcache.File, next *statcache.Next, warn func(error)) *Cache {
	c := &Cache{warn: warn, now: settled, file: fileOf(file.File), temp: func() *os.File { return nil }}
	if file.Size > 0 {
		c.old = file.Scan()
	}
	if next != nil {
		c.temp = next.File
		c.next = &statcache.Update{Old: file.Scan, Out: next}
		if c.old == nil {
			c.next.Drop()
		}
	}
	return c
}

// is reports whether a file is the cache, or the next one. Whoever asks is who calls note, so that a file that was seen
// while it was written is known by now.
func (c *Cache) is(node inode) bool {
	if f := c.temp(); f != nil && c.made == (inode{}) {
		c.made = fileOf(f)
	}
	return node != inode{} && (node == c.file || node == c.made)
}

// Close ends what is to be the next cache. Any error means that it is not to be used: statcache.ErrKept, that it would be
// as the last one, or would lack names that did not come.
func (c *Cache) Close() error {
	if !c.done || c.next == nil {
		return statcache.ErrKept
	}
	if c.left {
		c.next.Drop()
	}
	changed, err := c.next.Close()
	if err == nil && !changed {
		err = statcache.ErrKept
	}
	return err
}

// A recall is what the cache has of one name, and what comes of it.
type recall struct {
	known   statcache.Entry // without name; names are a copy
	has     bool            // known is there
	passed  bool            // the cache holds names before this one that did not come
	listing bool            // about the names in a directory
	verdict verdict
	stamp   statcache.Stamp // of now
	st      *Stat           // if the walk has asked already
}

type verdict uint8

const (
	unknown verdict = iota
	same            // known still holds
	found           // known is new, and to be kept
)

// recall looks a name up. Names come in list order. What it has of names in a directory is valid until the next call.
func (c *Cache) recall(name []byte, r *recall) {
	*r = recall{st: c.walked}
	c.walked = nil
	if c.old == nil {
		return
	}
	e, passed, err := c.old.Find(name)
	if r.passed = passed > 0; err != nil {
		c.old, r.passed = nil, true
		c.tell(err)
	}
	if e != nil {
		r.known, r.has = *e, true
	}
}

func (c *Cache) tell(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.warn(err)
}

// listing looks up what is in a directory, as entries has it. Where it is not known, whoever reads the directory calls
// listed.
func (c *Cache) listing(d *Dir, name []byte, st *Stat) (names []byte, ok bool) {
	c.key = append(append(c.key[:0], name...), '/')
	r := c.put(c.key)
	c.open, r.listing = r, true
	v := c.volume(d, name, st)
	r.stamp = v.stamp(st)
	if !r.has || r.stamp != r.known.Stamp {
		r.known.Names = nil
		return nil, false
	}
	r.verdict, r.known.Names = same, bytes.Clone(r.known.Names)
	c.held += len(r.known.Names)
	return r.known.Names, true
}

// listed enters what is in the directory that listing, called last, did not know.
func (c *Cache) listed(names []byte) {
	r := c.open
	if names != nil && len(names) <= statcache.MaxNames && r.stamp != (statcache.Stamp{}) {
		r.verdict, r.known.Names = found, names
		c.held += len(names)
	}
}

// finish is called when all names have come.
func (c *Cache) finish() {
	if c.old == nil {
		return
	}
	_, err := c.old.Next()
	if c.left = err != io.EOF; c.left && err != nil {
		c.tell(err)
	}
}

// note enters what a run found of a name into the next cache; listed says that there is a record of it.
func (c *Cache) note(name []byte, r *recall, listed bool) {
	if c.next == nil {
		return
	}
	if r.passed {
		c.next.Drop()
	}
	r.known.Name, r.known.Stamp = name, r.stamp
	switch {
	case listed && r.verdict == same:
		c.next.Keep(&r.known)
	case listed && r.verdict == found:
		c.next.Drop()
		c.next.Add(&r.known)
	case r.has:
		c.next.Drop()
	}
}
