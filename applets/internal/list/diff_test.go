package list

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func randomNames(rng *rand.Rand, n int) []string {
	t := randomTree(func(int) int { return 0 })
	for range n {
		t.add(randomly(rng))
	}
	return t.names()
}

// input is lines as an Input, each ended by NUL.
func input(t testing.TB, lines []string) *Input {
	in, err := Open("-", strings.NewReader(join(lines)), true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close() })
	return in
}

func join(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return strings.Join(lines, "\x00") + "\x00"
}

func split(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(text, "\x00"), "\x00")
}

// layer runs Diff.Layer and checks that nothing is left over in it.
func layer(t testing.TB, base, new []string) ([]string, error) {
	var out bytes.Buffer
	d := Diff{Base: input(t, base), New: input(t, new), Out: &out, Null: true, Warn: func(string, ...any) {}}
	differ, err := d.Layer()
	if err == nil && differ != (out.Len() > 0) {
		t.Errorf("differ is %v and the layer has %d bytes", differ, out.Len())
	}
	if err == nil && (d.undecided != 0 || d.held.Size() != 0 || len(d.tree.stack) != 0) {
		t.Errorf("left over: %d undecided, %d bytes held, %d names", d.undecided, d.held.Size(), len(d.tree.stack))
	}
	return split(out.String()), err
}

// checkDiff holds a layer against the definition, and its effect against New.
func checkDiff(t testing.TB, base, new []string) {
	got, err := layer(t, base, new)
	want, ok := reference(base, new)
	if !ok {
		if err == nil {
			t.Fatalf("no error\nbase:\n%q\nnew:\n%q\ngot:\n%q", base, new, got)
		}
		return
	}
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("%v\nbase:\n%q\nnew:\n%q\ngot:\n%q\nwant:\n%q", err, base, new, got, want)
	}
	if err := layerRules(got); err != nil {
		t.Fatalf("%v\nbase:\n%q\nnew:\n%q\ngot:\n%q", err, base, new, got)
	}
	applied, err := stateOf(base).apply(got)
	if err != nil {
		t.Fatalf("%v\nbase:\n%q\nnew:\n%q\ngot:\n%q", err, base, new, got)
	}
	target := stateOf(new)
	if root, is := stateOf(base)["."]; is && target["."] == (shown{}) {
		target["."] = root // the root is never deleted
		if kept, is := applied["."]; is {
			target["."] = kept // and without its line in New, no matter how it is reset
		}
	}
	if applied.show() != target.show() {
		t.Fatalf("base:\n%q\nnew:\n%q\nlayer:\n%q\nbecomes:\n%s\nnot:\n%s", base, new, got, applied.show(), target.show())
	}
}

// layerRules are those that can be seen in the layer alone (research on engines: what breaks them fails to load).
func layerRules(lines []string) error {
	names := map[string]string{}
	previous := ""
	for _, line := range lines {
		name, id := cutLine(line)
		if name <= previous {
			return fmt.Errorf("%q is not after %q", name, previous)
		}
		for above, id := range names {
			if below(name, above) && !strings.HasPrefix(id, "004") {
				return fmt.Errorf("%q is below %q, which is %s", name, above, id)
			}
		}
		names[name], previous = id, name
	}
	return nil
}

func TestDiffRandom(t *testing.T) {
	rounds := 2000
	if testing.Short() {
		rounds = 300
	}
	rng := rand.New(rand.NewPCG(5, 6))
	for i := range rounds {
		pick := randomly(rng)
		base := randomTree(pick)
		new := base.mutated(pick)
		if i%4 == 0 {
			new = randomTree(pick)
		}
		checkDiff(t, base.lines(), new.lines())
		if i%2 == 0 {
			checkDiff(t, edited(base.lines(), pick), edited(new.lines(), pick))
		}
	}
}

func FuzzDiff(f *testing.F) {
	rng := rand.New(rand.NewPCG(7, 8))
	for range 20 {
		seed := make([]byte, 200)
		for i := range seed {
			seed[i] = byte(rng.Uint32())
		}
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		pick := fromBytes(data)
		base := randomTree(pick)
		new := base.mutated(pick)
		checkDiff(t, base.lines(), new.lines())
		checkDiff(t, edited(base.lines(), pick), edited(new.lines(), pick))
	})
}

