package archive

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/ctbox/ctbox/applets/internal/compress"
	"github.com/ctbox/ctbox/applets/internal/fuzztest"
	"golang.org/x/sys/unix"
)

// A rec is one record for a test's archive; 0 numbers are 0 in the header.
type rec struct {
	magic, name, body          string
	mode, ino, links, check    uint32
	devMajor, rdevMaj, rdevMin uint32
	nameSize, size             int // other than the real ones
}

func (r rec) bytes() []byte {
	if r.magic == "" {
		r.magic = "070701"
	}
	if r.nameSize == 0 {
		r.nameSize = len(r.name) + 1
	}
	if r.size == 0 {
		r.size = len(r.body)
	}
	b := fmt.Appendf(nil, "%s%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", r.magic, r.ino, r.mode, 7, 8, r.links, 9,
		r.size, r.devMajor, 0, r.rdevMaj, r.rdevMin, r.nameSize, r.check)
	b = append(b, r.name...)
	b = append(b, make([]byte, max(1, r.nameSize-len(r.name)))...)
	b = append(b, make([]byte, -len(b)&3)...)
	b = append(b, r.body...)
	return append(b, make([]byte, -len(b)&3)...)
}

// cpioOf makes an archive with its end.
func cpioOf(recs ...rec) []byte {
	var b []byte
	for _, r := range append(recs, rec{name: "TRAILER!!!"}) {
		b = append(b, r.bytes()...)
	}
	return b
}

func text(name, body string) rec { return rec{name: name, body: body, mode: 0o100644, links: 1} }

// pressed compresses with ctbox's own writer; level 0.
func pressed(t testing.TB, method string, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	must(t, compress.To(&b, method, 0, func(w io.Writer) error { _, err := w.Write(data); return err }))
	return b.Bytes()
}

// dump reads an initrd to the end, as a line for each entry.
func dump(r io.Reader) (string, error) {
	in := NewInitrdReader(r)
	defer in.Close()
	var out strings.Builder
	for {
		e, err := in.Next()
		if err == io.EOF {
			return out.String(), nil
		} else if err != nil {
			return out.String(), err
		}
		fmt.Fprintf(&out, "%d %s %o %d:%d", e.Segment, e.Name, e.Mode, e.Major, e.Minor)
		body, err := io.ReadAll(in)
		if err != nil {
			return out.String(), err
		}
		if int64(len(body)) != e.Size {
			return out.String(), fmt.Errorf("%d bytes instead of %d", len(body), e.Size)
		}
		fmt.Fprintf(&out, " %.20q\n", body)
	}
}

func TestInitrdEntries(t *testing.T) {
	archive := cpioOf(
		rec{name: ".", mode: 0o40755},
		rec{name: "./dev", mode: 0o40755},
		rec{name: "/dev/sda", mode: 0o60660, rdevMaj: 259, rdevMin: 70000},
		rec{name: "dev/console", mode: 0o20600, rdevMaj: 5, rdevMin: 1},
		rec{name: "socket", mode: 0o140777},
		rec{name: "fifo", mode: 0o10777},
		rec{name: "link", mode: 0o120777, body: "target"},
		rec{name: "setuid", mode: 0o127777, body: "target"},
		rec{name: "aligned", nameSize: 40, mode: 0o104755, body: "12345"},
		rec{magic: "070702", name: "sum", mode: 0o100644, body: "ab", check: 'a' + 'b'},
		rec{name: "check field of 070701", mode: 0o100644, check: 5},
	)
	want := `0 . 40755 0:0 ""
0 dev 40755 0:0 ""
0 dev/sda 60660 259:70000 ""
0 dev/console 20600 5:1 ""
0 socket 140777 0:0 ""
0 fifo 10777 0:0 ""
0 link 120777 0:0 "target"
0 setuid 127777 0:0 "target"
0 aligned 104755 0:0 "12345"
0 sum 100644 0:0 "ab"
0 check field of 070701 100644 0:0 ""
`
	for name, r := range map[string]io.Reader{
		"whole": bytes.NewReader(archive), "bytewise": iotest.OneByteReader(bytes.NewReader(archive)),
		"gzip": bytes.NewReader(pressed(t, "gzip", archive)), "zstd": bytes.NewReader(pressed(t, "zstd", archive)),
	} {
		if got, err := dump(r); err != nil || got != want {
			t.Errorf("%s: %v\n%s", name, err, got)
		}
	}
}

