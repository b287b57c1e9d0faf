package applets

import (
	"cmp"
	"io"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/ctbox/ctbox/applets/internal/archive"
	"github.com/ctbox/ctbox/applets/internal/cli"
	"github.com/ctbox/ctbox/applets/internal/fakeroot"
	"github.com/ctbox/ctbox/applets/internal/list"
	"github.com/ctbox/ctbox/applets/internal/output"
	"github.com/ctbox/ctbox/applets/internal/progress"
	"github.com/ctbox/ctbox/applets/internal/statcache"
	"github.com/ctbox/ctbox/applets/internal/tarball"
)

var fileids = cli.Applet{
	Name:    "fileids",
	Brief:   "make a list from a tree",
	Example: "find . -print | LC_ALL=C sort | ctbox fileids >../tree.list",
	New:     func() cli.Command { return new(fileidsCommand) },
}

// fileidsCommand reads names on standard input, or walks Dir. What is wrong with one name is reported and the rest
// goes on, with status 1 at the end.
type fileidsCommand struct {
	Null          bool   `short:"0" help:"Names and records end in NUL, not newline."`
	Directory     string `short:"C" placeholder:"DIR" help:"Names on standard input are relative to DIR."`
	Tar           string `short:"T" placeholder:"TAR" help:"List what is in TAR, a root file system, as it would be unpacked by root; - is standard input."`
	Fakeroot      string `short:"F" placeholder:"FILE" help:"Owners, modes and devices are those in FILE, which fakeroot saved."`
	Owner         string `placeholder:"UID:GID" help:"Owner of everything, instead of the owners on disk."`
	Cache         string `placeholder:"FILE" help:"Do not read files that are as FILE remembers them, and keep FILE up to date."`
	Jobs          uint   `short:"j" placeholder:"N" help:"Read N files at once; one for each processor if not given."`
	OneFileSystem bool   `short:"x" help:"With DIR, do not go into other file systems."`
	Output        string `short:"o" placeholder:"FILE" help:"Write FILE, whole or not at all."`
	Progress      string `enum:"auto,always,never" default:"auto" help:"Show on standard error how far the work is: on a terminal, after a second; always; never."`
	Dir           string `arg:"" optional:"" help:"Directory to list; without it, names come on standard input."`
}

func (c *fileidsCommand) Run(std cli.Stdio) error {
	owner, err := parseOwner(c.Owner)
	if err != nil {
		return err
	}
	if err := c.check(); err != nil {
		return err
	}
	if c.Tar != "" {
		return c.listTar(std, owner)
	}
	top, err := archive.OpenDir(cmp.Or(c.Dir, c.Directory, "."))
	if err != nil {
		return err
	}
	defer top.Close()
	line := std.Progress(c.Progress)
	defer line.Stop()
	frugal()
	return output.Target{Path: c.Output, Stdout: std.Out}.Write(func(w io.Writer) error {
		return c.cached(std, func(cache *archive.Cache) error { return c.list(std, top, owner, cache, w, line) })
	})
}

// frugal keeps the heap from doubling, once it is not small any more: of a large one, the names in a huge directory are
// nearly all.
func frugal() {
	runtime.AddCleanup(new([16]byte), func(percent int) { debug.SetGCPercent(percent) }, 50)
}

// cached calls list with the cache, if there is to be one.
func (c *fileidsCommand) cached(std cli.Stdio, list func(*archive.Cache) error) error {
	if c.Cache == "" {
		return list(nil)
	}
	warn := func(err error) { std.Warn("%s: %v", c.Cache, output.Cause(err)) }
	return statcache.Replace(c.Cache, warn, func(old *statcache.File, next *statcache.Next) (err, saved error) {
		cache := archive.NewCache(old, next, warn)
		err = list(cache)
		return err, cache.Close()
	})
}

