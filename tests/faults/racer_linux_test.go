//go:build faults

package faults

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// What lies outside of the tree has this in it. No output may have it, nor the digest of a file with it.
const secret = "SECRET: this lies outside of the tree"

// Contents of files in the tree, all of one length; those in "other" files come into it, too, but no list has them.
var (
	inside = strings.Repeat("inside ", 300)
	other  = strings.Repeat("other! ", 300)
	hidden = (secret + strings.Repeat(".", 2100))[:2100]
)

// ordinary is a user without rights.
const ordinary = 61235

// largeSize is how long in/a/large is: too long for the room in which packers read ahead.
const largeSize = 3 << 19

// A racer is a directory with a tree in it, "in", which somebody changes while programs read it.
//
//	in/       the tree
//	out/      what symbolic links that are swapped in lead to
//	good      a file as those in the tree
//	made/     what programs write
//	tree.list the list of the tree
type racer struct {
	t   *testing.T
	uid int
	dir string

	running atomic.Bool
	swaps   atomic.Int64 // deeds that were taken while a program ran
	runs    int
	failed  int // of these
	wrong   int

	lines map[string]bool // of lists, that were true at a moment of the race
}

// A race is what somebody does to a tree, over and over: deeds, of which the last leads to where the first begins.
type race struct {
	name     string
	harmless string // applets that this must not make fail, or "all"
	prepare  func(r *racer)
	deeds    []func(r *racer) error
}

// newRacer makes the tree of a user, below dir.
func newRacer(t *testing.T, dir string, uid int) *racer {
	t.Helper()
	dir, err := os.MkdirTemp(dir, "ctbox-races-")
	check(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	check(t, os.Chmod(dir, 0o755))
	r := &racer{t: t, uid: uid, dir: dir}
	for _, sub := range []string{"in", "out", "other"} {
		content := map[string]string{"in": inside, "out": hidden, "other": other}[sub]
		for i := range 24 {
			r.write(fmt.Sprintf("%s/a/f%02d", sub, i), content)
		}
		r.write(sub+"/a/large", largeText(content))
		check(t, os.Symlink(sub, r.path(sub+"/a/link")))
		r.write(sub+"/b/linked", content)
		check(t, os.Link(r.path(sub+"/b/linked"), r.path(sub+"/b/linked2")))
	}
	r.write("good", inside)
	r.makeMade()
	r.own()
	for old := time.Now(); time.Since(old) < 50*time.Millisecond; {
		time.Sleep(10 * time.Millisecond) // or a cache would hold nothing
	}
	r.plain("fileids", "--cache=made/trusted", "-o", "tree.list", "in")
	return r
}

// makeMade has outputs go to memory, where there is such a place: or most of a race falls into waiting for a disk.
func (r *racer) makeMade() {
	r.t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "ctbox-races-")
	if err != nil {
		r.mkdir("made")
		return
	}
	r.t.Cleanup(func() { os.RemoveAll(dir) })
	check(r.t, errors.Join(os.Chown(dir, r.uid, r.uid), os.Symlink(dir, r.path("made"))))
}

func largeText(of string) string { return strings.Repeat(of, largeSize/len(of)+1)[:largeSize] }

func (r *racer) path(name string) string { return filepath.Join(r.dir, name) }

func (r *racer) mkdir(name string) {
	r.t.Helper()
	check(r.t, os.MkdirAll(r.path(name), 0o755))
}

func (r *racer) write(name, content string) {
	r.t.Helper()
	r.mkdir(filepath.Dir(name))
	check(r.t, os.WriteFile(r.path(name), []byte(content), 0o644))
}

// own gives everything to the user.
func (r *racer) own() {
	r.t.Helper()
	check(r.t, filepath.WalkDir(r.dir, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, r.uid, r.uid))
	}))
}

