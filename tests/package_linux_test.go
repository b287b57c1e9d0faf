package tests

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ctbox/ctbox/applets"
)

// packager is who makes and installs packages in tests that root runs, as a user without rights.
const packager = 61236

// asPackager is the beginning of a command line that runs as the packager; as who we are, if we are nobody special.
func asPackager(t *testing.T) []string {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	requireTool(t, "setpriv")
	return []string{"setpriv", fmt.Sprint("--reuid=", packager), fmt.Sprint("--regid=", packager), "--clear-groups"}
}

// openDir is a directory that the packager can come to, whatever the umask is.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ctbox-package-")
	check(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	check(t, os.Chmod(dir, 0o755))
	return dir
}

// give makes the packager the owner of a tree.
func give(t *testing.T, dir string) {
	t.Helper()
	if os.Geteuid() == 0 {
		check(t, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			return os.Lchown(path, packager, packager)
		}))
	}
}

// made runs a script that makes one file, and returns that file's name, the last line that it prints.
func made(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", cmd, err, out, stderr.Bytes())
	}
	return strings.TrimSuffix(string(out), "\n")
}

// sameFile fails a test if two files differ.
func sameFile(t *testing.T, a, b string) {
	t.Helper()
	first, err1 := os.ReadFile(a)
	second, err2 := os.ReadFile(b)
	if err1 != nil || err2 != nil || !bytes.Equal(first, second) || filepath.Base(a) != filepath.Base(b) {
		t.Errorf("%s and %s differ, %d and %d bytes, %v, %v", a, b, len(first), len(second), err1, err2)
	}
}

// A packageKind says how packages of one kind are made and checked, and how they come into a directory and out again. The
// commands are of a shell, with the directory as $1 and the package as $2.
type packageKind struct {
	script                    string
	tools                     []string
	describe, install, remove string
}

var packageKinds = []packageKind{{
	script:   "mkdeb",
	tools:    []string{"make", "dpkg", "dpkg-deb", "mandoc"},
	describe: `dpkg-deb --field "$2" Version Maintainer`,
	install: `mkdir -p "$1/var/lib/dpkg/info" "$1/var/lib/dpkg/updates" && : >"$1/var/lib/dpkg/status" &&
		dpkg --root="$1" --force-not-root --force-script-chrootless --log=/dev/null --install "$2" &&
		md5sum --check --quiet var/lib/dpkg/info/ctbox.md5sums`,
	remove: `dpkg --root="$1" --force-not-root --force-script-chrootless --log=/dev/null --purge ctbox`,
}, {
	script:   "mkrpm",
	tools:    []string{"make", "rpmbuild", "rpm", "mandoc"},
	describe: `rpm -qp --qf 'Version: %{VERSION}\nMaintainer: %{PACKAGER}\n' "$2"`,
	install: `rpm --root "$1" --dbpath /var/lib/rpm --install --nodeps "$2" &&
		rpm --root "$1" --dbpath /var/lib/rpm --verify --nodeps ctbox`,
	remove: `rpm --root "$1" --dbpath /var/lib/rpm --erase ctbox`,
}}

