package applets

import (
	"io"
	"os"

	"github.com/ctbox/ctbox/applets/internal/archive"
	"github.com/ctbox/ctbox/applets/internal/cli"
	"github.com/ctbox/ctbox/applets/internal/compress"
	"github.com/ctbox/ctbox/applets/internal/image"
	"github.com/ctbox/ctbox/applets/internal/output"
	"github.com/ctbox/ctbox/applets/internal/tarball"
)

var flatten = cli.Applet{
	Name:    "flatten",
	Brief:   "make one tar, or a list, of an image's layers",
	Example: "ctbox flatten app.image >rootfs.tar",
	New:     func() cli.Command { return new(flattenCommand) },
}

// flattenCommand gives what unpacking one layer over another would, with owners and devices, and without unpacking.
type flattenCommand struct {
	Null     bool   `short:"0" help:"With --list, records end in NUL, not newline."`
	List     bool   `help:"Write only the list."`
	Output   string `short:"o" placeholder:"FILE" help:"Write FILE, whole or not at all."`
	Compress string `short:"z" enum:"none,gzip,zstd" default:"none" help:"Compress the tar."`
	Mtime    string `enum:"epoch,clamp,keep" default:"keep" help:"Times of modification: SOURCE_DATE_EPOCH or 0; the files' own, but no later than that; the files' own."`
	Progress string `enum:"auto,always,never" default:"auto" help:"Show on standard error how far the work is: on a terminal, after a second; always; never."`
	Image    string `arg:"" optional:"" help:"Archive of an image, or directory of an OCI layout; - is an archive on standard input. Without it, the names of layers come on standard input, base first, as for mkimage."`
}

func (c *flattenCommand) Run(std cli.Stdio) error {
	times, err := archive.NewTimes(c.Mtime)
	if err != nil {
		return err
	}
	if c.List && c.Compress != "none" {
		return cli.Usagef("--list and -z exclude each other")
	}
	layers, free, err := c.layers(std)
	if err != nil {
		return err
	}
	defer free()
	stack, err := tarball.NewStack(layers)
	if err != nil {
		return err
	}
	defer stack.Close()
	line := std.Progress(c.Progress)
	defer line.Stop()
	return output.Target{Path: c.Output, Stdout: std.Out, Binary: !c.List}.Write(func(w io.Writer) error {
		if c.List {
			return tarball.List(w, stack, c.Null, line)
		}
		return compress.To(line.Writer(w), c.Compress, 0, func(w io.Writer) error { return tarball.Pack(w, stack, "", times, line) })
	})
}

// layers opens what is to be flattened.
func (c *flattenCommand) layers(std cli.Stdio) (layers []tarball.Layer, free func() error, err error) {
	if c.Image != "" {
		img, err := image.OpenLayers(c.Image, std.In)
		if err != nil {
			return nil, nil, err
		}
		layers, err := img.Layers()
		return layers, img.Close, err
	}
	names, err := readLayers(std, "")
	for _, name := range names {
		f, err := os.Open(name + ".layer")
		if err != nil {
			return nil, nil, err
		}
		layers = append(layers, tarball.Layer{Name: f.Name(), Reader: f})
	}
	return layers, func() error { return nil }, err
}
