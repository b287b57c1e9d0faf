package compress

import (
	"bytes"
	"hash/crc32"
	"io"
	"slices"
	"testing"
)

// writeReusing compresses data with what u knows and counts members.
func writeReusing(t testing.TB, data []byte, u *Reuse) (packed []byte, written, copied int) {
	t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, "gzip", 0)
	if err != nil {
		t.Fatal(err)
	}
	w.Reuse(u)
	w.Write(data)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	written, copied = w.Members()
	return out.Bytes(), written, copied
}

func section(b []byte) *io.SectionReader {
	return io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b)))
}

// reuseOf knows the members of a stream.
func reuseOf(t testing.TB, old []byte) *Reuse {
	t.Helper()
	u := new(Reuse)
	for end := len(old); end > 0; {
		start := bytes.LastIndex(old[:end], []byte(GzipHeader))
		if start < 0 {
			t.Fatal("no member")
		}
		if err := u.Add(io.NewSectionReader(bytes.NewReader(old), int64(start), int64(end-start))); err != nil {
			t.Fatal(err)
		}
		end = start
	}
	return u
}

func TestReuse(t *testing.T) {
	entries := tree(20, 300, 30_000)
	old, members, copied := writeReusing(t, join(entries), nil)
	if members < 8 || copied != 0 {
		t.Fatalf("%d members, %d copied", members, copied)
	}
	u := reuseOf(t, old)
	changed := slices.Concat(entries[:150], tree(21, 1, 30_000), entries[151:])
	want, _, _ := writeReusing(t, join(changed), nil)
	got, written, copied := writeReusing(t, join(changed), u)
	if !bytes.Equal(got, want) {
		t.Error("other bytes than without")
	}
	if copied < written-6 || copied == written {
		t.Errorf("%d of %d members were copied", copied, written)
	}
	got, written, copied = writeReusing(t, join(entries), u)
	if !bytes.Equal(got, old) || copied != written {
		t.Errorf("the same content: %d of %d members were copied", copied, written)
	}
}

// An initrd is one member of many parts, of which none stands for itself.
func TestReuseCpio(t *testing.T) {
	data := append([]byte("07070"), join(tree(22, 60, 30_000))...)
	old, members, _ := writeReusing(t, data, nil)
	u := reuseOf(t, old)
	if got, written, copied := writeReusing(t, data, u); members != 0 || written != 0 || copied != 0 || !bytes.Equal(got, old) {
		t.Errorf("%d and %d members, %d copied", members, written, copied)
	}
}

// Whatever a trailer says, only content counts.
func TestReuseForged(t *testing.T) {
	text := bytes.Repeat([]byte("text"), 1000)
	good, _, _ := writeReusing(t, text, nil)
	bad, _, _ := writeReusing(t, bytes.Repeat([]byte("evil"), 1000), nil)
	longer, _, _ := writeReusing(t, append(bytes.Clone(text), 'x'), nil)
	end := trailer(crc32.ChecksumIEEE(text), uint32(len(text)))
	for name, forged := range map[string][]byte{
		"other content": slices.Concat(bad[:len(bad)-trailerLen], end),
		"longer":        slices.Concat(longer[:len(longer)-trailerLen], end),
		"no end":        slices.Concat(good[:len(good)-trailerLen-3], end),
		"garbage":       slices.Concat(good[:len(good)-trailerLen], []byte("garbage"), end),
		"huge":          slices.Concat(good[:10], make([]byte, 1<<20), end),
		"only a header": []byte(GzipHeader),
		"twice the end": slices.Concat(good, end),
	} {
		got, _, copied := writeReusing(t, text, reuseOf(t, forged))
		if copied != 0 || !bytes.Equal(got, good) {
			t.Errorf("%s: it was copied", name)
		}
	}
}

// A file that is written while it is reused does no harm either.
func TestReuseChangedLater(t *testing.T) {
	data := join(tree(25, 60, 30_000))
	old, _, _ := writeReusing(t, data, nil)
	want := bytes.Clone(old)
	u := reuseOf(t, old)
	for i := len(old) / 3; i < len(old)/2; i++ {
		old[i] ^= 0x55
	}
	got, written, copied := writeReusing(t, data, u)
	if !bytes.Equal(got, want) || copied == 0 || copied == written {
		t.Errorf("%d of %d members were copied", copied, written)
	}
}

// What cannot be read is an error.
func TestReuseErrors(t *testing.T) {
	var u Reuse
	if err := u.Add(io.NewSectionReader(failing{}, 0, 100)); err != io.ErrClosedPipe || u.known != nil {
		t.Error(err)
	}
	if err := u.Add(section([]byte("short"))); err == nil {
		t.Error("a member is shorter than its end")
	}
}

type failing struct{}

func (failing) ReadAt([]byte, int64) (int, error) { return 0, io.ErrClosedPipe }

// FuzzReuse: whatever an older stream is, what is written unpacks to what was to be written.
func FuzzReuse(f *testing.F) {
	text := []byte("text text text")
	good, _, _ := writeReusing(f, text, nil)
	f.Add(good, text)
	f.Add(append(bytes.Clone(good), good...), text)
	f.Add(good[:20], text)
	f.Fuzz(func(t *testing.T, old, data []byte) {
		var u Reuse
		if err := u.Add(section(old)); err != nil {
			t.Skip()
		}
		packed, _, _ := writeReusing(t, data, &u)
		r, _, err := NewReader(bytes.NewReader(packed))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
	})
}
