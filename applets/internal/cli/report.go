package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"
)

func prefix(applet string) string {
	if applet == "" {
		return "ctbox"
	}
	return "ctbox " + applet
}

// report prints an error as one line for each joined part, then its hint.
func report(std Stdio, err error) {
	switch e := err.(type) {
	case interface{ Unwrap() []error }:
		for _, part := range e.Unwrap() {
			report(std, part)
		}
		return
	case statusError:
		report(std, e.error)
		return
	case hintError:
		report(std, e.error)
		std.Warn("hint: %s", e.hint)
		return
	}
	var exit ExitStatus
	if err == nil || errors.As(err, &exit) {
		return
	}
	msg := message(err)
	var usage usageError
	if errors.As(err, &usage) {
		msg += fmt.Sprintf(" (see %q)", prefix(std.Applet)+" --help")
	}
	std.Warn("%s", msg)
	var hint hintError
	if errors.As(err, &hint) {
		std.Warn("hint: %s", hint.hint)
	}
}

// message is err's text without the names of Go's operations: "open x: ..." becomes "x: ...".
func message(err error) string {
	msg := err.Error()
	var path *fs.PathError
	if errors.As(err, &path) {
		msg = strings.Replace(msg, path.Error(), path.Path+": "+path.Err.Error(), 1)
	}
	var link *os.LinkError
	if errors.As(err, &link) {
		msg = strings.Replace(msg, link.Error(), link.New+": "+link.Err.Error(), 1)
	}
	return msg
}

// printable escapes what could act on a terminal: control characters and bytes that are not UTF-8.
// Names in messages come from other people's trees.
func printable(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case !unicode.IsPrint(r):
			q := fmt.Sprintf("%q", r)
			b.WriteString(q[1 : len(q)-1])
		default:
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}
