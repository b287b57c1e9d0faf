//go:build faults

package faults

import (
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// An injection is one fault: what happens to the N-th system call of all threads of a program together. strace(1)
// counts each thread for itself, and which of its threads Go takes for a call is different every time.
type injection struct {
	counts func(call int, arg [2]uint64) bool // which calls count, by their first arguments
	only   []int                              // those, and no others, are seen at all; all if nil
	n      int                                // which of them, from 1; 0 is none
	errno  syscall.Errno                      // what it fails with
	stuck  bool                               // and all that follow of its kind
	signal syscall.Signal                     // or what the program gets before it
}

// A tracer runs programs with faults, one after the other.
type tracer struct {
	world       string
	out, errOut *os.File // in memory, for what the program says
	u           user
}

func newTracer(world string, u user) *tracer {
	tr := &tracer{world: world, u: u}
	for _, f := range []**os.File{&tr.out, &tr.errOut} {
		fd, err := unix.MemfdCreate("said", unix.MFD_CLOEXEC)
		if err != nil {
			panic(err)
		}
		*f = os.NewFile(uintptr(fd), "said")
	}
	return tr
}

func (tr *tracer) close() {
	tr.out.Close()
	tr.errOut.Close()
}

// A trace is a result, and what was counted on the way.
type trace struct {
	result
	calls  []int // all system calls in their order
	hit    int   // the call that the fault befell, -1 if none
	until  int   // how many of calls were made by then, with that one
	caught bool  // the signal was not one for which Go's runtime ends the program: the thread that got it did not send it on
}

// deadline is for a program that runs for milliseconds, on a machine that is busy otherwise.
const deadline = 2 * time.Minute

// threads do what they get, each in a thread of its own that has no other children: wait4(2) gives it those of one
// traced program only.
var threads = make(chan func())

func init() {
	var ready sync.WaitGroup
	for range runtime.NumCPU() {
		ready.Add(1)
		go func() {
			runtime.LockOSThread()
			ready.Done()
			for do := range threads {
				do()
			}
		}()
	}
	ready.Wait()
}

// run runs a command line in the world.
func (tr *tracer) run(argv, env []string, stdin *os.File, in injection) (r trace) {
	done := make(chan struct{})
	threads <- func() {
		r = tr.runHere(argv, env, stdin, in)
		close(done)
	}
	<-done
	return r
}

func (tr *tracer) runHere(argv, env []string, stdin *os.File, in injection) trace {
	defer stdin.Close()
	for _, f := range []*os.File{tr.out, tr.errOut} {
		if _, err := f.Seek(0, 0); err != nil || f.Truncate(0) != nil {
			panic(err)
		}
	}
	pid, err := syscall.ForkExec(argv[0], argv, &syscall.ProcAttr{
		Dir: tr.world, Env: env, Files: []uintptr{stdin.Fd(), tr.out.Fd(), tr.errOut.Fd()},
		Sys: &syscall.SysProcAttr{Ptrace: true, Setpgid: true, Credential: tr.u.credential()},
	})
	if err != nil {
		panic(err)
	}
	p := &traced{main: pid, injection: in, trace: trace{hit: -1}, pending: map[int]syscall.Errno{}, known: map[int]bool{}}
	watchdog := time.AfterFunc(deadline, func() {
		p.hung.Store(true)
		syscall.Kill(-pid, syscall.SIGKILL)
	})
	p.follow()
	watchdog.Stop()
	p.result.hung = p.hung.Load()
	p.out, p.errOut = said(tr.out), said(tr.errOut)
	return p.trace
}

func said(f *os.File) string {
	fi, err := f.Stat()
	if err != nil {
		panic(err)
	}
	b := make([]byte, fi.Size())
	if _, err := f.ReadAt(b, 0); err != nil && len(b) > 0 {
		panic(err)
	}
	return string(b)
}
