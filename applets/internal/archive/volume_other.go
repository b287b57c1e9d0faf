//go:build !linux

package archive

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"
)

// openNothing is how a file is opened only to ask about it.
const openNothing = unix.O_RDONLY

// ask asks the file system of an open file. It is relied on if each change of a file or directory sets ctime by this
// machine's clock, if late where a program writes through memory. Lists made here hold no extended attributes.
func (v *volume) ask(fd int) (kind string, err error) {
	var fs unix.Statfs_t
	if _, err := retry(func() (int, error) { return 0, unix.Fstatfs(fd, &fs) }); err != nil {
		return "", err
	}
	kind = unix.ByteSliceToString(fs.Fstypename[:])
	v.steady = kind == "apfs" || kind == "ufs"
	id := binary.LittleEndian.AppendUint64(nil, v.dev)
	for _, n := range fs.Fsid.Val {
		id = binary.LittleEndian.AppendUint32(id, uint32(n))
	}
	sum := sha256.Sum256(append(id, kind...))
	v.id = binary.LittleEndian.Uint64(sum[:])
	return kind, nil
}

// settled is an instant that no change from now on can bear, nor one before it: file systems may go by a clock that is
// behind this one by a step, at most 10 ms.
func settled() instant {
	now := time.Now().Add(-100 * time.Millisecond)
	return instant{now.Unix(), int64(now.Nanosecond())}
}
