package guest

import (
	"errors"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/program"
	"github.com/ctbox/ctbox/applets/internal/wire"
)

// defaultPath is where programs are looked for when the environment does not say (that of a login on Debian as root).
const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// program runs the job's program, relays what it reads and writes, and ends what it leaves behind.
func (s *session) program(job *wire.Job, end *wire.End) error {
	in, stdin, err1 := input(job.Stdin)
	stdout, out, err2 := newPipe()
	stderr, errs, err3 := newPipe()
	if err := errors.Join(err1, err2, err3); err != nil {
		refuse(end, 125, err.Error())
		return nil
	}
	pid := start(job, [3]uintptr{uintptr(in), uintptr(out), uintptr(errs)}, end)
	in.close()
	out.close()
	errs.close()
	if pid == 0 {
		return nil
	}
	if job.Stdin {
		go s.feed(stdin)
	}
	relayed := make(chan error, 1)
	go func() {
		defer s.rescue()
		err := s.relay(stdout, stderr, end)
		if err != nil {
			unix.Kill(-1, unix.SIGKILL) // nobody is there to see what it does
		}
		relayed <- err
	}()
	reap(pid, end)
	killAll() // what holds the pipes open
	return <-relayed
}

// input is the program's standard input: a pipe, or nothing.
func input(stream bool) (r, w port, err error) {
	if !stream {
		if fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0); err == nil {
			return port(fd), -1, nil
		}
	}
	r, w, err = newPipe()
	if err == nil && !stream {
		w.close()
	}
	return r, w, err
}

// start starts the job's program and returns its process, or 0 after saying in end why it does not start.
func start(job *wire.Job, files [3]uintptr, end *wire.End) int {
	if err := unix.Chdir(job.Dir); err != nil {
		refuse(end, 125, "working directory "+job.Dir+": "+err.Error())
		return 0
	}
	defer unix.Chdir("/")
	path, err := find(job)
	if err != nil {
		refuse(end, 127, err.Error())
		return 0
	}
	pid, err := syscall.ForkExec(path, job.Args, &syscall.ProcAttr{
		Env: job.Env, Files: files[:], Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		refuse(end, cannotRun(err, path), path+": "+whyNot(err, path))
		return 0
	}
	return pid
}

// find is execvp(3)'s search, in the PATH that the program is to have.
func find(job *wire.Job) (string, error) {
	if len(job.Args) == 0 {
		return "", errors.New("no program is named")
	}
	// Our own environment is of no use, but package program goes by its PATH.
	os.Clearenv()
	for _, v := range append([]string{defaultPath}, job.Env...) {
		if path, ok := strings.CutPrefix(v, "PATH="); ok {
			os.Setenv("PATH", path)
		}
	}
	name := job.Args[0]
	if strings.Contains(name, "/") {
		return name, nil
	}
	path, err := program.Look(name)
	if err != nil {
		err = errors.New(name + ": not found in PATH")
	}
	return path, err
}

// cannotRun is the exit status for a program that does not start: 127 if it or its interpreter is not there, otherwise 126.
func cannotRun(err error, path string) byte {
	if err != unix.ENOENT || errors.Is(program.Check(path), program.ErrCarriageReturn) {
		return 126
	}
	return 127
}

// whyNot says in words why execve(2) failed. Its own ENOENT may mean the interpreter, and its ENOEXEC anything.
func whyNot(err error, path string) string {
	fi, missing := os.Stat(path)
	switch {
	case missing == nil && fi.IsDir():
		return "is a directory"
	case err == unix.ENOENT || err == unix.ENOEXEC:
		if why := program.Check(path); why != nil && missing == nil {
			return why.Error()
		}
		if err == unix.ENOEXEC {
			return "neither an ELF program nor a script that begins with \"#!\""
		}
	}
	return err.Error()
}

// reap waits for pid, and for every orphan that ends before.
func reap(pid int, end *wire.End) {
	for {
		var ws unix.WaitStatus
		got, err := unix.Wait4(-1, &ws, 0, nil)
		switch {
		case err != nil && err != unix.EINTR:
			refuse(end, 125, "wait: "+err.Error()) // cannot be
			return
		case got != pid:
		case ws.Signaled():
			end.How, end.Code = wire.Signaled, byte(ws.Signal())
			return
		default:
			end.How, end.Code = wire.Exited, byte(ws.ExitStatus())
			return
		}
	}
}

// killAll kills every process but this one, and returns when none is left.
func killAll() {
	for {
		unix.Kill(-1, unix.SIGKILL)
		if _, err := unix.Wait4(-1, nil, 0, nil); err != nil && err != unix.EINTR {
			return // ECHILD: orphans become our children, so there are none
		}
	}
}
