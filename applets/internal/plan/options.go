// Package plan lists the system calls that turn a forked child into a program in a sandbox, prints them, and runs them.
//
// The parent makes the list before it forks, and the child does nothing but run it: no second Go program has to start, an error
// names its step, and what would be done can be shown.
//
// Invariant: the program's "/" is entered with pivot_root(2) before anything is mounted below it. From then on an absolute path can
// only lead into the new root, whatever symbolic links that holds, and relative ones lead to the host, until that is left.
//
// This package imports only what is initialised at once when a program starts; see start.go for why.
package plan

import (
	"slices"

	"github.com/ctbox/ctbox/applets/internal/environ"
)

// A Root says how DIR becomes the program's root directory.
type Root int

// What the program writes goes to memory and is forgotten (Overlay), to DIR itself (Writable), or nowhere (ReadOnly).
// ChangeRoot is chroot(2) by a privileged user, for want of namespaces: it isolates nothing.
const (
	Overlay Root = iota
	Writable
	ReadOnly
	ChangeRoot
)

// A Net says which network the program sees.
type Net int

// A loopback of its own (NoNet), that and a way out which the parent makes (UserNet), or all that the caller sees (HostNet).
const (
	NoNet Net = iota
	UserNet
	HostNet
)

// Options is what to run and how.
type Options struct {
	Dir               string   // root file system
	Args              []string // command; a name without a slash is looked for in the PATH of Env
	Env               []string
	Workdir, Hostname string // Workdir is absolute

	Root      Root
	Binds     []Bind
	Tmpfs     []Tmpfs
	Net       Net
	Resolver  string // text of /etc/resolv.conf, if it is to be replaced (Overlay)
	User      *User  // who the program is; nil is user 0 and group 0
	Mapped    bool   // the parent maps user and group ids; otherwise the child maps its own alone
	Wait      bool   // the parent has something to do before the program may start
	FakeChown bool   // chown(2) and its like succeed without effect
	Keep      bool   // hand what the program wrote to the parent (Overlay)
	Limits    []Rlimit
	Memory    int64  // bytes that one tmpfs may hold; 0 is half of what there is
	CPUs      []byte // a mask as sched_setaffinity(2) has it, or nil for all
	Cgroups   []int  // descriptors of cgroup.procs
}

// Defaults are the options of a run that asks for nothing but a directory, a command (/init if there is none), and variables as
// environ.New has them.
func Defaults(dir string, args, env []string) *Options {
	if len(args) == 0 {
		args = []string{"/init"}
	}
	own := []string{"container=ctbox", "SOURCE_DATE_EPOCH"}
	return &Options{Dir: dir, Args: args, Env: environ.New(append(own, env...)...), Workdir: "/", Hostname: "ctbox", Limits: DefaultLimits()}
}

// A Bind shows a file or directory of the host in the sandbox.
type Bind struct {
	Source, Target string // Target is absolute
	ReadOnly       bool
}

// MaxBinds is how many Binds a plan can have.
const MaxBinds = 50

// A Tmpfs is an empty directory in memory.
type Tmpfs struct {
	Target string // absolute
	Size   int64  // in bytes; 0 is Options.Memory
}

// A User is a user and a group id in the sandbox.
type User struct{ UID, GID int }

// An Rlimit is a limit as getrlimit(2) has it.
type Rlimit struct {
	Resource int
	Cur, Max uint64
}

// equal says whether two runs are alike.
func (o *Options) equal(p *Options) bool {
	return o.Dir == p.Dir && slices.Equal(o.Args, p.Args) && slices.Equal(o.Env, p.Env) && o.Workdir == p.Workdir && o.Hostname == p.Hostname &&
		o.Root == p.Root && slices.Equal(o.Binds, p.Binds) && slices.Equal(o.Tmpfs, p.Tmpfs) && o.Net == p.Net && o.Resolver == p.Resolver &&
		(o.User == p.User || o.User != nil && p.User != nil && *o.User == *p.User) && o.Mapped == p.Mapped && o.Wait == p.Wait &&
		o.FakeChown == p.FakeChown && o.Keep == p.Keep && slices.Equal(o.Limits, p.Limits) &&
		o.Memory == p.Memory && slices.Equal(o.CPUs, p.CPUs) && slices.Equal(o.Cgroups, p.Cgroups)
}
