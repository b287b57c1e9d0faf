package compress

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	klauspost "github.com/klauspost/compress/gzip"
)

// An entry is one of a tar: a header and content, in whole blocks.
type entry struct{ head, body []byte }

func (e entry) data() []byte { return append(bytes.Clone(e.head), e.body...) }

// tree makes n entries of up to most bytes that compress about as well as programs do.
func tree(seed uint64, n, most int) []entry {
	rnd := rand.New(rand.NewPCG(seed, 1))
	words := make([][]byte, 500)
	for i := range words {
		words[i] = fmt.Appendf(nil, "%x ", rnd.Uint64()>>rnd.IntN(60))
	}
	var all []entry
	for i := range n {
		body := []byte{}
		for size := rnd.IntN(most); len(body) < size; {
			body = append(body, words[rnd.IntN(len(words))]...)
		}
		var head bytes.Buffer
		tar.NewWriter(&head).WriteHeader(&tar.Header{Name: fmt.Sprintf("file%d", i), Size: int64(len(body)), Format: tar.FormatUSTAR})
		all = append(all, entry{head.Bytes(), append(body, make([]byte, -len(body)&511)...)})
	}
	return all
}

func join(entries []entry) (all []byte) {
	for _, e := range entries {
		all = append(all, e.data()...)
	}
	return all
}

