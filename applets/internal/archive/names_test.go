package archive

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ctbox/ctbox/applets/internal/list"
)

func TestNames(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "f", "text")
	must(t, os.Mkdir(filepath.Join(dir, "d"), 0o755))
	must(t, os.Symlink("d", filepath.Join(dir, "l")))
	d := openDir(t, dir)
	names, err := d.Names([]byte(list.Root))
	must(t, err)
	slices.Sort(names)
	if want := []string{"d", "d/", "f", "l"}; !slices.Equal(names, want) {
		t.Errorf("%q, not %q", names, want)
	}
	if names, err := d.Names([]byte("./d")); err != nil || len(names) != 0 {
		t.Errorf("an empty directory: %q, %v", names, err)
	}
	for _, name := range []string{"./f", "./l", "./none"} {
		if names, err := d.Names([]byte(name)); err == nil {
			t.Errorf("%s, which is no directory, holds %q", name, names)
		}
	}
}
