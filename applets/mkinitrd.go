package applets

import (
	"io"
	"os"
	"runtime"

	"github.com/ctbox/ctbox/applets/internal/archive"
	"github.com/ctbox/ctbox/applets/internal/cli"
	"github.com/ctbox/ctbox/applets/internal/compress"
	"github.com/ctbox/ctbox/applets/internal/output"
)

var mkinitrd = cli.Applet{
	Name:    "mkinitrd",
	Brief:   "pack a list as an initrd for a Linux kernel",
	Example: "ctbox mkinitrd -C tree -o app.initrd app.list",
	New:     func() cli.Command { return new(mkinitrdCommand) },
}

// mkinitrdCommand takes modes, owners, directories and device nodes from the list, content from Directory.
type mkinitrdCommand struct {
	Null        bool   `short:"0" help:"Records end in NUL, not newline."`
	Directory   string `short:"C" placeholder:"DIR" default:"." help:"Names are relative to DIR."`
	Tar         string `short:"T" placeholder:"TAR" help:"Names are those in TAR, a root file system; - is standard input."`
	Output      string `short:"o" placeholder:"FILE" help:"Write FILE, whole or not at all."`
	Compress    string `short:"z" enum:"none,gzip,zstd" default:"none" help:"Compress the initrd."`
	Mtime       string `enum:"epoch,clamp,keep" default:"epoch" help:"Times of modification: SOURCE_DATE_EPOCH or 0; the files' own, but no later than that; the files' own. Only the first makes the initrd depend on the list alone."`
	Rdinit      string `placeholder:"self|FILE" help:"Add this program, or FILE, as /rdinit, for the guest's kernel to start."`
	SkipSockets bool   `help:"Leave sockets out instead of failing."`
	AllowEmpty  bool   `help:"Make an initrd of an empty list."`
	TrustCache  string `placeholder:"FILE" help:"Do not prove files again that are as FILE remembers them, a cache of fileids."`
	Progress    string `enum:"auto,always,never" default:"auto" help:"Show on standard error how far the work is: on a terminal, after a second; always; never."`
	List        string `arg:"" optional:"" help:"List to pack; standard input if none or -."`
}

func (c *mkinitrdCommand) Run(std cli.Stdio) error {
	line := std.Progress(c.Progress)
	defer line.Stop()
	from, err := openPacked(std, packedOptions{c.Mtime, c.Directory, c.Tar, c.TrustCache, c.List, c.Null})
	if err != nil {
		return err
	}
	defer from.close()
	initrd := archive.Initrd{
		List: from.list, Source: from.source, Time: from.times, SkipSockets: c.SkipSockets, AllowEmpty: c.AllowEmpty, Warn: std.Warn,
		Progress: line, Trust: from.trust,
	}
	if initrd.Init, err = c.openInit(); err != nil {
		return err
	}
	defer initrd.Init.Close()
	return output.Target{Path: c.Output, Stdout: std.Out, Binary: true}.Write(func(w io.Writer) error {
		return elsewhere(c.Directory, c.Tar, c.pack(line.Writer(w), &initrd))
	})
}

// openInit opens what is to be /rdinit, or nothing; a nil file can be closed, too.
func (c *mkinitrdCommand) openInit() (*os.File, error) {
	switch c.Rdinit {
	case "":
		return nil, nil
	case "self":
		if runtime.GOOS == "linux" {
			return archive.OpenInit("/proc/self/exe") // whatever is at its path by now
		}
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		return archive.OpenInit(self)
	}
	return archive.OpenInit(c.Rdinit)
}

func (c *mkinitrdCommand) pack(w io.Writer, initrd *archive.Initrd) error {
	if c.Compress != "zstd" {
		return compress.To(w, c.Compress, 0, initrd.Write) // gzip gives a newc archive a length that suits the kernel
	}
	count := &counter{w: w}
	if err := compress.To(count, c.Compress, 0, initrd.Write); err != nil {
		return err
	}
	_, err := w.Write(make([]byte, archive.NewcPadding(count.n)))
	return err
}

// counter counts the bytes that go through it.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