// shorthand expands "NAME KIND" lines: d is a directory, f and g are files, l is a symbolic link, =NAME a hard link to
// an f; D, F and L have other metadata.
func shorthand(text string) []string {
	file := "-0-0-" + digestA
	ids := map[string]string{
		"d": "0040755-0-0-0", "D": "0040700-7-7-0", "f": "0100644" + file, "F": "0100600" + file, "g": "0100644-0-0-" + digestB,
		"l": "0120777" + file, "p": "0010644-0-0-0", "-": "-",
	}
	var lines []string
	for line := range strings.Lines(text) {
		name, kind := cutLine(strings.TrimSpace(line))
		id := ids[kind]
		if target, ok := strings.CutPrefix(kind, "="); ok {
			id = ids["f"] + "-link=" + target
		}
		lines = append(lines, name+" "+id)
	}
	return lines
}

func TestLayer(t *testing.T) {
	for _, c := range []struct{ what, base, new, want string }{
		{"both empty", "", "", ""},
		{"empty base", "", ". d\n./a f", ". d\n./a f"},
		{"empty new", ". d\n./a d\n./a/b f\n./c f", "", "./a -\n./c -"},
		{"equal", ". d\n./a d\n./a/b f", ". d\n./a d\n./a/b f", ""},
		{"only the topmost deletion", ". d\n./a d\n./a-b f\n./a/b d\n./a/b/c f", ". d\n./a-b f", ". d\n./a -"},
		{"topmost also when siblings come between", "./a d\n./a-b f\n./a/b f", "./a-b f", "./a -"},
		{"the directory lives on", ". d\n./a d\n./a/b f\n./a/c f\n./a/d f", ". d\n./a d\n./a/c f", ". d\n./a d\n./a/b -\n./a/d -"},
		{"directory becomes file", ". d\n./a d\n./a-b f\n./a/x f", ". d\n./a f\n./a-b f", ". d\n./a f"},
		{"directory becomes link", "./a d\n./a/x d\n./a/x/y f", "./a l", "./a l"},
		{"file becomes directory", "./a f\n./a-b f", "./a d\n./a-b f\n./a/x f", "./a d\n./a/x f"},
		{"link becomes directory", "./a l", "./a d\n./a/x f", "./a d\n./a/x f"},
		{"only metadata", "./a f\n./d d", "./a F\n./d D", "./a F\n./d D"},
		{"metadata of a directory alone", ". d\n./d d\n./d/a f", ". d\n./d D\n./d/a f", ". d\n./d D"},
		{"ancestors of a change, not its siblings", ". d\n./a d\n./a/b d\n./a/b/c f\n./a/z d\n./x d",
			". d\n./a d\n./a/b d\n./a/b/c F\n./a/z d\n./x d", ". d\n./a d\n./a/b d\n./a/b/c F"},
		{"ancestor far before its descendant", "./p d\n./p-q f\n./p.x f\n./p/x f", "./p d\n./p-q F\n./p.x f\n./p/x F", "./p d\n./p-q F\n./p/x F"},
		{"undecided to the end", "./p d\n./p-q f\n./p.x f", "./p d\n./p-q F\n./p.x F", "./p-q F\n./p.x F"},
		{"nested undecided", "./p d\n./p-q d\n./p-q-r d\n./p-q/x f\n./p/x f", "./p d\n./p-q d\n./p-q-r d\n./p-q/x F\n./p/x f", "./p-q d\n./p-q/x F"},
		{"decided in the wrong order", "./p d\n./p-q d\n./p-q/x f\n./p/x f", "./p d\n./p-q d\n./p-q/x F\n./p/x F", "./p d\n./p-q d\n./p-q/x F\n./p/x F"},
		{"without lines of directories", "./a/b f\n./a/c f\n./b/x f", "./a/c F", "./a/b -\n./a/c F\n./b/x -"},
		{"root only in base", ". d\n./a f", "./a f", ""},
		{"root only in new", "./a f", ". d\n./a f", ". d"},
		{"root changes", ". d\n./a f", ". D\n./a f", ". D"},
		{"base has deletions", "./a -\n./b f", "./a f\n./b f", "./a f"},
		{"new has deletions", "./a f\n./b f\n./c f", "./a -\n./c f\n./d -", "./a -\n./b -"},
		{"both have deletions", "./a -\n./b d\n./b/x -", "./a -\n./b d\n./b/x -", ""},

		{"group untouched", "./a f\n./b =./a", "./a f\n./b =./a", ""},
		{"group gains a name", "./a f\n./b =./a\n./x f", "./a f\n./b =./a\n./c =./a\n./x f", "./a f\n./b =./a\n./c =./a"},
		{"group gains a first name", "./b f\n./c =./b", "./a f\n./b =./a\n./c =./a", "./a f\n./b =./a\n./c =./a"},
		{"group loses its last name", "./a f\n./b =./a\n./c =./a", "./a f\n./b =./a", "./c -"},
		{"group loses its first name", "./a f\n./b =./a\n./c =./a", "./b f\n./c =./b", "./a -\n./b f\n./c =./b"},
		{"group loses a name to a copy", "./a f\n./b =./a\n./c =./a", "./a f\n./b f\n./c =./a", "./b f"},
		{"group in a directory that lives on", ". d\n./d d\n./d/a f\n./x f", ". d\n./d d\n./d/a f\n./x =./d/a", ". d\n./d d\n./d/a f\n./x =./d/a"},
		{"first name is nowhere", "./b =./a\n./c =./a", "./b =./a\n./c =./a", ""},
		{"first name is nowhere, one is added", "./b =./a", "./b =./a\n./c =./a", "./b =./a\n./c =./a"},
		{"first name is added", "./b =./a", "./a f\n./b =./a", "./a f\n./b =./a"},
		{"first name is removed from the list", "./a f\n./b =./a\n./c =./a", "./b =./a\n./c =./a", "./a -\n./b =./a\n./c =./a"},
		{"link to a later name", "", "./a =./b\n./b f", "./a =./b\n./b f"},
		{"link to a name with a space", "./a b f\n./c f", "./a b f\n./c =./a%20b", "./a b f\n./c =./a%20b"},
	} {
		got, err := layer(t, shorthand(c.base), shorthand(c.new))
		if want := shorthand(c.want); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v\n%q\nwant:\n%q", c.what, err, got, want)
		}
		checkDiff(t, shorthand(c.base), shorthand(c.new))
	}
}

