package tests

import (
	"path/filepath"
	"strings"
	"testing"
)

// A Debian as mmdebstrap writes it, in a tar with devices: an ordinary user, who could not unpack it, gets of it what root gets
// of the tree, to the last byte.
func TestRootfsTar(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	b := newBench(t)
	tree := debianTree(t)
	b.run("cp", filepath.Join(filepath.Dir(tree), "debian.tar"), "rootfs.tar")
	b.ctbox("fileids", "-o", "want.list", tree)
	b.ctbox("mklayer", "-C", tree, "-o", "want.layer", "--root-entry", "want.list")
	b.ctbox("mkinitrd", "-C", tree, "-o", "want.initrd", "want.list")
	user := ordinaryUser(t, b)
	user.ctbox("fileids", "-T", "rootfs.tar", "-o", "rootfs.list")
	compareLists(t, b.read("want.list"), user.read("rootfs.list"))
	if !strings.Contains(user.read("rootfs.list"), "\n./dev/null 0020666-0-0-0-rdev=1:3\n") {
		t.Error("no devices")
	}
	user.run("sh", "-euc", `ctbox=$1
		"$ctbox" mklayer -T rootfs.tar --root-entry rootfs.list | cmp - want.layer
		"$ctbox" mkinitrd -T rootfs.tar rootfs.list | cmp - want.initrd
		zstd -q rootfs.tar
		"$ctbox" fileids -T rootfs.tar.zst | cmp - rootfs.list
		"$ctbox" mklayer -T - --root-entry rootfs.list <rootfs.tar.zst | cmp - want.layer
		"$ctbox" mkimage --rootfs rootfs.tar --cmd /bin/true --tag rootfs:1 -o rootfs.image
		"$ctbox" flatten --mtime=epoch rootfs.image | cmp - want.layer
		"$ctbox" flatten --list rootfs.image | cmp - rootfs.list
		"$ctbox" mkimage --rootfs - --format=aci --cmd /bin/true --tag rootfs:1 <rootfs.tar.zst >rootfs.aci
		tar -tf rootfs.aci | sed -n 's,^rootfs/,./,p' | sed 's,/$,,' >aci.names
		sed '1s/.*/./; s/ 0.*//' rootfs.list | cmp - aci.names`, "sh", program(t))
}
