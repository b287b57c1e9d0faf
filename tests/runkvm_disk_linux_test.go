package tests

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// diskTree is a tree for disks: ctbox, under the names of what a guest runs here.
func diskTree(t *testing.T, b *bench) {
	t.Helper()
	for _, dir := range []string{"bin", "dev", "proc", "sys", "tmp", "etc"} {
		check(t, os.MkdirAll(b.path("tree/"+dir), 0o755))
	}
	text, err := os.ReadFile(probe(t))
	check(t, err)
	check(t, os.WriteFile(b.path("tree/bin/probe"), text, 0o755))
	text, err = os.ReadFile(program(t))
	check(t, err)
	check(t, os.WriteFile(b.path("tree/bin/ctbox"), text, 0o755))
	b.write("tree/etc/motd", "on a disk\n")
	check(t, os.Symlink("bin/probe", b.path("tree/init")))
}

// A disk is a guest's root as an initrd is: the same output, the same status, and it stays as it is.
func TestRunkvmDisk(t *testing.T) {
	requireGuests(t)
	requireTool(t, "mke2fs", "sfdisk")
	b := newBench(t)
	diskTree(t, b)
	b.run("sh", "-euc", `PATH=$PATH:/usr/sbin:/sbin
		mke2fs -q -t ext4 -E root_owner=0:0 -d tree disk 48M
		truncate -s 60M table
		printf 'label: gpt\nstart=2048, size=98304\n' | sfdisk -q table
		dd if=disk of=table bs=1M seek=1 conv=notrunc status=none`)
	before := b.run("sha256sum", "disk", "table")
	for _, disk := range []string{"disk", "table"} {
		path := filepath.Join(b.dir, disk)
		expect(t, runkvm(t, path), "hello\n", "log\n", 0)
		expect(t, runkvm(t, path, "/bin/ctbox", "sha256", "--check", "/none"), "", "ctbox sha256: /none: no such file or directory\n", 1)
		expect(t, runkvm(t, "--read-only", path, "/bin/ctbox", "sha256", "-o", "/etc/new", "/etc/motd"), "",
			"ctbox sha256: /etc/new: read-only file system\n", 1)
		expect(t, runkvm(t, path, "/bin/ctbox", "sha256", "-o", "/etc/new", "/etc/motd"), "", "", 0)
		expect(t, runkvm(t, path, "/bin/nothing"), "", "ctbox runkvm: /bin/nothing: no such file or directory\n", 127)
	}
	if after := b.run("sha256sum", "disk", "table"); after != before {
		t.Error("a disk has changed")
	}
	b.run("sh", "-euc", `(head -c 1024 /dev/zero; printf '\342\341\365\340'; head -c 60000 /dev/zero) >bad`)
	out, errs, status := outcome(t, runkvm(t, b.path("bad")))
	if out != "" || status != 125 || !strings.HasPrefix(errs, "ctbox runkvm: disk: ") {
		t.Errorf("status %d, %s%s", status, out, errs)
	}
}
