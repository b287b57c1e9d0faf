//go:build faults

package faults

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// A way is a command line whose result is known: one of each way in which ctbox writes. What it writes is in a
// directory of its own, OUT, in which nothing else may be when it has ended.
type way struct {
	args  []string // relative to the world; OUT is the directory that it writes to
	stdin string   // a file of the world
	warns bool     // it can do without a file that it was told of, and says so then
	runs  bool     // it runs something, and has statuses of its own for what it could not do

	name     string
	old, new state  // of OUT, before and after
	out      string // standard output
	oldDir   string // OUT as it is before
	newDir   string // and as it is then
}

// ways are all commands that faults are tried on. The old files are what oldFiles makes.
var ways = []*way{
	{args: words("dockjson -t template -o OUT/json app base")},
	{args: words("fileids --owner=0:0 -o OUT/list tree")},
	{args: words("fileids --owner=0:0 -C tree -o OUT/list"), stdin: "names"},
	{args: words("fileids --owner=0:0 --cache=OUT/cache -o OUT/list tree"), warns: true},
	{args: words("fileids --owner=0:0 tree")},
	{args: words("fileids -T app.layer -o OUT/list")},
	{args: words("flatten -o OUT/tar"), stdin: "layers"},
	{args: words("flatten -z gzip -o OUT/tar"), stdin: "layers"},
	{args: words("flatten -z zstd -o OUT/tar"), stdin: "layers"},
	{args: words("gz -o OUT/gz app.layer")},
	{args: words("gz -l 1"), stdin: "app.layer"},
	{args: words("listdiff -o OUT/list base.list app.list")},
	{args: words("listdiff base.list"), stdin: "app.list"},
	{args: words("listmerge -o OUT/list base.list app.list")},
	{args: words("memcalc app.initrd")},
	{args: words("mkdisk -C tree -o OUT/disk app.list")},
	{args: words("mkimage -o OUT/image layers")},
	{args: words("mkimage -z gzip -o OUT/image layers")},
	{args: words("mkimage -z zstd -q -o OUT/image layers")},
	{args: words("mkimage -z gzip --reuse=OUT/image -o OUT/image layers"), warns: true},
	{args: words("mkimage -q --format=v1 -t template --tag=a:b -o OUT/image layers")},
	{args: words("mkimage --format=oci-dir -o OUT/layout layers")},
	{args: words("mkimage --format=oci-dir -z gzip -o OUT/layout --digest-file=OUT/digests"), stdin: "layers"},
	{args: words("mkimage --digest-file=OUT/digests -o OUT/image layers")},
	{args: words("mkimage --format=aci --tag=a:b -o OUT/aci layers")},
	{args: words("mkimage"), stdin: "layers"},
	{args: words("mkinitrd -C tree -o OUT/initrd app.list")},
	{args: words("mkinitrd -C tree -z gzip -o OUT/initrd app.list")},
	{args: words("mkinitrd -C tree -z zstd -o OUT/initrd app.list")},
	{args: words("mkinitrd -C tree --rdinit=tree/lib/elf"), stdin: "app.list"},
	{args: words("mklayer -C tree -o OUT/layer app.list")},
	{args: words("mklayer -C tree -z gzip -o OUT/layer app.list")},
	{args: words("mklayer -C tree -z zstd -o OUT/layer app.list")},
	{args: words("mklayer -C tree --trust-cache=cache --mtime=keep -o OUT/layer app.list"), warns: true},
	{args: words("mklayer -C tree"), stdin: "app.list"},
	{args: words("sha256 -o OUT/sums app.layer app.list")},
	{args: words("sha256 -c sums")},
	{args: words("sha256"), stdin: "app.layer"},
	{args: words("runlocal-changes --changes=OUT/list --layer=OUT/layer tree lower")},
	{args: words("runlocal-changes -z gzip --layer=OUT/layer tree lower")},
}

func words(s string) []string { return strings.Fields(s) }

// A state is what is in a directory: for each name the mode and the content of a file, or of all files below it.
type state map[string]string

