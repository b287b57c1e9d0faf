package archive

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/list"
)

const (
	sumText  = "982d9e3eb996f559e633f4d194def3761d909f5a3b647d1a851fead67c32c9d1" // of "text"
	sumEmpty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	textID   = " 0100644-0-0-" + sumText
)

// nul ends records as pack wants them.
func nul(lines ...string) string { return strings.Join(lines, "\x00") + "\x00" }

// show is what Go's reader sees in a layer, one entry a line.
func show(t testing.TB, layer []byte) string {
	t.Helper()
	checkBlocks(t, layer)
	var b strings.Builder
	for r := tar.NewReader(bytes.NewReader(layer)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return b.String()
		}
		must(t, err)
		text, err := io.ReadAll(r)
		must(t, err)
		fmt.Fprintf(&b, "%c %s %o %d:%d %d,%d %d>%s<%s\n", h.Typeflag, h.Name, h.Mode, h.Uid, h.Gid, h.Devmajor, h.Devminor,
			h.ModTime.Unix(), h.Linkname, text)
	}
}

// TestLayerKinds packs a line of every kind; what can come from the list alone is not on disk.
func TestLayerKinds(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "f", "text")
	write(t, dir, "suid", "")
	must(t, os.Symlink("text", filepath.Join(dir, "l")))
	layer, err := pack(t, dir, nul(
		". 0040711-1-2-0", "./b 0060660-0-6-0-rdev=8:17", "./c 0020666-0-0-0-rdev=1:3", "./d 0041777-5-5-0", "./d/gone -",
		"./f 0100640-7-3000000-"+sumText, "./g 0100640-7-3000000-"+sumText+"-link=./f", "./gone -", "./l 0120777-0-0-"+sumText,
		"./p 0010600-0-0-0", "./suid 0106755-0-0-"+sumEmpty), func(l *Layer) { l.Time.Epoch = 12 })
	must(t, err)
	want := `4 b 660 0:6 8,17 12><
3 c 666 0:0 1,3 12><
5 d/ 1777 5:5 0,0 12><
0 d/.wh.gone 644 0:0 0,0 12><
0 f 640 7:3000000 0,0 12><text
1 g 640 7:3000000 0,0 12>f<
0 .wh.gone 644 0:0 0,0 12><
2 l 777 0:0 0,0 12>text<
6 p 600 0:0 0,0 12><
0 suid 6755 0:0 0,0 12><
`
	if got := show(t, layer); got != want {
		t.Errorf("\n%s\nwant\n%s", got, want)
	}
	const golden = "7514612e14d4069e"
	if sum := fmt.Sprintf("%x", sha256.Sum256(layer)); !strings.HasPrefix(sum, golden) {
		t.Errorf("the bytes of layers have changed: SHA-256 %s, not %s...", sum, golden)
	}
}

