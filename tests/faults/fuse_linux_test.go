//go:build faults

package faults

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A faultFS shows "shown" of a racer as "mnt", with faults: see tests/interop/faultfs.
type faultFS struct {
	t   *testing.T
	in  io.WriteCloser
	out *bufio.Reader
}

// mountFaults skips a test where there is no FUSE: in a container without the device or without the right to mount nobody can
// test this, and the races, which need neither, are tested there all the same. So it skips there in CI, too.
func mountFaults(t *testing.T, r *racer) *faultFS {
	t.Helper()
	if f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0); err != nil {
		t.Skip("no FUSE: ", err)
	} else {
		f.Close()
	}
	helper := filepath.Join(t.TempDir(), "faultfs")
	build := exec.Command("go", "-C", "../interop", "build", "-o", helper, "./faultfs")
	if out, err := build.CombinedOutput(); err != nil {
		lacking(t, "faultfs: "+string(out))
	}
	r.mkdir("mnt")
	cmd := exec.Command(helper, r.path("shown"), r.path("mnt"))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	check(t, err)
	out, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	f := &faultFS{t, in, bufio.NewReader(out)}
	t.Cleanup(func() {
		in.Close()
		late := time.AfterFunc(time.Minute, func() { unix.Unmount(r.path("mnt"), unix.MNT_DETACH) })
		cmd.Wait()
		late.Stop()
	})
	switch line, err := f.out.ReadString('\n'); {
	case strings.Contains(line, "not permitted") || strings.Contains(line, "denied") || strings.Contains(line, "fusermount"):
		t.Skip("no FUSE: ", line)
	case line != "ready\n":
		t.Fatalf("faultfs: %q, %v", line, err)
	}
	return f
}

// tell has the file system obey a line.
func (f *faultFS) tell(line string) string {
	f.t.Helper()
	_, err := io.WriteString(f.in, line+"\n")
	check(f.t, err)
	answer, err := f.out.ReadString('\n')
	check(f.t, err)
	return strings.TrimSpace(answer)
}

func (f *faultFS) set(rules ...string) {
	f.t.Helper()
	f.tell("reset")
	for _, rule := range rules {
		if len(strings.Fields(rule)) > 1 {
			f.tell(rule)
		}
	}
}

// newFaultRacer is a racer whose tree is that of a faulty file system.
func newFaultRacer(t *testing.T) (*racer, *faultFS) {
	t.Helper()
	r := newRacer(t, "/tmp", os.Geteuid())
	for i := range 24 { // FUSE is slow: some are enough
		if i < 8 || i > 15 {
			check(t, os.Remove(r.path(fmt.Sprintf("in/a/f%02d", i))))
		}
	}
	r.plain("fileids", "-o", "tree.list", "in")
	r.plain("mklayer", "-C", "in", "-o", "x.layer", "tree.list")
	r.mkdir("shown/root/bin")
	for _, dir := range []string{"dev", "proc", "tmp"} {
		r.mkdir("shown/root/" + dir)
	}
	text, err := os.ReadFile(program)
	check(t, err)
	r.write("shown/root/bin/ctbox", string(text))
	check(t, errors.Join(os.Chmod(r.path("shown/root/bin/ctbox"), 0o755),
		os.Rename(r.path("in"), r.path("shown/in")), os.Rename(r.path("x.layer"), r.path("shown/x.layer"))))
	r.write("layers", "mnt/x\n")
	return r, mountFaults(t, r)
}

// A lie is what goes wrong, and what comes of it: "+" is success, "-" failure, "?" is either. Whatever succeeds is right.
type lie struct {
	rules string // lines, with commas between them
	walk  string // of fileids, with and without a cache
	names string // of fileids, for names that it is given
	pack  string // of mklayer and mkinitrd
	fresh bool   // what fileids says is true, but was not before
}

