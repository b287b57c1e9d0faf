package applets

import (
	"errors"
	"io"
	"io/fs"

	"github.com/ctbox/ctbox/applets/internal/archive"
	"github.com/ctbox/ctbox/applets/internal/cli"
	"github.com/ctbox/ctbox/applets/internal/compress"
	"github.com/ctbox/ctbox/applets/internal/list"
	"github.com/ctbox/ctbox/applets/internal/output"
	"github.com/ctbox/ctbox/applets/internal/statcache"
)

var mklayer = cli.Applet{
	Name:    "mklayer",
	Brief:   "pack a list as a tar layer",
	Example: "ctbox mklayer -C tree -o app.layer app.list",
	New:     func() cli.Command { return new(mklayerCommand) },
}

// mklayerCommand takes modes, owners, directories and device nodes from the list, content from Directory.
type mklayerCommand struct {
	Null        bool   `short:"0" help:"Records end in NUL, not newline."`
	Directory   string `short:"C" placeholder:"DIR" default:"." help:"Names are relative to DIR."`
	Tar         string `short:"T" placeholder:"TAR" help:"Names are those in TAR, a root file system; - is standard input."`
	Output      string `short:"o" placeholder:"FILE" help:"Write FILE, whole or not at all."`
	Compress    string `short:"z" enum:"none,gzip,zstd" default:"none" help:"Compress the layer."`
	Mtime       string `enum:"epoch,clamp,keep" default:"epoch" help:"Times of modification: SOURCE_DATE_EPOCH or 0; the files' own, but no later than that; the files' own. Only the first makes the layer depend on the list alone."`
	RootEntry   bool   `help:"Write an entry for the root directory, too."`
	SkipSockets bool   `help:"Leave sockets out instead of failing."`
	TrustCache  string `placeholder:"FILE" help:"Do not prove files again that are as FILE remembers them, a cache of fileids."`
	Quiet       bool   `short:"q" help:"Do not warn of directories that the list lacks."`
	Progress    string `enum:"auto,always,never" default:"auto" help:"Show on standard error how far the work is: on a terminal, after a second; always; never."`
	List        string `arg:"" optional:"" help:"List to pack; standard input if none or -."`
}

func (c *mklayerCommand) Run(std cli.Stdio) error {
	line := std.Progress(c.Progress)
	defer line.Stop()
	from, err := openPacked(std, packedOptions{c.Mtime, c.Directory, c.Tar, c.TrustCache, c.List, c.Null})
	if err != nil {
		return err
	}
	defer from.close()
	layer := archive.Layer{
		List: from.list, Source: from.source, Time: from.times, RootEntry: c.RootEntry, SkipSockets: c.SkipSockets, Warn: std.Warn,
		Progress: line, Trust: from.trust,
	}
	if c.Quiet {
		layer.Warn = func(string, ...any) {}
	}
	return output.Target{Path: c.Output, Stdout: std.Out, Binary: true}.Write(func(w io.Writer) error {
		return elsewhere(c.Directory, c.Tar, compress.To(line.Writer(w), c.Compress, 0, layer.Write))
	})
}

// packed is what the packers of a list read.
type packed struct {
	times  archive.Times
	source archive.Source
	list   *list.Input
	cache  *statcache.File
	trust  *archive.Cache // nil if there is no cache
}

// packedOptions are the values of the options that say so.
type packedOptions struct {
	mtime, directory, tar, cache, list string
	null                               bool
}

// openPacked opens what o names.
func openPacked(std cli.Stdio, o packedOptions) (p *packed, err error) {
	switch {
	case o.tar != "" && o.directory != ".":
		return nil, cli.Usagef("-C and -T exclude each other")
	case o.tar != "" && o.cache != "":
		return nil, cli.Usagef("--trust-cache is for files of a directory, not for -T")
	case o.tar == "-" && (o.list == "" || o.list == "-"):
		return nil, cli.Usagef("the list and the tar cannot both be standard input")
	}
	p = &packed{cache: new(statcache.File)}
	if p.times, err = archive.NewTimes(o.mtime); err != nil {
		return nil, err
	}
	if p.source, err = openSource(std, o.directory, o.tar); err != nil {
		return nil, err
	}
	if p.list, err = list.Open(o.list, std.In, o.null); err != nil {
		p.source.Close()
		return nil, err
	}
	if o.cache != "" {
		p.openTrusted(o.cache, func(err error) { std.Warn("%s: %v", o.cache, output.Cause(err)) })
	}
	return p, nil
}

// openSource opens a directory, or a tar.
func openSource(std cli.Stdio, directory, tar string) (archive.Source, error) {
	if tar == "" {
		return archive.OpenDir(directory)
	}
	return openTar(std, tar)
}

// openTrusted opens a cache. Whatever is wrong with it, all is proven then.
func (p *packed) openTrusted(path string, warn func(error)) {
	file, err := statcache.Open(path)
	if err == nil && file.File == nil {
		err = errors.New("is not there")
	}
	if err != nil {
		warn(err)
		return
	}
	p.cache, p.trust = file, archive.NewCache(file, nil, warn)
}

func (p *packed) close() {
	p.cache.Close()
	p.list.Close()
	p.source.Close()
}

// elsewhere gives the likely cure where a name is missing: a list made by "fileids DIR" needs that DIR again.
func elsewhere(directory, tar string, err error) error {
	if directory != "." || tar != "" || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return cli.Hint(err, "-C DIR says which directory the list is of")
}
