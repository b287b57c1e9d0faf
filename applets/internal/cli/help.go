package cli

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/alecthomas/kong"
)

// help is the text of "ctbox APPLET --help", at most 80 columns wide.
func help(a *Applet, model *kong.Node) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Usage: ctbox %s [OPTION]...", a.Name)
	for _, p := range model.Positional {
		b.WriteString(" " + operandUsage(p))
	}
	fmt.Fprintf(&b, "\n%s.\n", strings.ToUpper(a.Brief[:1])+a.Brief[1:])
	if len(model.Positional) > 0 {
		b.WriteString("\n")
	}
	for _, p := range model.Positional {
		entry(&b, operandName(p), p.Help)
	}
	b.WriteString("\nOptions:\n")
	for _, f := range model.Flags {
		if !f.Hidden {
			entry(&b, spelling(f), f.Help)
		}
	}
	entry(&b, "-h, --help", "Print this help.")
	entry(&b, "    --version", "Print the version.")
	if a.Example != "" {
		fmt.Fprintf(&b, "\nExample:\n  %s\n", a.Example)
	}
	fmt.Fprintf(&b, "\nFull manual: man ctbox-%s\n", cmp.Or(a.Manual, a.Name))
	return b.String()
}

// An Option is one option of an applet, for what must agree with the applets: manuals, completion, tests.
type Option struct {
	Letter string // "o", or "" if it has none
	Name   string // "output"
	Value  string // placeholder of its value, or "" for a switch
}

// Options lists the options that applet a has of its own, without --help and --version.
func Options(a *Applet) ([]Option, error) {
	parser, err := newParser(a, a.New())
	if err != nil {
		return nil, err
	}
	var all []Option
	for _, f := range parser.Model.Flags {
		o := Option{Name: f.Name}
		if f.Short != 0 {
			o.Letter = string(f.Short)
		}
		if !isSwitch(f) {
			o.Value = placeholder(f)
		}
		all = append(all, o)
	}
	return all, nil
}

// spelling is how an option is written: "-o, --output=FILE".
func spelling(f *kong.Flag) string {
	s := "    "
	if f.Short != 0 {
		s = "-" + string(f.Short) + ", "
	}
	s += "--" + f.Name
	if !isSwitch(f) {
		s += "=" + placeholder(f)
	}
	return s
}

func placeholder(f *kong.Flag) string {
	switch {
	case f.Enum != "":
		return strings.ReplaceAll(strings.TrimPrefix(f.Enum, ","), ",", "|")
	case f.PlaceHolder != "":
		return f.PlaceHolder
	}
	return strings.ToUpper(f.Name)
}

func operandName(p *kong.Positional) string {
	if p.Tag.PlaceHolder != "" {
		return p.Tag.PlaceHolder
	}
	return strings.ToUpper(p.Name)
}

func operandUsage(p *kong.Positional) string {
	s := operandName(p)
	if !p.Required {
		s = "[" + s + "]"
	}
	if p.IsCumulative() {
		s += "..."
	}
	return s
}

const (
	helpColumn = 26
	helpWidth  = 80
)

// entry writes a term and its text, wrapped, beginning in helpColumn.
func entry(b *strings.Builder, term, text string) {
	line := "  " + term
	if len(line) > helpColumn-2 {
		b.WriteString(line + "\n")
		line = ""
	}
	line += strings.Repeat(" ", helpColumn-len(line))
	empty := true
	for word := range strings.FieldsSeq(text) {
		switch {
		case empty:
			line += word
		case len(line)+1+len(word) > helpWidth:
			b.WriteString(line + "\n")
			line = strings.Repeat(" ", helpColumn) + word
		default:
			line += " " + word
		}
		empty = false
	}
	b.WriteString(line + "\n")
}
