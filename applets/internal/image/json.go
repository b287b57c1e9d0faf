package image

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth bounds the nesting of objects and arrays, so that no input can exhaust the stack.
const maxDepth = 1000

// A node is a JSON value that remembers how it was written: the order of its members and the text of
// its numbers. encoding/json keeps neither, and a config's digest is taken from its text.
type node struct {
	kind    byte     // '{', '[', '"', '0' for a number, 'a' for true, false and null
	text    string   // of a scalar, as written
	str     string   // value of a string
	members []member // of an object
	items   []*node  // of an array
}

// A member is one name of an object and its value.
type member struct {
	key   string
	text  string // of the key, with its quotes
	value *node
}

// parser reads one JSON text (RFC 8259). It is stricter than encoding/json: names must not repeat, and
// every string must be proper Unicode.
type parser struct {
	in  []byte
	pos int
}

// parse reads text, which must be one JSON value and nothing else. Errors name the byte where they are.
func parse(text []byte) (*node, error) {
	p := &parser{in: text}
	switch {
	case bytes.HasPrefix(text, []byte("\xef\xbb\xbf")):
		return nil, p.errorf("begins with a byte order mark")
	case bytes.HasPrefix(text, []byte("\xfe\xff")), bytes.HasPrefix(text, []byte("\xff\xfe")):
		return nil, p.errorf("is UTF-16, not UTF-8")
	}
	n, err := p.value(0)
	if err != nil {
		return nil, err
	}
	if p.space(); p.pos < len(p.in) {
		return nil, p.errorf("text after the JSON value")
	}
	return n, nil
}

func (p *parser) errorf(format string, args ...any) error {
	return fmt.Errorf("byte %d: %s", p.pos, fmt.Sprintf(format, args...))
}

func (p *parser) space() {
	for p.pos < len(p.in) && strings.IndexByte(" \t\r\n", p.in[p.pos]) >= 0 {
		p.pos++
	}
}

// peek is the next byte, or 0 at the end of the text.
func (p *parser) peek() byte {
	if p.pos == len(p.in) {
		return 0
	}
	return p.in[p.pos]
}

// next skips space and then c, if that is what comes.
func (p *parser) next(c byte) bool {
	p.space()
	if p.peek() != c {
		return false
	}
	p.pos++
	return true
}

func (p *parser) value(depth int) (*node, error) {
	p.space()
	c := p.peek()
	switch {
	case (c == '{' || c == '[') && depth == maxDepth:
		return nil, p.errorf("nested deeper than %d", maxDepth)
	case c == '{':
		return p.object(depth)
	case c == '[':
		return p.array(depth)
	case c == '"':
		start := p.pos
		str, err := p.string()
		return &node{kind: '"', text: string(p.in[start:p.pos]), str: str}, err
	case c == '-' || isDigit(c):
		return p.number()
	}
	for _, word := range [...]string{"true", "false", "null"} {
		if bytes.HasPrefix(p.in[p.pos:], []byte(word)) {
			p.pos += len(word)
			return &node{kind: 'a', text: word}, nil
		}
	}
	return nil, p.unexpected("a JSON value")
}

func (p *parser) unexpected(want string) error {
	if p.pos == len(p.in) {
		return p.errorf("ends where %s should be", want)
	}
	return p.errorf("%q is not %s", p.in[p.pos], want)
}

func (p *parser) object(depth int) (*node, error) {
	n := &node{kind: '{'}
	p.pos++
	if p.next('}') {
		return n, nil
	}
	seen := map[string]bool{}
	for {
		m, err := p.member(depth, seen)
		if err != nil {
			return nil, err
		}
		n.members = append(n.members, m)
		if p.next('}') {
			return n, nil
		}
		if !p.next(',') {
			return nil, p.unexpected("a comma or a closing brace")
		}
	}
}

func (p *parser) member(depth int, seen map[string]bool) (m member, err error) {
	if p.space(); p.peek() != '"' {
		return m, p.unexpected("a name in quotes")
	}
	start := p.pos
	if m.key, err = p.string(); err != nil {
		return m, err
	}
	m.text = string(p.in[start:p.pos])
	if seen[m.key] {
		p.pos = start
		return m, p.errorf("%q is there twice", m.key)
	}
	seen[m.key] = true
	if !p.next(':') {
		return m, p.unexpected("a colon")
	}
	m.value, err = p.value(depth + 1)
	return m, err
}

func (p *parser) array(depth int) (*node, error) {
	n := &node{kind: '['}
	p.pos++
	if p.next(']') {
		return n, nil
	}
	for {
		item, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		n.items = append(n.items, item)
		if p.next(']') {
			return n, nil
		}
		if !p.next(',') {
			return nil, p.unexpected("a comma or a closing bracket")
		}
	}
}

// number keeps the text: 1.10, 1e400 and integers beyond 64 bits come out as they went in.
func (p *parser) number() (*node, error) {
	start := p.pos
	if p.peek() == '-' {
		p.pos++
	}
	switch {
	case p.peek() == '0':
		p.pos++
	case p.digits() == 0:
		return nil, p.unexpected("a digit")
	}
	if p.peek() == '.' {
		p.pos++
		if p.digits() == 0 {
			return nil, p.unexpected("a digit")
		}
	}
	if c := p.peek(); c == 'e' || c == 'E' {
		p.pos++
		if c := p.peek(); c == '+' || c == '-' {
			p.pos++
		}
		if p.digits() == 0 {
			return nil, p.unexpected("a digit")
		}
	}
	return &node{kind: '0', text: string(p.in[start:p.pos])}, nil
}

