package applets

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ctbox/ctbox/applets/internal/cli"
)

// A page begins with a date that is one and with its own name.
func TestManualHeads(t *testing.T) {
	eachManPage(t, func(t *testing.T, name, page string) {
		head := regexp.MustCompile(`^\.Dd (.*)\n\.Dt (.*)\n\.Os\n\.Sh NAME\n`).FindStringSubmatch(page)
		if head == nil {
			t.Fatal("it does not begin with .Dd, .Dt, .Os and NAME")
		}
		if date, err := time.Parse("January 2, 2006", head[1]); err != nil || date.Year() < 2026 {
			t.Errorf(".Dd %s: %v", head[1], err)
		}
		base, section, _ := strings.Cut(name, ".")
		if want := strings.ToUpper(base) + " " + section; head[2] != want {
			t.Errorf(".Dt %s, want %s", head[2], want)
		}
	})
}

// others are the pages of others that ours may refer to, as Debian's packages and the projects themselves have them.
const others = " awk(1) bpf(2) bwrap(1) capabilities(7) capset(2) cgroups(7) chattr(1) chown(2) chroot(8) close_range(2) comm(1) cp(1)" +
	" cpio(1) debootstrap(8) dlopen(3) docker(1) e2fsck(8) env(1) ext4(5) fakechroot(1) fakeroot(1) find(1) getsubids(1) git(1) grep(1) gzip(1) join(1) ld.so(8) ldconfig(8) ldd(1)" +
	" make(1) mke2fs(8) mkfs.erofs(1) mknod(2) mktemp(1) mmap(2) mmdebstrap(1) mount_namespaces(7) mount_setattr(2) newgidmap(1) newuidmap(1) pasta(1) pid_namespaces(7) pigz(1)" +
	" pivot_root(2) pivot_root(8) podman(1) prctl(2) qemu-system-x86_64(1) redo(1) resize2fs(8) rsync(1) seccomp(2) sed(1) setgroups(2)" +
	" setuid(2) sha256sum(1) slirp4netns(1) sort(1) ssh(1) stat(2) subuid(5) systemd-nspawn(1) tar(1) tar2sqfs(1) timeout(1) umask(2)" +
	" unshare(1) user_namespaces(7) write(2) zstd(1) "

// References lead to pages, and those of SEE ALSO are in the order of sections and names, each once, and not to the page itself.
func TestManualReferences(t *testing.T) {
	reference := regexp.MustCompile(`(?m)^\.(?:It )?Xr (\S+) (\d)`)
	eachManPage(t, func(t *testing.T, name, page string) {
		for _, m := range reference.FindAllStringSubmatch(page, -1) {
			if strings.HasPrefix(m[1], "ctbox") {
				if _, err := os.Stat(filepath.Join("..", "man", m[1]+"."+m[2])); err != nil {
					t.Errorf("%s(%s): %v", m[1], m[2], err)
				}
			} else if !strings.Contains(others, " "+m[1]+"("+m[2]+") ") {
				t.Errorf("%s(%s): if that page is there, add it to others", m[1], m[2])
			}
		}
		var also []string
		for _, m := range reference.FindAllStringSubmatch(manSection(page, "SEE ALSO"), -1) {
			also = append(also, m[2]+" "+m[1])
			if m[1]+"."+m[2] == name {
				t.Errorf("SEE ALSO has the page itself")
			}
		}
		if want := slices.Compact(slices.Sorted(slices.Values(also))); !slices.Equal(also, want) {
			t.Errorf("SEE ALSO has %q, want %q", also, want)
		}
		if name != "ctbox.1" && !slices.Contains(also, "1 ctbox") {
			t.Errorf("SEE ALSO lacks ctbox(1)")
		}
	})
}

// A command in the running text is one that ctbox takes: the applet is there, and so are its options. Operands may be missing.
func TestManualCommands(t *testing.T) {
	quoted := regexp.MustCompile(`(?m)^\.(?:Ql|Dl|Li|Ic) (?:ctbox )?([a-z0-9-]+)((?: [^ \n]+)+?)(?: [.,;:)])?$`)
	eachManPage(t, func(t *testing.T, _, page string) {
		for _, m := range quoted.FindAllStringSubmatch(page, -1) {
			a := lookup(m[1])
			if a == nil || !strings.Contains(m[2], " -") {
				continue
			}
			if _, err := cli.Parse(a, strings.Fields(m[2])); err != nil && !strings.Contains(err.Error(), "missing operand") {
				t.Errorf("%s: %v", m[0], err)
			}
		}
	})
}

// A message in DIAGNOSTICS is one that the code has: what is written in it in small letters is in one of its strings. Words in
// capitals, numbers, names with dots in them and three dots stand for something else.
func TestManualDiagnostics(t *testing.T) {
	texts := literals(t)
	item := regexp.MustCompile(`(?m)^\.It "(.*)"$`)
	variable := regexp.MustCompile(`\b[A-Z]+\b|\b\d+M?\b|\w+(?:\.\w+)+|\.\.\.|: `)
	eachManPage(t, func(t *testing.T, _, page string) {
		for _, m := range item.FindAllStringSubmatch(manSection(page, "DIAGNOSTICS"), -1) {
			for _, part := range variable.Split(strings.ReplaceAll(m[1], `\(dq`, `"`), -1) {
				part = strings.Trim(part, " ")
				if len(part) > 3 && !strings.Contains(texts, part) {
					t.Errorf("%q: no message has %q", m[1], part)
				}
			}
		}
	})
}

// literals are all strings in the code but for tests, a line for each.
func literals(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	eachSource(t, func(file *ast.File) {
		ast.Inspect(file, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				text, _ := strconv.Unquote(lit.Value)
				all.WriteString(text + "\n")
			}
			return true
		})
	})
	return all.String()
}

// eachSource parses every file of applets/ but tests, for whatever system.
func eachSource(t *testing.T, read func(file *ast.File)) {
	t.Helper()
	err := filepath.WalkDir(".", func(name string, _ os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err == nil {
			read(file)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// mandoc finds nothing wrong with the pages. With CI=true it must be here.
func TestManualLint(t *testing.T) {
	mandoc, err := exec.LookPath("mandoc")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	pages, err := filepath.Glob("../man/*")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(mandoc, append([]string{"-Tlint", "-W", "warning"}, pages...)...).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}