func TestLayerErrors(t *testing.T) {
	for _, c := range []struct{ base, new, want string }{
		{"", "./a f\n./a-b f\n./a/x f", `<stdin>:3: ./a/x: lies below a name that is not a directory: ./a`},
		{"./a l\n./a/x f", "./a l\n./a/x f", `<stdin>:2: ./a/x: lies below a name that is not a directory: ./a`},
		{"./a d\n./a/x f", "./a/x f", `<stdin>:1: ./a/x: ./a, above it, is in the base list and missing here`},
		{"./a d", "./a -\n./a/x f", `<stdin>:2: ./a/x: ./a, above it, is in the base list and missing here`},
		{"", "./a/.wh.b f", `<stdin>:1: ./a/.wh.b: names that begin ".wh." are reserved for deletions in layers`},
		{"./.wh.b -", "", `<stdin>:1: ./.wh.b: names that begin ".wh." are reserved for deletions in layers`},
		{"./b f\n./a f", "./c f", `<stdin>:2: ./a: not in order after ./b: names are sorted with LC_ALL=C sort`},
		{"./b f\n./b f", "./b f", `<stdin>:2: ./b: duplicate name`},
		{"./b f", "./b f\n./b f", `<stdin>:2: ./b: duplicate name`},
		{"./c f\n./b f", "./b f", `<stdin>:2: ./b: not in order after ./c: names are sorted with LC_ALL=C sort`},
		{"./a f\n./c f\n./b f", "./a f\n./b f", `<stdin>:3: ./b: not in order after ./c: names are sorted with LC_ALL=C sort`},
	} {
		_, err := layer(t, shorthand(c.base), shorthand(c.new))
		if err == nil || err.Error() != c.want {
			t.Errorf("%q and %q:\n%v\nwant:\n%s", c.base, c.new, err, c.want)
		}
	}
	long := "./" + strings.Repeat("x", MaxRecord) + " -"
	for _, c := range []struct{ base, new, want string }{ // both lists are told
		{"./a", "./b", "<stdin>:1: ./a: no ID\n<stdin>:1: ./b: no ID"},
		{"./a", "./a", "<stdin>:1: ./a: no ID\n<stdin>:1: ./a: no ID"},
		{long, long, "<stdin>:1: record is too long\n<stdin>:1: record is too long"},
		{"./a -\x00" + long, "./a -\x00" + long, "<stdin>:2: record is too long\n<stdin>:2: record is too long"},
		{"./b -\x00./a -", "./b -\x00./a -", strings.Repeat("\n<stdin>:2: ./a: not in order after ./b: names are sorted with LC_ALL=C sort", 2)[1:]},
		{"./.wh.b -", "./.wh.b -", strings.Repeat("\n<stdin>:1: ./.wh.b: names that begin \".wh.\" are reserved for deletions in layers", 2)[1:]},
	} {
		_, err := layer(t, split(c.base), split(c.new))
		if err == nil || err.Error() != c.want {
			t.Errorf("%q and %q:\n%v\nwant:\n%s", c.base, c.new, err, c.want)
		}
	}
}

