package tests

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// layer packs what tree adds to the list base ("" for nothing) as NAME.list and NAME.layer; NAME.full is the whole tree.
func (b *bench) layer(name, tree, base string) {
	b.t.Helper()
	b.ctbox("fileids", "-o", name+".full", tree)
	if base == "" {
		base = os.DevNull
	}
	b.ctbox("listdiff", "-o", name+".list", base, name+".full")
	b.ctbox("mklayer", "-C", tree, "-o", name+".layer", name+".list")
}

// image joins layers, base first, and returns the config digest that mkimage reports.
func (b *bench) image(out, tag string, layers ...string) string {
	b.t.Helper()
	b.write("layers", strings.Join(layers, "\n")+"\n")
	b.ctbox("mkimage", "--cmd=/init", "--tag", tag, "--digest-file", out+".digests", "-o", out, "layers")
	digest := regexp.MustCompile(`(?m)^config (sha256:[0-9a-f]{64})$`).FindStringSubmatch(b.read(out + ".digests"))
	if digest == nil {
		b.t.Fatalf("no config digest in %q", b.read(out+".digests"))
	}
	return digest[1]
}

// threeTrees makes three trees, each the one before with every kind of change that a layer can hold.
func threeTrees(b *bench) {
	must := func(err error) {
		b.t.Helper()
		if err != nil {
			b.t.Fatal(err)
		}
	}
	p := func(name string) string { return b.path("tree/" + name) }
	file := func(name, content string) {
		b.t.Helper()
		must(os.MkdirAll(filepath.Dir(p(name)), 0o755))
		must(os.WriteFile(p(name), []byte(content), 0o644))
	}
	copyTree := func(to string) { b.t.Helper(); b.run("cp", "-a", "tree", to) }

	for _, dir := range []string{"dev", "proc", "sys", "etc", "tmp", "usr/bin"} {
		must(os.MkdirAll(p(dir), 0o755))
	}
	must(os.Symlink("usr/bin", p("bin")))
	b.run("cp", program(b.t), "tree/usr/bin/ctbox")
	must(os.Symlink("bin/ctbox", p("fileids")))
	file("modified", "before")
	file("deleted", "x")
	file("dir-deleted/a/b", "x")
	file("dir-lives/gone", "x")
	file("dir-lives/stays", "x")
	file("recreated/old", "x")
	file("file-to-dir", "x")
	file("dir-to-file/sub/x", "x")
	file("dir-to-link/x", "x")
	must(os.Symlink("modified", p("link-to-file")))
	must(os.Mkdir(p("private"), 0o700))
	must(os.Lchown(p("private"), 7, 8))
	file("private/untouched", "x")
	file("private/changes", "one")
	file("private-neighbour", "sorts between private and what is in it")
	file("setuid", "x")
	must(os.Chmod(p("setuid"), 0o4755|os.ModeSetuid))
	must(os.Mkdir(p("sticky"), 0o777))
	must(os.Chmod(p("sticky"), 0o777|os.ModeSticky))
	file("group/a", "linked")
	must(os.Link(p("group/a"), p("group/b")))
	file("other-group/a", "linked too")
	must(os.Link(p("other-group/a"), p("other-group/b")))
	file("xattr", "x")
	must(unix.Setxattr(p("xattr"), "user.ctbox", []byte("a\x00b\n=c"), 0))
	must(os.Chown(p("xattr"), 3_000_000, 3_000_001))
	file("capable", "x")
	// cap_net_raw=ep in revision 2 of struct vfs_cap_data (linux/capability.h)
	capability := append([]byte{1, 0, 0, 2, 0, 0x20}, make([]byte, 14)...)
	must(unix.Setxattr(p("capable"), "security.capability", capability, 0))
	must(unix.Mkfifo(p("fifo"), 0o600))
	must(unix.Mknod(p("null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	must(unix.Mknod(p("block"), unix.S_IFBLK|0o600, int(unix.Mkdev(7, 200))))
	file("name with  spaces", "x")
	file("not-utf8-\xff\xfe", "x")
	file("ümläut/"+strings.Repeat("long-", 30)+"/"+strings.Repeat("name-", 40), "x")
	must(os.Symlink(strings.Repeat("../", 60)+"ü", p("long-link")))
	copyTree("base")

	file("modified", "after")
	must(os.Remove(p("deleted")))
	must(os.RemoveAll(p("dir-deleted")))
	must(os.Remove(p("dir-lives/gone")))
	must(os.RemoveAll(p("recreated")))
	must(os.Remove(p("file-to-dir")))
	file("file-to-dir/inside", "x")
	must(os.RemoveAll(p("dir-to-file")))
	file("dir-to-file", "x")
	must(os.RemoveAll(p("dir-to-link")))
	must(os.Symlink("dir-lives", p("dir-to-link")))
	must(os.Remove(p("link-to-file")))
	must(os.Mkdir(p("link-to-file"), 0o750))
	file("private/changes", "two")
	must(os.Chmod(p("setuid"), 0o2711|os.ModeSetgid))
	must(os.Link(p("group/a"), p("group/c")))
	must(unix.Setxattr(p("xattr"), "user.ctbox", []byte("other"), 0))
	file("capable", "y") // a write takes the capability away
	copyTree("middle")

	file("recreated/new", "x")
	file("deleted", "is back")
	must(os.Remove(p("other-group/a")))
	must(os.Remove(p("group/b")))
	must(os.Rename(p("file-to-dir"), p("moved")))
	must(os.Remove(p("fifo")))
	file("fifo/was-a-fifo", "x")
	must(os.Chmod(p("private"), 0o711))
	copyTree("top")
}

// engineMade are the names that an engine adds to a container's root.
var engineMade = regexp.MustCompile(`^(\.|\./(\.dockerenv|etc/(hosts|hostname|resolv\.conf|mtab)|run|run/\.containerenv|(dev|proc|sys)(/.*)?|etc)) `)

// inEngine drops the records that an engine may make or change.
func inEngine(list string) string {
	lines := slices.DeleteFunc(strings.SplitAfter(list, "\n"), engineMade.MatchString)
	return strings.Join(lines, "")
}

// equalLists shows the first record that differs.
func equalLists(t *testing.T, what, got, want string) {
	t.Helper()
	if got == want {
		return
	}
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range max(len(g), len(w)) {
		a, b := "(end)", "(end)"
		if i < len(g) {
			a = g[i]
		}
		if i < len(w) {
			b = w[i]
		}
		if a != b {
			t.Fatalf("%s: record %d is\n%s\nnot\n%s", what, i+1, a, b)
		}
	}
}

// rundocker runs an image of the bench in e and returns what its command wrote to standard output.
func (b *bench) rundocker(e *engineHandle, image string, command ...string) string {
	b.t.Helper()
	cmd := exec.Command(program(b.t), append([]string{"rundocker", "--engine", e.Command, b.path(image)}, command...)...)
	e.reach(cmd)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		b.t.Fatalf("rundocker with %s: %v\n%s", e.Name, err, stderr.Bytes())
	}
	return string(out)
}

// TestTreeInEngine packs three trees as three layers, loads them in each engine and lists the tree from the inside.
func TestTreeInEngine(t *testing.T) {
	requireRoot(t)
	b := newBench(t)
	threeTrees(b)
	b.layer("base", "base", "")
	b.layer("middle", "middle", "base.full")
	b.layer("top", "top", "middle.full")
	b.image("three.image", "ctbox-test/three:1", "base", "middle", "top")
	want := inEngine(b.read("top.full"))
	for _, start := range []func(*testing.T) *engineHandle{startDocker, startPodman} {
		e := start(t)
		t.Run(e.Name, func(t *testing.T) {
			got := b.rundocker(e, "three.image", "/fileids", "-x", "/")
			equalLists(t, "tree in "+e.Name, inEngine(got), want)
		})
	}
}
