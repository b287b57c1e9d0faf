//go:build linux

package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// A faultFS shows what is below dir. A node is a name: every name and type has a number of its own, which is never given to
// another, so that the kernel takes a name whose type changes for a new file.
type faultFS struct {
	fuse.RawFileSystem
	dir string

	mu     sync.Mutex
	rules  map[string]map[string]int64 // by name and fault
	counts map[string]int64            // how often a name was asked for something
	nodes  []string                    // names by number
	byName map[string]uint64           // with the type after a slash
	open   map[uint64][]fuse.DirEntry  // directories that are read
	last   uint64                      // handle
	hung   int                         // requests
	freed  chan struct{}               // closed when those that hang are to go on
}

func newFaultFS(dir string) *faultFS {
	return &faultFS{
		RawFileSystem: fuse.NewDefaultRawFileSystem(), dir: dir,
		rules: map[string]map[string]int64{}, counts: map[string]int64{},
		nodes: []string{"", "."}, byName: map[string]uint64{}, open: map[uint64][]fuse.DirEntry{}, freed: make(chan struct{}),
	}
}

func (fs *faultFS) name(node uint64) string {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.nodes[node]
}

func (fs *faultFS) path(name string) string { return filepath.Join(fs.dir, name) }

// has reports whether a name has a fault, and the number of it.
func (fs *faultFS) has(name, fault string) (n int64, ok bool) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	n, ok = fs.rules[name][fault]
	return n, ok
}

func (fs *faultFS) is(name, fault string) bool {
	_, ok := fs.has(name, fault)
	return ok
}

// count counts how often a name was asked for something, from 1 up.
func (fs *faultFS) count(name, what string) int64 {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.counts[what+" "+name]++
	return fs.counts[what+" "+name]
}

// counted is how often that was.
func (fs *faultFS) counted(name, what string) int64 {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.counts[what+" "+name]
}

// fail is the error that a name has for a request: with a fault "REQUEST-ERROR", always; with a number n, from the n-th on.
// "REQUEST-hang" waits for somebody to lose patience.
func (fs *faultFS) fail(cancel <-chan struct{}, name, request string) fuse.Status {
	asked := fs.count(name, request)
	for what, errno := range map[string]syscall.Errno{"eio": unix.EIO, "estale": unix.ESTALE, "enoent": unix.ENOENT, "eacces": unix.EACCES, "eintr": unix.EINTR} {
		if n, ok := fs.has(name, request+"-"+what); ok && asked >= n && (what != "eintr" || asked < n+5) {
			return fuse.Status(errno)
		}
	}
	if !fs.is(name, request+"-hang") {
		return fuse.OK
	}
	freed := fs.hang(1)
	defer fs.hang(-1)
	select {
	case <-cancel:
		return fuse.EINTR
	case <-freed: // nobody cancels what the kernel reads ahead
		return fuse.EIO
	}
}

func (fs *faultFS) hang(more int) (freed <-chan struct{}) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.hung += more
	return fs.freed
}

// attr describes a name.
func (fs *faultFS) attr(name string, out *fuse.Attr) fuse.Status {
	var st syscall.Stat_t
	if err := syscall.Lstat(fs.path(name), &st); err != nil {
		return fuse.ToStatus(err)
	}
	asked := uint64(fs.count(name, "attr"))
	out.FromStat(&st)
	reads := fs.counted(name, "read")
	if n, ok := fs.has(name, "size"); ok { // more, or less, than there is
		out.Size = uint64(int64(out.Size) + n)
	}
	if n, ok := fs.has(name, "resize"); ok && reads > 0 { // it is another one once somebody has read
		out.Size = uint64(int64(out.Size) + n)
	}
	if n, ok := fs.has(name, "type"); ok && asked > uint64(n) { // first a few times what it is
		out.Mode = unix.S_IFIFO | 0o644
	}
	if n, ok := fs.has(name, "symlink"); ok && asked > uint64(n) {
		out.Mode = unix.S_IFLNK | 0o777
	}
	if fs.is(name, "ino") { // another one each time
		out.Ino = 1<<40 + asked
	}
	if n, ok := fs.has(name, "collide"); ok { // that of others, with several links
		out.Ino, out.Nlink = uint64(n), 2
	}
	if fs.is(name, "mtime") {
		out.Mtime += asked
	}
	if fs.is(name, "ctime") {
		out.Ctime += asked
	}
	if fs.is(name, "change") && reads > 0 { // only ctime tells
		out.Ctime += uint64(reads)
	}
	if fs.is(name, "nlink") {
		out.Nlink = 1 + uint32(asked%3)
	}
	if fs.is(name, "mode") {
		out.Mode ^= uint32(asked%2) * 0o111
	}
	if fs.is(name, "no-type") {
		out.Mode &= 0o7777
	}
	if fs.is(name, "huge") {
		out.Size = 1<<63 + 5
	}
	return fuse.OK
}