// TestInitrdReaderPlaces: what a reader says beside the entries.
func TestInitrdReaderPlaces(t *testing.T) {
	archive := cpioOf(text("f", "hello"))
	in := NewInitrdReader(bytes.NewReader(archive))
	if n, err := in.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("before the first entry: %d, %v", n, err)
	}
	_, err := skimming(in)
	if err != nil || in.Offset() != int64(len(archive)) || in.Window() != 0 || in.Compressed() {
		t.Errorf("%v, %d of %d bytes, a window of %d", err, in.Offset(), len(archive), in.Window())
	}
	packed := pressed(t, "zstd", archive)
	in = NewInitrdReader(bytes.NewReader(packed))
	if _, err := skimming(in); err != nil || in.Offset() != int64(len(packed)) || in.Window() == 0 || !in.Compressed() {
		t.Errorf("zstd: %v, %d of %d bytes, a window of %d", err, in.Offset(), len(packed), in.Window())
	}
}

// TestInitrdTrailers: what a trailer has beside its name is passed over as the kernel does it.
func TestInitrdTrailers(t *testing.T) {
	for _, trailer := range []rec{
		{name: "TRAILER!!!"}, {name: "TRAILER!!!", body: "content"}, {name: "TRAILER!!!", mode: 0o120777, body: "target"},
	} {
		whole := append(append(text("f", "hello").bytes(), trailer.bytes()...), cpioOf(text("g", "second"))...)
		if got, err := dump(bytes.NewReader(whole)); err != nil || got != "0 f 100644 0:0 \"hello\"\n1 g 100644 0:0 \"second\"\n" {
			t.Errorf("%+v: %v\n%s", trailer, err, got)
		}
		cut := append(text("f", "hello").bytes(), trailer.bytes()...)
		if _, err := dump(bytes.NewReader(cut[:len(cut)-4])); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%+v, cut: %v", trailer, err)
		}
	}
}

