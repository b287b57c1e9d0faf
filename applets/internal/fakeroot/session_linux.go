package fakeroot

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/interrupt"
	"github.com/ctbox/ctbox/applets/internal/program"
)

// Run runs the command with this process's standard streams and returns its exit status, 128+N if signal N killed it.
// SIGINT, SIGTERM, SIGHUP and SIGQUIT go to the command; its end is waited for, and its state saved all the same. When
// it died of that, the error is an interrupt.Signal.
//
// It drives the command line of fakeroot, whose script knows where library and daemon are. But the daemon becomes a
// child of this process: in many containers nobody else would ever collect it, and fakeroot waits until somebody has.
func (s *Session) Run() (status int, err error) {
	before, err := s.load()
	if err != nil {
		return 0, err
	}
	defer before.close()
	if err := s.writable(before); err != nil {
		return 0, err
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return 0, fmt.Errorf("prctl: %w", err)
	}
	os.Setenv(StateFile, s.State)
	os.Setenv(session, s.State)
	why := ErrNoFakeroot
	for _, name := range [...]string{"fakeroot", "fakeroot-tcp"} { // the second for where there are no message queues
		path, err := program.Look(name)
		if err != nil {
			continue
		}
		complaint, status, err := s.under(path, before)
		if complaint == "" {
			return status, err
		}
		why = fmt.Errorf("%w that works: %s", ErrNoFakeroot, complaint)
	}
	os.Unsetenv(session)
	unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) // it would outlive execve(2)
	return 0, why
}

// under runs the command under one fakeroot. If that does not even begin, it says why in complaint.
func (s *Session) under(path string, before *loaded) (complaint string, status int, err error) {
	saved, err := newSaved()
	if err != nil {
		return "", 0, err
	}
	spare := spareDescriptor()
	p := &processes{}
	if err := p.start(s.line(path, before, saved.w, spare), spare); err != nil {
		return "", 0, err
	}
	p.wait()
	text, err := saved.end()
	switch {
	case p.command == 0 && p.cut == 0:
		p.until(func() bool { return p.exits == nil }, 10*time.Second) // two could not share out the children
		return p.complaint(), 0, nil
	case p.command != 0 && err == nil:
		if end, ok := p.ended[p.daemon]; !ok || end.Signaled() {
			err = errors.New("fakeroot's daemon ended without saving")
		} else {
			err = s.save(before, text)
		}
	}
	if err != nil {
		return "", 0, fmt.Errorf("%s: not written: %w", s.State, err)
	}
	status = p.result()
	if p.cut != 0 && status == 128+int(p.cut) {
		err = interrupt.Signal{Signal: p.cut}
	} else if p.cut == 0 && p.began == nil {
		os.Stderr.Write(p.said)
	}
	return "", status, err
}

// spareDescriptor is the lowest that the command does not inherit. Shells know only those of one digit.
func spareDescriptor() int {
	fd := 3
	for ; fd < 9; fd++ {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC != 0 {
			break
		}
	}
	return fd
}

// reopen is a path by which the daemon opens one of our files. fakeroot hands names to a shell unquoted, so a name of
// the user's could be commands.
func reopen(f *os.File) string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), f.Fd()) }

const (
	// limit: the daemon closes as many descriptors as there could be, which takes minutes where that is a billion.
	limit = `test "$(ulimit -n)" -le 4096 2>/dev/null || ulimit -S -n 4096; exec "$@"`
	// begin sees that there is a daemon and that it will be able to save, since it would not tell. Then it tells us the
	// process of the command, by what was standard error until then: what fakeroot had to complain of comes before that.
	begin = `: "${FAKEROOTKEY:?not set}" >"$1"; echo "$2$$ $PPID $FAKEROOTKEY" >&2; shift 2; exec 2>&%d %[1]d>&-; exec "$@"`
	mark  = "ctbox: command, keeper and key are "
	// keep outlives the command, also where a whole group is signalled. The daemon gets no more than a message of each change, and would
	// not read what is still in its queue when it is told to end; a question comes after all of them, and is answered. fakeroot's
	// script asks too, but only where it saves to a file.
	keep = `trap : HUP INT QUIT TERM; "$@"; status=$?; /bin/ls -ld / >/dev/null 2>&1; exit $status`
)

// line is the command line: a shell that sets the limit, fakeroot, a shell that keeps, one that reports, the command.
func (s *Session) line(fakeroot string, l *loaded, saved *os.File, stderr int) []string {
	args := []string{"/bin/sh", "-c", limit, "sh", fakeroot}
	if len(l.text) > 0 {
		args = append(args, "-i", reopen(l.file))
	}
	args = append(args, "-s", reopen(saved), "--", "/bin/sh", "-c", keep, "sh",
		"/bin/sh", "-c", fmt.Sprintf(begin, stderr), "sh", reopen(saved), mark, s.Path)
	return append(args, s.Args...)
}
