//go:build faults

package faults

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A target is what can be at the place of a file that is to be written.
type target struct {
	name  string
	make  func(path string) error // path is in an empty directory
	u     user                    // who writes there
	at    string                  // where the new file is then, from the directory of path, if not at path
	gone  bool                    // or it has gone to nobody
	error string                  // or the target stays, with this message
}

// immutable sets the flag i of chattr(1), or a.
func immutable(path string, flag int) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flag)
}

const immutableFlag, appendFlag = 0x10, 0x20 // linux/fs.h

func oldFile(path string) error { return os.WriteFile(path, []byte("old\n"), 0o644) }

var targets = []target{
	{name: "nothing", make: func(string) error { return nil }},
	{name: "an empty file", make: func(path string) error { return os.WriteFile(path, nil, 0o600) }},
	{name: "a read-only file", make: func(path string) error { return errors.Join(oldFile(path), os.Chmod(path, 0o400)) }},
	{name: "a link to a file", at: "real", make: func(path string) error {
		return errors.Join(oldFile(filepath.Dir(path)+"/real"), os.Symlink("real", path))
	}},
	{name: "a dangling link", at: "real", make: func(path string) error { return os.Symlink("real", path) }},
	{name: "a link to a link to a link elsewhere", at: "d/real", make: func(path string) error {
		dir := filepath.Dir(path)
		return errors.Join(os.Mkdir(dir+"/d", 0o777), os.Symlink("./two", path), os.Symlink("d/three", dir+"/two"), os.Symlink("real", dir+"/d/three"))
	}},
	{name: "a second name of a file", make: func(path string) error {
		return errors.Join(oldFile(path), os.Link(path, path+".other"))
	}},
	{name: "a link to itself", error: "too many levels of symbolic links", make: func(path string) error { return os.Symlink(filepath.Base(path), path) }},
	{name: "a link into nothing", error: "no such file or directory", make: func(path string) error { return os.Symlink("no/where", path) }},
	{name: "a directory", error: "is a directory", make: func(path string) error { return os.Mkdir(path, 0o777) }},
	{name: "a link to a directory", error: "is a directory", make: func(path string) error {
		return errors.Join(os.Mkdir(path+".d", 0o777), os.Symlink(path+".d", path))
	}},
	{name: "a socket", error: "no such device or address", make: func(path string) error {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
		if err != nil {
			return err
		}
		l.SetUnlinkOnClose(false)
		return l.Close()
	}},
	{name: "/dev/null", gone: true, make: func(path string) error { return os.Symlink("/dev/null", path) }},
	{name: "/dev/full", error: "no space left on device", make: func(path string) error { return os.Symlink("/dev/full", path) }},
	{name: "a file in a directory that is read-only", u: nobody, error: "permission denied", make: func(path string) error {
		return errors.Join(oldFile(path), os.Chmod(path, 0o666), os.Chmod(filepath.Dir(path), 0o555))
	}},
	{name: "another's file where only owners rename", u: nobody, error: "operation not permitted", make: func(path string) error {
		return errors.Join(oldFile(path), os.Chmod(path, 0o666), os.Chmod(filepath.Dir(path), 0o777|os.ModeSticky))
	}},
	{name: "an immutable file", error: "operation not permitted", make: func(path string) error {
		return errors.Join(oldFile(path), immutable(path, immutableFlag))
	}},
	{name: "a file for appending only", error: "operation not permitted", make: func(path string) error {
		return errors.Join(oldFile(path), immutable(path, appendFlag))
	}},
	{name: "a mount point", error: "device or resource busy", make: func(path string) error {
		return errors.Join(oldFile(path), oldFile(path+".other"), unix.Mount(path+".other", path, "", unix.MS_BIND, ""))
	}},
}

// TestTargets: what is at the place of the file decides what happens, for all ways that write one file.
func TestTargets(t *testing.T) {
	world := prepare(t)
	n, wrong := 0, 0
	for _, to := range targets {
		for _, w := range ways {
			name, ok := w.oneFile()
			if !ok {
				continue
			}
			dir := filepath.Join(world, "target")
			path := filepath.Join(dir, name)
			check(t, os.Mkdir(dir, 0o755))
			if err := to.make(path); errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EOPNOTSUPP) {
				t.Logf("%s: %v", to.name, err) // which is for root, and on some file systems only
			} else if check(t, err); to.u == 0 || os.Geteuid() == 0 {
				n++
				if bad := to.try(w, world, path); bad != "" {
					wrong++
					t.Errorf("%s, to %s: %s", w.name, to.name, bad)
				}
			}
			unix.Unmount(path, unix.MNT_DETACH)
			immutable(path, 0)
			check(t, os.RemoveAll(dir))
		}
	}
	count(t, n, "odd targets", wrong)
}

// oneFile is the name of the one file that the way writes, if it does not read it, too.
func (w *way) oneFile() (string, bool) {
	for name := range w.new {
		return name, len(w.new) == 1 && name != "layout" && !w.warns
	}
	return "", false
}

