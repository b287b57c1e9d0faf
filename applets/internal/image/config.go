package image

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A Template is an image config or an old-style layer description with fields of the user's own, which are
// kept as they were written. The cookbook's template.json is one.
type Template struct{ root *node }

// ParseTemplate reads a JSON object. Errors name the byte where they are.
func ParseTemplate(text []byte) (*Template, error) {
	root, err := parse(text)
	if err != nil {
		return nil, err
	}
	if root.kind != '{' {
		return nil, errors.New("must be an object")
	}
	return &Template{root}, nil
}

// Settings are what the command line says about an image. Zero fields leave what the template has.
type Settings struct {
	Entrypoint []string // nil: as the template says; empty: none
	Cmd        []string // likewise
	Env        []string // NAME=VALUE, each replaces the template's of the same name
	Labels     []string // KEY=VALUE, likewise
	Expose     []string // PORT/PROTOCOL, added
	Volumes    []string // absolute paths, added
	Workdir    string
	User       string
	Author     string
	Platform   string // OS/ARCHITECTURE[/VARIANT]
}

// configFields are the fields that the OCI image config gives a type: '"' string, '[' list of strings, '{' object
// of empty objects, 's' object of strings (image-spec config.md, v1.1).
var configFields = [...]struct {
	name string
	kind byte
}{
	{"User", '"'}, {"ExposedPorts", '{'}, {"Env", '['}, {"Entrypoint", '['}, {"Cmd", '['}, {"Volumes", '{'},
	{"WorkingDir", '"'}, {"Labels", 's'}, {"StopSignal", '"'},
}

// topFields are those outside "config" that engines read as strings.
var topFields = [...]string{"created", "author", "architecture", "os", "variant"}

// check looks at the fields that engines read.
func (t *Template) check() error {
	for _, name := range topFields {
		if err := field(t.root, "", name, '"'); err != nil {
			return err
		}
	}
	if err := field(t.root, "", "config", 'o'); err != nil {
		return err
	}
	for _, name := range []string{"rootfs", "history"} { // mkimage's own replace them
		if err := field(t.root, "", name, 0); err != nil {
			return err
		}
	}
	if config := t.root.get("config"); config != nil {
		for _, f := range configFields {
			if err := field(config, "config.", f.name, f.kind); err != nil {
				return err
			}
		}
	}
	return nil
}

// dropNulls takes out known fields that are null: it means absent, but the JSON schema of image-spec does
// not allow it everywhere.
func (t *Template) dropNulls() {
	drop := func(n *node, name string) {
		if value := n.get(name); value != nil && value.isNull() {
			n.remove(name)
		}
	}
	for _, name := range append(topFields[:], "config") {
		drop(t.root, name)
	}
	if config := t.root.get("config"); config != nil {
		for _, f := range configFields {
			drop(config, f.name)
		}
	}
}

// field checks one field of n. Engines do not tell capitals from small letters in names, so a
// name that differs only in that would be read by some and overridden here in vain.
func field(n *node, prefix, name string, kind byte) error {
	for _, m := range n.members {
		if m.key != name && strings.EqualFold(m.key, name) {
			return fmt.Errorf("%s%s: should be spelled %s", prefix, m.key, name)
		}
	}
	value := n.get(name)
	if value == nil || value.isNull() {
		return nil
	}
	if want := mismatch(value, kind); want != "" {
		return fmt.Errorf("%s%s: must be %s", prefix, name, want)
	}
	return nil
}

// mismatch says what n should be, or nothing; kind 0 is any.
func mismatch(n *node, kind byte) string {
	notString := func(n *node) bool { return n.kind != '"' }
	values := func(kind byte) func(member) bool {
		return func(m member) bool { return m.value.kind != kind }
	}
	switch {
	case kind == '"' && n.kind != '"':
		return "a string"
	case kind == 'o' && n.kind != '{':
		return "an object"
	case kind == '[' && (n.kind != '[' || slices.ContainsFunc(n.items, notString)):
		return "a list of strings"
	case kind == '{' && (n.kind != '{' || slices.ContainsFunc(n.members, values('{'))):
		return "an object of empty objects"
	case kind == 's' && (n.kind != '{' || slices.ContainsFunc(n.members, values('"'))):
		return "an object of strings"
	}
	return ""
}

