package tests

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestMemcalcBoots gives machines exactly the memory that memcalc says, with a root on tmpfs, the kernel's default. A
// file too many is cut off there in silence, but for a line on the console (Q02, Q07).
func TestMemcalcBoots(t *testing.T) {
	if testing.Short() {
		t.Skip("boots machines")
	}
	requireTool(t, "qemu-system-x86_64", "busybox", "cpio", "lz4", "zstd")
	kernel := stockKernel(t)
	random := make([]byte, 32<<20)
	rand.NewChaCha8([32]byte{}).Read(random)
	text := bytes.Repeat([]byte("all work and no play\n"), 32<<20/21)
	for _, test := range []struct {
		name    string
		payload []byte
		zip     string // turns the archive with the payload to a segment
		most    int    // MiB that memcalc may say
	}{
		{"hello", []byte("hello\n"), "cat", 95},
		{"random", random, "cat", 170},
		{"lz4", text, "lz4 -l -c", 135},
		{"zstd", text, "zstd -q -c", 135},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			check(t, os.Mkdir(b.path("tree"), 0o755))
			b.write("tree/payload", string(test.payload))
			b.write("tree/init", "#!/bin/sh\n/bin/busybox sha256sum /payload\n/bin/busybox poweroff -f\n")
			b.run("sh", "-ec", "cd tree; mkdir bin dev; chmod 755 init; cp \"$(command -v busybox)\" bin; ln -s busybox bin/sh\n"+
				"find bin dev init | cpio -oH newc --quiet >../init.cpio; echo payload | cpio -oH newc --quiet | "+test.zip+" >../payload.cpio")
			b.run("sh", "-c", "cat init.cpio payload.cpio >initrd")
			memory := strings.TrimSpace(b.ctbox("memcalc", "--kernel", kernel, "initrd"))
			var mib int
			if _, err := fmt.Sscanf(memory, "%dM", &mib); err != nil || mib > test.most {
				t.Errorf("memcalc says %q, %v", memory, err)
			}
			console := boot(t, kernel, b.path("initrd"), memory)
			if want := fmt.Sprintf("%x  /payload", sha256.Sum256(test.payload)); !strings.Contains(console, want) || strings.Contains(console, "Initramfs unpacking failed") {
				t.Errorf("%s of memory: no %s in\n%s", memory, want, console)
			}
		})
	}
}

// TestMemcalcBootsHardLinks: names and not content take the memory, and the kernel leaves out in silence those for which
// a tmpfs has no inode, or runs out of memory for what it keeps of each file with links.
func TestMemcalcBootsHardLinks(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a machine")
	}
	requireTool(t, "qemu-system-x86_64", "busybox", "cpio")
	kernel := stockKernel(t)
	b := newBench(t)
	check(t, os.MkdirAll(b.path("tree/d"), 0o755))
	b.write("tree/first", "x")
	for i := range 4000 {
		pair := b.path(fmt.Sprint("tree/d/pair", i))
		check(t, os.WriteFile(pair, []byte("x"), 0o644))
		check(t, os.Link(pair, pair+"b"))
		check(t, os.Link(b.path("tree/first"), b.path(fmt.Sprint("tree/d/name", i))))
	}
	b.write("tree/init", "#!/bin/sh\n/bin/busybox cat /d/* | /bin/busybox wc -c\n/bin/busybox poweroff -f\n")
	b.run("sh", "-ec", "cd tree; mkdir bin dev; chmod 755 init; cp \"$(command -v busybox)\" bin; ln -s busybox bin/sh\n"+
		"find . | cpio -oH newc --quiet >../initrd")
	memory := strings.TrimSpace(b.ctbox("memcalc", "--kernel", kernel, "initrd"))
	console := boot(t, kernel, b.path("initrd"), memory)
	if !strings.Contains(console, "\n12000\r\n") && !strings.HasPrefix(console, "12000\r\n") || strings.Contains(console, "Initramfs unpacking failed") {
		t.Errorf("%s of memory: not 12000 names in\n%s", memory, console)
	}
}

// boot returns what a machine writes to its console until it is off.
func boot(t *testing.T, kernel, initrd, memory string) string {
	t.Helper()
	cmd := exec.Command("qemu-system-x86_64", "-accel", "tcg", "-m", memory, "-kernel", kernel, "-initrd", initrd,
		"-append", "console=ttyS0 panic=-1 loglevel=4", "-no-reboot", "-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	check(t, cmd.Start())
	defer time.AfterFunc(2*time.Minute, func() { cmd.Process.Kill() }).Stop()
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
	return out.String()
}