func (c *fileidsCommand) check() error {
	const mostJobs = 256 // each has a buffer and two descriptors
	switch {
	case c.Dir != "" && c.Directory != "":
		return cli.Usagef("operand DIR and -C exclude each other")
	case c.Tar != "" && (c.Dir != "" || c.Directory != "" || c.Fakeroot != "" || c.Cache != ""):
		return cli.Usagef("-T excludes operand DIR, -C, -F and --cache")
	case c.Dir == "" && c.OneFileSystem:
		return cli.Usagef("-x needs the operand DIR")
	case c.Fakeroot != "" && c.Owner != "":
		return cli.Usagef("-F and --owner exclude each other")
	case c.Cache == "-", c.Cache != "" && c.Cache == c.Output:
		return cli.Usagef("--cache needs a file of its own")
	case c.Jobs > mostJobs:
		return cli.Usagef("-j: at most %d", mostJobs)
	}
	return nil
}

func (c *fileidsCommand) list(std cli.Stdio, top *archive.Dir, owner *archive.Owner, cache *archive.Cache, w io.Writer, line *progress.Line) error {
	var told complaints
	pretended, err := c.pretended(top, func(err error) { told.tell(std, err) })
	if err != nil {
		return err
	}
	identify := c.identify(std, owner, w, line, &told)
	identify.Open = func() (archive.Source, error) { return top.Share(), nil }
	identify.Output, identify.Cache = w, cache
	if pretended != nil {
		identify.Fake = pretended.Fake
	}
	if c.Dir != "" {
		err = identify.RunDir(top, c.OneFileSystem)
	} else {
		err = identify.Run(func(each func([]byte) error) error { return eachName(std.In, c.Null, each) })
	}
	if err == nil && pretended != nil {
		err = pretended.Finish()
	}
	return told.status(err)
}

// listTar lists a tar.
func (c *fileidsCommand) listTar(std cli.Stdio, owner *archive.Owner) error {
	line := std.Progress(c.Progress)
	defer line.Stop()
	src, err := openTar(std, c.Tar)
	if err != nil {
		return err
	}
	defer src.Close()
	return output.Target{Path: c.Output, Stdout: std.Out}.Write(func(w io.Writer) error {
		var told complaints
		identify := c.identify(std, owner, w, line, &told)
		identify.Open = func() (archive.Source, error) { return tarball.Shared{Source: src}, nil }
		return told.status(identify.Run(src.Walk))
	})
}

// identify is what lists of all sources have in common.
func (c *fileidsCommand) identify(std cli.Stdio, owner *archive.Owner, w io.Writer, line *progress.Line, told *complaints) *archive.Identify {
	return &archive.Identify{
		Workers: int(c.Jobs),
		Owner:   owner,
		Null:    c.Null,
		Write:   func(records []byte) error { _, err := w.Write(records); return err },
		Fail: func(err error) {
			told.bad.Store(true)
			told.tell(std, err)
		},
		Progress: line,
	}
}

// complaints come from the walk and from the writing of the list, which go on after them.
type complaints struct {
	one sync.Mutex
	bad atomic.Bool // some name is not in the list
}

func (t *complaints) tell(std cli.Stdio, err error) {
	t.one.Lock()
	defer t.one.Unlock()
	std.Warn("%v", err)
}

func (t *complaints) status(err error) error {
	if err == nil && t.bad.Load() {
		return cli.ExitStatus(cli.Failed)
	}
	return err
}

// pretended is what fakeroot says of the files, or nil. With --owner nobody asks it.
func (c *fileidsCommand) pretended(top *archive.Dir, warn func(error)) (fakeroot.Source, error) {
	if c.Owner != "" {
		return nil, nil
	}
	return fakeroot.Open(c.Fakeroot, fakeroot.Context{Born: top.Born, Warn: warn})
}

func eachName(r io.Reader, null bool, each func([]byte) error) error {
	names := list.NewNames("<stdin>", r, null)
	for {
		name, err := names.Next()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = each(name)
		}
		if err != nil {
			return err
		}
	}
}

func parseOwner(s string) (*archive.Owner, error) {
	if s == "" {
		return nil, nil
	}
	uid, gid, ok := strings.Cut(s, ":")
	u, err1 := strconv.ParseUint(uid, 10, 32)
	g, err2 := strconv.ParseUint(gid, 10, 32)
	const nobody = 1<<32 - 1 // (uid_t)-1 is no owner
	if !ok || err1 != nil || err2 != nil || u == nobody || g == nobody {
		return nil, cli.Usagef("--owner: %q is not UID:GID in numbers", s)
	}
	return &archive.Owner{UID: uint32(u), GID: uint32(g)}, nil
}
