package list

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
)

// A dice picks a number below n: at random, or as fuzzed bytes say.
type dice func(n int) int

func randomly(rng *rand.Rand) dice { return rng.IntN }

func fromBytes(data []byte) dice {
	return func(n int) int {
		if len(data) == 0 || n == 0 {
			return 0
		}
		c := data[0]
		data = data[1:]
		return int(c) % n
	}
}

// An inode is what hard links share.
type inode struct {
	typ, perm uint32
	content   int
}

// A tree is a file system: names to inodes.
type tree map[string]*inode

// Components that sort around the slash, so that a directory's descendants do not follow it at once.
var components = []string{"a", "a-b", "a.", "a b", "a\t", "a-", "a0", "b", "\xff", "-", "a\n"}

// randomTree has only consistent names: everything lies in a directory.
func randomTree(pick dice) tree {
	t := tree{".": {typ: Directory, perm: 0o755}}
	for range pick(30) {
		t.add(pick)
	}
	return t
}

func (t tree) names() []string {
	var all []string
	for name := range t {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

func (t tree) dirs() []string {
	return slices.DeleteFunc(t.names(), func(name string) bool { return t[name].typ != Directory })
}

func (t tree) add(pick dice) {
	dirs := t.dirs()
	name := dirs[pick(len(dirs))] + "/" + components[pick(len(components))]
	t.remove(name)
	types := []uint32{Directory, Directory, Directory, Regular, Regular, Symlink, FIFO}
	in := &inode{typ: types[pick(len(types))], perm: 0o644 + uint32(pick(2)), content: pick(3)}
	if files := t.files(); pick(3) == 0 && len(files) > 0 {
		in = t[files[pick(len(files))]] // a hard link
	}
	t[name] = in
}

func (t tree) files() []string {
	return slices.DeleteFunc(t.names(), func(name string) bool { return t[name].typ != Regular })
}

func (t tree) remove(top string) {
	for name := range t {
		if name == top || below(name, top) {
			delete(t, name)
		}
	}
}

// below is Below, said otherwise.
func below(name, dir string) bool { return strings.HasPrefix(name, dir+"/") }

// mutated is a later state of the tree.
func (t tree) mutated(pick dice) tree {
	next, copies := tree{}, map[*inode]*inode{}
	for _, name := range t.names() {
		in := t[name]
		if copies[in] == nil {
			c := *in
			copies[in] = &c
		}
		next[name] = copies[in]
	}
	for range pick(8) {
		names := next.names()
		name := names[pick(len(names))]
		switch pick(5) {
		case 0:
			if name != "." {
				next.remove(name)
			}
		case 1:
			next[name].perm = 0o600 + uint32(pick(4))
		case 2:
			next[name].content++
		case 3: // the same file, no longer linked
			c := *next[name]
			next[name] = &c
		default:
			next.add(pick)
		}
	}
	return next
}

// lines is the tree's list, record by record.
func (t tree) lines() []string {
	var all []string
	first := map[*inode]string{}
	for _, name := range t.names() {
		in := t[name]
		id := ID{Mode: in.typ | in.perm}
		if id.HasDigest() {
			id.Digest[0] = byte(in.content)
		}
		if in.typ == Regular {
			if link := first[in]; link != "" {
				id.Link = []byte(link)
			} else {
				first[in] = name
			}
		}
		all = append(all, name+" "+string(id.AppendTo(nil)))
	}
	return all
}

// edited is the list as careless hands leave it: without some lines, or with deletions.
func edited(lines []string, pick dice) []string {
	var all []string
	for _, line := range lines {
		switch name, _ := cutLine(line); pick(12) {
		case 0:
		case 1:
			all = append(all, name+" -")
		default:
			all = append(all, line)
		}
	}
	return all
}

func cutLine(line string) (name, id string) {
	i := strings.LastIndexByte(line, ' ')
	return line[:i], line[i+1:]
}

// parsed is a list as a map, without what it deletes.
func parsed(lines []string) map[string]ID {
	m := map[string]ID{}
	for _, line := range lines {
		name, text := cutLine(line)
		var id ID
		if err := id.Parse([]byte(text)); err != nil {
			panic(err)
		}
		if !id.Deleted {
			m[name] = id
		}
	}
	return m
}

func sorted[V any](m map[string]V) []string {
	var all []string
	for name := range m {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

func textOf(id ID) string { return string(id.AppendTo(nil)) }

// isAbove reports whether any of set lies above name and satisfies also.
func isAbove[V any](set map[string]V, name string, also func(V) bool) bool {
	for dir, v := range set {
		if below(name, dir) && also(v) {
			return true
		}
	}
	return false
}

func notDirectory(id ID) bool { return id.Type() != Directory }
func always(bool) bool        { return true }

// reference is Diff.Layer by the definition, in memory and quadratic time; ok is false when the lists contradict
// themselves.
func reference(baseLines, newLines []string) (layer []string, ok bool) {
	base, new := parsed(baseLines), parsed(newLines)
	changed, gone := map[string]bool{}, map[string]bool{}
	for name, id := range new {
		if old, was := base[name]; !was || textOf(old) != textOf(id) {
			changed[name] = true
		}
	}
	for name := range base {
		if _, is := new[name]; !is && name != "." {
			gone[name] = true
		}
	}
	for name := range new {
		if isAbove(new, name, notDirectory) || isAbove(gone, name, always) {
			return nil, false
		}
	}
	out := map[string]string{}
	for name := range gone {
		if !isAbove(gone, name, always) && !isAbove(new, name, notDirectory) {
			out[name] = "-"
		}
	}
	groups := map[string]bool{}
	for name := range gone {
		groups[name] = true
	}
	for name := range changed {
		groups[groupOf(name, new[name])] = true
	}
	for name, id := range new {
		if changed[name] || id.Type() == Regular && groups[groupOf(name, id)] {
			out[name] = textOf(id)
		}
	}
	for _, name := range sorted(out) {
		for dir, id := range new {
			if below(name, dir) {
				out[dir] = textOf(id)
			}
		}
	}
	for _, name := range sorted(out) {
		layer = append(layer, name+" "+out[name])
	}
	return layer, true
}

// groupOf is the name that stands for a name's hard-link group.
func groupOf(name string, id ID) string {
	if id.Link != nil {
		return string(id.Link)
	}
	return name
}

// A state is what a file system shows: for each name its ID without link, and which inode it is.
type state map[string]shown

type shown struct {
	id    string
	inode string
}

// stateOf is the file system that a list means.
func stateOf(lines []string) state {
	s, all := state{}, parsed(lines)
	for name, id := range all {
		inode := groupOf(name, id)
		if target, is := all[inode]; !is || target.Type() != Regular {
			inode = name // a link to what is not in the list is a copy
		}
		id.Link = nil
		s[name] = shown{textOf(id), inode}
	}
	return s
}

// apply puts a layer over the state as engines do.
func (s state) apply(layer []string) (state, error) {
	next := state{}
	maps.Copy(next, s)
	add := stateOf(layer)
	for _, line := range layer {
		name, id := cutLine(line)
		for upper := range s {
			if below(upper, name) && (id == "-" || !strings.HasPrefix(id, "004")) {
				delete(next, upper)
			}
		}
		delete(next, name)
		if id == "-" {
			if _, below := s[name]; !below {
				return nil, fmt.Errorf("deletes %q, which is not there", name)
			}
		}
	}
	for name, v := range add {
		next[name] = shown{v.id, "layer:" + v.inode}
	}
	for _, line := range layer { // what is not in the layer is a new directory, mode 0755
		name, _ := cutLine(line)
		for dir := range s {
			if _, in := add[dir]; below(name, dir) && !in {
				if _, is := next[dir]; is {
					next[dir] = shown{"reset by the engine", dir}
				}
			}
		}
	}
	return next, nil
}

// show writes a state so that equal states are equal text, whatever inodes are called.
func (s state) show() string {
	var b strings.Builder
	first := map[string]string{}
	for _, name := range sorted(s) {
		v := s[name]
		if first[v.inode] == "" {
			first[v.inode] = name
		}
		fmt.Fprintf(&b, "%q %s = %q\n", name, v.id, first[v.inode])
	}
	return b.String()
}