func TestLayerWarns(t *testing.T) {
	for _, c := range []struct {
		base, new string
		want      []string
	}{
		{"./bin l", "./bin d\n./bin/a f", []string{"./bin: a directory replaces a symbolic link, which hides all that lies behind the link"}},
		{"./bin d", "./bin l", nil},
		{"./bin l", "./bin f", nil},
		{"", "./bin d", nil},
	} {
		var got []string
		d := Diff{Base: input(t, shorthand(c.base)), New: input(t, shorthand(c.new)), Out: io.Discard, Null: true}
		d.Warn = func(format string, args ...any) { got = append(got, fmt.Sprintf(format, args...)) }
		if _, err := d.Layer(); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %v %q", c.base, err, got)
		}
	}
}

// TestWriteErrors: an error of the output, at any byte, is the error of the diff.
func TestWriteErrors(t *testing.T) {
	base, new := shorthand("./p d\n./p-q f\n./p/x f\n./z f"), shorthand("./p d\n./p-q F\n./p/x F\n./z F")
	full := errors.New("full")
	want, _ := layer(t, base, new)
	for room := range len(join(want)) {
		d := Diff{Base: input(t, base), New: input(t, new), Out: &limited{room, full}, Null: true}
		if _, err := d.Layer(); !errors.Is(err, full) {
			t.Errorf("room for %d bytes: %v", room, err)
		}
		d = Diff{Base: input(t, base), New: input(t, new), Out: &limited{min(room, 10), full}, Null: true}
		if _, err := d.Added(); !errors.Is(err, full) {
			t.Errorf("added: room for %d bytes: %v", room, err)
		}
	}
}

type limited struct {
	room int
	err  error
}

func (l *limited) Write(p []byte) (int, error) {
	n := min(l.room, len(p))
	l.room -= n
	if n < len(p) {
		return n, l.err
	}
	return n, nil
}

// TestAdded holds Added against comm(1), for lists whose order of names is also that of their lines.
func TestAdded(t *testing.T) {
	skip := t.Skip
	if os.Getenv("CI") == "true" {
		skip = t.Fatal
	}
	comm, err := exec.LookPath("comm")
	if err != nil {
		skip("no comm")
	}
	rng := rand.New(rand.NewPCG(9, 10))
	dir := t.TempDir()
	for i := range 200 {
		pick := randomly(rng)
		base := randomTree(pick)
		new := base.mutated(pick).lines()
		old := base.lines()
		if i%2 == 0 {
			old, new = edited(old, pick), edited(new, pick)
		}
		old, new = commonOrder(old), commonOrder(new)
		for name, lines := range map[string][]string{"base": old, "new": new} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(join(lines)), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command(comm, "-z", "-1", "-3", "base", "new")
		cmd.Dir, cmd.Env = dir, []string{"LC_ALL=C"}
		want, err := cmd.Output()
		if err != nil {
			skip("comm -z: ", err)
		}
		var got bytes.Buffer
		d := Diff{Base: input(t, old), New: input(t, new), Out: &got, Null: true}
		differ, err := d.Added()
		if err != nil || differ != (len(want) > 0) || got.String() != string(want) {
			t.Fatalf("%v\n%q\n%q\ngot:\n%q\nwant:\n%q", err, old, new, got.String(), want)
		}
	}
}

// commonOrder leaves out the records that stand elsewhere when whole lines are sorted.
func commonOrder(lines []string) []string {
	var all []string
	for _, line := range lines {
		if len(all) == 0 || line > all[len(all)-1] {
			all = append(all, line)
		}
	}
	return all
}

// A generated list of n records: few bytes to make, as much work to read as real ones.
func generated(n int, line func(i int) string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(line(i))
		b.WriteByte('\n')
	}
	return b.String()
}

func fileLine(i int) string {
	return fmt.Sprintf("./usr/lib/dir-%06d/file-%d.so %s", i/10, i%10, fileID)
}