// TestPackages makes each kind of package twice, under conditions as unlike as can be; the two must have the same bytes,
// and must come into a root directory and out of it again without anything left.
func TestPackages(t *testing.T) {
	if testing.Short() {
		t.Skip("compresses the same program again and again")
	}
	program := staticCtbox(t)
	for _, kind := range packageKinds {
		t.Run(kind.script, func(t *testing.T) {
			requireTool(t, kind.tools...)
			t.Parallel()
			dir := openDir(t)
			plain := exec.Command(filepath.Join(copySource(t, filepath.Join(dir, "src")), "scripts", kind.script), filepath.Join(dir, "plain"))
			plain.Env = append(os.Environ(), "CTBOX="+program, "VERSION=", "SOURCE_DATE_EPOCH=")
			pack := made(t, plain)
			sameFile(t, pack, kind.otherwise(t, dir, program))

			out, errs, err := try("", "sh", "-c", kind.describe, "sh", "", pack)
			if want := "Version: 0~devel\nMaintainer: ctbox maintainers <maintainers@ctbox.invalid>\n"; err != nil || out != want {
				t.Errorf("%q, %v\n%s", out, err, errs)
			}
			if kind.script == "mkdeb" {
				t.Run("lintian", func(t *testing.T) {
					requireTool(t, "lintian")
					out, err := exec.Command("lintian", "--allow-root", "--fail-on=error,warning", pack).CombinedOutput()
					if err != nil || len(out) != 0 {
						t.Errorf("%v\n%s", err, out)
					}
				})
			}
			t.Run("user", func(t *testing.T) {
				requireNamespaces(t)
				kind.tryInstall(t, dir, pack, append(asPackager(t), "unshare", "--user", "--map-root-user"))
			})
			t.Run("root", func(t *testing.T) {
				requireRoot(t)
				kind.tryInstall(t, dir, pack, nil)
			})
		})
	}
}

// otherwise makes a package as another user, in a directory with another name, with another umask, time, zone, language, home,
// number of processors and habits.
func (k *packageKind) otherwise(t *testing.T, dir, program string) string {
	t.Helper()
	other := filepath.Join(dir, "an other place")
	src := copySource(t, filepath.Join(other, "src"))
	copyFile(t, program, filepath.Join(other, "a program"))
	check(t, os.WriteFile(filepath.Join(other, ".rpmmacros"), []byte("%vendor Me\n%_buildhost here\n%_topdir /nowhere\n"), 0o644))
	give(t, other)
	line := append(asPackager(t), "sh", "-c", `umask 077; chmod -R go= .; find . -exec touch -h -d 2001-02-03 {} +
		if taskset 1 true; then set -- taskset 1 "$@"; fi; exec "$@"`, "sh", filepath.Join(src, "scripts", k.script), "made here")
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Dir = other
	cmd.Env = append(os.Environ(), "CTBOX=a program", "VERSION=", "SOURCE_DATE_EPOCH=", "USER=me", "HOME="+other, "TMPDIR="+other,
		"TZ=Asia/Tokyo", "LC_ALL=tr_TR.UTF-8", "PREFIX=/opt", "DESTDIR=/nowhere", "MAKEFLAGS=n",
		"DPKG_DEB_COMPRESSOR_LEVEL=1", "GZIP=-1", "TAR_OPTIONS=--verbose", "XZ_OPT=-1")
	return made(t, cmd)
}

// tryInstall brings a package into a directory of its own and out again. The command line as is in front of what does it.
func (k *packageKind) tryInstall(t *testing.T, dir, pack string, as []string) {
	t.Helper()
	root := filepath.Join(dir, "root as "+filepath.Base(t.Name()))
	check(t, os.Mkdir(root, 0o755))
	if as != nil {
		give(t, root)
	}
	run := func(script string) {
		t.Helper()
		// Tools of administrators need not be in the PATH of who runs tests, nor may the packager enter the directory that they run in.
		line := append(slices.Clone(as), "sh", "-c", `PATH=$PATH:/usr/sbin:/sbin HOME=$1; export PATH HOME; cd "$1" && `+script, "sh", root, pack)
		if out, errs, err := try("", line...); err != nil {
			t.Fatalf("%s: %v\n%s%s", script, err, out, errs)
		}
	}
	run(k.install)
	checkInstalled(t, root)
	run(k.remove)
	for _, name := range filesIn(t, root) {
		if !strings.HasPrefix(name, "var/lib/") { // where dpkg and rpm keep their books
			t.Errorf("after removal: %s", name)
		}
	}
	for _, own := range []string{"usr/libexec/ctbox", "usr/share/doc/ctbox"} {
		if _, err := os.Stat(filepath.Join(root, own)); err == nil {
			t.Errorf("after removal: %s", own)
		}
	}
}