// TestLinked: the kernel looks for an earlier name of what says that it has more, if it can have.
func TestLinked(t *testing.T) {
	for mode, can := range map[uint32]bool{
		0o100644: true, 0o020600: true, 0o060600: true, 0o010600: true, 0o140600: true, 0o040755: false, 0o120777: false,
	} {
		for links := range uint32(4) {
			if e := (InitrdEntry{Mode: mode, Links: links}); e.Linked() != (can && links >= 2) {
				t.Errorf("%o with %d names: %v", mode, links, e.Linked())
			}
		}
	}
	for name, want := range map[string]string{
		".": ".", "/": ".", "./": ".", "a": "a", "/a": "a", ".//a/b": "a/b", "..": "..", ".a": ".a", "a/": "a/", "": "",
	} {
		if got := canonicalName([]byte(name)); string(got) != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

// TestInitrdSegments joins archives in all ways that Linux takes.
func TestInitrdSegments(t *testing.T) {
	a, b := cpioOf(text("a", "first")), cpioOf(text("b", "second"))
	zeros := func(n int) []byte { return make([]byte, n) }
	gz, zst := pressed(t, "gzip", a), pressed(t, "zstd", b)
	for name, parts := range map[string][][]byte{
		"plain":                {a, b},
		"padded":               {a, zeros(512), b, zeros(3)},
		"zeros first":          {zeros(4), a, b},
		"gzip, zstd":           {gz, zst},
		"gzip, 1 zero, zstd":   {gz, zeros(1), zst},
		"plain, zstd":          {a, zst},
		"gzip, aligned, plain": {gz, zeros(4 + -len(gz)&3), b},
		"two in a stream":      {pressed(t, "gzip", slices.Concat(a, zeros(64), b))},
	} {
		got, err := dump(bytes.NewReader(slices.Concat(parts...)))
		if want := "0 a 100644 0:0 \"first\"\n1 b 100644 0:0 \"second\"\n"; err != nil || got != want {
			t.Errorf("%s: %v\n%s", name, err, got)
		}
	}
}

// TestInitrdRefused: what Linux passes over in silence, or stops at, is an error that says why.
func TestInitrdRefused(t *testing.T) {
	a := cpioOf(text("a", "first"))
	gz := pressed(t, "gzip", a)
	odd := append(bytes.Clone(gz), make([]byte, 1+-len(gz)&3)...)
	zst := pressed(t, "zstd", a)
	flagged := func(flags byte) []byte { return append([]byte{0x1f, 0x8b, 8, flags}, gz[4:]...) }
	xz := func(block string) []byte { return []byte("\xfd7zXZ\x00\x00\x01\x69\x22\xde\x36" + block) }
	badHex := func(at int, b string) []byte { x := bytes.Clone(a); copy(x[at:], b); return x }
	for name, test := range map[string]struct {
		initrd []byte
		want   string
	}{
		"empty":                  {nil, "nothing but zeros"},
		"zeros":                  {make([]byte, 1<<20), "nothing but zeros"},
		"text":                   {[]byte("#!/bin/sh\n"), "not an initrd: neither"},
		"text that begins 0":     {[]byte("0755 is a mode\n"), "no header of a newc"},
		"old format":             {[]byte("070707000001000002"), "use cpio -H newc"},
		"lzma":                   {[]byte("\x5d\x00\x00\x80\x00\xff\xff\xff\xff\xff\xff\xff\xff"), "lzma compression is not supported"},
		"lzo":                    {[]byte("\x89LZO\x00\x0d\x0a\x1a\x0a"), "lzo compression is not supported"},
		"lz4 frames":             {[]byte("\x04\x22\x4d\x18\x64\x40\xa7"), "use lz4 -l"},
		"xz with crc64":          {[]byte("\xfd7zXZ\x00\x00\x04\xe6\xd6\xb4\x46"), "use xz --check=crc32"},
		"gzip with extra field":  {flagged(4), "does not take: use gzip"},
		"gzip with comment":      {flagged(16), "does not take: use gzip"},
		"gzip with header sum":   {flagged(2), "does not take: use gzip"},
		"xz with delta":          {xz("\x02\x01\x03\x01\x03\x21\x01\x16"), "without filters"},
		"xz with x86 from 16":    {xz("\x03\x01\x04\x04\x10\x00\x00\x00\x21\x01\x16"), "without filters"},
		"xz with sizes, arm":     {xz("\x03\xc1\xb7\x80\x40\x80\x80\x40\x07\x00\x21\x01\x16"), "without filters"},
		"zstd after a skip":      {append([]byte("\x50\x2a\x4d\x18\x01\x00\x00\x00x"), zst...), "frame to skip"},
		"padding of 1":           {slices.Concat(a, []byte{0}, a), "segment 1: byte 245: begins at no multiple of 4"},
		"padding of 2, zstd":     {slices.Concat(a, []byte{0, 0}, gz), "no multiple of 4"},
		"plain at odd place":     {slices.Concat(odd, a), "no multiple of 4"},
		"garbage after":          {slices.Concat(a, []byte("garbage")), "segment 1: byte 244: neither a newc"},
		"garbage in gzip":        {pressed(t, "gzip", slices.Concat(a, []byte("junk"))), "junk after an archive"},
		"gzip of nothing":        {pressed(t, "gzip", nil), "archive without its end"},
		"gzip of gzip":           {pressed(t, "gzip", gz), "no header of a newc"},
		"no trailer":             {text("a", "first").bytes(), "archive without its end"},
		"zeros for a trailer":    {append(text("a", "first").bytes(), make([]byte, 512)...), "no header of a newc"},
		"members":                {slices.Concat(pressed(t, "gzip", a[:50]), pressed(t, "gzip", a[50:])), "several gzip members"},
		"negative size":          {badHex(54, "-0000001"), "hexadecimal"},
		"spaces for zeros":       {badHex(54, "       5"), "hexadecimal"},
		"no name":                {cpioOf(rec{name: "", mode: 0o100644}), "empty name"},
		"name size 0":            {badHex(94, "00000000"), "name of 0 bytes"},
		"name size 4 GiB":        {badHex(94, "ffffffff"), "name of 4294967295 bytes"},
		"name without NUL":       {badHex(111, "bc"), "name without a NUL"},
		"long part":              {cpioOf(text(strings.Repeat("n", 256), "")), "256 bytes between slashes"},
		"link to nowhere":        {cpioOf(rec{name: "l", mode: 0o120777}), "target of 0 bytes"},
		"long link":              {cpioOf(rec{name: "l", mode: 0o120777, body: strings.Repeat("x", 4097)}), "target of 4097 bytes"},
		"directory with content": {cpioOf(rec{name: "d", mode: 0o40755, body: "x"}), "content in something that is no file"},
		"no type":                {cpioOf(rec{name: "d", mode: 0o755}), "unknown type of file, mode 0755"},
		"wrong checksum":         {cpioOf(rec{magic: "070702", name: "f", mode: 0o100644, body: "x", check: 1}), "checksum"},
	} {
		got, err := dump(bytes.NewReader(test.initrd))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q\n%s", name, err, test.want, got)
		}
		if _, again := skim(bytes.NewReader(test.initrd)); fmt.Sprint(again) != fmt.Sprint(err) {
			t.Errorf("%s: %v when content is not read, %v when it is", name, again, err)
		}
	}
}

// skim reads entries without their content.
func skim(r io.Reader) (n int, err error) {
	in := NewInitrdReader(r)
	defer in.Close()
	return skimming(in)
}

func skimming(in *InitrdReader) (n int, err error) {
	for ; ; n++ {
		if _, err := in.Next(); err == io.EOF {
			return n, nil
		} else if err != nil {
			return n, err
		}
	}
}

// TestInitrdTruncated cuts an archive everywhere but in the padding at its end.
func TestInitrdTruncated(t *testing.T) {
	whole := cpioOf(rec{name: "link", mode: 0o120777, body: "target"}, text("file", strings.Repeat("x", 70)))
	path := filepath.Join(t.TempDir(), "initrd")
	for n := 1; n < len(whole)-1; n++ {
		_, err := dump(bytes.NewReader(whole[:n]))
		if !errors.Is(err, io.ErrUnexpectedEOF) && n != 0 {
			t.Errorf("cut at %d of %d: %v", n, len(whole), err)
		}
		must(t, os.WriteFile(path, whole[:n], 0o600))
		f, err := os.Open(path)
		must(t, err)
		if _, err := skim(f); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("file cut at %d: %v", n, err)
		}
		f.Close()
		if n%10 == 0 {
			if _, err := dump(bytes.NewReader(pressed(t, "zstd", whole[:n]))); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("compressed after a cut at %d: %v", n, err)
			}
		}
	}
}

