package guest

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/wire"
)

// A record is one of a newc archive.
type record struct {
	name                           string
	mode, uid, gid, nlink, time    uint32
	ino, dev, rdevMajor, rdevMinor uint32
	body                           string
}

// newc is an archive of the records, with its trailer.
func newc(records ...record) []byte {
	var b bytes.Buffer
	pad := func() { b.Write(make([]byte, -b.Len()&3)) }
	for _, r := range append(records, record{name: "TRAILER!!!", nlink: 1}) {
		fmt.Fprintf(&b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00", r.ino, r.mode, r.uid, r.gid,
			max(r.nlink, 1), r.time, len(r.body), 0, r.dev, r.rdevMajor, r.rdevMinor, len(r.name)+1, 0, r.name)
		pad()
		b.WriteString(r.body)
		pad()
	}
	return b.Bytes()
}

// tryUnpack unpacks an initrd in an empty directory.
func tryUnpack(t *testing.T, initrd []byte) (dir string, err error) {
	t.Helper()
	dir = t.TempDir()
	root, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	check(t, err)
	defer unix.Close(root)
	return dir, unpack(root, iotest.HalfReader(bytes.NewReader(initrd)))
}

// state describes a file: mode, owner, time, links, and what is in it. Of directories it leaves out the links, which
// depend on the file system.
func state(t *testing.T, path string) string {
	t.Helper()
	var st unix.Stat_t
	check(t, unix.Lstat(path, &st))
	text := fmt.Sprintf("%06o %d:%d @%d", st.Mode, st.Uid, st.Gid, st.Mtim.Sec)
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		b, err := os.ReadFile(path)
		check(t, err)
		return text + fmt.Sprintf(" x%d %q", st.Nlink, b)
	case unix.S_IFLNK:
		to, err := os.Readlink(path)
		check(t, err)
		return text + " -> " + to
	case unix.S_IFCHR, unix.S_IFBLK:
		return text + fmt.Sprintf(" %d,%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
	}
	return text
}

// states describes every file below dir.
func states(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	check(t, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		name, _ := filepath.Rel(dir, path)
		all[name] = state(t, path)
		return err
	}))
	return all
}

