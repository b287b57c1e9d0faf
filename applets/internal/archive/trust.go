package archive

import (
	"io"

	"github.com/ctbox/ctbox/applets/internal/statcache"
)

// recall notes what the cache that is trusted has for a record, if that is what the record says. Records come in list
// order.
func (l *lookahead) recall(it *item) {
	if l.trust == nil {
		return
	}
	var r recall
	l.trust.recall(it.Name, &r)
	known, id := &r.known, &it.ID
	if r.has && known.HasDigest && known.Digest == id.Digest && known.HasAttr == id.HasAttr && known.Attr == id.Attr {
		it.proven = known.Stamp
	}
}

// trusted reports whether a file, as it.st describes it, has been proven before.
func (l *looker) trusted(it *item) bool {
	if it.proven == (statcache.Stamp{}) {
		return false
	}
	v := l.trust.volume(l.source, it.Name, &it.st)
	return v.stamp(&it.st) == it.proven
}

// stayed reports an error if a file that is trusted has changed while it was copied. No change is so early that it could
// not be told from the last one before; see Cache.
func stayed(c Content) error {
	if err := c.Unchanged(); err != nil {
		return err
	}
	if f, ok := c.(*file); !ok || !f.steady {
		return ErrRacing
	}
	return nil
}

// enoughToSend is how large a file is, in bytes, for which the kernel is asked to copy it. For smaller ones, large writes
// of many are faster.
const enoughToSend = 128 << 10

// send has the kernel copy what it can of the next size bytes of c to a plain file.
func (b *buffer) send(c *file, size int64) (sent int64, err error) {
	if size < enoughToSend || b.plain == nil {
		return 0, nil
	}
	if err := b.flush(); err != nil {
		return 0, err
	}
	return copyRange(int(b.plain.Fd()), c.fd, size), nil
}

// isPlain reports whether what is written to w goes to a plain file and nowhere else.
func isPlain(w io.Writer) bool { return fileOf(w) != inode{} }
