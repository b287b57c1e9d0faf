package output

import (
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// writers counts those at work in this process: the one that dies of a signal first waits for the others
// to remove their files too.
var writers sync.WaitGroup

// removeOnSignal removes what is named on temp when the process is told to end, then lets it
// die of the same signal. A signal that comes before the name waits for it, or for stop. Signals that
// were ignored at the start (nohup) stay ignored.
func removeOnSignal(temp <-chan string) (stop func()) {
	var sigs []os.Signal
	for _, s := range []os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT} {
		if !signal.Ignored(s) {
			sigs = append(sigs, s)
		}
	}
	if len(sigs) == 0 {
		return func() {} // Notify without signals would mean all of them
	}
	got := make(chan os.Signal, 1)
	stopped, finished := make(chan struct{}), make(chan struct{})
	writers.Add(1)
	signal.Notify(got, sigs...)
	go func() {
		defer close(finished)
		select {
		case s := <-got:
			select {
			case name := <-temp:
				discard(name)
			case <-stopped:
			}
			writers.Done()
			writers.Wait()
			Die(s.(unix.Signal))
		case <-stopped:
			writers.Done()
		}
	}()
	return func() {
		close(stopped)
		<-finished
		signal.Stop(got)
		select {
		case s := <-got: // it came while the file was put in place
			writers.Wait()
			Die(s.(unix.Signal))
		default:
		}
	}
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
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), getTermios)
	return err == nil
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
