//go:build faults

package faults

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ctbox/ctbox/tests/treetest"
)

// A workshop is a directory in which one result of each kind is made of a random tree, again and again.
type workshop struct {
	t     *testing.T
	dir   string
	want  string // digests of the results
	n     int    // results that were compared
	wrong int
}

func newWorkshop(t *testing.T) *workshop {
	dir, err := os.MkdirTemp(filepath.Dir(program), "workshop-")
	check(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	check(t, os.Chmod(dir, 0o755))
	script, err := os.ReadFile("../testdata/pipeline.sh")
	check(t, err)
	check(t, os.WriteFile(filepath.Join(dir, "pipeline.sh"), script, 0o644))
	w := &workshop{t: t, dir: dir}
	w.plant("tree")
	w.want = w.results("tree")
	if n := strings.Count(w.want, "\n"); n < 25 {
		t.Fatalf("%d results", n)
	}
	return w
}

// plant makes the tree in a directory, which is new.
func (w *workshop) plant(name string) {
	w.t.Helper()
	dir := filepath.Join(w.dir, name)
	check(w.t, os.MkdirAll(dir, 0o755))
	treetest.Tree{Seed: *firstSeed, Entries: 60, User: true}.Make(w.t, dir)
	touch := exec.Command("find", dir, "-exec", "touch", "-h", "-d", "2001-02-03 04:05:06.789 UTC", "{}", "+")
	if out, err := touch.CombinedOutput(); err != nil {
		w.t.Fatalf("%v\n%s", err, out)
	}
}

// results runs the script on a tree; wrapper is a command line that runs another.
func (w *workshop) results(tree string, wrapper ...string) string {
	w.t.Helper()
	out, err := os.MkdirTemp(w.dir, "out-")
	check(w.t, err)
	defer os.RemoveAll(out)
	check(w.t, os.Chmod(out, 0o777))
	args := append(wrapper, "sh", filepath.Join(w.dir, "pipeline.sh"), filepath.Join(w.dir, tree), program)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = out
	said, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		w.t.Fatalf("%q: %v\n%.2000s", wrapper, err, exit.Stderr)
	}
	check(w.t, err)
	return string(said)
}

// compare makes the results once more, where something that must not matter is different.
func (w *workshop) compare(tree string, wrapper ...string) {
	w.t.Helper()
	w.same(fmt.Sprintf("%s %q", tree, wrapper), w.results(tree, wrapper...))
}

func (w *workshop) same(what, got string) {
	w.t.Helper()
	want := strings.Split(w.want, "\n")
	w.n += len(want) - 1
	for i, line := range strings.Split(got, "\n") {
		if i >= len(want) || line != want[i] {
			w.t.Errorf("%s: %s", what, line)
			w.wrong++
		}
	}
}

// variations are command lines that run another one, and change what must not matter. Those of reprotest(1) are among them.
var variations = []struct{ name, needs, line string }{
	{"environment", "sh", `env -i PATH=/usr/bin:/bin "$@"`},
	{"more environment", "sh", `env LD_LIBRARY_PATH=/nowhere GOGC=1 GOMEMLIMIT=40MiB TMPDIR=/var/tmp USER=x LOGNAME=x SHELL=/bin/false TERM=vt52 COLUMNS=7 "$@"`},
	{"umask", "sh", `umask 0; exec "$@"`},
	{"narrow umask", "sh", `umask 0777; exec "$@"`},
	{"time zone", "sh", `TZ=Pacific/Kiritimati exec "$@"`},
	{"time zone in the west", "sh", `TZ=GMT+12 exec "$@"`},
	{"language", "sh", `LC_ALL=et_EE.UTF-8 LANG=et_EE.UTF-8 LANGUAGE=et_EE:fr exec "$@"`},
	{"language of computers", "sh", `LC_ALL=C.UTF-8 exec "$@"`},
	{"home", "sh", `HOME=/nonexistent/home exec "$@"`},
	{"path", "sh", `PATH=/i/capture/the/path:$PATH exec "$@"`},
	{"time", "faketime", `exec faketime "2038-02-01 00:00:00" "$@"`},
	{"time since boot", "unshare", `exec unshare --time --boottime 100000000 --monotonic 100000000 "$@"`},
	{"no random addresses", "setarch", `exec setarch -R "$@"`},
	{"old kernel", "setarch", `exec setarch x86_64 --uname-2.6 "$@"`},
	{"32 bits", "linux32", `exec linux32 "$@"`},
	{"one processor", "taskset", `exec taskset -c 0 "$@"`},
	{"host name", "unshare", `exec unshare --uts sh -c 'hostname another.example.org && exec "$@"' sh "$@"`},
	{"process numbers", "unshare", `exec unshare --pid --fork --mount-proc "$@"`},
	{"few descriptors", "sh", `ulimit -n 32; exec "$@"`},
	{"no input", "sh", `exec "$@" <&-`},
	{"session", "setsid", `exec setsid --wait "$@"`},
	{"priority", "nice", `exec nice -n 19 "$@"`},
}

