package applets

import (
	"context"
	"errors"
	"io"
	"path"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ctbox/ctbox/applets/internal/cli"
	"github.com/ctbox/ctbox/applets/internal/interrupt"
	"github.com/ctbox/ctbox/applets/internal/plan"
	"github.com/ctbox/ctbox/applets/internal/sandbox"
)

var runlocal = cli.Applet{
	Name:    "runlocal",
	Brief:   "run a directory's /init in a sandbox, without root",
	Example: "ctbox runlocal rootfs >out",
	Runner:  true,
	New:     func() cli.Command { return new(runlocalCommand) },
}

// runlocalCommand runs a directory as a filter: standard output is that of its /init, byte for byte, and so is the status.
type runlocalCommand struct {
	Bind      []string     `sep:"none" placeholder:"SRC:DST[:ro]" help:"Show SRC of the host at DST in the sandbox, to read and write, or only to read."`
	Changes   string       `placeholder:"FILE" help:"When the command succeeds, write the list of what it changed."`
	Chroot    bool         `help:"Only change the root directory, for root where no namespaces are allowed. It isolates nothing."`
	DryRun    bool         `short:"n" help:"Print the plan, a system call a line, instead of running it."`
	Env       []string     `short:"e" sep:"none" placeholder:"VAR[=VALUE]" help:"Set VAR in the sandbox; without VALUE, to what it is here."`
	FakeChown bool         `help:"Let chown and its like succeed without effect, as package managers want it where there is one user."`
	Hostname  string       `default:"ctbox" placeholder:"NAME" help:"Name of the sandbox's host."`
	Layer     string       `placeholder:"FILE" help:"When the command succeeds, pack what it changed as a layer."`
	Limit     []string     `sep:"none" placeholder:"WHAT=N" help:"Hold the run to mem=SIZE, pids=N or cpu=N; several may be joined by commas."`
	MapAuto   bool         `help:"Have all users that /etc/subuid and /etc/subgid give you, through newuidmap and newgidmap; otherwise there is user 0, who is you."`
	Net       string       `enum:"none,host,user" default:"none" placeholder:"NET" help:"none: a loopback of its own; user: also the way out, through pasta or slirp4netns; host: all that you see."`
	RW        bool         `name:"rw" help:"Write into DIR itself; otherwise what is written is in memory, and gone afterwards."`
	Timeout   cli.Duration `placeholder:"TIME" help:"End the run after TIME, in seconds or as 2m30s; the exit status is then 124."`
	Tmpfs     []string     `sep:"none" placeholder:"DST[:SIZE]" help:"Mount an empty directory in memory at DST, for at most SIZE such as 64M."`
	User      string       `placeholder:"UID[:GID]" help:"Be this user in the sandbox, and this group; otherwise 0 and 0."`
	Verbose   bool         `short:"v" help:"Say what holds the limits."`
	Workdir   string       `default:"/" placeholder:"DIR" help:"Working directory in the sandbox."`
	Dir       string       `arg:"" placeholder:"DIR" help:"Root file system. It stays as it is, and needs nothing but the program."`
	Args      []string     `arg:"" optional:"" placeholder:"ARG" help:"Command and arguments; by default /init."`
}

func (c *runlocalCommand) Run(std cli.Stdio) error {
	o, err := c.options(std)
	if err != nil {
		return err
	}
	if c.DryRun {
		text, err := sandbox.Plan(context.Background(), o)
		if err == nil {
			_, err = io.WriteString(std.Out, text)
		}
		return err
	}
	return interrupt.Run(time.Duration(c.Timeout), func(ctx context.Context) error { return c.run(ctx, o) })
}

func (c *runlocalCommand) run(ctx context.Context, o *sandbox.Options) error {
	end, err := sandbox.Run(ctx, o)
	switch {
	case errors.Is(err, sandbox.ErrClosed):
		return cli.ExitStatus(128 + int(syscall.SIGPIPE)) // nobody reads any more
	case err != nil:
		return err
	}
	err = cli.Ended(o.Plan.Args[0], end.Code, end.Signal)
	if err == nil && o.Plan.Keep {
		err = o.Commit(ctx, end, c.Layer, c.Changes)
	}
	return err
}