func stateOf(dir string) state {
	s := state{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return state{".": err.Error()}
	}
	for _, e := range entries {
		sum := sha256.New()
		filepath.WalkDir(filepath.Join(dir, e.Name()), func(path string, d fs.DirEntry, err error) error {
			info, err2 := os.Lstat(path)
			if err != nil || err2 != nil {
				fmt.Fprintln(sum, err, err2)
				return nil
			}
			fmt.Fprintln(sum, strings.TrimPrefix(path, dir), info.Mode())
			if info.Mode().IsRegular() {
				content, err := os.ReadFile(path)
				fmt.Fprintln(sum, len(content), err)
				sum.Write(content)
			}
			return nil
		})
		s[e.Name()] = fmt.Sprintf("%x", sum.Sum(nil)[:8])
	}
	return s
}

var (
	makeWorld sync.Once
	theWorld  string
)

// prepare gives the world, a directory with all that the ways read. It is made once, and so are the old files of all ways
// and what they write when nothing fails.
func prepare(t *testing.T) (world string) {
	t.Helper()
	requireTool(t, "awk", "dd", "truncate")
	makeWorld.Do(func() {
		world := outside(t, "/dev/shm")           // where fsync costs nothing
		tree := outside(t, filepath.Dir(program)) // on a disk, as caches want it
		check(t, os.Symlink(tree, filepath.Join(world, "tree")))
		fill(t, world)
		for i, w := range ways {
			w.prepare(t, world, i)
		}
		theWorld = world
	})
	if theWorld == "" {
		t.Fatal("there is no world, as an earlier test says")
	}
	return theWorld
}

// outside makes a directory below dir, or where all directories of these tests are, for all users.
func outside(t *testing.T, dir string) string {
	t.Helper()
	path, err := os.MkdirTemp(dir, "ctbox-faults-")
	if err != nil {
		path, err = os.MkdirTemp(filepath.Dir(program), "world-")
	}
	check(t, err)
	atExit = append(atExit, func() { os.RemoveAll(path) })
	check(t, os.Chmod(path, 0o755))
	return path
}

// fill makes what the ways read.
func fill(t *testing.T, world string) {
	t.Helper()
	script := exec.Command("sh", "-euc", worldScript)
	script.Dir, script.Stderr = world, os.Stderr
	script.Env = append(os.Environ(), "PATH="+filepath.Dir(program)+":"+os.Getenv("PATH"))
	check(t, script.Run())
}

// prepare finds out what the way, one of many, does.
func (w *way) prepare(t *testing.T, world string, i int) {
	t.Helper()
	w.name = strings.Join(w.args, " ")
	if w.stdin != "" {
		w.name += " <" + w.stdin
	}
	w.oldDir = filepath.Join(world, fmt.Sprintf("old-%d", i))
	check(t, os.Mkdir(w.oldDir, 0o755))
	w.oldFiles(t, world)
	w.old = stateOf(w.oldDir)
	first := fmt.Sprintf("new-%d", i)
	w.newDir = filepath.Join(world, first)
	check(t, w.reset(w.newDir, self))
	cmd := w.command(world, first)
	stdout, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v: %s", w.name, err, cmd.Stderr)
	}
	w.out, w.new = string(stdout), stateOf(w.newDir)
	for name := range w.old {
		if w.old[name] == w.new[name] {
			t.Fatalf("%s: does not change %s", w.name, name)
		}
	}
}

// worldScript makes files that are small, since they are packed thousands of times, but of every kind that goes its own way.
const worldScript = `
mkdir -p tree/bin tree/lib tree/empty lower
echo text >tree/a
chmod 640 tree/bin
chmod 755 tree/bin
awk 'BEGIN { for (i = 0; i < 9000; i++) print i * i, "what a layer holds" }' >tree/bin/large
ln tree/a tree/hard
ln -s a tree/soft
cp "$(command -v ctbox)" tree/lib/elf
dd if=/dev/null of=tree/lib/elf bs=1 seek=4096 2>/dev/null
truncate -s 300K tree/sparse
echo base >lower/a
chmod 644 tree/a tree/bin/large tree/sparse
chmod 755 tree/lib/elf
ctbox fileids --owner=0:0 -o app.list tree
ctbox fileids --owner=0:0 -o base.list lower
ctbox fileids --owner=0:0 --cache=cache -o again.list tree
cmp app.list again.list
sed 's/ .*//' app.list >names
for name in app base; do
	if [ $name = app ]; then dir=tree; else dir=lower; fi
	ctbox mklayer -C $dir -o $name.layer $name.list
	ctbox sha256 $name.list >$name.list.sha256
done
ctbox mkinitrd -C tree -o app.initrd app.list
printf 'base\napp\n' >layers
ctbox sha256 app.layer app.list base.list >sums
echo '{"config": {"Cmd": ["/init"]}, "os": "linux", "architecture": "amd64"}' >template
echo base | ctbox mkimage -z gzip -o old.image
echo base | ctbox mkimage --format=oci-dir -o old.layout
chmod 644 cache
chmod -R a+rX .
`

