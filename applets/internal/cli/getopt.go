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

// A setting is one use of an option.
type setting struct {
	flag  *kong.Flag
	value string // of a switch: ""
}

// getopt reads args by the model's options: kong's own parser has neither permutation nor operands that begin with a dash. The
// rules are those of POSIX.1-2017 12.2 with GNU's long options and permutation, but no abbreviations: they break when options are
// added. With stop, options end at the first operand, which is how commands that run commands behave.
func getopt(model *kong.Node, args []string, stop bool) (opts []setting, operands []string, err error) {
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
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
			return nil, nil, err
		}
	}
	return opts, operands, count(model, operands)
}

// long handles one "--name" or "--name=value"; rest are the arguments after it.
func long(model *kong.Node, opts []setting, arg string, rest []string) (out []setting, left []string, err error) {
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
	case isSwitch(flag), inline:
		return append(opts, setting{flag, value}), rest, nil
	case len(rest) == 0:
		return nil, nil, fmt.Errorf("option --%s needs a value", name)
	}
	return append(opts, setting{flag, rest[0]}), rest[1:], nil
}

// cluster handles "-abc", "-oFILE" and "-o FILE".
func cluster(model *kong.Node, opts []setting, arg string, rest []string) (out []setting, left []string, err error) {
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
			opts = append(opts, setting{flag: flag})
		case tail != "":
			return append(opts, setting{flag, tail}), rest, nil
		case len(rest) == 0:
			return nil, nil, fmt.Errorf("option -%s needs a value", spelled)
		default:
			return append(opts, setting{flag, rest[0]}), rest[1:], nil
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
