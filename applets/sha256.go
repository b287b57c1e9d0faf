package applets

import (
	"encoding/hex"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/ctbox/ctbox/applets/internal/cli"
	"github.com/ctbox/ctbox/applets/internal/output"
	"github.com/ctbox/ctbox/applets/internal/sums"
)

var sha256Applet = cli.Applet{
	Name:    "sha256",
	Brief:   "print or check SHA-256 digests",
	Example: "ctbox sha256 <hello.list >hello.list.sha256",
	New:     func() cli.Command { return new(sha256Command) },
}

// sha256Command prints a bare digest for one input and the lines of sha256sum(1) for several.
type sha256Command struct {
	Check    bool     `short:"c" help:"Read digests from the FILEs and check them."`
	Output   string   `short:"o" placeholder:"FILE" help:"Write FILE, whole or not at all."`
	Progress string   `enum:"auto,always,never" default:"auto" help:"Show on standard error how far the work is: on a terminal, after a second; always; never."`
	Files    []string `arg:"" optional:"" placeholder:"FILE" help:"File to digest; standard input if none or -."`
}

func (c *sha256Command) Run(std cli.Stdio) error {
	files := c.Files
	if len(files) == 0 {
		files = []string{"-"}
	}
	line := std.Progress(c.Progress)
	defer line.Stop()
	digester := sums.NewDigester(std.In)
	digester.Progress = line
	if c.Check {
		if c.Output != "" {
			return cli.Usagef("options -c and -o exclude each other")
		}
		return (&sumChecker{std: std, digester: digester}).run(files)
	}
	line.Inputs(std.In, files...)
	to := output.Target{Path: c.Output, Stdout: std.Out}
	return to.Write(func(w io.Writer) error { return printSums(w, digester, files) })
}

// printSums goes on after a file that cannot be read, and returns all such errors.
func printSums(w io.Writer, digester *sums.Digester, files []string) error {
	var errs []error
	var line []byte
	for _, name := range files {
		sum, err := digester.File(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if len(files) == 1 {
			line = append(hex.AppendEncode(line[:0], sum[:]), '\n')
		} else {
			line = sums.AppendLine(line[:0], sum, name)
		}
		if _, err := w.Write(line); err != nil {
			return errors.Join(append(errs, err)...)
		}
	}
	return errors.Join(errs...)
}

// sumChecker compares files with lists of digests, and reports each file as sha256sum -c does.
type sumChecker struct {
	std      cli.Stdio
	digester *sums.Digester
	text     []byte
	bad      bool // something was not as it should be, and has been reported
}

func (c *sumChecker) run(lists []string) error {
	for _, name := range lists {
		if err := c.list(name); err != nil {
			return err
		}
	}
	if c.bad {
		return cli.ExitStatus(cli.Failed)
	}
	return nil
}

func (c *sumChecker) fail(format string, args ...any) {
	c.bad = true
	c.std.Warn(format, args...)
}

// A sumList is a list being checked.
type sumList struct {
	name, shown                 string
	files, different, malformed int
	outErr                      error // of standard output
}

// list returns errors of standard output only; others are reported and checking goes on.
func (c *sumChecker) list(name string) error {
	l := sumList{name: name, shown: name}
	in := c.std.In
	if name == "-" {
		l.shown = "standard input"
	} else {
		f, err := os.Open(name)
		if err != nil {
			c.fail("%s: %s", name, output.Cause(err))
			return nil
		}
		defer f.Close()
		in = f
	}
	err := sums.Scan(in, func(n int, sum sums.Sum, name string, err error) error {
		return c.entry(&l, n, sum, name, err)
	})
	if l.outErr == nil {
		c.summary(&l, err)
	}
	return l.outErr
}

func (c *sumChecker) entry(l *sumList, n int, sum sums.Sum, name string, err error) error {
	if err == nil && name == "" {
		name, err = bareName(l.name)
	}
	if err != nil {
		// The first is enough: what is no list at all may have millions of lines.
		if l.malformed++; l.malformed == 1 {
			c.fail("%s:%d: %s", l.shown, n, err)
		}
		return nil
	}
	l.files++
	same, err := c.file(name, sum)
	if !same {
		l.different++
	}
	l.outErr = err
	return err
}

// summary reports what the lines did not; err is why the list could not be read to its end.
func (c *sumChecker) summary(l *sumList, err error) {
	switch {
	case err != nil:
		c.fail("%s: %s", l.shown, output.Cause(err))
	case l.files+l.malformed == 0:
		c.fail("%s: no digests in it", l.shown)
	}
	if l.malformed > 1 {
		c.fail("%s: %d lines are no digests", l.shown, l.malformed)
	}
	if l.different > 0 {
		c.fail("%s: %d of %d files failed", l.shown, l.different, l.files)
	}
}

// file reports on one file. What cannot be read is an error, and FAILED too.
func (c *sumChecker) file(name string, want sums.Sum) (same bool, err error) {
	got, err := c.digester.File(name)
	verdict := ": OK\n"
	switch {
	case err != nil:
		c.fail("%s", err)
		verdict = ": FAILED open or read\n"
	case got != want:
		verdict = ": FAILED\n"
	}
	c.text = append(sums.AppendName(c.text[:0], name), verdict...)
	_, werr := c.std.Out.Write(c.text)
	return err == nil && got == want, werr
}

// bareName is the file that a digest without a name belongs to, by the name of its list.
func bareName(list string) (string, error) {
	name, ok := strings.CutSuffix(list, ".sha256")
	if !ok || name == "" || strings.HasSuffix(name, "/") {
		return "", errors.New("a digest without a name needs a FILE called NAME.sha256")
	}
	return name, nil
}