// TestLayerRefuses: lists that make bad layers, and trees that are not what their list says.
func TestLayerRefuses(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "f", "text")
	write(t, dir, "d/f", "text")
	write(t, dir, ".wh.f", "text")
	must(t, os.Symlink("text", filepath.Join(dir, "l")))
	must(t, os.Symlink("d", filepath.Join(dir, "up")))
	must(t, unix.Mkfifo(filepath.Join(dir, "p"), 0o600))
	long := "./" + strings.Repeat("n", 252)
	for records, want := range map[string]string{
		nul("./.wh.f" + textID): `:1: ./.wh.f: names that begin ".wh." are reserved for deletions in layers`,
		nul("./d 0040755-0-0-0", "./d/.wh..wh..opq 0040755-0-0-0"): `:2: ./d/.wh..wh..opq: names that begin ".wh." are reserved for deletions in layers`,
		nul("./.wh.f -"):                                                    `:1: ./.wh.f: names that begin ".wh." are reserved for deletions in layers`,
		nul(". -"):                                                          ":1: .: the root cannot be deleted",
		nul(". 0100644-0-0-" + sumText):                                     ":1: .: the root must be a directory",
		nul(long + " -"):                                                    ":1: " + long + ": with the prefix that deletes it, name is too long",
		nul("./d -", "./d/f"+textID):                                        ":2: ./d/f: lies below a name that the list deletes: ./d",
		nul("./d -", "./d-f 0010600-0-0-0", "./d/f -"):                      ":3: ./d/f: lies below a name that the list deletes: ./d",
		nul("./up 0120777-0-0-"+sumD, "./up/f"+textID):                      ":2: ./up/f: lies below a name that is not a directory: ./up",
		nul("./up/f" + textID):                                              ":1: ./up/f: path goes through a symbolic link",
		nul("./c 0020666-0-0-0-rdev=0:0"):                                   ":1: ./c: character device 0:0 deletes the name where layers are overlaid",
		nul("./c 0020666-0-0-0"):                                            ":1: ./c: device without -rdev=",
		nul("./c 0060666-0-0-0-rdev=0:2097152"):                             ":1: ./c: device number is too large for tar",
		nul("./s 0140666-0-0-0"):                                            ":1: ./s: a socket cannot be in an archive (--skip-sockets leaves it out)",
		nul("./l 0120777-0-0-" + sumText + "-xattr=" + sumEmpty):            ":1: ./l: only files and directories can have -xattr=",
		nul("./p 0010600-0-0-0-xattr=" + sumEmpty):                          ":1: ./p: only files and directories can have -xattr=",
		nul("./f 0100644-0-0-" + sumText + "-xattr=" + sumEmpty[:63] + "0"): ":1: ./f: extended attributes: changed since it was listed",
		nul("./f 0100644-0-0-" + sumEmpty):                                  ":1: ./f: changed since it was listed",
		nul("./l 0120777-0-0-" + sumEmpty):                                  ":1: ./l: changed since it was listed",
		nul("./l" + textID):                                                 ":1: ./l: changed since it was listed: it is a symbolic link now",
		nul("./p" + textID):                                                 ":1: ./p: changed since it was listed: it is a FIFO now",
		nul("./d" + textID):                                                 ":1: ./d: changed since it was listed: it is a directory now",
		nul("./f 0120777-0-0-" + sumText):                                   ":1: ./f: changed since it was listed: it is a regular file now",
		nul("./none" + textID):                                              ":1: ./none: no such file or directory",
		nul("./d 0040755-0-0-0-xattr="+sumText, "./f"+textID):               ":1: ./d: extended attributes: changed since it was listed",
		nul("./f"+textID, "./f"+textID):                                     ":2: ./f: duplicate name",
		nul("./f"+textID, "./d 0040755-0-0-0"):                              ":2: ./d: not in order after ./f: names are sorted with LC_ALL=C sort",
		nul("./d/f"+textID, "./f 0100600-0-0-"+sumText+"-link=./d/f"):       ":2: ./f: is a hard link to a name with another mode, owner or content",
		nul("./d/f"+textID+"-link=./a", "./f"+textID+"-link=./d/f"):         ":2: ./f: is a hard link to a hard link",
	} {
		_, err := pack(t, dir, records)
		want = "<stdin>" + want
		if fmt.Sprint(err) != want {
			t.Errorf("%q:\n%v\nwant\n%s", records, err, want)
		}
	}
}

const sumD = "18ac3e7343f016890c510e93f935261169d9e3f565436429830faf0934f4f8e4" // of "d"