// checkInstalled looks at all that a package brought to root.
func checkInstalled(t *testing.T, root string) {
	t.Helper()
	program, err := os.Stat(filepath.Join(root, "usr/bin/ctbox"))
	check(t, err)
	for _, name := range applets.Names() {
		link := filepath.Join(root, "usr/libexec/ctbox", name)
		if to, err := os.Stat(link); err != nil || !os.SameFile(program, to) {
			t.Errorf("%s: %v is not ctbox", link, err)
		}
		if out, errs, err := try("", link, "--help"); err != nil || !strings.HasPrefix(out, "Usage: ctbox "+name+" ") {
			t.Errorf("%s --help: %v\n%s%s", link, err, out, errs)
		}
		checkPage(t, filepath.Join(root, "usr/share/man/man1/ctbox-"+name+".1.gz"), "ctbox-"+name)
	}
	if _, err := os.Stat("../completions"); err == nil {
		checkCompletions(t, root)
	}
	checkPage(t, filepath.Join(root, "usr/share/man/man1/ctbox.1.gz"), "ctbox")
	checkPage(t, filepath.Join(root, "usr/share/man/man5/ctbox-list.5.gz"), "ctbox-list")
	for _, name := range filesIn(t, filepath.Join(root, "usr")) {
		path := filepath.Join(root, "usr", name)
		if _, err := os.Stat(path); err != nil {
			t.Errorf("a link to nothing: %v", err)
		}
		fi, err := os.Lstat(path)
		check(t, err)
		executable := name == "bin/ctbox" || strings.HasPrefix(name, "share/doc/ctbox/examples/")
		if mode := fi.Mode(); mode.IsRegular() && mode != 0o644 && (mode != 0o755 || !executable) {
			t.Errorf("%s: %v", name, mode)
		}
	}
}

// checkCompletions looks for what shells load by the name of a command; zsh looks into all files there are.
func checkCompletions(t *testing.T, root string) {
	t.Helper()
	for _, name := range append(applets.Names(), "ctbox") {
		for path, want := range map[string]bool{
			"usr/share/bash-completion/completions/" + name:         name != "mkinitrd", // bash-completion has one itself
			"usr/share/fish/vendor_completions.d/" + name + ".fish": true,
		} {
			if _, err := os.Stat(filepath.Join(root, path)); (err == nil) != want {
				t.Errorf("%s: %v", path, err)
			}
		}
	}
	if found, _ := filepath.Glob(filepath.Join(root, "usr/share/zsh/*/_ctbox")); len(found) != 1 {
		t.Errorf("for zsh: %q", found)
	}
}

// checkPage has a page, compressed without name or time, formatted.
func checkPage(t *testing.T, page, title string) {
	t.Helper()
	text, err := os.ReadFile(page)
	check(t, err)
	in, err := gzip.NewReader(bytes.NewReader(text))
	if err != nil || in.Name != "" || !in.ModTime.IsZero() {
		t.Errorf("%s: %q, %v, %v", page, in.Name, in.ModTime, err)
	}
	out, errs, err := try("", "mandoc", "-Tascii", page)
	head, _, _ := strings.Cut(out, "\n")
	if err != nil || !strings.HasPrefix(head, strings.ToUpper(title)+"(") || errs != "" {
		t.Errorf("mandoc %s: %q, %v\n%s", page, head, err, errs)
	}
}

