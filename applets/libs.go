package applets

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/ctbox/ctbox/applets/internal/cli"
	"github.com/ctbox/ctbox/applets/internal/list"
	"github.com/ctbox/ctbox/applets/internal/loader"
)

var libs = cli.Applet{
	Name:    "libs",
	Brief:   "list the shared libraries that programs need",
	Example: "ctbox libs -a /bin/sh | ctbox fileids -C / | ctbox mklayer -C / >libs.layer",
	New:     func() cli.Command { return new(libsCommand) },
}

// libsCommand reads names on standard input if there are no operands. What is wrong with one file is reported and the
// rest goes on, with status 1 at the end.
type libsCommand struct {
	Null  bool     `short:"0" help:"Names end in NUL, not newline, on standard input and in the output."`
	All   bool     `short:"a" help:"Write names for a list, and those of directories and links on the way."`
	Root  string   `placeholder:"DIR" help:"Look for everything in DIR as if it were the root."`
	Files []string `arg:"" optional:"" placeholder:"FILE" help:"ELF program or library; names come on standard input if none or -."`
}

func (c *libsCommand) Run(std cli.Stdio) error {
	bad := false
	fail := func(err error) {
		bad = true
		std.Warn("%v", err)
	}
	all := map[string]bool{} // sorted and unique, so it cannot be written earlier
	report := loader.Report{Fail: fail, Library: func(path string) { all[path] = true }}
	if c.All {
		report.Library = func(string) {}
		report.Passed = func(name string) { all[name] = true }
	}
	finder, err := loader.Open(c.Root, report)
	if err != nil {
		return err
	}
	defer finder.Close()
	if err := c.names(std.In, finder.Libraries); err != nil {
		return err
	}
	var out bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if !c.Null && strings.Contains(name, "\n") {
			fail(fmt.Errorf("%q: newline in name: use -0", name))
			continue
		}
		out.WriteString(name)
		out.WriteByte(c.separator())
	}
	if _, err := out.WriteTo(std.Out); err != nil {
		return err
	}
	if bad {
		return cli.ExitStatus(cli.Failed)
	}
	return nil
}

func (c *libsCommand) separator() byte {
	if c.Null {
		return 0
	}
	return '\n'
}

// names calls each with the operands, or with what stdin holds.
func (c *libsCommand) names(stdin io.Reader, each func(name string)) error {
	if len(c.Files) > 0 && !slices.Equal(c.Files, []string{"-"}) {
		for _, name := range c.Files {
			each(name)
		}
		return nil
	}
	for names := list.NewLines("<stdin>", stdin, c.Null); ; {
		name, err := names.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		each(name)
	}
}