// Each case is what Linux 6.1 did with the same archive.
func TestUnpack(t *testing.T) {
	if os.Geteuid() != 0 {
		lacking(t, "needs root")
	}
	dir := record{name: ".", mode: 0o40755, time: 7}
	file := func(name, body string) record { return record{name: name, mode: 0o100644, time: 5, body: body} }
	linked := func(name, body string, ino, n uint32) record {
		return record{name: name, mode: 0o100644, time: 5, ino: ino, nlink: n, body: body}
	}
	for name, c := range map[string]struct {
		initrd []byte
		want   map[string]string
	}{
		"kinds": {newc(dir,
			record{name: "d", mode: 0o41777, uid: 70000, gid: 1, time: 1},
			record{name: "d/f", mode: 0o106755, uid: 1, gid: 70000, time: 1<<32 - 1, body: "content"},
			record{name: "d/empty", mode: 0o100000},
			record{name: "l", mode: 0o120777, uid: 3, gid: 4, time: 9, body: "/d/f"},
			record{name: "c", mode: 0o20620, gid: 5, rdevMajor: 10, rdevMinor: 300, time: 2},
			record{name: "b", mode: 0o60600, rdevMajor: 259, rdevMinor: 70000},
			record{name: "p", mode: 0o10600}, record{name: "s", mode: 0o140755}),
			map[string]string{
				".": "040755 0:0 @7", "d": "041777 70000:1 @1", "d/f": `106755 1:70000 @4294967295 x1 "content"`,
				"d/empty": `100000 0:0 @0 x1 ""`, "l": "120777 3:4 @9 -> /d/f", "c": "020620 0:5 @2 10,300",
				"b": "060600 0:0 @0 259,70000", "p": "010600 0:0 @0", "s": "140755 0:0 @0",
			}},
		"links, content first":  {newc(dir, linked("a", "x", 1, 2), linked("b", "", 1, 2)), twice("x")},
		"links, content last":   {newc(dir, linked("a", "", 1, 2), linked("b", "x", 1, 2)), twice("x")},
		"links, both":           {newc(dir, linked("a", "longer", 1, 2), linked("b", "x", 1, 2)), twice("x")},
		"links over a file":     {newc(dir, linked("a", "x", 1, 2), file("b", "old"), linked("b", "", 1, 2)), twice("x")},
		"same number, no links": {newc(dir, linked("a", "x", 1, 1), linked("b", "y", 1, 1)), two("x", "y")},
		"same number, other device": {newc(dir, record{name: "a", mode: 0o100644, time: 5, ino: 1, nlink: 2, body: "x"},
			record{name: "b", mode: 0o100644, time: 5, ino: 1, nlink: 2, dev: 1, body: "y"}), two("x", "y")},
		"same number, other archive": {append(newc(dir, linked("a", "x", 1, 2)), newc(linked("b", "y", 1, 2))...), two("x", "y")},
		"linked nodes": {newc(dir, record{name: "a", mode: 0o10600, ino: 1, nlink: 2}, record{name: "b", mode: 0o10640, ino: 1, nlink: 2}),
			map[string]string{".": "040755 0:0 @7", "a": "010600 0:0 @0", "b": "010600 0:0 @0"}},
		"twice":           {newc(dir, file("a", "first"), file("a", "2"), file("b", "")), two("2", "")},
		"file, directory": {newc(dir, file("a", "x"), record{name: "a", mode: 0o40700, time: 3}), only("040700 0:0 @3")},
		"directory, file": {newc(dir, record{name: "a", mode: 0o40700, time: 3}, file("a", "x")), only(`100644 0:0 @3 x1 "x"`)},
		"directory twice": {newc(dir, record{name: "a", mode: 0o40700}, record{name: "a", mode: 0o40711, time: 1}), only("040711 0:0 @0")},
		"link, file":      {newc(dir, record{name: "a", mode: 0o120777, body: "/etc/passwd"}, file("a", "x")), only(`100644 0:0 @5 x1 "x"`)},
		"file, link":      {newc(dir, file("a", "x"), record{name: "a", mode: 0o120777, body: "t"}), only("120777 0:0 @0 -> t")},
		"link twice":      {newc(dir, record{name: "a", mode: 0o120777, body: "o"}, record{name: "a", mode: 0o120777, body: "n"}), only("120777 0:0 @0 -> n")},
		"through a link":  {newc(dir, record{name: "d", mode: 0o40755}, record{name: "l", mode: 0o120777, body: "d"}, file("l/a", "x")), map[string]string{".": "040755 0:0 @7", "d": "040755 0:0 @0", "l": "120777 0:0 @0 -> d", "d/a": `100644 0:0 @5 x1 "x"`}},
		"absolute":        {newc(dir, file("/a", "x")), only(`100644 0:0 @5 x1 "x"`)},
		"two segments":    {append(append(newc(dir), make([]byte, 512)...), newc(file("a", "x"))...), only(`100644 0:0 @5 x1 "x"`)},
		"large":           {newc(dir, file("a", strings.Repeat("x", 1<<20))), only(fmt.Sprintf("100644 0:0 @5 x1 %q", strings.Repeat("x", 1<<20)))},
	} {
		t.Run(name, func(t *testing.T) {
			dir, err := tryUnpack(t, c.initrd)
			check(t, err)
			if got := states(t, dir); !maps.Equal(got, c.want) {
				for _, name := range slices.Sorted(maps.Keys(got)) {
					t.Errorf("%s: %.100s", name, got[name])
				}
				t.Errorf("want %.1000v", c.want)
			}
		})
	}
}

// twice is one file with two names, two are two files, and only is one of whatever kind.
func twice(body string) map[string]string {
	s := fmt.Sprintf("100644 0:0 @5 x2 %q", body)
	return map[string]string{".": "040755 0:0 @7", "a": s, "b": s}
}