// options is what the command line says, in the sandbox's terms.
func (c *runlocalCommand) options(std cli.Stdio) (*sandbox.Options, error) {
	limits, err := sandbox.ParseLimits(c.Limit)
	if err != nil {
		return nil, err
	}
	o := &sandbox.Options{MapAuto: c.MapAuto, Limits: limits, Verbose: c.Verbose, Warn: std.Warn, Plan: *plan.Defaults(c.Dir, c.Args, c.Env)}
	o.Plan.Workdir, o.Plan.Hostname, o.Plan.FakeChown = c.Workdir, c.Hostname, c.FakeChown
	o.Plan.Keep = c.Layer != "" || c.Changes != ""
	switch {
	case c.Dir == "" || len(c.Args) > 0 && c.Args[0] == "":
		return nil, cli.Usagef("an empty name")
	case !path.IsAbs(c.Workdir):
		return nil, cli.Usagef("--workdir: %q does not begin with a slash", c.Workdir)
	case c.Layer == "-" || c.Changes == "-":
		return nil, cli.Usagef("standard output is the command's: --layer and --changes want names of files")
	case o.Plan.Keep && (c.RW || c.Chroot):
		return nil, cli.Usagef("--layer and --changes need DIR to stay as it is")
	case c.RW && c.Chroot:
		return nil, cli.Usagef("--chroot always writes into DIR itself: --rw says the same")
	case c.Chroot && (len(c.Bind)+len(c.Tmpfs) > 0 || c.Net != "none" || c.MapAuto):
		return nil, cli.Usagef("--chroot mounts and maps nothing, and has the host's network")
	case c.RW:
		o.Plan.Root = plan.Writable
	case c.Chroot:
		o.Plan.Root = plan.ChangeRoot
	}
	switch c.Net {
	case "host":
		o.Plan.Net = plan.HostNet
	case "user":
		o.Plan.Net = plan.UserNet
	}
	return o, errors.Join(c.mounts(&o.Plan), c.user(&o.Plan))
}

func (c *runlocalCommand) mounts(o *plan.Options) error {
	for _, text := range c.Bind {
		b, err := parseBind(text)
		if err != nil {
			return err
		}
		o.Binds = append(o.Binds, b)
	}
	for _, text := range c.Tmpfs {
		target, size, sized := strings.Cut(text, ":")
		var bytes cli.Size
		if sized {
			if err := bytes.UnmarshalText([]byte(size)); err != nil {
				return cli.Usagef("--tmpfs: %v", err)
			}
		}
		if !path.IsAbs(target) {
			return cli.Usagef("--tmpfs: %q does not begin with a slash", target)
		}
		o.Tmpfs = append(o.Tmpfs, plan.Tmpfs{Target: path.Clean(target), Size: int64(bytes)})
	}
	if len(o.Binds) > plan.MaxBinds {
		return cli.Usagef("--bind: more than %d", plan.MaxBinds)
	}
	return nil
}

// parseBind reads SRC:DST[:ro]. SRC may hold colons, DST not.
func parseBind(text string) (plan.Bind, error) {
	rest, readOnly := strings.CutSuffix(text, ":ro")
	i := strings.LastIndexByte(rest, ':')
	if i < 1 || !path.IsAbs(rest[i+1:]) || path.Clean(rest[i+1:]) == "/" {
		return plan.Bind{}, cli.Usagef("--bind: %q is not of the form SRC:DST[:ro], with DST from the sandbox's root on", text)
	}
	return plan.Bind{Source: rest[:i], Target: path.Clean(rest[i+1:]), ReadOnly: readOnly}, nil
}

func (c *runlocalCommand) user(o *plan.Options) error {
	if c.User == "" {
		return nil
	}
	uid, gid, grouped := strings.Cut(c.User, ":")
	if !grouped {
		gid = uid
	}
	u, err1 := strconv.ParseUint(uid, 10, 31)
	g, err2 := strconv.ParseUint(gid, 10, 31)
	if err1 != nil || err2 != nil {
		return cli.Usagef("--user: %q is not of the form UID[:GID], in numbers", c.User)
	}
	o.User = &plan.User{UID: int(u), GID: int(g)}
	return nil
}
