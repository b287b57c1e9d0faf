package vm

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/ctbox/ctbox/applets/internal/archive"
	"github.com/ctbox/ctbox/applets/internal/cli"
	"github.com/ctbox/ctbox/applets/internal/wire"
)

// How long a guest may take to its Hello. With KVM it takes less than a second; software emulation on a busy machine takes
// a few, and more for what it has to unpack.
const (
	kvmLimit     = 10 * time.Second
	tcgLimit     = 60 * time.Second
	kvmUnpacking = 16 << 20 // bytes of content for which a second is added
	tcgUnpacking = 1 << 20
)

// aliveLimit is how long a guest that said Hello may take to its first frame.
const aliveLimit = 20 * time.Second

// grace is how long a run may take to its end once ctx has ended.
const grace = 2 * time.Second

// Run runs the program in a virtual machine and returns how it ended. When ctx ends first, the error is its cause.
// The machine is gone when Run returns, or will be when ctbox ends, however it ends.
func Run(ctx context.Context, o *Options) (*wire.End, error) {
	r, err := within(ctx, 0, o.prepare) // which undoes nothing, and may wait for an initrd
	if err != nil {
		return nil, err
	}
	return within(ctx, grace, func() (*wire.End, error) {
		defer r.close()
		return r.run(ctx)
	})
}

// within returns what do does or, when ctx has ended and some time has passed, its cause: a reader of our output who does not
// read, say, cannot hold up the end. What do waits for then ends with the process.
func within[T any](ctx context.Context, grace time.Duration, do func() (T, error)) (T, error) {
	var value T
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		value, err = do()
	}()
	select {
	case <-done:
		return value, err
	case <-ctx.Done():
	}
	select {
	case <-done:
		return value, err
	case <-time.After(grace):
		var none T
		return none, context.Cause(ctx)
	}
}

// run runs one machine after another until one comes up.
func (r *runner) run(ctx context.Context) (*wire.End, error) {
	for {
		end, err := r.once(ctx)
		var again retry
		switch {
		case !errors.As(err, &again):
			return end, err
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		}
	}
}

// retry is the error of a machine that did not come up, where another kind of machine may. The runner has been changed to it.
type retry struct{ error }

func (e retry) Unwrap() error { return e.error }

// once runs one machine.
func (r *runner) once(ctx context.Context) (*wire.End, error) {
	p, hello, err := r.up(ctx)
	if err != nil {
		return nil, err
	}
	defer p.close()
	defer context.AfterFunc(ctx, p.Kill)()
	r.judgeKVM()
	late := time.AfterFunc(aliveLimit, p.Kill)
	defer late.Stop()
	s := session{stdin: r.Stdin, stdout: r.Stdout, stderr: r.Stderr, awake: func() { late.Stop() }, abort: p.Kill}
	end, err := r.talk(&s, p, hello)
	p.stop()
	s.settle() // before the memory goes away
	switch {
	case ctx.Err() != nil:
		return nil, r.withConsole(p, context.Cause(ctx))
	case r.tree && !s.heard && lost(err): // the snapshot is no good; nothing has been read or written yet
		return nil, r.coldInstead(err)
	}
	return r.verdict(p, &s, end, err)
}

// talk runs the session.
func (r *runner) talk(s *session, p *process, hello wire.Hello) (*wire.End, error) {
	conn, memory, err := p.connect(hello, r.Channel != "serial")
	if err != nil {
		return nil, err
	}
	if r.Channel == "memory" && !memory {
		return nil, errors.New("the guest's kernel does not let its init share memory (CONFIG_DEVMEM)")
	}
	now := time.Now()
	s.window = wire.Window(memory)
	s.job = &wire.Job{
		Sec: now.Unix(), Nsec: int64(now.Nanosecond()), Seed: make([]byte, 64),
		Tree: r.tree, Stdin: r.Stdin != nil, Dir: r.Dir, Args: r.Args, Env: r.Env,
	}
	rand.Read(s.job.Nonce[:])
	rand.Read(s.job.Seed)
	if r.tree {
		s.tree = r.expanded()
	}
	return s.run(conn)
}

// expanded is the initrd without compression: the host is faster at that than an emulated processor.
func (r *runner) expanded() io.Reader {
	whole := io.NewSectionReader(r.source, 0, r.length)
	if !r.size.Compressed {
		return whole
	}
	out, in := io.Pipe()
	go func() { in.CloseWithError(archive.ExpandInitrd(in, whole)) }()
	return out
}

// up starts a machine and waits for its Hello: from memory if that is wanted and works, else by booting.
func (r *runner) up(ctx context.Context) (*process, wire.Hello, error) {
	if r.tree = r.warm(); r.tree {
		return r.warmUp(ctx)
	}
	if err := r.openWhole(); err != nil {
		return nil, wire.Hello{}, err
	}
	ram, err := memoryFile("ram", r.machine.Memory)
	if err != nil {
		return nil, wire.Hello{}, err
	}
	defer ram.Close()
	return r.boot(ctx, ram, r.whole)
}

