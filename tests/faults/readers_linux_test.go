//go:build faults

package faults

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ctbox/ctbox/tests/treetest"
	"golang.org/x/sys/unix"
)

var (
	firstSeed  = flag.Uint64("seed", 0, "seed of the first random tree; the others have those that follow")
	onlyReader = flag.String("reader", "", "the one reader of random trees")
	someTrees  = flag.Int("trees", 0, "how many random trees")
)

// TestReaders packs random trees as layers, images and initrds. What programs that we did not write, and kernels, make of
// these has the same list as the tree.
func TestReaders(t *testing.T) {
	if os.Geteuid() != 0 {
		lacking(t, "needs root")
	}
	if kernels, _ := filepath.Glob("/boot/vmlinuz-*"); len(kernels) == 0 {
		lacking(t, "no kernel in /boot")
	}
	readForests(t, slices.Concat(tarReaders, imageReaders, cpioReaders), scale(300, 10000), nil)
}

// unprivileged is an ordinary user.
var unprivileged = syscall.Credential{Uid: 65534, Gid: 65534}

// TestReadersOfUser: all of it is done by an ordinary user, with what that user can make.
func TestReadersOfUser(t *testing.T) {
	var user *syscall.Credential
	if os.Geteuid() == 0 {
		user = &unprivileged
	}
	var all []*reader
	for _, r := range slices.Concat(tarReaders, imageReaders, cpioReaders) {
		if !r.rootOnly {
			all = append(all, r)
		}
	}
	readForests(t, all, scale(50, 2000), user)
}

func readForests(t *testing.T, readers []*reader, trees int, user *syscall.Credential) {
	trees = cmp.Or(*someTrees, trees)
	readers = slices.DeleteFunc(readers, func(r *reader) bool { return !strings.Contains(r.name, *onlyReader) })
	for _, r := range readers {
		requireTool(t, r.needs...)
	}
	t.Logf("seeds %d to %d", *firstSeed, *firstSeed+uint64(trees)-1)
	size := scale(150, 250) // one process of fileids lists so many, and one guest is booted for them
	v := verdict{seen: map[string]bool{}}
	t.Run("forest", func(t *testing.T) {
		for first := 0; first < trees; first += size {
			t.Run(fmt.Sprint(first), func(t *testing.T) {
				t.Parallel()
				f := plant(t, *firstSeed+uint64(first), min(size, trees-first), user)
				for _, r := range readers {
					f.judge(r, &v)
				}
			})
		}
	})
	v.checkLimits(t, readers, user != nil)
	count(t, v.read, fmt.Sprintf("readings of %d random trees by %d readers", trees, len(readers)), v.wrong)
}

// A verdict is what all forests together say of the readers.
type verdict struct {
	sync.Mutex
	read, wrong int
	seen        map[string]bool // limits of readers that were met
}

func (v *verdict) count(wrong bool) {
	v.Lock()
	defer v.Unlock()
	v.read++
	if wrong {
		v.wrong++
	}
}

func (v *verdict) learn(r *reader, l *limit) {
	v.Lock()
	defer v.Unlock()
	v.seen[r.name+": "+l.why] = true
}

// checkLimits: a limit that nothing needs any more hides what it no longer should.
func (v *verdict) checkLimits(t *testing.T, readers []*reader, user bool) {
	for _, r := range readers {
		for _, l := range r.limits {
			if !v.seen[r.name+": "+l.why] && !(user && l.root) {
				t.Errorf("%s: not needed any more: %s", r.name, l.why)
			}
		}
	}
}

// A record of a list.
type record struct{ name, id string }

// records takes a list with NULs apart.
func records(text string) []record {
	var all []record
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\x00"), "\x00") {
		space := strings.LastIndexByte(line, ' ')
		all = append(all, record{line[:space], line[space+1:]})
	}
	return all
}

// String cuts what is long.
func (r record) String() string {
	return fmt.Sprintf("%d bytes %.20q %.220s", len(r.name), r.name, r.id)
}

func (r record) isDir() bool { return strings.HasPrefix(r.id, "004") }

func text(all []record) string {
	var b strings.Builder
	for _, r := range all {
		b.WriteString(r.name + " " + r.id + "\x00")
	}
	return b.String()
}