// TestInitrdSeeks: of a file, large content is passed over. It begins in the middle here.
func TestInitrdSeeks(t *testing.T) {
	head := rec{name: "big", mode: 0o100644, size: 3 << 30}.bytes()
	f, err := os.Create(filepath.Join(t.TempDir(), "initrd"))
	must(t, err)
	defer f.Close()
	_, err = f.WriteAt(head, 100)
	must(t, err)
	_, err = f.WriteAt(cpioOf(text("small", "content")), 100+int64(len(head))+3<<30)
	must(t, err)
	_, err = f.Seek(100, io.SeekStart)
	must(t, err)
	in := NewInitrdReader(f)
	e, err := in.Next()
	if err != nil || e.Size != 3<<30 {
		t.Fatal(e, err)
	}
	e, err = in.Next()
	must(t, err)
	body, err := io.ReadAll(in)
	if string(e.Name) != "small" || string(body) != "content" || err != nil {
		t.Errorf("%q %q %v", e.Name, body, err)
	}
	if _, err = in.Next(); err != io.EOF {
		t.Error(err)
	}
}

func TestInitrdReadError(t *testing.T) {
	boom := errors.New("input/output error")
	whole := cpioOf(text("file", strings.Repeat("x", 70)))
	for _, data := range [][]byte{whole, pressed(t, "gzip", whole), pressed(t, "zstd", whole)} {
		for n := 0; n < len(data); n += 7 {
			if _, err := dump(io.MultiReader(bytes.NewReader(data[:n]), iotest.ErrReader(boom))); err != boom {
				t.Errorf("after %d bytes: %v", n, err)
			}
		}
	}
}

