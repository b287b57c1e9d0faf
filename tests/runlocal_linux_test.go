package tests

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// A localBench is a directory of one user, in which runlocal runs trees as that user.
type localBench struct {
	t      *testing.T
	dir    string
	uid    int
	wrap   []string // what ctbox is started by
	number int      // of the bench
	mark   string   // is in the environment of all that is started, if it lets the sandbox have it
}

var localBenches atomic.Int32

// localUser is who is not root in tests of runlocal.
const localUser = 61235

// asEach runs a test as root, as an ordinary user, and as one who is root in a user namespace of its own, all at once.
func asEach(t *testing.T, test func(*localBench)) {
	t.Helper()
	t.Run("root", func(t *testing.T) {
		t.Parallel()
		requireRoot(t)
		test(newLocalBench(t, 0))
	})
	t.Run("user", func(t *testing.T) {
		t.Parallel()
		test(ordinaryBench(t))
	})
	t.Run("namespace", func(t *testing.T) {
		t.Parallel()
		requireTool(t, "unshare")
		b := ordinaryBench(t)
		b.wrap = []string{"unshare", "-r"}
		test(b)
	})
}

// ordinaryBench is that of an ordinary user: who runs the tests, unless it is root.
func ordinaryBench(t *testing.T) *localBench {
	t.Helper()
	if uid := os.Geteuid(); uid != 0 {
		return newLocalBench(t, uid)
	}
	return newLocalBench(t, localUser)
}

func newLocalBench(t *testing.T, uid int) *localBench {
	t.Helper()
	b := &localBench{t: t, dir: t.TempDir(), uid: uid, number: int(localBenches.Add(1))}
	b.mark = "CTBOX_TEST=" + filepath.Base(filepath.Dir(b.dir))
	for _, dir := range []string{filepath.Dir(b.dir), b.dir} {
		check(t, os.Chmod(dir, 0o755))
		b.own(dir)
	}
	t.Cleanup(func() {
		noneLeft(t, b.mark)
		b.sweep()
		// what a user did under another user id inside is root's to remove
		filepath.WalkDir(b.dir, func(path string, d fs.DirEntry, _ error) error {
			if d != nil && d.IsDir() {
				os.Chmod(path, 0o755)
			}
			return nil
		})
	})
	return b
}

// sweep kills what is left of the bench's runs, lest a failure outlive the test.
func (b *localBench) sweep() {
	paths, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range paths {
		if env, err := os.ReadFile(path); err == nil && bytes.Contains(env, []byte(b.mark)) {
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
				syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	}
}

func (b *localBench) path(name string) string { return filepath.Join(b.dir, name) }

// own gives a file to the user.
func (b *localBench) own(path string) {
	b.t.Helper()
	if b.uid != os.Geteuid() {
		check(b.t, os.Lchown(path, b.uid, b.uid))
	}
}

// mkdir makes a directory of the user, and what leads to it, and returns its path.
func (b *localBench) mkdir(name string) string {
	b.t.Helper()
	path := b.path(name)
	for dir := path; dir != b.dir; dir = filepath.Dir(dir) {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			b.t.Fatal(err)
		}
		b.own(dir)
	}
	return path
}

func (b *localBench) write(name, content string, mode fs.FileMode) string {
	b.t.Helper()
	b.mkdir(filepath.Dir(name))
	path := b.path(name)
	check(b.t, os.WriteFile(path, []byte(content), 0o600))
	b.own(path)
	check(b.t, os.Chmod(path, mode)) // after the change of owner, which takes setuid away
	now := time.Now()
	check(b.t, os.Chtimes(path, now.Add(time.Hour), now.Add(-time.Hour))) // relatime has no reason to note that it is read
	return path
}

func (b *localBench) symlink(target, name string) {
	b.t.Helper()
	b.mkdir(filepath.Dir(name))
	check(b.t, os.Symlink(target, b.path(name)))
	b.own(b.path(name))
}

// tree makes a root file system that holds nothing but a program as /init, and returns its path.
func (b *localBench) tree(name, program string) string {
	b.t.Helper()
	b.program(name+"/init", program)
	return b.path(name)
}

// program copies one.
func (b *localBench) program(name, from string) string {
	b.t.Helper()
	text, err := os.ReadFile(from)
	check(b.t, err)
	return b.write(name, string(text), 0o755)
}

// attacked is a tree with the program of testdata/attack.
func (b *localBench) attacked() string { return b.tree("tree", attackProbe(b.t)) }

// runlocal prepares ctbox runlocal. The sandbox is marked, too.
func (b *localBench) runlocal(args ...string) *exec.Cmd {
	b.t.Helper()
	return b.command(append(append([]string{staticCtbox(b.t), "runlocal"}, "-e", b.mark), args...)...)
}

