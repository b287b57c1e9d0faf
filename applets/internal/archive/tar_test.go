package archive

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// tarOf is an archive of one entry. A regular file's content is zeros.
func tarOf(t testing.TB, e *TarEntry) []byte {
	t.Helper()
	var out bytes.Buffer
	w := NewTarWriter(&out)
	must(t, w.Header(e))
	if e.Kind == tarRegular {
		must(t, w.Content(bytes.NewReader(make([]byte, e.Size)), e.Size, sha256.New()))
	}
	must(t, w.Close())
	return out.Bytes()
}

// TestTarFields writes values at the limits of the ustar fields and reads them with Go's reader. pax tells whether
// an extended header must be there.
func TestTarFields(t *testing.T) {
	file := func(change func(*TarEntry)) TarEntry {
		e := TarEntry{Name: []byte("f"), Kind: tarRegular, Mode: 0o644}
		change(&e)
		return e
	}
	for name, c := range map[string]struct {
		entry TarEntry
		pax   bool
	}{
		"plain":                {file(func(*TarEntry) {}), false},
		"all permissions":      {file(func(e *TarEntry) { e.Mode = 0o107777 }), false},
		"largest uid":          {file(func(e *TarEntry) { e.UID, e.GID = 2097151, 2097151 }), false},
		"uid too large":        {file(func(e *TarEntry) { e.UID = 2097152 }), true},
		"gid too large":        {file(func(e *TarEntry) { e.GID = 3000000 }), true},
		"greatest uid":         {file(func(e *TarEntry) { e.UID, e.GID = 1<<32-2, 1<<32-2 }), true},
		"last time in ustar":   {file(func(e *TarEntry) { e.Time = 1<<33 - 1 }), false},
		"first time in pax":    {file(func(e *TarEntry) { e.Time = 1 << 33 }), true},
		"before 1970":          {file(func(e *TarEntry) { e.Time = -1 }), true},
		"long before 1970":     {file(func(e *TarEntry) { e.Time = -1 << 40 }), true},
		"link of 100 bytes":    {file(func(e *TarEntry) { e.Kind, e.Target = tarSymlink, letters(100) }), false},
		"link of 101 bytes":    {file(func(e *TarEntry) { e.Kind, e.Target = tarSymlink, letters(101) }), true},
		"link of 4095 bytes":   {file(func(e *TarEntry) { e.Kind, e.Target = tarSymlink, letters(4095) }), true},
		"long link, not UTF-8": {file(func(e *TarEntry) { e.Kind, e.Target = tarSymlink, append(letters(100), 0xff) }), true},
		"short, not UTF-8":     {file(func(e *TarEntry) { e.Name = []byte("\xff\n\x01 ") }), false},
		"long, not UTF-8":      {file(func(e *TarEntry) { e.Name = append(letters(200), 0xff) }), true},
		"device":               {file(func(e *TarEntry) { e.Kind, e.Major, e.Minor = tarChar, 2097151, 2097151 }), false},
		"attribute": {file(func(e *TarEntry) {
			e.Xattrs = []Xattr{{"security.capability", []byte("\x00\n=\xff")}, {"user.\n", []byte("1")}}
		}), true},
	} {
		t.Run(name, func(t *testing.T) {
			out := tarOf(t, &c.entry)
			checkTar(t, out, []TarEntry{c.entry})
			if pax := out[156] == tarExtended; pax != c.pax {
				t.Errorf("extended header: %v", pax)
			}
		})
	}
}

// TestTarSizes writes only headers: the sizes are what matters.
func TestTarSizes(t *testing.T) {
	for size, pax := range map[int64]bool{0: false, 1: false, 8<<30 - 1: false, 8 << 30: true, 1 << 50: true} {
		var out bytes.Buffer
		w := NewTarWriter(&out)
		must(t, w.Header(&TarEntry{Name: []byte("f"), Kind: tarRegular, Size: size}))
		must(t, w.Close())
		h, err := tar.NewReader(&out).Next()
		must(t, err)
		if h.Size != size || (h.Format == tar.FormatPAX) != pax {
			t.Errorf("%d: read as %d, %v", size, h.Size, h.Format)
		}
	}
}