func (p *parser) digits() (n int) {
	for isDigit(p.peek()) {
		p.pos++
		n++
	}
	return n
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// string reads a string and returns its value; its text is what p.pos moved over.
func (p *parser) string() (string, error) {
	var b strings.Builder
	p.pos++
	for p.pos < len(p.in) {
		c := p.in[p.pos]
		switch {
		case c == '"':
			p.pos++
			return b.String(), nil
		case c == '\\':
			r, err := p.escape()
			if err != nil {
				return "", err
			}
			b.WriteRune(r)
		case c < 0x20:
			return "", p.errorf("control character %q in a string", c)
		default:
			r, size := utf8.DecodeRune(p.in[p.pos:])
			if r == utf8.RuneError && size == 1 {
				return "", p.errorf("is not UTF-8")
			}
			b.WriteRune(r)
			p.pos += size
		}
	}
	return "", p.errorf("ends inside a string")
}

func (p *parser) escape() (rune, error) {
	const from, to = `"\/bfnrt`, "\"\\/\b\f\n\r\t"
	p.pos++
	c := p.peek()
	if i := strings.IndexByte(from, c); i >= 0 {
		p.pos++
		return rune(to[i]), nil
	}
	if c != 'u' {
		return 0, p.errorf("unknown escape in a string")
	}
	r, err := p.unit()
	if err != nil || !utf16.IsSurrogate(r) {
		return r, err
	}
	at := p.pos
	if p.peek() == '\\' {
		p.pos++
		if low, err := p.unit(); err == nil {
			if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
				return r, nil
			}
		}
	}
	p.pos = at
	return 0, p.errorf("half of a surrogate pair")
}

// unit reads "uXXXX", one UTF-16 code unit.
func (p *parser) unit() (rune, error) {
	if p.peek() != 'u' || p.pos+5 > len(p.in) {
		return 0, p.errorf("unknown escape in a string")
	}
	var r rune
	for _, c := range p.in[p.pos+1 : p.pos+5] {
		d := strings.IndexByte("0123456789abcdef", c|0x20)
		if d < 0 || c < '0' {
			return 0, p.errorf("bad escape in a string")
		}
		r = r<<4 | rune(d)
	}
	p.pos += 5
	return r, nil
}

// get returns the value of an object's member, or nil.
func (n *node) get(key string) *node {
	for i := range n.members {
		if n.members[i].key == key {
			return n.members[i].value
		}
	}
	return nil
}

// set gives key a value: in its old place, or as the last member.
func (n *node) set(key string, value *node) {
	for i := range n.members {
		if n.members[i].key == key {
			n.members[i].value = value
			return
		}
	}
	n.members = append(n.members, member{key, quote(key), value})
}

// remove takes key out of an object.
func (n *node) remove(key string) {
	for i := range n.members {
		if n.members[i].key == key {
			n.members = append(n.members[:i:i], n.members[i+1:]...)
			return
		}
	}
}

func (n *node) isNull() bool { return n.kind == 'a' && n.text == "null" }

func object() *node { return &node{kind: '{'} }

func text(s string) *node { return &node{kind: '"', text: quote(s), str: s} }

func integer(n int64) *node { return &node{kind: '0', text: fmt.Sprint(n)} }

func array(values []string) *node {
	n := &node{kind: '['}
	for _, v := range values {
		n.items = append(n.items, text(v))
	}
	return n
}

// quote writes s as a JSON string. Bytes that are not UTF-8 become U+FFFD: JSON cannot hold them.
func quote(s string) string {
	b := []byte{'"'}
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r < 0x20:
			b = fmt.Appendf(b, `\u%04x`, r)
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return string(append(b, '"'))
}

// compact writes n without any space.
func (n *node) compact() []byte { return n.append(nil, "", "", ":") }

// indented writes n as Python's json.dump does with indent=2, which is what the cookbook's files look like.
func (n *node) indented() []byte { return append(n.append(nil, "\n", "  ", ": "), '\n') }

// append writes n to b; line begins a new line, with the indent so far.
func (n *node) append(b []byte, line, indent, colon string) []byte {
	if n.kind != '{' && n.kind != '[' {
		return append(b, n.text...)
	}
	inner := line + indent
	b = append(b, n.kind)
	for i, m := range n.members {
		b = append(separate(b, i, inner), m.text+colon...)
		b = m.value.append(b, inner, indent, colon)
	}
	for i, item := range n.items {
		b = item.append(separate(b, i, inner), inner, indent, colon)
	}
	if len(n.members)+len(n.items) > 0 {
		b = append(b, line...)
	}
	return append(b, n.kind+2) // in ASCII the closing bracket is two after the opening one
}

func separate(b []byte, i int, line string) []byte {
	if i > 0 {
		b = append(b, ',')
	}
	return append(b, line...)
}
