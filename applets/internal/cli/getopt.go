package cli

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/alecthomas/kong"
)

var (
	errHelp    = errors.New("help")
	errVersion = errors.New("version")
)

// getopt rewrites args as "--name=value ... -- operands" from the model's own options, because kong
// has neither permutation nor operands that begin with a dash. The rules are those of POSIX.1-2017
// 12.2 with GNU's long options and permutation, but no abbreviations: they break when options are added.
// With stop, options end at the first operand, which is how commands that run commands behave.
func getopt(model *kong.Node, args []string, stop bool) ([]string, error) {
	var opts, operands []string
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		var err error
		switch {
		case arg == "--":
			operands, args = append(operands, args...), nil
		case strings.HasPrefix(arg, "--"):
			opts, args, err = long(model, opts, arg[2:], args)
		case len(arg) > 1 && arg[0] == '-':
			opts, args, err = cluster(model, opts, arg[1:], args)
		case stop:
			operands, args = append([]string{arg}, args...), nil
		default:
			operands = append(operands, arg)
		}
		if err != nil {
			return nil, err
		}
	}
	if err := count(model, operands); err != nil {
		return nil, err
	}
	return append(append(opts, "--"), operands...), nil
}

// long handles one "--name" or "--name=value"; rest are the arguments after it.
func long(model *kong.Node, opts []string, arg string, rest []string) (out, left []string, err error) {
	name, value, inline := strings.Cut(arg, "=")
	switch {
	case (name == "help" || name == "version") && inline:
		return nil, nil, fmt.Errorf("option --%s takes no value", name)
	case name == "help":
		return nil, nil, errHelp
	case name == "version":
		return nil, nil, errVersion
	}
	flag := find(model, func(f *kong.Flag) bool { return f.Name == name })
	switch {
	case flag == nil:
		return nil, nil, fmt.Errorf("unknown option --%s", name)
	case isSwitch(flag) && inline:
		return nil, nil, fmt.Errorf("option --%s takes no value", name)
	case isSwitch(flag):
		return append(opts, "--"+name), rest, nil
	case inline:
		return append(opts, "--"+name+"="+value), rest, nil
	case len(rest) == 0:
		return nil, nil, fmt.Errorf("option --%s needs a value", name)
	}
	return append(opts, "--"+name+"="+rest[0]), rest[1:], nil
}

// cluster handles "-abc", "-oFILE" and "-o FILE".
func cluster(model *kong.Node, opts []string, arg string, rest []string) (out, left []string, err error) {
	for tail := arg; tail != ""; {
		letter, size := utf8.DecodeRuneInString(tail)
		spelled := tail[:size] // not the letter's own bytes where these are not UTF-8
		tail = tail[size:]
		if letter == 'h' {
			return nil, nil, errHelp
		}
		flag := find(model, func(f *kong.Flag) bool { return f.Short == letter && letter != utf8.RuneError })
		switch {
		case flag == nil:
			return nil, nil, fmt.Errorf("unknown option -%s", spelled)
		case isSwitch(flag):
			opts = append(opts, "--"+flag.Name)
		case tail != "":
			return append(opts, "--"+flag.Name+"="+tail), rest, nil
		case len(rest) == 0:
			return nil, nil, fmt.Errorf("option -%s needs a value", spelled)
		default:
			return append(opts, "--"+flag.Name+"="+rest[0]), rest[1:], nil
		}
	}
	return opts, rest, nil
}

func find(model *kong.Node, match func(*kong.Flag) bool) *kong.Flag {
	for _, f := range model.Flags {
		if match(f) {
			return f
		}
	}
	return nil
}

func isSwitch(f *kong.Flag) bool { return f.IsBool() || f.IsCounter() }

// count checks the number of operands; kong's own words for it name Go fields.
func count(model *kong.Node, operands []string) error {
	required, most := 0, len(model.Positional)
	for _, p := range model.Positional {
		if p.Required {
			required++
		}
		if p.IsCumulative() {
			most = len(operands)
		}
	}
	switch {
	case len(operands) < required:
		return fmt.Errorf("missing operand %s", operandName(model.Positional[len(operands)]))
	case len(operands) > max(most, required):
		return fmt.Errorf("extra operand %q", operands[most])
	}
	return nil
}
