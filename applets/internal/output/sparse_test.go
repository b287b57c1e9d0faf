package output

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// fillSparse writes a little at the end of 8 MiB less 10 bytes.
func fillSparse(f *io.OffsetWriter) (int64, error) {
	const size = 8<<20 - 10
	for _, at := range []int64{size - 10, 1000} {
		if _, err := f.WriteAt([]byte("here"), at); err != nil {
			return 0, err
		}
	}
	return size, nil
}

func sparseContent() []byte {
	want := make([]byte, 8<<20-10)
	copy(want[1000:], "here")
	copy(want[len(want)-10:], "here")
	return want
}

// What is written is the same to a new file, behind what is there, over what is there, at the end, and to what is no file.
func TestSparse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	for _, test := range []struct {
		name, before string
		flags        int
		seek         int64
		want         string // before what was written
	}{
		{"new", "", 0, 0, ""},
		{"behind", "before", 0, 6, "before"},
		{"beyond", "before", 0, 8, "before\x00\x00"},
		{"over", "before", 0, 3, "bef"},
		{"append", "before", os.O_APPEND, 0, "before"},
	} {
		if err := os.WriteFile(path, []byte(test.before), 0o644); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(path, os.O_RDWR|test.flags, 0)
		if err != nil {
			t.Fatal(err)
		}
		f.Seek(test.seek, io.SeekStart)
		if err := Sparse(f, fillSparse); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if _, err := f.WriteString("after"); err != nil {
			t.Error(err)
		}
		f.Close()
		got, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, append(append([]byte(test.want), sparseContent()...), "after"...)) {
			t.Errorf("%s: %d bytes, %v", test.name, len(got), err)
		}
	}
	var b bytes.Buffer
	if err := Sparse(&b, fillSparse); err != nil || !bytes.Equal(b.Bytes(), sparseContent()) {
		t.Errorf("%d bytes, %v", b.Len(), err)
	}
}

func TestSparseFails(t *testing.T) {
	failed := errors.New("failed")
	fail := func(*io.OffsetWriter) (int64, error) { return 0, failed }
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, w := range []io.Writer{f, new(bytes.Buffer)} {
		if err := Sparse(w, fail); !errors.Is(err, failed) {
			t.Error(err)
		}
	}
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "missing"))
	if err := Sparse(new(bytes.Buffer), fillSparse); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