// TestReproducible makes one result of each kind, under all that reprotest varies and more. They are always the same bytes.
func TestReproducible(t *testing.T) {
	if os.Geteuid() != 0 {
		lacking(t, "needs root")
	}
	w := newWorkshop(t)
	varied := 0
	for _, v := range variations {
		requireTool(t, v.needs)
		if out, err := exec.Command("sh", "-c", v.line, v.name, "true").CombinedOutput(); err != nil {
			t.Logf("%s cannot be varied here: %v\n%s", v.name, err, out)
			continue
		}
		varied++
		w.compare("tree", "sh", "-c", v.line, v.name)
	}
	if varied < len(variations)-4 { // some kernels and containers do without this or that namespace
		t.Errorf("only %d of %d variations", varied, len(variations))
	}
	for n := 1; n <= 8; n++ {
		w.compare("tree", "env", fmt.Sprint("GOMAXPROCS=", n))
	}
	w.plant("another" + strings.Repeat("/directory", 40))
	w.compare("another" + strings.Repeat("/directory", 40))
	w.otherUser()
	count(t, w.n, "results, made where something is different", w.wrong)
}

// otherUser has an ordinary user make the tree and all that is made of it.
func (w *workshop) otherUser() {
	w.t.Helper()
	f := forest{t: w.t, user: &unprivileged}
	check(w.t, os.Mkdir(filepath.Join(w.dir, "user"), 0o755))
	f.own(filepath.Join(w.dir, "user"))
	f.asUser(func() { w.plant("user/tree") })
	w.compare("user/tree", "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
}

// TestDisorder: the order in which a directory has its files, and how many blocks they take, do not matter.
func TestDisorder(t *testing.T) {
	if os.Geteuid() != 0 {
		lacking(t, "needs root")
	}
	requireTool(t, "disorderfs", "umount")
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skip(err) // which no package brings
	}
	w := newWorkshop(t)
	mount := filepath.Join(w.dir, "mount")
	check(t, os.Mkdir(mount, 0o755))
	orders := []string{"--sort-dirents=yes --reverse-dirents=no", "--sort-dirents=yes --reverse-dirents=yes", "--reverse-dirents=yes"}
	for range scale(20, 200) {
		orders = append(orders, "--shuffle-dirents=yes --pad-blocks=7")
	}
	seen := map[string]bool{}
	for _, order := range orders {
		args := append(strings.Fields(order), "-q", filepath.Join(w.dir, "tree"), mount)
		if out, err := exec.Command("disorderfs", args...).CombinedOutput(); err != nil {
			lacking(t, fmt.Sprintf("disorderfs: %v\n%s", err, out))
		}
		names, err := exec.Command("ls", "-U", mount).Output()
		if err == nil {
			seen[string(names)] = true
			w.compare("mount")
		}
		if out, err := exec.Command("umount", "-l", mount).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		check(t, err)
	}
	if len(seen) < 10 {
		t.Errorf("only %d orders", len(seen))
	}
	count(t, w.n, fmt.Sprintf("results, made of directories in %d orders", len(seen)), w.wrong)
}

// TestReprotest: what varies so much in what Debian builds has no influence here. Another user, for which reprotest needs sudo,
// is in TestReproducible; and so is most of the rest, in less time.
func TestReprotest(t *testing.T) {
	if !*long {
		t.Skip("TestReproducible has the same variations")
	}
	if os.Geteuid() != 0 {
		lacking(t, "needs root")
	}
	requireTool(t, "reprotest", "faketime", "disorderfs")
	w := newWorkshop(t)
	w.plant("source/tree")
	check(t, os.Rename(filepath.Join(w.dir, "pipeline.sh"), filepath.Join(w.dir, "source/pipeline.sh")))
	build := "mkdir out && cd out && sh ../pipeline.sh ../tree " + program + " >sums"
	for range 10 {
		cmd := exec.Command("reprotest", "--no-diffoscope", "--vary=+all,-user_group", "-c", build, filepath.Join(w.dir, "source"), "out/*")
		said, err := cmd.CombinedOutput()
		w.n += strings.Count(string(said), "  ./out/")
		if err != nil || !strings.Contains(string(said), "Reproduction successful") {
			t.Errorf("%v: %v\n%s", cmd, err, said)
			w.wrong++
		}
	}
	count(t, w.n, "results, made twice by reprotest", w.wrong)
}
