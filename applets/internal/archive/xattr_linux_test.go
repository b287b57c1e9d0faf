package archive

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// attributed makes a file and a directory with attributes, where the file system can.
func attributed(t *testing.T, attrs map[string]string) (dir string) {
	dir = t.TempDir()
	write(t, dir, "f", "text")
	must(t, os.Mkdir(filepath.Join(dir, "d"), 0o755))
	for _, name := range []string{"f", "d"} {
		for attr, value := range attrs {
			err := unix.Lsetxattr(filepath.Join(dir, name), attr, []byte(value), 0)
			if errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.E2BIG) {
				t.Skipf("the file system has no room for %s: %v", attr, err)
			}
			must(t, err)
		}
	}
	return dir
}

func TestXattrsOfFiles(t *testing.T) {
	for name, attrs := range map[string]map[string]string{
		"some":      {"user.b": "1\x00\n", "user.a": "2", "user.empty": ""},
		"odd names": {"user.a=b": "1", "user.\xff \n": "2"},
		"long":      {"user.long": strings.Repeat("v", 3000)},
		"many":      {"user." + strings.Repeat("a", 200): "1", "user." + strings.Repeat("b", 200): "2"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := attributed(t, attrs)
			d := openDir(t, dir)
			ofDir, err := d.Xattrs([]byte("./d"))
			must(t, err)
			st, err := d.Stat([]byte("./f"))
			must(t, err)
			f, err := d.Open([]byte("./f"), st)
			must(t, err)
			defer f.Close()
			ofFile, err := f.Xattrs()
			must(t, err)
			at, base, err := d.at([]byte("./f"))
			must(t, err)
			byPath, err := SelectXattrs(pathXattrs(at.fd, string(base)))
			must(t, err)
			delete(attrs, "user.empty")
			for _, got := range [][]Xattr{ofDir, ofFile, byPath} {
				if len(got) != len(attrs) {
					t.Errorf("%d attributes, not %d", len(got), len(attrs))
				}
				for _, a := range got {
					if string(a.Value) != attrs[a.Name] {
						t.Errorf("%q: %q", a.Name, a.Value)
					}
				}
			}
		})
	}
}

// TestXattrsPacked: a list and its layer hold the same attributes, and the layer proves them.
func TestXattrsPacked(t *testing.T) {
	dir := attributed(t, map[string]string{"user.b": "two", "user.a": "1\x00\n="})
	records := identifyDir(t, dir)
	want := XattrDigest([]Xattr{{"user.a", []byte("1\x00\n=")}, {"user.b", []byte("two")}})
	if n := strings.Count(records, fmt.Sprintf("-xattr=%x\x00", want)); n != 2 {
		t.Fatalf("%q", records)
	}
	layer, err := pack(t, dir, records)
	must(t, err)
	attrs := []Xattr{{"user.a", []byte("1\x00\n=")}, {"user.b", []byte("two")}}
	id := TarEntry{UID: uint32(os.Getuid()), GID: uint32(os.Getgid()), Xattrs: attrs}
	d, f := id, id
	d.Name, d.Kind, d.Mode = []byte("d/"), tarDirectory, 0o755
	f.Name, f.Kind, f.Mode, f.Size = []byte("f"), tarRegular, 0o644, 4
	checkTar(t, layer, []TarEntry{d, f})
	must(t, unix.Lsetxattr(filepath.Join(dir, "f"), "user.a", []byte("other"), 0))
	if _, err := pack(t, dir, records); !errors.Is(err, ErrChanged) {
		t.Errorf("attribute changed: %v", err)
	}
	must(t, unix.Lremovexattr(filepath.Join(dir, "f"), "user.a"))
	if _, err := pack(t, dir, records); !errors.Is(err, ErrChanged) {
		t.Errorf("attribute gone: %v", err)
	}
}

// TestXattrsRefused: a name with "=" can be listed but not packed, because pax records cannot hold it.
func TestXattrsRefused(t *testing.T) {
	dir := attributed(t, map[string]string{"user.a=b": "1"})
	if _, err := pack(t, dir, identifyDir(t, dir)); !errors.Is(err, errXattrName) {
		t.Error(err)
	}
}

// TestInitrdWarns: what an initrd cannot hold is left out with a word.
func TestInitrdWarns(t *testing.T) {
	dir := attributed(t, map[string]string{"user.a": "1"})
	must(t, unix.Mknod(filepath.Join(dir, "s"), unix.S_IFSOCK|0o600, 0))
	var told []string
	got, err := packInitrd(t, dir, identifyDir(t, dir), func(i *Initrd) {
		i.SkipSockets = true
		i.Warn = func(format string, args ...any) { told = append(told, fmt.Sprintf(format, args...)) }
	})
	must(t, err)
	want := []string{"./s: socket left out", "names whose extended attributes an initrd cannot hold: 2, first ./d"}
	if !slices.Equal(told, want) || len(readNewc(t, got)) != 3 {
		t.Errorf("told %q, packed\n%s", told, showNewc(t, got))
	}
}

// TestXattrsOfHost: what the host keeps of a file is no attribute of it.
func TestXattrsOfHost(t *testing.T) {
	d := openDir(t, attributed(t, map[string]string{"user.overlay.opaque": "y", "user.a": "1"}))
	got, err := d.Xattrs([]byte("./d"))
	if err != nil || len(got) != 1 || got[0].Name != "user.a" {
		t.Errorf("%v, %v", got, err)
	}
}

// TestSized: values of every size up to the kernel's limit, and what it says of those that are not there.
func TestSized(t *testing.T) {
	for _, size := range []int{0, 1, 127, 128, 129, 4096, 64 << 10} {
		got, err := sized(func(buf []byte) (int, error) {
			if len(buf) < size {
				return 0, unix.ERANGE
			}
			return copy(buf, letters(size)), nil
		})
		if string(got) != string(letters(size)) || err != nil {
			t.Errorf("%d bytes: %d, %v", size, len(got), err)
		}
	}
	for said, want := range map[error]error{unix.ENODATA: nil, unix.ENOTSUP: nil, unix.ERANGE: unix.ERANGE, unix.EIO: unix.EIO} {
		if got, err := sized(func([]byte) (int, error) { return 0, said }); got != nil || err != want {
			t.Errorf("%v: %v", said, err)
		}
	}
}