// treeFaults are about a file, a large one, a directory and a symbolic link.
var treeFaults = []lie{
	{"", "+", "+", "+", false},
	{"in/a/f12 lookup-eio", "-", "-", "-", false},
	{"in/a/f12 lookup-estale", "-", "-", "-", false},
	{"in/a/f12 lookup-enoent 2", "?", "-", "-", false},
	{"in/a/f12 lookup-eintr 1", "?", "?", "?", false},
	{"in/a lookup-eio", "-", "-", "-", false},
	{"in/a lookup-enoent 2", "?", "?", "?", false},
	{"in/a/f12 getattr-eio", "-", "-", "-", false},
	{"in/a/f12 getattr-estale 2", "?", "?", "?", false},
	{"in/a/f12 open-eio", "-", "-", "-", false},
	{"in/a/f12 open-estale", "-", "-", "-", false},
	{"in/a/f12 open-enoent", "-", "-", "-", false},
	{"in/a/f12 open-eacces", "-", "-", "-", false},
	{"in/a/f12 read-eio", "-", "-", "-", false},
	{"in/a/f12 read-estale", "-", "-", "-", false},
	{"in/a/f12 read-eintr 1", "?", "?", "?", false},
	{"in/a/large read-eio 3", "-", "-", "-", false},
	{"in/a/large read-enoent 2", "-", "-", "-", false},
	{"in/a/large eio-at 786432", "-", "-", "-", false},
	{"in/a/f12 short 7", "+", "+", "+", false},
	{"in/a/large short 4097", "+", "+", "+", false},
	{"in/a/f12 cut 100", "-", "-", "-", false},
	{"in/a/large cut 1000000", "-", "-", "-", false},
	{"in/a/f12 long", "-", "-", "-", false},
	{"in/a/large long", "?", "?", "-", false}, // as long as it is said to be,
	{"in/a/f12 size 100", "-", "-", "-", false},
	{"in/a/f12 size -100", "+", "+", "-", true},
	{"in/a/large size 1000000000", "-", "-", "-", false},
	{"in/a/f12 huge", "-", "-", "-", false},
	{"in/a/f12 no-type", "-", "-", "-", false},
	{"in/a/f12 resize 5", "-", "-", "?", false},
	{"in/a/f12 resize -5", "-", "-", "-", false},
	{"in/a/large resize 70000", "-", "-", "-", false},
	{"in/a/large resize -70000", "-", "-", "-", false},
	{"in/a/f12 change", "-", "-", "-", false},
	{"in/a/large change", "-", "-", "-", false},
	{"in/a/large flip", "?", "?", "-", true}, // nothing tells who lists it
	{"in/a/f12 type 0", "+", "+", "-", true},
	{"in/a/f12 type 1", "?", "?", "-", true},
	{"in/a/f12 type 2", "?", "?", "?", true},
	{"in/a/f12 symlink 0", "+", "+", "-", true},
	{"in/a/f12 symlink 1", "?", "?", "-", true},
	{"in/a/f12 symlink 2", "?", "?", "?", true},
	{"in/a symlink 0", "?", "-", "-", true},
	{"in/a type 1", "?", "?", "?", true},
	{"in/a/f12 ino", "?", "?", "?", false},
	{"in/a ino", "+", "+", "+", false},
	{"in/a/f11 collide 42,in/a/f12 collide 42", "+", "+", "+", false},
	{"in/a/f12 collide 42,in/a/large collide 42", "+", "+", "+", false},
	{"in/a collide 42,in/b collide 42,in/a/link collide 42", "+", "+", "+", false},
	{"in/a/f12 mtime", "-", "-", "-", false},
	{"in/a mtime,. mtime", "+", "+", "+", false},
	{"in/a/link mtime", "+", "+", "+", false},
	{"in/a/f12 ctime,in/a/large ctime,in/a ctime,in/a/link ctime", "+", "+", "+", false},
	{"in/a/f12 nlink,in/a/large nlink", "+", "+", "+", false},
	{"in/a/f12 mode,in/a mode", "+", "+", "+", true},
	{"in/a/link readlink-eio", "-", "-", "-", false},
	{"in/a/link readlink-lies", "+", "+", "-", true},
	{"in/a/link readlink-lies,in/a/link ctime", "-", "-", "-", false},
	{"in/a/link readlink-empty", "-", "-", "-", false},
	{"in/a/link readlink-nul", "?", "?", "?", true},
	{"in/a/link readlink-long", "+", "+", "-", true},
	{"in/a/f12 listxattr-eio", "-", "-", "+", false},
	{"in/a listxattr-eio", "-", "-", "+", false},
	{"in/a/f12 xattr,in/a/f12 getxattr-eio", "-", "-", "+", false},
	{"in/a xattr,in/a getxattr-estale 2", "-", "-", "+", false},
	{"in/a/f12 xattr,in/a xattr", "+", "+", "+", true},
	{"in/a/f12 xattr-changes,in/a xattr-changes", "+", "+", "+", true},
	{"in/a/f12 xattr-changes,in/a/f12 ctime", "-", "-", "+", false},
	{"in/a/f12 xattr-grows,in/a xattr-grows", "?", "?", "+", true},
	{"in/a/f12 xattr-name,in/a xattr-name", "?", "?", "+", true},
	{"in/a opendir-eio", "-", "-", "+", false},
	{"in/a opendir-estale 2", "-", "?", "+", false},
	{"in/a readdir-eio", "-", "+", "+", false},
	{"in/a readdir-most 5", "-", "+", "+", false},
	{"in/a ghost", "-", "+", "+", false},
	{"in/a slash", "-", "+", "+", false},
	{"in/a dotdot", "+", "+", "+", false},
	{"in/a empty", "-", "+", "+", false},
	{"in/a twice", "+", "+", "+", false},
	{"in/a changes", "-", "+", "+", false},
	{"in/a/f12 d-type 0,in/a d-type 0,in/a/link d-type 0", "+", "+", "+", false},
	{"in/a/f12 d-type 4", "-", "+", "+", false},
	{"in/a/f12 d-type 10", "+", "+", "+", false},
	{"in/a/link d-type 8", "+", "+", "+", false},
	{"in/a d-type 8", "-", "+", "+", false}, // or what is in it would be missing
}

