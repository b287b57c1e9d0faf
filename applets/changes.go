package applets

import (
	"io"

	"github.com/ctbox/ctbox/applets/internal/archive"
	"github.com/ctbox/ctbox/applets/internal/cli"
	"github.com/ctbox/ctbox/applets/internal/compress"
	"github.com/ctbox/ctbox/applets/internal/list"
	"github.com/ctbox/ctbox/applets/internal/output"
	"github.com/ctbox/ctbox/applets/internal/overlay"
)

// changes is what runlocal starts inside its user namespace, where all that the sandbox wrote can be read and has the
// owners that the sandbox saw.
var changes = cli.Applet{
	Name:    "runlocal-changes",
	Brief:   "pack what a sandbox changed as a layer",
	Example: "unshare -r ctbox runlocal-changes --layer x.layer upper lower",
	Manual:  "runlocal",
	New:     func() cli.Command { return new(changesCommand) },
}

// changesCommand compares the two directories of an overlay.
type changesCommand struct {
	Null     bool     `short:"0" help:"Records end in NUL, not newline."`
	Layer    string   `placeholder:"FILE" help:"Write the changes as a layer, whole or not at all."`
	Changes  string   `placeholder:"FILE" help:"Write their list."`
	Compress string   `short:"z" enum:"none,gzip,zstd" default:"none" help:"Compress the layer."`
	Skip     []string `sep:"none" placeholder:"NAME" help:"Leave out NAME, where something else was mounted."`
	Upper    string   `arg:"" help:"Upper directory."`
	Lower    string   `arg:"" help:"Lower directory."`
}

func (c *changesCommand) Run(std cli.Stdio) error {
	times, err := archive.NewTimes("epoch")
	if err != nil {
		return err
	}
	diff := overlay.Changes{Null: c.Null, Warn: std.Warn}
	for _, name := range c.Skip {
		if err := list.CheckName([]byte(name)); err != nil {
			return cli.Usagef("--skip: %s: %w", list.Quote(name), err)
		}
	}
	diff.Skip = c.Skip
	if diff.Upper, err = archive.OpenDir(c.Upper); err != nil {
		return err
	}
	if diff.Lower, err = archive.OpenDir(c.Lower); err != nil {
		return err
	}
	var draft list.Draft
	if err := diff.List(&draft); err != nil {
		return err
	}
	if c.Changes != "" {
		if err := (output.Target{Path: c.Changes, Stdout: std.Out}).Write(draft.Copy); err != nil {
			return err
		}
	}
	if c.Layer == "" {
		return nil
	}
	in := draft.Input("changes", c.Null)
	defer in.Close()
	layer := archive.Layer{List: in, Source: diff.Source(), Time: times, Warn: std.Warn}
	return output.Target{Path: c.Layer, Stdout: std.Out, Binary: true}.Write(func(w io.Writer) error {
		return compress.To(w, c.Compress, 0, layer.Write)
	})
}
