package output

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestUnnamed: what is read again has no name while it is used, wherever it could be made.
func TestUnnamed(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	t.Setenv("TMPDIR", elsewhere)
	for _, in := range []string{dir, filepath.Join(dir, "absent"), ""} {
		f, err := Unnamed(in)
		if err != nil {
			t.Fatalf("%q: %v", in, err)
		}
		wantNames(t, dir)
		wantNames(t, elsewhere)
		b := make([]byte, 4)
		if _, err := f.WriteString("text"); err != nil {
			t.Error(err)
		}
		if _, err := f.ReadAt(b, 0); err != nil || string(b) != "text" {
			t.Errorf("%q: %q, %v", in, b, err)
		}
		f.Close()
	}
	wantNames(t, dir)
	wantNames(t, elsewhere)
}

// TestUnnamedError names the directory, not a file that nobody knows.
func TestUnnamedError(t *testing.T) {
	absent := filepath.Join(t.TempDir(), "absent")
	t.Setenv("TMPDIR", absent)
	if _, err := Unnamed(""); err == nil || !strings.HasPrefix(err.Error(), "create "+absent+": ") {
		t.Error(err)
	}
}
