package applets

import (
	"bufio"
	"io"

	"github.com/ctbox/ctbox/applets/internal/cli"
	"github.com/ctbox/ctbox/applets/internal/list"
	"github.com/ctbox/ctbox/applets/internal/output"
)

var listdiff = cli.Applet{
	Name:    "listdiff",
	Brief:   "list what a layer adds, changes and deletes",
	Example: "ctbox listdiff base.list app.list >layer.list",
	New:     func() cli.Command { return new(listdiffCommand) },
}

// listdiffCommand merges two lists by name. Standard input is New, so that it can end a pipe.
type listdiffCommand struct {
	Null      bool   `short:"0" help:"Records end in NUL, not newline, in both lists and in the output."`
	AddedOnly bool   `help:"Only records of NEW that are not in BASE, as comm -1 -3 does: no deletions, no directories for their sake."`
	ExitCode  bool   `help:"Exit with status 1 if there is any difference."`
	Output    string `short:"o" placeholder:"FILE" help:"Write FILE, whole or not at all."`
	Base      string `arg:"" help:"List of the layers below."`
	New       string `arg:"" optional:"" help:"List of the tree as it is to be; standard input if none or -."`
}

func (c *listdiffCommand) Run(std cli.Stdio) error {
	switch {
	case c.Base == "":
		return cli.Usagef("BASE is empty")
	case isStdin(c.Base) && isStdin(c.New):
		return cli.Usagef("BASE and NEW cannot both be standard input")
	}
	differ := false
	err := output.Target{Path: c.Output, Stdout: std.Out}.Write(func(w io.Writer) (err error) {
		differ, err = c.diff(std, w)
		return err
	})
	if err == nil && differ && c.ExitCode {
		return cli.ExitStatus(cli.Failed)
	}
	return err
}

func (c *listdiffCommand) diff(std cli.Stdio, w io.Writer) (differ bool, err error) {
	base, err := list.Open(c.Base, std.In, c.Null)
	if err != nil {
		return false, err
	}
	defer base.Close()
	new, err := list.Open(c.New, std.In, c.Null)
	if err != nil {
		return false, err
	}
	defer new.Close()

	buf := bufio.NewWriterSize(w, 256<<10)
	d := list.Diff{Base: base, New: new, Out: buf, Null: c.Null, Warn: std.Warn}
	if c.AddedOnly {
		differ, err = d.Added()
	} else {
		differ, err = d.Layer()
	}
	if e := buf.Flush(); err == nil {
		err = e // otherwise it is the same once more, or follows from it
	}
	return differ, err
}

func isStdin(operand string) bool { return operand == "" || operand == "-" }
