package fakeroot

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ctbox/ctbox/applets/internal/archive"
	"github.com/ctbox/ctbox/applets/internal/list"
)

// A world is a save file and what happens around it: times are seconds after it was written.
type world struct {
	*state
	warnings []string
	born     int64
	bornOK   bool
}

func newWorld(t *testing.T, save string) *world {
	t.Helper()
	path := filepath.Join(t.TempDir(), "st")
	if err := os.WriteFile(path, []byte(save), 0o644); err != nil {
		t.Fatal(err)
	}
	w := &world{}
	s, err := open(path, Context{
		Born: func([]byte) (int64, int64, bool) { return w.sec + w.born, w.nsec, w.bornOK },
		Warn: func(err error) { w.warnings = append(w.warnings, err.Error()) },
	})
	if err != nil {
		t.Fatal(err)
	}
	w.state = s
	return w
}

// ask is what the list says of a file that the disk has as st, whose inode changed so many seconds after the save.
func (w *world) ask(t *testing.T, st archive.Stat, changed int64) string {
	t.Helper()
	st.UID, st.GID, st.CSec, st.CNsec = 1000, 1000, w.sec+changed, w.nsec
	if err := w.Fake([]byte("./f"), &st); err != nil {
		t.Fatal(err)
	}
	out := fmt.Sprintf("%o %d:%d", st.Mode, st.UID, st.GID)
	if st.Major != 0 || st.Minor != 0 {
		out += fmt.Sprintf(" %d,%d", st.Major, st.Minor)
	}
	return out
}

const states = "dev=1,ino=1,mode=104755,uid=33,gid=44,nlink=1,rdev=0\n" +
	"dev=1,ino=2,mode=42755,uid=33,gid=44,nlink=2,rdev=0\n" +
	"dev=1,ino=3,mode=120777,uid=33,gid=44,nlink=1,rdev=0\n" +
	"dev=1,ino=4,mode=20666,uid=0,gid=5,nlink=1,rdev=259\n" +
	"dev=1,ino=5,mode=60660,uid=0,gid=6,nlink=1,rdev=1793\n" +
	"dev=1,ino=6,mode=10600,uid=7,gid=0,nlink=1,rdev=0\n" +
	"dev=1,ino=7,mode=140600,uid=8,gid=0,nlink=1,rdev=0\n"

// TestFake: an entry counts where the file on disk can be what fakeroot made of it, and else the file is root's.
func TestFake(t *testing.T) {
	reg := func(ino uint64, size int64) archive.Stat {
		return archive.Stat{Dev: 1, Ino: ino, Mode: list.Regular | 0o644, Nlink: 1, Size: size}
	}
	of := func(ino uint64, mode uint32) archive.Stat {
		return archive.Stat{Dev: 1, Ino: ino, Mode: mode, Nlink: 1}
	}
	device := of(4, list.CharDevice|0o600)
	device.Major, device.Minor = 1, 3
	other := device
	other.Minor = 5
	for i, c := range []struct {
		st   archive.Stat
		want string
		warn bool
	}{
		{reg(1, 10), "104755 33:44", false},
		{of(2, list.Directory|0o755), "42755 33:44", false},
		{of(3, list.Symlink|0o777), "120777 33:44", false},
		{reg(4, 0), "20666 0:5 1,3", false},
		{reg(5, 0), "60660 0:6 7,1", false},
		{reg(6, 0), "10600 7:0", false},
		{of(6, list.FIFO|0o644), "10600 7:0", false},
		{reg(7, 0), "140600 8:0", false},
		{device, "20666 0:5 1,3", false},
		{reg(99, 0), "100644 0:0", false}, // root's, as all that fakeroot has not heard of
		{archive.Stat{Dev: 2, Ino: 1, Mode: list.Directory | 0o755}, "40755 0:0", false},
		{other, "20600 0:0 1,5", true},
		{reg(4, 1), "100644 0:0", true}, // somebody wrote to it
		{reg(2, 0), "100644 0:0", true},
		{reg(3, 0), "100644 0:0", true},
		{of(1, list.Directory|0o755), "40755 0:0", true},
		{of(1, list.Symlink|0o777), "120777 0:0", true},
		{of(6, list.Socket|0o644), "140644 0:0", true},
		{of(4, list.BlockDevice|0o644), "60644 0:0", true},
	} {
		w := newWorld(t, states)
		if got := w.ask(t, c.st, -1); got != c.want || (len(w.warnings) == 1) != c.warn {
			t.Errorf("%d: %s; want %s; %q", i, got, c.want, w.warnings)
		}
	}
}

