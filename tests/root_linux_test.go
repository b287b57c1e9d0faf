package tests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// inNamespace runs a shell script as root in a mount namespace of its own, with ctbox in $PATH, in a new directory.
func inNamespace(t *testing.T, script string) (out, errs string) {
	t.Helper()
	requireRoot(t)
	requireTool(t, "unshare")
	out, errs, err := try("", "unshare", "-m", "sh", "-ec",
		"PATH="+filepath.Dir(box(t))+":$PATH\nmount --make-rprivate /\ncd "+t.TempDir()+"\n"+script)
	if err != nil && strings.Contains(errs, "ermission") {
		t.Skipf("may not mount: %s", errs)
	}
	if err != nil {
		t.Fatalf("%v\n%s%s", err, out, errs)
	}
	return out, errs
}

const sumNothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// TestLinksAcrossFileSystems: two file systems give the same inode numbers to different files.
func TestLinksAcrossFileSystems(t *testing.T) {
	out, _ := inNamespace(t, `umask 022
mkdir -p r/1 r/2; mount -t tmpfs none r/1; mount -t tmpfs none r/2
for d in r/1 r/2; do echo $d >$d/a; ln $d/a $d/b; done
test "$(stat -c %i r/1/a)" = "$(stat -c %i r/2/a)" || echo "other inodes"
ctbox fileids r >list
grep -o ' .*link=.*' list | sed 's/.*-link/link/'
ctbox mklayer -C r list | tar -xOf - 1/a 2/a
ctbox mklayer -C r list | tar -tvf - | grep 'link to' | sed 's/.*:00 //'`)
	if want := "link=./1/a\nlink=./2/a\nr/1\nr/2\n1/b link to 1/a\n2/b link to 2/a\n"; out != want {
		t.Errorf("%s", out)
	}
}

// TestOneFileSystem: with -x a mount point is named and not entered.
func TestOneFileSystem(t *testing.T) {
	out, _ := inNamespace(t, `mkdir -p r/a/mnt r/b; mount -t tmpfs none r/a/mnt; touch r/a/mnt/in r/a/z r/b/f
ctbox fileids -x r | cut -d' ' -f1; ctbox fileids r | wc -l`)
	if want := ".\n./a\n./a/mnt\n./a/z\n./b\n./b/f\n7\n"; out != want {
		t.Errorf("%s", out)
	}
}

// TestCapabilities: capabilities of both revisions are listed as revision 2, packed, and come out of GNU tar.
func TestCapabilities(t *testing.T) {
	requireRoot(t)
	requireTool(t, "setcap")
	requireTool(t, "tar")
	ctbox, dir := box(t), t.TempDir()
	tree, out := filepath.Join(dir, "tree"), filepath.Join(dir, "out")
	check(t, os.Mkdir(tree, 0o755))
	check(t, os.Mkdir(out, 0o755))
	const value = "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	for _, name := range []string{"two", "three", "none"} {
		check(t, os.WriteFile(filepath.Join(tree, name), nil, 0o644))
	}
	pipe(t, "", "setcap", "cap_net_raw=ep", filepath.Join(tree, "two"))
	check(t, unix.Setxattr(filepath.Join(tree, "three"), "security.capability", []byte("\x01\x00\x00\x03"+value[4:]+"\xe8\x03\x00\x00"), 0))
	list := pipe(t, "", ctbox, "fileids", "--owner=0:0", tree)
	text := "\x00\x00\x00\x13security.capability\x00\x00\x00\x14" + value
	sum := strings.Fields(pipe(t, text, "sha256sum"))[0]
	file := " 0100644-0-0-" + sumNothing
	if want := ". 0040755-0-0-0\n./none" + file + "\n./three" + file + "-xattr=" + sum + "\n./two" + file + "-xattr=" + sum + "\n"; list != want {
		t.Errorf("%s\nwant\n%s", list, want)
	}
	layer := filepath.Join(dir, "layer")
	pipe(t, list, ctbox, "mklayer", "-C", tree, "-o", layer)
	pipe(t, "", "tar", "--xattrs", "--xattrs-include=*", "-xpf", layer, "-C", out)
	if got := pipe(t, "", "getcap", filepath.Join(out, "three")); !strings.HasSuffix(got, "three cap_net_raw=ep\n") {
		t.Errorf("%q", got)
	}
	if again := pipe(t, "", ctbox, "fileids", "--owner=0:0", out); again != list {
		t.Errorf("%s", again)
	}
}