// TestTarNames is about names at every length where the two name fields of ustar can and cannot hold them.
func TestTarNames(t *testing.T) {
	split := func(prefix, name int) []byte { return append(append(letters(prefix), '/'), letters(name)...) }
	dir := func(name []byte) []byte { return append(name, '/') }
	for _, c := range []struct {
		name []byte
		pax  bool
	}{
		{letters(1), false}, {letters(100), false}, {letters(101), true}, {letters(255), true},
		{dir(letters(99)), false}, {dir(letters(100)), true},
		{split(1, 100), false}, {split(1, 101), true}, {split(100, 1), false},
		{split(155, 100), false}, {split(155, 101), true}, {split(156, 1), true}, {split(156, 99), true},
		{dir(split(155, 99)), false}, {dir(split(155, 100)), true}, {dir(split(156, 50)), true},
		{append(dir(letters(155)), split(49, 50)...), false},
		{bytes.Repeat([]byte("d/"), 128), false}, {bytes.Repeat([]byte("d/"), 129), true},
		{bytes.Repeat([]byte("d/"), 5000), true},
	} {
		e := TarEntry{Name: c.name, Kind: tarRegular}
		if c.name[len(c.name)-1] == '/' {
			e.Kind = tarDirectory
		}
		out := tarOf(t, &e)
		checkTar(t, out, []TarEntry{e})
		if pax := out[156] == tarExtended; pax != c.pax {
			t.Errorf("name of %d bytes (%.20s...): extended header %v", len(c.name), c.name, pax)
		}
	}
}

func letters(n int) []byte { return bytes.Repeat([]byte("a"), n) }

// TestPaxLengths: the number that begins a record counts its own digits.
func TestPaxLengths(t *testing.T) {
	var b []byte
	for size := range 11000 {
		b = appendRecord(b[:0], "k", letters(size))
		var n int
		_, err := fmt.Sscanf(string(b), "%d k=", &n)
		must(t, err)
		if n != len(b) || b[n-1] != '\n' {
			t.Fatalf("value of %d bytes: record of %d says %d", size, len(b), n)
		}
	}
}

func TestTarRefuses(t *testing.T) {
	w := NewTarWriter(io.Discard)
	for want, e := range map[error]TarEntry{
		errDeviceNumber: {Name: []byte("d"), Kind: tarBlock, Minor: 2097152},
		errXattrName:    {Name: []byte("f"), Kind: tarRegular, Xattrs: []Xattr{{"user.a=b", []byte("1")}}},
	} {
		if err := w.Header(&e); !errors.Is(err, want) {
			t.Errorf("%v, not %v", err, want)
		}
	}
}

// TestTarContent: a file that is not as long as its header says is an error, at any place in the buffer.
func TestTarContent(t *testing.T) {
	for _, size := range []int64{1, 511, 512, 513, 64 << 10, 512<<10 - 512, 512 << 10, 1<<20 + 1} {
		for _, c := range []struct {
			have int64
			want error
		}{{size, nil}, {size - 1, ErrRacing}, {size + 1, ErrRacing}, {0, ErrRacing}} {
			var out bytes.Buffer
			w, h := NewTarWriter(&out), sha256.New()
			must(t, w.Header(&TarEntry{Name: []byte("f"), Kind: tarRegular, Size: size}))
			err := w.Content(io.LimitReader(endless{}, c.have), size, h)
			if !errors.Is(err, c.want) {
				t.Errorf("%d of %d bytes: %v", c.have, size, err)
			}
			if err == nil && !bytes.Equal(h.Sum(nil), sumOf(endless{}, size)) {
				t.Errorf("%d bytes: wrong digest", size)
			}
		}
	}
}

// endless reads as x for ever.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

func sumOf(r io.Reader, size int64) []byte {
	h := sha256.New()
	io.CopyN(h, r, size)
	return h.Sum(nil)
}