// oldFiles puts into oldDir what the way is to replace. The mode is one that no umask gives.
func (w *way) oldFiles(t *testing.T, world string) {
	for _, arg := range w.args {
		_, name, ok := strings.Cut(arg, "OUT/")
		if !ok {
			continue
		}
		path := filepath.Join(w.oldDir, name)
		switch name {
		case "layout":
			check(t, copyAll(path, filepath.Join(world, "old.layout")))
		case "image":
			check(t, copyAll(path, filepath.Join(world, "old.image")))
			check(t, os.Chmod(path, 0o604))
		case cacheName, "state": // a first run makes it
		default:
			check(t, os.WriteFile(path, []byte("old\n"), 0o604))
			check(t, os.Chmod(path, 0o604))
		}
	}
}

// copyAll copies a file, or a directory with what is below it.
func copyAll(to, from string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		target := to + strings.TrimPrefix(path, from)
		if d.IsDir() {
			return os.Mkdir(target, info.Mode())
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, content, info.Mode())
	})
}

// reset makes out what it is before a run.
func (w *way) reset(out string, u user) error {
	if err := os.RemoveAll(out); err != nil {
		return err
	}
	if err := copyAll(out, w.oldDir); err != nil {
		return err
	}
	if u == self {
		return nil
	}
	return filepath.WalkDir(out, func(path string, _ fs.DirEntry, err error) error { return os.Lchown(path, int(u), int(u)) })
}

// argv is the command line, for files in out.
func (w *way) argv(out string) []string {
	argv := []string{program}
	for _, arg := range w.args {
		argv = append(argv, strings.ReplaceAll(arg, "OUT", out))
	}
	return argv
}

func (w *way) environ() []string {
	return []string{"PATH=" + filepath.Dir(program) + ":/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME=/nonexistent", "TMPDIR=/tmp"}
}

// input opens what the command reads.
func (w *way) input(world string) *os.File {
	f, err := os.Open(os.DevNull)
	if w.stdin != "" {
		f, err = os.Open(filepath.Join(world, w.stdin))
	}
	if err != nil {
		panic(err)
	}
	return f
}

// command runs the way with nothing in its way; Stderr is a buffer.
func (w *way) command(world, out string) *exec.Cmd {
	cmd := exec.Command(program, w.argv(out)[1:]...)
	cmd.Dir, cmd.Env, cmd.Stderr = world, w.environ(), new(bytes.Buffer)
	if w.stdin != "" {
		cmd.Stdin = w.input(world)
	}
	return cmd
}

// A user is who runs ctbox.
type user int

const (
	self   user = -1    // who runs the test
	nobody user = 65534 // somebody without rights
)

// users are who can be tried: root can be anybody.
func users() []user {
	if os.Geteuid() == 0 {
		return []user{self, nobody}
	}
	return []user{self}
}

func (u user) credential() *syscall.Credential {
	if u == self {
		return nil
	}
	return &syscall.Credential{Uid: uint32(u), Gid: uint32(u)}
}

// A result is how a command ended.
type result struct {
	status      syscall.WaitStatus
	out, errOut string
	hung        bool
}

func (r result) String() string {
	how := fmt.Sprintf("status %d", r.status.ExitStatus())
	if r.status.Signaled() {
		how = r.status.Signal().String()
	}
	if r.hung {
		how = "hung"
	}
	return fmt.Sprintf("%s, stderr %q", how, r.errOut)
}