// TestPackageOfOtherMachine: the architecture is that of the program, and the day that of the release.
func TestPackageOfOtherMachine(t *testing.T) {
	requireTool(t, "make", "dpkg-deb", "rpmbuild", "rpm")
	dir := t.TempDir()
	src := copySource(t, filepath.Join(dir, "src"))
	check(t, os.WriteFile(filepath.Join(src, "CHANGELOG.md"), []byte("# Changes\n\n## 2.0 (2027-03-04)\n\n## 1.0 (2026-12-24)\n"), 0o644))
	text := make([]byte, 4096) // what is behind the header is not looked at
	run := func(script string, machine byte) *exec.Cmd {
		copy(text[18:], []byte{machine, 0}) // e_machine, elf(5)
		program := filepath.Join(dir, fmt.Sprint("machine-", machine))
		check(t, os.WriteFile(program, text, 0o755))
		cmd := exec.Command(filepath.Join(src, "scripts", script), "--version=2.0", dir)
		cmd.Env = append(os.Environ(), "CTBOX="+program, "SOURCE_DATE_EPOCH=")
		return cmd
	}
	pack := made(t, run("mkdeb", 183))
	if want := filepath.Join(dir, "ctbox_2.0_arm64.deb"); pack != want {
		t.Errorf("%s, want %s", pack, want)
	}
	out, _, err := try("", "sh", "-c", `dpkg-deb -f "$1" Architecture; dpkg-deb -c "$1" | grep -o '[0-9-]* [0-9:]* ./usr/bin/ctbox'`, "sh", pack)
	if want := "arm64\n2027-03-04 00:00 ./usr/bin/ctbox\n"; out != want {
		t.Errorf("%q, %v, want %q", out, err, want)
	}
	out, _, err = try("", "rpm", "-qp", "--qf", "%{ARCH} %{BUILDTIME} %{BUILDHOST}\n", made(t, run("mkrpm", 183)))
	if want := "aarch64 1804118400 localhost\n"; out != want {
		t.Errorf("%q, %v, want %q", out, err, want)
	}
	for _, script := range []string{"mkdeb", "mkrpm"} {
		cmd := run(script, 8) // MIPS
		out, err := cmd.CombinedOutput()
		want := script + ": " + filepath.Join(dir, "machine-8") + ": no program for Linux on x86-64 or arm64\n"
		if cmd.ProcessState.ExitCode() != 1 || string(out) != want {
			t.Errorf("%v, %q, want %q", err, out, want)
		}
	}
}

// TestPackageUsage: what is no version would be one for dpkg and none for rpm, or the reverse.
func TestPackageUsage(t *testing.T) {
	for _, script := range []string{"mkdist", "mkdeb", "mkrpm"} {
		for args, want := range map[string]string{
			"--version=v1.2":    script + ": v1.2: a version begins with",
			"--version=1.2-3":   script + ": 1.2-3: a version begins with",
			"--version=1/2":     script + ": 1/2: a version begins with",
			"--versions":        "usage: " + script,
			"a b":               "usage: " + script,
			"--version=1 --x a": "usage: " + script,
		} {
			out, errs, err := try("", append([]string{"../scripts/" + script}, strings.Fields(args)...)...)
			var status *exec.ExitError
			if !errors.As(err, &status) || status.ExitCode() != 2 || out != "" || !strings.HasPrefix(errs, want) {
				t.Errorf("%s %s: %v, %q, %q", script, args, err, out, errs)
			}
		}
	}
}

