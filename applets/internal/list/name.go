package list

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

// MaxName is the longest name in bytes. The kernel takes 4096 in one call, but a tree can be deeper than that.
const MaxName = 64 << 10

// maxComponent is the longest file name that a Linux file system takes (NAME_MAX).
const maxComponent = 255

var (
	errEmpty     = errors.New("empty name")
	errPrefix    = errors.New(`name does not begin with "./"`)
	errComponent = errors.New(`name has an empty, "." or ".." component`)
	errNameLong  = errors.New("name is too long")
	errNul       = errors.New("NUL byte in name")
)

// Root is the name of the tree's top directory.
const Root = "."

// CheckName reports why name is not canonical: "." or "./" and components, none of them empty, "." or "..".
func CheckName(name []byte) error {
	if len(name) == 1 && name[0] == '.' {
		return nil
	}
	switch {
	case len(name) == 0:
		return errEmpty
	case len(name) > MaxName:
		return errNameLong
	case len(name) < 2 || name[0] != '.' || name[1] != '/':
		return errPrefix
	case bytes.IndexByte(name, 0) >= 0:
		return errNul
	}
	for start := 2; start <= len(name); {
		end := bytes.IndexByte(name[start:], '/')
		if end < 0 {
			end = len(name) - start
		}
		switch c := name[start : start+end]; {
		case len(c) == 0, len(c) == 1 && c[0] == '.', len(c) == 2 && c[0] == '.' && c[1] == '.':
			return errComponent
		case len(c) > maxComponent:
			return errNameLong
		}
		start += end + 1
	}
	return nil
}

// Canonical is the canonical spelling of a name from find(1) or ls(1): "a/b" and "./a/b" are "./a/b". Nothing
// else is mended. It appends to buf[:0].
func Canonical(buf, name []byte) ([]byte, error) {
	switch {
	case len(name) == 0:
		return nil, errEmpty
	case name[0] == '/':
		return nil, errors.New("absolute name")
	}
	buf = buf[:0]
	if !bytes.Equal(name, []byte(".")) && !bytes.HasPrefix(name, []byte("./")) {
		buf = append(buf, "./"...)
	}
	buf = append(buf, name...)
	return buf, CheckName(buf)
}

// Parent is the name of the directory that holds name: "." for "./a", nil for ".".
func Parent(name []byte) []byte {
	i := bytes.LastIndexByte(name, '/')
	if i < 0 {
		return nil
	}
	return name[:i]
}

// Below reports whether name lies below directory dir, at any depth.
func Below(name, dir []byte) bool {
	return len(name) > len(dir) && name[len(dir)] == '/' && bytes.HasPrefix(name, dir)
}

// IsWhiteout reports whether a component of name begins ".wh.", the prefix that layers reserve for deletions
// (OCI image-spec, layer.md, "Whiteouts").
func IsWhiteout(name []byte) bool { return bytes.Contains(name, []byte("/.wh.")) }

// Quote is how a name is shown in a message: as it is, or in Go's quoted form when it holds bytes that would
// be hard to see or to tell apart from the rest of the line.
// A name longer than any that the kernel takes is cut, as are records that are no records.
func Quote[T string | []byte](name T) string {
	const pathMax = 4096
	if len(name) > pathMax {
		return Quote(string(name[:pathMax])) + "..."
	}
	s := string(name)
	if s == "" || !utf8.ValidString(s) || strings.ContainsAny(s, " \"'\\:") || strconv.Quote(s) != `"`+s+`"` {
		return strconv.Quote(s)
	}
	return s
}