// boot starts a machine that boots, and waits for its Hello.
func (r *runner) boot(ctx context.Context, ram, initrd *os.File) (*process, wire.Hello, error) {
	p, err := launch(&r.machine, files{ram: ram, kernel: r.kernel.File, initrd: initrd, disk: r.disk}, r.echo())
	if err != nil {
		return nil, wire.Hello{}, err
	}
	stop := context.AfterFunc(ctx, p.Kill)
	hello, err := p.hello(r.bootLimit())
	stop()
	if err == nil && ctx.Err() == nil {
		return p, hello, nil
	}
	p.stop()
	p.close()
	if ctx.Err() != nil {
		return nil, hello, r.withConsole(p, context.Cause(ctx))
	}
	return nil, hello, r.unborn(p, err)
}

func (r *runner) echo() io.Writer {
	if r.Verbose {
		return r.Stderr
	}
	return nil
}

func (r *runner) bootLimit() time.Duration {
	limit, unpacking := tcgLimit, int64(tcgUnpacking)
	if r.machine.Accel == "kvm" {
		limit, unpacking = kvmLimit, kvmUnpacking
	}
	return limit + time.Duration(r.size.Unpacked/unpacking)*time.Second
}

// unborn says why there was no Hello, and turns to another kind of machine where that may be the cure.
func (r *runner) unborn(p *process, err error) error {
	why := died(p, err)
	if packed := r.kernel.Packed; packed != nil && p.said.Tail() == "" && p.console.Tail() == "" {
		why = fmt.Errorf("%w; %s cannot be unpacked: %v", why, r.kernel.File.Name(), packed)
	}
	if r.machine.Type == "microvm" && strings.Contains(p.said.Tail(), "unsupported machine type") {
		r.machine.Type = "q35"
		r.cache.Remember(r.machineKey(), r.machine.Type)
		return retry{why}
	}
	if r.machine.Accel == "kvm" && r.Accel == "auto" {
		r.machine.Accel = "tcg"
		r.noKVM, r.cold = why, true // the same must boot
		return retry{why}
	}
	if r.size.Rdinit {
		why = cli.Hint(why, "the initrd has a /rdinit of its own, which must be that of \"mkinitrd --rdinit=self\" for runkvm")
	}
	return r.withConsole(p, why)
}

// judgeKVM is called when a guest has come up. What failed with KVM and came up without it was KVM's fault, and not that of a
// kernel, an initrd or an option.
func (r *runner) judgeKVM() {
	if r.noKVM != nil {
		r.cache.Remember(r.kvmKey(), kvmBroken)
		r.Warn("/dev/kvm does not work: %v; emulating from now on, which is slower", r.noKVM)
		r.noKVM = nil
	}
}

// died says how qemu ended, if it did, before the guest said anything.
func died(p *process, err error) error {
	if fault := p.console.Fault(); fault != "" {
		return errors.New("the guest's kernel: " + fault)
	}
	if !lost(err) {
		return err
	}
	last := strings.TrimSpace(p.said.Tail())
	last = cmp.Or(last[strings.LastIndexByte(last, '\n')+1:], "it did not say why")
	state := p.cmd.ProcessState
	switch ws, _ := state.Sys().(syscall.WaitStatus); {
	case ws.Signaled() && ws.Signal() != syscall.SIGKILL:
		return fmt.Errorf("qemu died of a signal (%v): %s", ws.Signal(), last)
	case state.ExitCode() > 0:
		return errors.New("qemu: " + last)
	}
	return errors.New("the guest ended before its init came up")
}

// verdict turns the end of a session to the end of the run.
func (r *runner) verdict(p *process, s *session, end *wire.End, err error) (*wire.End, error) {
	fault := p.console.Fault()
	var ours writeError
	switch {
	case errors.As(err, &ours):
		return nil, ours.error
	case err == nil && fault == "":
		return end, nil
	case fault != "" && (err == nil || lost(err)):
		err = errors.New("the guest's kernel: " + fault)
	case lost(err) && !s.heard:
		err = errSilent
	case lost(err):
		err = errors.New("the guest ended without saying how")
	}
	return nil, r.withConsole(p, err)
}

// lost tells a connection that ended from a guest that sent nonsense.
func lost(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.EPIPE) ||
		errors.Is(err, syscall.ECONNRESET)
}

// withConsole shows the end of the console, unless it was shown as it came, and passes err on.
func (r *runner) withConsole(p *process, err error) error {
	if r.Verbose {
		return err
	}
	for _, c := range [...]struct{ who, tail string }{{"qemu", p.said.Tail()}, {"console", p.console.Tail()}} {
		for line := range strings.Lines(c.tail) {
			r.Warn("%s: %s", c.who, strings.TrimRight(line, "\r\n"))
		}
	}
	return err
}
