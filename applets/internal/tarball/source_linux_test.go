package tarball

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ctbox/ctbox/applets/internal/archive"
)

func sh(t testing.TB, dir, script string) {
	t.Helper()
	cmd := exec.Command("sh", "-euc", script)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// identify is the list of a source whose names walk brings.
func identify(t *testing.T, src archive.Source, walk func(func([]byte) error) error) string {
	t.Helper()
	var out bytes.Buffer
	x := archive.Identify{
		Open:  func() (archive.Source, error) { return src, nil },
		Write: func(p []byte) error { out.Write(p); return nil },
		Fail:  func(err error) { t.Error(err) },
	}
	must(t, x.Run(walk))
	return out.String()
}

func listOfTar(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	src, err := Open(f)
	must(t, err)
	defer src.Close()
	return identify(t, keep{src}, src.Walk)
}

// keep is a source that its users do not close.
type keep struct{ archive.Source }

func (keep) Close() error { return nil }

func listOfDir(t *testing.T, path string) string {
	t.Helper()
	d, err := archive.OpenDir(path)
	must(t, err)
	defer d.Close()
	return identify(t, keep{d}, func(each func([]byte) error) error {
		return d.Walk(false, each, func(err error) { t.Error(err) })
	})
}

const makeTree = `
mkdir -p tree/d/e tree/long
echo text >tree/a
ln tree/a tree/d/hard
ln -s a tree/soft
ln -s ` + long + ` tree/longlink
printf x >"tree/long/` + long + `"
mkdir "tree/long/d` + long + `"
printf y >"tree/long/d` + long + `/` + long + `"
mkfifo tree/fifo
truncate -s 1M tree/sparse; printf data | dd of=tree/sparse bs=1 seek=300000 conv=notrunc status=none
truncate -s 5M tree/many; for i in $(seq 0 40); do printf $i | dd of=tree/many bs=1 seek=${i}00000 conv=notrunc status=none; done
truncate -s 100K tree/holes
echo suid >tree/suid; chmod 4755 tree/suid; chmod 1777 tree/d
`

const long = "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"

// What is listed of a tar is what is listed of the tree that it was made of, whoever made it.
func TestSameAsTree(t *testing.T) {
	dir := t.TempDir()
	sh(t, dir, makeTree)
	if os.Geteuid() == 0 {
		sh(t, dir, `mknod tree/null c 1 3; mknod tree/block b 7 300; chown 123:3000000 tree/a; setfattr -n user.x -v y tree/a || :`)
	}
	want := listOfDir(t, filepath.Join(dir, "tree"))
	for _, how := range []string{
		"tar -C tree --format=gnu -cf out.tar .",
		"tar -C tree --format=gnu -S -cf out.tar .",
		"tar -C tree --format=posix --xattrs -cf out.tar .",
		"tar -C tree --format=posix -S --sparse-version=0.0 --xattrs -cf out.tar .",
		"tar -C tree --format=posix -S --sparse-version=0.1 --xattrs -cf out.tar .",
		"tar -C tree --format=posix -S --sparse-version=1.0 --xattrs -cf out.tar .",
		"tar -C tree --format=gnu -zcf out.tar .",
		"tar -C tree --format=gnu -Jcf out.tar .",
		"tar -C tree --format=gnu -jcf out.tar .",
		"tar -C tree --format=gnu --zstd -cf out.tar .",
		"cd tree && ls -A | tar --format=gnu -cf ../out.tar -T -",
		"bsdtar -C tree --format=pax -cf out.tar .",
		"bsdtar -C tree --format=gnutar -cf out.tar .",
	} {
		sh(t, dir, how)
		got := listOfTar(t, filepath.Join(dir, "out.tar"))
		if !strings.Contains(how, "attrs") && !strings.HasPrefix(how, "bsdtar -C tree --format=pax") {
			got, want := withoutAttrs(got), withoutAttrs(want)
			compare(t, how, got, want)
			continue
		}
		compare(t, how, got, want)
	}
}

func withoutAttrs(list string) string {
	lines := strings.SplitAfter(list, "\n")
	for i, l := range lines {
		if at := strings.Index(l, "-xattr="); at >= 0 {
			lines[i] = l[:at] + l[at+len("-xattr=")+64:]
		}
	}
	return strings.Join(lines, "")
}

func compare(t *testing.T, how, got, want string) {
	t.Helper()
	if got == want {
		return
	}
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range g {
		if i >= len(w) || g[i] != w[i] {
			t.Errorf("%s: %.300s\nwant %.300s", how, g[i], w[min(i, len(w)-1)])
			return
		}
	}
	t.Errorf("%s: lines are missing: %d of %d", how, len(w)-len(g), len(w))
}
