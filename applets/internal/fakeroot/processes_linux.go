package fakeroot

import (
	"bufio"
	"bytes"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// processes are fakeroot's script, its daemon and the command, all of them ours to collect once their parents are gone.
type processes struct {
	script  int
	command int            // 0 until it has begun
	keeper  int            // its parent, whose status is the command's
	key     int            // FAKEROOTKEY
	cut     syscall.Signal // that we got; it is handed on as soon as there is a command

	// broken ticks when the daemon was killed. Each program that starts then makes its queues anew, and waits.
	broken <-chan time.Time

	ended   map[int]syscall.WaitStatus
	daemon  int // which has ended; 0 before
	signals chan os.Signal
	exits   chan exit   // closed when no child is left
	began   chan [3]int // command, keeper and key: one value at most; closed at the end of said
	said    []byte      // by the script; to be read when began is closed
}

type exit struct {
	pid    int
	status syscall.WaitStatus
	daemon bool
}

// start starts the script. Its standard error is ours to read; the real one is descriptor stderr, the lowest that is
// not inherited.
func (p *processes) start(line []string, stderr int) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer w.Close()
	files := []uintptr{0, 1, w.Fd()}
	for fd := len(files); fd < stderr; fd++ {
		files = append(files, uintptr(fd))
	}
	p.ended, p.exits, p.began = map[int]syscall.WaitStatus{}, make(chan exit), make(chan [3]int, 1)
	p.signals = make(chan os.Signal, 16)
	for _, s := range []os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2} {
		if !signal.Ignored(s) {
			signal.Notify(p.signals, s)
		}
	}
	p.script, err = syscall.ForkExec(line[0], line, &syscall.ProcAttr{Env: os.Environ(), Files: append(files, 2)})
	if err != nil {
		r.Close()
		return &os.PathError{Op: "exec", Path: line[0], Err: err}
	}
	go p.listen(r)
	go p.collect()
	return nil
}

// listen reads what the script says. One line is the command's process.
func (p *processes) listen(f *os.File) {
	defer f.Close()
	defer close(p.began)
	const enough = 64 << 10
	for r := bufio.NewReader(f); ; {
		line, err := r.ReadString('\n')
		if pids, ok := strings.CutPrefix(line, mark); ok {
			var numbers [3]int
			for i, word := range strings.Fields(pids) {
				numbers[i%len(numbers)], _ = strconv.Atoi(word)
			}
			p.began <- numbers
		} else if len(p.said) < enough {
			p.said = append(p.said, line...)
		}
		if err != nil {
			return
		}
	}
}

// collect collects children as they end. Until it does, their names can be had (proc(5)).
func (p *processes) collect() {
	defer close(p.exits)
	for {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOWAIT, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return // there is no child left
		}
		e := exit{pid: childOf(&info)}
		e.daemon = isDaemon(e.pid)
		for {
			if _, err := syscall.Wait4(e.pid, &e.status, 0, nil); err != unix.EINTR {
				break
			}
		}
		p.exits <- e
	}
}

// childOf is si_pid of a SIGCHLD (sigaction(2)): it comes after three numbers and, where pointers have 64 bits, a gap.
func childOf(info *unix.Siginfo) int {
	const word = unsafe.Sizeof(uintptr(0))
	return int(*(*int32)(unsafe.Add(unsafe.Pointer(info), (3*4+word-1)/word*word)))
}

// isDaemon reports whether the process is fakeroot's daemon, by whatever full name, and our child.
func isDaemon(pid int) bool {
	stat, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat") // "PID (NAME) STATE PARENT ..." (proc(5))
	end := bytes.LastIndexByte(stat, ')')
	if end < 0 || !bytes.Contains(stat[:end], []byte("faked")) {
		return false
	}
	fields := bytes.Fields(stat[end+1:])
	return len(fields) > 1 && string(fields[1]) == strconv.Itoa(os.Getpid())
}

// signalDaemon signals the daemon, which only a look at all processes finds.
func signalDaemon(sig syscall.Signal) {
	dirs, _ := os.ReadDir("/proc")
	for _, d := range dirs {
		if pid, err := strconv.Atoi(d.Name()); err == nil && isDaemon(pid) {
			unix.Kill(pid, sig)
		}
	}
}

// wait returns when script, command and daemon have ended. Where the script was killed, as timeout(1) and terminals
// signal whole groups, the command goes on without it, and the daemon does, which is ours to end then.
func (p *processes) wait() {
	p.until(func() bool { _, ok := p.ended[p.script]; return ok }, 0)
	p.until(func() bool { return p.began == nil }, time.Second) // the last of what it said
	if p.command != 0 && p.ended[p.script].Signaled() {
		p.until(p.keeperEnded, 0)
	}
	gone := func() bool { return p.exits == nil || p.daemon != 0 }
	p.until(gone, 20*time.Millisecond)
	for _, s := range [...]syscall.Signal{unix.SIGTERM, unix.SIGKILL} {
		if !gone() {
			signalDaemon(s)
			p.until(gone, 10*time.Second)
		}
	}
	if p.broken != nil {
		removeQueues(p.key)
	}
}

// keeperEnded is also true when the script collected the keeper before it was killed.
func (p *processes) keeperEnded() bool {
	_, ok := p.ended[p.keeper]
	return ok || unix.Kill(p.keeper, 0) == unix.ESRCH
}

// until handles what happens until ok, or until there are no children, or for at most limit unless that is 0.
func (p *processes) until(ok func() bool, limit time.Duration) {
	var late <-chan time.Time
	if limit > 0 {
		late = time.After(limit)
	}
	for !ok() {
		select {
		case s := <-p.signals:
			p.cut = s.(syscall.Signal)
			p.handOn()
		case began, more := <-p.began:
			if !more {
				p.began = nil
				continue
			}
			p.command, p.keeper, p.key = began[0], began[1], began[2]
			if p.cut != 0 {
				p.handOn()
			}
		case e, more := <-p.exits:
			if !more {
				p.exits = nil
				if p.began == nil {
					return
				}
				continue
			}
			p.ended[e.pid] = e.status
			if e.daemon {
				p.daemon = e.pid
			}
			if e.daemon && e.status.Signaled() {
				p.broken = time.Tick(20 * time.Millisecond)
			}
		case <-p.broken:
			removeQueues(p.key)
		case <-late:
			return
		}
	}
}

// handOn signals the command. The script is to live, because it ends the daemon; before there is a command it may go.
// What a terminal sends reaches the command twice.
func (p *processes) handOn() {
	script, over := p.ended[p.script]
	_, ended := p.ended[p.keeper]
	switch {
	case over && !script.Signaled() || ended: // the number may be another process's by now
	case p.command != 0:
		unix.Kill(p.command, p.cut)
	case !over:
		unix.Kill(p.script, p.cut)
	}
}

// result is the command's exit status, as shells have it.
func (p *processes) result() int {
	status, ok := p.ended[p.script]
	if keeper, known := p.ended[p.keeper]; known && (!ok || status.Signaled()) {
		status = keeper
	}
	switch {
	case p.command == 0 && p.cut != 0:
		return 128 + int(p.cut)
	case status.Signaled():
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

// complaint is the first line that a script said that did not start the command.
func (p *processes) complaint() string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(p.said)), "\n")
	if line == "" {
		line = "it says nothing, exit status " + strconv.Itoa(p.result())
	}
	return line
}
