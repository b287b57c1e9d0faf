package tests

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A tortureTree makes a tree of some 3,400 entries, with all that a file system has to hold.
type tortureTree struct {
	t   *testing.T
	dir string
}

func (x *tortureTree) path(name string) string { return filepath.Join(x.dir, name) }

func (x *tortureTree) mkdir(name string) { check(x.t, os.MkdirAll(x.path(name), 0o755)) }

func (x *tortureTree) write(name, content string) {
	check(x.t, os.WriteFile(x.path(name), []byte(content), 0o644))
}

// sparse writes a file of size bytes with a little at each of some places.
func (x *tortureTree) sparse(name string, size int64, at ...int64) {
	f, err := os.Create(x.path(name))
	check(x.t, err)
	defer f.Close()
	check(x.t, f.Truncate(size))
	for _, off := range at {
		_, err := f.WriteAt([]byte("data"), off)
		check(x.t, err)
	}
}

func (x *tortureTree) xattr(name, attr string, value []byte) {
	check(x.t, unix.Lsetxattr(x.path(name), attr, value, 0))
}

// content is all that an ordinary user can make.
func (x *tortureTree) content() {
	for _, dir := range []string{"many", "names", "links", "hard", "a", "sub", "deep/" + strings.Repeat("d/", 100)} {
		x.mkdir(dir)
	}
	for i := range 3000 {
		x.write(fmt.Sprintf("many/file-%05d", i), strings.Repeat("x", i%3))
	}
	for i := range 200 {
		x.mkdir(fmt.Sprintf("sub/%d", i))
	}
	x.write("a/x", "")
	x.write("a-b", "sorts between a directory and what is in it")
	for i, name := range []string{"\xff\xfe not UTF-8", strings.Repeat("n", 255), strings.Repeat("ä", 127), "a b%c\td", " "} {
		x.write("names/"+name, fmt.Sprint(i))
	}
	for _, length := range []int{1, 59, 60, 100, 4095} {
		check(x.t, os.Symlink(strings.Repeat("t", length), x.path(fmt.Sprintf("links/%d", length))))
	}
	x.write("hard/a", strings.Repeat("hard", 5000))
	check(x.t, os.Link(x.path("hard/a"), x.path("hard/b")))
	check(x.t, os.Link(x.path("hard/a"), x.path("zz")))
	x.sparse("sparse", 50<<20, 0, 20<<20, 50<<20-4)
	var places []int64
	for i := range int64(1000) {
		places = append(places, i*8192)
	}
	x.sparse("pieces", 8192000, places...)
	random := make([]byte, 3<<20+77)
	rand.NewChaCha8([32]byte{}).Read(random)
	x.write("random", string(random))
	x.write("zeros", string(make([]byte, 5000)))
	check(x.t, syscall.Mkfifo(x.path("fifo"), 0o620))
	check(x.t, unix.Mknod(x.path("socket"), unix.S_IFSOCK|0o600, 0))
}

