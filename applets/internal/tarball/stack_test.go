package tarball

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/ctbox/ctbox/applets/internal/archive"
	"github.com/ctbox/ctbox/applets/internal/list"
)

// A model is a tree as names and the layer that each is of; the type is the last byte.
type model map[string]string

func (m model) remove(name string, self bool) {
	maps.DeleteFunc(m, func(n, _ string) bool { return self && n == name || strings.HasPrefix(n, name+"/") })
}

// apply unpacks a layer in the way of engines: what it deletes goes first, of what is below it.
func (m model) apply(layer int, entries []TarEntry) {
	for _, e := range entries {
		name := "./" + strings.TrimSuffix(string(e.Name), "/")
		dir, base := name[:strings.LastIndexByte(name, '/')], name[strings.LastIndexByte(name, '/')+1:]
		switch deleted, ok := strings.CutPrefix(base, WhiteoutPrefix); {
		case base == OpaqueName:
			m.remove(dir, false)
		case ok:
			m.remove(dir+"/"+deleted, true)
		}
	}
	for _, e := range entries {
		name := "./" + strings.TrimSuffix(string(e.Name), "/")
		if strings.Contains(name, WhiteoutPrefix) && !strings.HasSuffix(name, OpaqueName) {
			continue
		}
		if strings.HasSuffix(name, OpaqueName) {
			m.imply(strings.TrimSuffix(name, "/"+OpaqueName))
			continue
		}
		m.imply(name[:strings.LastIndexByte(name, '/')])
		if e.Kind != Directory || !strings.HasSuffix(m[name], "5") {
			m.remove(name, true)
		}
		m[name] = fmt.Sprint(layer, " ", string(e.Kind))
	}
}

// imply makes a directory, if there is none, and those above it.
func (m model) imply(dir string) {
	if dir == "." || strings.HasSuffix(m[dir], "5") {
		return
	}
	m.imply(dir[:strings.LastIndexByte(dir, '/')])
	m.remove(dir, true)
	m[dir] = "implied 5"
}

type TarEntry = archive.TarEntry

// randomLayer has each name once, in any order, and nothing below what is no directory.
func randomLayer(r *rand.Rand) (entries []TarEntry) {
	kinds := map[string]byte{}
	for range r.IntN(8) {
		name := ""
		for depth := r.IntN(3); depth >= 0; depth-- {
			name += string("ab-"[r.IntN(3)]) + "/"
		}
		name = name[:len(name)-1]
		kind := []byte{Directory, Directory, Regular, whiteout, opaque}[r.IntN(5)]
		conflict := kinds[name] != 0 && kinds[name] != whiteout
		for other, k := range kinds {
			conflict = conflict || k == Regular && strings.HasPrefix(name, other+"/") || kind != Directory && strings.HasPrefix(other, name+"/")
		}
		if conflict {
			continue
		}
		kinds[name] = kind
		e := TarEntry{Name: []byte(name), Kind: kind, Mode: 0o755}
		at := strings.LastIndexByte(name, '/') + 1
		switch kind {
		case Directory:
			e.Name = append(e.Name, '/')
		case whiteout:
			e.Name, e.Kind = []byte(name[:at]+WhiteoutPrefix+name[at:]), Regular
		case opaque:
			kinds[name] = Directory
			e.Name, e.Kind = []byte(name+"/"+OpaqueName), Regular
		}
		entries = append(entries, e)
	}
	return entries
}

func tarOf(t testing.TB, entries []TarEntry) io.Reader {
	t.Helper()
	var b bytes.Buffer
	w := archive.NewTarWriter(&b)
	for _, e := range entries {
		must(t, w.Header(&e))
	}
	must(t, w.Close())
	return &b
}

// Layers without unpacking are what they are when they are unpacked one over another.
func TestStackIsAsUnpacked(t *testing.T) {
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 1))
		want := model{}
		var layers []Layer
		var told []string
		for i := range 1 + r.IntN(4) {
			entries := randomLayer(r)
			want.apply(i, entries)
			layers = append(layers, Layer{Reader: tarOf(t, entries)})
			for _, e := range entries {
				told = append(told, fmt.Sprint(i, " ", string(e.Kind), " ", string(e.Name)))
			}
		}
		s, err := NewStack(layers)
		must(t, err)
		got := model{}
		must(t, s.Walk(func(name []byte) error {
			st, err := s.Stat(name)
			must(t, err)
			kind := "5"
			if st.Type() != list.Directory {
				kind = "0"
			}
			got[string(name)] = fmt.Sprint(st.Dev, " ", kind)
			if st.Ino == 0 {
				got[string(name)] = "implied " + kind
			}
			return nil
		}))
		delete(got, ".")
		if !maps.Equal(got, want) {
			t.Fatalf("seed %d: %q\ngot  %v\nwant %v", seed, told, sorted(got), sorted(want))
		}
		must(t, s.Close())
	}
}

func sorted(m model) (all []string) {
	for name, what := range m {
		all = append(all, name+": "+what)
	}
	slices.Sort(all)
	return all
}