// tools that make archives, as shell commands that read names.
var cpioTools = []string{"cpio -o -H newc --quiet", "cpio -o -H crc --quiet", "bsdcpio -o -H newc --quiet", "busybox cpio -o -H newc"}

// compressors that Linux understands.
var compressors = []string{"cat", "gzip -n", "bzip2", "xz --check=crc32", "xz --check=none", "xz --check=crc32 --block-size=4KiB -T2", "xz --check=crc32 --x86 --lzma2", "lz4 -l", "zstd -q", "zstd -q --no-check -19"}

// lacking reports whether the program of a command line is missing, which in CI is a failure.
func lacking(t *testing.T, line string) bool {
	_, err := exec.LookPath(strings.Fields(line)[0])
	if err != nil && os.Getenv("CI") == "true" {
		t.Error(err)
	}
	return err != nil
}

// TestInitrdsOfOthers reads what the usual tools write, alone and twice in a row.
func TestInitrdsOfOthers(t *testing.T) {
	dir := t.TempDir()
	in := func(line string) []byte {
		cmd := exec.Command("sh", "-e", "-c", line)
		cmd.Dir = dir
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		must(t, err)
		return out
	}
	in("mkdir -p bin && echo hello >bin/hello && chmod 4711 bin/hello && ln bin/hello bin/again && ln -s hello bin/sh && seq 100000 >numbers")
	must(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o640))
	for _, tool := range cpioTools {
		if lacking(t, tool) {
			continue
		}
		archive := in("find . ! -name seed | LC_ALL=C sort | " + tool)
		want, err := dump(bytes.NewReader(archive))
		if err != nil || strings.Count(want, "\n") != 7 || !strings.Contains(want, "numbers 100644 0:0 \"1\\n2\\n3\\n") ||
			!strings.Contains(want, "bin/sh 120777 0:0 \"hello\"") || !strings.Contains(want, "bin/hello 104711") {
			t.Errorf("%s: %v\n%s", tool, err, want)
		}
		must(t, os.WriteFile(filepath.Join(dir, "seed"), archive, 0o600))
		for _, zip := range compressors {
			if lacking(t, zip) {
				continue
			}
			z := in(zip + " <seed")
			// lz4 -l wants 4 zeros after it; cat and archives wants alignment.
			twice := slices.Concat(z, make([]byte, 4+-len(z)&3), z)
			got, err := dump(bytes.NewReader(twice))
			again := strings.ReplaceAll("\n"+want, "\n0 ", "\n1 ")[1:]
			if err != nil || got != want+again {
				t.Errorf("%s | %s: %v\n%s", tool, zip, err, got)
			}
		}
	}
}

