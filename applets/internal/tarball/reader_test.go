package tarball

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ctbox/ctbox/applets/internal/archive"
	"github.com/ctbox/ctbox/applets/internal/list"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// goTar is a tar by Go's writer.
func goTar(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		must(t, w.WriteHeader(&h))
		if h.Typeflag == tar.TypeReg {
			_, err := w.Write(bytes.Repeat([]byte("x"), int(h.Size)))
			must(t, err)
		}
	}
	must(t, w.Close())
	return b.Bytes()
}

// block is a header block with a right checksum, changed by edit before that is made.
func block(edit func(b []byte)) []byte {
	b := make([]byte, blockSize)
	copy(b, "name")
	copy(b[100:], "0000644\x000000000\x000000000\x0000000000000\x0000000000000\x00")
	b[156] = Regular
	copy(b[257:], "ustar\x0000")
	edit(b)
	sum := 8 * int(' ')
	for i, c := range b {
		if i < 148 || i >= 156 {
			sum += int(c)
		}
	}
	copy(b[148:], []byte{'0', byte('0' + sum>>15&7), byte('0' + sum>>12&7), byte('0' + sum>>9&7), byte('0' + sum>>6&7), byte('0' + sum>>3&7), byte('0' + sum&7), 0})
	return b
}

// tarFile is blocks and content, and the end of a tar.
func tarFile(parts ...[]byte) []byte {
	var all []byte
	for _, p := range parts {
		all = append(all, p...)
		all = append(all, make([]byte, archive.TarPadding(int64(len(p))))...)
	}
	return append(all, make([]byte, 2*blockSize)...)
}

func kind(k byte, size int) func([]byte) {
	return func(b []byte) {
		b[156] = k
		copy(b[124:136], append([]byte(octal(size)), 0))
	}
}

func octal(n int) string {
	s := []byte("00000000000")
	for i := len(s) - 1; n > 0; i-- {
		s[i] = '0' + byte(n&7)
		n >>= 3
	}
	return string(s)
}

func pax(key, value string) string {
	n := len(key) + len(value) + 3
	size := n + 1
	for len(itoa(size))+n != size {
		size++
	}
	return itoa(size) + " " + key + "=" + value + "\n"
}

func itoa(n int) string {
	var b []byte
	for ; n > 0; n /= 10 {
		b = append([]byte{byte('0' + n%10)}, b...)
	}
	return string(b)
}

// withPax is a file whose header comes after an extended one.
func withPax(size int, records ...string) []byte {
	text := strings.Join(records, "")
	return tarFile(block(kind(extended, len(text))), []byte(text), block(kind(Regular, size)), bytes.Repeat([]byte("x"), size))
}