// try runs the way with path as its file, and says what is wrong with what comes of it.
func (to target) try(w *way, world, path string) string {
	dir := filepath.Dir(path)
	before := kinds(dir)
	cmd := w.limited(world, "target", ":")
	if to.u != 0 {
		cmd.SysProcAttr.Credential = to.u.credential()
	}
	r := finish(cmd, func() {})
	after := kinds(dir)
	if to.error != "" {
		switch {
		case r.status.ExitStatus() != 1 || r.hung:
			return "does not fail: " + r.String()
		case before != after:
			return "fails, and leaves\n" + after + "instead of\n" + before
		case !messageLine.MatchString(r.errOut) || !strings.HasSuffix(r.errOut, ": "+to.error+"\n"):
			return fmt.Sprintf("says %q", r.errOut)
		}
		return ""
	}
	real := path
	if to.at != "" {
		real = filepath.Join(dir, to.at)
	}
	got, _ := os.ReadFile(real)
	want, err := os.ReadFile(filepath.Join(w.newDir, filepath.Base(path)))
	switch {
	case r.status != 0 || r.errOut != "" || err != nil:
		return "fails: " + r.String()
	case !to.gone && string(got) != string(want):
		return "writes something else"
	case to.at == "" && !to.gone:
	case strings.Count(after, "L") != strings.Count(before, "L"):
		return "replaces a link:\n" + after
	}
	return ""
}

// kinds lists what is below dir: modes with types, sizes and names.
func kinds(dir string) string {
	var s strings.Builder
	filepath.WalkDir(dir, func(path string, _ fs.DirEntry, _ error) error {
		info, err := os.Lstat(path)
		if err == nil {
			fmt.Fprintln(&s, info.Mode(), info.Size()*int64(min(1, info.Mode().Type()^fs.ModeDir)), strings.TrimPrefix(path, dir))
		}
		return nil
	})
	return s.String()
}

// TestFIFO: a FIFO is written to, and stays one; when its reader stops early, that is nobody's error.
func TestFIFO(t *testing.T) {
	world := prepare(t)
	n, wrong := 0, 0
	for _, w := range ways {
		name, ok := w.oneFile()
		if !ok {
			continue
		}
		want, err := os.ReadFile(filepath.Join(w.newDir, name))
		check(t, err)
		for size := 0; size <= len(want); size += 1 + size/scale(1, 8) {
			dir := filepath.Join(world, "fifo")
			path := filepath.Join(dir, name)
			check(t, os.Mkdir(dir, 0o755))
			check(t, syscall.Mkfifo(path, 0o644))
			got := make([]byte, size)
			r := finish(w.limited(world, "fifo", ":"), func() {
				f, err := os.Open(path)
				if err == nil {
					_, err = io.ReadFull(f, got)
					f.Close()
				}
				if err != nil {
					t.Errorf("%s: %v", w.name, err)
				}
			})
			n++
			if string(got) != string(want[:size]) || r.status != 0 || r.errOut != "" || strings.Count(kinds(dir), "\n") != 2 || kinds(dir)[0] != 'd' {
				wrong++
				t.Errorf("%s: a FIFO closed after %d bytes: %s\n%s", w.name, size, r, kinds(dir))
			}
			check(t, os.RemoveAll(dir))
		}
	}
	count(t, n, "FIFOs", wrong)
}

// TestWriters: several write one target at once, and some are killed. Whoever reads it meanwhile finds one of their files,
// whole, and so does who comes last.
func TestWriters(t *testing.T) {
	const seed = 20260131
	t.Logf("seed %d", seed)
	world := prepare(t)
	random := rand.New(rand.NewPCG(seed, 0))
	of := map[string][]*way{}
	for _, w := range ways {
		if name, ok := w.oneFile(); ok {
			of[name] = append(of[name], w)
		} else if w.new["layout"] != "" {
			of["layout"] = append(of["layout"], w)
		}
	}
	n, wrong := 0, 0
	for _, name := range []string{"image", "initrd", "layer", "layout", "list"} {
		if len(of[name]) < 2 {
			t.Fatalf("%s: only %d ways to write it", name, len(of[name]))
		}
		for round := range scale(6, 300) {
			writers := 2 + 8*(round%2)
			bad := writeAtOnce(world, name, of[name], writers, random)
			n += writers
			if bad != "" {
				wrong++
				t.Errorf("%s, round %d: %s", name, round, bad)
			}
		}
	}
	count(t, n, "writers of one target", wrong)
}

// writeAtOnce runs so many ways that write the same name, and kills one in five.
func writeAtOnce(world, name string, of []*way, writers int, random *rand.Rand) string {
	out := filepath.Join(world, "shared")
	if err := of[0].reset(out, self); err != nil {
		panic(err)
	}
	whole := map[string]bool{of[0].old[name]: true}
	var all, watching sync.WaitGroup
	problems := make(chan string, 2*writers+1)
	for range writers {
		w, killed := of[random.IntN(len(of))], random.IntN(5) == 0
		whole[w.new[name]] = true
		cmd := w.limited(world, "shared", ":")
		all.Go(func() {
			r := finish(cmd, func() {
				if killed {
					cmd.Process.Kill()
				}
			})
			if r.hung || !killed && (r.status != 0 || r.errOut != "") {
				problems <- w.name + ": " + r.String()
			}
		})
	}
	var done atomic.Bool
	watching.Go(func() {
		for name != "layout" && !done.Load() { // whose files have no one moment
			if is := stateOf(out)[name]; !whole[is] {
				problems <- "somebody reads what nobody wrote"
				return
			}
		}
	})
	all.Wait()
	done.Store(true)
	watching.Wait()
	last := of[0].limited(world, "shared", ":")
	if r := finish(last, func() {}); r.status != 0 || r.errOut != "" {
		problems <- "the last: " + r.String()
	}
	now := stateOf(out)
	if now[name] != of[0].new[name] || len(now) > 2 { // the digests, too, for some
		problems <- "in the end: " + fmt.Sprint(now)
	}
	close(problems)
	return <-problems
}
