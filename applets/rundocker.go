package applets

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/ctbox/ctbox/applets/internal/cli"
	"github.com/ctbox/ctbox/applets/internal/engine"
	"github.com/ctbox/ctbox/applets/internal/image"
	"github.com/ctbox/ctbox/applets/internal/interrupt"
)

var rundocker = cli.Applet{
	Name:    "rundocker",
	Brief:   "load an image into docker, podman or nerdctl and run it",
	Example: "ctbox rundocker hello.image >out",
	Runner:  true,
	New:     func() cli.Command { return new(rundockerCommand) },
}

// rundockerCommand runs an image as a filter: standard output is the container's, byte for byte. The image stays in
// the engine, so that the next run sends nothing, or only the layers that changed; the container does not stay.
type rundockerCommand struct {
	Engine      string       `placeholder:"ENGINE" help:"Use docker, podman, nerdctl or the command at a path; by default the first of the three in PATH."`
	Env         []string     `short:"e" sep:"none" placeholder:"VAR[=VALUE]" help:"Set VAR in the container; without VALUE, to what it is here."`
	Interactive bool         `short:"i" help:"Pass standard input to the container; otherwise it has none, so that a loop's input is not eaten."`
	Keep        bool         `help:"Leave the stopped container, and say its name."`
	Network     string       `default:"none" placeholder:"NETWORK" help:"Connect to a network of the engine. Without this option there is none."`
	Rmi         bool         `help:"Remove the image afterwards, if it was not there before and no container uses it."`
	Timeout     cli.Duration `placeholder:"TIME" help:"Kill the container after TIME, in seconds or as 2m30s; the exit status is then 124. Loading counts."`
	Verbose     bool         `short:"v" help:"Say what was sent to the engine."`
	Image       string       `arg:"" placeholder:"IMAGE" help:"Image archive, such as mkimage writes; - is standard input."`
	Args        []string     `arg:"" optional:"" placeholder:"ARG" help:"Command and arguments. By default the image's own, or /init."`
}

func (c *rundockerCommand) Run(std cli.Stdio) error {
	archive, err := c.open(std.In)
	if err != nil {
		return err
	}
	defer archive.Close()
	return interrupt.Run(time.Duration(c.Timeout), func(ctx context.Context) error { return c.run(ctx, std, archive) })
}

// open reads IMAGE's description. Standard input, and what is compressed, goes to a file without a name.
func (c *rundockerCommand) open(stdin io.Reader) (*image.Archive, error) {
	in := stdin
	if c.Image == "-" && c.Interactive {
		return nil, cli.Usagef("IMAGE - and -i both want standard input")
	}
	if c.Image != "-" {
		f, err := os.Open(c.Image) // stays open: the archive is read when it is sent
		if err != nil {
			return nil, err
		}
		in = f
	}
	a, err := image.OpenFrom(in)
	return a, c.named(err)
}

// named puts IMAGE's name before an error that has none.
func (c *rundockerCommand) named(err error) error {
	var path *os.PathError
	switch {
	case err == nil || errors.As(err, &path):
		return err
	case c.Image == "-":
		return fmt.Errorf("standard input: %w", err)
	}
	return fmt.Errorf("%s: %w", c.Image, err)
}

func (c *rundockerCommand) run(ctx context.Context, std cli.Stdio, a *image.Archive) error {
	eng, err := engine.Find(c.Engine)
	if err != nil {
		return err
	}
	if len(c.Args)+len(a.Entrypoint)+len(a.Cmd) == 0 {
		c.Args = []string{"/init"}
	}
	lossy := eng.Lossy(ctx)
	for try := 1; ; try++ {
		err := c.loadAndStart(ctx, std, eng, a, lossy)
		if !engine.Absent(err) || try == attempts || ctx.Err() != nil {
			return err
		}
	}
}

// attempts bounds how often the image is loaded because it was removed before there was a container to hold it, as
// another rundocker --rmi does.
const attempts = 5

func (c *rundockerCommand) loadAndStart(ctx context.Context, std cli.Stdio, eng *engine.Engine, a *image.Archive, lossy <-chan string) error {
	loaded, err := eng.Load(ctx, c.sendable(a))
	if warning := <-lossy; warning != "" {
		std.Warn("%s", warning)
	}
	if err != nil {
		return err
	}
	if c.Verbose {
		std.Warn("%s: image %s, %d of %d layers and %d bytes sent", eng.Name(), loaded.ID, loaded.Layers, len(a.DiffIDs), loaded.Bytes)
	}
	err = c.start(ctx, std, eng, loaded.ID)
	if c.Rmi && loaded.New {
		if rmErr := eng.Remove(loaded.ID); rmErr != nil && !engine.Absent(rmErr) {
			std.Warn("%v", rmErr)
		}
	}
	return err
}

func (c *rundockerCommand) sendable(a *image.Archive) engine.Image {
	img := engine.Image{DiffIDs: a.DiffIDs, Send: func(w io.Writer, omit int) error { return c.named(a.WriteWithout(w, omit)) }}
	for _, id := range []string{a.Config, a.Manifest, a.Index} {
		if id != "" {
			img.IDs = append(img.IDs, id)
		}
	}
	return img
}

func (c *rundockerCommand) start(ctx context.Context, std cli.Stdio, eng *engine.Engine, id string) error {
	run := engine.Container{Image: id, Args: c.Args, Env: c.Env, Network: c.Network, Stdout: std.Out, Stderr: std.Err, Keep: c.Keep}
	if c.Interactive {
		run.Stdin = std.In
	}
	result, err := eng.Run(ctx, run)
	if c.Keep && result.Name != "" {
		std.Warn("%s: container %s is left", eng.Name(), result.Name)
	}
	if result.OutOfMemory {
		std.Warn("the container ran out of memory")
	}
	if err == nil && result.Status != cli.OK {
		return cli.ExitStatus(result.Status)
	}
	return err
}