// What no reader should believe is an error that says what is wrong, near where.
func TestHostile(t *testing.T) {
	long := strings.Repeat("a", 70000)
	for _, c := range []struct {
		what, want string
		tar        []byte
	}{
		{"nothing", "is empty, not a tar archive", nil},
		{"text", "is not a tar archive", []byte("hello\n")},
		{"long text", "is not a tar archive", bytes.Repeat([]byte("hello\n"), 1000)},
		{"one zero block", "truncated after byte 512", make([]byte, blockSize)},
		{"header alone", "truncated after byte 512", block(kind(Regular, 0))},
		{"cut content", "truncated after byte 512", block(kind(Regular, 1000))},
		{"cut padding", "truncated after byte 512", append(block(kind(Regular, 100)), make([]byte, 200)...)},
		{"checksum", "is not a tar archive", func() []byte { b := tarFile(block(kind(Regular, 0))); b[0]++; return b }()},
		{"second header", "bad header at byte 512", tarFile(block(kind(Regular, 0)), []byte("rubbish"))},
		{"two archives", "data after the end of the archive", append(tarFile(block(kind(Regular, 0))), tarFile(block(kind(Regular, 0)))...)},
		{"size that is no number", "is not a tar archive", tarFile(block(func(b []byte) { copy(b[124:], "zzz") }))},
		{"negative size", "is not a tar archive", tarFile(block(func(b []byte) { copy(b[124:], bytes.Repeat([]byte{0xff}, 12)) }))},
		{"size of 2^62", "truncated after byte 512", tarFile(block(func(b []byte) { copy(b[124:], "\x80\x00\x00\x00\x40\x00\x00\x00\x00\x00\x00\x00") }))},
		{"size beyond 63 bits", "is not a tar archive", tarFile(block(func(b []byte) { copy(b[124:], "\x80\x00\x01\x00\x40\x00\x00\x00\x00\x00\x00\x00") }))},
		{"mode that is no number", "is not a tar archive", tarFile(block(func(b []byte) { copy(b[100:], "rwxr-xr-") }))},
		{"negative uid", "is not a tar archive", tarFile(block(func(b []byte) { copy(b[108:], bytes.Repeat([]byte{0xff}, 8)) }))},
		{"unknown type", "entry of unknown type 'Z'", tarFile(block(kind('Z', 0)))},
		{"multi-volume", "entry of unknown type 'M'", tarFile(block(kind('M', 0)))},
		{"huge extended header", "header of more than 1048576 bytes", tarFile(block(kind(extended, 1<<20+1)))},
		{"huge long name", "header of more than 1048576 bytes", tarFile(block(kind(longName, 1<<30)))},
		{"cut extended header", "truncated", block(kind(extended, 100))},
		{"two extended headers", "two extended headers for one entry", tarFile(block(kind(extended, 11)), []byte("11 uid=123\n"), block(kind(extended, 11)), []byte("11 uid=124\n"), block(kind(Regular, 0)))},
		{"extended header without length", "bad extended header", withPax(0, "path=x\n")},
		{"length too short", "bad extended header", withPax(0, "2 a=b\n")},
		{"length too long", "bad extended header", withPax(0, "99 path=x\n")},
		{"length of 20 digits", "bad extended header", withPax(0, "99999999999999999999 path=x\n")},
		{"no newline", "bad extended header", withPax(0, "9 path=xy")},
		{"no equals sign", "bad extended header", withPax(0, "7 abcd\n")},
		{"no key", "bad extended header", withPax(0, "5 =x\n")},
		{"NUL in path", `bad value of "path"`, withPax(0, pax("path", "a\x00b"))},
		{"NUL in linkpath", `bad value of "linkpath"`, withPax(0, pax("linkpath", "a\x00b"))},
		{"negative PAX size", `bad value of "size"`, withPax(0, pax("size", "-1"))},
		{"PAX size of 20 digits", `bad value of "size"`, withPax(0, pax("size", "99999999999999999999"))},
		{"PAX size beyond the archive", "truncated", withPax(0, pax("size", "9223372036854775807"))},
		{"uid -1", `bad value of "uid"`, withPax(0, pax("uid", "4294967295"))},
		{"gid of words", `bad value of "gid"`, withPax(0, pax("gid", "root"))},
		{"time of words", `bad value of "mtime"`, withPax(0, pax("mtime", "now"))},
		{"time without seconds", `bad value of "mtime"`, withPax(0, pax("mtime", ".5"))},
		{"time with a bad fraction", `bad value of "mtime"`, withPax(0, pax("mtime", "1.x"))},
		{"global path", `global header with "path"`, tarFile(block(kind(global, 10)), []byte("10 path=x\n"), block(kind(Regular, 0)))},
		{"empty long name", "empty long name", tarFile(block(kind(longName, 1)), []byte("\x00"), block(kind(Regular, 0)))},
		{"sparse of half a version", "bad map of a sparse file", withPax(512, pax("GNU.sparse.major", "1"), pax("GNU.sparse.realsize", "600"))},
		{"number after a NUL", "is not a tar archive", tarFile(block(func(b []byte) { copy(b[124:], "\x000000000003") }))},
		{"bad global header", "bad extended header", tarFile(block(kind(global, 10)), []byte("10 path:x\n"), block(kind(Regular, 0)))},
		{"absolute", "absolute name", goTar(t, tar.Header{Name: "/etc/passwd", Typeflag: tar.TypeReg})},
		{"..", "component", goTar(t, tar.Header{Name: "a/../../x", Typeflag: tar.TypeReg})},
		{"only ..", "component", goTar(t, tar.Header{Name: "..", Typeflag: tar.TypeDir})},
		{"empty component", "component", goTar(t, tar.Header{Name: "a//b", Typeflag: tar.TypeReg})},
		{"no name", "empty name", tarFile(block(func(b []byte) { clear(b[:100]) }))},
		{"slash", "absolute name", goTar(t, tar.Header{Name: "/", Typeflag: tar.TypeDir})},
		{"long component", "name is too long", goTar(t, tar.Header{Name: strings.Repeat("a", 256), Typeflag: tar.TypeReg})},
		{"long name", "name is too long", goTar(t, tar.Header{Name: long, Typeflag: tar.TypeReg, Format: tar.FormatGNU})},
		{"root is a file", "the root is not a directory", goTar(t, tar.Header{Name: "./", Typeflag: tar.TypeSymlink, Linkname: "x"})},
		{"below a file", "lies below a name that is not a directory", goTar(t, tar.Header{Name: "a", Typeflag: tar.TypeReg}, tar.Header{Name: "a/b", Typeflag: tar.TypeReg})},
		{"below a link", "lies below a name that is not a directory", goTar(t, tar.Header{Name: "a", Typeflag: tar.TypeSymlink, Linkname: "/etc"}, tar.Header{Name: "a/passwd", Typeflag: tar.TypeReg})},
		{"link to nothing", "hard link to ./b, which is not before it in the tar", goTar(t, tar.Header{Name: "a", Typeflag: tar.TypeLink, Linkname: "b"})},
		{"link to itself", "hard link to ./a, which is not before it in the tar", goTar(t, tar.Header{Name: "a", Typeflag: tar.TypeLink, Linkname: "a"})},
		{"link ahead", "hard link to ./b, which is not before it in the tar", goTar(t, tar.Header{Name: "a", Typeflag: tar.TypeLink, Linkname: "b"}, tar.Header{Name: "b", Typeflag: tar.TypeReg})},
		{"link to a directory", "hard link to ./b, a directory", goTar(t, tar.Header{Name: "b/", Typeflag: tar.TypeDir}, tar.Header{Name: "a", Typeflag: tar.TypeLink, Linkname: "b"})},
		{"link to an implied directory", "which is not before it", goTar(t, tar.Header{Name: "b/c", Typeflag: tar.TypeReg}, tar.Header{Name: "a", Typeflag: tar.TypeLink, Linkname: "b"})},
		{"link outside", "component", goTar(t, tar.Header{Name: "a", Typeflag: tar.TypeLink, Linkname: "../../etc/passwd"})},
		{"sparse beyond its size", "bad map of a sparse file", withPax(512, pax("GNU.sparse.map", "100,512"), pax("GNU.sparse.size", "600"))},
		{"sparse out of order", "bad map of a sparse file", withPax(4, pax("GNU.sparse.map", "10,2,5,2"), pax("GNU.sparse.size", "600"))},
		{"sparse that overlaps", "bad map of a sparse file", withPax(4, pax("GNU.sparse.map", "10,2,11,2"), pax("GNU.sparse.size", "600"))},
		{"sparse with less than there is", "bad map of a sparse file", withPax(4, pax("GNU.sparse.map", "10,2"), pax("GNU.sparse.size", "600"))},
		{"sparse with half a pair", "bad map of a sparse file", withPax(2, pax("GNU.sparse.map", "10"), pax("GNU.sparse.size", "600"))},
		{"sparse with overflow", "bad map of a sparse file", withPax(2, pax("GNU.sparse.map", "9223372036854775807,2"), pax("GNU.sparse.size", "9223372036854775807"))},
		{"sparse of words", `bad value of "GNU.sparse.map"`, withPax(2, pax("GNU.sparse.map", "x,2"), pax("GNU.sparse.size", "600"))},
		{"sparse of version 2", "bad map of a sparse file", withPax(2, pax("GNU.sparse.major", "2"), pax("GNU.sparse.minor", "0"))},
		{"sparse of an unknown field", `bad value of "GNU.sparse.x"`, withPax(2, pax("GNU.sparse.x", "2"))},
		{"sparse 1.0 without a map", "bad map of a sparse file", withPax(0, pax("GNU.sparse.major", "1"), pax("GNU.sparse.minor", "0"), pax("GNU.sparse.realsize", "600"))},
		{"sparse 1.0 with words", "bad map of a sparse file", withPax(512, pax("GNU.sparse.major", "1"), pax("GNU.sparse.minor", "0"), pax("GNU.sparse.realsize", "600"))},
		{"sparse 1.0 that claims millions", "bad map of a sparse file", sparse1("1048577\n")},
		{"sparse 1.0 with long numbers", "bad map of a sparse file", sparse1("1\n" + strings.Repeat("0", 21))},
		{"sparse 1.0 that goes on", "bad map of a sparse file", sparse1("2\n0\n1\n")},
		{"old sparse of words", "bad map of a sparse file", tarFile(block(func(b []byte) { b[156] = sparse; copy(b[386:], "zz") }))},
		{"old sparse without size", "bad map of a sparse file", tarFile(block(func(b []byte) { b[156] = sparse; copy(b[483:], "zz") }))},
		{"old sparse that goes on", "truncated", tarFile(block(func(b []byte) { b[156] = sparse; b[482] = 1 }))[:blockSize]},
	} {
		src, err := Open(bytes.NewReader(c.tar))
		if err == nil {
			src.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.what, err, c.want)
		}
		if err != nil && len(err.Error()) > 300000 {
			t.Errorf("%s: %d bytes of message", c.what, len(err.Error()))
		}
	}
}

