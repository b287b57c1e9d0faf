package archive

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/list"
)

// packInitrd makes an initrd of records that end in NUL.
func packInitrd(t testing.TB, dir, records string, options ...func(*Initrd)) ([]byte, error) {
	t.Helper()
	in, err := list.Open("-", strings.NewReader(records), true)
	must(t, err)
	defer in.Close()
	i := Initrd{List: in, Source: openDir(t, dir), Warn: func(string, ...any) {}}
	for _, set := range options {
		set(&i)
	}
	var out bytes.Buffer
	err = i.Write(&out)
	return out.Bytes(), err
}

// showNewc is what is in an initrd, one entry a line.
func showNewc(t testing.TB, b []byte) string {
	t.Helper()
	var s strings.Builder
	for _, e := range readNewc(t, b) {
		fmt.Fprintf(&s, "%d %s %o*%d %d:%d %d,%d %d>%s\n", e.Ino, e.Name, e.Mode, e.Nlink, e.UID, e.GID, e.Major, e.Minor, e.Time, e.content)
	}
	return s.String()
}

// TestInitrdKinds packs a line of every kind; what can come from the list alone is not on disk.
func TestInitrdKinds(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "f", "text")
	write(t, dir, "suid", "")
	must(t, os.Symlink("text", filepath.Join(dir, "l")))
	got, err := packInitrd(t, dir, nul(
		". 0040711-1-2-0", "./.wh.a 0010600-0-0-0", "./b 0060660-0-6-0-rdev=8:17", "./c 0020666-0-0-0-rdev=0:0", "./d 0041777-5-5-0",
		"./d-x 0010600-0-0-0", "./d/TRAILER!!! 0010600-0-0-0", "./f 0100640-7-3000000-"+sumText,
		"./g 0100640-7-3000000-"+sumText+"-link=./f", "./l 0120777-0-0-"+sumText, "./suid 0106755-0-0-"+sumEmpty),
		func(i *Initrd) { i.Time.Epoch = 12 })
	must(t, err)
	want := `1 . 40711*2 1:2 0,0 12>
2 .wh.a 10600*1 0:0 0,0 12>
3 b 60660*1 0:6 8,17 12>
4 c 20666*1 0:0 0,0 12>
5 d 41777*2 5:5 0,0 12>
6 d-x 10600*1 0:0 0,0 12>
7 d/TRAILER!!! 10600*1 0:0 0,0 12>
8 f 100640*2 7:3000000 0,0 12>text
8 g 100640*2 7:3000000 0,0 12>
9 l 120777*1 0:0 0,0 12>text
10 suid 106755*1 0:0 0,0 12>
`
	if got := showNewc(t, got); got != want {
		t.Errorf("\n%s\nwant\n%s", got, want)
	}
}

// TestInitrdRefuses what a layer can have and an initrd cannot; tests/mkinitrd/errors.txtar has more.
func TestInitrdRefuses(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "f", "text")
	must(t, os.Symlink(strings.Repeat("x", 4095), filepath.Join(dir, "l")))
	deep := "." + strings.Repeat("/d", 2049)
	var parents []string
	for n := 3; n <= len(deep); n += 2 {
		parents = append(parents, deep[:n]+" 0040755-0-0-0")
	}
	for records, want := range map[string]string{
		"":                               "the list is empty (--allow-empty makes an empty initrd)",
		nul("./a -"):                     "<stdin>:1: ./a: an initrd cannot delete names",
		nul("./a/b -"):                   "<stdin>:1: ./a/b: an initrd cannot delete names",
		nul("./dev 0120777-0-0-" + sumD): "<stdin>:1: ./dev: must be a directory: the kernel has one there, which this would not replace",
		nul("./x 0040755-0-0-0", "./z"):  "<stdin>:2: ./z: no ID",
		nul("./x/y 0010600-0-0-0"):       "<stdin>:1: ./x/y: its directory ./x is not in the list: the kernel would leave it out",
		nul("./x 0010600-0-0-0", "./x/y 0010600-0-0-0"):           "<stdin>:2: ./x/y: lies below a name that is not a directory: ./x",
		nul(". 0010600-0-0-0"):                                    "<stdin>:1: .: " + errRootType.Error(),
		nul("./c 0020600-0-0-0"):                                  "<stdin>:1: ./c: " + errNoNumber.Error(),
		nul("./s 0140600-0-0-0"):                                  "<stdin>:1: ./s: " + errSocket.Error(),
		nul("./none" + textID):                                    "<stdin>:1: ./none: no such file or directory",
		nul("./l 0120777-0-0-" + sumD):                            "<stdin>:1: ./l: changed since it was listed",
		nul("./dev 0040755-0-0-0", "./dev/console 0010600-0-0-0"): "<stdin>:2: ./dev/console: " + errConsole.Error(),
		nul(parents...):                                           fmt.Sprintf("<stdin>:2049: %s: %v", list.Quote(deep), errNewcName),
		nul("./f"+textID, "./g"+textID+"-link=./f", "./h 0100600-0-0-"+sumText+"-link=./f"): "<stdin>:3: ./h: is a hard link to a name with another mode, owner or content",
	} {
		if _, err := packInitrd(t, dir, records); fmt.Sprint(err) != want {
			t.Errorf("%.60q:\n%.200v\nwant\n%.200s", records, err, want)
		}
	}
	if _, err := packInitrd(t, dir, nul(parents[:2048]...)); err != nil {
		t.Error(err)
	}
	late := func(i *Initrd) { i.Time = Times{Rule: Fixed, Epoch: newcMaxTime + 1} }
	if _, err := packInitrd(t, dir, nul("./f"+textID), late); !errors.Is(err, errNewcTime) {
		t.Errorf("after 2106: %v", err)
	}
}