// rest is what root is needed for.
func (x *tortureTree) rest() {
	capability := []byte("\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	x.mkdir("xattr/dir")
	for _, name := range []string{"small", "cap", "both", "large"} {
		x.write("xattr/"+name, name)
	}
	x.xattr("xattr/small", "user.a", []byte("1"))
	x.xattr("xattr/cap", "security.capability", capability)
	x.xattr("xattr/both", "security.capability", capability)
	x.xattr("xattr/both", "user.some", bytes.Repeat([]byte("v"), 50))
	x.xattr("xattr/both", "user.a", []byte("2"))
	x.xattr("xattr/large", "user.large", bytes.Repeat([]byte("v"), 2000))
	x.xattr("xattr/dir", "user.d", bytes.Repeat([]byte("v"), 200))
	x.mkdir("dev")
	for name, node := range map[string][3]uint32{
		"console": {unix.S_IFCHR, 5, 1}, "ttyS0": {unix.S_IFCHR, 4, 64}, "ttyS1": {unix.S_IFCHR, 4, 65}, "null": {unix.S_IFCHR, 1, 3}, "m300": {unix.S_IFCHR, 10, 300},
		"big": {unix.S_IFBLK, 259, 70000},
	} {
		check(x.t, unix.Mknod(x.path("dev/"+name), node[0]|0o640, int(unix.Mkdev(node[1], node[2]))))
	}
	x.write("owned", "")
	check(x.t, os.Chown(x.path("owned"), 70000, 70001))
	check(x.t, os.Chmod(x.path("owned"), 0o755|os.ModeSetuid|os.ModeSetgid))
	check(x.t, os.Chmod(x.path("a"), 0o777|os.ModeSticky))
	check(x.t, os.Chown(x.path("a"), 1<<32-2, 65536))
}

// fsck expects that e2fsck finds nothing to say.
func fsck(t *testing.T, image string) {
	t.Helper()
	cmd := exec.Command("e2fsck", "-fn", image)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.Output()
	if lines := strings.Count(string(out), "\n"); err != nil || lines != 6 {
		t.Errorf("e2fsck: %v\n%s", err, out)
	}
}

// mounted is the list of what is in an image, as the kernel of this machine reads it; the shell command do may change that, if
// options let it. Nobody else sees the mount: the namespace of another test would keep it when it is taken away here.
func (b *bench) mounted(image, options, do string) string {
	b.t.Helper()
	requireRoot(b.t)
	const noMount = 77
	listed, errs, err := try("", "unshare", "--mount", "--propagation=private", "sh", "-ec", `mount -o "$1" "$2" "$3" || exit 77
		"$4" fileids "$3"
		(cd "$3" && eval "$5") >&2
		umount "$3"`, "sh", options, image, b.t.TempDir(), program(b.t), do)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == noMount {
		b.t.Skip("cannot mount: ", errs) // containers have no loop devices, and kernels not all file systems
	}
	if err != nil {
		b.t.Fatal(err, errs)
	}
	return listed
}

// Whoever makes it, an image is one that e2fsck has nothing to say of.
func TestDiskOfUser(t *testing.T) {
	requireTool(t, "e2fsck", "debugfs")
	b := newBench(t)
	b.run("mkdir", "tree")
	(&tortureTree{t, b.path("tree")}).content()
	b.write("list", b.ctbox("fileids", "--owner=0:0", "tree"))
	for i, options := range [][]string{nil, {"--journal", "--label=torture"}, {"--size=5G"}} {
		image := b.path(fmt.Sprintf("%d.ext4", i))
		b.ctbox(append([]string{"mkdisk", "-C", "tree", "-o", image, "list"}, options...)...)
		fsck(t, image)
		var st unix.Stat_t
		if check(t, unix.Stat(image, &st)); st.Blocks*512 > 80<<20 {
			t.Errorf("%v: %d bytes on disk", options, st.Blocks*512)
		}
	}
	// What debugfs takes out, without a mount, is what was put in.
	b.run("sh", "-c", `mkdir out; echo "rdump many names links hard a-b sparse pieces random zeros out" | debugfs -f - 0.ext4`)
	for _, name := range []string{"many", "names", "links", "a-b", "sparse", "pieces", "random", "zeros"} {
		b.run("diff", "-r", "--no-dereference", "tree/"+name, "out/"+name)
	}
}

// What the kernel reads is the list, line for line, and it can be written to; so it is with what others make.
func TestDiskMounted(t *testing.T) {
	requireTool(t, "e2fsck")
	requireRoot(t)
	b := newBench(t)
	b.run("mkdir", "tree")
	x := &tortureTree{t, b.path("tree")}
	x.content()
	x.rest()
	list := b.ctbox("fileids", "tree")
	b.write("list", list)
	t.Run("ext4", func(t *testing.T) {
		b.t = t
		b.ctbox("mkdisk", "-C", "tree", "--journal", "--free=200M", "-o", "a.ext4", "list")
		fsck(t, b.path("a.ext4"))
		equalLists(t, "read-only", b.mounted(b.path("a.ext4"), "loop,ro", ""), list)
		equalLists(t, "writable", b.mounted(b.path("a.ext4"), "loop", `rm -r many/*7 sub zz pieces; seq 1000000 >new; cp -a many more
			i=0; while test $i -lt 2000; do : >"many/new-$i"; i=$((i + 1)); done`), list)
		fsck(t, b.path("a.ext4"))
	})
	noSockets := slices.DeleteFunc(strings.SplitAfter(list, "\n"), func(line string) bool { return strings.HasPrefix(line, "./socket ") })
	for kind, tool := range map[string]string{"squashfs": "tar2sqfs", "erofs": "mkfs.erofs"} {
		t.Run(kind, func(t *testing.T) {
			b.t = t
			requireTool(t, tool)
			if _, errs, err := try("", program(t), "mkdisk", "--skip-sockets", "-t", kind, "-C", b.path("tree"), "-o", b.path(kind), b.path("list")); err != nil {
				if strings.Contains(errs, "too old") {
					t.Skip(errs)
				}
				t.Fatal(errs)
			}
			equalLists(t, kind, b.mounted(b.path(kind), "loop,ro", ""), strings.Join(noSockets, ""))
		})
	}
}

// In a guest whose root file system it is, the list is the same.
func TestDiskInGuest(t *testing.T) {
	requireGuests(t)
	requireRoot(t)
	b := newBench(t)
	b.run("mkdir", "tree")
	x := &tortureTree{t, b.path("tree")}
	x.content()
	x.rest()
	busybox, err := staticBusybox()
	check(t, err)
	x.mkdir("bin")
	check(t, os.WriteFile(x.path("bin/busybox"), busybox, 0o755))
	check(t, os.WriteFile(x.path("init"), []byte(`#!/bin/busybox sh
/bin/busybox stty -F /dev/ttyS1 raw
/bin/ctbox fileids / >/dev/ttyS1 2>/dev/console && echo end >/dev/ttyS1
/bin/busybox stty -F /dev/ttyS1 raw # which waits until all is sent
/bin/busybox reboot -f
`), 0o755))
	b.run("cp", program(t), "tree/bin/ctbox")
	list := b.ctbox("fileids", "tree")
	b.write("list", list)
	b.ctbox("mkdisk", "-C", "tree", "-o", "disk", "list")
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", "-M", "pc", "-accel", "tcg", "-m", "256M", "-nodefaults", "-no-user-config", "-display", "none",
		"-no-reboot", "-kernel", stockKernel(t), "-append", "console=ttyS0 root=/dev/nvme0n1 rootfstype=ext4 ro init=/init panic=-1",
		"-chardev", "file,id=c,path="+b.path("console"), "-device", "isa-serial,chardev=c",
		"-chardev", "file,id=o,path="+b.path("out"), "-device", "isa-serial,chardev=o",
		"-drive", "if=none,id=d,format=raw,file="+b.path("disk"), "-device", "nvme,drive=d,serial=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s\n%s", err, out, b.read("console"))
	}
	got, whole := strings.CutSuffix(b.read("out"), "end\n")
	if !whole {
		t.Fatal(b.read("console"))
	}
	equalLists(t, "in the guest", got, list)
}
