package archive

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/list"
)

const outside = "this must never be read"

// TestSwapRaces swaps a file, or the directory above it, with something else as fast as it can, while we look at it.
func TestSwapRaces(t *testing.T) {
	for what, other := range map[string]struct {
		swapped string // name that is swapped with "other"
		make    func(dir, other string) error
	}{
		"file with link outside":   {"d/f", func(dir, o string) error { return os.Symlink("../../out/d/f", o) }},
		"file with FIFO":           {"d/f", func(_, o string) error { return unix.Mkfifo(o, 0o644) }},
		"file with directory":      {"d/f", func(_, o string) error { return os.Mkdir(o, 0o755) }},
		"file with file":           {"d/f", func(_, o string) error { return os.WriteFile(o, []byte("inside"), 0o644) }},
		"parent with link outside": {"d", func(dir, o string) error { return os.Symlink("../out/d", o) }},
		"parent with absolute":     {"d", func(dir, o string) error { return os.Symlink(dir+"/out/d", o) }},
		"parent with FIFO":         {"d", func(_, o string) error { return unix.Mkfifo(o, 0o644) }},
	} {
		t.Run(what, func(t *testing.T) {
			eachOpen(t, func(t *testing.T) {
				defer watchdog(t)()
				dir := t.TempDir()
				write(t, dir, "out/d/f", outside)
				in := filepath.Dir(filepath.Dir(write(t, dir, "in/d/f", "inside")))
				must(t, other.make(dir, filepath.Join(dir, "in/other")))
				stop := swap(t, filepath.Join(in, other.swapped), filepath.Join(in, "other"))
				defer stop()
				for end := time.Now().Add(200 * time.Millisecond); time.Now().Before(end); {
					d, err := OpenDir(in) // anew: directories stay open, and open ones cannot be swapped
					must(t, err)
					look(t, d)
				}
			})
		})
	}
}

// swap exchanges two names for ever.
func swap(t *testing.T, a, b string) (stop func()) {
	end := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		for {
			select {
			case <-end:
				return
			default:
			}
			if err := unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE); err != nil {
				t.Error(err)
				return
			}
		}
	})
	return func() { close(end); running.Wait() }
}

// look does all that a Dir can do with a name. Errors are what the race is about; bytes from outside are not.
func look(t *testing.T, d *Dir) {
	defer d.Close()
	name := []byte("./d/f")
	d.Xattrs(name)
	d.Xattrs([]byte("./d"))
	d.Readlink(name)
	st, err := d.Stat(name)
	if err != nil {
		return
	}
	if st.Type() == list.Regular && st.Size == int64(len(outside)) {
		t.Error("looked outside")
	}
	c, err := d.Open(name, st)
	if err != nil {
		return
	}
	defer c.Close()
	if text, err := io.ReadAll(c); err != nil || string(text) != "inside" {
		t.Errorf("read %q, %v", text, err)
	}
}

// TestPackRaces: a list made, or a layer packed, while names are swapped is right or fails.
func TestPackRaces(t *testing.T) {
	defer watchdog(t)()
	dir := t.TempDir()
	write(t, dir, "out/f", outside)
	in := filepath.Dir(filepath.Dir(write(t, dir, "in/d/f", "inside")))
	records := identifyDir(t, in)
	must(t, os.Symlink("../out", filepath.Join(in, "other")))
	wrong := list.Digest(sumOf(bytes.NewReader([]byte(outside)), int64(len(outside))))
	id := list.ID{Mode: list.Regular, Digest: wrong}
	defer swap(t, filepath.Join(in, "d"), filepath.Join(in, "other"))()
	good := 0
	for end := time.Now().Add(500 * time.Millisecond); time.Now().Before(end); {
		layer, err := pack(t, in, records)
		if bytes.Contains(layer, []byte(outside)) {
			t.Fatal("packed what lies outside")
		}
		if err == nil {
			good++
		}
		made, _ := identifyNames(t, in, "./d", "./d/f")
		if bytes.Contains([]byte(made), id.AppendTo(nil)[len("0100000-0-0-"):]) {
			t.Fatal("listed what lies outside")
		}
	}
	if good == 0 {
		t.Error("no layer was good")
	}
}

// TestGrowRaces: the layer of a file that is being written to is right or fails; a list line is that of one moment.
func TestGrowRaces(t *testing.T) {
	dir := t.TempDir()
	path := write(t, dir, "f", "xxxx")
	records, errs := identifyNames(t, dir, "./f")
	if errs != "" {
		t.Fatal(errs)
	}
	end := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		for size := int64(4); ; size ^= 4 ^ 70000 {
			select {
			case <-end:
				return
			default:
				if os.Truncate(path, size) == nil && size == 4 {
					os.WriteFile(path, []byte("xxxx"), 0o644)
				}
			}
		}
	})
	for range 300 {
		layer, err := pack(t, dir, records)
		if err == nil {
			checkBlocks(t, layer)
			if string(layer[512:516]) != "xxxx" {
				t.Errorf("packed %q", layer[512:516])
			}
		}
	}
	close(end)
	running.Wait()
}

// TestLease: a file that somebody holds a lease on is an error, and nobody waits for it.
func TestLease(t *testing.T) {
	defer watchdog(t)()
	dir := t.TempDir()
	f, err := os.OpenFile(write(t, dir, "f", "text"), os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		t.Skip(err)
	}
	if _, errs := identifyNames(t, dir, "./f"); errs != "./f: resource temporarily unavailable\n" {
		t.Errorf("%q", errs)
	}
}
