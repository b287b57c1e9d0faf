//go:build linux && (amd64 || arm64)

package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strconv"

	"github.com/ctbox/ctbox/applets/internal/cli"
	"github.com/ctbox/ctbox/applets/internal/output"
	"github.com/ctbox/ctbox/applets/internal/plan"
	"golang.org/x/sys/unix"
)

// A commit says what the process that packs a sandbox's changes has open, and under which numbers.
type commit struct {
	Upper, Lower   int      // directories
	Layer, Changes int      // files to write; -1 for what was not asked for
	Mounts         []string // absolute names, free of symbolic links, at which the sandbox had something mounted
}

// args is the command line of that process.
//
// It has to run in the sandbox's user namespace, where it may read what the program made with mode 0000, or as another
// user, and sees the owners that the program saw. It stays in the mount namespace of its parent, whose /proc it needs, and ends
// with status 0 or 1, as mklayer does.
func (c *commit) args() []string {
	args := []string{"ctbox", "runlocal-changes"}
	for _, m := range c.Mounts {
		args = append(args, "--skip=."+path.Clean("/"+m))
	}
	if c.Layer >= 0 {
		args = append(args, "--layer="+commitFile(c.Layer))
	}
	if c.Changes >= 0 {
		args = append(args, "--changes="+commitFile(c.Changes))
	}
	if c.Changes < 0 { // then any name will do
		args = append(args, "-0")
	}
	return append(args, commitFile(c.Upper), commitFile(c.Lower))
}

func commitFile(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// Commit writes what the program changed, as a layer and as a list; the name of either may be "". It is for an End of Options with
// Plan.Keep, once. What goes wrong is said on standard error, and both files stay what they were.
func (o *Options) Commit(ctx context.Context, end *End, layer, changes string) error {
	defer end.Upper.Close()
	defer end.UserNS.Close()
	lower, err := os.Open(o.Plan.Dir)
	if err != nil {
		return err
	}
	defer lower.Close()
	c := &commit{Upper: int(end.Upper.Fd()), Lower: int(lower.Fd()), Layer: -1, Changes: -1, Mounts: o.mounts()}
	return commitTo(changes, &c.Changes, func() error {
		return commitTo(layer, &c.Layer, func() error { return c.run(ctx, int(end.UserNS.Fd())) })
	})
}

// mounts are the names at which the plan mounts or makes something.
func (o *Options) mounts() []string {
	all := []string{"/dev", "/proc", "/tmp"}
	for _, b := range o.Plan.Binds {
		all = append(all, b.Target)
	}
	for _, t := range o.Plan.Tmpfs {
		all = append(all, t.Target)
	}
	if o.Plan.Resolver != "" {
		all = append(all, "/etc/resolv.conf")
	}
	return all
}

// commitTo gives run a descriptor whose bytes become the file called name, when run succeeds.
func commitTo(name string, fd *int, run func() error) error {
	if name == "" {
		return run()
	}
	return output.Target{Path: name}.Write(func(w io.Writer) error {
		from, to, err := os.Pipe()
		if err != nil {
			return err
		}
		copied := make(chan error, 1)
		go func() {
			_, err := io.Copy(w, from)
			from.Close() // lest the other end waits for ever
			copied <- err
		}()
		*fd = int(to.Fd())
		err = run()
		to.Close()
		return errors.Join(err, <-copied)
	})
}

// run starts ctbox again in the namespace.
func (c *commit) run(ctx context.Context, userns int) error {
	files := []int{c.Upper, c.Lower}
	for _, fd := range []int{c.Layer, c.Changes} {
		if fd >= 0 {
			files = append(files, fd)
		}
	}
	child, err := plan.StartInside(userns, files, c.args(), os.Environ())
	if err != nil {
		return err
	}
	defer child.Close()
	stop := context.AfterFunc(ctx, func() { child.Signal(unix.SIGKILL) })
	ws := child.Wait()
	stop()
	failure := child.Failure()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case failure != nil:
		return failure
	case ws.Signaled():
		return fmt.Errorf("packing the changes: %v", ws.Signal())
	case ws.ExitStatus() != 0:
		return cli.ExitStatus(cli.RunnerError) // it has said why
	}
	return nil
}
