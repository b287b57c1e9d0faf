package tests

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// readBack reads an image with programs that we did not write; full is the list of the tree that it must hold.
func readBack(t *testing.T, b *bench, image, tag, config, full string, layers ...string) {
	t.Helper()
	t.Run("skopeo", func(t *testing.T) {
		requireTool(t, "skopeo")
		b := &bench{t: t, dir: b.dir}
		for _, transport := range []string{"docker-archive:", "oci-archive:"} {
			raw := b.run("skopeo", "inspect", "--raw", "--config", transport+image)
			if got := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(raw))); got != config {
				t.Errorf("%s config digest %s, not %s", transport, got, config)
			}
			to := b.path(image + "-" + strings.TrimSuffix(transport, ":"))
			b.run("skopeo", "copy", "--quiet", "--insecure-policy", transport+image, "dir:"+to)
			if files, _ := filepath.Glob(to + "/*"); len(files) < len(layers)+2 {
				t.Errorf("%s copied only %v", transport, files)
			}
		}
	})
	t.Run("crane", func(t *testing.T) {
		if out, err := exec.Command("go", "-C", "interop", "vet", "./...").CombinedOutput(); err != nil {
			lacking(t, fmt.Sprintf("no go-containerregistry: %v\n%s", err, out))
		}
		cmd := exec.Command("go", "-C", "interop", "test", "-count=1", "-run=^TestGiven$", ".")
		cmd.Env = append(os.Environ(), "CTBOX="+program(t), "CTBOX_IMAGE="+b.path(image), "CTBOX_CONFIG="+config)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
	t.Run("umoci", func(t *testing.T) {
		requireTool(t, "umoci")
		requireRoot(t)
		b := &bench{t: t, dir: b.dir}
		b.write("layers", strings.Join(layers, "\n"))
		b.ctbox("mkimage", "--cmd=/init", "--tag", tag, "--format=oci-dir", "-o", image+".oci", "layers")
		_, name, _ := strings.Cut(filepath.Base(tag), ":")
		b.run("umoci", "unpack", "--image", image+".oci:"+name, image+".bundle")
		got := b.ctbox("fileids", image+".bundle/rootfs")
		equalLists(t, "tree by umoci", withoutRoot(got), withoutRoot(b.read(full)))
	})
}

// withoutRoot drops the record of ".", which a layer without a root entry leaves to the reader.
func withoutRoot(list string) string { return list[strings.Index(list, "\n")+1:] }

// TestHelloImage makes the two-layer image of the cookbook, as root and as an ordinary user, and reads and runs it.
func TestHelloImage(t *testing.T) {
	b := newBench(t)
	b.run("mkdir", "-p", "libs/lib", "hello/lib")
	b.write("libs/lib/data", "from the lower layer\n")
	b.write("hello/lib/data", "from the lower layer\n")
	b.run("cp", probe(t), "hello/init")
	b.run("chmod", "-R", "a+rX,go-w", ".")
	helloLayers := func(b *bench) string {
		for _, tree := range []string{"libs", "hello"} {
			b.ctbox("fileids", "--owner=0:0", "-o", tree+".full", tree)
		}
		b.ctbox("listdiff", "-o", "libs.list", os.DevNull, "libs.full")
		b.ctbox("listdiff", "-o", "hello.list", "libs.full", "hello.full")
		for _, tree := range []string{"libs", "hello"} {
			b.ctbox("mklayer", "-C", tree, "-o", tree+".layer", tree+".list")
		}
		return b.image("hello.image", "ctbox-test/hello:1", "libs", "hello")
	}
	config := helloLayers(b)
	first := b.read("hello.image")
	if again := helloLayers(b); again != config || b.read("hello.image") != first {
		t.Error("a second run gives another image")
	}
	t.Run("as a user", func(t *testing.T) {
		requireRoot(t)
		user := ordinaryUser(t, b)
		if got := helloLayers(user); got != config || user.read("hello.image") != first {
			t.Error("an ordinary user gets another image than root")
		}
	})
	readBack(t, b, "hello.image", "ctbox-test/hello:1", config, "hello.full", "libs", "hello")
	for _, start := range []func(*testing.T) *engineHandle{startDocker, startPodman} {
		e := start(t)
		b := &bench{t: t, dir: b.dir}
		if got := b.rundocker(e, "hello.image"); got != "hello\n" {
			t.Errorf("%s prints %q", e.Name, got)
		}
	}
}

// ordinaryUser copies the trees of a bench to one whose commands run as a user without any rights.
func ordinaryUser(t *testing.T, b *bench) *bench {
	t.Helper()
	const uid = "65532"
	requireTool(t, "setpriv")
	dir, err := os.MkdirTemp("", "ctbox-test-")
	if err != nil {
		t.Fatal(err)
	}
	user := &bench{t: t, dir: dir, as: []string{"setpriv", "--reuid=" + uid, "--regid=" + uid, "--clear-groups"}}
	t.Cleanup(func() { os.RemoveAll(dir) })
	b.run("sh", "-c", `cp -a ./* "$1" && chown -hR "$2:$2" "$1"`, "sh", dir, uid)
	return user
}

const debianInit = `#!/bin/sh
. /etc/os-release
echo "Hello from $NAME $VERSION_ID, $(ls /usr/bin | wc -l | tr -d ' ') programs"
`

// TestDebianImage puts a real Debian in an image of two layers, about 9,000 files.
func TestDebianImage(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	requireRoot(t)
	b := newBench(t)
	b.run("cp", "-a", debianTree(t), "debian")
	b.run("cp", "-a", "debian", "app")
	b.write("app/init", debianInit)
	b.run("sh", "-c", `chmod 755 app/init; cp "$1" app/usr/local/bin/ctbox; rm -r app/usr/share/doc; chmod 750 app/srv`, "sh", program(t))
	programs := strings.TrimSpace(b.run("sh", "-c", "ls app/usr/bin | wc -l"))

	b.layer("debian", "debian", "")
	b.layer("app", "app", "debian.full")
	config := b.image("debian.image", "ctbox-test/debian:12", "debian", "app")
	t.Run("as an initrd", func(t *testing.T) { debianInitrd(t, &bench{t: t, dir: b.dir}) })
	t.Run("as a user", func(t *testing.T) {
		// The list is the ownership database: who owns the tree on disk, and what chown(2) took from its modes, do not matter.
		user := ordinaryUser(t, b)
		user.ctbox("mklayer", "-C", "debian", "-o", "debian.layer", "debian.list")
		user.ctbox("mklayer", "-C", "app", "-o", "app.layer", "app.list")
		if got := user.image("debian.image", "ctbox-test/debian:12", "debian", "app"); got != config {
			t.Errorf("an ordinary user gets config %s, not %s", got, config)
		}
	})
	want := "Hello from Debian GNU/Linux 12, " + programs + " programs\n"
	t.Run("guest", func(t *testing.T) { debianGuest(&bench{t: t, dir: b.dir}, want) })
	readBack(t, b, "debian.image", "ctbox-test/debian:12", config, "app.full", "debian", "app")
	for _, start := range []func(*testing.T) *engineHandle{startDocker, startPodman} {
		e := start(t)
		t.Run(e.Name, func(t *testing.T) {
			b := &bench{t: t, dir: b.dir}
			if got := b.rundocker(e, "debian.image"); got != want {
				t.Errorf("printed %q, not %q", got, want)
			}
			got := b.rundocker(e, "debian.image", "/usr/local/bin/ctbox", "fileids", "-x", "/")
			equalLists(t, "Debian in "+e.Name, inEngine(got), inEngine(b.read("app.full")))
		})
	}
}

// debianGuest runs the tree app in a virtual machine: it prints what it prints in a container, and the files are those of the list.
func debianGuest(b *bench, want string) {
	requireGuests(b.t)
	b.ctbox("mkinitrd", "-z", "zstd", "-C", "app", "-o", "debian.initrd", "app.full")
	initrd := b.path("debian.initrd")
	expect(b.t, runkvm(b.t, initrd), want, "", 0)
	expect(b.t, runkvm(b.t, initrd, "sh", "-c", "kill -SEGV $$"), "", "ctbox runkvm: sh: segmentation fault\n", 128+11)
	got, errs, status := outcome(b.t, runkvm(b.t, initrd, "/usr/local/bin/ctbox", "fileids", "-x", "/"))
	if status != 0 || errs != "" {
		b.t.Errorf("status %d, %s", status, errs)
	}
	equalLists(b.t, "Debian in a guest", inEngine(got), inEngine(b.read("app.full")))
}
