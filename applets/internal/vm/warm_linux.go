package vm

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/ctbox/ctbox/applets/internal/wire"
)

// warmKey names all that a snapshot depends on: the programs at both ends, the machine, and the processor, since software
// emulation, too, asks it what it can do.
func (r *runner) warmKey() string {
	m := r.machine // with the descriptors and files of no run in particular
	m.RAM, m.Kernel, m.Initrd, m.Console, m.Line, m.Control, m.Restore = "", "", "", 0, 0, 0, 0
	h := sha256.New()
	fmt.Fprintln(h, fileIdentity(m.Qemu), r.kernel.ID, fileIdentity("/proc/self/exe"), processor())
	fmt.Fprintf(h, "%q", m.Args())
	return fmt.Sprintf("%x", h.Sum(nil))
}

// processor is what the first processor says of itself, without what changes all the time.
func processor() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	first, _, _ := strings.Cut(string(info), "\n\n")
	var b strings.Builder
	for line := range strings.Lines(first) {
		switch name, _, _ := strings.Cut(line, "\t"); name {
		case "vendor_id", "cpu family", "model", "model name", "stepping", "microcode", "flags":
			b.WriteString(line)
		}
	}
	return b.String()
}

// warm tells whether the run starts from memory. With KVM it boots: that is fast, and whether a state can be restored depends
// on the host's processor. An initrd with an init of its own must boot with that.
func (r *runner) warm() bool {
	return r.Warm && !r.cold && r.disk == nil && r.cache != nil && r.machine.Accel == "tcg" && r.machine.Arch == "x86_64" && r.rdinit != nil &&
		r.Channel != "serial" && r.cache.Recall(r.coldKey()) == ""
}

// coldKey names the memory that such a machine cannot start warm.
func (r *runner) coldKey() string { return "cold " + r.warmKey() }

// coldInstead makes the next machine boot, after a warm start failed for whatever reason, and forgets the snapshot.
func (r *runner) coldInstead(err error) error {
	r.cold = true
	r.cache.Remove("warm", r.warmKey())
	if r.Verbose {
		r.Warn("no warm start: %v", err)
	}
	return retry{err}
}

// warmUp starts a machine that waits for the answer to its Hello from a snapshot, or makes the snapshot.
func (r *runner) warmUp(ctx context.Context) (*process, wire.Hello, error) {
	f, err := r.cache.Open("warm", r.warmKey())
	if err != nil {
		return r.warmFirst(ctx)
	}
	defer f.Close()
	p, hello, err := r.restore(f)
	if err != nil {
		return nil, hello, r.coldInstead(err)
	}
	return p, hello, nil
}

// restore starts qemu, and reads the snapshot while it starts.
func (r *runner) restore(snapshot io.Reader) (*process, wire.Hello, error) {
	ram, err := memoryFile("ram", r.machine.Memory)
	if err != nil {
		return nil, wire.Hello{}, err
	}
	defer ram.Close()
	state, err := memoryFile("state", 0)
	if err != nil {
		return nil, wire.Hello{}, err
	}
	defer state.Close()
	m := r.machine
	p, err := launch(&m, files{ram: ram, kernel: r.kernel.File, initrd: r.rdinit, restore: state}, r.echo())
	if err != nil {
		return nil, wire.Hello{}, err
	}
	hello, err := readSnapshot(snapshot, ram, state)
	if err == nil {
		err = p.monitor(func(q *qmp) error { return q.restore(m.Restore) })
	}
	if err != nil {
		p.stop()
		return nil, hello, errors.Join(err, p.close())
	}
	return p, hello, nil
}

// warmFirst boots a machine with nothing but our init, keeps its memory for the next run, and goes on with it.
func (r *runner) warmFirst(ctx context.Context) (*process, wire.Hello, error) {
	ram, err := memoryFile("ram", r.machine.Memory)
	if err != nil {
		return nil, wire.Hello{}, err
	}
	defer ram.Close()
	p, hello, err := r.boot(ctx, ram, r.rdinit)
	if err != nil {
		return nil, hello, err
	}
	if err = r.keep(p, hello, ram); err != nil {
		p.stop()
		if errors.Is(err, errRefused) || errors.Is(err, errUnshared) { // and not a lack of time or memory
			r.cache.Remember(r.coldKey(), err.Error())
		}
		return nil, hello, r.coldInstead(errors.Join(err, p.close()))
	}
	return p, hello, nil
}

var errUnshared = errors.New("the guest's kernel does not let its init share memory")

// keep saves the machine and lets it go on.
func (r *runner) keep(p *process, hello wire.Hello, ram *os.File) error {
	if !hello.Memory {
		return errUnshared
	}
	state, err := memoryFile("state", 0)
	if err != nil {
		return err
	}
	defer state.Close()
	return p.monitor(func(q *qmp) error {
		if err := q.save(state); err != nil {
			return err
		}
		err = r.cache.Put("warm", r.warmKey(), func(w io.Writer) error { return writeSnapshot(w, hello, ram, state) })
		if err != nil && r.Verbose {
			r.Warn("no warm start the next time: %v", err)
		}
		return q.resume()
	})
}