// TestLayerLinks: a link needs its target before it in the same layer; else it is a copy.
func TestLayerLinks(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "b", "c d"} {
		write(t, dir, name, "text")
	}
	for records, want := range map[string]string{
		nul("./a"+textID, "./b"+textID+"-link=./a", "./c d"+textID+"-link=./a"): "0a 1b>a 1c d>a ",
		nul("./b"+textID+"-link=./a", "./c d"+textID+"-link=./a"):               "0b 0c d ",
		nul("./a"+textID+"-link=./b", "./b"+textID):                             "0a 0b ",
		nul("./a"+textID+"-link=./a", "./b"+textID):                             "0a 0b ",
		nul("./a -", "./b"+textID+"-link=./a"):                                  "0.wh.a 0b ",
		nul("./c d"+textID, "./d"+textID+"-link=./c%20d"):                       "0c d 1d>c d ",
		nul("./a 0040755-0-0-0", "./b"+textID+"-link=./a"):                      "5a/ 0b ",
	} {
		layer, err := pack(t, dir, records)
		must(t, err)
		var got strings.Builder
		for r := tar.NewReader(bytes.NewReader(layer)); ; {
			h, err := r.Next()
			if err != nil {
				break
			}
			got.WriteString(strings.TrimSuffix(string(h.Typeflag)+h.Name+">"+h.Linkname, ">") + " ")
		}
		if got.String() != want {
			t.Errorf("%q: %q, not %q", records, got.String(), want)
		}
	}
}

func TestLayerOptions(t *testing.T) {
	dir := t.TempDir()
	path := write(t, dir, "f", "text")
	must(t, os.Chtimes(path, time.Time{}, time.Unix(-2, 5e8)))
	must(t, os.Symlink("text", filepath.Join(dir, "l")))
	records := nul(". 0040700-1-2-0", "./f"+textID, "./none/d 0040755-0-0-0", "./none/s 0140777-0-0-0")
	var warned strings.Builder
	layer, err := pack(t, dir, records, func(l *Layer) {
		l.RootEntry, l.SkipSockets = true, true
		l.Time = Times{Rule: Keep, Epoch: 7}
		l.Warn = func(format string, args ...any) { fmt.Fprintf(&warned, format+"\n", args...) }
	})
	must(t, err)
	got := show(t, layer)
	lines := strings.Split(got, "\n")
	st, err := os.Stat(dir)
	must(t, err)
	want := fmt.Sprintf("5 ./ 700 1:2 0,0 %d><", st.ModTime().Unix())
	if len(lines) != 4 || lines[0] != want || lines[1] != "0 f 644 0:0 0,0 -2><text" || lines[2] != "5 none/d/ 755 0:0 0,0 7><" {
		t.Errorf("%s", got)
	}
	if warned.String() != "./none/s: socket left out\nnames without their directory in the list: 2, first ./none/d: "+
		"engines may give the directories mode 0755 and owner 0:0\n" {
		t.Errorf("%s", warned.String())
	}
}

// All names of a layer can be below a directory, those that hard links lead to as well, but not what symbolic links hold.
func TestLayerPrefix(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "f", "text")
	must(t, os.Link(filepath.Join(dir, "f"), filepath.Join(dir, "g")))
	must(t, os.Symlink("text", filepath.Join(dir, "l")))
	records := nul(". 0040700-1-2-0", "./f"+textID, "./g"+textID+"-link=./f", "./l 0120777-0-0-"+textID[len(" 0100644-0-0-"):])
	layer, err := pack(t, dir, records, func(l *Layer) { l.RootEntry, l.Prefix = true, "rootfs/" })
	must(t, err)
	want := "5 rootfs/ 700 1:2 0,0 0><\n0 rootfs/f 644 0:0 0,0 0><text\n1 rootfs/g 644 0:0 0,0 0>rootfs/f<\n2 rootfs/l 777 0:0 0,0 0>text<\n"
	if got := show(t, layer); got != want {
		t.Errorf("%s, want\n%s", got, want)
	}
}

// TestLayerWhiteouts: a deleted name can be as long as leaves room for the prefix, and as deep as any.
func TestLayerWhiteouts(t *testing.T) {
	long := strings.Repeat("n", 251)
	for name, want := range map[string]string{
		"./" + long: ".wh." + long, "./d/" + long: "d/.wh." + long, "./" + long + "/a": long + "/.wh.a",
		"." + strings.Repeat("/d", 5000): strings.Repeat("d/", 4999) + ".wh.d", "./.w": ".wh..w", "./a b": ".wh.a b",
	} {
		layer, err := pack(t, t.TempDir(), nul(name+" -"))
		must(t, err)
		checkTar(t, layer, []TarEntry{{Name: []byte(want), Kind: tarRegular, Mode: 0o644}})
	}
}