func (fs *faultFS) Lookup(cancel <-chan struct{}, h *fuse.InHeader, base string, out *fuse.EntryOut) fuse.Status {
	name := filepath.Join(fs.name(h.NodeId), base)
	if s := fs.fail(cancel, name, "lookup"); s != fuse.OK {
		return s
	}
	if s := fs.attr(name, &out.Attr); s != fuse.OK {
		return s
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	key := fmt.Sprintf("%s/%o", name, out.Mode>>12)
	if fs.byName[key] == 0 {
		fs.byName[key] = uint64(len(fs.nodes))
		fs.nodes = append(fs.nodes, name)
	}
	out.NodeId, out.Generation = fs.byName[key], 1
	return fuse.OK
}

func (fs *faultFS) GetAttr(cancel <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	name := fs.name(in.NodeId)
	if s := fs.fail(cancel, name, "getattr"); s != fuse.OK {
		return s
	}
	return fs.attr(name, &out.Attr)
}

func (fs *faultFS) Readlink(cancel <-chan struct{}, h *fuse.InHeader) ([]byte, fuse.Status) {
	name := fs.name(h.NodeId)
	if s := fs.fail(cancel, name, "readlink"); s != fuse.OK {
		return nil, s
	}
	switch {
	case fs.is(name, "readlink-lies"):
		return fmt.Appendf(nil, "lie%d", fs.counted(name, "readlink")), fuse.OK
	case fs.is(name, "readlink-empty"):
		return nil, fuse.OK
	case fs.is(name, "readlink-nul"):
		return []byte("in\x00visible"), fuse.OK
	case fs.is(name, "readlink-long"):
		return bytes.Repeat([]byte("x"), 4095), fuse.OK
	}
	target, err := os.Readlink(fs.path(name))
	if err != nil {
		target = "/no/link"
	}
	return []byte(target), fuse.OK
}

// attributes are what a name has: those of the faults, as nothing in dir has any.
func (fs *faultFS) attributes(name string, asked int64) map[string]string {
	switch {
	case fs.is(name, "xattr"):
		return map[string]string{"user.one": "1", "user.two": "2"}
	case fs.is(name, "xattr-changes"):
		return map[string]string{"user.one": fmt.Sprint(asked)}
	case fs.is(name, "xattr-grows"):
		return map[string]string{"user.one": string(bytes.Repeat([]byte("1"), int(min(asked*100, 60000))))}
	case fs.is(name, "xattr-name"):
		return map[string]string{fmt.Sprintf("user.%d", asked): "1"}
	}
	return nil
}

func (fs *faultFS) GetXAttr(cancel <-chan struct{}, h *fuse.InHeader, attr string, dest []byte) (uint32, fuse.Status) {
	name := fs.name(h.NodeId)
	if s := fs.fail(cancel, name, "getxattr"); s != fuse.OK {
		return 0, s
	}
	value, ok := fs.attributes(name, fs.counted(name, "getxattr"))[attr]
	if !ok {
		return 0, fuse.ENOATTR
	}
	return give(dest, value)
}

func (fs *faultFS) ListXAttr(cancel <-chan struct{}, h *fuse.InHeader, dest []byte) (uint32, fuse.Status) {
	name := fs.name(h.NodeId)
	if s := fs.fail(cancel, name, "listxattr"); s != fuse.OK {
		return 0, s
	}
	var names string
	for attr := range fs.attributes(name, fs.counted(name, "listxattr")) {
		names += attr + "\x00"
	}
	return give(dest, names)
}

// give answers a request that asks for the size first.
func give(dest []byte, text string) (uint32, fuse.Status) {
	if len(dest) > 0 && len(dest) < len(text) {
		return uint32(len(text)), fuse.ERANGE
	}
	copy(dest, text)
	return uint32(len(text)), fuse.OK
}

func (fs *faultFS) Open(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	name := fs.name(in.NodeId)
	if s := fs.fail(cancel, name, "open"); s != fuse.OK {
		return s
	}
	if fs.is(name, "short") || fs.is(name, "long") {
		out.OpenFlags = fuse.FOPEN_DIRECT_IO // or the kernel takes a short answer for the end of the file
	}
	return fuse.OK
}

func (fs *faultFS) Read(cancel <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	name := fs.name(in.NodeId)
	if s := fs.fail(cancel, name, "read"); s != fuse.OK {
		return nil, s
	}
	at, size := int64(in.Offset), int64(len(buf))
	if n, ok := fs.has(name, "eio-at"); ok {
		if at >= n {
			return nil, fuse.EIO
		}
		size = min(size, n-at)
	}
	if n, ok := fs.has(name, "short"); ok {
		size = min(size, n)
	}
	if !fs.faulty(name) {
		return fs.plain(name, at, buf)
	}
	text, err := os.ReadFile(fs.path(name))
	if err != nil {
		return nil, fuse.ToStatus(err)
	}
	if n, ok := fs.has(name, "cut"); ok { // shorter than it is said to be
		text = text[:min(n, int64(len(text)))]
	}
	if n, ok := fs.has(name, "resize"); ok {
		text = append(text, make([]byte, 1<<20)...)[:int64(len(text))+n]
	}
	if fs.is(name, "long") { // longer
		text = append(text, "more"...)
	}
	if fs.is(name, "change") || fs.is(name, "flip") { // another one each time
		text[len(text)-1] = byte(fs.counted(name, "read"))
	}
	at = min(at, int64(len(text)))
	return fuse.ReadResultData(text[at:min(at+size, int64(len(text)))]), fuse.OK
}

func (fs *faultFS) faulty(name string) bool {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.rules[name] != nil
}

// plain reads a file without faults.
func (fs *faultFS) plain(name string, at int64, buf []byte) (fuse.ReadResult, fuse.Status) {
	f, err := os.Open(fs.path(name))
	if err != nil {
		return nil, fuse.ToStatus(err)
	}
	defer f.Close()
	n, err := f.ReadAt(buf, at)
	if err != nil && err != io.EOF {
		return nil, fuse.ToStatus(err)
	}
	return fuse.ReadResultData(buf[:n]), fuse.OK
}

func (fs *faultFS) OpenDir(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	name := fs.name(in.NodeId)
	if s := fs.fail(cancel, name, "opendir"); s != fuse.OK {
		return s
	}
	found, err := os.ReadDir(fs.path(name))
	if err != nil {
		return fuse.ToStatus(err)
	}
	opened := fs.count(name, "listed")
	var entries []fuse.DirEntry
	for _, e := range found {
		entry := fuse.DirEntry{Name: e.Name(), Mode: fs.entryType(filepath.Join(name, e.Name()))}
		entries = append(entries, entry)
		if fs.is(name, "twice") {
			entries = append(entries, entry)
		}
	}
	for fault, entry := range map[string]string{"ghost": "ghost", "slash": "a/f01", "dotdot": "..", "empty": "", "changes": fmt.Sprint("f", opened)} {
		if fs.is(name, fault) {
			entries = append(entries, fuse.DirEntry{Name: entry, Mode: unix.S_IFREG})
		}
	}
	if fs.is(name, "fewer") && opened > 1 {
		entries = entries[1:]
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.last++
	out.Fh, fs.open[fs.last] = fs.last, entries
	return fuse.OK
}

// entryType is what a directory says of the type of a name.
func (fs *faultFS) entryType(name string) uint32 {
	if n, ok := fs.has(name, "d-type"); ok {
		return uint32(n) << 12
	}
	var st syscall.Stat_t
	syscall.Lstat(fs.path(name), &st)
	return st.Mode
}

func (fs *faultFS) ReadDir(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	name := fs.name(in.NodeId)
	if s := fs.fail(cancel, name, "readdir"); s != fuse.OK {
		return s
	}
	fs.mu.Lock()
	entries := fs.open[in.Fh]
	fs.mu.Unlock()
	if n, ok := fs.has(name, "readdir-most"); ok { // then an error
		if int64(in.Offset) >= n {
			return fuse.EIO
		}
		entries = entries[:min(n, int64(len(entries)))]
	}
	for i := int(in.Offset); i < len(entries) && out.AddDirEntry(entries[i]); i++ {
	}
	return fuse.OK
}

func (fs *faultFS) ReleaseDir(in *fuse.ReleaseIn) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	delete(fs.open, in.Fh)
}

func (fs *faultFS) Access(<-chan struct{}, *fuse.AccessIn) fuse.Status { return fuse.OK }

func (fs *faultFS) String() string { return "faultfs" }
