// Package progress shows how far long work is: on a terminal one line of standard error, gone when the work is done.
// Invariants: nothing of the line is left on the screen, and no message of ctbox is mixed with it; nothing at all goes
// to a pipe or a file unless "always" asks for it.
package progress

import (
	"io"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/output"
)

// Times between lines. Work that takes less than delay shows nothing, so that short commands do not flicker.
const (
	delay    = time.Second
	interval = 100 * time.Millisecond // on a terminal
	slow     = time.Second            // elsewhere: each line stays
)

// A Line counts work and shows the counts. Counting is cheap and may be done by several goroutines at once. All methods
// of a nil Line do nothing: that is what Start returns where nothing is to be shown.
type Line struct {
	files, bytes, total atomic.Int64
	listed, list        atomic.Int64 // bytes of a list

	name string    // that the line begins with
	err  io.Writer // standard error
	tty  *terminal // nil where lines follow one another
	past pace
	buf  []byte
	quit chan struct{}
	done sync.WaitGroup

	// On a terminal only:
	mu       sync.Mutex // for what follows, and for writing to the terminal
	drawn    bool       // the line is on the screen
	held     bool       // and no other process may draw one
	midline  bool       // what was written last has not ended its line
	ended    bool
	out      io.Writer      // standard output
	pipe     chan os.Signal // SIGPIPE
	unsignal func()
}

// Start begins to show what is counted after name, "ctbox sha256". It does so when is "always"; when it is "auto", only
// on a terminal that can, and after a second; never when it is "never". On a terminal, standard output and standard
// error are replaced by writers that first remove the line. Stop must be called at the end.
func Start(when, name string, out, err *io.Writer) *Line {
	tty := terminalOf(*err)
	if tty != nil && !capable(os.Getenv("TERM")) {
		tty = nil
	}
	if when == "never" || tty == nil && when != "always" {
		return nil
	}
	l := &Line{name: name, err: *err, tty: tty, quit: make(chan struct{})}
	l.past.begin(time.Now())
	first, next, show := delay, interval, l.draw
	switch {
	case tty == nil:
		first, next, show = slow, slow, l.print
	case when == "always":
		first = interval
	}
	if tty != nil {
		l.take(out, err)
	}
	l.done.Go(func() { l.run(first, next, show) })
	return l
}

// Stop ends the line.
func (l *Line) Stop() {
	if l == nil {
		return
	}
	close(l.quit)
	l.done.Wait()
	if l.tty == nil {
		l.past.begin(l.past.start) // the last line has the mean of all
		l.print(time.Now())
		return
	}
	l.end()
	l.unsignal()
	signal.Stop(l.pipe)
	select {
	case <-l.pipe:
		l.brokenPipe()
	default:
	}
}

func (l *Line) run(first, next time.Duration, show func(time.Time)) {
	timer := time.NewTimer(first)
	defer timer.Stop()
	for {
		select {
		case <-l.quit:
			return
		case <-l.pipe:
			l.brokenPipe()
		case now := <-timer.C:
			l.tick(now, show)
			timer.Reset(next)
		}
	}
}

// tick shows the line when there is something to show. Who still waits for input leaves the terminal to others, and is
// not slow.
func (l *Line) tick(now time.Time, show func(time.Time)) {
	if l.begun() {
		show(now)
	} else {
		l.past.begin(now)
	}
}

// print writes a line that stays.
func (l *Line) print(now time.Time) {
	l.buf = append(l.text(l.buf[:0], now), '\n')
	l.err.Write(l.buf)
}

// take arranges for the line to be removed before anything else happens to the terminal.
func (l *Line) take(out, err *io.Writer) {
	l.out = *out
	*err = &over{l, l.err}
	if t := terminalOf(*out); t != nil {
		*out = &screen{over{l, l.out}, t.fd}
	}
	l.pipe = make(chan os.Signal, 1)
	signal.Notify(l.pipe, unix.SIGPIPE)
	l.unsignal = output.OnSignal(func(<-chan struct{}) {
		if l.tty.ready() { // or whoever waits for it has the lock
			l.end()
		}
	})
}

// draw shows the line, unless the terminal is not ours to draw on.
func (l *Line) draw(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := l.text(append(l.buf[:0], '\r'), now)
	if l.ended || l.midline || !l.tty.ready() {
		return
	}
	if !l.tty.ours() {
		l.leave()
		return
	}
	if l.held = l.tty.lock(); !l.held {
		l.drawn = false
		return
	}
	text = text[:min(len(text), l.tty.columns())] // one less than fit, as CR takes none
	// The cursor waits at the start of the line, so that what other programs write covers it.
	l.buf = append(text, "\x1b[K\r"...)
	l.err.Write(l.buf)
	l.drawn = true
}

// leave gives the terminal up without touching it.
func (l *Line) leave() {
	l.drawn = false
	if l.held {
		l.tty.unlock()
		l.held = false
	}
}

// remove makes room for other output, on a line of another process, too.
func (l *Line) remove() {
	if (l.drawn || !l.held && l.tty.taken()) && l.tty.ours() {
		io.WriteString(l.err, erase)
	}
	l.drawn = false
}

func (l *Line) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	if l.drawn {
		l.remove()
	}
	l.leave()
}

// brokenPipe is called for SIGPIPE, which would have ended the process with the line on the screen. Only standard
// output's counts: that the reader of some FIFO has gone is told to whoever writes there.
func (l *Line) brokenPipe() {
	if f, ok := l.out.(*os.File); ok && broken(f.Fd()) {
		l.end()
		output.Die(unix.SIGPIPE)
	}
}

// over writes what is to stand on the terminal instead of the line, or beside it.
type over struct {
	line *Line
	to   io.Writer
}

func (o *over) Write(p []byte) (int, error) {
	o.line.mu.Lock()
	defer o.line.mu.Unlock()
	o.line.remove()
	if len(p) > 0 {
		o.line.midline = p[len(p)-1] != '\n'
	}
	return o.to.Write(p)
}

// A screen is standard output on a terminal.
type screen struct {
	over
	fd uintptr
}

// Fd lets package output see that it is a terminal.
func (s *screen) Fd() uintptr { return s.fd }