// apply puts the settings over the template.
func (t *Template) apply(s *Settings) error {
	if err := t.check(); err != nil {
		return err
	}
	if s.Author != "" {
		t.root.set("author", text(s.Author))
	}
	if s.Platform != "" {
		parts := strings.Split(s.Platform, "/")
		t.root.remove("variant")
		for i, name := range []string{"os", "architecture", "variant"}[:len(parts)] {
			t.root.set(name, text(parts[i]))
		}
	}
	if s.Entrypoint != nil || s.Cmd != nil || s.Workdir+s.User != "" ||
		len(s.Env)+len(s.Labels)+len(s.Expose)+len(s.Volumes) > 0 {
		s.configure(within(t.root, "config"))
	}
	for _, name := range []string{"architecture", "os"} {
		if n := t.root.get(name); n == nil || n.str == "" {
			return fmt.Errorf("template has no %s (say --platform)", name)
		}
	}
	return nil
}

func (s *Settings) configure(config *node) {
	list(config, "Entrypoint", s.Entrypoint)
	list(config, "Cmd", s.Cmd)
	merge(config, s.Env)
	for _, label := range s.Labels {
		key, value, _ := strings.Cut(label, "=")
		within(config, "Labels").set(key, text(value))
	}
	for _, port := range s.Expose {
		within(config, "ExposedPorts").set(port, object())
	}
	for _, volume := range s.Volumes {
		within(config, "Volumes").set(volume, object())
	}
	if s.Workdir != "" {
		config.set("WorkingDir", text(s.Workdir))
	}
	if s.User != "" {
		config.set("User", text(s.User))
	}
}

// list sets a list; an empty one takes the template's away.
func list(config *node, name string, values []string) {
	switch {
	case values == nil:
	case len(values) == 0:
		config.remove(name)
	default:
		config.set(name, array(values))
	}
}

// merge puts NAME=VALUE into the environment, in the place of an older value of NAME.
func merge(config *node, env []string) {
	if len(env) == 0 {
		return
	}
	var all []string
	if old := config.get("Env"); old != nil {
		for _, item := range old.items {
			all = append(all, item.str)
		}
	}
	for _, setting := range env {
		name, _, _ := strings.Cut(setting, "=")
		same := func(s string) bool { return s == name || strings.HasPrefix(s, name+"=") }
		if i := slices.IndexFunc(all, same); i >= 0 {
			all[i] = setting
			// Of several values some programs take the first, others the last.
			all = append(all[:i+1], slices.DeleteFunc(all[i+1:], same)...)
		} else {
			all = append(all, setting)
		}
	}
	config.set("Env", array(all))
}

// within returns the object of that name, made if need be.
func within(n *node, name string) *node {
	child := n.get(name)
	if child == nil || child.isNull() {
		child = object()
		n.set(name, child)
	}
	return child
}

// config is the image config: the template with the settings, the time, the diff IDs and a history of one
// entry a layer, which replace what the template has.
func (b *build) config() []byte {
	root := *b.template.root
	root.members = slices.Clone(root.members)
	created := timestamp(b.Created)
	root.set("created", text(created))
	rootfs := object()
	rootfs.set("type", text("layers"))
	history, diffs := &node{kind: '['}, &node{kind: '['}
	for _, l := range b.layers {
		diffs.items = append(diffs.items, text(l.diffIDOrBlank()))
		entry := object()
		entry.set("created", text(created))
		// Only the last part of the name: where the layer lay must not change the image.
		entry.set("created_by", text("ctbox mkimage "+filepath.Base(l.name)))
		history.items = append(history.items, entry)
	}
	rootfs.set("diff_ids", diffs)
	root.set("rootfs", rootfs)
	root.set("history", history)
	return root.compact()
}

// timestamp is t as RFC 3339 in UTC, with a fraction only if there is one.
func timestamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
