package applets

import (
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/cli"
	"github.com/ctbox/ctbox/applets/internal/compress"
	"github.com/ctbox/ctbox/applets/internal/output"
)

var gz = cli.Applet{
	Name:    "gz",
	Brief:   "compress so that a small change moves few bytes",
	Example: "ctbox mkimage <app.layers | ctbox gz >app.image.gz",
	New:     func() cli.Command { return new(gzCommand) },
}

// gzCommand is gzip(1) as a filter: no name, no time, the same bytes on any number of processors.
type gzCommand struct {
	Level    int    `short:"l" default:"6" placeholder:"N" help:"1 is the fastest, 9 gives the fewest bytes; 6 if not given."`
	Output   string `short:"o" placeholder:"FILE" help:"Write FILE, whole or not at all."`
	Progress string `enum:"auto,always,never" default:"auto" help:"Show on standard error how far the work is: on a terminal, after a second; always; never."`
	File     string `arg:"" optional:"" help:"File to compress; standard input if none or -."`
}

func (c *gzCommand) Run(std cli.Stdio) error {
	if c.Level < 1 || c.Level > 9 {
		return cli.Usagef("level %d: not 1 to 9", c.Level)
	}
	line := std.Progress(c.Progress)
	defer line.Stop()
	line.Inputs(std.In, c.File)
	in, err := openStream(c.File, std.In)
	if err != nil {
		return err
	}
	defer in.close()
	if in.is(c.target(std)) {
		return fmt.Errorf("%s: is the output, too", in.shown)
	}
	return output.Target{Path: c.Output, Stdout: std.Out, Binary: true}.Write(func(w io.Writer) error {
		if err := compress.Gzip(w, line.Reader(in), c.Level); err != nil {
			return err
		}
		return in.whole()
	})
}

// target describes the file that will be written or replaced, nil if there is none.
func (c *gzCommand) target(std cli.Stdio) fs.FileInfo {
	if c.Output != "" && c.Output != "-" {
		info, _ := os.Stat(c.Output)
		return info
	}
	if f, ok := std.Out.(*os.File); ok {
		info, _ := f.Stat()
		return info
	}
	return nil
}

// A stream is a file that is read once, from its beginning to its end.
type stream struct {
	io.Reader
	shown string      // name in messages
	file  *os.File    // what was opened; nil for standard input
	info  fs.FileInfo // when reading began; nil if that is not known
}

// openStream opens a file of any kind but a directory; "" and "-" are standard input.
func openStream(name string, stdin io.Reader) (s *stream, err error) {
	s = &stream{Reader: stdin, shown: "standard input"}
	f, _ := stdin.(*os.File)
	if name != "" && name != "-" {
		if f, err = os.Open(name); err != nil {
			return nil, err
		}
		s.Reader, s.shown, s.file = f, name, f
	}
	if f == nil {
		return s, nil
	}
	if s.info, err = f.Stat(); err == nil && s.info.IsDir() {
		err = unix.EISDIR // not every system refuses to read one
	}
	if err != nil {
		s.close()
		return nil, s.errorf(err)
	}
	return s, nil
}

// Read names the file in errors.
func (s *stream) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if err != nil && err != io.EOF {
		err = s.errorf(err)
	}
	return n, err
}

func (s *stream) errorf(err error) error {
	return fmt.Errorf("%s: %w", s.shown, output.Cause(err))
}

// is reports whether the stream comes from a regular file that info describes: it would grow for ever, or be lost.
func (s *stream) is(info fs.FileInfo) bool {
	return s.info != nil && info != nil && info.Mode().IsRegular() && os.SameFile(s.info, info)
}

// whole is an error if a file has become shorter than it was; one that grows may be a log.
func (s *stream) whole() error {
	if s.file == nil {
		return nil
	}
	if info, err := s.file.Stat(); err == nil && info.Size() < s.info.Size() {
		return fmt.Errorf("%s: became shorter while it was read", s.shown)
	}
	return nil
}

func (s *stream) close() {
	if s.file != nil {
		s.file.Close()
	}
}