// TestInitrdLinks: names of a group that are in the list have one inode and the right count; others are copies.
func TestInitrdLinks(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "b", "c d", "e"} {
		write(t, dir, name, "text")
	}
	for records, want := range map[string]string{
		nul("./a"+textID, "./b"+textID+"-link=./a", "./c d"+textID+"-link=./a"):                             "a1*3=text b1*3= c d1*3= ",
		nul("./b"+textID+"-link=./a", "./c d"+textID+"-link=./a"):                                           "b1*1=text c d2*1=text ",
		nul("./a"+textID+"-link=./b", "./b"+textID):                                                         "a1*1=text b2*1=text ",
		nul("./a"+textID+"-link=./a", "./b"+textID):                                                         "a1*1=text b2*1=text ",
		nul("./a"+textID+"-link=./b", "./b"+textID, "./c d"+textID+"-link=./b"):                             "a1*1=text b2*2=text c d2*2= ",
		nul("./c d"+textID, "./d"+textID+"-link=./c%20d"):                                                   "c d1*2=text d1*2= ",
		nul("./a 0040755-0-0-0", "./b"+textID+"-link=./a"):                                                  "a1*2= b2*1=text ",
		nul("./a"+textID, "./b"+textID, "./c d"+textID+"-link=./a", "./e"+textID, "./f"+textID+"-link=./b"): "a1*2=text b2*2=text c d1*2= e3*1=text f2*2= ",
	} {
		got, err := packInitrd(t, dir, records)
		must(t, err)
		var s strings.Builder
		for _, e := range readNewc(t, got) {
			fmt.Fprintf(&s, "%s%d*%d=%s ", e.Name, e.Ino, e.Nlink, e.content)
		}
		if s.String() != want {
			t.Errorf("%q: %q, not %q", records, s.String(), want)
		}
	}
}

// TestInitrdTimes: those of --mtime, also for what may be missing on disk.
func TestInitrdTimes(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Chtimes(write(t, dir, "f", "text"), time.Time{}, time.Unix(1<<32-1, 5e8)))
	records := nul("./f"+textID, "./none 0040755-0-0-0")
	for rule, want := range map[TimeRule]string{Fixed: "7 7 ", Clamp: "7 7 ", Keep: "4294967295 7 "} {
		got, err := packInitrd(t, dir, records, func(i *Initrd) { i.Time = Times{rule, 7} })
		must(t, err)
		var s strings.Builder
		for _, e := range readNewc(t, got) {
			fmt.Fprint(&s, e.Time, " ")
		}
		if s.String() != want {
			t.Errorf("rule %d: %s", rule, s.String())
		}
	}
}

// TestInitrdInit: the added program is at its place in the order of names, wherever that is.
func TestInitrdInit(t *testing.T) {
	dir := t.TempDir()
	path := write(t, dir, "program", string([]byte("\x7fELF\x02\x01\x01"))+strings.Repeat("\x00", 100))
	must(t, os.Chmod(path, 0o700))
	for records, want := range map[string]string{
		"": "rdinit ", nul("./a 0040755-0-0-0"): "a rdinit ", nul("./s 0040755-0-0-0"): "rdinit s ",
		nul("./rdini 0040755-0-0-0", "./rdinit-x 0040755-0-0-0"): "rdini rdinit rdinit-x ",
	} {
		f, err := OpenInit(path)
		must(t, err)
		got, err := packInitrd(t, dir, records, func(i *Initrd) { i.Init, i.AllowEmpty, i.Time.Epoch = f, true, 9 })
		must(t, err)
		var s strings.Builder
		for _, e := range readNewc(t, got) {
			s.WriteString(string(e.Name) + " ")
			if string(e.Name) == "rdinit" && (e.Mode != 0o100755 || e.UID != 0 || e.Time != 9 || e.Size != 107) {
				t.Errorf("%+v", e)
			}
		}
		if s.String() != want {
			t.Errorf("%q: %s", records, s.String())
		}
		f.Close()
	}
}

