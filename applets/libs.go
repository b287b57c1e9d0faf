package applets

import (
	"fmt"
	"io"
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
	all := map[string]bool{} // what is to be sorted and unique cannot be written before the end
	add := func(name string) { all[name] = true }
	report := loader.Report{Library: add, Fail: fail}
	if c.All {
		report = loader.Report{Passed: add, Fail: fail}
	}
	finder, err := loader.Open(c.Root, report)
	if err != nil {
		return err
	}
	defer finder.Close()
	if err := c.names(std.In, finder.Libraries); err != nil {
		return err
	}
	if err := c.write(std.Out, all, fail); err != nil {
		return err
	}
	if bad {
		return cli.ExitStatus(cli.Failed)
	}
	return nil
}

func (c *libsCommand) write(w io.Writer, all map[string]bool, fail func(error)) error {
	var names []string
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	end := byte('\n')
	if c.Null {
		end = 0
	}
	var text []byte
	for _, name := range names {
		if !c.Null && strings.Contains(name, "\n") {
			fail(fmt.Errorf("%q: newline in name: use -0", name))
			continue
		}
		text = append(append(text, name...), end)
	}
	_, err := w.Write(text)
	return err
}

// names calls each with the operands, or with what stdin holds.
func (c *libsCommand) names(stdin io.Reader, each func(name string)) error {
	if n := len(c.Files); n > 1 || n == 1 && c.Files[0] != "-" {
		for _, name := range c.Files {
			each(name)
		}
		return nil
	}
	for names := list.NewLines("<stdin>", stdin, c.Null); ; {
		name, err := names.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		each(name)
	}
}
