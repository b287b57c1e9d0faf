//go:build faults

package faults

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// runners are ways to run something. Faults are those of ctbox alone: what it runs is left in peace.
var runners = []*way{
	{args: words("runlocal --changes=OUT/list --layer=OUT/layer root /ctbox sha256 -o /sums /text"), runs: true},
	{args: words("runlocal root /ctbox sha256 /text"), runs: true},
	{args: words("try-fakeroot OUT/state ctbox sha256 app.list"), runs: true},
	{args: words("rundocker --engine=./engine old.image /x"), runs: true},
}

// prepareRunners makes what they need: a root file system with ctbox, and an engine that has the image.
func prepareRunners(t *testing.T) (world string) {
	world = prepare(t)
	requireTool(t, "fakeroot")
	if runners[0].name != "" {
		return world
	}
	script := exec.Command("sh", "-euc", `
mkdir root
cp "$0" root/ctbox
echo text >root/text
chmod -R a+rX root
`, program)
	script.Dir, script.Stderr = world, os.Stderr
	check(t, script.Run())
	check(t, os.WriteFile(filepath.Join(world, "engine"), []byte(fakeEngine), 0o755))
	for i, w := range runners {
		w.prepare(t, world, len(ways)+i)
	}
	return world
}

// fakeEngine has every image.
const fakeEngine = `#!/bin/sh
case "$1 $3" in
version*) echo 20.10.24 ;;
images*) ;;
"inspect image") echo "$6" ;;
create*) echo 0123456789 ;;
start*) echo out ;;
"inspect container") echo '{"Status":"exited","ExitCode":0,"StartedAt":"2026-11-21T07:43:07Z"}' ;;
rm*) ;;
*) exit 99 ;;
esac
`

// steps are calls by which a sandbox is made, beside those that any applet makes.
var steps = []int{unix.SYS_EXECVE, unix.SYS_CHDIR, unix.SYS_PIVOT_ROOT, unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_SETHOSTNAME, unix.SYS_SYMLINKAT,
	unix.SYS_MKNODAT, unix.SYS_UNSHARE, unix.SYS_SETNS, unix.SYS_SOCKET, unix.SYS_SOCKETPAIR, unix.SYS_CAPSET}

// isStep leaves out read(2), by which package syscall learns whether an execve(2) was done: it could not be told more
// wrongly, and waits then for a child that runs.
func isStep(call int, args [2]uint64) bool {
	return isFaulty(call, args) && call != unix.SYS_READ || slices.Contains(steps, call)
}

// TestRunners: each system call by which a program is run fails. The program then runs to its end or not at all, and
// nothing is left of it.
func TestRunners(t *testing.T) {
	world := prepareRunners(t)
	n, wrong := 0, 0
	eachRunner(t, world, func(b *bench, w *way) {
		for i := 1; ; i++ {
			if (i+b.turn)%scale(24, 1) != 0 {
				continue
			}
			f := errnos[i%4]
			r, now := b.once(w, injection{counts: isStep, n: i, errno: f.errno})
			if r.hit < 0 {
				break
			}
			n++
			bad := w.judge(r.result, now, 0)
			if bad == "" {
				bad = left(world)
			}
			if bad != "" {
				wrong++
				t.Errorf("%s, user %d: system call %d, call %d, fails with %q: %s: %s", w.name, b.u, r.hit, i, f.errno, bad, r.result)
			}
		}
	})
	count(t, n, "injected errors while running", wrong)
}

// TestRunnerKills: a signal comes before a system call by which a program is run.
func TestRunnerKills(t *testing.T) {
	world := prepareRunners(t)
	n, wrong := 0, 0
	eachRunner(t, world, func(b *bench, w *way) {
		for i := 1; ; i++ {
			if (i+b.turn)%scale(160, 4) != 0 {
				continue
			}
			sig := kills[i%len(kills)]
			r, now := b.once(w, injection{counts: anyCall, n: i, signal: sig})
			if r.hit < 0 {
				break
			}
			n++
			bad := b.judgeKill(w, r.result, now, sig, r.tooEarly())
			if bad == "" {
				bad = left(world)
			}
			if bad != "" {
				wrong++
				t.Errorf("%s, user %d: %v before call %d (%d): %s: %s", w.name, b.u, sig, i, r.hit, bad, r.result)
			}
		}
	})
	count(t, n, "kills while running", wrong)
}

func eachRunner(t *testing.T, world string, try func(*bench, *way)) {
	for i, w := range runners {
		for _, u := range users() {
			b := &bench{newTracer(world, u), "out", i}
			try(b, w)
			b.close()
		}
	}
}

// left waits until no process runs the program of the sandbox any more, which ends with its parent, but not at once.
func left(world string) string {
	inside, err := os.Stat(filepath.Join(world, "root/ctbox"))
	if err != nil {
		return err.Error()
	}
	running := ""
	for end := time.Now().Add(deadline); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		running = ""
		all, _ := filepath.Glob("/proc/[0-9]*/exe")
		for _, exe := range all {
			if is, err := os.Stat(exe); err == nil && os.SameFile(is, inside) {
				running = exe
			}
		}
		if running == "" {
			return ""
		}
	}
	return "leaves " + running
}
