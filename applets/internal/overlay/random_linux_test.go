package overlay

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A vandal does random things to a tree. What the kernel refuses does not matter.
type vandal struct {
	*rand.Rand
	dir string
}

var parts = []string{"a", "b", "c", "d", "a-b", "a b", "b\n", "a0", "\xff%", "wh."}

// name is a random one, often of something that is there.
func (v *vandal) name() string {
	name := v.dir
	for range 1 + v.IntN(4) {
		part := parts[v.IntN(len(parts))]
		if all, err := os.ReadDir(name); err == nil && len(all) > 0 && v.IntN(3) > 0 {
			part = all[v.IntN(len(all))].Name()
		}
		name = filepath.Join(name, part)
		if fi, err := os.Lstat(name); err != nil || !fi.IsDir() {
			break
		}
	}
	return name
}

func (v *vandal) mode() uint32 {
	return []uint32{0, 0o644, 0o755, 0o700, 0o4755, 0o2775, 0o1777, 0o400}[v.IntN(8)]
}

func (v *vandal) write(name string, flag int) {
	f, err := os.OpenFile(name, flag|os.O_WRONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o644)
	if err != nil {
		return
	}
	defer f.Close()
	if v.IntN(10) == 0 {
		f.Truncate(int64(v.IntN(1 << 20)))
	}
	fmt.Fprint(f, v.IntN(3))
}

// act does one thing.
func (v *vandal) act() {
	name := v.name()
	switch v.IntN(20) {
	case 0, 1, 2:
		v.write(name, os.O_CREATE)
	case 3:
		v.write(name, os.O_APPEND)
	case 4:
		v.write(name, os.O_TRUNC)
	case 5:
		syscall.Chmod(name, v.mode())
	case 6:
		os.Lchown(name, v.IntN(3), v.IntN(3))
	case 7, 8:
		v.move(name, v.name())
	case 9:
		os.RemoveAll(name)
	case 10:
		if os.RemoveAll(name) == nil {
			syscall.Mkdir(name, v.mode())
		}
	case 11:
		os.Remove(name)
		v.write(name, os.O_CREATE)
	case 12:
		os.Remove(name)
		os.Symlink([]string{"a", "./a", "nowhere"}[v.IntN(3)], name)
	case 13, 14:
		os.Link(name, v.name())
	case 15:
		v.attribute(name)
	case 16:
		os.Chtimes(name, time.Unix(1, 0), time.Unix(1, 0)) // copied up, and the same
	case 17:
		unix.Mknod(name, []uint32{unix.S_IFIFO, unix.S_IFSOCK, unix.S_IFCHR, unix.S_IFBLK}[v.IntN(4)]|0o644, int(unix.Mkdev(7, uint32(v.IntN(2)))))
	default:
		os.MkdirAll(name, 0o755)
		v.write(filepath.Join(name, parts[v.IntN(len(parts))]), os.O_CREATE)
	}
}

func (v *vandal) attribute(name string) {
	attr := []string{"user.a", "user.b"}[v.IntN(2)]
	if v.IntN(3) == 0 {
		unix.Lremovexattr(name, attr)
		return
	}
	unix.Lsetxattr(name, attr, []byte{byte('0' + v.IntN(2))}, 0)
}

// move copies a directory of the lower one, as mv does where the kernel will not rename it.
func (v *vandal) move(from, to string) {
	err := os.Rename(from, to)
	_, exists := os.Lstat(to)
	if errors.Is(err, unix.EXDEV) && exists != nil && !strings.HasPrefix(to, from+"/") {
		exec.Command("cp", "-a", from, to).Run()
		os.RemoveAll(from)
	}
}

// The list must be listdiff's, whatever was done; and what it packs must be enough to make the tree again.
func TestRandomChanges(t *testing.T) {
	if !inNamespaces(t) {
		return
	}
	rounds := uint64(60)
	if testing.Short() {
		rounds = 10
	}
	for seed := range rounds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			v := &vandal{Rand: rand.New(rand.NewPCG(seed, 1))}
			s := newStage(t)
			v.dir = s.path("lower")
			for range v.IntN(60) {
				v.act()
			}
			before := s.text("lower")
			s.mount()
			v.dir = s.path("merged")
			for range v.IntN(40) {
				v.act()
			}
			want, got := s.want(), s.got()
			if got != want {
				t.Fatalf("%s\nwhere listdiff has\n%s\nlower:\n%s", show(got), show(want), show(before))
			}
			s.checkLayer()
			if s.text("lower") != before {
				t.Error("the lower directory is not what it was")
			}
		})
	}
}