// TestDevices: numbers at the limits of the kernel's, listed and packed, from disk and from the list alone.
func TestDevices(t *testing.T) {
	requireRoot(t)
	ctbox, dir := box(t), t.TempDir()
	var want strings.Builder
	want.WriteString(". 0040755-0-0-0\n")
	for i, dev := range [][2]uint32{{1, 3}, {255, 255}, {256, 256}, {4095, 1<<20 - 1}} {
		name := fmt.Sprint("d", i)
		check(t, unix.Mknod(filepath.Join(dir, name), unix.S_IFBLK|0o600, int(unix.Mkdev(dev[0], dev[1]))))
		check(t, os.Chmod(filepath.Join(dir, name), 0o600))
		want.WriteString(fmt.Sprintf("./%s 0060600-0-0-0-rdev=%d:%d\n", name, dev[0], dev[1]))
	}
	if got := pipe(t, "", ctbox, "fileids", dir); got != want.String() {
		t.Errorf("%s", got)
	}
	layer := pipe(t, want.String(), ctbox, "mklayer", "-C", dir)
	if layer != pipe(t, want.String(), ctbox, "mklayer", "-C", t.TempDir()) {
		t.Error("another layer without the devices on disk")
	}
	if got := pipe(t, layer, "tar", "-tvf", "-"); !strings.Contains(got, " 4095,1048575 ") {
		t.Errorf("%s", got)
	}
}

// TestUnreadable: an ordinary user lists what it may, is told the rest, and gets no list file.
func TestUnreadable(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "z", "secret", "closed/f", "nolist/f"} {
		check(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		check(t, os.WriteFile(filepath.Join(dir, name), nil, 0o644))
	}
	for name, mode := range map[string]os.FileMode{"secret": 0, "closed": 0, "nolist": 0o311} {
		check(t, os.Chmod(filepath.Join(dir, name), mode))
	}
	defer os.Chmod(filepath.Join(dir, "closed"), 0o755)
	defer os.Chmod(filepath.Join(dir, "nolist"), 0o755)
	out, errs, err := asUser(t, dir, "fileids --owner=0:0 .")
	file := " 0100644-0-0-" + sumNothing
	wantErrs := "ctbox fileids: ./closed: permission denied\nctbox fileids: ./nolist: permission denied\n" +
		"ctbox fileids: ./secret: permission denied\n"
	if err == nil || !sameLines(errs, wantErrs) ||
		!strings.HasSuffix(out, "./a"+file+"\n./closed 0040000-0-0-0\n./nolist 0040311-0-0-0\n./z"+file+"\n") {
		t.Errorf("%v\n%s%s", err, out, errs)
	}
	names := "./closed\n./closed/f\n./nolist\n./nolist/f\n"
	out, errs, err = asUser(t, dir, "fileids --owner=0:0 <<'E'\n"+names+"E\n")
	if err == nil || errs != "ctbox fileids: ./closed/f: permission denied\n" ||
		out != "./closed 0040000-0-0-0\n./nolist 0040311-0-0-0\n./nolist/f"+file+"\n" {
		t.Errorf("%v\n%s%s", err, out, errs)
	}
}

// sameLines compares without regard to order: the walk and the reading of files go on side by side.
func sameLines(a, b string) bool {
	count := map[string]int{}
	for line := range strings.SplitSeq(a, "\n") {
		count[line]++
	}
	for line := range strings.SplitSeq(b, "\n") {
		count[line]--
	}
	for _, n := range count {
		if n != 0 {
			return false
		}
	}
	return true
}

// asUser runs ctbox in dir as a user who owns what is there and is not root.
func asUser(t *testing.T, dir, command string) (out, errs string, err error) {
	t.Helper()
	ctbox := box(t)
	if os.Geteuid() != 0 {
		return try("", "sh", "-c", "cd "+dir+" && exec "+ctbox+" "+command)
	}
	requireTool(t, "setpriv")
	const user = 61234
	check(t, filepath.WalkDir(filepath.Dir(dir), func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, user, user)
	}))
	self, err := os.ReadFile("/proc/self/exe")
	check(t, err)
	public := filepath.Join(dir+".bin", "ctbox")
	check(t, os.Mkdir(dir+".bin", 0o755))
	check(t, os.WriteFile(public, self, 0o755))
	defer os.RemoveAll(dir + ".bin")
	cmd := exec.Command("setpriv", "--reuid", fmt.Sprint(user), "--regid", fmt.Sprint(user), "--clear-groups", "--",
		"sh", "-c", "cd "+dir+" && exec "+public+" "+command)
	var o, e strings.Builder
	cmd.Stdout, cmd.Stderr = &o, &e
	err = cmd.Run()
	return o.String(), e.String(), err
}

// TestRundockerFirstProcess: the first process of a PID namespace does not die of a signal, but it exits as if.
func TestRundockerFirstProcess(t *testing.T) {
	out, _ := inNamespace(t, `mkdir root; echo x >root/init
tar -cf x.layer -C root init; echo x | ctbox mkimage --cmd /init >x.image 2>/dev/null
cat >engine <<'END'
#!/bin/sh
case "$1 $3" in
"inspect image") echo "$6" ;;
start*) kill -TERM 1; while [ ! -e killed ]; do sleep 0.1; done ;;
kill*) : >killed ;;
esac
END
chmod 755 engine
unshare --pid --fork ctbox rundocker --engine=./engine x.image || echo $?`)
	if out != "143\n" {
		t.Errorf("status %s", out)
	}
}
