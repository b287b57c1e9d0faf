//go:build linux && (amd64 || arm64)

package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/environ"
	"github.com/ctbox/ctbox/applets/internal/plan"
)

// A run is a program that runs, and what serves it.
type run struct {
	*Options
	ids   *idmap // nil if the child can map its own
	net   *usernet
	bound *bound
	child *plan.Child
}

// Run runs the program and waits for its end; when ctx is done, the program is told to end, and later killed. Its standard files are
// those of this process. Where DIR cannot be the lower layer of an overlay, it is shown read-only, with a warning.
func Run(ctx context.Context, o *Options) (*End, error) {
	if fd := plan.DirectoryAt(); fd >= 0 {
		name := [...]string{"standard input", "standard output", "standard error"}[fd]
		return nil, fmt.Errorf("%s is a directory, and would be a way out of the sandbox", name)
	}
	runtime.LockOSThread() // the child dies with the thread that forks it
	end, err := o.run(ctx)
	var failure *plan.Failure
	if errors.As(err, &failure) && failure.Step == plan.StepOverlay && !o.Plan.Keep {
		o.Warn("%v; DIR is shown read-only", o.explain(failure))
		o.Plan.Root = plan.ReadOnly
		end, err = o.run(ctx)
	}
	if errors.As(err, &failure) {
		err = o.explain(failure)
	}
	return end, err
}

func (o *Options) run(ctx context.Context) (end *End, err error) {
	r := &run{Options: o}
	if err := r.prepare(ctx); err != nil {
		return nil, err
	}
	r.bind()
	defer r.release()
	if r.Plan.Root == plan.ChangeRoot {
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			return nil, os.NewSyscallError("prctl", err)
		}
	}
	if r.child = plan.Early(&o.Plan); r.child == nil {
		if r.child, err = plan.Start(&o.Plan); err != nil {
			return nil, err
		}
	}
	defer r.child.Close()
	if err := r.help(ctx); err != nil {
		r.kill()
		r.child.Wait()
		if failure := r.child.Failure(); failure != nil {
			return nil, failure // that is why nobody could be helped
		}
		return nil, err
	}
	return r.wait(ctx)
}

// prepare finds out what the plan depends on.
func (r *run) prepare(ctx context.Context) (err error) {
	inside := plan.User{}
	if r.Plan.User != nil {
		inside = *r.Plan.User
	}
	switch {
	case r.Plan.Root == plan.ChangeRoot:
	case r.MapAuto:
		r.ids, err = idmapAuto(ctx, uint32(inside.UID), uint32(inside.GID))
	case os.Geteuid() == 0:
		if r.ids = idmapIdentity(); r.ids.single() {
			r.ids = nil
		}
	}
	if err != nil {
		return err
	}
	r.Plan.Mapped = r.ids != nil
	switch r.Plan.Net {
	case plan.UserNet:
		if r.net, err = usernetNew(); err != nil {
			return err
		}
		r.Plan.Resolver, r.Plan.Wait = r.net.resolv, true
	case plan.HostNet:
		r.Plan.Resolver = usernetHostResolv()
	}
	return nil
}

// bind makes what holds the limits.
func (r *run) bind() {
	if r.Limits == (Limits{}) {
		return // the plan has defaults
	}
	r.bound = r.Limits.bind(os.Geteuid())
	r.Plan.Limits, r.Plan.Memory, r.Plan.Cgroups = r.bound.rlimits, r.Limits.Memory, r.bound.joins()
	if r.bound.cpus != nil {
		r.Plan.CPUs = r.bound.mask()
	}
	for _, warning := range r.bound.weak {
		r.Warn("%s", warning)
	}
	if r.Verbose {
		for _, how := range r.bound.how {
			r.Warn("%s", how)
		}
	}
}

// release ends what served the program, and says what did not work.
func (r *run) release() {
	if err := r.net.stop(); err != nil {
		r.Warn("%v", err)
	}
	if r.bound == nil {
		return
	}
	if err := r.bound.close(); err != nil {
		r.Warn("%v", err)
	}
}

// help does what the child waits for.
func (r *run) help(ctx context.Context) error {
	if r.ids != nil {
		if err := r.ids.apply(ctx, r.child.PID); err != nil {
			return err
		}
		r.child.Proceed()
	}
	if r.net != nil {
		if err := r.net.start(ctx, r.child.PID); err != nil {
			return err
		}
	}
	if r.Plan.Wait {
		r.child.Proceed()
	}
	return nil
}

// explain says why a step went wrong, and what can be done.
func (o *Options) explain(f *plan.Failure) error {
	failure := Failure{Step: f.Step, Call: f.Call, Errno: f.Errno}
	switch f.Step {
	case plan.StepExec:
		name := o.Plan.Args[0]
		if strings.Contains(name, "/") && !path.IsAbs(name) {
			name = path.Join(o.Plan.Workdir, name)
		}
		return CannotStart(o.Plan.Dir, name, environ.Lookup(o.Plan.Env, "PATH"), f.Errno)
	case plan.StepUnshare:
		failure.Call = plan.StepClone // which makes the other half of the namespaces
	case plan.StepDir, plan.StepOverlay:
		failure.Path = o.Plan.Dir
		if dir, err := filepath.Abs(o.Plan.Dir); err == nil {
			failure.Path = dir
		}
		if dir, err := filepath.EvalSymlinks(failure.Path); err == nil {
			failure.Path = dir
		}
	}
	return Explain(failure)
}

// Plan is what Run would do, a line for each system call, after what this process does meanwhile.
func Plan(ctx context.Context, o *Options) (string, error) {
	r := &run{Options: o}
	if err := r.prepare(ctx); err != nil {
		return "", err
	}
	text := ""
	if r.ids != nil {
		text += "parent: " + strings.Join(r.ids.plan(), "\nparent: ") + "\n"
	}
	if r.net != nil {
		text += "parent: " + r.net.plan() + "\n"
	}
	return text + plan.New(&o.Plan).String(), nil
}