// command is a ctbox of the user. A minute and a half is for machines that do other things: it is to be killed only if it hangs.
func (r *racer) command(args ...string) (*exec.Cmd, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.WaitDelay = r.dir, 10*time.Second
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + r.dir}
	if r.uid != os.Geteuid() {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(r.uid), Gid: uint32(r.uid)}}
	}
	return cmd, cancel
}

// plain runs ctbox where nobody changes anything.
func (r *racer) plain(args ...string) {
	r.t.Helper()
	cmd, cancel := r.command(args...)
	defer cancel()
	if out, err := cmd.CombinedOutput(); err != nil {
		r.t.Fatalf("%v: %v\n%s", args, err, out)
	}
}

// A job is a run of ctbox whose output goes to made/out.
type job struct {
	args  []string
	names bool            // standard input is the names of the list
	lines bool            // the output is a list, each line of which is right or wrong
	dir   bool            // the output is a directory, which is not there before
	good  map[string]bool // archives that are right

	always bool // it is right, and can differ, after each deed of a race; otherwise after the last one
}

func (j *job) String() string { return strings.Join(j.args, " ") }

func treeJobs() []*job {
	return []*job{
		{args: []string{"fileids", "in"}, lines: true, always: true},
		{args: []string{"fileids", "-C", "in"}, names: true, lines: true},
		{args: []string{"fileids", "--cache=made/cache", "in"}, lines: true},
		{args: []string{"mklayer", "-C", "in", "tree.list"}},
		{args: []string{"mkinitrd", "-C", "in", "tree.list"}},
		{args: []string{"mklayer", "-C", "in", "--trust-cache=made/trusted", "tree.list"}},
		{args: []string{"mkinitrd", "-C", "in", "--trust-cache=made/trusted", "tree.list"}},
	}
}

// run runs a job and gives what it made, or nil if it failed.
func (r *racer) run(j *job) (made []byte, errs string, err error) {
	r.t.Helper()
	out := r.path("made/out")
	check(r.t, os.RemoveAll(out))
	if !j.dir {
		check(r.t, os.WriteFile(out, []byte("old"), 0o644))
		check(r.t, os.Lchown(out, r.uid, r.uid))
	}
	cmd, cancel := r.command(append(slices.Clone(j.args[:1]), append([]string{"-o", "made/out"}, j.args[1:]...)...)...)
	defer cancel()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if j.names {
		cmd.Stdin = strings.NewReader(r.names())
	}
	r.running.Store(true)
	err = cmd.Run()
	r.running.Store(false)
	return contents(r.t, out), stderr.String(), err
}

// contents is a file, or all files of a directory.
func contents(t *testing.T, path string) (all []byte) {
	t.Helper()
	check(t, filepath.WalkDir(path, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		all = append(all, text...)
		return err
	}))
	return all
}

// names are those of the list.
func (r *racer) names() string {
	text, err := os.ReadFile(r.path("tree.list"))
	check(r.t, err)
	var names strings.Builder
	for line := range strings.Lines(string(text)) {
		name, _, _ := strings.Cut(line, " ")
		names.WriteString(name + "\n")
	}
	return names.String()
}

// prepare forgets what was learned.
func (r *racer) prepare(jobs []*job) {
	r.lines = map[string]bool{}
	for _, j := range jobs {
		j.good = map[string]bool{}
	}
}

// learn notes what jobs make of what is there now, after the last deed or another one.
func (r *racer) learn(jobs []*job, last bool) {
	r.t.Helper()
	for _, j := range jobs {
		if !last && !j.always {
			continue
		}
		made, _, err := r.run(j)
		switch {
		case err != nil:
		case j.lines:
			for line := range strings.Lines(string(made)) {
				r.lines[unlinked(line)] = true
			}
		default:
			j.good[string(made)] = true
		}
		if err := os.Remove(r.path("made/cache")); err != nil && !errors.Is(err, fs.ErrNotExist) {
			r.t.Fatal(err)
		}
	}
}