// TestStale: inode numbers are used again. What changed after the save is looked at: when it was made, and how many
// names it has.
func TestStale(t *testing.T) {
	file := archive.Stat{Dev: 1, Ino: 1, Mode: list.Regular | 0o755, Nlink: 1}
	linked := file
	linked.Nlink = 2 // fakeroot does not hear of link(2): this alone is no sign
	setuid := file
	setuid.Mode |= 0o4000
	dir := archive.Stat{Dev: 1, Ino: 2, Mode: list.Directory | 0o2755, Nlink: 9}
	for i, c := range []struct {
		st            archive.Stat
		changed, born int64
		bornOK        bool
		want          string
		warn          string
	}{
		{file, 0, 0, true, "104755 33:44", ""},
		{file, 1, 1, true, "100755 0:0", ""},
		{file, 1, -1, true, "100755 33:44", "./f: changed after"},
		{file, 1, 0, true, "100755 33:44", "./f: changed after"},
		{file, 1, 0, false, "100755 33:44", "./f: changed after"},
		{linked, -1, 0, false, "104755 33:44", ""},
		{linked, 1, -1, true, "100755 33:44", "./f: changed after"},
		{linked, 1, 0, false, "100755 0:0", "./f: is not what fakeroot saw"},
		{dir, -1, 0, false, "42755 33:44", ""},
		{dir, 1, -1, true, "42755 33:44", ""}, // a file was made in it
		{dir, 1, 1, true, "42755 0:0", ""},
		{dir, 1, 0, false, "42755 33:44", ""},
		{setuid, 1, -1, true, "104755 33:44", ""},
		{setuid, 1, 0, false, "104755 33:44", ""},
	} {
		w := newWorld(t, states)
		w.born, w.bornOK = c.born, c.bornOK
		got := w.ask(t, c.st, c.changed)
		if got != c.want || !strings.HasPrefix(strings.Join(w.warnings, "\n"), c.warn) || (c.warn == "") != (len(w.warnings) == 0) {
			t.Errorf("%d: %s, want %s; %q, want %s", i, got, c.want, w.warnings, c.warn)
		}
	}
}

// TestFinish: a save file of another tree, or of the same one on a device with another number.
func TestFinish(t *testing.T) {
	file := archive.Stat{Dev: 1, Ino: 1, Mode: list.Regular | 0o755, Nlink: 1}
	moved, unknown := file, file
	moved.Dev, unknown.Ino = 2, 100
	for i, c := range []struct {
		save       string
		files      []archive.Stat
		whole      bool
		fail, warn string
	}{
		{states, []archive.Stat{file, moved}, true, "", ""},
		{states, []archive.Stat{unknown}, false, "", ""},
		{"", []archive.Stat{unknown}, true, "", ""},
		{states, []archive.Stat{unknown}, true, "", "none of its 7 files is in this tree"},
		{states, []archive.Stat{moved, unknown}, true, "on another device", ""},
		{states, []archive.Stat{moved, unknown}, false, "", "on another device"},
	} {
		w := newWorld(t, c.save)
		for _, st := range c.files {
			w.ask(t, st, -1)
		}
		if c.whole {
			top := archive.Stat{Dev: 1, Ino: 50, Mode: list.Directory | 0o755}
			if err := w.Fake([]byte("."), &top); err != nil {
				t.Fatal(err)
			}
		}
		err := w.Finish()
		warned := strings.Join(w.warnings, "\n")
		if (err != nil) != (c.fail != "") || err != nil && !strings.Contains(err.Error(), c.fail) ||
			(warned != "") != (c.warn != "") || !strings.Contains(warned, c.warn) {
			t.Errorf("%d: %v, %q", i, err, w.warnings)
		}
	}
}

// TestOpen: which source is taken, and that none is passed over because it cannot be read.
func TestOpen(t *testing.T) {
	dir := t.TempDir()
	good, bad, none := filepath.Join(dir, "good"), filepath.Join(dir, "bad"), filepath.Join(dir, "none")
	for path, text := range map[string]string{good: goodLine, bad: "x\n"} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const dead = "2147483600" // the key of no daemon: none is there, whatever the system
	for i, c := range []struct {
		path, named, session, key string
		want                      string // path that is read, or what the error says
	}{
		{"", "", "", "", ""},
		{good, "", "", "", good},
		{good, bad, "", dead, good},
		{bad, good, "", "", "bad:1: not a line"},
		{none, good, "", "", "no such file"},
		{"", good, "", dead, good},
		{"", good, good, "", good},
		{"", none, "", "", "$CTBOX_FAKEROOT: open " + none},
		{"", bad, "", "", "$CTBOX_FAKEROOT: " + bad},
		{"", "", "", dead, "$FAKEROOTKEY=" + dead},
		{"", good, good, dead, "$FAKEROOTKEY=" + dead}, // the file is older than the daemon
		{"", good, none, dead, good},
		{"", "", "", "x", `$FAKEROOTKEY: "x" is no key`},
		{"", "", "", "-1", "is no key"},
		{"", "", "", "0", "is no key"},
		{"", "", "", "4294967297", "is no key"},
	} {
		t.Setenv(StateFile, c.named)
		t.Setenv(session, c.session)
		t.Setenv(Key, c.key)
		s, err := Open(c.path, Context{})
		got := ""
		if err != nil {
			got = err.Error()
		} else if s != nil {
			got = s.(*state).path
		}
		if !strings.Contains(got, c.want) || (c.want == "") != (got == "") {
			t.Errorf("%d: %q, want %q", i, got, c.want)
		}
	}
}
