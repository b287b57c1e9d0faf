package treetest

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A Tree says which tree is made.
type Tree struct {
	Seed    uint64
	Entries int  // names below its root, at most
	User    bool // only what an ordinary user can make, and look into again; which root does not need
	Odd     bool // what not all readers of archives agree on: any name, owner or attribute that there is
}

// A maker is at work on a tree.
type maker struct {
	Tree
	*rand.Rand
	t     testing.TB
	dir   string
	dirs  []string
	files []string
}

// Make fills dir, which exists and is empty.
func (tree Tree) Make(t testing.TB, dir string) {
	t.Helper()
	m := maker{Tree: tree, Rand: rand.New(rand.NewPCG(tree.Seed, 1)), t: t, dir: dir, dirs: []string{dir}}
	m.grow(0)
}

// Change removes some of what Make made, puts files where some of it was, and adds as much again.
func (tree Tree) Change(t testing.TB, dir string) {
	t.Helper()
	m := maker{Tree: tree, Rand: rand.New(rand.NewPCG(tree.Seed, 2)), t: t, dir: dir}
	var paths []string
	m.check(filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		paths = append(paths, path)
		return err
	}))
	for _, path := range paths[1:] {
		fate := m.IntN(10)
		if _, err := os.Lstat(path); err != nil || fate > 2 {
			continue // its directory went before, or it stays
		}
		m.check(os.RemoveAll(path))
		if fate == 0 {
			m.check(os.WriteFile(path, m.content(), 0o644))
		}
	}
	for _, path := range paths {
		if fi, err := os.Lstat(path); err == nil && fi.IsDir() {
			m.dirs = append(m.dirs, path)
		}
	}
	m.grow(tree.Entries)
}

// grow adds entries whose names end in numbers from first on.
func (m *maker) grow(first int) {
	for i := first; i < first+m.Entries; i++ {
		path := filepath.Join(m.dirs[m.IntN(len(m.dirs))], m.name(i))
		if len(path)-len(m.dir) <= 3000 {
			m.entry(path, i)
		}
	}
	if m.Odd {
		m.decorate(m.dir, uint32(m.IntN(0o10000)))
	}
}

func (m *maker) check(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatalf("tree of seed %d: %v", m.Seed, err)
	}
}

func (m *maker) entry(path string, i int) {
	mode := uint32(m.IntN(0o10000))
	switch kind := m.IntN(12); {
	case kind < 3:
		m.check(os.Mkdir(path, 0o700))
		m.dirs = append(m.dirs, path)
	case kind < 4:
		target := strings.Repeat(m.name(i)+"/", 1+m.IntN(14)) + "x"
		m.check(os.Symlink(target, path))
		mode = 0
	case kind < 5 && len(m.files) > 0:
		m.check(os.Link(m.files[m.IntN(len(m.files))], path))
		mode = 0
	case kind < 6:
		m.check(unix.Mkfifo(path, 0o600))
	case kind < 8 && !m.User:
		kinds := []uint32{unix.S_IFBLK, unix.S_IFCHR}
		m.check(unix.Mknod(path, kinds[m.IntN(2)]|0o600, int(unix.Mkdev(uint32(1+m.IntN(4095)), uint32(m.IntN(1<<20))))))
	default:
		m.check(os.WriteFile(path, m.content(), 0o600))
		if m.Odd && m.IntN(20) == 0 {
			m.check(os.Truncate(path, int64(m.IntN(300000)))) // cut, or sparse from here on
		}
		m.files = append(m.files, path)
	}
	m.decorate(path, mode)
}

// name holds any bytes but "/" and NUL. So that all readers agree, newline and backslash are odd.
func (m *maker) name(i int) string {
	lengths, never := []int{1, 8, 40, 90, 110, 200}, "/\x00\n\\"
	if m.Odd {
		lengths, never = []int{1, 8, 40, 90, 95, 96, 97, 98, 110, 151, 200, 240}, never[:2]
	}
	b := make([]byte, lengths[m.IntN(len(lengths))])
	for j := range b {
		for b[j] = '/'; strings.IndexByte(never, b[j]) >= 0; {
			b[j] = byte(1 + m.IntN(255))
		}
	}
	return fmt.Sprintf("%d%s%d", i%7, b, i)
}

func (m *maker) content() []byte {
	sizes := []int{0, 1, 511, 512, 513, 10000, 70000}
	b := make([]byte, sizes[m.IntN(len(sizes))])
	if m.Odd && m.IntN(200) == 0 {
		b = make([]byte, 3<<20)
	}
	for i := range b {
		b[i] = byte(m.Uint32())
	}
	return b
}

// decorate gives an entry a mode, an owner and attributes. The owner comes first: chown takes setuid away.
func (m *maker) decorate(path string, mode uint32) {
	if !m.User {
		owners := []int{0, 1000, 65534, 2097151, 2097152, 3000000}
		if m.Odd {
			owners = append(owners, 1<<31, 1<<32-2)
		}
		m.check(os.Lchown(path, owners[m.IntN(len(owners))], owners[m.IntN(len(owners))]))
	}
	if mode == 0 {
		return // a link: chmod would follow it
	}
	if m.User {
		mode |= 0o700
	}
	m.check(unix.Chmod(path, mode))
	fi, err := os.Lstat(path)
	m.check(err)
	if value := m.content(); m.IntN(4) == 0 && len(value) > 0 && (fi.Mode().IsRegular() || fi.IsDir()) {
		m.attribute(path, "user.some attr", value[:1])
		if m.Odd {
			m.attribute(path, "user.\xff\n%", value[:min(len(value), 1+m.IntN(1000))])
			if fi.Mode().IsRegular() && !m.User {
				m.attribute(path, "security.capability", capability(m.Uint32()))
			}
		}
	}
}

func (m *maker) attribute(path, name string, value []byte) {
	if err := unix.Lsetxattr(path, name, value, 0); err != unix.ENOTSUP { // as some file systems say
		m.check(err)
	}
}

// capability is struct vfs_cap_data of revision 2, with random capabilities permitted, and effective.
func capability(permitted uint32) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 0x02000001)
	b = binary.LittleEndian.AppendUint32(b, permitted)
	return append(b, make([]byte, 12)...)
}