// faultJobs are those of trees, on the file system with faults.
func faultJobs() []*job {
	jobs := treeJobs()[:6] // no cache says anything of this file system: trusting one is the same to all packers
	for _, j := range jobs {
		j.args = slices.Clone(j.args)
		j.args[slices.Index(j.args, "in")] = "mnt/in"
	}
	return jobs
}

// want is what is to come of a job.
func (f *lie) want(j *job) string {
	switch {
	case j.names:
		return f.names
	case j.lines:
		return f.walk
	}
	return f.pack
}

// TestFuseTree: whatever a file system says and does, the outcome is right or an error.
func TestFuseTree(t *testing.T) {
	r, f := newFaultRacer(t)
	jobs := faultJobs()
	r.prepare(jobs)
	r.learn(jobs, true)
	n := 0
	for i, of := range treeFaults {
		for k, j := range jobs {
			if !*long && k > 1 && k != 3+i%2 {
				continue // of the packers one after another
			}
			for range scale(1, 20) {
				f.set(strings.Split(of.rules, ",")...)
				known := r.lines
				made, errs, err := r.run(j)
				if of.fresh {
					r.lines = nil
				}
				what := r.judge(j, race{}, made, errs, err)
				if got := map[bool]string{true: "+", false: "-"}[err == nil]; what == "" && of.want(j) != "?" && of.want(j) != got {
					what = got + ", want " + of.want(j)
				}
				if r.lines = known; what != "" {
					r.complain("%s: %s: %s\n%s", of.rules, j, what, errs)
				}
				n++
			}
		}
	}
	count(t, n, "runs on a file system with faults", r.wrong)
}

// TestFuseLayer is that for the layers of an image.
func TestFuseLayer(t *testing.T) {
	r, f := newFaultRacer(t)
	jobs := []*job{
		{args: []string{"mkimage", "layers"}},
		{args: []string{"mkimage", "-z", "gzip", "layers"}},
		{args: []string{"mkimage", "--no-verify-layers", "layers"}},
		{args: []string{"mkimage", "--no-verify-layers", "-z", "gzip", "layers"}},
		{args: []string{"mkimage", "--format=oci-dir", "layers"}, dir: true},
	}
	r.prepare(jobs)
	r.learn(jobs, true)
	// What the kernel then has of the file is a layer, too, with other bytes.
	lies := []string{"flip", "change", "size 512", "size -512"}
	n := 0
	for rules, want := range map[string]string{
		"": "+", "lookup-eio": "-", "lookup-estale": "-", "open-eio": "-", "open-estale 2": "?", "getattr-eio": "-", "getattr-eio 3": "?",
		"read-eio": "-", "read-estale 4": "?", "eio-at 700000": "-", "read-eintr 1": "?", "short 1000": "+", "cut 700000": "-", "size -512": "?",
		"size 512": "?", "huge": "-", "no-type": "-", "type 0": "-", "type 2": "?", "resize 512": "-", "resize -512": "-",
		"change": "?", "flip": "?", "mtime": "-", "ctime": "+", "nlink": "+", "mode": "+", "ino": "?", "symlink 0": "-",
	} {
		for k, j := range jobs {
			if !*long && (len(rules)+k)%3 != 0 {
				continue
			}
			f.set("x.layer " + rules)
			made, errs, err := r.run(j)
			what := ""
			if err != nil || !slices.Contains(lies, rules) {
				what = r.judge(j, race{}, made, errs, err)
			}
			if got := map[bool]string{true: "+", false: "-"}[err == nil]; what == "" && want != "?" && want != got {
				what = got + ", want " + want
			}
			if what != "" {
				r.complain("%s: %s: %s\n%s", rules, j, what, errs)
			}
			n++
		}
	}
	count(t, n, "images of a layer on a file system with faults", r.wrong)
}

