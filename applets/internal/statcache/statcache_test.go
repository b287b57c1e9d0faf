package statcache

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// cacheOf is a cache of entries.
func cacheOf(t testing.TB, entries ...Entry) []byte {
	t.Helper()
	var out bytes.Buffer
	w := writer{out: &out}
	must(t, w.begin())
	for i := range entries {
		must(t, w.add(&entries[i]))
	}
	must(t, w.close())
	return out.Bytes()
}

// read reads a cache as far as it is good.
func read(cache []byte) (entries []Entry, err error) {
	s := Scan(bytes.NewReader(cache), int64(len(cache)))
	for {
		e, err := s.Next()
		if err != nil {
			return entries, err
		}
		entry := *e
		entry.Name = bytes.Clone(e.Name)
		if e.Names != nil {
			entry.Names = append([]byte{}, e.Names...)
		}
		entries = append(entries, entry)
	}
}

// some are entries of all kinds, as many as fill several blocks.
func some() (entries []Entry) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 2500 {
		e := Entry{Name: fmt.Appendf(nil, "./%04d/%s", i/7, strings.Repeat("n", i%7))}
		e.Stamp = Stamp{r.Uint64(), r.Uint64(), r.Int64(), -r.Int64(), r.Int64(), r.Uint32(), r.Uint32()}
		if e.HasDigest = i%3 > 0; e.HasDigest {
			e.Digest = sha256.Sum256(e.Name)
		}
		if e.HasAttr = i%5 == 0; e.HasAttr {
			e.Attr = sha256.Sum256(e.Name[1:])
		}
		if e.Name[len(e.Name)-1] == '/' {
			e.Names = slices.Repeat([]byte("a\x00a-\x00a/\x00"), i%2)
			if i == 700 {
				e.Names = longNames()
			}
		}
		entries = append(entries, e)
	}
	return entries
}

// longNames are as many as an entry can hold.
func longNames() (names []byte) {
	for i := range MaxNames / 8 {
		names = fmt.Appendf(names, "%07d\x00", i)
	}
	return names
}

func TestRoundTrip(t *testing.T) {
	long := bytes.Repeat([]byte("./long"), maxName/6)
	for name, want := range map[string][]Entry{
		"empty": nil, "one": {{Name: []byte(".")}}, "some": some(),
		"long": {{Name: long}, {Name: append(long, "x"...), Names: longNames()}},
	} {
		cache := cacheOf(t, want...)
		got, err := read(cache)
		if err != io.EOF || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %d entries of %d, %v", name, len(got), len(want), err)
		}
	}
}

// TestSmall holds what a large tree costs: 10,000,000 files are to need less than a gigabyte.
func TestSmall(t *testing.T) {
	var entries []Entry
	for i := range 10000 {
		entries = append(entries, Entry{
			Name: fmt.Appendf(nil, "./usr/share/doc/d%03d/f%02d", i/100, i%100), Known: Known{HasDigest: true},
		})
	}
	if size := len(cacheOf(t, entries...)); size > 95*len(entries) {
		t.Errorf("%d bytes for %d files", size, len(entries))
	}
}

// TestDamage changes bytes of a cache, cuts it there, and adds to it: what is still read is what was written, and the
// rest is an error. It does so at each byte of a small cache, and here and there in one of several blocks.
func TestDamage(t *testing.T) {
	damage(t, some()[:30], 1)
	damage(t, some(), 1009)
	damage(t, nil, 1)
}

func damage(t *testing.T, want []Entry, step int) {
	t.Helper()
	cache := cacheOf(t, want...)
	check := func(what string, at int, bad []byte) {
		t.Helper()
		got, err := read(bad)
		if err == nil || err == io.EOF || len(got) > len(want) {
			t.Fatalf("%s at %d: %d entries, %v", what, at, len(got), err)
		}
		for i := range got {
			if !reflect.DeepEqual(got[i], want[i]) {
				t.Fatalf("%s at %d: entry %d differs", what, at, i)
			}
		}
	}
	for at := 0; at < len(cache); at += step {
		check("cut", at, cache[:at])
		for _, bits := range []byte{1, 0x80, 0xff} {
			cache[at] ^= bits
			check("change", at, cache)
			cache[at] ^= bits
		}
	}
	check("more", len(cache), append(cache, 0))
	check("twice", len(cache), append(cache, cache...))
}