func changedLine(i int) string {
	if i%20 == 7 {
		return strings.Replace(fileLine(i), "0100644", "0100755", 1)
	}
	return fileLine(i)
}

// TestMemory: what a diff allocates does not depend on the length of the lists, whatever they are.
func TestMemory(t *testing.T) {
	changes := func(i int) string { return strings.Replace(fileLine(i), "0100644", "0100755", 1) }
	under := func(line func(int) string) func(int) string { // ./p is undecided until the end
		return func(i int) string {
			if i == 0 {
				return "./p 0040755-0-0-0"
			}
			return strings.Replace(line(i), "./usr", "./p-q", 1)
		}
	}
	dirs := func(i int) string { return fmt.Sprintf("./d%06d 0040755-0-0-0", i) }
	links := func(i int) string {
		return strings.Replace(fileLine(i), fileID, fmt.Sprintf("%s-link=./a%d", fileID, i), 1)
	}
	none := func(int) string { return "./a 0040755-0-0-0" }
	for what, c := range map[string]struct{ base, new func(int) string }{
		"a few changes":            {fileLine, changedLine},
		"all changed":              {fileLine, changes},
		"unchanged directories":    {dirs, dirs},
		"changes behind undecided": {under(fileLine), under(changes)},
		"all links changed":        {fileLine, links},
		"all deleted":              {under(fileLine), none},
	} {
		cost := func(n int) uint64 {
			base, new := generated(n, c.base), generated(n, c.new)
			if n > 1 && c.new(0) == c.new(1) {
				new = generated(1, c.new)
			}
			d := Diff{Base: kept(base), New: kept(new), Out: io.Discard}
			defer d.held.Close()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			if _, err := d.Layer(); err != nil {
				t.Fatal(what, err)
			}
			runtime.ReadMemStats(&after)
			return after.TotalAlloc - before.TotalAlloc
		}
		if small, large := cost(50_000), cost(150_000); large > small+200_000 {
			t.Errorf("%s: %d bytes for 50,000 records, %d for 150,000", what, small, large)
		}
	}
}

// TestHeldBriefly: records are held back only while they must be. There is no place for more than memory takes.
func TestHeldBriefly(t *testing.T) {
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "none"))
	const n = 60_000
	one := func(pattern, id string) func(i int) string {
		return func(i int) string { return fmt.Sprintf(pattern, i) + id }
	}
	const dir, was, is = " 0040755-0-0-0", " 0010600-0-0-0", " 0010666-0-0-0"
	for what, c := range map[string]struct{ before, pattern string }{
		"directories that are undecided one after the other": {"", "./%06[1]d 0040755-0-0-0\n./%06[1]d-x"},
		"a directory whose descendants are past":             {"./p" + dir + "\n", "./p0%06d"},
		"a change, and then none":                            {"./p" + dir + "\n./p-x" + is + "\n./q" + dir + "\n", ""},
	} {
		base, new := c.before, c.before
		if c.pattern != "" {
			base, new = base+generated(n, one(c.pattern, was)), new+generated(n, one(c.pattern, is))
		} else {
			base = strings.Replace(base, is, was, 1) + generated(n, one("./q-%06d", dir))
			new += generated(n, one("./q-%06d", dir))
		}
		d := Diff{Base: kept(base), New: kept(new), Out: io.Discard}
		if _, err := d.Layer(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// kept is a list in memory, at no cost to what is measured.
func kept(text string) *Input {
	return &Input{name: "list", at: strings.NewReader(text), size: int64(len(text)), close: func() error { return nil }}
}

func BenchmarkScan(b *testing.B) {
	const n = 100_000
	text := generated(n, fileLine)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		s := NewScanner("list", strings.NewReader(text), false)
		for {
			if _, err := s.Next(); err == io.EOF {
				break
			} else if err != nil {
				b.Fatal(err)
			}
		}
	}
}

func benchmarkDiff(b *testing.B, run func(*Diff) (bool, error)) {
	const n = 100_000
	base, new := generated(n, fileLine), generated(n, changedLine)
	b.SetBytes(int64(len(base) + len(new)))
	b.ReportAllocs()
	for b.Loop() {
		d := Diff{Base: kept(base), New: kept(new), Out: io.Discard}
		if _, err := run(&d); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLayer(b *testing.B) { benchmarkDiff(b, (*Diff).Layer) }
func BenchmarkAdded(b *testing.B) { benchmarkDiff(b, (*Diff).Added) }