// TestLayerEmpty: an empty list is a layer, of two blocks of zeros.
func TestLayerEmpty(t *testing.T) {
	for _, records := range []string{"", ". 0040755-0-0-0"} {
		layer, err := pack(t, t.TempDir(), records)
		if err != nil || !bytes.Equal(layer, make([]byte, 1024)) {
			t.Errorf("%q: %d bytes, %v", records, len(layer), err)
		}
	}
}

// TestLayerSameBytes: another real owner, mode, time, order on disk and spelling of links' inodes; the same layer.
func TestLayerSameBytes(t *testing.T) {
	records := nul("./a 0100755-0-0-"+sumText, "./b 0040700-9-9-0", "./b/c 0100644-8-8-"+sumEmpty, "./l 0120777-0-0-"+sumText)
	var first []byte
	for i, names := range [][]string{{"a", "b/c"}, {"b/c", "a"}} {
		dir := t.TempDir()
		for _, name := range names {
			text := map[string]string{"a": "text", "b/c": ""}[name]
			path := write(t, dir, name, text)
			must(t, os.Chmod(path, 0o600+os.FileMode(i*0o44)))
			must(t, os.Chtimes(path, time.Time{}, time.Unix(int64(i)*1e9, 3)))
		}
		must(t, os.Symlink("text", filepath.Join(dir, "l")))
		if os.Getuid() == 0 {
			must(t, os.Chown(filepath.Join(dir, "a"), 1000+i, 1000+i))
		}
		layer, err := pack(t, dir, records)
		must(t, err)
		if first == nil {
			first = layer
		}
		if !bytes.Equal(first, layer) {
			t.Error("another layer")
		}
	}
}

// TestLayerWriteError: an error of the output ends the layer and is told as it is.
func TestLayerWriteError(t *testing.T) {
	full := errors.New("full")
	in, err := list.Open("-", strings.NewReader("./d 0040755-0-0-0\n"), false)
	must(t, err)
	l := Layer{List: in, Source: openDir(t, t.TempDir()), Warn: t.Errorf}
	if err := l.Write(&limited{err: full}); err != full {
		t.Error(err)
	}
}

func TestEpoch(t *testing.T) {
	for text, want := range map[string]string{
		"": "0 false <nil>", "0": "0 true <nil>", "1700000000": "1700000000 true <nil>",
		"253402300799": "253402300799 true <nil>", "253402300800": "year", "9223372036854775807": "year",
		"9223372036854775808": "error", "-1": "error", "+1": "error", " 1": "error",
		"1.5": "error", "0x10": "error", "1_000": "error", "now": "error", "1\n": "error",
	} {
		t.Setenv("SOURCE_DATE_EPOCH", text)
		n, set, err := Epoch()
		got := fmt.Sprint(n, set, err)
		if err != nil && err.Error() == "SOURCE_DATE_EPOCH: beyond the year 9999" {
			got = "year"
		} else if err != nil {
			got = "error"
			if want := fmt.Sprintf("SOURCE_DATE_EPOCH: %q is not a number of seconds", text); err.Error() != want {
				t.Error(err)
			}
		}
		if got != want {
			t.Errorf("%q: %s", text, got)
		}
	}
}

func TestTimes(t *testing.T) {
	for _, c := range []struct {
		rule, epoch string
		file, want  int64
	}{
		{"epoch", "", 500, 0}, {"epoch", "100", 500, 100}, {"clamp", "100", 500, 100}, {"clamp", "100", 50, 50},
		{"clamp", "100", -50, -50}, {"keep", "", 500, 500}, {"keep", "100", 500, 500}, {"keep", "", -1, -1},
	} {
		t.Setenv("SOURCE_DATE_EPOCH", c.epoch)
		times, err := NewTimes(c.rule)
		must(t, err)
		if got := times.of(&Stat{Sec: c.file, Nsec: 999999999}); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
	t.Setenv("SOURCE_DATE_EPOCH", "")
	if _, err := NewTimes("clamp"); err == nil {
		t.Error("clamp without a time")
	}
}