// TestBlocks: blocks in another order, left out or twice are damage, though each is whole.
func TestBlocks(t *testing.T) {
	cache := cacheOf(t, some()...)
	blocks := [][]byte{cache[:len(magic)]}
	for rest := cache[len(magic):]; len(rest) > 0; {
		size := headSize + binary.LittleEndian.Uint32(rest)
		blocks, rest = append(blocks, rest[:size]), rest[size:]
	}
	if len(blocks) < 5 {
		t.Fatalf("%d blocks", len(blocks))
	}
	for what, order := range map[string][]int{
		"swapped": {0, 2, 1, 3, 4}, "left out": {0, 2, 3, 4}, "twice": {0, 1, 1, 2, 3, 4}, "no end": {0, 1, 2, 3},
	} {
		var bad []byte
		for _, i := range order {
			bad = append(bad, blocks[i]...)
		}
		if _, err := read(bad); err != errDamaged {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// seal makes a cache of one block that holds these bytes, and whose checksum is right.
func seal(payload []byte) []byte {
	sum := sha256.Sum256([]byte(magic))
	cache := []byte(magic)
	for _, p := range [][]byte{payload, nil} {
		sum = sha256.Sum256(append(sum[:], p...))
		cache = binary.LittleEndian.AppendUint32(cache, uint32(len(p)))
		cache = append(append(cache, sum[:]...), p...)
	}
	return cache
}

// TestBadEntries: what no writer writes is refused even with the right checksum.
func TestBadEntries(t *testing.T) {
	stamp := string(make([]byte, stampSize))
	digest := string(make([]byte, 32))
	good := "\x00\x01." + stamp + "\x00"
	if got, err := read(seal([]byte(good + "\x01\x02/x" + stamp + "\x01" + digest))); len(got) != 2 || err != io.EOF {
		t.Fatal(got, err)
	}
	for what, payload := range map[string]string{
		"no name":            "\x00\x00" + stamp + "\x00",
		"same name":          good + "\x01\x00" + stamp + "\x00",
		"smaller name":       good + "\x00\x01-" + stamp + "\x00",
		"shared too little":  good + "\x00\x02.x" + stamp + "\x00",
		"shared too much":    good + "\x02\x01x" + stamp + "\x00",
		"short name":         "\x00\x05./x",
		"huge name":          "\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01./x" + stamp + "\x00",
		"number too long":    "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
		"number cut":         "\x80",
		"no stamp":           "\x00\x01.",
		"stamp cut":          "\x00\x01." + stamp[1:],
		"no flags":           "\x00\x01." + stamp,
		"no digest":          "\x00\x01." + stamp + "\x01",
		"digest cut":         "\x00\x01." + stamp + "\x01" + digest[1:],
		"attributes cut":     "\x00\x01." + stamp + "\x03" + digest + digest[1:],
		"unknown flag":       "\x00\x01." + stamp + "\x08",
		"no names":           "\x00\x01." + stamp + "\x04",
		"names cut":          "\x00\x01." + stamp + "\x04\x05a\x00b\x00",
		"names without end":  "\x00\x01." + stamp + "\x04\x03a\x00b",
		"names disordered":   "\x00\x01." + stamp + "\x04\x04b\x00a\x00",
		"name twice":         "\x00\x01." + stamp + "\x04\x04a\x00a\x00",
		"empty name in it":   "\x00\x01." + stamp + "\x04\x03a\x00\x00",
		"only empty name":    "\x00\x01." + stamp + "\x04\x01\x00",
		"path in it":         "\x00\x01." + stamp + "\x04\x04a/b\x00",
		"absolute path":      "\x00\x01." + stamp + "\x04\x03/b\x00",
		"two slashes":        "\x00\x01." + stamp + "\x04\x04a//\x00",
		"root":               "\x00\x01." + stamp + "\x04\x02/\x00",
		"dots":               "\x00\x01." + stamp + "\x04\x03..\x00",
		"dot":                "\x00\x01." + stamp + "\x04\x02.\x00",
		"dot with slash":     "\x00\x01." + stamp + "\x04\x03./\x00",
		"something after it": good + "\x00",
	} {
		if got, err := read(seal([]byte(payload))); err != errDamaged {
			t.Errorf("%s: %v, %v", what, got, err)
		}
	}
}

// TestVersions: what begins otherwise, or does not go on, gives nothing.
func TestVersions(t *testing.T) {
	whole := cacheOf(t, some()...)
	for what, cache := range map[string][]byte{
		"later": append([]byte(kind+"2\n"), whole[len(magic):]...), "text": []byte(strings.Repeat(". 0040755-0-0-0\n", 9)),
		"short": []byte("ctbox"), "empty": nil, "version cut": []byte(kind),
	} {
		if got, err := read(cache); err != errVersion || got != nil {
			t.Errorf("%s: %d entries, %v", what, len(got), err)
		}
	}
}

// TestFind goes through lists that lack some names, and have others.
func TestFind(t *testing.T) {
	entries := some()
	cache := cacheOf(t, entries...)
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 3))
		s := Scan(bytes.NewReader(cache), int64(len(cache)))
		last := 0
		for i := r.IntN(9); i < len(entries); i += 1 + r.IntN(9) {
			if r.IntN(3) == 0 {
				e, _, err := s.Find(append(bytes.Clone(entries[i].Name), 1))
				if e != nil || err != nil {
					t.Fatalf("found %v, %v", e, err)
				}
				last = i + 1
				continue
			}
			e, passed, err := s.Find(entries[i].Name)
			if err != nil || !reflect.DeepEqual(*e, entries[i]) {
				t.Fatalf("entry %d: %v, %v", i, e, err)
			}
			if passed != i-last {
				t.Fatalf("entry %d: passed %d, not %d", i, passed, i-last)
			}
			last = i + 1
		}
		if e, _, err := s.Find([]byte("~")); e != nil || err != nil {
			t.Fatal(e, err)
		}
	}
}