// unlinked is a line without its hard link: that is about two names, each of which may have been looked at in its own moment.
func unlinked(line string) string {
	line, _, _ = strings.Cut(strings.TrimSuffix(line, "\n"), "-link=")
	return line
}

// judge says what is wrong with the outcome of a run, or "".
func (r *racer) judge(j *job, of race, made []byte, errs string, err error) string {
	var exit *exec.ExitError
	switch {
	case bytes.Contains(made, []byte(secret)) || strings.Contains(errs, secret):
		return "an escape: what lies outside came out"
	case err == nil && !j.lines && !j.good[string(made)]:
		return "status 0 and wrong bytes"
	case err == nil && j.lines:
		for line := range strings.Lines(string(made)) {
			if r.lines != nil && !r.lines[unlinked(line)] {
				return "status 0 and a line that was never true: " + line
			}
		}
	case err == nil:
	case !errors.As(err, &exit) || exit.ExitCode() != 1:
		return err.Error()
	case of.harmless == "all" || strings.Contains(of.harmless, j.args[0]):
		return "a false alarm"
	case string(made) != "old" && !j.dir || j.dir && made != nil:
		return "failed, and the target is not the old one"
	case !strings.HasPrefix(errs, "ctbox "+j.args[0]+": ") || !strings.HasSuffix(errs, "\n") || !j.lines && strings.Count(errs, "\n") > 2:
		return "not the message that one wants"
	}
	for _, e := range r.made() {
		if e != "out" && e != "cache" && e != "trusted" {
			return "left behind: " + e
		}
	}
	return ""
}

// made is what lies in the directory of what is made.
func (r *racer) made() (names []string) {
	entries, err := os.ReadDir(r.path("made"))
	check(r.t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// race runs jobs, each so often and all over again, while the race goes on, until enough of it happened.
func (r *racer) race(of race, jobs []*job, enough int) {
	r.t.Helper()
	if of.prepare != nil {
		of.prepare(r)
	}
	r.prepare(jobs)
	for _, deed := range of.deeds {
		check(r.t, deed(r))
	}
	for i, deed := range of.deeds {
		check(r.t, deed(r))
		r.learn(jobs, i == len(of.deeds)-1)
	}
	end, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		r.swap(of, end)
	}()
	least := len(jobs) * scale(1, 10)
	until, last := r.swaps.Load()+int64(enough), time.Now().Add(2*time.Minute)
	for i := 0; i < least || r.swaps.Load() < until && time.Now().Before(last); i++ {
		j := jobs[i%len(jobs)]
		made, errs, err := r.run(j)
		r.runs++
		if err != nil {
			r.failed++
		}
		if what := r.judge(j, of, made, errs, err); what != "" {
			r.complain("%s: %s: %s\n%s", of.name, j, what, errs)
		}
	}
	close(end)
	<-done
}

// complain counts what is wrong, and says so as long as that is of use.
func (r *racer) complain(format string, args ...any) {
	r.t.Helper()
	if r.wrong++; r.wrong <= 10 {
		r.t.Errorf(format, args...)
	}
}

// swap goes through the deeds of a race until the end, and counts those that were taken while a program ran. Sometimes it lets
// things be for long enough that a program can have its way.
func (r *racer) swap(of race, end <-chan struct{}) {
	for n := 0; ; n++ {
		select {
		case <-end:
			return
		default:
		}
		for _, deed := range of.deeds {
			before := r.running.Load()
			if err := deed(r); err != nil {
				r.t.Errorf("%s: %v", of.name, err)
				return
			}
			if before && r.running.Load() {
				r.swaps.Add(1)
			}
			rest(n)
		}
	}
}

// rest waits for nothing, for some microseconds, or now and then for some milliseconds.
func rest(n int) {
	switch {
	case n%256 == 255:
		time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
	case rand.IntN(4) == 0:
		for until := time.Now().Add(time.Duration(rand.IntN(30)) * time.Microsecond); time.Now().Before(until); {
		}
	}
}
