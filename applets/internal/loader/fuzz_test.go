package loader

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ctbox/ctbox/applets/internal/archive"
	"github.com/ctbox/ctbox/applets/internal/fuzztest"
)

// Whatever a tree has for a configuration: it is read once, in bounded time, and nothing outside the tree is.
func FuzzConf(f *testing.F) {
	for _, text := range []string{
		"/opt/a\n/opt/b=libc6 # c\nhwcap 1 x\n", "include *.conf\ninclude ld.so.conf", "include", "include " + strings.Repeat("* ", 3000), "include ../../../../*\ninclude /*\ninclude /../../etc/*",
		"include [\ninclude [^\ninclude \\", "=\n#\n\x00\n", strings.Repeat("/d\n", 2000), strings.Repeat("include x", 4000),
	} {
		f.Add([]byte(text), []byte("include b.conf ../etc/*\n/opt"))
	}
	dir := f.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "etc"), 0o755); err != nil {
		f.Fatal(err)
	}
	d, err := archive.OpenDir(dir)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		for name, text := range map[string][]byte{"ld.so.conf": first, "b.conf": second} {
			if err := os.WriteFile(filepath.Join(dir, "etc", name), text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		c := &conf{tree: &tree{dir: d}}
		// A pattern has each name in a directory made and looked at.
		fuzztest.Bounded(t, len(first)+len(second), 8<<20, 16<<10, func() { c.file("/etc/ld.so.conf") })
		if len(c.files) > maxConfs || len(c.dirs) > maxConfs {
			t.Errorf("%d files, %d directories", len(c.files), len(c.dirs))
		}
		for i, dir := range c.dirs {
			if dir != strings.TrimSpace(dir) || strings.ContainsAny(dir, "#\n") || !strings.Contains(string(first)+"\n"+string(second), dir) {
				t.Errorf("directory %d is %q", i, dir)
			}
		}
	})
}