// sparse1 is a file with a map of version 1.0.
func sparse1(text string) []byte {
	records := pax("GNU.sparse.major", "1") + pax("GNU.sparse.minor", "0") + pax("GNU.sparse.realsize", "600")
	content := append([]byte(text), make([]byte, archive.TarPadding(int64(len(text))))...)
	return tarFile(block(kind(extended, len(records))), []byte(records), block(kind(Regular, len(content))), content)
}

// What is odd but has one meaning is read.
func TestOdd(t *testing.T) {
	for _, c := range []struct {
		what, want string // names, types and sizes
		tar        []byte
	}{
		{"comment of git", "./name 0 5", tarFile(block(kind(global, 13)), []byte("13 comment=x\n"), block(kind(Regular, 5)), []byte("hello"))},
		{"label", "./name 0 5", tarFile(block(kind(volumeLabel, 0)), block(kind(Regular, 5)), []byte("hello"))},
		{"contiguous", "./name 0 5", tarFile(block(kind('7', 5)), []byte("hello"))},
		{"v7 file", "./name 0 5", tarFile(block(func(b []byte) { kind(0, 5)(b); clear(b[257:265]) }), []byte("hello"))},
		{"v7 directory", "./name 5 0", tarFile(block(func(b []byte) { b[156] = 0; copy(b, "name/") }))},
		{"directory of a dump", "./name 5 0", tarFile(block(kind(dumpDir, 5)), []byte("Ya\x00\x00\x00"))},
		{"size of a directory", "./name 5 0", tarFile(block(kind(Directory, 4096)))},
		{"size of a link", "./b 2 0\n./name 0 0", tarFile(block(kind(Regular, 0)), block(func(b []byte) { kind(Symlink, 7)(b); copy(b, "b\x00\x00\x00\x00"); copy(b[157:], "x") }))},
		{"size by base-256", "./name 0 5", tarFile(block(func(b []byte) {
			kind(Regular, 0)(b)
			copy(b[124:136], "\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x05")
		}), []byte("hello"))},
		{"spaces in numbers", "./name 0 5", tarFile(block(func(b []byte) { kind(Regular, 0)(b); copy(b[124:136], "         5 \x00") }), []byte("hello"))},
		{"PAX deletes a value", "./name 0 0", withPax(0, pax("path", ""))},
		{"PAX has its say after GNU", "./new 0 0", tarFile(block(kind(longName, 4)), []byte("old\x00"), block(kind(extended, 12)), []byte("12 path=new\n"), block(kind(Regular, 0)))},
		{"dots before a name", "./a 0 0", goTar(t, tar.Header{Name: "././a", Typeflag: tar.TypeReg})},
		{"padding to a record", "./name 0 0", append(tarFile(block(kind(Regular, 0))), make([]byte, 20*blockSize)...)},
		{"padding that is no block", "./name 0 0", append(tarFile(block(kind(Regular, 0))), make([]byte, 100)...)},
		{"prefix", "./p 5 0\n./p/name 0 0", tarFile(block(func(b []byte) { copy(b[345:], "p") }))},
		{"twice", "./name 0 3", tarFile(block(kind(Regular, 5)), []byte("hello"), block(kind(Regular, 3)), []byte("bye"))},
		{"a file that becomes a directory", "./name 5 0\n./name/x 0 0", tarFile(block(kind(Regular, 0)), block(kind(Directory, 0)), block(func(b []byte) { copy(b, "name/x") }))},
		{"signed checksum", "./n\xff\xff\xff 0 0", tarFile(signed(block(func(b []byte) { copy(b, "n\xff\xff\xff") })))},
	} {
		src, err := Open(bytes.NewReader(c.tar))
		if err != nil {
			t.Errorf("%s: %v", c.what, err)
			continue
		}
		var got []string
		must(t, src.Walk(func(name []byte) error {
			st, err := src.Stat(name)
			if len(name) > 1 {
				kinds := map[uint32]string{list.Regular: "0", list.Symlink: "2", list.Directory: "5"}
				got = append(got, string(name)+" "+kinds[st.Type()]+" "+sizeOf(st.Size))
			}
			return err
		}))
		if all := strings.Join(got, "\n"); all != c.want {
			t.Errorf("%s: %q, want %q", c.what, all, c.want)
		}
		must(t, src.Close())
	}
}

