package tests

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/ctbox/ctbox/tests/treetest"
)

// A reader unpacks the layer $1 into the directory $2.
type reader struct {
	tool, script string
	attrs        bool // keeps extended attributes
	owners       bool // keeps owners beyond the ustar field, and of symbolic links
}

var readers = []reader{
	{"tar", `tar --numeric-owner --xattrs --xattrs-include='*' -xpf "$1" -C "$2"`, true, true},
	{"bsdtar", `bsdtar --numeric-owner -xpf "$1" -C "$2"`, true, true},
	{"busybox", `busybox tar -xpf "$1" -C "$2"`, false, false},
	{"python3", `python3 -c 'import sys,tarfile
t = tarfile.open(sys.argv[1], encoding="utf-8", errors="surrogateescape")
t.extractall(sys.argv[2], numeric_owner=True, **({"filter": "fully_trusted"} if hasattr(tarfile, "data_filter") else {}))' "$1" "$2"`, false, true},
}

// TestReadersAgree packs random trees, has programs that we did not write unpack them, and lists the result: it is the
// same list.
func TestReadersAgree(t *testing.T) {
	entries := 60
	if os.Geteuid() == 0 {
		entries = 300
	}
	for _, r := range readers {
		t.Run(r.tool, func(t *testing.T) {
			requireTool(t, r.tool)
			if !r.owners && os.Geteuid() != 0 {
				t.Skip("as an ordinary user it applies the umask")
			}
			ctbox := box(t)
			for seed := range uint64(3) {
				dir := t.TempDir()
				tree, layer, out := filepath.Join(dir, "tree"), filepath.Join(dir, "layer"), filepath.Join(dir, "out")
				check(t, os.Mkdir(tree, 0o755))
				check(t, os.Mkdir(out, 0o700))
				treetest.Tree{Seed: seed, Entries: entries, User: os.Geteuid() != 0}.Make(t, tree)
				want := pipe(t, "", ctbox, "fileids", tree)
				if !r.owners {
					want = strings.NewReplacer("2097152", "5", "3000000", "6").Replace(want)
				}
				pipe(t, want, ctbox, "mklayer", "-C", tree, "--root-entry", "-o", layer)
				pipe(t, "", "sh", "-c", r.script, "sh", layer, out)
				got := pipe(t, "", ctbox, "fileids", out)
				if !r.owners {
					want, got = linkOwner.ReplaceAllString(want, "$1-0-0-"), linkOwner.ReplaceAllString(got, "$1-0-0-")
				}
				if !r.attrs {
					compareLists(t, withoutAttrs(want), withoutAttrs(got))
					continue
				}
				compareLists(t, want, got)
				pipe(t, got, ctbox, "mklayer", "-C", out, "--root-entry", "-o", layer+"2")
				pipe(t, "", "cmp", layer, layer+"2")
			}
		})
	}
}

var linkOwner = regexp.MustCompile(`(?m)( 0120777)-\d+-\d+-`)

func withoutAttrs(records string) string {
	lines := strings.Split(records, "\n")
	for i, line := range lines {
		if before, after, found := strings.Cut(line, "-xattr="); found {
			lines[i] = before + after[64:]
		}
	}
	return strings.Join(lines, "\n")
}

func compareLists(t *testing.T, want, got string) {
	t.Helper()
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	bad := 0
	for i := range min(len(w), len(g)) {
		if w[i] != g[i] && bad < 5 {
			t.Errorf("packed   %q\nunpacked %q", w[i], g[i])
			bad++
		}
	}
	if len(w) != len(g) {
		t.Errorf("%d records packed, %d unpacked", len(w), len(g))
	}
}
