package tests

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestRunlocalKilledAtAnyTime runs many sandboxes, four at once, and kills a third of them. Nothing may be left of any: no process, mount,
// cgroup or file, and DIR has not changed in anything.
func TestRunlocalKilledAtAnyTime(t *testing.T) {
	runs := 500
	if testing.Short() {
		runs = 60
	}
	for _, uid := range []int{0, localUser} {
		t.Run(fmt.Sprint(uid), func(t *testing.T) {
			if uid == 0 {
				requireRoot(t)
			}
			b := ordinaryBench(t)
			if uid == 0 {
				b = newLocalBench(t, 0)
			}
			s := &soak{localBench: b, tree: b.probeTree(), tmp: b.mkdir("tmp")}
			for i := range 20 {
				b.write(fmt.Sprintf("probe/dir%d/file", i), strings.Repeat("x", i*1000), 0o644)
			}
			unchanged, left := b.unchanged(s.tree), b.hostState()
			s.all(runs / 2)
			unchanged()
			noneLeft(t, b.mark)
			if files, err := os.ReadDir(s.tmp); len(files) > 0 || err != nil {
				t.Errorf("left in TMPDIR: %v, %v", files, err)
			}
			b.expect("", "", 0, "--limit=pids=100", s.tree, "/init", "exit", "0") // which sweeps up the cgroups of runs that were killed
			sameState(t, b.hostState(), left)
			t.Logf("%d of %d were killed", s.killed, runs/2)
		})
	}
}

// A soak counts. Its tests are those of one user.
type soak struct {
	*localBench
	tree, tmp string
	sync.Mutex
	killed int
}

func (s *soak) all(runs int) {
	var wait sync.WaitGroup
	next := make(chan int)
	for range 4 {
		wait.Go(func() {
			for i := range next {
				s.one(i)
			}
		})
	}
	for i := range runs {
		next <- i
	}
	close(next)
	wait.Wait()
}

// one runs a program that ends by itself, or one that does not and is killed: while it is set up, at its start, or later.
func (s *soak) one(i int) {
	kinds := [][]string{{"exit", "3"}, {"orphans", "3"}, {"ruin", "/"}}
	args, killed := kinds[i%len(kinds)], i%3 == 2
	if killed {
		args = [][]string{{"trap", "1"}, {"stubborn"}, {"mute"}}[i/3%3]
	}
	options := [][]string{nil, {"--bind=" + s.tree + ":/mnt:ro", "--tmpfs=/more"}, {"--limit=pids=50"}, {"--net=host"}}[i%4]
	cmd := s.runlocal(append(append(options, s.tree, "/init"), args...)...)
	cmd.Env = append(cmd.Env, "TMPDIR="+s.tmp)
	cmd.Stdout = nil
	if err := cmd.Start(); err != nil {
		s.t.Error(err)
		return
	}
	if killed {
		time.Sleep(time.Duration(rand.IntN(40_000)) * time.Microsecond)
		sig := []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM, syscall.SIGINT}[rand.IntN(3)]
		cmd.Process.Signal(sig)
		cmd.Wait()
		if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); !ws.Signaled() || ws.Signal() != sig {
			s.t.Errorf("%v: sent %v: %v", cmd.Args, sig, cmd.ProcessState)
		}
		s.Lock()
		s.killed++
		s.Unlock()
	} else if cmd.Wait(); cmd.ProcessState.ExitCode() != 3 && args[0] != "ruin" || args[0] == "ruin" && !cmd.ProcessState.Success() {
		s.t.Errorf("%v: %v", cmd.Args, cmd.ProcessState)
	}
}

// hostState is what a run could leave behind on the host: mounts and cgroups. Mounts below other directories of tests are those
// of engines, which come and go meanwhile.
func (b *localBench) hostState() string {
	b.t.Helper()
	all, err := os.ReadFile("/proc/self/mountinfo")
	check(b.t, err)
	var mounts strings.Builder
	for line := range strings.Lines(string(all)) {
		point := strings.Fields(line)[4]
		if strings.HasPrefix(point, b.dir+"/") || !strings.HasPrefix(point, os.TempDir()+"/") && !strings.HasPrefix(point, "/run/") {
			mounts.WriteString(line)
		}
	}
	groups, _ := filepath.Glob("/sys/fs/cgroup/*/ctbox-*")
	more, _ := filepath.Glob("/sys/fs/cgroup/ctbox-*")
	deep, _ := filepath.Glob("/sys/fs/cgroup/*/*/ctbox-*")
	deeper, _ := filepath.Glob("/sys/fs/cgroup/*/*/*/ctbox-*")
	return mounts.String() + strings.Join(append(append(append(groups, more...), deep...), deeper...), "\n")
}