// TestInitRefused: what could not start in the guest, with all that its first line asks for, is not added.
func TestInitRefused(t *testing.T) {
	dir := t.TempDir()
	const elf = "\x7fELF\x02\x01\x01"
	for name, content := range map[string]string{
		"sh": elf + strings.Repeat("\x00", 100), "plain": "x", "script": "#!/sh -e\n", "lost": "#!/none\n", "gone": "#!/sh\n",
		"s1": "#!/s2\n", "s2": "#!/s3\n", "s3": "#!/s4\n", "s4": "#!/s5\n", "s5": "#!/s6\n", "s6": "#!/sh\n",
		"cut": elf + "\x00", "long": elf + strings.Repeat("\xff", 64<<10), "sub/sh": elf + strings.Repeat("\x00", 100),
	} {
		must(t, os.Chmod(write(t, dir, name, content), 0o755))
	}
	must(t, os.Chmod(filepath.Join(dir, "plain"), 0o644))
	must(t, os.Symlink("sub", filepath.Join(dir, "link")))
	records := identifyDir(t, dir)
	must(t, os.Remove(filepath.Join(dir, "gone")))
	must(t, os.Remove(filepath.Join(dir, "link")))
	start := func(line string, source func(Source) Source) error {
		path := write(t, t.TempDir(), "init", line)
		must(t, os.Chmod(path, 0o755))
		f, err := OpenInit(path)
		must(t, err)
		defer f.Close()
		in, err := list.Open("-", strings.NewReader(records), true)
		must(t, err)
		defer in.Close()
		i := Initrd{List: in, Source: source(openDir(t, dir)), Init: f}
		return i.Write(new(bytes.Buffer))
	}
	same := func(s Source) Source { return s }
	for line, want := range map[string]string{
		"#!/none\n":    "its interpreter /none: not in the list",
		"#!/plain\n":   "its interpreter /plain: may not be executed",
		"#!/sub\n":     "its interpreter /sub: may not be executed",
		"#!/lost\n":    "its interpreter /lost: its interpreter /none: not in the list",
		"#!/gone\n":    "its interpreter /gone: no such file or directory",
		"#!/link/sh\n": "its interpreter /link/sh: no such file or directory",
		"#!/s1\n": "its interpreter /s1: its interpreter /s2: its interpreter /s3: its interpreter /s4: its interpreter /s5: " +
			"its interpreter /s6: too many interpreters, each the script of the next",
		"neither": "",
	} {
		err := start(line, same)
		if text := fmt.Sprint(err); !strings.Contains(text, "cannot be the guest's init: ") || !strings.HasSuffix(text, want) {
			t.Errorf("%q: %v\nwant %s", line, err, want)
		}
	}
	// With these the packing begins, and then misses what is gone.
	for _, line := range []string{elf + strings.Repeat("\x00", 100), "#!/sh\n", "#!/script\n", "#!/long\n", "#!/s3\n"} {
		if err := start(line, same); err == nil || !strings.Contains(err.Error(), ": ./gone: ") {
			t.Errorf("%q: %v", line, err)
		}
	}
	for name, bad := range map[string]fault{"open": {open: unix.EIO}, "read": {read: unix.EIO}} {
		if err := start("#!/sh\n", func(s Source) Source { bad.Dir = s.(*Dir); return bad }); !errors.Is(err, unix.EIO) {
			t.Errorf("%s: %v", name, err)
		}
	}
	records = nul("./a 0010600-0-0-0", "./b")
	if err := start("#!/sh\n", same); err == nil || !strings.HasSuffix(err.Error(), "<stdin>:2: ./b: no ID") {
		t.Error(err)
	}
	records = nul("./rdinit" + textID)
	if err := start(elf+strings.Repeat("\x00", 100), same); !errors.Is(err, errTwoInits) {
		t.Error(err)
	}
}

// TestOpenInit takes programs only.
func TestOpenInit(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "plain", "x")
	must(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o755))
	for name, want := range map[string]string{
		"": ": not a regular file", "fifo": "/fifo: not a regular file", "plain": "/plain: may not be executed", "none": "no such file or directory",
	} {
		if _, err := OpenInit(filepath.Join(dir, name)); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// TestFollow finds programs in the guest through links that only the list and its source know.
func TestFollow(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "usr/bin/sh", "text")
	for name, target := range map[string]string{
		"bin": "usr/bin", "abs": "/usr/bin", "usr/up": "../bin/sh", "loop": "loop", "usr/bin/dot": ".//./sh", "out": "../../../usr",
	} {
		must(t, os.Symlink(target, filepath.Join(dir, name)))
	}
	in, err := list.Open("-", strings.NewReader(identifyDir(t, dir)), true)
	must(t, err)
	defer in.Close()
	i := Initrd{List: in, Source: openDir(t, dir)}
	for path, want := range map[string]string{
		"/usr/bin/sh": "./usr/bin/sh", "/bin/sh": "./usr/bin/sh", "bin/sh": "./usr/bin/sh", "/abs/dot": "./usr/bin/sh",
		"/usr/up": "./usr/bin/sh", "/usr/bin": "./usr/bin", "/out/bin/sh": "./usr/bin/sh", "//usr/./bin/sh": "./usr/bin/sh",
		"/none": "", "/usr/bin/sh/x": "", "/bin/none": "", "/loop": "", "/loop/x": "", "/": "", "/usr/bin/s": "",
	} {
		rec, err := i.follow(path)
		got := ""
		if err == nil {
			got = string(rec.Name)
		}
		if got != want {
			t.Errorf("%s leads to %q, %v", path, got, err)
		}
	}
}