func sizeOf(n int64) string {
	if n == 0 {
		return "0"
	}
	return itoa(int(n))
}

// signed gives a block the checksum that some old programs made.
func signed(b []byte) []byte {
	sum := 8 * int(' ')
	for i, c := range b {
		if i < 148 || i >= 156 {
			sum += int(int8(c))
		}
	}
	copy(b[148:], octal(sum)[4:])
	return b
}

// A link is to what its target was when it was unpacked, whatever comes later.
func TestLinkBeforeReplacement(t *testing.T) {
	b := goTar(t,
		tar.Header{Name: "a", Typeflag: tar.TypeReg, Size: 3},
		tar.Header{Name: "b", Typeflag: tar.TypeLink, Linkname: "a"},
		tar.Header{Name: "c", Typeflag: tar.TypeLink, Linkname: "./b"},
		tar.Header{Name: "a", Typeflag: tar.TypeReg, Size: 5})
	src, err := Open(bytes.NewReader(b))
	must(t, err)
	defer src.Close()
	var st [3]archive.Stat
	for i, name := range []string{"./a", "./b", "./c"} {
		st[i], err = src.Stat([]byte(name))
		must(t, err)
	}
	if st[0].Size != 5 || st[1].Size != 3 || st[1] != st[2] || st[1].Nlink != 3 || st[0].Nlink != 1 || src.Twice.N != 1 {
		t.Errorf("%+v, %+v", st, src.Twice)
	}
}

