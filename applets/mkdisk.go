package applets

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/ctbox/ctbox/applets/internal/archive"
	"github.com/ctbox/ctbox/applets/internal/cli"
	"github.com/ctbox/ctbox/applets/internal/ext4"
	"github.com/ctbox/ctbox/applets/internal/gpt"
	"github.com/ctbox/ctbox/applets/internal/list"
	"github.com/ctbox/ctbox/applets/internal/mkfs"
	"github.com/ctbox/ctbox/applets/internal/output"
	"github.com/ctbox/ctbox/applets/internal/progress"
)

var mkdisk = cli.Applet{
	Name:    "mkdisk",
	Brief:   "pack a list as a disk image",
	Example: "ctbox mkdisk -C tree -o app.ext4 app.list",
	New:     func() cli.Command { return new(mkdiskCommand) },
}

// mkdiskCommand takes modes, owners, directories and device nodes from the list, content from Directory or Tar.
type mkdiskCommand struct {
	Null        bool     `short:"0" help:"Records end in NUL, not newline."`
	Directory   string   `short:"C" placeholder:"DIR" default:"." help:"Names are relative to DIR."`
	Tar         string   `short:"T" placeholder:"TAR" help:"Names are those in TAR, a root file system; - is standard input."`
	Output      string   `short:"o" placeholder:"FILE" help:"Write FILE, whole or not at all."`
	Type        string   `short:"t" enum:"ext4,erofs,squashfs" default:"ext4" help:"Make a file system of this type; mkfs.erofs or tar2sqfs make the latter two."`
	Size        cli.Size `placeholder:"SIZE" help:"Make the image so large, such as 512M or 2G, instead of as large as needed."`
	Free        cli.Size `placeholder:"SIZE" help:"Leave at least so much space free; 32M by default."`
	Label       string   `placeholder:"LABEL" help:"Name the file system, with at most 16 bytes."`
	Journal     bool     `help:"Give the file system a journal."`
	Partition   bool     `help:"Put the file system into the one partition of a disk, with a GPT."`
	Mtime       string   `enum:"epoch,clamp,keep" default:"epoch" help:"Times of modification: SOURCE_DATE_EPOCH or 0; the files' own, but no later than that; the files' own. Only the first makes the image depend on the list alone."`
	SkipSockets bool     `help:"Leave sockets out: only ext4 can have them."`
	TrustCache  string   `placeholder:"FILE" help:"Do not prove files again that are as FILE remembers them, a cache of fileids."`
	Progress    string   `enum:"auto,always,never" default:"auto" help:"Show on standard error how far the work is: on a terminal, after a second; always; never."`
	List        string   `arg:"" optional:"" help:"List to pack; standard input if none or -."`
}

func (c *mkdiskCommand) Run(std cli.Stdio) error {
	if err := c.check(); err != nil {
		return err
	}
	line := std.Progress(c.Progress)
	defer line.Stop()
	from, err := openPacked(std, packedOptions{c.Mtime, c.Directory, c.Tar, c.TrustCache, c.List, c.Null})
	if err != nil {
		return err
	}
	defer from.close()
	d := diskMaker{mkdiskCommand: c, std: std, from: from, line: line}
	if d.seed, d.files, err = from.list.Survey(); err != nil {
		return err
	}
	return output.Target{Path: c.Output, Stdout: std.Out, Binary: true}.Write(func(w io.Writer) error {
		return elsewhere(c.Directory, c.Tar, output.Sparse(w, d.write))
	})
}

func (c *mkdiskCommand) check() error {
	switch {
	case c.Size > 0 && c.Free > 0:
		return cli.Usagef("--size and --free exclude each other")
	case c.Type != "ext4" && (c.Size > 0 || c.Free > 0 || c.Journal):
		return cli.Usagef("--size, --free and --journal are for ext4: nothing can be written to %s", c.Type)
	case c.Type == "squashfs" && c.Label != "":
		return cli.Usagef("squashfs has no labels")
	case c.Partition && c.Size > 0 && c.Size <= gpt.Around:
		return cli.Usagef("--size: a disk with a partition is larger than %dM", gpt.Around>>20)
	case len(c.Label) > ext4.MaxLabel:
		return cli.Usagef("--label: longer than %d bytes", ext4.MaxLabel)
	}
	if c.Free == 0 {
		c.Free = 32 << 20
	}
	return nil
}

// A diskMaker makes one disk.
type diskMaker struct {
	*mkdiskCommand
	std   cli.Stdio
	from  *packed
	line  *progress.Line
	seed  list.Digest
	files int64
}

// write writes the disk, and returns its size in bytes.
func (d *diskMaker) write(disk *io.OffsetWriter) (size int64, err error) {
	make := d.tarred
	if d.Type == "ext4" {
		make = d.ext4
	}
	if !d.Partition {
		return make(disk)
	}
	if size, err = make(io.NewOffsetWriter(disk, gpt.Before)); err != nil {
		return 0, err
	}
	return gpt.Write(disk, size, d.seed[:])
}

func (d *diskMaker) ext4(to io.WriterAt) (size int64, err error) {
	around := int64(0)
	if d.Partition {
		around = gpt.Around
	}
	o := ext4.Options{Free: int64(d.Free), Inodes: d.files, Label: d.Label, Journal: d.Journal, Seed: d.seed, Time: d.from.times.Epoch}
	if d.Size > 0 {
		o.Size, o.Free = int64(d.Size)-around, 0
	}
	w, err := ext4.NewWriter(to, o)
	if err != nil {
		return 0, err
	}
	defer w.Close()
	disk := archive.Disk{
		List: d.from.list, Source: d.from.source, Time: d.from.times, SkipSockets: d.SkipSockets, To: w, Warn: d.std.Warn, Progress: d.line,
		Trust: d.from.trust,
	}
	if err := disk.Write(); err != nil {
		return 0, err
	}
	size, err = w.Finish()
	if small := (*ext4.TooSmall)(nil); errors.As(err, &small) {
		err = fmt.Errorf("--size=%dM is needed", (small.Needed+around)>>20)
	}
	return max(size, o.Size), err
}

// tarred has a program make the file system of a tar.
func (d *diskMaker) tarred(to io.WriterAt) (size int64, err error) {
	epoch := strconv.FormatInt(d.from.times.Epoch, 10)
	p := mkfs.Program{Name: "tar2sqfs", Args: []string{"-q", "-s", "-f", "-c", "zstd"}, Env: []string{"SOURCE_DATE_EPOCH=" + epoch}}
	if d.Type == "erofs" {
		p = mkfs.Program{Name: "mkfs.erofs", Args: []string{"--quiet", "--tar=f", "--mkfs-time", "-T", epoch, "-U", uuid(d.seed), "-L", d.Label}}
	}
	layer := archive.Layer{
		List: d.from.list, Source: d.from.source, Time: d.from.times, Whole: true, RootEntry: true, SkipSockets: d.SkipSockets, Warn: d.std.Warn,
		Progress: d.line, Trust: d.from.trust,
	}
	size, err = p.Run(to, layer.Write)
	if missing := mkfs.Missing(""); errors.As(err, &missing) {
		return 0, fmt.Errorf("%w%s", err, whereFrom(p.Name))
	}
	return size, err
}

// uuid is a UUID (version 8 of RFC 9562) that is made of a digest.
func uuid(d list.Digest) string {
	d[6] = d[6]&0x0f | 0x80
	d[8] = d[8]&0x3f | 0x80
	h := hex.EncodeToString(d[:16])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
