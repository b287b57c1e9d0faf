package applets

import (
	"io"

	"github.com/ctbox/ctbox/applets/internal/cli"
	"github.com/ctbox/ctbox/applets/internal/image"
	"github.com/ctbox/ctbox/applets/internal/output"
)

var dockjson = cli.Applet{
	Name:    "dockjson",
	Brief:   "describe a layer for Docker's first image format",
	Example: "ctbox dockjson -t template.json hello base >json",
	New:     func() cli.Command { return new(dockjsonCommand) },
}

// dockjsonCommand's fields are its options and operands.
type dockjsonCommand struct {
	Template string `short:"t" placeholder:"FILE" default:"template.json" help:"JSON object with the fields that all layers share; template.json by default."`
	Output   string `short:"o" placeholder:"FILE" help:"Write FILE, whole or not at all."`
	Layer    string `arg:"" placeholder:"LAYER" help:"Layer to describe, by its files LAYER.layer and LAYER.list.sha256."`
	Parent   string `arg:"" optional:"" placeholder:"PARENT" help:"Layer below it, by its file PARENT.list.sha256."`
}

func (c *dockjsonCommand) Run(std cli.Stdio) error {
	created, err := image.Epoch()
	if err != nil {
		return err
	}
	target := output.Target{Path: c.Output, Stdout: std.Out}
	return target.Write(func(w io.Writer) error {
		t, err := image.ReadTemplate(c.Template)
		if err != nil {
			return err
		}
		text, err := image.LayerJSON(t, c.Layer, c.Parent, created)
		if err != nil {
			return err
		}
		_, err = w.Write(text)
		return err
	})
}
