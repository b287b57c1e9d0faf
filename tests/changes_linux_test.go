package tests

import (
	"os"
	"os/exec"
	"testing"
)

// What runlocal does, by hand: an overlay in a user namespace, something that runs in it, and in the end only the
// namespace and the upper directory, which is open here. $1 is ctbox.
const (
	sandboxScript = `
unshare -rm sh -ec '
	mount -t tmpfs sandbox mnt
	mkdir -p mnt/work mnt/merged mnt/upper/dev mnt/upper/mnt/bind
	mount -t overlay -o lowerdir=base,upperdir=mnt/upper,workdir=mnt/work,userxattr overlay mnt/merged
	(cd mnt/merged && . ../../run)
	umount mnt/merged
	mount -t overlay -o lowerdir=mnt/upper:base,userxattr overlay mnt/merged
	"$1" fileids mnt/merged | grep -v -e "^./dev" -e "^./mnt" >app.full
	: >ready
	exec sleep 60' sh "$1" &
sandbox=$!
trap 'kill $sandbox' EXIT
until [ -f ready ]; do kill -0 $sandbox; sleep 0.02; done
exec 5<"/proc/$sandbox/root$PWD/mnt/upper" 6<base 7>app.layer 8>app.list
nsenter --user=/proc/$sandbox/ns/user --preserve-credentials "$1" runlocal-changes --skip ./dev --skip ./mnt/bind \
	--layer /proc/self/fd/7 --changes /proc/self/fd/8 /proc/self/fd/5 /proc/self/fd/6
`
	sandboxBase = `
mkdir -p base/etc base/usr/lib base/var/log base/old/dir mnt
echo root:0 >base/etc/passwd; echo 1 >base/usr/lib/a; ln base/usr/lib/a base/usr/lib/b
echo 2 >base/old/dir/f; echo 3 >base/old/g; echo log >base/var/log/l; ln -s usr/lib base/lib
chmod -R a+rX,go-w .; chmod 700 base/old; chmod 400 base/etc/passwd
`
	sandboxRun = `
echo tester:1 >>etc/passwd; touch etc usr; : >var/log/l; mkfifo run; mkdir -m 0 closed
rm -r old; mkdir -p old/new; echo 4 >old/g; chmod 700 old
echo 5 >>usr/lib/b; ln usr/lib/b usr/lib/d
rm lib; mkdir lib; echo 6 >lib/c; chmod 0 lib/c
`
	sandboxChanges = `. ./closed ./etc ./etc/passwd ./lib ./lib/c ./old ./old/dir ./old/g ./old/new ./run ./usr ./usr/lib ./usr/lib/b ` +
		`./usr/lib/d ./var ./var/log ./var/log/l`
)

// TestChangesOfASandbox is a commit without privileges: a base, and what a run over it wrote, make an image whose tree
// is the one that the run left.
func TestChangesOfASandbox(t *testing.T) {
	requireTool(t, "unshare", "nsenter")
	b := newBench(t)
	b.run("sh", "-ec", sandboxBase)
	b.write("run", sandboxRun)
	if os.Geteuid() == 0 {
		b = ordinaryUser(t, b)
	}
	if out, err := exec.Command("unshare", "-rm", "true").CombinedOutput(); err != nil {
		lacking(t, "no user namespaces: "+string(out))
	}
	b.ctbox("fileids", "--owner=0:0", "-o", "base.full", "base")
	b.ctbox("listdiff", "-o", "base.list", os.DevNull, "base.full")
	b.ctbox("mklayer", "-C", "base", "-o", "base.layer", "base.list")
	b.run("sh", "-ec", sandboxScript, "sh", program(t))

	equalLists(t, "changes", b.read("app.list"), b.ctbox("listdiff", "base.full", "app.full"))
	if got := b.run("sh", "-c", "cut -d' ' -f1 app.list | paste -sd' '"); got != sandboxChanges+"\n" {
		t.Errorf("changed is %s, not %s", got, sandboxChanges)
	}
	t.Run("umoci", func(t *testing.T) {
		requireTool(t, "umoci")
		requireRoot(t)
		b := &bench{t: t, dir: b.dir}
		b.write("layers", "base\napp\n")
		b.ctbox("mkimage", "--tag", "x:1", "--format=oci-dir", "-o", "x.oci", "layers")
		b.run("umoci", "unpack", "--image", "x.oci:1", "x.bundle")
		equalLists(t, "tree by umoci", withoutRoot(b.ctbox("fileids", "x.bundle/rootfs")), withoutRoot(b.read("app.full")))
	})
}
