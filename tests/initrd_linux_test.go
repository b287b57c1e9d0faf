package tests

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/ctbox/ctbox/tests/treetest"
)

// cpioReaders unpack the initrd $1 into the directory $2. GNU cpio leaves the mode of that as it is.
var cpioReaders = []reader{
	{"cpio", `cd "$2" && cpio -idmu --quiet <"$1"`, false, true},
	{"bsdcpio", `cd "$2" && bsdcpio -idmu --quiet <"$1"`, false, true},
	{"busybox", `cd "$2" && busybox cpio -idmu <"$1" 2>/dev/null`, false, false},
}

// TestCpioReadersAgree packs random trees as initrds, has programs that we did not write unpack them, and lists the
// result: it is the same list, but for what newc cannot hold.
func TestCpioReadersAgree(t *testing.T) {
	requireRoot(t)
	for _, r := range cpioReaders {
		t.Run(r.tool, func(t *testing.T) {
			requireTool(t, r.tool)
			ctbox := box(t)
			for seed := range uint64(3) {
				dir := t.TempDir()
				tree, initrd, out := filepath.Join(dir, "tree"), filepath.Join(dir, "initrd"), filepath.Join(dir, "out")
				check(t, os.Mkdir(tree, 0o755))
				check(t, os.Mkdir(out, 0o755))
				treetest.Tree{Seed: seed, Entries: 300, User: os.Geteuid() != 0}.Make(t, tree)
				want := pipe(t, "", ctbox, "fileids", tree)
				pipe(t, want, ctbox, "mkinitrd", "-C", tree, "-o", initrd)
				pipe(t, "", "sh", "-c", "umask 0; "+r.script, "sh", initrd, out)
				got := pipe(t, "", ctbox, "fileids", out)
				if !r.owners { // of symbolic links
					want, got = linkOwner.ReplaceAllString(want, "$1-0-0-"), linkOwner.ReplaceAllString(got, "$1-0-0-")
					pipe(t, want, ctbox, "mkinitrd", "-C", tree, "-o", initrd)
				}
				compareLists(t, withoutAttrs(want), withoutAttrs(got))
				pipe(t, withoutAttrs(want), ctbox, "mkinitrd", "-C", out, "-o", initrd+"2")
				pipe(t, "", "cmp", initrd, initrd+"2")
			}
		})
	}
}

// TestInitrdOfUser: who owns the tree, and who packs it, do not matter.
func TestInitrdOfUser(t *testing.T) {
	requireRoot(t)
	b := newBench(t)
	check(t, os.Mkdir(b.path("tree"), 0o755))
	treetest.Tree{Seed: 7, Entries: 200, User: os.Geteuid() != 0}.Make(t, b.path("tree"))
	b.run("find", "tree", "-type", "f", "-exec", "chmod", "u+r", "{}", "+")
	b.run("find", "tree", "-type", "d", "-exec", "chmod", "u+rwx", "{}", "+")
	b.ctbox("fileids", "-o", "list", "tree")
	b.ctbox("mkinitrd", "-C", "tree", "-o", "initrd", "list")
	user := ordinaryUser(t, b)
	user.ctbox("mkinitrd", "-C", "tree", "-o", "initrd2", "list")
	if user.read("initrd2") != b.read("initrd") {
		t.Error("an ordinary user gets another initrd")
	}
}

// TestRdinitSelf: the guest's first program can be the static binary that packs.
func TestRdinitSelf(t *testing.T) {
	requireTool(t, "cpio")
	b := newBench(t)
	b.write("list", ". 0040755-0-0-0\n./dev 0040755-0-0-0\n./sbin 0040755-0-0-0\n")
	b.ctbox("mkinitrd", "--rdinit=self", "-o", "initrd", "list")
	if got := b.run("sh", "-c", "cpio -it --quiet <initrd"); got != ".\ndev\nrdinit\nsbin\n" {
		t.Errorf("%q", got)
	}
	b.run("sh", "-c", `mkdir out; cd out; cpio -id --quiet rdinit <../initrd; cmp rdinit "$1"; ./rdinit --version`, "sh", program(t))
}

// TestRdinitSelfReplaced: it is the program that runs, though another one has its name by now.
func TestRdinitSelfReplaced(t *testing.T) {
	b := newBench(t)
	b.run("sh", "-ec", `cp "$1" me; mkfifo list; ./me mkinitrd --rdinit=self -o initrd list & printf '. 0040755-0-0-0\n' >list0
		exec 3>list; rm me; cp /bin/true me; cat list0 >&3; exec 3>&-; wait $!
		"$1" mkinitrd --rdinit="$1" list0 | cmp - initrd`, "sh", program(t))
}

// debianInitrd packs the tree debian, of which debian.full is the list: GNU cpio unpacks it as it was, and its own
// archive has the same size.
func debianInitrd(t *testing.T, b *bench) {
	requireTool(t, "cpio")
	b.ctbox("mkinitrd", "-C", "debian", "-o", "ours", "debian.full")
	b.run("sh", "-c", "cd debian && find . | LC_ALL=C sort | cpio -o -Hnewc --quiet >../theirs")
	b.run("sh", "-c", "mkdir -m 755 unpacked; cd unpacked; umask 0; cpio -idm --quiet <../ours")
	equalLists(t, "Debian from an initrd", b.ctbox("fileids", "unpacked"), b.read("debian.full"))
	if ours, theirs := len(b.read("ours")), len(b.read("theirs")); ours != theirs {
		t.Errorf("%d bytes, GNU cpio's is %d", ours, theirs)
	}
}

// TestManyInitrds: the bytes do not depend on how often, and with how many processors, an initrd is made.
func TestManyInitrds(t *testing.T) {
	ctbox, dir := box(t), t.TempDir()
	treetest.Tree{Seed: 3, Entries: 200, User: os.Geteuid() != 0}.Make(t, dir)
	list := pipe(t, "", ctbox, "fileids", "--owner=0:0", dir)
	want := pipe(t, list, ctbox, "mkinitrd", "-C", dir)
	for n := range 20 {
		t.Setenv("GOMAXPROCS", strconv.Itoa(1+n%5))
		if got := pipe(t, list, ctbox, "mkinitrd", "-C", dir); !bytes.Equal([]byte(got), []byte(want)) {
			t.Fatalf("run %d: another initrd", n)
		}
	}
}
