//go:build faults

package faults

import (
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// kills are the signals that end ctbox. It lives through the first as little as anybody.
var kills = []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT}

// telling are the calls before which something is different from what was before the last: those that can fail, and some by
// which Go's runtime makes threads and ends them. The last two show what becomes of a signal.
var telling = append(slices.Clone(allFaulty), unix.SYS_CLONE, unix.SYS_EXIT_GROUP, unix.SYS_RT_SIGRETURN, unix.SYS_TGKILL)

func anyCall(int, [2]uint64) bool { return true }

// TestKills: a signal comes before each system call of each way, in one run the first, in the next the second, until
// there is none any more.
func TestKills(t *testing.T) {
	world := prepare(t)
	var done, wrong atomic.Int64
	inParallel(world, func(b *bench, w *way) {
		for i, sig := range kills {
			for n := 1; ; n++ {
				if step := scale(2, 1); (n+b.turn)%(len(kills)*step) != i*step {
					continue // each second call has one signal; with -long each call, and another for each user
				}
				r, now := b.once(w, injection{counts: anyCall, only: telling, n: n, signal: sig})
				if r.hit < 0 {
					break
				}
				done.Add(1)
				if bad := b.judgeKill(w, r.result, now, sig, r.tooEarly()); bad != "" {
					wrong.Add(1)
					t.Errorf("%s, user %d: %v before call %d (%d): %s: %s", w.name, b.u, sig, n, r.hit, bad, r.result)
				}
			}
		}
	})
	count(t, int(done.Load()), "kills at system calls", int(wrong.Load()))
}

// tooEarly reports whether the signal came before ctbox asked for it, and before it had made a file. One thread then
// ends the program, in a dozen calls with three sched_yield(2) among them; all others go on until it has done so, and
// may make a file meanwhile.
func (r *trace) tooEarly() bool {
	return !r.caught && !slices.Contains(r.calls[:r.until], syscall.SYS_FLOCK)
}

// judgeKill says what is wrong after a signal. One that nobody could catch may leave a temporary file of each target, for
// the next run to remove.
func (b *bench) judgeKill(w *way, r result, now state, sig syscall.Signal, uncaught bool) string {
	temps := 0
	if uncaught || sig == syscall.SIGKILL {
		temps = 1
	}
	if sig == syscall.SIGQUIT && r.status.ExitStatus() == 2 && strings.HasPrefix(r.errOut, "SIGQUIT: quit\n") {
		r = result{status: syscall.WaitStatus(sig)} // Go's own way to die of it, with a dump of all goroutines, as long as no file is written
	}
	bad := w.judge(r, now, temps)
	switch {
	case bad != "":
	case r.status.Signaled() && r.status.Signal() != sig:
		bad = "dies of another signal"
	case r.status.Exited() && r.status.ExitStatus() != 0:
		bad = "ends with an error"
	case len(now) > len(w.new), now[cacheName] != w.old[cacheName]:
		bad = b.again(w)
	}
	return bad
}

// TestRandomKills: a signal comes at any time, to a program that nobody slows down.
func TestRandomKills(t *testing.T) {
	const seed = 20260131
	t.Logf("seed %d", seed)
	world := prepare(t)
	var done, wrong atomic.Int64
	inParallel(world, func(b *bench, w *way) {
		random := rand.New(rand.NewPCG(seed, uint64(b.turn)))
		begin := time.Now()
		if r, now := b.killedAfter(w, deadline, 0); w.judge(r, now, 0) != "" {
			t.Errorf("%s: %s: %s", w.name, w.judge(r, now, 0), r)
		}
		takes := time.Since(begin)
		for range scale(5, 40) {
			delay, sig := time.Duration(random.Int64N(int64(takes))), kills[random.IntN(len(kills))]
			r, now := b.killedAfter(w, delay, sig)
			done.Add(1)
			if bad := b.judgeKill(w, r, now, sig, false); bad != "" {
				wrong.Add(1)
				t.Errorf("%s, user %d: %v after %v: %s: %s", w.name, b.u, sig, delay, bad, r)
			}
		}
	})
	count(t, int(done.Load()), "kills at random times", int(wrong.Load()))
}

// killedAfter runs the way as it is, with a signal when it has run for so long.
func (b *bench) killedAfter(w *way, delay time.Duration, sig syscall.Signal) (result, state) {
	out := filepath.Join(b.world, b.out)
	if err := w.reset(out, b.u); err != nil {
		panic(err)
	}
	cmd := w.command(b.world, b.out)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: b.u.credential(), Setpgid: true}
	r := finish(cmd, func() {
		if sig != 0 {
			time.Sleep(delay)
			cmd.Process.Signal(sig)
		}
	})
	return r, stateOf(out)
}

// finish runs a command, and do when it has been started.
func finish(cmd *exec.Cmd, do func()) result {
	var r result
	var out, errOut strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Start(); err != nil {
		panic(err)
	}
	var hung atomic.Bool
	watchdog := time.AfterFunc(deadline, func() {
		hung.Store(true)
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	})
	do()
	cmd.Wait()
	watchdog.Stop()
	r.status, r.hung = cmd.ProcessState.Sys().(syscall.WaitStatus), hung.Load()
	r.out, r.errOut = out.String(), errOut.String()
	return r
}
