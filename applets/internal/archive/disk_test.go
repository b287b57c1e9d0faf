package archive

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ctbox/ctbox/applets/internal/list"
)

// log is a FileSystem that writes down what it is given.
type log struct {
	strings.Builder
	files uint32
	fail  error
}

func (l *log) Add(e *DiskEntry) error {
	fmt.Fprintf(l, "%s %o %d:%d %d,%d %d>%s %d\n", e.Name, e.Mode, e.UID, e.GID, e.Major, e.Minor, e.Time, e.Target, len(e.Xattrs))
	return l.fail
}

func (l *log) AddFile(e *DiskEntry, c io.Reader, size int64) (uint32, error) {
	content := e.Content
	if c != nil {
		content = make([]byte, size)
		if _, err := io.ReadFull(c, content); err != nil {
			return 0, err
		}
		content = fmt.Appendf(nil, "%d bytes of %s", size, content[:1])
	}
	l.files++
	fmt.Fprintf(l, "%s %o %d:%d %d<%s %d links, file %d\n", e.Name, e.Mode, e.UID, e.GID, e.Time, content, e.Links, l.files)
	return l.files, l.fail
}

func (l *log) Link(name []byte, ino uint32) error {
	_, err := fmt.Fprintf(l, "%s = %d\n", name, ino)
	return err
}

// packDisk packs a list whose records end in NUL.
func packDisk(t *testing.T, dir, records string, set func(*Disk)) (string, error) {
	t.Helper()
	in, err := list.Open("", strings.NewReader(records), true)
	must(t, err)
	defer in.Close()
	to := new(log)
	d := Disk{List: in, Source: openDir(t, dir), To: to, Warn: func(format string, args ...any) { fmt.Fprintf(to, format+"\n", args...) }}
	if set != nil {
		set(&d)
	}
	err = d.Write()
	return to.String(), err
}

func TestDiskKinds(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "f", "text")
	write(t, dir, "large", strings.Repeat("x", pageContent))
	must(t, os.Symlink("text", filepath.Join(dir, "l")))
	large := fmt.Sprintf("./large 0100600-8-9-%x", sha256.Sum256([]byte(strings.Repeat("x", pageContent))))
	got, err := packDisk(t, dir, nul(
		". 0040711-1-2-0", "./b 0060660-0-6-0-rdev=8:17", "./c 0020666-0-0-0-rdev=0:0", "./d 0041777-5-5-0",
		"./f 0100640-7-3000000-"+sumText, "./g 0100640-7-3000000-"+sumText+"-link=./f", "./l 0120777-0-0-"+sumText, large,
		"./p 0010600-0-0-0", "./s 0140600-0-0-0"), func(d *Disk) { d.Time.Epoch = 12 })
	must(t, err)
	want := `. 40711 1:2 0,0 12> 0
./b 60660 0:6 8,17 12> 0
./c 20666 0:0 0,0 12> 0
./d 41777 5:5 0,0 12> 0
./f 100640 7:3000000 12<text 2 links, file 1
./g = 1
./l 120777 0:0 0,0 12>text 0
./large 100600 8:9 12<1048576 bytes of x 1 links, file 2
./p 10600 0:0 0,0 12> 0
./s 140600 0:0 0,0 12> 0
`
	if got != want {
		t.Errorf("\n%s\nwant\n%s", got, want)
	}
	got, err = packDisk(t, dir, nul("./s 0140600-0-0-0"), func(d *Disk) { d.SkipSockets = true })
	if err != nil || got != "./s: socket left out\n" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestDiskRefuses(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "f", "other")
	sum := strings.Repeat("0", 64)
	for _, test := range []struct{ records, want string }{
		{nul("./f -"), "./f: a disk cannot delete names"},
		{nul("./d/f 0010600-0-0-0"), "./d/f: its directory ./d is not in the list"},
		{nul(". 0010600-0-0-0"), ".: the root must be a directory"},
		{nul("./c 0020600-0-0-0"), "./c: device without -rdev="},
		{nul("./p 0010600-0-0-0-xattr=" + sum), "./p: only files and directories can have -xattr="},
		{nul("./f" + textID), "./f: changed since it was listed"},
		{nul("./g" + textID), "./g: no such file or directory"},
		{nul("./p 0010600-0-0-0", "./p/f 0010600-0-0-0"), "lies below a name that is not a directory: ./p"},
	} {
		if _, err := packDisk(t, dir, test.records, nil); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: %v, want %q", test.records, err, test.want)
		}
	}
	write(t, dir, "f", "text")
	if _, err := packDisk(t, dir, nul("./f"+textID, "./g 0100600-0-0-"+sumText+"-link=./f"), nil); !errors.Is(err, errLinkDiffer) {
		t.Error(err)
	}
	failed := errors.New("disk is full")
	if _, err := packDisk(t, dir, nul("./f"+textID), func(d *Disk) { d.To.(*log).fail = failed }); !errors.Is(err, failed) {
		t.Error(err)
	}
}

// A layer that is all there is has neither deletions nor names without their directory.
func TestWholeLayer(t *testing.T) {
	for records, want := range map[string]error{nul("./f -"): errDiskDeletes, nul("./d/f 0010600-0-0-0"): nil} {
		_, err := pack(t, t.TempDir(), records, func(l *Layer) { l.Whole = true })
		if err == nil || want != nil && !errors.Is(err, want) || want == nil && !strings.Contains(err.Error(), "its directory ./d is not in the list") {
			t.Errorf("%q: %v", records, err)
		}
	}
}
