package applets

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/ctbox/ctbox/applets/internal/archive"
	"github.com/ctbox/ctbox/applets/internal/cli"
	"github.com/ctbox/ctbox/applets/internal/image"
	"github.com/ctbox/ctbox/applets/internal/output"
	"github.com/ctbox/ctbox/applets/internal/tarball"
)

var mkimage = cli.Applet{
	Name:    "mkimage",
	Brief:   "join layers to an image that every engine loads",
	Example: "printf 'base\\nhello\\n' | ctbox mkimage --tag hello --cmd /init >hello.image",
	New:     func() cli.Command { return new(mkimageCommand) },
}

// defaultPlatform is what an image without template and --platform is for. It is the same on every machine,
// because what the host is says nothing about the layers.
const defaultPlatform = "linux/amd64"

// engineLayers is how many layers an engine with a graph driver takes.
const engineLayers = 125

// mkimageCommand's fields are its options and operands.
type mkimageCommand struct {
	Template       string   `short:"t" placeholder:"FILE" help:"Take the fields of the config from this JSON file."`
	Rootfs         string   `placeholder:"TAR" help:"Make the lowest layer of this root file system; - is standard input. Others only if LAYERS is given."`
	Output         string   `short:"o" placeholder:"FILE" help:"Write FILE, whole or not at all."`
	Compress       string   `short:"z" enum:"none,gzip,zstd" default:"none" help:"How all layers are compressed in the image; none unpacks those that are."`
	Reuse          string   `placeholder:"OLD" help:"With -z gzip, copy what has not changed since this image instead of compressing it again."`
	Tag            []string `placeholder:"REF" sep:"none" help:"Name the image NAME[:TAG]."`
	Format         string   `enum:"hybrid,oci-dir,v1,aci" default:"hybrid" help:"Write an archive for all engines, an OCI layout directory, Docker's first format, or an App Container Image."`
	Media          string   `enum:"oci,docker" default:"oci" help:"Write the media types of OCI or of Docker."`
	Cmd            []string `placeholder:"ARG" sep:"none" help:"Set the command, one argument at a time. A single value that begins with [ is a JSON list."`
	Entrypoint     []string `placeholder:"ARG" sep:"none" help:"Set the entry point, likewise."`
	Env            []string `short:"e" placeholder:"NAME=VALUE" sep:"none" help:"Set an environment variable."`
	Label          []string `placeholder:"KEY=VALUE" sep:"none" help:"Set a label."`
	Annotation     []string `placeholder:"KEY=VALUE" sep:"none" help:"Set an annotation of the manifest."`
	Workdir        string   `placeholder:"DIR" help:"Set the working directory."`
	User           string   `placeholder:"USER[:GROUP]" help:"Set the user."`
	Expose         []string `placeholder:"PORT[/PROTO]" sep:"none" help:"Declare a port."`
	Volume         []string `placeholder:"DIR" sep:"none" help:"Declare a volume."`
	Platform       string   `placeholder:"OS/ARCH[/VARIANT]" help:"Set the platform. Without a template it is linux/amd64."`
	Created        string   `placeholder:"TIME" help:"Set the time of creation, as 2026-01-31T12:00:00Z; SOURCE_DATE_EPOCH or 1970 by default."`
	Author         string   `placeholder:"NAME" help:"Set the author."`
	DigestFile     string   `placeholder:"FILE" help:"Write the digests of config and manifest to FILE."`
	NoVerifyLayers bool     `help:"Do not look for what is wrong in the layers."`
	Verbose        bool     `short:"v" help:"Print the digests on standard error."`
	Quiet          bool     `short:"q" help:"Print no warnings."`
	Progress       string   `enum:"auto,always,never" default:"auto" help:"Show on standard error how far the work is: on a terminal, after a second; always; never."`
	Layers         string   `arg:"" optional:"" placeholder:"LAYERS" help:"File with the names of the layers, base first, one a line; standard input if none or -. NAME means the file NAME.layer."`
}

func (c *mkimageCommand) Run(std cli.Stdio) error {
	o, err := c.options()
	if err != nil {
		return err
	}
	line := std.Progress(c.Progress)
	defer line.Stop()
	o.Progress = line
	if c.Reuse != "" {
		o.Reuse = &image.Reuse{Path: c.Reuse}
	}
	if c.DigestFile == "" {
		_, err := c.write(std, o)
		return err
	}
	// The image is made within, so that a digest file that cannot be made is known before.
	digests := output.Target{Path: c.DigestFile, Stdout: std.Out}
	return digests.Write(func(w io.Writer) error {
		d, err := c.write(std, o)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(w, "config %s\nmanifest %s\n", d.Config, d.Manifest)
		return err
	})
}

// write makes the image and says by which two names engines know it.
func (c *mkimageCommand) write(std cli.Stdio, o image.Options) (d image.Digests, err error) {
	defer func() { o.Rootfs.Close() }() // nil can be closed, too
	if c.Format == image.OCIDir {
		err = output.ReplaceDir(c.Output, image.IsLayout, func(dir string) error {
			if err := c.inputs(std, &o); err != nil {
				return err
			}
			d, err = image.WriteDir(dir, o)
			return err
		})
	} else {
		target := output.Target{Path: c.Output, Stdout: std.Out, Binary: true}
		err = target.Write(func(w io.Writer) error {
			if err := c.inputs(std, &o); err != nil {
				return err
			}
			d, err = image.Write(w, o)
			return err
		})
	}
	if o.Reuse != nil && o.Reuse.Err != nil && !c.Quiet {
		std.Warn("--reuse=%s: %s", c.Reuse, o.Reuse.Err)
	}
	if err == nil && c.Verbose {
		std.Warn("config %s", d.Config)
		std.Warn("manifest %s", d.Manifest)
		if o.Reuse != nil {
			std.Warn("%d of %d gzip members are from %s", o.Reuse.Copied, o.Reuse.Of, c.Reuse)
		}
	}
	return d, err
}

