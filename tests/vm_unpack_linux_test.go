package tests

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// A cpioRecord is one of a newc archive, owned by root unless it says otherwise.
type cpioRecord struct {
	name                              string
	mode, uid, gid, links, time       uint32
	ino, device, rdevMajor, rdevMinor uint32
	content                           string
}

// cpioSegment is an archive of records, padded as segments are.
func cpioSegment(records ...cpioRecord) []byte {
	var b bytes.Buffer
	pad := func(to int) { b.Write(make([]byte, -b.Len()&(to-1))) }
	for _, r := range append(records, cpioRecord{name: "TRAILER!!!"}) {
		fmt.Fprintf(&b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00", r.ino, r.mode, r.uid, r.gid,
			max(r.links, 1), r.time, len(r.content), 0, r.device, r.rdevMajor, r.rdevMinor, len(r.name)+1, 0, r.name)
		pad(4)
		b.WriteString(r.content)
		pad(4)
	}
	pad(512)
	return b.Bytes()
}

// oddInitrd holds, in a directory for each, what archives may say in more than one way, and a shell.
func oddInitrd(t *testing.T) []byte {
	t.Helper()
	path, err := exec.LookPath("busybox")
	check(t, err)
	busybox, err := os.ReadFile(path)
	check(t, err)
	file := func(name, content string) cpioRecord {
		return cpioRecord{name: name, mode: 0o100644, time: 5, content: content}
	}
	dir := func(name string, mode, time uint32) cpioRecord {
		return cpioRecord{name: name, mode: 0o40000 | mode, time: time}
	}
	link := func(name, to string) cpioRecord {
		return cpioRecord{name: name, mode: 0o120777, time: 8, uid: 3, gid: 4, content: to}
	}
	linked := func(name, content string, ino uint32, time uint32) cpioRecord {
		return cpioRecord{name: name, mode: 0o100644, links: 2, ino: ino, time: time, content: content}
	}
	node := func(name string, mode, major, minor uint32) cpioRecord {
		return cpioRecord{name: name, mode: mode, gid: 5, time: 6, rdevMajor: major, rdevMinor: minor}
	}
	return append(cpioSegment(dir(".", 0o711, 1), dir("bin", 0o755, 2),
		cpioRecord{name: "bin/busybox", mode: 0o100755, time: 7, content: string(busybox)},
		cpioRecord{name: "bin/setuid", mode: 0o106755, uid: 70000, gid: 70001, time: 1<<32 - 1, content: "x"},
		dir("kinds", 0o3777, 3), node("kinds/c", 0o20620, 10, 300), node("kinds/b", 0o60600, 259, 70000),
		node("kinds/p", 0o10604, 0, 0), node("kinds/s", 0o140755, 0, 0), link("kinds/l", "/kinds"),
		dir("links", 0o755, 4), linked("links/a", "first", 1, 1), linked("links/b", "", 1, 2),
		linked("links/c", "", 2, 3), linked("links/d", "last", 2, 4), linked("links/e", "longer", 3, 5), linked("links/f", "new", 3, 6),
		linked("links/g", "", 4, 7), file("links/h", "old"), linked("links/h", "over it", 4, 8),
		cpioRecord{name: "links/i", mode: 0o100600, ino: 1, links: 2, device: 1, content: "elsewhere"},
		cpioRecord{name: "links/j", mode: 0o10600, ino: 5, links: 2, time: 1}, cpioRecord{name: "links/k", mode: 0o10640, ino: 5, links: 2, time: 2},
		cpioRecord{name: "links/l", mode: 0o10600, ino: 1, links: 2, time: 3},
		dir("twice", 0o755, 5), file("twice/f", "longer"), file("twice/f", "new"), dir("twice/d", 0o700, 10), dir("twice/d", 0o711, 20),
		link("twice/l", "old"), link("twice/l", "new"), file("twice/fd", ""), dir("twice/fd", 0o755, 1),
		dir("twice/df", 0o755, 9), file("twice/df", "file"), link("twice/lf", "/bin/busybox"), file("twice/lf", "file"),
		file("twice/fl", "x"), link("twice/fl", "link"), node("twice/pc", 0o10600, 0, 0), node("twice/pc", 0o20600, 1, 3),
		dir("through", 0o755, 6), link("through/l", "/twice/d"), file("through/l/f", "x"), file("/through/./g", "x"),
	), cpioSegment(linked("links/m", "other segment", 1, 9), dir("links", 0o711, 11), file("twice/f", "third"))...)
}

// TestRdinitUnpacksAsLinux starts a program in what the kernel unpacked, and in what rdinit did. They look alike in all that
// stat(2) tells but the numbers of inodes and devices.
func TestRdinitUnpacksAsLinux(t *testing.T) {
	if testing.Short() {
		t.Skip("boots machines")
	}
	requireTool(t, "qemu-system-x86_64", "busybox")
	b := newBench(t)
	t.Setenv("CTBOX_KERNEL", stockKernel(t))
	t.Setenv("XDG_CACHE_HOME", b.path("cache"))
	b.write("initrd", string(oddInitrd(t)))
	const look = `cd /; busybox find . -xdev | busybox sort | while read -r f; do
		echo "$(busybox stat -c '%n %f %u:%g links=%h size=%s rdev=%t:%T time=%Y' "$f") $(busybox readlink "$f")" \
			"$(test -f "$f" -a ! -h "$f" && busybox md5sum <"$f")"
	done | busybox grep -v -e '^./dev ' -e '^./proc ' -e '^./sys ' -e '^./tmp '`
	cold := b.ctbox("runkvm", "--accel=tcg", "--cold", "initrd", "busybox", "sh", "-c", look)
	warm := b.ctbox("runkvm", "--accel=tcg", "initrd", "busybox", "sh", "-c", look)
	if n := strings.Count(cold, "\n"); n < 38 {
		t.Errorf("the kernel made %d files", n)
	}
	equalLists(t, "unpacked", warm, cold)
}
