package applets

import (
	"bufio"
	"io"

	"github.com/ctbox/ctbox/applets/internal/cli"
	"github.com/ctbox/ctbox/applets/internal/list"
	"github.com/ctbox/ctbox/applets/internal/output"
)

var listmerge = cli.Applet{
	Name:    "listmerge",
	Brief:   "lay lists one over another",
	Example: "ctbox listmerge base.list mine.list >all.list",
	New:     func() cli.Command { return new(listmergeCommand) },
}

// listmergeCommand is the reverse of listdiff.
type listmergeCommand struct {
	Null   bool     `short:"0" help:"Records end in NUL, not newline, in all lists and in the output."`
	Output string   `short:"o" placeholder:"FILE" help:"Write FILE, whole or not at all."`
	Lists  []string `arg:"" placeholder:"LIST" help:"Lists, the lowest first; - is standard input. Of a name in several of them the last line counts; a deleted name is gone from those before."`
}

func (c *listmergeCommand) Run(std cli.Stdio) error {
	stdin := 0
	for _, name := range c.Lists {
		if isStdin(name) {
			stdin++
		}
	}
	if stdin > 1 {
		return cli.Usagef("only one list can be standard input")
	}
	return output.Target{Path: c.Output, Stdout: std.Out}.Write(func(w io.Writer) error {
		buf := bufio.NewWriterSize(w, 256<<10)
		u := list.Union{Out: buf, Null: c.Null}
		for _, name := range c.Lists {
			in, err := list.Open(name, std.In, c.Null)
			if err != nil {
				return err
			}
			defer in.Close()
			u.Inputs = append(u.Inputs, in)
		}
		err := u.Write()
		if e := buf.Flush(); err == nil {
			err = e
		}
		return err
	})
}