// command prepares a command of the user. A minute is for ever.
func (b *localBench) command(args ...string) *exec.Cmd {
	b.t.Helper()
	args = append(append([]string{}, b.wrap...), args...)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	b.t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.WaitDelay = 5 * time.Second // for what ctbox should not have left behind
	cmd.Dir, cmd.Env = b.dir, []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", b.mark}
	if b.uid != os.Geteuid() {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(b.uid), Gid: uint32(b.uid)}}
	}
	return cmd
}

// euid is what ctbox sees as its user.
func (b *localBench) euid() int {
	if len(b.wrap) > 0 {
		return 0
	}
	return b.uid
}

// expect runs a command line of runlocal and compares all that it did.
func (b *localBench) expect(stdout, stderr string, status int, args ...string) {
	b.t.Helper()
	expect(b.t, b.runlocal(args...), stdout, stderr, status)
}

// host is a directory outside of every sandbox that nobody may touch.
func (b *localBench) host() string {
	b.t.Helper()
	b.write("host/secret", "of the host\n", 0o644)
	b.write("host/dir/file", "also\n", 0o666)
	b.write("host/null", "not a device\n", 0o666)
	b.mkdir("host/dir/sub")
	return b.path("host")
}

// unchanged returns a check that nothing below dir has changed, not even a time.
func (b *localBench) unchanged(dir string) func() {
	b.t.Helper()
	before := treeState(b.t, dir)
	return func() {
		b.t.Helper()
		sameState(b.t, treeState(b.t, dir), before)
	}
}

// treeState is the content of each file in a tree, and all that stat(2) tells of it.
func treeState(t *testing.T, dir string) string {
	t.Helper()
	return fileIDs(t, dir) + fileStats(t, dir)
}

// sameState compares two texts of a line for each file.
func sameState(t *testing.T, got, want string) {
	t.Helper()
	gone, came := strings.SplitAfter(want, "\n"), strings.SplitAfter(got, "\n")
	for _, line := range gone {
		if !slices.Contains(came, line) {
			t.Errorf("was:    %s", line)
		}
	}
	for _, line := range came {
		if !slices.Contains(gone, line) {
			t.Errorf("is now: %s", line)
		}
	}
}

func fileIDs(t *testing.T, dir string) string {
	t.Helper()
	list, errs, err := try("", staticCtbox(t), "fileids", dir)
	if err != nil {
		t.Fatalf("fileids: %v\n%s", err, errs)
	}
	return list
}

// fileStats does not read files, but directories.
func fileStats(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	check(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st syscall.Stat_t
		if err := syscall.Lstat(path, &st); err != nil {
			return err
		}
		if st.Mode&syscall.S_IFMT == syscall.S_IFDIR {
			st.Atim = syscall.Timespec{} // we have read it ourselves
		}
		fmt.Fprintf(&all, "%s: inode %d mode %o links %d owner %d:%d device %d size %d times %v %v %v\n", path,
			st.Ino, st.Mode, st.Nlink, st.Uid, st.Gid, st.Rdev, st.Size, st.Atim, st.Mtim, st.Ctim)
		return nil
	}))
	return all.String()
}

var attackBuild struct {
	sync.Once
	path string
	err  error
}

// attackProbe is the program of testdata/attack, static, compiled once.
func attackProbe(t *testing.T) string {
	t.Helper()
	requireTool(t, "gcc")
	attackBuild.Do(func() {
		var dir string
		if dir, attackBuild.err = sharedDir("read -r _"); attackBuild.err != nil {
			return
		}
		attackBuild.path = filepath.Join(dir, "attack")
		sources, _ := filepath.Glob("testdata/attack/*.c")
		args := append([]string{"-Wall", "-Wextra", "-Werror", "-O1", "-static", "-o", attackBuild.path}, sources...)
		if out, err := exec.Command("gcc", args...).CombinedOutput(); err != nil {
			attackBuild.err = fmt.Errorf("gcc: %v\n%s", err, out)
		}
	})
	check(t, attackBuild.err)
	return attackBuild.path
}

// victim is a process of the user outside of the sandbox. It must live until the test has ended.
func (b *localBench) victim() string {
	b.t.Helper()
	cmd := b.command("sleep", "60")
	check(b.t, cmd.Start())
	b.t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.Signal(0)); err != nil || processState(cmd.Process.Pid) == "Z" {
			b.t.Errorf("a process of the host has died: %v", err)
		}
		cmd.Process.Kill()
		cmd.Wait()
	})
	return strconv.Itoa(cmd.Process.Pid)
}

// processState is the letter that ps(1) shows; empty if there is no such process.
func processState(pid int) string {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := bytes.Cut(stat, []byte(") "))
	if len(rest) == 0 {
		return ""
	}
	return string(rest[:1])
}
