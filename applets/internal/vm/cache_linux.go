package vm

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/output"
)

// A Cache is a directory of the user's that only saves time: all in it can be made again, and may go at any moment. A nil Cache
// is always empty.
//
// An entry is a file KIND/HASH, where HASH is of its key. It is whole or not there. It may be replaced or removed while it is
// open: who has it open keeps it.
type Cache struct{ dir string }

const (
	cacheAge  = 30 * 24 * time.Hour // entries that were not used for so long are removed,
	cacheSize = 2 << 30             // and those used longest ago until no more bytes than this are left
	known     = "known"             // the kind of what Remember keeps
)

var errNoCache = fmt.Errorf("no cache: %w", fs.ErrNotExist)

// OpenCache opens ctbox in the user's directory of caches (XDG Base Directory Specification), and makes it if need be. Without
// such a directory, or where others could write to it, there is no cache.
func OpenCache() *Cache { return openCache(os.Getenv("XDG_CACHE_HOME"), os.Getenv("HOME")) }

func openCache(xdg, home string) *Cache {
	base := xdg
	if !filepath.IsAbs(base) {
		base = filepath.Join(home, ".cache")
	}
	dir := filepath.Join(base, "ctbox")
	if !filepath.IsAbs(dir) || !mayCreate(base) {
		return nil
	}
	if os.MkdirAll(dir, 0o700) != nil || !private(dir) {
		return nil
	}
	return &Cache{dir}
}

// mayCreate keeps root from making directories in the homes of others, who could not use or remove them.
func mayCreate(dir string) bool {
	fi, err := os.Stat(dir)
	for errors.Is(err, fs.ErrNotExist) && dir != "/" {
		dir = filepath.Dir(dir)
		fi, err = os.Stat(dir)
	}
	return err == nil && (os.Geteuid() != 0 || owner(fi) == 0)
}

// private tells a directory that nobody else can write to.
func private(dir string) bool {
	fi, err := os.Lstat(dir)
	return err == nil && fi.IsDir() && owner(fi) == os.Geteuid() && fi.Mode()&0o022 == 0
}

func owner(fi fs.FileInfo) int { return int(fi.Sys().(*syscall.Stat_t).Uid) }

func (c *Cache) path(kind, key string) string {
	return filepath.Join(c.dir, kind, fmt.Sprintf("%x", sha256.Sum256([]byte(key))))
}

// Open opens an entry as it is on disk, and notes that it was used.
func (c *Cache) Open(kind, key string) (*os.File, error) {
	if c == nil {
		return nil, errNoCache
	}
	f, err := os.OpenFile(c.path(kind, key), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0) // not to wait for the writer of a FIFO
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: f.Name(), Err: errors.New("not a regular file")}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	if now := time.Now(); now.Sub(lastUse(fi)) > cacheAge/30 {
		os.Chtimes(f.Name(), now, time.Time{})
	}
	return f, nil
}

// Put makes an entry of what fill writes, or none if that fails.
func (c *Cache) Put(kind, key string, fill func(io.Writer) error) error {
	if c == nil {
		return errNoCache
	}
	path := c.path(kind, key)
	if err := makeRoom(path); err != nil {
		return err
	}
	if err := (output.Target{Path: path}).Write(fill); err != nil {
		return err
	}
	if kind != known {
		c.prune(cacheAge, cacheSize)
	}
	return nil
}