// TestFindDamaged: damage is told, and told again.
func TestFindDamaged(t *testing.T) {
	cache := cacheOf(t, some()...)
	s := Scan(bytes.NewReader(cache), int64(len(cache)-1))
	for range 2 {
		if _, _, err := s.Find([]byte("~")); err != errDamaged {
			t.Error(err)
		}
	}
}

// TestUpdate makes a cache of another by random steps, and compares with what a slice gives.
func TestUpdate(t *testing.T) {
	all := some()
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 4))
		rare := 1 + r.IntN(2000) // from all steps changes to hardly any
		var old, want []Entry
		for _, e := range all {
			if r.IntN(rare) > 0 {
				old = append(old, e)
			}
		}
		cache := cacheOf(t, old...)
		var out bytes.Buffer
		u := Update{Old: func() *Scanner { return Scan(bytes.NewReader(cache), int64(len(cache))) }, Out: &out}
		for i := range all {
			e := &all[i]
			switch has := len(old) > 0 && bytes.Equal(old[0].Name, e.Name); {
			case has && r.IntN(rare) == 0:
				u.Drop()
				old = old[1:]
			case has:
				u.Keep(e)
				old, want = old[1:], append(want, *e)
			case r.IntN(2) == 0:
				u.Add(e)
				want = append(want, *e)
			}
		}
		changed, err := u.Close()
		must(t, err)
		same := bytes.Equal(cacheOf(t, want...), cache)
		if !changed && (!same || out.Len() > 0) || changed && !bytes.Equal(out.Bytes(), cacheOf(t, want...)) {
			t.Fatalf("seed %d: changed %v, %d bytes", seed, changed, out.Len())
		}
	}
}

// TestUpdateFails: what cannot be read again or written, or is out of order, is an error at the end.
func TestUpdateFails(t *testing.T) {
	entries := some()
	cache := cacheOf(t, entries...)
	full := errors.New("full")
	for what, c := range map[string]struct {
		cut  int
		out  io.Writer
		add  []int
		want error
	}{
		"old is cut":   {len(cache) - 3000, io.Discard, []int{400}, errDamaged},
		"old is empty": {len(cache), io.Discard, []int{400}, errVersion},
		"no space":     {0, failing{full}, []int{400}, full},
		"order":        {0, io.Discard, []int{401, 400}, errOrder},
		"again":        {0, io.Discard, []int{401, 401}, errOrder},
		"fine":         {0, io.Discard, []int{400, 401}, nil},
	} {
		u := Update{Out: c.out, Old: func() *Scanner { return Scan(bytes.NewReader(cache), int64(len(cache)-c.cut)) }}
		for i := range 400 {
			u.Keep(&entries[i])
		}
		for _, i := range c.add {
			u.Add(&entries[i])
		}
		if changed, err := u.Close(); !changed || !errors.Is(err, c.want) {
			t.Errorf("%s: %v, %v", what, changed, err)
		}
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// FuzzScan reads anything, and anything with the right checksum. Whatever is given is what a writer could have written.
func FuzzScan(f *testing.F) {
	few := some()[:30]
	for _, cache := range [][]byte{cacheOf(f), cacheOf(f, few...), cacheOf(f, some()[:200]...)} {
		f.Add(cache)
		f.Add(cache[:len(cache)/2])
		f.Add(cache[len(magic)+headSize:])
	}
	f.Add([]byte(magic))
	f.Add(few[7].appendTo(few[0].appendTo(nil, nil), few[0].Name))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, cache := range [][]byte{data, seal(data)} {
			entries, err := read(cache)
			if err == nil {
				t.Fatal("no end")
			}
			again, err := read(cacheOf(t, entries...))
			if err != io.EOF || !reflect.DeepEqual(again, entries) {
				t.Fatalf("%d entries, written and read %d, %v", len(entries), len(again), err)
			}
		}
	})
}

func BenchmarkScan(b *testing.B) {
	entries := some()
	cache := cacheOf(b, entries...)
	b.SetBytes(int64(len(cache)))
	b.ReportAllocs()
	for b.Loop() {
		s := Scan(bytes.NewReader(cache), int64(len(cache)))
		for i := range entries {
			if e, _, err := s.Find(entries[i].Name); e == nil || err != nil {
				b.Fatal(err)
			}
		}
	}
}
