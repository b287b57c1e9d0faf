//go:build faults

package faults

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// limited is the way's command after a line of shell, which takes something away from it.
func (w *way) limited(world, out, line string) *exec.Cmd {
	cmd := w.command(world, out)
	cmd.Args = append([]string{"sh", "-c", line + `; exec "$0" "$@"`}, cmd.Args...)
	cmd.Path = "/bin/sh"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// try runs the way after that line, and says what is wrong with what comes of it.
func (w *way) try(t *testing.T, world, out, line string) (result, string) {
	t.Helper()
	check(t, w.reset(filepath.Join(world, out), self))
	r := finish(w.limited(world, out, line), func() {})
	now := stateOf(filepath.Join(world, out))
	temps := 0
	if fatal(r) {
		temps, r.status, r.errOut = 1, syscall.WaitStatus(syscall.SIGKILL), "" // as good as that
	} else if strings.HasPrefix(line, "ulimit -n") && w.new["layout"] != "" {
		temps = 1 // a directory that cannot be opened cannot be emptied
	}
	bad := w.judge(r, now, temps)
	if bad == "" && len(now) > len(w.new) {
		bad = w.next(world, out)
	}
	return r, bad
}

// next runs the way without limits on what is there.
func (w *way) next(world, out string) string {
	r := finish(w.limited(world, out, ":"), func() {})
	if bad := w.judge(r, stateOf(filepath.Join(world, out)), 0); bad != "" || r.status != 0 {
		return "the next run " + bad + ": " + r.String()
	}
	return ""
}

// fatal reports whether Go's runtime gave up, or the kernel did.
func fatal(r result) bool {
	return r.status.ExitStatus() == 2 && (strings.Contains(r.errOut, "fatal error: ") || strings.HasPrefix(r.errOut, "runtime: ")) ||
		r.status.Signaled() && (r.status.Signal() == syscall.SIGKILL || r.status.Signal() == syscall.SIGABRT || r.status.Signal() == syscall.SIGSEGV)
}

// growing tries each way with a limit that grows until it is none, and counts what failed.
func growing(t *testing.T, world, what string, first, most int, step func(limit int) int, line func(limit int) string) {
	t.Helper()
	failed, wrong := 0, 0
	for _, w := range ways {
		ok := false
		for limit := first; limit <= most && !ok; limit += step(limit) {
			r, bad := w.try(t, world, "out", line(limit))
			ok = r.status == 0
			if !ok {
				failed++
			}
			if bad != "" {
				wrong++
				t.Errorf("%s: %s: %s: %s", w.name, line(limit), bad, r)
			}
		}
		if !ok {
			t.Errorf("%s: not even %s is enough", w.name, line(most))
		}
	}
	count(t, failed, what, wrong)
}

func by(n int) func(int) int { return func(int) int { return n } }

// TestFileSize: no file may grow over a limit, which is raised by half a KiB, later by more.
func TestFileSize(t *testing.T) {
	growing(t, prepare(t), "runs with files that may not grow", 0, 1<<20, func(limit int) int {
		return 1 + limit/scale(2, 16)
	}, func(limit int) string { return fmt.Sprintf("ulimit -f %d", limit) })
}

// TestFewFiles: there are so few descriptors that some cannot be had.
func TestFewFiles(t *testing.T) {
	growing(t, prepare(t), "runs with few open files", 3, 100, by(scale(2, 1)), func(limit int) string {
		return fmt.Sprintf("ulimit -n %d", limit)
	})
}

// TestAddressSpace: Go's runtime cannot map what it wants.
func TestAddressSpace(t *testing.T) {
	growing(t, prepare(t), "runs in a small address space", 50_000, 8_000_000, func(limit int) int {
		return limit / scale(4, 40)
	}, func(limit int) string { return fmt.Sprintf("ulimit -v %d", limit) })
}

// TestMemory: the kernel kills what needs more than a control group has.
func TestMemory(t *testing.T) {
	world := prepare(t)
	group := ""
	growing(t, world, "runs with little memory", 1<<20, 1<<30, func(limit int) int {
		return limit / scale(2, 8) &^ 4095
	}, func(n int) string {
		os.Remove(group)
		var limit string
		group, limit = groups(t)
		return fmt.Sprintf("echo %d >%s && echo $$ >%s/cgroup.procs || exit 99", n, limit, group)
	})
	os.Remove(group)
}

// groups makes a control group of version 1 or 2, if root may, and gives the file that has its limit of memory.
func groups(t *testing.T) (group, limit string) {
	t.Helper()
	for _, parent := range []string{"/sys/fs/cgroup/memory", "/sys/fs/cgroup"} {
		group, err := os.MkdirTemp(parent, "ctbox-faults-")
		if err != nil {
			continue
		}
		for _, name := range []string{"memory.limit_in_bytes", "memory.max"} {
			if _, err := os.Stat(filepath.Join(group, name)); err == nil {
				return group, filepath.Join(group, name)
			}
		}
		os.Remove(group)
	}
	t.Skip("no control group for memory can be made")
	return "", ""
}

// TestFullDisk: the file system has room for a page more each time, until all fits.
func TestFullDisk(t *testing.T) {
	world := prepare(t)
	mnt := filepath.Join(world, "full")
	check(t, os.MkdirAll(mnt, 0o755))
	if err := unix.Mount("tmpfs", mnt, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("mount tmpfs: %v", err) // only root can
	}
	defer unix.Unmount(mnt, unix.MNT_DETACH)
	failed, wrong := 0, 0
	for _, w := range ways {
		ok := false
		for pages := 0; pages < 1024 && !ok; pages += 1 + pages/scale(2, 8) {
			check(t, unix.Mount("tmpfs", mnt, "tmpfs", unix.MS_REMOUNT, "size=4m"))
			check(t, w.reset(filepath.Join(mnt, "out"), self))
			var fs unix.Statfs_t
			check(t, unix.Statfs(mnt, &fs))
			used := int(fs.Blocks - fs.Bfree)
			if used+pages == 0 {
				continue // which is no limit
			}
			check(t, unix.Mount("tmpfs", mnt, "tmpfs", unix.MS_REMOUNT, fmt.Sprintf("size=%dk", 4*(used+pages))))
			r := finish(w.limited(world, "full/out", ":"), func() {})
			if ok = r.status == 0 && r.errOut == ""; !ok {
				failed++
			}
			if bad := w.judge(r, stateOf(filepath.Join(mnt, "out")), 0); bad != "" {
				wrong++
				t.Errorf("%s: %d pages: %s: %s", w.name, pages, bad, r)
			}
		}
		if !ok {
			t.Errorf("%s: 4 MiB are not enough", w.name)
		}
	}
	count(t, failed, "runs on a full disk", wrong)
}

// TestClosedFiles: each of the standard files is closed, or is a device that is always full.
func TestClosedFiles(t *testing.T) {
	world := prepare(t)
	n, wrong := 0, 0
	for _, w := range ways {
		for _, line := range []string{"exec <&-", "exec >&-", "exec 2>&-", "exec <&- >&-", "exec <&- 2>&-", "exec >&- 2>&-", "exec <&- >&- 2>&-",
			"exec >/dev/full", "exec 2>/dev/full", "exec >/dev/full 2>&1", "exec <.", "exec >/dev/null <&1"} {
			if strings.Contains(line, "<") && w.stdin != "" {
				continue // it has an input of its own, and that is empty
			}
			n++
			r, _ := w.try(t, world, "out", line)
			full := strings.Contains(line, ">/dev/full") && !strings.Contains(line, "2>/dev/full") && w.out != ""
			bad := w.judgeClosed(r, stateOf(filepath.Join(world, "out")), full, strings.Contains(line, "2>"))
			if bad != "" {
				wrong++
				t.Errorf("%s: %s: %s: %s", w.name, line, bad, r)
			}
		}
	}
	count(t, n, "runs without standard files", wrong)
}

// judgeClosed is judge where standard output goes elsewhere: to a full device, which is an error, or nowhere.
func (w *way) judgeClosed(r result, now state, full, silent bool) string {
	switch {
	case full && r.status.ExitStatus() != 1:
		return "does not fail on a full device"
	case !full && r.status != 0:
		return "fails"
	case full && !silent && !strings.Contains(r.errOut, syscall.ENOSPC.Error()):
		return "does not say that the device is full"
	case full:
		return ""
	}
	r.out = w.out
	return w.judge(r, now, 0)
}

// TestBrokenPipe: who reads standard output, or a FIFO in place of the file, stops after each number of bytes.
func TestBrokenPipe(t *testing.T) {
	world := prepare(t)
	n, wrong := 0, 0
	for _, w := range ways {
		for size := 0; w.out != "" && size <= len(w.out); size += 1 + size/scale(2, 16) {
			n++
			r, w1, err := os.Pipe()
			check(t, err)
			cmd := w.limited(world, "out", ":")
			var errOut strings.Builder
			cmd.Stdout, cmd.Stderr = w1, &errOut
			check(t, cmd.Start())
			w1.Close()
			got := make([]byte, size)
			for k := 0; k < size; {
				m, err := r.Read(got[k:])
				if k += m; err != nil {
					t.Fatalf("%s: ends after %d of %d bytes: %v", w.name, k, size, err)
				}
			}
			r.Close()
			cmd.Wait()
			status := cmd.ProcessState.Sys().(syscall.WaitStatus)
			piped := status.Signaled() && status.Signal() == syscall.SIGPIPE
			if string(got) != w.out[:size] || errOut.Len() > 0 || !piped && status != 0 {
				wrong++
				t.Errorf("%s: a pipe broken after %d bytes: %v, %q", w.name, size, status, errOut.String())
			}
		}
	}
	count(t, n, "broken pipes", wrong)
}
