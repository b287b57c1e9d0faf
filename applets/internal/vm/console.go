package vm

import (
	"bytes"
	"io"
	"strings"
	"sync"
)

// How much of the console's end is shown of a run that fails: an oops with what led to it, and no more of a flood.
const (
	tailSize  = 16 << 10 // bytes
	tailLines = 100
)

// A console takes what the guest's kernel prints: remembers the end, passes it on if asked, and notes the lines that say
// that the guest cannot be trusted. It holds bounded memory however much the guest prints.
type console struct {
	mu    sync.Mutex
	echo  io.Writer // or nil
	tail  []byte
	line  []byte // the start of a line that has not ended
	fault string
	dead  func() // called once, when the kernel has panicked; or nil
}

// faults are what a kernel prints when it goes on, or ends, without being what it should. Linux: init/initramfs.c,
// kernel/panic.c.
var faults = [...]string{"Initramfs unpacking failed", panicked}

const panicked = "Kernel panic - not syncing"

func (c *console) Write(p []byte) (int, error) {
	if c.echo != nil {
		c.echo.Write(p) // nobody to show it to is no reason to stop; and who does not read must not hold the lock
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tail = append(c.tail, p...)
	if extra := len(c.tail) - tailSize; extra > tailSize {
		c.tail = append(c.tail[:0], c.tail[extra:]...)
	}
	for rest := p; ; {
		line, after, whole := bytes.Cut(rest, []byte("\n"))
		c.line = append(c.line, line[:min(len(line), 512-min(512, len(c.line)))]...)
		if !whole {
			return len(p), nil
		}
		c.note()
		rest = after
	}
}

// note looks at a finished line.
func (c *console) note() {
	for _, f := range faults {
		at := bytes.Index(c.line, []byte(f))
		if at >= 0 && c.fault == "" {
			c.fault = strings.TrimSpace(string(c.line[at:]))
		}
		if at >= 0 && f == panicked && c.dead != nil {
			c.dead()
			c.dead = nil
		}
	}
	c.line = c.line[:0]
}

// Fault is the first line that says that something went wrong, without its time stamp, or "".
func (c *console) Fault() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fault
}

// Tail is the end of what was printed, from the start of a line on.
func (c *console) Tail() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.tail
	if len(t) > tailSize {
		_, t, _ = bytes.Cut(t[len(t)-tailSize:], []byte("\n"))
	}
	from := len(bytes.TrimSuffix(t, []byte("\n")))
	for lines := 0; lines < tailLines && from >= 0; lines++ {
		from = bytes.LastIndexByte(t[:from], '\n')
	}
	return string(t[from+1:])
}