// options checks what the command line says before anything is read.
func (c *mkimageCommand) options() (o image.Options, err error) {
	o = image.Options{
		Settings: image.Settings{Cmd: c.Cmd, Entrypoint: c.Entrypoint, Env: c.Env, Labels: c.Label, Expose: c.Expose,
			Volumes: c.Volume, Workdir: c.Workdir, User: c.User, Author: c.Author, Platform: c.Platform},
		Annotations: c.Annotation, Compress: c.Compress, Docker: c.Media == "docker",
		Verify: !c.NoVerifyLayers, Format: c.Format, TempDir: tempDir(c.Output),
	}
	if c.Platform == "" && c.Template == "" {
		o.Platform = defaultPlatform
	}
	for _, tag := range c.Tag {
		ref, err := image.ParseReference(tag)
		if err != nil {
			return o, cli.Usagef("--tag: %s", err)
		}
		o.Tags = append(o.Tags, ref)
	}
	if o.Epoch, err = image.Epoch(); err != nil {
		return o, err
	}
	o.Created = o.Epoch
	if c.Created != "" {
		if o.Created, err = image.ParseTime(c.Created); err != nil {
			return o, cli.Usagef("--created: %s", err)
		}
	}
	if err := o.Check(); err != nil {
		return o, cli.Usagef("%s", err)
	}
	if c.Format == image.V1 && c.Rootfs != "" {
		return o, cli.Usagef("--format=v1 names layers by their lists, which --rootfs has none of")
	}
	if c.Rootfs == "-" && c.Layers == "-" {
		return o, cli.Usagef("--rootfs and LAYERS cannot both be standard input")
	}
	if (c.Format == image.V1 || c.Format == image.ACI) && (c.DigestFile != "" || c.Verbose) {
		return o, cli.Usagef("--format=%s has neither config nor manifest: leave out -v and --digest-file", c.Format)
	}
	toStdout := c.Output == "" || c.Output == "-"
	if c.Format == image.OCIDir && toStdout {
		return o, cli.Usagef("--format=oci-dir writes a directory: name it with -o")
	}
	if c.DigestFile == "-" && toStdout || !toStdout && within(c.DigestFile, c.Output) {
		return o, cli.Usagef("--digest-file: %s is where the image goes", c.DigestFile)
	}
	return o, nil
}

// tempDir is the directory of the output, or "" for the system's: the directory of a device or of /dev/stdout is
// in memory.
func tempDir(path string) string {
	if path == "" || path == "-" {
		return ""
	}
	if fi, err := os.Lstat(path); err == nil && !fi.Mode().IsRegular() && !fi.IsDir() {
		return ""
	}
	return filepath.Dir(filepath.Clean(path))
}

// within reports whether path is dir or below it, by its spelling.
func within(path, dir string) bool {
	path, dir = filepath.Clean(path), filepath.Clean(dir)
	return path == dir || strings.HasPrefix(path, dir+"/")
}

// inputs reads the names of the layers and the template.
func (c *mkimageCommand) inputs(std cli.Stdio, o *image.Options) (err error) {
	if c.Template != "" {
		if o.Template, err = image.ReadTemplate(c.Template); err != nil {
			return err
		}
	}
	if c.Rootfs != "" {
		if err := c.rootfs(std, o); err != nil {
			return err
		}
	}
	if c.Rootfs == "" || c.Layers != "" {
		if o.Layers, err = readLayers(std, c.Layers); err != nil {
			return err
		}
	}
	if !c.Quiet {
		c.warn(std, o)
	}
	return nil
}

// rootfs makes a layer of a root file system, as "fileids -T" and "mklayer -T" would.
func (c *mkimageCommand) rootfs(std cli.Stdio, o *image.Options) error {
	quiet := std
	if c.Quiet {
		quiet.Err = io.Discard
	}
	src, err := openTar(quiet, c.Rootfs)
	if err != nil {
		return err
	}
	defer src.Close()
	if o.Rootfs, err = output.Unnamed(o.TempDir); err != nil {
		return err
	}
	o.RootfsName = c.Rootfs
	return tarball.Pack(o.Rootfs, src, "", archive.Times{Epoch: o.Epoch.Unix()}, o.Progress)
}

func (c *mkimageCommand) warn(std cli.Stdio, o *image.Options) {
	if len(o.Layers) > engineLayers {
		std.Warn("%d layers: Docker's graph drivers take no more than %d", len(o.Layers), engineLayers)
	}
	if o.Compress == "zstd" && o.Format == image.Hybrid {
		std.Warn("zstd layers: Docker before 23, umoci 0.4 and crane cannot read them from this archive")
	}
	if o.Format == image.V1 {
		std.Warn("Docker 29 and engines on containerd do not load this format")
		if len(o.Tags) == 0 {
			std.Warn("without --tag the image has no name after loading")
		}
	}
}

// readLayers reads names, one a line; empty lines count for nothing.
func readLayers(std cli.Stdio, path string) (names []string, err error) {
	in := std.In
	if path != "" && path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	} else {
		path = "<stdin>"
	}
	lines := bufio.NewScanner(in)
	for n := 1; lines.Scan(); n++ {
		name := lines.Text()
		if strings.Contains(name, "\x00") {
			return nil, fmt.Errorf("%s:%d: NUL byte in a line: LAYERS is a text that names layers, not a layer", path, n)
		}
		if name != "" {
			names = append(names, name)
		}
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, fmt.Errorf("%s: a line is too long for the name of a layer", path)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%s: names no layers", path)
	}
	return names, nil
}