// makeRoom makes the directory of an entry, and removes what is no entry but has its name: output would follow a link, and write
// to a file that is not the cache's.
func makeRoom(path string) error {
	dir := filepath.Dir(path)
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if !private(dir) {
		return fmt.Errorf("%s: not a directory of the user's own", dir)
	}
	fi, err := os.Lstat(path)
	if err == nil && !fi.Mode().IsRegular() {
		err = os.Remove(path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Remove removes an entry if it is there.
func (c *Cache) Remove(kind, key string) {
	if c != nil {
		os.Remove(c.path(kind, key))
	}
}

// File opens an entry whose content is what make wrote, or makes it. Where there is no cache, or no room in it, the file has no
// name. Only make's errors are errors.
//
// The content's CRC is remembered with the file's size and times: it is computed when these changed, when the machine has been
// started again, and once a day, and not every time, since it would take as long as all the rest.
func (c *Cache) File(kind, key string, make func(io.Writer) error) (*os.File, error) {
	if f := c.openSound(kind, key); f != nil {
		return f, nil
	}
	sum := crc32.New(castagnoli)
	err := c.Put(kind, key, func(w io.Writer) error { return make(io.MultiWriter(w, sum)) })
	if err == nil {
		c.rememberSum(c.path(kind, key), sum.Sum32(), "")
		if f := c.openSound(kind, key); f != nil { // another process may have put something else there since
			return f, nil
		}
	}
	return unnamed(kind, make)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// openSound opens an entry if its content is what was remembered of it, else it returns nil.
func (c *Cache) openSound(kind, key string) *os.File {
	f, err := c.Open(kind, key)
	if err != nil {
		return nil
	}
	if !c.sound(f) {
		f.Close()
		return nil
	}
	return f
}

func (c *Cache) sound(f *os.File) bool {
	hex, was, _ := strings.Cut(c.Recall(sumKey(f.Name())), " ")
	want, err := strconv.ParseUint(hex, 16, 32)
	if err != nil {
		return false
	}
	stamp, err := verifiedStamp(f)
	if err != nil || stamp == was {
		return err == nil
	}
	sum := crc32.New(castagnoli)
	if err := sumUp(sum, f); err != nil || uint64(sum.Sum32()) != want {
		return false
	}
	c.rememberSum(f.Name(), uint32(want), stamp)
	return true
}

// sumUp gives w the content of f, wherever f stands.
func sumUp(w io.Writer, f *os.File) error {
	_, err := io.CopyBuffer(struct{ io.Writer }{w}, io.NewSectionReader(f, 0, 1<<62), make([]byte, 256<<10))
	return err
}

// rememberSum keeps the CRC of the entry at path; stamp is that of the file when it was found right.
func (c *Cache) rememberSum(path string, sum uint32, stamp string) {
	c.Remember(sumKey(path), fmt.Sprintf("%x %s", sum, stamp))
}

func sumKey(path string) string { return "crc32c " + path }

// verifiedStamp is a stamp that ends when the machine does: after a loss of power, what is on disk may be something else.
func verifiedStamp(f *os.File) (string, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", err
	}
	stamp, _, err := stampOf(f)
	return stamp + " " + strings.TrimSpace(string(boot)), err
}

// stampOf changes when the file does, or its content, as far as its times and size tell; changed is when it last did.
func stampOf(f *os.File) (stamp string, changed time.Time, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return "", changed, &fs.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	stamp = fmt.Sprint(st.Dev, st.Ino, st.Size, st.Mtim.Nano(), st.Ctim.Nano())
	return stamp, time.Unix(st.Ctim.Unix()), nil
}

// unnamed is a file that is gone when it is closed, at its start.
func unnamed(name string, make func(io.Writer) error) (*os.File, error) {
	f, err := memoryFile(name, 0)
	if err != nil {
		return nil, err
	}
	if err = make(f); err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Remember keeps a short value until it is not asked for in a month. It may be lost.
func (c *Cache) Remember(key, value string) {
	c.Put(known, key, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%q %q\n", key, value)
		return err
	})
}

// Recall returns the value that was remembered last, or "".
func (c *Cache) Recall(key string) string {
	f, err := c.Open(known, key)
	if err != nil {
		return ""
	}
	defer f.Close()
	text, _ := io.ReadAll(io.LimitReader(f, 64<<10))
	quoted, ok := strings.CutPrefix(string(text), strconv.Quote(key)+" ")
	value, err := strconv.Unquote(strings.TrimSuffix(quoted, "\n"))
	if !ok || err != nil {
		return ""
	}
	return value
}

// prune removes what was not used for age, and what was used longest ago until no more than size bytes are left.
func (c *Cache) prune(age time.Duration, size int64) {
	type entry struct {
		path  string
		used  time.Time
		bytes int64
	}
	var all []*entry
	filepath.WalkDir(c.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil
		}
		if fi, err := d.Info(); err == nil {
			all = append(all, &entry{path, lastUse(fi), fi.Sys().(*syscall.Stat_t).Blocks * 512})
		}
		return nil
	})
	sortFew(all, func(a, b *entry) int { return b.used.Compare(a.used) })
	for _, e := range all {
		if size -= e.bytes; size < 0 || time.Since(e.used) > age {
			os.Remove(e.path)
		}
	}
}

// lastUse is when the entry was made, or noted as used.
func lastUse(fi fs.FileInfo) time.Time {
	read := time.Unix(fi.Sys().(*syscall.Stat_t).Atim.Unix())
	if read.After(fi.ModTime()) {
		return read
	}
	return fi.ModTime()
}
