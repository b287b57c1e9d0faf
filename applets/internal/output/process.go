package output

import (
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// removeOnSignal removes what is named on temp when the process is told to end. A signal that comes before the
// name waits for it, or for stop.
func removeOnSignal(temp <-chan string) (stop func()) {
	return OnSignal(func(stopped <-chan struct{}) {
		select {
		case name := <-temp:
			discard(name)
		case <-stopped:
		}
	})
}

// OnSignal calls undo when the process is told to end, and then lets it die of the same signal. If stop is called
// meanwhile, undo finds stopped closed, and stop does not return. Signals that were ignored at the start (nohup)
// stay ignored.
func OnSignal(undo func(stopped <-chan struct{})) (stop func()) {
	u := &undoing{undo, make(chan struct{})}
	atEnd.add(u)
	return func() {
		close(u.stopped)
		atEnd.remove(u)
	}
}

type undoing struct {
	undo    func(stopped <-chan struct{})
	stopped chan struct{}
}

// An end is what is to be done before a signal ends the process. From that on it stays locked, so that nothing
// begins that would not be undone.
type end struct {
	sync.Mutex
	all      []*undoing
	got      chan os.Signal
	finished chan struct{} // closed when nobody listens to got any more
	caught   [len(ends)]handler
}

var atEnd end

// ends are the signals that tell a process to end.
var ends = [...]unix.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT}

// LeaveSignals has the kernel itself end the process by signals that nobody waits for. Where Go's runtime does, other
// threads run on for a moment, and can make a file that nobody knows of any more.
func LeaveSignals() {
	atEnd.Lock()
	defer atEnd.Unlock()
	for i, s := range ends {
		if !signal.Ignored(s) {
			atEnd.caught[i].take(s)
		}
	}
}

func (e *end) add(u *undoing) {
	e.Lock()
	defer e.Unlock()
	if e.all = append(e.all, u); len(e.all) > 1 {
		return
	}
	e.got, e.finished = make(chan os.Signal, 1), make(chan struct{})
	for i, s := range ends {
		if !signal.Ignored(s) {
			signal.Notify(e.got, s)
			e.caught[i].restore(s)
		}
	}
	go e.wait(e.got, e.finished)
}

func (e *end) wait(got <-chan os.Signal, finished chan<- struct{}) {
	if s, ok := <-got; ok {
		e.Lock()
		for _, u := range e.all {
			u.undo(u.stopped)
		}
		Die(s.(unix.Signal))
	}
	close(finished)
}

func (e *end) remove(u *undoing) {
	e.Lock()
	e.all = slices.DeleteFunc(e.all, func(other *undoing) bool { return other == u })
	if len(e.all) > 0 {
		e.Unlock()
		return
	}
	for i, s := range ends {
		e.caught[i].leave(s)
	}
	signal.Stop(e.got)
	close(e.got)
	finished := e.finished
	e.Unlock()
	<-finished // or never, if a signal came before
}

// discard removes a file or a directory. While files are made in a directory it cannot be removed, and one that
// is half removed must not be put in place: so it is taken away first, to a name that sweep knows too.
func discard(name string) {
	if aside := name + "0"; os.Rename(name, aside) == nil {
		name = aside
	}
	os.RemoveAll(name)
}

// Die ends the process by sig, as if sig had never been caught.
func Die(sig unix.Signal) {
	signal.Reset(sig)
	raise(sig)
	os.Exit(128 + int(sig)) // the first process of a PID namespace does not die of its own signals
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(interface{ Fd() uintptr })
	return ok && Termios(f.Fd()) != nil
}

// Termios are the settings of the terminal fd; nil if it is none.
func Termios(fd uintptr) *unix.Termios {
	settings, err := unix.IoctlGetTermios(int(fd), getTermios)
	if err != nil {
		return nil
	}
	return settings
}

// isTemp reports whether name is "." + base of path + a random 63-bit number, as renameio names its
// files. Fewer than 15 digits are more likely a user's own file than one in 10,000 such numbers.
func isTemp(path, name string) bool {
	digits := strings.TrimPrefix(filepath.Base(name), "."+filepath.Base(path))
	return len(digits) >= 15 && strings.Trim(digits, "0123456789") == ""
}

func quoteMeta(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(s)
}
