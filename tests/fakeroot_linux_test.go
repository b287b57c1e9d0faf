package tests

import (
	"archive/tar"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// unlike are the files in which a Debian that an ordinary user installs differs from root's, and why.
var unlike = map[string]string{
	"./etc/ld.so.cache":              "ldconfig is static, so that fakechroot runs nothing in its place",
	"./var/cache/ldconfig/aux-cache": "likewise",
	"./run/mount":                    "only root can mount what mount(8) makes it for",
	"./var/log/alternatives.log":     "has times in it",
	"./var/log/bootstrap.log":        "likewise",
	"./var/log/dpkg.log":             "likewise",
}

// TestDebootstrapWithoutRoot: what an ordinary user installs under try-fakeroot has the names, types, modes, owners,
// device numbers and content that it has when root installs it, in list, layer and image.
func TestDebootstrapWithoutRoot(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	requireRoot(t)
	requireTool(t, "debootstrap")
	b := newBench(t)
	root := exec.CommandContext(t.Context(), "sh", "-ec", `umask 022; . /etc/os-release; PATH=$PATH:/usr/sbin:/sbin
		exec debootstrap --variant=minbase "$VERSION_CODENAME" root >root.log 2>&1`)
	root.Dir = b.dir
	check(t, root.Start())
	user := installDebian(t) // meanwhile
	if err := root.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, b.read("root.log"))
	}

	b.ctbox("fileids", "-o", "root.list", "root")
	want, got := alike(b.read("root.list")), alike(user.read("debian.list"))
	if len(want) < 5000 {
		t.Errorf("only %d files", len(want))
	}
	equalLists(t, "list", strings.Join(got, ""), strings.Join(want, ""))

	b.ctbox("mklayer", "-C", "root", "-o", "root.layer", "root.list")
	equalLists(t, "layer", headers(t, user.path("debian.layer")), headers(t, b.path("root.layer")))

	user.run("sh", "-c", `echo debian | "$1" mkimage --cmd=/bin/sh -o image 2>/dev/null`, "sh", program(t))
	layer := fmt.Sprintf("blobs/sha256/%x", sha256.Sum256([]byte(user.read("debian.layer"))))
	if in := b.run("tar", "-tf", user.path("image")); !slices.Contains(strings.Split(in, "\n"), layer) {
		t.Errorf("no %s in the image:\n%s", layer, in)
	}
	t.Run("docker", func(t *testing.T) { ownersInDocker(t, &bench{t: t, dir: user.dir}) })
}

// ownersInDocker looks at the files from within: what a program in the container sees is what counts.
func ownersInDocker(t *testing.T, b *bench) {
	const look = "stat -c '%a %u:%g %F %n' /etc/shadow /var/mail /usr/bin/chage /usr/bin/su /tmp"
	want := "640 0:42 regular file /etc/shadow\n2775 0:8 directory /var/mail\n2755 0:42 regular file /usr/bin/chage\n" +
		"4755 0:0 regular file /usr/bin/su\n1777 0:0 directory /tmp\n"
	if got := b.rundocker(startDocker(t), "image", "sh", "-c", look); got != want {
		t.Errorf("%s", got)
	}
}

// alike are the lines of a list but for those of the files that differ.
func alike(list string) (lines []string) {
	for line := range strings.Lines(list) {
		if _, ok := unlike[line[:strings.LastIndexByte(line, ' ')]]; !ok {
			lines = append(lines, line)
		}
	}
	return lines
}

// headers are the names, types, modes and owners in a layer, a line for each.
func headers(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	check(t, err)
	defer f.Close()
	var all strings.Builder
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all.String()
		}
		check(t, err)
		if _, ok := unlike["./"+strings.TrimSuffix(h.Name, "/")]; !ok {
			fmt.Fprintf(&all, "%s %c %o %d:%d %d,%d %s\n", h.Name, h.Typeflag, h.Mode, h.Uid, h.Gid, h.Devmajor, h.Devminor, h.Linkname)
		}
	}
}

// TestTryFakerootReadOnly: that the state cannot be saved is said before the command runs.
func TestTryFakerootReadOnly(t *testing.T) {
	requireTool(t, "fakeroot")
	dir := t.TempDir()
	check(t, os.Mkdir(dir+"/closed", 0o555))
	out, errs, err := asUser(t, dir, "try-fakeroot closed/state echo ran")
	if err == nil || out != "" || !strings.HasSuffix(errs, "/closed/state: cannot be written: permission denied\n") {
		t.Errorf("%v\n%s%s", err, out, errs)
	}
}
