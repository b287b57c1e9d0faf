package image

import (
	"bytes"
	"crypto/sha256"
	"io"
	"strings"
	"testing"

	"github.com/ctbox/ctbox/applets/internal/archive"
	"github.com/ctbox/ctbox/applets/internal/compress"
)

// What mklayer compresses while it writes and what mkimage compresses afterwards are the same bytes.
func TestEntriesAsWritten(t *testing.T) {
	var plain, want bytes.Buffer
	z, err := compress.NewWriter(&want, "gzip", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []io.Writer{&plain, z} {
		tw := archive.NewTarWriter(w)
		for i := range 300 {
			content := strings.Repeat("some content "+string(rune('a'+i%26)), 500*(i%40))
			name := strings.Repeat("long", 1+i%70) + "/" + string(rune('A'+i))
			e := archive.TarEntry{Name: []byte(name), Kind: '0', Size: int64(len(content))}
			if err := tw.Header(&e); err != nil {
				t.Fatal(err)
			}
			if err := tw.Content(strings.NewReader(content), e.Size, sha256.New()); err != nil {
				t.Fatal(err)
			}
		}
		if err := tw.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for _, step := range []int{1 << 20, 511, 4096} {
		var got bytes.Buffer
		z, err := compress.NewWriter(&got, "gzip", 0)
		if err != nil {
			t.Fatal(err)
		}
		e := &entryWriter{z: z}
		for b := plain.Bytes(); len(b) > 0; b = b[min(step, len(b)):] {
			if _, err := e.Write(b[:min(step, len(b))]); err != nil {
				t.Fatal(err)
			}
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), want.Bytes()) {
			t.Errorf("in steps of %d: %d bytes, not the same %d", step, got.Len(), want.Len())
		}
	}
}

// Whatever is written comes out.
func FuzzEntryWriter(f *testing.F) {
	f.Add(pack(f, "a", "b/", "c -> d"), 100)
	f.Add([]byte("short"), 1)
	f.Fuzz(func(t *testing.T, in []byte, step int) {
		if step < 1 {
			return
		}
		var out bytes.Buffer
		z, err := compress.NewWriter(&out, "none", 0)
		if err != nil {
			t.Fatal(err)
		}
		e := &entryWriter{z: z}
		for b := in; len(b) > 0; b = b[min(step, len(b)):] {
			if _, err := e.Write(b[:min(step, len(b))]); err != nil {
				t.Fatal(err)
			}
		}
		if err := e.Close(); err != nil || !bytes.Equal(out.Bytes(), in) {
			t.Fatalf("%d bytes became %d, %v", len(in), out.Len(), err)
		}
	})
}