// A file that somebody has begun to read is a tar from there on.
func TestOpenFromOffset(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	must(t, err)
	defer f.Close()
	_, err = f.Write(append([]byte("a line\n"), goTar(t, tar.Header{Name: "a", Typeflag: tar.TypeReg, Size: 3})...))
	must(t, err)
	_, err = f.Seek(7, io.SeekStart)
	must(t, err)
	src, err := Open(f)
	must(t, err)
	checkSource(t, src)
}

// The errors of a source's reader are those of what is read.
func TestReadErrors(t *testing.T) {
	oops := errors.New("oops")
	whole := goTar(t, tar.Header{Name: "a", Typeflag: tar.TypeReg, Size: 3})
	for n := range len(whole) {
		r := NewReader(io.MultiReader(bytes.NewReader(whole[:n]), broken{oops}))
		var err error
		for err == nil {
			_, err = r.Next()
		}
		if !errors.Is(err, oops) {
			t.Fatalf("after %d bytes: %v", n, err)
		}
	}
}

type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }

// FuzzReader holds this reader against Go's: what both accept they read alike, and what Go accepts is refused only for
// what is known.
func FuzzReader(f *testing.F) {
	f.Add(goTar(f, tar.Header{Name: "a/b", Typeflag: tar.TypeReg, Size: 3}, tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "x"}))
	f.Add(goTar(f, tar.Header{Name: strings.Repeat("long/", 60), Typeflag: tar.TypeDir, Uid: 1 << 30, ModTime: time.Unix(-5, 5e8), Format: tar.FormatPAX}))
	f.Add(goTar(f, tar.Header{Name: strings.Repeat("long/", 60), Typeflag: tar.TypeDir, Format: tar.FormatGNU}))
	f.Add(goTar(f, tar.Header{Name: "dev", Typeflag: tar.TypeChar, Devmajor: 5, Devminor: 300}, tar.Header{Name: "x", Typeflag: tar.TypeReg, PAXRecords: map[string]string{"SCHILY.xattr.user.a": "b"}}))
	f.Add(sparse1("1\n0\n0\n"))
	f.Add(withPax(512, pax("GNU.sparse.map", "88,512"), pax("GNU.sparse.size", "600"), pax("GNU.sparse.name", "n")))
	f.Add(tarFile(block(func(b []byte) { b[156] = sparse; copy(b[483:], "00000000100") })))
	f.Fuzz(func(t *testing.T, in []byte) {
		ours, theirs := NewReader(bytes.NewReader(in)), tar.NewReader(bytes.NewReader(in))
		for {
			h, err := ours.Next()
			if err != nil {
				break
			}
			want, err := theirs.Next()
			for err == nil && (want.Typeflag == tar.TypeXGlobalHeader || want.Typeflag == volumeLabel) {
				want, err = theirs.Next()
			}
			if err != nil {
				break // what is after a NUL, for one, is no error here
			}
			compareHeaders(t, h, want)
			var got, content bytes.Buffer
			_, err1 := got.ReadFrom(io.LimitReader(ours, 1<<16))
			if !h.Sparse {
				_, err2 := content.ReadFrom(io.LimitReader(theirs, 1<<16))
				if err1 == nil && err2 == nil && h.kind() == Regular && !bytes.Equal(got.Bytes(), content.Bytes()) {
					t.Fatalf("%q has other content", h.Name)
				}
			}
		}
		src, err := Open(bytes.NewReader(in))
		if err == nil {
			checkSource(t, src)
		}
	})
}

