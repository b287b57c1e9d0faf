//go:build faults

package faults

import (
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// faulty are the calls that can fail for reasons outside of ctbox.
var faulty = map[int]string{
	unix.SYS_READ: "read", unix.SYS_WRITE: "write", unix.SYS_CLOSE: "close", unix.SYS_FSTAT: "fstat", unix.SYS_LSEEK: "lseek",
	unix.SYS_IOCTL: "ioctl", unix.SYS_PREAD64: "pread64", unix.SYS_PWRITE64: "pwrite64", unix.SYS_WRITEV: "writev", unix.SYS_FCNTL: "fcntl",
	unix.SYS_FLOCK: "flock", unix.SYS_FSYNC: "fsync", unix.SYS_FTRUNCATE: "ftruncate", unix.SYS_UNLINK: "unlink", unix.SYS_FCHMOD: "fchmod",
	unix.SYS_FSTATFS: "fstatfs", unix.SYS_LGETXATTR: "lgetxattr", unix.SYS_LLISTXATTR: "llistxattr", unix.SYS_LISTXATTR: "listxattr",
	unix.SYS_FGETXATTR: "fgetxattr", unix.SYS_FLISTXATTR: "flistxattr", unix.SYS_GETXATTR: "getxattr",
	unix.SYS_GETDENTS64: "getdents64", unix.SYS_OPENAT: "openat", unix.SYS_MKDIRAT: "mkdirat", unix.SYS_NEWFSTATAT: "newfstatat",
	unix.SYS_UNLINKAT: "unlinkat", unix.SYS_RENAMEAT: "renameat", unix.SYS_LINKAT: "linkat", unix.SYS_READLINKAT: "readlinkat",
	unix.SYS_FCHMODAT: "fchmodat", unix.SYS_FACCESSAT: "faccessat", unix.SYS_SPLICE: "splice", unix.SYS_FALLOCATE: "fallocate",
	unix.SYS_RENAMEAT2: "renameat2", unix.SYS_COPY_FILE_RANGE: "copy_file_range", unix.SYS_STATX: "statx", unix.SYS_OPENAT2: "openat2",
	unix.SYS_FACCESSAT2: "faccessat2", unix.SYS_SENDFILE: "sendfile", unix.SYS_MEMFD_CREATE: "memfd_create", unix.SYS_FADVISE64: "fadvise64",
	unix.SYS_GETCWD: "getcwd", unix.SYS_FDATASYNC: "fdatasync", unix.SYS_GETDENTS: "getdents", unix.SYS_PIPE2: "pipe2",
}

// sound are the calls of Go's runtime, and those that do not fail.
var sound = []int{
	unix.SYS_MMAP, unix.SYS_MUNMAP, unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN, unix.SYS_SIGALTSTACK, unix.SYS_MADVISE,
	unix.SYS_SCHED_YIELD, unix.SYS_NANOSLEEP, unix.SYS_GETPID, unix.SYS_CLONE, unix.SYS_PRCTL, unix.SYS_ARCH_PRCTL, unix.SYS_GETTID,
	unix.SYS_FUTEX, unix.SYS_SCHED_GETAFFINITY, unix.SYS_EXIT_GROUP, unix.SYS_EXIT, unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_PWAIT, unix.SYS_TGKILL,
	unix.SYS_EVENTFD2, unix.SYS_EPOLL_CREATE1, unix.SYS_PRLIMIT64, unix.SYS_GETEUID, unix.SYS_GETUID, unix.SYS_RESTART_SYSCALL, unix.SYS_CLOCK_GETTIME,
}

var allFaulty = slices.Sorted(maps.Keys(faulty))

// isFaulty leaves out messages, without which there is none to judge, and what Go's runtime asks of the standard files
// first of all: it gives up with words of its own.
func isFaulty(call int, args [2]uint64) bool {
	message := call == unix.SYS_WRITE && args[0] == 2
	start := call == unix.SYS_FCNTL && args[0] <= 2 && args[1] == unix.F_GETFD
	return faulty[call] != "" && !message && !start
}

// A fault is what a call fails with, once or from then on.
type fault struct {
	errno syscall.Errno
	stuck bool
}

var errnos = []fault{
	{syscall.ENOSPC, false}, {syscall.EIO, false}, {syscall.EINTR, false}, {syscall.EDQUOT, false}, {syscall.EMFILE, false},
	{syscall.EIO, true}, {syscall.ENOSPC, true}, {syscall.EMFILE, true},
}

// TestErrors: each system call of each way fails, one in each run, until there is none any more to fail.
func TestErrors(t *testing.T) {
	world := prepare(t)
	var done, wrong atomic.Int64
	inParallel(world, func(b *bench, w *way) {
		r, _ := b.once(w, injection{})
		slices.Sort(r.calls)
		for _, call := range slices.Compact(r.calls) {
			if faulty[call] == "" && !slices.Contains(sound, call) {
				t.Errorf("%s: nobody has said whether system call %d can fail", w.name, call)
			}
		}
		for i, f := range errnos {
			for n := 1; ; n++ {
				if step := scale(2*len(errnos), 4); (n+b.turn)%step != 2*i%step {
					continue // each second call has one error; with -long four, and the next one four others
				}
				r, bad := b.fail(w, n, f)
				if r.hit < 0 {
					break
				}
				done.Add(1)
				if bad != "" {
					wrong.Add(1)
					t.Errorf("%s, user %d: %s, call %d, fails with %q (%v): %s: %s", w.name, b.u, faulty[r.hit], n, f.errno, f.stuck, bad, r.result)
				}
			}
		}
	})
	count(t, int(done.Load()), "injected errors", int(wrong.Load()))
}

// A bench is where one way after the other is tried.
type bench struct {
	*tracer
	out  string // below the world
	turn int    // differs from way to way, so that not all get the same
}

// inParallel tries all ways, as each user, on as many benches as there are processors. Without -long each way has one user.
func inParallel(world string, try func(*bench, *way)) {
	type job struct {
		w    *way
		u    user
		turn int
	}
	jobs := make(chan job)
	var all sync.WaitGroup
	for i := range runtime.NumCPU() {
		all.Go(func() {
			for j := range jobs {
				b := &bench{newTracer(world, j.u), fmt.Sprintf("out-%d", i), j.turn}
				try(b, j.w)
				b.close()
			}
		})
	}
	for i, w := range ways {
		for k, u := range users() {
			if *long || k == i%len(users()) {
				jobs <- job{w, u, i + k}
			}
		}
	}
	close(jobs)
	all.Wait()
}

// once runs the way with a fault, and gives what is then in its directory.
func (b *bench) once(w *way, in injection) (trace, state) {
	out := filepath.Join(b.world, b.out)
	if err := w.reset(out, b.u); err != nil {
		panic(err)
	}
	r := b.run(w.argv(b.out), w.environ(), w.input(b.world), in)
	return r, stateOf(out)
}

// fail makes the n-th call fail and says what is wrong with what comes of it.
func (b *bench) fail(w *way, n int, f fault) (trace, string) {
	r, now := b.once(w, injection{counts: isFaulty, only: allFaulty, n: n, errno: f.errno, stuck: f.stuck})
	until := r.until
	if f.stuck {
		until = len(r.calls) // any of them may be the one that matters
	}
	before := r.calls[:until]
	temps := 0
	if slices.Contains(before, unix.SYS_UNLINKAT) {
		temps = 1 // it is what cannot be removed
	}
	renamed := slices.Contains(before, unix.SYS_RENAMEAT) || slices.Contains(before, unix.SYS_RENAMEAT2)
	if bad := w.judge(r.result, now, temps); bad != "" {
		return r, bad
	}
	if r.status.Exited() && r.status != 0 {
		switch {
		case !strings.Contains(r.errOut, f.errno.Error()) && !vague.MatchString(r.errOut):
			return r, "does not say why"
		case !renamed && !w.isOld(now):
			return r, "fails, with new files"
		}
	}
	if temps > 0 || now[cacheName] != w.old[cacheName] {
		return r, b.again(w)
	}
	return r, ""
}

// vague is said of a directory that cannot be looked at: what is in the way may be what ought to be there.
var vague = regexp.MustCompile(`: (is in the way, and not empty|file exists)\n$`)

// isOld reports whether all files are the old ones.
func (w *way) isOld(now state) bool {
	for name, is := range w.old {
		if now[name] != is && name != cacheName {
			return false
		}
	}
	return true
}

// again runs the way once more, with what was left: nothing of it may be there then, or show in any other way.
func (b *bench) again(w *way) string {
	r := b.run(w.argv(b.out), w.environ(), w.input(b.world), injection{})
	bad := w.judge(r.result, stateOf(filepath.Join(b.world, b.out)), 0)
	if bad == "" && (r.status != 0 || r.errOut != "") {
		bad = "does not do"
	}
	if bad != "" {
		return "the next run " + bad + ": " + r.String()
	}
	return ""
}
