package vm

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestFileIdentityOfRepeatedBuild: another file of the same size and time is not the same.
func TestFileIdentityOfRepeatedBuild(t *testing.T) {
	path := filepath.Join(t.TempDir(), "program")
	var seen [2]string
	for i, text := range []string{"one", "two"} {
		if err := os.WriteFile(path+"new", []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path+"new", time.Unix(1, 0), time.Unix(1, 0)); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+"new", path); err != nil {
			t.Fatal(err)
		}
		seen[i] = fileIdentity(path)
	}
	if seen[0] == seen[1] {
		t.Error(seen[0])
	}
}

// endless is text without an end.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	e.read += len(p)
	if e.read > 64<<20 {
		return 0, io.ErrNoProgress
	}
	return copy(p, strings.Repeat("y\n", len(p))), nil
}

// TestEndlessInitrd: what is no initrd does not fill the memory first.
func TestEndlessInitrd(t *testing.T) {
	r := &runner{Options: &Options{Initrd: new(endless), Name: "yes"}}
	defer r.close()
	if err := r.openInitrd(); err == nil || !strings.Contains(err.Error(), "yes: not an initrd") {
		t.Error(err)
	}
}

// TestAcceleratorAfterPermission: who joins the group kvm has it without starting the machine again; a broken one stays so.
func TestAcceleratorAfterPermission(t *testing.T) {
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		t.Skip(err)
	}
	f.Close()
	r := &runner{Options: &Options{Accel: "auto"}, cache: &Cache{t.TempDir()}}
	for known, want := range map[string]string{"forbidden": "kvm", kvmBroken: "tcg"} {
		r.cache.Remember(r.kvmKey(), known)
		if got, err := r.accelerator(); got != want || err != nil {
			t.Errorf("%s: %s, %v", known, got, err)
		}
	}
}
