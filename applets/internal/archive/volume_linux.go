package archive

import (
	"crypto/sha256"
	"encoding/binary"
	"strconv"

	"golang.org/x/sys/unix"
)

// openNothing is how a file is opened only to ask about it.
const openNothing = unix.O_PATH

// ask asks the file system of an open file. It is relied on if each change of a file or directory, of its content by
// write(2) or through memory or of its extended attributes, sets ctime by this machine's clock. Not so, among others:
// tmpfs, which does not notice writing through memory; ZFS, which does so late, and not of all attributes; overlays,
// which may lie on anything; network file systems, whose clock is another machine's and whose answers may be some seconds
// old; FUSE, which may be anything; FAT and images that are only read, whose ctime is a copy of another time.
func (v *volume) ask(fd int) (kind string, err error) {
	var fs unix.Statfs_t
	if _, err := retry(func() (int, error) { return 0, unix.Fstatfs(fd, &fs) }); err != nil {
		return "", err
	}
	switch uint32(fs.Type) {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC: // ext2 and ext3 say the same as ext4
		v.steady = true
	}
	id := binary.LittleEndian.AppendUint64(nil, v.dev)
	for _, n := range []uint32{uint32(fs.Type), uint32(fs.Fsid.Val[0]), uint32(fs.Fsid.Val[1])} {
		id = binary.LittleEndian.AppendUint32(id, n)
	}
	sum := sha256.Sum256(id)
	v.id = binary.LittleEndian.Uint64(sum[:])
	return "0x" + strconv.FormatUint(uint64(uint32(fs.Type)), 16), nil
}

// settled is an instant that no change from now on can bear, nor one before it. The coarse clock is the one that file
// systems set times by (current_time() in the kernel); since Linux 6.13 they may be later, never earlier.
func settled() instant {
	const step = 10e6 // ns: the longest there is, for those that round further
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &now) != nil {
		return instant{}
	}
	t := instant{int64(now.Sec), int64(now.Nsec) - step}
	if t.nsec < 0 {
		t.sec, t.nsec = t.sec-1, t.nsec+1e9
	}
	return t
}