// below are the records of a tree that is not the root, but at a name such as "./trees/000".
func below(name string, all []record) []record {
	moved := slices.Clone(all)
	for i := range moved {
		r := &moved[i]
		r.name = name + r.name[1:]
		r.id = strings.Replace(r.id, "-link=.", "-link="+name, 1)
	}
	return moved
}

// A forest is some trees, each packed alone or all at once. Its directory has them in "trees", by their numbers.
type forest struct {
	t     *testing.T
	dir   string
	first uint64 // seed of the first tree
	user  *syscall.Credential
	faked string // the state of fakeroot, which knows what the user's files are
	lists [][]record
	made  map[string]string // archives, by what they are made of
}

// plant makes the trees of n seeds, and their lists.
func plant(t *testing.T, first uint64, n int, user *syscall.Credential) *forest {
	dir, err := os.MkdirTemp(filepath.Dir(program), "forest-")
	check(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	f := &forest{t: t, dir: dir, first: first, user: user, made: map[string]string{}}
	f.own(dir)
	trees := f.outs("trees", n)
	f.asUser(func() {
		for i := range n {
			f.tree(i).Make(t, filepath.Join(trees, number(i)))
		}
	})
	f.lists = f.split(f.fileids(trees), n)
	if alone := records(f.fileids(filepath.Join(trees, number(0)))); !slices.Equal(alone, f.lists[0]) {
		t.Errorf("a tree alone has the list\n%q, in a forest\n%q", alone, f.lists[0])
	}
	return f
}

func number(i int) string { return fmt.Sprintf("%03d", i) }

func (f *forest) tree(i int) treetest.Tree {
	seed := f.first + uint64(i)
	return treetest.Tree{Seed: seed, Entries: int(seed*7) % 45, User: f.user != nil || os.Geteuid() != 0, Odd: true}
}

func (f *forest) own(path string) {
	if f.user != nil {
		check(f.t, os.Chown(path, int(f.user.Uid), int(f.user.Gid)))
	}
}

// asUser calls make in a thread that has the user's rights in file systems.
func (f *forest) asUser(make func()) {
	if f.user != nil {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		unix.SetfsuidRetUid(int(f.user.Uid))
		defer unix.SetfsuidRetUid(0)
		unix.SetfsgidRetGid(int(f.user.Gid))
		defer unix.SetfsgidRetGid(0)
	}
	make()
}

// outs makes a directory of n empty ones.
func (f *forest) outs(name string, n int) string {
	dir := filepath.Join(f.dir, name)
	for i := range n {
		out := filepath.Join(dir, number(i))
		check(f.t, os.MkdirAll(out, 0o755))
		f.own(out)
	}
	f.own(dir)
	return dir
}

// run runs a program as the user, in the forest's directory, and returns its standard output. Half an hour is for ever.
func (f *forest) run(stdin string, args ...string) string {
	f.t.Helper()
	var stdout bytes.Buffer
	f.runTo(&stdout, stdin, args...)
	return stdout.String()
}

func (f *forest) runTo(stdout io.Writer, stdin string, args ...string) {
	f.t.Helper()
	ctx, stop := context.WithTimeout(f.t.Context(), 30*time.Minute)
	defer stop()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = f.dir, strings.NewReader(stdin), stdout, &stderr
	cmd.Env = append(os.Environ(), "HOME="+f.dir, "XDG_CACHE_HOME="+f.dir+"/cache", "LC_ALL=C.UTF-8")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: f.user}
	if err := cmd.Run(); err != nil {
		f.t.Fatalf("seeds from %d on: %s: %v\n%.2000s", f.first, strings.Join(args, " "), err, stderr.Bytes())
	}
}

// fileids lists a tree. All that an ordinary user has is root's in the list, as it is to be in the container.
func (f *forest) fileids(dir string) string {
	f.t.Helper()
	args := []string{program, "fileids", "-0"}
	switch {
	case f.faked != "":
		args = append(args, "-F", f.faked)
	case f.user != nil || os.Geteuid() != 0:
		args = append(args, "--owner=0:0")
	}
	return f.run("", append(args, dir)...)
}