func compareHeaders(t *testing.T, h *Header, want *tar.Header) {
	t.Helper()
	if string(h.Name) != want.Name && strings.TrimRight(want.Name, "/") != strings.TrimRight(string(h.Name), "/") {
		t.Fatalf("name %q, want %q", h.Name, want.Name)
	}
	if int(h.UID) != want.Uid || int(h.GID) != want.Gid || h.Kind == Regular && h.Size != want.Size {
		t.Fatalf("%+v, want %+v", h, want)
	}
}

// checkSource reads all that a source has, within bounds.
func checkSource(t *testing.T, src *Source) {
	t.Helper()
	defer src.Close()
	var names []string
	must(t, src.Walk(func(name []byte) error {
		must(t, list.CheckName(name))
		names = append(names, string(name))
		st, err := src.Stat(name)
		must(t, err)
		if st.Type() == list.Regular && st.Size < 1<<20 {
			c, err := src.Open(name, st)
			must(t, err)
			n, err := io.Copy(io.Discard, c)
			if n != st.Size || err != nil {
				t.Fatalf("%q has %d bytes, not %d: %v", name, n, st.Size, err)
			}
		}
		if st.Size < 0 || st.Size > math.MaxInt64/2 && len(names) > 1<<20 {
			t.Fatal(st.Size)
		}
		return nil
	}))
	if !slices.IsSorted(names) || len(names) == 0 || names[0] != list.Root {
		t.Fatalf("%q", names)
	}
}
