package list

import (
	"bytes"
	"math/rand/v2"
	"path"
	"strings"
	"testing"
)

func TestCheckName(t *testing.T) {
	long := strings.Repeat("x", 255)
	good := []string{".", "./a", "./.a", "./..a", "./...", "./a/b", "./a b", "./ ", "./\n", "./\xff\xfe", "./-", "./a\\b", "./" + long,
		"./" + strings.Repeat(long+"/", 255) + long[:254], "./" + strings.Repeat("d/", 5000) + "f"}
	for _, name := range good {
		if err := CheckName([]byte(name)); err != nil {
			t.Errorf("%q: %v", Quote(name), err)
		}
	}
	bad := []string{"", "..", "/", "./", "a", "a/b", "/a", "./a/", ".//a", "./a//b", "./.", "./..", "./a/.", "./a/..", "./../a", "./a/../b",
		"./a/./b", "../a", ".a", "./\x00", "./a\x00b", "\ufeff./a", " ./a", "./" + long + "x", "./a/" + long + "x/b",
		"./" + strings.Repeat(long+"/", 257) + "x"}
	for _, name := range bad {
		if err := CheckName([]byte(name)); err == nil {
			t.Errorf("%q: accepted", Quote(name))
		}
	}
}

func TestCanonical(t *testing.T) {
	for in, want := range map[string]string{
		".": ".", "a": "./a", "./a": "./a", ".a": "./.a", "..a": "./..a", "a/b": "./a/b", " ": "./ ", "-": "./-", "a\n": "./a\n",
	} {
		got, err := Canonical([]byte("left over"), []byte(in))
		if err != nil || string(got) != want {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"", "/", "/a", "..", "a/", "a//b", "./", ".//a", "././a", "./a/", "a/..", "a/./b", "../a", "a\x00"} {
		if got, err := Canonical(nil, []byte(in)); err == nil {
			t.Errorf("%q: accepted as %q", in, got)
		}
	}
}

func TestParentBelow(t *testing.T) {
	if Parent([]byte(".")) != nil || string(Parent([]byte("./a"))) != "." || string(Parent([]byte("./a b/c"))) != "./a b" {
		t.Error("wrong parent")
	}
	for _, c := range []struct {
		name, dir string
		want      bool
	}{
		{"./a/b", "./a", true}, {"./a/b/c", "./a", true}, {"./a", ".", true}, {"./a", "./a", false}, {"./a-b", "./a", false},
		{"./a", "./a/b", false}, {"./b/a", "./a", false}, {".", ".", false},
	} {
		if Below([]byte(c.name), []byte(c.dir)) != c.want {
			t.Errorf("Below(%s, %s) is not %v", c.name, c.dir, c.want)
		}
	}
}

func TestIsWhiteout(t *testing.T) {
	for name, want := range map[string]bool{
		"./.wh.a": true, "./a/.wh..wh..opq": true, "./.wh.": true, "./.wh.a/b": true,
		"./a.wh.b": false, "./.wh": false, "./.whx.": false, ".": false,
	} {
		if IsWhiteout([]byte(name)) != want {
			t.Errorf("%s: not %v", name, want)
		}
	}
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{
		"./a": "./a", "./é": "./é", "": `""`, "./a b": `"./a b"`, "./a\n": `"./a\n"`, "./\x1b[2J": `"./\x1b[2J"`, "./\xff": `"./\xff"`,
		"./a:1": `"./a:1"`, `./"`: `"./\""`, `./\`: `"./\\"`, "./\u202e": `"./\u202e"`,
	} {
		if got := Quote(in); got != want {
			t.Errorf("%q: %s; want %s", in, got, want)
		}
	}
	if n := len(Quote(make([]byte, 1<<20))); n > 4*4096+10 {
		t.Errorf("a message of %d bytes", n)
	}
}

// TestOrder: list order is not depth first, and what makes it so are the bytes below the slash.
func TestOrder(t *testing.T) {
	names := [][]byte{[]byte("./a"), []byte("./a-b"), []byte("./a.c"), []byte("./a/x"), []byte("./a0")}
	for i := 1; i < len(names); i++ {
		if bytes.Compare(names[i-1], names[i]) >= 0 {
			t.Errorf("%s is not before %s", names[i-1], names[i])
		}
	}
}

// TestAbove compares the stack of a Tree with a set of all names so far.
func TestAbove(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		var tree Tree
		seen := map[string]bool{}
		for _, name := range randomNames(rng, 40) {
			tree.Advance([]byte(name), nil)
			want := ""
			for dir := path.Dir(name); ; dir = path.Dir(dir) {
				dir := dir
				if dir != "." {
					dir = "./" + dir
				}
				if seen[dir] {
					want = dir
					break
				}
				if dir == "." {
					break
				}
			}
			got := ""
			if n := tree.Above(); n != nil {
				got = string(tree.last[:n.length])
			}
			if got != want {
				t.Fatalf("above %q is %q, not %q", name, got, want)
			}
			for _, n := range tree.stack {
				if !strings.HasPrefix(name, string(tree.last[:n.length])) {
					t.Fatalf("%q is on the stack at %q", tree.last[:n.length], name)
				}
			}
			tree.Push(Node{Type: Directory})
			seen[name] = true
		}
	}
}

func TestTreeAdd(t *testing.T) {
	dir, file, gone := ID{Mode: Directory | 0o755}, ID{Mode: Regular | 0o644}, ID{Deleted: true}
	type step struct {
		name   string
		id     ID
		orphan bool
		bad    bool
	}
	for _, steps := range [][]step{
		{{".", dir, false, false}, {"./a", dir, false, false}, {"./a-b", file, false, false}, {"./a/x", file, false, false}},
		{{"./a", file, false, false}, {"./b/c", file, true, false}, {"./b/c-d", file, true, false}},
		{{"./a", dir, false, false}, {"./a/b/c", file, true, false}},
		{{"./a", file, false, false}, {"./a-b", file, false, false}, {"./a/x", file, false, true}},
		{{"./a", gone, false, false}, {"./a.b", file, false, false}, {"./a/x/y", file, false, true}},
		{{"./a", gone, false, false}, {"./a/x", gone, false, true}},
		{{".", file, false, false}, {"./a", file, false, true}},
	} {
		var tree Tree
		for _, s := range steps {
			orphan, err := tree.Add(&Record{Name: []byte(s.name), ID: s.id})
			if orphan != s.orphan || (err != nil) != s.bad {
				t.Errorf("%v: %s: orphan %v, %v", steps, s.name, orphan, err)
			}
		}
	}
}

func TestNameSet(t *testing.T) {
	set := newNameSet(26)
	rng := rand.New(rand.NewPCG(3, 4))
	name := func() []byte {
		b := make([]byte, 2+rng.IntN(30))
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return append(b, byte(len(b)), 0, 1, 2, 3, 4)
	}
	var in [][]byte
	for range 100_000 {
		n := name()
		set.add(n)
		in = append(in, n)
	}
	for _, n := range in {
		if !set.has(n) {
			t.Fatalf("%q is lost", n)
		}
	}
	wrong := 0
	for range 100_000 {
		if set.has(append(name(), 'x')) {
			wrong++
		}
	}
	if wrong > 1 { // about 0.0001 are to be expected
		t.Errorf("%d of 100,000 are taken for members", wrong)
	}
	if h := hash([]byte("./usr/bin/perl")); h != 0xd4a45e0154ad7927 {
		t.Errorf("hash is %#x: it must be the same on every machine", h)
	}
}
