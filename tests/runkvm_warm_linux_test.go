package tests

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// testGuestWarm: a guest that starts from a snapshot has the files, the environment and the mounts of one that boots, but the
// time and random numbers of its own.
func testGuestWarm(t *testing.T, _ string) {
	requireTool(t, "cpio")
	requireRoot(t)
	b := newBench(t)
	threeTrees(b)
	b.run("cp", probe(t), "tree/init")
	b.run("find", "tree", "-exec", "touch", "-h", "-d", "2001-02-03 04:05:06.789", "{}", "+")
	b.run("touch", "-d", "1999-12-31", "tree/usr/bin", "tree")
	b.run("sh", "-c", "(cd tree && find . | LC_ALL=C sort | cpio --quiet -oH newc >../a; echo ./modified | cpio --quiet -oH newc | gzip >../b); cat a b >initrd")
	for _, what := range []string{"files", "show"} {
		cold, _, status := outcome(t, runkvm(t, "--cold", b.path("initrd"), "/init", what))
		warm, errs, warmStatus := outcome(t, runkvm(t, b.path("initrd"), "/init", what))
		if status != 0 || warmStatus != 0 || len(cold) < 500 || !equalText(t, what, asBooted(warm), asBooted(cold)) {
			t.Errorf("statuses %d and %d, %s", status, warmStatus, errs)
		}
	}
	now := regexp.MustCompile(`^([0-9a-f]{32}) (\d+)\n$`)
	seen := map[string]bool{}
	for range 3 {
		start := time.Now().Unix()
		out, _, _ := outcome(t, runkvm(t, b.path("initrd"), "/init", "now"))
		m := now.FindStringSubmatch(out)
		var got int64
		if m != nil {
			fmt.Sscan(m[2], &got)
		}
		if m == nil || seen[m[1]] || got < start || got > time.Now().Unix() {
			t.Errorf("%q is not of now, or again", out)
			continue
		}
		seen[m[1]] = true
	}
}

// asBooted takes out what differs: the root's mount is init's and not the kernel's, and the size of devtmpfs is that of the
// memory which was free when it was mounted.
func asBooted(text string) string {
	text = strings.Replace(text, "\nrootfs / ramfs rw,relatime 0 0\n", "\nrootfs / rootfs rw 0 0\n", 1)
	return regexp.MustCompile(` devtmpfs (\S*)size=\d+k,nr_inodes=\d+,`).ReplaceAllString(text, " devtmpfs $1")
}

// equalText compares line by line.
func equalText(t *testing.T, what, got, want string) bool {
	t.Helper()
	if got == want {
		return true
	}
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	shown := 0
	for i := range max(len(g), len(w)) {
		var a, b string
		if i < len(g) {
			a = g[i]
		}
		if i < len(w) {
			b = w[i]
		}
		if a != b && shown < 10 {
			shown++
			t.Errorf("%s:\n%s\nbooted:\n%s", what, a, b)
		}
	}
	return false
}

// snapshotIn is the path of the one snapshot in a cache.
func snapshotIn(t *testing.T, cache string) string {
	t.Helper()
	var found []string
	check(t, filepath.WalkDir(cache, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		start := make([]byte, 14)
		if f.Read(start); string(start) == "ctbox snapshot" {
			found = append(found, path)
		}
		return nil
	}))
	if len(found) != 1 {
		t.Fatalf("%d snapshots in the cache", len(found))
	}
	return found[0]
}

// testGuestSnapshots: a snapshot that is not whole is thrown away, and made anew by the next run.
func testGuestSnapshots(t *testing.T, initrd string) {
	cache := t.TempDir()
	hello := func() {
		t.Helper()
		expect(t, runkvmIn(t, cache, "--accel=tcg", initrd), "hello\n", "log\n", 0)
	}
	hello()
	path := snapshotIn(t, cache)
	good, err := os.ReadFile(path)
	check(t, err)
	if len(good) > 160<<20 {
		t.Errorf("a snapshot of %d MiB", len(good)>>20)
	}
	flip := func(at int) []byte { b := bytes.Clone(good); b[at] ^= 0x10; return b }
	for name, bad := range map[string][]byte{
		"empty":         {},
		"cut in RAM":    good[:len(good)/2],
		"other version": flip(15),
		"other token":   flip(20),
		"other RAM":     flip(len(good) / 2),
		"other state":   flip(len(good) - 1000),
	} {
		check(t, os.WriteFile(path, bad, 0o600))
		hello()
		if again, err := os.ReadFile(path); err == nil && bytes.Equal(again, bad) {
			t.Errorf("%s: it is still there", name)
		}
	}
	hello()
	if again := snapshotIn(t, cache); again != path {
		t.Errorf("the new one is %s, not %s", again, path)
	}
	hello()
	check(t, os.Remove(path))
	check(t, os.Mkdir(path, 0o700))
	hello()
}