// TestTarWriteErrors: no error of the underlying writer is lost, wherever it comes.
func TestTarWriteErrors(t *testing.T) {
	full := errors.New("full")
	const brim = bufferSize - TarBlock // the end begins with a full buffer
	w := NewTarWriter(&limited{err: full})
	must(t, w.Header(&TarEntry{Name: []byte("f"), Kind: tarRegular, Size: brim}))
	must(t, w.Content(io.LimitReader(endless{}, brim), brim, nil))
	if err := w.Close(); err != full {
		t.Error(err)
	}
	const size = 3 << 20
	for room := int64(0); room <= size; room += 100 << 10 {
		w := NewTarWriter(&limited{left: room, err: full})
		err := w.Header(&TarEntry{Name: []byte("f"), Kind: tarRegular, Size: size})
		if err == nil {
			err = w.Content(io.LimitReader(endless{}, size), size, sha256.New())
		}
		if err == nil {
			err = w.Close()
		}
		if err != full {
			t.Errorf("room for %d bytes: %v", room, err)
		}
	}
}

// limited is a disk that fills up.
type limited struct {
	left int64
	err  error
}

func (l *limited) Write(p []byte) (int, error) {
	if int64(len(p)) > l.left {
		return 0, l.err
	}
	l.left -= int64(len(p))
	return len(p), nil
}

// checkTar reads an archive with Go's reader and compares it with what was written.
func checkTar(t testing.TB, archive []byte, want []TarEntry) {
	t.Helper()
	checkBlocks(t, archive)
	r := tar.NewReader(bytes.NewReader(archive))
	for i := range want {
		h, err := r.Next()
		if err != nil {
			t.Fatalf("entry %d: %v", i, err)
		}
		w := &want[i]
		got := TarEntry{
			Name: []byte(h.Name), Target: []byte(h.Linkname), Kind: h.Typeflag, Mode: uint32(h.Mode),
			UID: uint32(h.Uid), GID: uint32(h.Gid), Size: h.Size, Time: h.ModTime.Unix(),
			Major: uint32(h.Devmajor), Minor: uint32(h.Devminor),
		}
		for _, a := range w.Xattrs {
			if v, ok := h.PAXRecords["SCHILY.xattr."+a.Name]; ok {
				got.Xattrs = append(got.Xattrs, Xattr{a.Name, []byte(v)})
			}
		}
		same := *w
		same.Mode &= 0o7777
		if g, w := fmt.Sprintf("%+q", []any{got}), fmt.Sprintf("%+q", []any{same}); g != w {
			t.Errorf("entry %d:\nread    %.600s\nwritten %.600s", i, g, w)
		}
		if n, err := io.Copy(io.Discard, r); n != h.Size || err != nil {
			t.Errorf("entry %d: content of %d bytes, %v", i, n, err)
		}
	}
	if _, err := r.Next(); err != io.EOF {
		t.Errorf("more entries than written: %v", err)
	}
}

// checkBlocks walks over the blocks by itself: each header has the magic and a right checksum, and the archive ends in
// exactly two blocks of zeros.
func checkBlocks(t testing.TB, archive []byte) {
	t.Helper()
	var size int64
	for at := int64(0); at < int64(len(archive))-1024; {
		b := archive[at : at+512]
		var sum, told, length int64
		for i, c := range b {
			if i >= 148 && i < 156 {
				c = ' '
			}
			sum += int64(c)
		}
		fmt.Sscanf(string(b[148:154]), "%o", &told)
		fmt.Sscanf(string(b[124:135]), "%o", &length)
		if sum != told || b[154] != 0 || b[155] != ' ' || string(b[257:265]) != "ustar\x0000" {
			t.Fatalf("header at %d: checksum %o, not %o, or bad magic", at, told, sum)
		}
		if !strings.Contains("0x", string(b[156])) && length != 0 {
			t.Fatalf("header at %d: content where there can be none", at)
		}
		size = at + 512 + (length+511)&^511
		at = size
	}
	if int64(len(archive)) != size+1024 || !bytes.Equal(archive[size:], make([]byte, 1024)) {
		t.Fatalf("archive of %d bytes whose entries end at %d", len(archive), size)
	}
}