// TestDist: the tarball is the same whether git says what belongs to the source or there is nothing else; ctbox builds from it
// without a network or modules, and it makes itself again.
func TestDist(t *testing.T) {
	if testing.Short() {
		t.Skip("compresses the source again and again")
	}
	requireTool(t, "git", "make", "tar")
	dir := t.TempDir()
	dist := func(src, out string) string {
		cmd := exec.Command(filepath.Join(src, "scripts/mkdist"), "--version=1.2.3", filepath.Join(dir, out))
		cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=", "TZ=Asia/Tokyo", "TAR_OPTIONS=--verbose")
		return made(t, cmd)
	}
	run := func(script string, args ...string) string {
		t.Helper()
		cmd := exec.Command("sh", append([]string{"-ec", script, "sh"}, args...)...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOFLAGS=-mod=vendor", "GOPROXY=off", "GOMODCACHE="+filepath.Join(dir, "nothing"), "MAKEFLAGS=", "GIT_CONFIG_GLOBAL=/dev/null")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(out)
	}
	plain := dist(copySource(t, filepath.Join(dir, "src")), "plain")
	clone := copySource(t, filepath.Join(dir, "a clone"))
	run(`cd "$1"; git init -q; git add .; echo x >junk; mkdir -p do-examples/tree; echo x >do-examples/tree/junk; chmod -R go= .`, clone)
	sameFile(t, plain, dist(clone, "cloned"))

	run(`tar xf "$1"; cd ctbox-1.2.3; make; echo x >junk`, plain)
	if out := run("ctbox-1.2.3/bin/ctbox --version"); !strings.HasPrefix(out, "ctbox 1.2.3\n") {
		t.Errorf("%q", out)
	}
	sameFile(t, plain, dist(filepath.Join(dir, "ctbox-1.2.3"), "again"))
	if files := run(`tar tf "$1" | grep -v /vendor/`, plain); strings.Contains(files, "junk") || !strings.Contains(files, "/man/ctbox.1\n") {
		t.Errorf("%s", files)
	}

	terms, err := os.ReadFile("../scripts/copyright")
	check(t, err)
	for line := range strings.Lines(run("cat ctbox-1.2.3/vendor/modules.txt")) {
		module, is := strings.CutPrefix(line, "# ")
		module, _, _ = strings.Cut(module, " ")
		named := func(dir string) bool { return strings.Contains(string(terms), "\nFiles: vendor/"+dir+"/*\n") }
		for is && !named(module) {
			if module = filepath.Dir(module); module == "." {
				t.Fatalf("scripts/copyright does not have %s", line)
			}
		}
	}

	requireTool(t, "rpmbuild")
	run(`rpmbuild -tb --nodeps --quiet --define "_topdir $PWD" --define "ctbox_program $PWD/ctbox-1.2.3/bin/ctbox" "$1"`, plain)
	if out := run(`rpm -qp RPMS/*/*.rpm`); !strings.HasPrefix(out, "ctbox-1.2.3-1.") {
		t.Errorf("%q", out)
	}
}

// TestCopyright: who holds the rights in what is linked is in the file that says so, for BSD's and MIT's terms ask for it.
func TestCopyright(t *testing.T) {
	terms, err := os.ReadFile("../scripts/copyright")
	check(t, err)
	const format = "{{with .Module}}{{if not .Main}}{{$.Dir}}{{end}}{{end}}"
	out, errs, err := try("", "go", "list", "-deps", "-f", format, "../cmd/ctbox")
	if err != nil {
		t.Fatalf("%v\n%s", err, errs)
	}
	holder := regexp.MustCompile(`(?m)^Copyright (?:\([Cc]\) )?([0-9, -]+ [^.<\n]*[^.<\s])`)
	found := 0
	for dir := range strings.Lines(out) {
		license := nearestLicense(t, strings.TrimSuffix(dir, "\n"))
		text, err := os.ReadFile(license)
		check(t, err)
		ours, _, _ := bytes.Cut(text, []byte("\n------------------\n")) // klauspost/compress goes on with directories that are not linked
		for _, m := range holder.FindAllSubmatch(ours, -1) {
			found++
			if !bytes.Contains(terms, append(m[1], '\n')) {
				t.Errorf("scripts/copyright does not have %q, of %s", m[1], license)
			}
		}
	}
	if found < 10 {
		t.Errorf("only %d", found)
	}
}

// nearestLicense is the file with the terms for a package in dir: there or above.
func nearestLicense(t *testing.T, dir string) string {
	t.Helper()
	for ; len(dir) > 1; dir = filepath.Dir(dir) {
		for _, name := range []string{"LICENSE*", "COPYING*"} {
			if found, _ := filepath.Glob(filepath.Join(dir, name)); len(found) > 0 {
				return found[0]
			}
		}
	}
	t.Fatal("no license")
	return ""
}