// Lines of standard error are about the applet, and name no file that only ctbox knows of: that is a target's name with
// a dot before it and a number after it.
var (
	messageLine = regexp.MustCompile(`^ctbox [a-z0-9-]+: [^\n]+\n$`)
	tempName    = regexp.MustCompile(`\.([a-z]+)-?[0-9]{6,}`)
)

// cacheName is the one file in OUT that need not be the old or the new one: an error keeps what was found until then.
const cacheName = "cache"

// judge says what is wrong with a run that failed or did not, in a directory that is now as it is; "" if nothing is.
// temps is how many temporary files may be left of each target.
func (w *way) judge(r result, now state, temps int) string {
	if r.hung {
		return "does not end"
	}
	renewed := true
	left := map[string]int{}
	for name, is := range now {
		_, known := w.new[name]
		temp := tempName.FindStringSubmatch(name)
		switch {
		case !known && temp != nil:
			_, ours := w.new[temp[1]]
			if left[temp[1]]++; left[temp[1]] > temps || !ours {
				return "leaves " + name
			}
		case name == cacheName: // what is in it, only a next run can tell
		case is != w.old[name] && is != w.new[name]:
			return name + " is neither the old nor the new one"
		}
	}
	for name := range w.new {
		if now[name] == w.new[name] {
			continue
		}
		if _, was := w.old[name]; was && now[name] == "" {
			return name + " has gone"
		}
		renewed = renewed && name == cacheName
	}
	if !r.status.Exited() {
		return ""
	}
	return w.judgeStatus(r, renewed)
}

// judgeStatus says what is wrong with the status and what was said.
func (w *way) judgeStatus(r result, renewed bool) string {
	for line := range strings.Lines(r.errOut) {
		if !messageLine.MatchString(line) {
			return "says what is not a message"
		}
		if tempName.MatchString(line) {
			return "names a temporary file"
		}
	}
	switch status := r.status.ExitStatus(); {
	case status == 0 && !renewed:
		return "has status 0 without the new files"
	case status == 0 && r.out != w.out:
		return "has status 0 and wrong output"
	case status == 0 && r.errOut != "" && !w.warns:
		return "has status 0 and complains"
	case status > 1 && !(w.runs && (status == 125 || status == 126)):
		return "has a status that no manual knows"
	case status != 0 && r.errOut == "":
		return "fails and does not say why"
	}
	return ""
}

// TestWays: whatever option says that it writes, some way uses it, with each compression and format.
func TestWays(t *testing.T) {
	prepare(t)
	option := regexp.MustCompile(`(?m)^ +(?:-(\w), |    )--([a-z-]+)=(\S+)[\s]*((?:.*\n(?: {20,}\S.*\n)*)?)`)
	n, missing := 0, 0
	for applet := range strings.FieldsSeq(ctbox(t, "", "", "--list")) {
		help := ctbox(t, "", "", applet, "--help")
		for _, o := range option.FindAllStringSubmatch(help, -1) {
			letter, name, value, text := o[1], o[2], o[3], strings.Join(strings.Fields(o[4]), " ")
			values := []string{""}
			if name == "compress" || name == "format" {
				values = strings.Split(value, "|")[1:] // the first is what it is without the option
			} else if !writes.MatchString(text) {
				continue
			}
			for _, value := range values {
				n++
				if !used(applet, letter, name, value) {
					missing++
					t.Errorf("%s: no way uses --%s=%s", applet, name, value)
				}
			}
		}
	}
	if n < 15 {
		t.Errorf("only %d options that write: does the test still understand --help?", n)
	}
	count(t, n, "ways of writing that the options name", missing)
}

// writes matches the help of options whose value is a file that is written.
var writes = regexp.MustCompile(`(?i)\b(write FILE|write the digests|keep FILE up|write the list|pack what it)\b`)

func used(applet, letter, name, value string) bool {
	return slices.ContainsFunc(ways, func(w *way) bool {
		if w.args[0] != applet && !(applet == "runlocal" && w.args[0] == "runlocal-changes") {
			return false
		}
		for i, arg := range w.args {
			long, short := strings.HasPrefix(arg, "--"+name+"="+value), letter != "" && arg == "-"+letter
			if long || short && (value == "" || w.args[i+1] == value) {
				return true
			}
		}
		return false
	})
}
