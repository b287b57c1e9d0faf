// Package sums computes SHA-256 digests of files and knows the lines that lists of them are made of.
// Invariant: a line that AppendLine wrote parses to the same digest and name, whatever bytes the name has.
package sums

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
)

// A Sum is a SHA-256 digest.
type Sum = [sha256.Size]byte

const hexLen = 2 * sha256.Size

// errLine is all that is said of a malformed line: it may hold anything.
var errLine = errors.New("not a digest line")

// AppendLine appends "HEX  NAME\n", the line of sha256sum(1). A name with a newline, carriage return or
// backslash is escaped, and the line then begins with a backslash.
func AppendLine(dst []byte, sum Sum, name string) []byte {
	if escaped(name) {
		dst = append(dst, '\\')
	}
	dst = hex.AppendEncode(dst, sum[:])
	dst = append(dst, "  "...)
	return append(appendEscaped(dst, name), '\n')
}

// AppendName appends a name as sha256sum -c reports it: escaped, with a backslash before it, only if it
// has a newline.
func AppendName(dst []byte, name string) []byte {
	if strings.IndexByte(name, '\n') < 0 {
		return append(dst, name...)
	}
	return appendEscaped(append(dst, '\\'), name)
}

func escaped(name string) bool { return strings.ContainsAny(name, "\\\n\r") }

func appendEscaped(dst []byte, name string) []byte {
	for i := range len(name) {
		switch name[i] {
		case '\\':
			dst = append(dst, `\\`...)
		case '\n':
			dst = append(dst, `\n`...)
		case '\r':
			dst = append(dst, `\r`...)
		default:
			dst = append(dst, name[i])
		}
	}
	return dst
}

// Parse reads a line without its newline. It takes the forms of sha256sum ("HEX  NAME", "HEX *NAME"), of
// sha256 -r ("HEX NAME") and of sha256 and sha256sum --tag ("SHA256 (NAME) = HEX"), with a leading
// backslash if the name is escaped, and a digest alone: then name is "".
func Parse(line []byte) (sum Sum, name string, err error) {
	rest, escape := bytes.CutPrefix(line, []byte(`\`))
	digits, raw := split(rest)
	if len(digits) != hexLen {
		return sum, "", errLine
	}
	if _, err := hex.Decode(sum[:], digits); err != nil {
		return sum, "", errLine
	}
	if raw == nil {
		if escape {
			return sum, "", errLine
		}
		return sum, "", nil
	}
	if escape {
		raw = unescape(raw)
	}
	if len(raw) == 0 || bytes.IndexByte(raw, 0) >= 0 {
		return sum, "", errLine
	}
	return sum, string(raw), nil
}

// split finds the digits and the name as it is written; name is nil if there is none. Digits that
// are not exactly as many as a digest has are no digits.
func split(line []byte) (digits, name []byte) {
	if tag, ok := bytes.CutPrefix(line, []byte("SHA256")); ok {
		return splitTag(tag)
	}
	switch {
	case len(line) == hexLen:
		return line, nil
	case len(line) < hexLen+2 || line[hexLen] != ' ':
		return nil, nil
	}
	digits, name = line[:hexLen], line[hexLen+1:]
	if len(name) > 1 && (name[0] == ' ' || name[0] == '*') {
		name = name[1:]
	}
	return digits, name
}

// splitTag is split for what follows "SHA256". The last parenthesis ends the name, which may hold others.
func splitTag(tag []byte) (digits, name []byte) {
	name, ok := bytes.CutPrefix(bytes.TrimPrefix(tag, []byte(" ")), []byte("("))
	end := bytes.LastIndexByte(name, ')')
	if !ok || end < 0 {
		return nil, nil
	}
	digits, ok = bytes.CutPrefix(bytes.TrimLeft(name[end+1:], " "), []byte("="))
	if !ok {
		return nil, nil
	}
	return bytes.TrimLeft(digits, " "), name[:end]
}

// unescape returns nil if s is not what appendEscaped writes.
func unescape(s []byte) []byte {
	var out []byte
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			out = append(out, s[i])
			continue
		}
		if i++; i == len(s) {
			return nil
		}
		switch s[i] {
		case '\\':
			out = append(out, '\\')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		default:
			return nil
		}
	}
	return out
}