// split takes the list of a directory with trees apart.
func (f *forest) split(list string, n int) [][]record {
	lists := make([][]record, n)
	for _, r := range records(list) {
		var i int
		if r.name == "." {
			continue
		}
		if _, err := fmt.Sscanf(r.name, "./%03d", &i); err != nil || i >= n {
			f.t.Fatalf("seeds from %d on: what is %q?", f.first, r.name)
		}
		r.name = "." + r.name[len("./000"):]
		r.id = strings.Replace(r.id, "-link=./"+number(i), "-link=.", 1)
		lists[i] = append(lists[i], r)
	}
	return lists
}

// pack makes the archive of a list, whose names are relative to a directory in that of the forest, unless it is there. It
// writes to standard output, which spares the fsync of each.
func (f *forest) pack(dir, list string, applet ...string) string {
	f.t.Helper()
	key := dir + list + strings.Join(applet, " ")
	if f.made[key] == "" {
		path := filepath.Join(f.dir, fmt.Sprintf("archive-%d.layer", len(f.made)))
		file, err := os.Create(path)
		check(f.t, err)
		defer file.Close()
		f.runTo(file, list, slices.Concat([]string{program, applet[0], "-0", "-C", dir}, applet[1:])...)
		f.made[key] = path
	}
	return f.made[key]
}

// judge compares what a reader makes of the forest with its lists.
func (f *forest) judge(r *reader, v *verdict) {
	f.t.Helper()
	lists := make([][]record, len(f.lists))
	for i, list := range f.lists {
		lists[i] = list
		if r.whiteouts != nil {
			lists[i] = withDeletions(list)
		}
	}
	for i, wrong := range f.read(r, lists, v) {
		if wrong != "" {
			f.t.Errorf("%s: tree of seed %d: %s", r.name, f.first+uint64(i), wrong)
		}
		v.count(wrong != "")
	}
}

// read says for each tree what is wrong with what a reader makes of it.
func (f *forest) read(r *reader, lists [][]record, v *verdict) []string {
	f.t.Helper()
	got, wrong := r.read(f, r, lists)
	want := make([][]record, len(lists))
	for i, list := range lists {
		if want[i] = list; r.whiteouts != nil {
			want[i] = r.whiteouts(list)
		}
	}
	for _, l := range r.limits {
		var changed bool
		if want, changed = l.apply(want); changed {
			v.learn(r, l)
		}
	}
	for i := range want {
		wrong[i] += differences(want[i], got[i])
	}
	return wrong
}

// withDeletions adds records of deleted names to a list.
func withDeletions(list []record) []record {
	var all []record
	for i, r := range list {
		if all = append(all, r); i%5 == 0 && r.isDir() {
			all = append(all, record{r.name + "/gone", "-"})
		}
	}
	return sorted(all)
}

// asFiles are deletions as they look to those who know nothing of layers: empty files with a name of their own.
func asFiles(list []record) []record {
	all := slices.Clone(list)
	for i, r := range all {
		if r.id == "-" {
			all[i] = record{strings.TrimSuffix(r.name, "gone") + ".wh.gone", fmt.Sprintf("0100644-0-0-%x", sha256.Sum256(nil))}
		}
	}
	return sorted(all)
}

func sorted(list []record) []record {
	slices.SortFunc(list, func(a, b record) int { return cmp.Compare(a.name, b.name) })
	return list
}

// differences shows the first few records that are not alike.
func differences(want, got []record) string {
	var b strings.Builder
	shown := 0
	for len(want)+len(got) > 0 && shown < 4 {
		switch {
		case len(got) == 0 || len(want) > 0 && want[0].name < got[0].name:
			fmt.Fprintf(&b, "\nlost   %s", want[0])
			want, shown = want[1:], shown+1
		case len(want) == 0 || got[0].name < want[0].name:
			fmt.Fprintf(&b, "\nfound  %s", got[0])
			got, shown = got[1:], shown+1
		default:
			if want[0] != got[0] {
				fmt.Fprintf(&b, "\npacked %s\nread   %s", want[0], got[0])
				shown++
			}
			want, got = want[1:], got[1:]
		}
	}
	return b.String()
}
