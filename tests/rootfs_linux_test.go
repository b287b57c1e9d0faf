package tests

import (
	"os"
	"path"
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

// othersRootfs are what others publish in the repositories of their images: where, and a shell command that prints the same
// wherever it runs.
var othersRootfs = map[string]string{
	"https://raw.githubusercontent.com/alpinelinux/docker-alpine/v3.17/x86_64/alpine-minirootfs-3.17.10-x86_64.tar.gz": "cat /etc/alpine-release; ls /bin /usr/bin | wc -l",
	"https://raw.githubusercontent.com/docker-library/busybox/dist-amd64/latest/musl/amd64/rootfs.tar.gz":              "ls /bin | wc -l; cat /etc/passwd",
	"https://raw.githubusercontent.com/jpetazzo/docker-busybox/master/rootfs.tar":                                      "ls /bin | wc -l; cat /etc/passwd",
}

// othersTar is a file of the directory that CTBOX_ROOTFS names, or is downloaded. Where there is no network it is a reason to skip
// the test, also in CI.
func othersTar(t *testing.T, b *bench, url string) string {
	t.Helper()
	if dir := os.Getenv("CTBOX_ROOTFS"); dir != "" {
		name := strings.ReplaceAll(strings.TrimPrefix(url, "https://raw.githubusercontent.com/"), "/", "_")
		text, err := os.ReadFile(filepath.Join(dir, name))
		check(t, err)
		b.write("rootfs.tar", string(text))
	} else if _, errs, err := try("", "wget", "-q", "--timeout=20", "--tries=1", "-O", b.path("rootfs.tar"), url); err != nil {
		t.Skip("no download: ", err, errs)
	}
	return b.path("rootfs.tar")
}

// What others publish as a tar is listed as root would unpack it, and as a sandbox, a guest of an initrd or of a disk it does the same.
func TestOthersRootfs(t *testing.T) {
	requireGuests(t)
	requireRoot(t)
	requireTool(t, "wget")
	for url, command := range othersRootfs {
		t.Run(path.Base(path.Dir(path.Dir(url))), func(t *testing.T) {
			b := newBench(t)
			othersTar(t, b, url)
			b.run("sh", "-euc", `mkdir tree && tar -C tree -xpf rootfs.tar --numeric-owner && "$1" fileids tree >tree.list`, "sh", program(t))
			user := ordinaryUser(t, b)
			user.run("sh", "-euc", `"$1" fileids -T rootfs.tar -o rootfs.list
				"$1" mklayer -T rootfs.tar -o rootfs.layer rootfs.list
				"$1" mkinitrd -T rootfs.tar -o rootfs.initrd rootfs.list
				"$1" mkdisk -T rootfs.tar -o rootfs.ext4 rootfs.list
				"$1" mkimage --rootfs rootfs.tar --cmd /bin/sh --tag rootfs:1 -o rootfs.image
				"$1" flatten --list rootfs.image | cmp - rootfs.list`, "sh", program(t))
			compareLists(t, withoutRoot(b.read("tree.list")), withoutRoot(user.read("rootfs.list")))
			want := user.run(program(t), "runlocal", "tree", "/bin/sh", "-c", command)
			if want == "" {
				t.Error("nothing is printed")
			}
			for _, guest := range []string{"rootfs.initrd", "rootfs.ext4"} {
				expect(t, runkvm(t, user.path(guest), "/bin/sh", "-c", command), want, "", 0)
			}
		})
	}
}
