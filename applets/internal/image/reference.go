package image

import (
	"errors"
	"fmt"
	"strings"
)

// Limits of a reference, in bytes. Older engines count the domain as part of the name, so it counts here.
const (
	maxName = 255
	maxTag  = 128
)

// defaultDomain and the library below it are what a short name such as "hello" stands for.
const (
	defaultDomain = "docker.io"
	legacyDomain  = "index." + defaultDomain
	library       = "library/"
)

// A Reference is the full name of an image, such as docker.io/library/hello:latest.
type Reference struct {
	Domain string // docker.io
	Path   string // library/hello
	Tag    string // latest
}

// String is the name in full, with an explicit tag: the one form that every engine reads alike.
func (r Reference) String() string { return r.Domain + "/" + r.Path + ":" + r.Tag }

// Familiar is the name without tag, as people write it and as the old image format records it.
func (r Reference) Familiar() string {
	full := r.Domain + "/" + r.Path
	if r.Domain != defaultDomain {
		return full
	}
	short := r.Path
	if rest, ok := strings.CutPrefix(short, library); ok && !strings.Contains(rest, "/") {
		short = rest
	}
	if domain, _ := splitDomain(short); domain != defaultDomain {
		return full // docker.io/a.b/c: without its domain, a.b would be taken for one
	}
	return short
}

// ParseReference reads NAME[:TAG] by the grammar of github.com/distribution/reference and completes it as
// docker does: the domain is docker.io, a name of one component is in library/, the tag is latest.
func ParseReference(s string) (Reference, error) {
	ref, err := parseReference(s)
	if err != nil {
		return ref, fmt.Errorf("image name %q: %w", s, err)
	}
	return ref, nil
}

func parseReference(s string) (r Reference, err error) {
	switch {
	case s == "":
		return r, errors.New("is empty")
	case strings.Contains(s, "@"):
		return r, errors.New("a digest cannot be given to an image, it has one")
	case len(s) == 64 && isHex(s):
		return r, errors.New("64 hex digits are an image ID")
	}
	var rest string
	r.Domain, rest = splitDomain(s)
	r.Path, r.Tag = rest, "latest"
	if path, tag, ok := strings.Cut(rest, ":"); ok {
		r.Path, r.Tag = path, tag
	}
	if r.Domain == defaultDomain && !strings.Contains(r.Path, "/") {
		r.Path = library + r.Path
	}
	return r, r.check()
}

// splitDomain takes the first component for a domain if it has a dot or a port, is "localhost" or has
// capitals; otherwise it belongs to the path.
func splitDomain(s string) (domain, rest string) {
	first, rest, ok := strings.Cut(s, "/")
	switch {
	case !ok:
		return defaultDomain, s
	case first == legacyDomain:
		return defaultDomain, rest
	case first == "localhost", strings.ContainsAny(first, ".:"), strings.ToLower(first) != first:
		return first, rest
	}
	return defaultDomain, s
}

func (r Reference) check() error {
	switch {
	case !isDomain(r.Domain):
		return fmt.Errorf("%q is not a host name", r.Domain)
	case strings.ToLower(r.Path) != r.Path:
		return errors.New("must be lower case")
	case len(r.Domain)+1+len(r.Path) > maxName:
		return fmt.Errorf("longer than %d bytes", maxName)
	case len(r.Tag) > maxTag:
		return fmt.Errorf("tag longer than %d bytes", maxTag)
	case !isTag(r.Tag):
		return fmt.Errorf("%q is not a tag", r.Tag)
	}
	for part := range strings.SplitSeq(r.Path, "/") {
		if !isComponent(part) {
			return fmt.Errorf("%q is not a component of a name", part)
		}
	}
	return nil
}

// isDomain: host names joined by dots, or an IPv6 address in brackets, then perhaps a port.
func isDomain(s string) bool {
	if strings.HasPrefix(s, "[") {
		address, rest, ok := strings.Cut(s[1:], "]")
		return ok && address != "" && strings.Trim(address, "0123456789abcdefABCDEF:") == "" &&
			(rest == "" || rest[0] == ':' && isNumber(rest[1:]))
	}
	host, port, ok := strings.Cut(s, ":")
	if ok && !isNumber(port) {
		return false
	}
	for part := range strings.SplitSeq(host, ".") {
		if part == "" || part[0] == '-' || part[len(part)-1] == '-' ||
			!all(part, func(c byte) bool { return isLetter(c) || isDigit(c) || c == '-' }) {
			return false
		}
	}
	return true
}

// isComponent: small letters and digits, joined by one dot, one or two underscores, or any number of hyphens.
func isComponent(s string) bool {
	word := false // the last byte was a letter or a digit
	for len(s) > 0 {
		if isLower(s[0]) || isDigit(s[0]) {
			word, s = true, s[1:]
			continue
		}
		if !word {
			return false
		}
		word = false
		rest := strings.TrimLeft(s, "-")
		if len(rest) == len(s) {
			rest = strings.TrimPrefix(s, ".")
		}
		if len(rest) == len(s) {
			rest = strings.TrimPrefix(strings.TrimPrefix(s, "_"), "_")
		}
		if len(rest) == len(s) {
			return false
		}
		s = rest
	}
	return word
}

func isTag(s string) bool {
	return s != "" && s[0] != '.' && s[0] != '-' &&
		all(s, func(c byte) bool { return isLetter(c) || isDigit(c) || c == '_' || c == '.' || c == '-' })
}

func all(s string, is func(byte) bool) bool {
	for i := range len(s) {
		if !is(s[i]) {
			return false
		}
	}
	return true
}

func isLower(c byte) bool    { return 'a' <= c && c <= 'z' }
func isLetter(c byte) bool   { return isLower(c | 0x20) }
func isHexDigit(c byte) bool { return isDigit(c) || 'a' <= c && c <= 'f' }
func isHex(s string) bool    { return all(s, isHexDigit) }
func isNumber(s string) bool { return s != "" && all(s, isDigit) }