func two(a, b string) map[string]string {
	return map[string]string{
		".": "040755 0:0 @7", "a": fmt.Sprintf("100644 0:0 @5 x1 %q", a), "b": fmt.Sprintf("100644 0:0 @5 x1 %q", b),
	}
}

func only(a string) map[string]string { return map[string]string{".": "040755 0:0 @7", "a": a} }

// What the kernel passes over in silence.
func TestUnpackErrors(t *testing.T) {
	file := record{name: "d/f", mode: 0o100644, uid: uint32(os.Getuid()), gid: uint32(os.Getgid()), body: "content"}
	whole := newc(file)
	for name, c := range map[string]struct {
		initrd []byte
		want   string
	}{
		"no directory":        {whole, "d/f: no such file or directory"},
		"directory is a file": {newc(record{name: "d", mode: 0o100644, uid: file.uid, gid: file.gid}, file), "d/f: not a directory"},
		"full directory": {newc(record{name: "d", mode: 0o40755, uid: file.uid, gid: file.gid}, file,
			record{name: "d", mode: 0o100644}), "d: directory not empty"},
		"cut off": {newc(record{name: "f", mode: 0o100644, uid: file.uid, gid: file.gid, body: "content"})[:116], "f: archive without its end"},
		"nothing": {nil, "not an initrd"},
		"junk":    {append(newc(), "junk"...), "segment 1"},
	} {
		if _, err := tryUnpack(t, c.initrd); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

// sendTree sends an initrd in frames of some size.
func (h *host) sendTree(b []byte, size int) {
	for len(b) > 0 {
		n := min(len(b), size)
		h.in.Frame(wire.Tree, b[:n])
		b = b[n:]
	}
	h.in.Frame(wire.Tree, nil)
}

// The root that was sent is where the program is looked for, with mount points that were not in it.
func TestTree(t *testing.T) {
	big := record{name: "big", mode: 0o100755, body: strings.Repeat("#!/no/such\n", 1<<18)}
	for name, c := range map[string]struct {
		tree []byte
		job  wire.Job
		code byte
		want string
	}{
		"new root": {newc(big), wire.Job{Args: []string{"/big"}}, 127, "/big: its interpreter /no/such is missing"},
		"old root": {newc(big), wire.Job{Args: []string{"/bin/sh"}}, 127, "/bin/sh: no such file or directory"},
		"mounts":   {newc(big), wire.Job{Args: []string{"x"}, Dir: "/tmp", Env: []string{"PATH=/proc"}}, 127, "x: not found in PATH"},
		"links": {newc(record{name: "d", mode: 0o40755}, record{name: "l", mode: 0o120777, body: "/d"},
			record{name: "l/x", mode: 0o100755, body: "x"}), wire.Job{Args: []string{"/d/x"}}, 126, "/d/x: neither an ELF"},
		"damaged": {newc(big)[:1000], wire.Job{Args: []string{"/big"}}, 125, "initrd: big: archive without its end: unexpected EOF"},
		"orphan":  {newc(record{name: "a/b", mode: 0o100755}), wire.Job{}, 125, "initrd: a/b: no such file or directory"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := boot(t, nil)
			c.job.Tree = true
			r := h.do(true, c.job, func() { h.sendTree(c.tree, 100000) })
			if r.end.How != wire.Refused || r.end.Code != c.code || !strings.HasPrefix(r.end.Message, c.want) {
				t.Errorf("got %v, want %d, %q", r, c.code, c.want)
			}
			if c.code != 125 && r.credit != int64(len(c.tree)) {
				t.Errorf("credit for %d of %d bytes", r.credit, len(c.tree))
			}
		})
	}
}

func TestTreeIsInterrupted(t *testing.T) {
	h := boot(t, nil)
	r := h.do(true, wire.Job{Tree: true}, func() { h.in.Frame(wire.Stdin, []byte("x")) })
	if r.end.Code != 125 || !strings.Contains(r.end.Message, "something else") {
		t.Error(r)
	}
}