// TestFuseHangs: who waits for a file system that does not answer can be told to end, and leaves nothing behind.
func TestFuseHangs(t *testing.T) {
	r, f := newFaultRacer(t)
	jobs := faultJobs()
	r.prepare(jobs)
	n := 0
	for _, signal := range []unix.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGKILL}[:scale(1, 3)] {
		for _, rule := range []string{"in/a/f12 lookup-hang", "in/a/f12 getattr-hang", "in/a/f12 open-hang", "in/a/f12 read-hang",
			"in/a/large read-hang", "in/a/link readlink-hang", "in/a opendir-hang", "in/a readdir-hang", "in/a/f12 listxattr-hang"} {
			for _, j := range []*job{jobs[0], jobs[1], jobs[3], jobs[4]} {
				if !j.lines && strings.HasPrefix(rule, "in/a ") || !j.lines && strings.Contains(rule, "xattr") || j.names && strings.Contains(rule, "readdir") {
					continue // it asks for nothing of that
				}
				f.set(rule)
				what := r.interrupt(f, j, signal)
				f.set()
				if what != "" {
					r.complain("%s: %s: %s: %s", rule, j, unix.SignalName(signal), what)
				}
				n++
			}
		}
	}
	count(t, n, "runs that hung and were told to end", r.wrong)
}

// interrupt sends a signal to a job that hangs, and says what is wrong with its end.
func (r *racer) interrupt(f *faultFS, j *job, signal unix.Signal) string {
	r.t.Helper()
	check(r.t, os.WriteFile(r.path("made/out"), []byte("old"), 0o644))
	cmd, cancel := r.command(append(slices.Clone(j.args[:1]), append([]string{"-o", "made/out"}, j.args[1:]...)...)...)
	defer cancel()
	if j.names {
		cmd.Stdin = strings.NewReader(r.names())
	}
	check(r.t, cmd.Start())
	for last := time.Now().Add(time.Minute); f.tell("hung") == "0"; time.Sleep(time.Millisecond) {
		if time.Now().After(last) {
			cmd.Process.Kill()
			cmd.Wait()
			return "does not hang"
		}
	}
	check(r.t, cmd.Process.Signal(signal))
	// A process cannot end before the kernel has an answer to what it has asked for, and in some cases nobody tells the file
	// system that it is no longer wanted.
	late := time.AfterFunc(5*time.Second, func() { f.tell("reset") })
	cmd.Wait() // kills it after a minute and a half, which is another signal
	late.Stop()
	status := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if old, err := os.ReadFile(r.path("made/out")); err != nil || string(old) != "old" {
		return "the target is not the old one"
	}
	if !status.Signaled() || status.Signal() != syscall.Signal(signal) {
		return cmd.ProcessState.String()
	}
	left := r.made()
	for _, name := range left {
		if known := name == "out" || name == "cache" || name == "trusted"; !known && signal == unix.SIGKILL {
			check(r.t, os.Remove(r.path("made/"+name))) // as it may
		} else if !known {
			return "left behind: " + name
		}
	}
	return ""
}

// TestFuseRunlocal: a program in a tree on such a file system runs, or it is said that it cannot; a time limit holds.
func TestFuseRunlocal(t *testing.T) {
	r, f := newFaultRacer(t)
	n := 0
	for rule, want := range map[string]string{
		"": "0", "lookup-eio": "!", "open-eio": "!", "open-estale": "!", "read-eio": "!", "read-estale": "!", "getattr-eio": "?",
		"cut 5000": "!", "type 0": "!", "symlink 0": "!", "ino": "?", "mtime": "0", "short 1000": "?",
		"lookup-hang": "124", "open-hang": "124", "read-hang": "124",
	} {
		f.set("root/bin/ctbox " + rule)
		limit := "60"
		if want == "124" {
			limit = "1"
		}
		cmd, cancel := r.command("runlocal", "--timeout="+limit, "mnt/root", "/bin/ctbox", "--list")
		out, err := cmd.CombinedOutput()
		cancel()
		var exit *exec.ExitError
		status := 0
		if errors.As(err, &exit) {
			status = exit.ExitCode()
		}
		good := map[string]bool{"0": status == 0, "!": status > 0, "?": status >= 0, "124": status == 124}[want]
		if status == 0 && !strings.Contains(string(out), "\nrunlocal\n") || status != 0 && !strings.HasPrefix(string(out), "ctbox runlocal: ") {
			good = false
		}
		if !good {
			r.complain("%s: status %d, want %s: %.300s", rule, status, want, out)
		}
		n++
	}
	count(t, n, "runs of a program on a file system with faults", r.wrong)
}