// pack compresses entries, in writes of at most step random bytes, 0 for one write each.
func pack(t testing.TB, w io.Writer, method string, entries []entry, step int) {
	t.Helper()
	z, err := NewWriter(w, method, 0)
	if err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(uint64(step), 2))
	for _, e := range entries {
		data := e.data()
		for len(data) > 0 {
			n := len(data)
			if step > 0 {
				n = min(n, 1+rnd.IntN(step))
			}
			if k, err := z.Write(data[:n]); k != n || err != nil {
				t.Fatalf("Write: %d of %d, %v", k, n, err)
			}
			data = data[n:]
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
}

// long skips a test that the race detector makes very slow, and that has no races to find.
func long(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
}

// parts records each Write: one for each gzip member.
type parts struct {
	sums []([32]byte)
	size int
}

func (p *parts) Write(b []byte) (int, error) {
	p.sums = append(p.sums, sha256.Sum256(b))
	p.size += len(b)
	return len(b), nil
}

// fresh counts the parts that are not in old.
func (p *parts) fresh(old *parts) (n int) {
	seen := map[[32]byte]bool{}
	for _, s := range old.sums {
		seen[s] = true
	}
	for _, s := range p.sums {
		if !seen[s] {
			n++
		}
	}
	return n
}

func TestRoundTrip(t *testing.T) {
	for _, method := range []string{"gzip", "zstd", "none"} {
		for _, entries := range [][]entry{nil, tree(1, 1, 10), tree(2, 400, 30_000), tree(3, 3, 5<<20)} {
			want := join(entries)
			var packed bytes.Buffer
			pack(t, &packed, method, entries, 0)
			r, found, err := NewReader(bytes.NewReader(packed.Bytes()))
			if err != nil || found != method && len(want) > 0 {
				t.Fatalf("%s: found %q, %v", method, found, err)
			}
			got, err := io.ReadAll(r)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s: %d bytes, %v; want %d", method, len(got), err, len(want))
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestOtherReaders reads what we write with programs that we did not write.
func TestOtherReaders(t *testing.T) {
	long(t)
	readers := []struct {
		method  string
		command []string
	}{
		{"gzip", []string{"gzip", "-dc"}},
		{"gzip", []string{"python3", "-c", "import gzip,sys; sys.stdout.buffer.write(gzip.decompress(sys.stdin.buffer.read()))"}},
		{"zstd", []string{"zstd", "-dcq"}},
	}
	for _, entries := range [][]entry{nil, tree(4, 300, 40_000)} {
		for _, r := range readers {
			path, err := exec.LookPath(r.command[0])
			if err != nil && os.Getenv("CI") == "true" {
				t.Fatal(err)
			}
			if err != nil {
				t.Log(err)
				continue
			}
			var packed bytes.Buffer
			pack(t, &packed, r.method, entries, 0)
			cmd := exec.Command(path, r.command[1:]...)
			cmd.Stdin = &packed
			if got, err := cmd.Output(); err != nil || !bytes.Equal(got, join(entries)) {
				t.Errorf("%s: %d bytes, %v", r.command[0], len(got), err)
			}
		}
		var packed bytes.Buffer
		pack(t, &packed, "gzip", entries, 0)
		std, err := gzip.NewReader(&packed)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(std); err != nil || !bytes.Equal(got, join(entries)) {
			t.Errorf("compress/gzip: %d bytes, %v", len(got), err)
		}
	}
}

// TestBareHeader: no name, no comment, no time, system unknown (RFC 1952, 2.3).
func TestBareHeader(t *testing.T) {
	var packed bytes.Buffer
	pack(t, &packed, "gzip", tree(5, 1, 100), 0)
	if want := "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"; string(packed.Bytes()[:10]) != want {
		t.Errorf("header is %q", packed.Bytes()[:10])
	}
}

// TestStable: bytes made once are made for ever; a new version of the library that changes them is a
// change that users must be told of, and for gzip another GzipVersion.
func TestStable(t *testing.T) {
	want := map[string]string{
		"gzip": "1 a0b88ef09210515bd63369b3cec048c716d5a1e44ef9fb7c00fe4637b7747ebd",
		"zstd": "af5cc5cdc9c2c76f87675847a65d742120a7a72801f0516ed21de60434a53030",
	}
	for method, sum := range want {
		h := sha256.New()
		pack(t, h, method, tree(6, 200, 30_000), 0)
		got := fmt.Sprintf("%x", h.Sum(nil))
		if method == "gzip" {
			got = GzipVersion + " " + got
		}
		if got != sum {
			t.Errorf("%s: %s, was %s", method, got, sum)
		}
	}
}

func TestSameBytes(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	entries := append(tree(7, 300, 30_000), tree(8, 2, 4<<20)...)
	for _, method := range []string{"gzip", "zstd"} {
		var want bytes.Buffer
		pack(t, &want, method, entries, 0)
		for i, cores := range []int{1, 2, 8} {
			runtime.GOMAXPROCS(cores)
			for j, step := range []int{0, 700, 100_000} {
				if testing.Short() && i != j {
					continue
				}
				var got bytes.Buffer
				pack(t, &got, method, entries, step)
				if !bytes.Equal(got.Bytes(), want.Bytes()) {
					t.Errorf("%s differs with %d cores and writes up to %d", method, cores, step)
				}
			}
		}
	}
}

// TestZstdThreads: the bytes do not depend on the encoder's threads either.
func TestZstdThreads(t *testing.T) {
	data := join(tree(9, 300, 30_000))
	var want []byte
	for _, threads := range []int{1, 2, 7} {
		var got bytes.Buffer
		z, err := newFrame(&got, 0, threads)
		if err != nil {
			t.Fatal(err)
		}
		z.Write(data)
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		if want == nil {
			want = got.Bytes()
		}
		if !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%d threads give other bytes", threads)
		}
	}
}

// TestLocality: a change moves the members around it and no others, wherever it is.
func TestLocality(t *testing.T) {
	long(t)
	base := tree(10, 1500, 30_000)
	var before parts
	pack(t, &before, "gzip", base, 0)
	if n := len(before.sums); n < 40 {
		t.Fatalf("only %d members", n)
	}
	other := tree(11, 1, 30_000)[0]
	for _, at := range []int{0, 1, 700, 1400} {
		sameSize := bytes.Clone(base[at].body)
		if len(sameSize) > 0 {
			sameSize[0]++
		}
		for name, entries := range map[string][]entry{
			"insertion":     append(append(append([]entry{}, base[:at]...), other), base[at:]...),
			"deletion":      append(append([]entry{}, base[:at]...), base[at+1:]...),
			"same size":     append(append(append([]entry{}, base[:at]...), entry{base[at].head, sameSize}), base[at+1:]...),
			"other content": append(append(append([]entry{}, base[:at]...), other), base[at+1:]...),
		} {
			var after parts
			pack(t, &after, "gzip", entries, 0)
			n, most := after.fresh(&before), 4
			if name == "same size" {
				most = 1
			}
			if n > most {
				t.Errorf("%s at %d: %d of %d members are new", name, at, n, len(after.sums))
			}
		}
	}
}

// TestLocalityUnmarked: a stream without boundaries is cut by content too, and so is a large entry.
func TestLocalityUnmarked(t *testing.T) {
	long(t)
	data := join(tree(12, 1, 40<<20))
	var before parts
	pack(t, &before, "gzip", []entry{{nil, data}}, 0)
	if n := len(before.sums); n < 20 {
		t.Fatalf("only %d members", n)
	}
	for _, insert := range []int{1, 512, 77_777} {
		var after parts
		pack(t, &after, "gzip", []entry{{bytes.Repeat([]byte("new"), insert), data}}, 0)
		if n := after.fresh(&before); n > 3 {
			t.Errorf("%d bytes more at the start: %d of %d members are new", insert, n, len(after.sums))
		}
	}
}

// contents has the size of what is in each member; they come in a Write each.
type contents []int

func (c *contents) Write(b []byte) (int, error) {
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(io.Discard, z)
	*c = append(*c, int(n))
	return len(b), err
}

// TestCuts: members end between entries where one is in reach, and their sizes keep within the limits.
func TestCuts(t *testing.T) {
	long(t)
	s := layerSizes
	nested := entry{head: tree(15, 1, 1)[0].head, body: join(tree(13, 1000, 20_000))} // as a layer is in an image
	for name, entries := range map[string][]entry{
		"small":    tree(13, 1000, 20_000),
		"nested":   {nested},
		"large":    tree(14, 4, 6<<20),
		"constant": {{nil, make([]byte, 5<<20)}},
	} {
		var members contents
		pack(t, &members, "gzip", entries, 0)
		pieces := members[:len(members)-1] // the last one may be short
		starts, at := map[int]bool{}, 0
		if name == "nested" {
			at, entries = len(nested.head), tree(13, 1000, 20_000)
		}
		for _, e := range entries {
			starts[at] = true
			at += len(e.data())
		}
		at = 0
		for _, n := range pieces {
			if n < s.least || n > s.most {
				t.Errorf("%s: a member of %d bytes", name, n)
			}
			if at += n; (name == "small" || name == "nested") && !starts[at] {
				t.Errorf("%s: cut inside an entry, at %d", name, at)
			}
		}
		if name == "constant" && pieces[0] != s.most {
			t.Errorf("constant data is cut at %d", pieces[0])
		}
	}
}

// TestOverhead allows more than real trees cost, since every file here shares the same few words.
func TestOverhead(t *testing.T) {
	long(t)
	entries := tree(15, 800, 30_000)
	var one, many parts
	z := klauspost.NewWriter(&one)
	z.Write(join(entries))
	z.Close()
	pack(t, &many, "gzip", entries, 0)
	if float64(many.size) > 1.04*float64(one.size) {
		t.Errorf("%d bytes, one stream has %d", many.size, one.size)
	}
}

// A brittle writer fails after so many bytes.
type brittle struct {
	left  int
	short bool
}

var errBroken = errors.New("broken")

func (b *brittle) Write(p []byte) (int, error) {
	if len(p) <= b.left {
		b.left -= len(p)
		return len(p), nil
	}
	if b.short {
		return b.left, nil
	}
	return b.left, errBroken
}

func TestWriteErrors(t *testing.T) {
	data := join(tree(16, 500, 30_000))
	before := runtime.NumGoroutine()
	for _, method := range []string{"gzip", "zstd", "none"} {
		for _, left := range []int{0, 5, 100_000, 1_000_000} {
			z, err := NewWriter(&brittle{left: left}, method, 0)
			if err != nil {
				t.Fatal(err)
			}
			var first error
			for rest := data; len(rest) > 0 && first == nil; {
				var n int
				n, first = z.Write(rest[:min(len(rest), 50_000)])
				rest = rest[n:]
			}
			if err := z.Close(); !errors.Is(err, errBroken) {
				t.Errorf("%s, %d: Close says %v", method, left, err)
			}
			if first != nil && !errors.Is(first, errBroken) {
				t.Errorf("%s, %d: Write says %v", method, left, first)
			}
			if _, err := z.Write([]byte("x")); err == nil {
				t.Errorf("%s, %d: can write after the error", method, left)
			}
			if err := z.Close(); !errors.Is(err, errBroken) {
				t.Errorf("%s, %d: second Close says %v", method, left, err)
			}
		}
	}
	for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}

func TestShortWrite(t *testing.T) {
	z, _ := NewWriter(&brittle{left: 5, short: true}, "gzip", 0)
	z.Write([]byte("hello"))
	if err := z.Close(); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("Close says %v", err)
	}
}

func TestClosed(t *testing.T) {
	for _, method := range []string{"gzip", "zstd", "none"} {
		var out bytes.Buffer
		z, _ := NewWriter(&out, method, 0)
		for range 2 {
			if err := z.Close(); err != nil {
				t.Error(method, err)
			}
		}
		size := out.Len()
		if n, err := z.Write([]byte("x")); n != 0 || err == nil || out.Len() != size {
			t.Errorf("%s: %d, %v", method, n, err)
		}
	}
}

func TestBadArguments(t *testing.T) {
	for _, c := range []struct {
		method string
		level  int
	}{{"gzip", -1}, {"gzip", 10}, {"zstd", -1}, {"zstd", 23}, {"xz", 0}, {"", 0}} {
		if _, err := NewWriter(io.Discard, c.method, c.level); err == nil {
			t.Errorf("%q, level %d: no error", c.method, c.level)
		}
	}
}

// TestLevels: a higher level is not larger, and every level reads back.
func TestLevels(t *testing.T) {
	long(t)
	data := join(tree(17, 60, 30_000))
	for method, most := range map[string]int{"gzip": 9, "zstd": 22} {
		sizes := make([]int, most+1)
		for level := range most + 1 {
			var out bytes.Buffer
			z, err := NewWriter(&out, method, level)
			if err != nil {
				t.Fatal(err)
			}
			z.Write(data)
			z.Close()
			sizes[level] = out.Len()
			r, _, err := NewReader(&out)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%s level %d: %v", method, level, err)
			}
		}
		if sizes[1] <= sizes[most] {
			t.Errorf("%s: level 1 gives %d bytes, level %d %d", method, sizes[1], most, sizes[most])
		}
		if def := map[string]int{"gzip": 6, "zstd": 3}[method]; sizes[0] != sizes[def] {
			t.Errorf("%s: the default is not level %d", method, def)
		}
	}
}

// FuzzRoundTrip cuts small members, so that short inputs have many.
func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte(nil), uint64(0))
	f.Add([]byte("a"), uint64(1))
	f.Add(bytes.Repeat([]byte("abc"), 3000), uint64(2))
	f.Add(make([]byte, 5000), uint64(3))
	f.Add(join(tree(18, 20, 900)), uint64(4))
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		small := sizes{100, 700}
		var outs [2]bytes.Buffer
		for i := range outs {
			writes := rand.New(rand.NewPCG(seed, uint64(i)))
			m := newMembers(&outs[i], 1, 1+3*i, small)
			for at := 0; at < len(data); {
				end := min(len(data), at+1+writes.IntN(900))
				m.Write(data[at:end])
				at = end
			}
			if err := m.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(outs[0].Bytes(), outs[1].Bytes()) {
			t.Error("the bytes depend on threads or writes")
		}
		for _, open := range []func(io.Reader) (io.Reader, error){
			func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
			func(r io.Reader) (io.Reader, error) { z, _, err := NewReader(r); return z, err },
		} {
			r, err := open(bytes.NewReader(outs[0].Bytes()))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data) {
				t.Errorf("read back %d of %d bytes, %v", len(got), len(data), err)
			}
		}
	})
}

func BenchmarkWriter(b *testing.B) {
	data := join(tree(19, 1000, 30_000))
	for _, method := range []string{"gzip", "zstd", "none"} {
		b.Run(method, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				z, _ := NewWriter(io.Discard, method, 0)
				z.Write(data)
				if err := z.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkPlace is the part of gzip that one core must do.
func BenchmarkPlace(b *testing.B) {
	m := newMembers(io.Discard, 0, 1, layerSizes)
	data := join(tree(20, 1, 10<<20))[:layerSizes.most]
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		m.place(data)
	}
}

func BenchmarkReader(b *testing.B) {
	entries := tree(21, 1000, 30_000)
	for _, method := range []string{"gzip", "zstd"} {
		var packed bytes.Buffer
		pack(b, &packed, method, entries, 0)
		b.Run(method, func(b *testing.B) {
			b.SetBytes(int64(len(join(entries))))
			b.ReportAllocs()
			for b.Loop() {
				r, _, err := NewReader(bytes.NewReader(packed.Bytes()))
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, r); err != nil {
					b.Fatal(err)
				}
				r.Close()
			}
		})
	}
}