// hostileInitrds are what somebody could have the kernel unpack (C01 to C20), and what it would pass over.
func hostileInitrds(t testing.TB) [][]byte {
	a := cpioOf(rec{name: "link", mode: 0o120777, body: "target"}, text("file", "content"), rec{magic: "070702", name: "d", mode: 0o40755})
	all := [][]byte{
		a, slices.Concat(a, make([]byte, 8), a), slices.Concat(a, make([]byte, 7), a), a[:len(a)-1], []byte("\x02\x21\x4c\x18\x0c\x00\x00\x00\xb0hello world"),
		cpioOf(text("TRAILER!!!", "x"), text("after", "")), cpioOf(text("../../etc/passwd", "x"), text("/abs", ""), text("a//b", ""), text("", "")), cpioOf(rec{name: "b", mode: 0o60000, body: "x"}),
		cpioOf(rec{name: "huge", mode: 0o100644, size: 1<<32 - 1}), cpioOf(rec{name: "a", mode: 0o100644, nameSize: 4097}), cpioOf(rec{name: "a", mode: 0o120777, size: 5000}), cpioOf(rec{name: "a\x00b", mode: 0o100644}),
		cpioOf(rec{magic: "070707", name: "old"}), cpioOf(rec{magic: "070702", name: "sum", mode: 0o100644, body: "x", check: 1}), cpioOf(rec{name: "l1", ino: 7, links: 2, mode: 0o100644}, rec{name: "l2", ino: 7, links: 2, mode: 0o100644, body: "x"}),
		bytes.Replace(a, []byte("070701"), []byte("07070g"), 1), bytes.ReplaceAll(a, []byte("000081a4"), []byte("0000 1a4")),
	}
	for _, method := range []string{"gzip", "zstd"} {
		z := pressed(t, method, a)
		all = append(all, z, slices.Concat(z, z), slices.Concat(a, z), pressed(t, method, make([]byte, 1<<20)), z[:len(z)-4])
	}
	return all
}

// What the reader takes, a plain loop over the records takes too, with the same files; and it makes no difference whether the
// content is read.
func FuzzInitrdReader(f *testing.F) {
	for _, b := range hostileInitrds(f) {
		f.Add(b)
	}
	sizes := cpioOf(text("0", ""), text("1", "1"), text("/2", "12"), text("./3", "123"), text("../4", "1234"), text("5", "12345"))
	if _, err := dump(bytes.NewReader(sizes)); err != nil {
		f.Error(err)
	}
	f.Add(sizes)
	f.Fuzz(func(t *testing.T, data []byte) {
		var got string
		var err error
		fuzztest.Bounded(t, len(data), 400<<20, 400, func() { got, err = dump(io.LimitReader(bytes.NewReader(data), 1<<20)) })
		if err == io.EOF {
			t.Error("a bare EOF")
		}
		n, skimmed := skim(bytes.NewReader(data))
		if (err == nil) != (skimmed == nil) {
			t.Errorf("%v with the content, %v without, after %d entries", err, skimmed, n)
		}
		if err == nil && bytes.HasPrefix(bytes.TrimLeft(data, "\x00"), []byte("0707")) {
			if want, plain := naiveInitrd(data); plain && got != want {
				t.Errorf("%s\nnaively it is\n%s", got, want)
			}
		}
	})
}

// naiveInitrd is dump for an initrd that is found well and has only plain archives, by buffer-format.rst of Linux.
func naiveInitrd(b []byte) (lines string, plain bool) {
	segment, inside := -1, false
	for at := 0; at < len(b); {
		if !inside && b[at] == 0 {
			at++
			continue
		}
		if !inside && b[at] != '0' {
			return "", false
		}
		if !inside {
			segment, inside = segment+1, true
		}
		var n [13]int
		for i := range n {
			v, err := strconv.ParseUint(string(b[at+6+8*i:at+14+8*i]), 16, 32)
			if err != nil {
				return err.Error(), true
			}
			n[i] = int(v)
		}
		name, _, _ := strings.Cut(string(b[at+110:at+110+n[11]]), "\x00")
		at = (at + 110 + n[11] + 3) &^ 3
		body := b[at : at+n[6]]
		at = (at + n[6] + 3) &^ 3
		if name == "TRAILER!!!" {
			inside = false
			continue
		}
		for strings.HasPrefix(name, "/") || strings.HasPrefix(name, "./") {
			name = strings.TrimPrefix(strings.TrimPrefix(name, "."), "/")
		}
		lines += fmt.Sprintf("%d %s %o %d:%d %.20q\n", segment, cmp.Or(name, "."), n[1], n[9], n[10], body)
	}
	return lines, true
}
