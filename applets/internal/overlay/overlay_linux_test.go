package overlay

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/archive"
	"github.com/ctbox/ctbox/applets/internal/list"
	"github.com/ctbox/ctbox/tests/failtest"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func lacking(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// mountsEnv is set where a test may mount: in a mount namespace of its own. Its value are options of the overlay.
const mountsEnv = "CTBOX_TEST_OVERLAY"

// inNamespaces reports whether the test may mount. If not it runs the test again in each of the ways in which
// an overlay can be mounted: by root, by root in a user namespace, and by an ordinary user in one.
func inNamespaces(t *testing.T) bool {
	t.Helper()
	if os.Getenv(mountsEnv) != "" {
		return true
	}
	for _, way := range []struct{ name, as, options string }{
		{"root", "unshare -m", "xino=off"},
		{"root, userxattr", "unshare -m", "userxattr"},
		{"user namespace of root", "unshare -rm", "userxattr"},
		{"user namespace of nobody", "setpriv --reuid 65534 --regid 65534 --clear-groups unshare -rm", "userxattr"},
	} {
		t.Run(way.name, func(t *testing.T) { runAs(t, way.as, way.options, "") })
	}
	return false
}

// runAs runs the test once more, in a directory with an empty "stage", and a "lower" in which a script was run.
func runAs(t *testing.T, as, options, script string) {
	words := strings.Fields(as)
	if os.Geteuid() != 0 {
		if words[0] != "setpriv" {
			lacking(t, "needs root")
		}
		words = words[len(words)-2:] // already an ordinary user
	}
	dir, err := os.MkdirTemp("", "overlay-test-")
	must(t, err)
	defer os.RemoveAll(dir)
	must(t, os.Chmod(dir, 0o755))
	self, err := os.ReadFile("/proc/self/exe")
	must(t, err)
	for _, name := range []string{"stage", "lower"} {
		must(t, os.Mkdir(filepath.Join(dir, name), 0o755))
	}
	(&stage{t, dir}).sh("lower", script)
	program := filepath.Join(dir, "test")
	must(t, os.WriteFile(program, self, 0o755))
	if out, err := exec.Command(words[0], append(words[1:], "true")...).CombinedOutput(); err != nil {
		lacking(t, fmt.Sprintf("%s: %v: %s", as, err, out))
	}
	name, _, _ := strings.Cut(t.Name(), "/")
	cmd := exec.Command(words[0], append(words[1:], program, "-test.run=^"+name+"$", "-test.timeout=5m")...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), mountsEnv+"="+options)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// A stage is a mounted overlay on a file system in memory.
type stage struct {
	*testing.T
	dir string
}

// newStage makes its directories.
func newStage(t *testing.T) *stage {
	t.Helper()
	dir, err := os.Getwd()
	must(t, err)
	s := &stage{t, filepath.Join(dir, "stage")}
	must(t, unix.Mount("stage", s.dir, "tmpfs", 0, "mode=755"))
	t.Cleanup(func() { must(t, unix.Unmount(s.dir, unix.MNT_DETACH)) })
	for _, name := range []string{"lower", "upper", "work", "merged"} {
		must(t, os.Mkdir(s.path(name), 0o755))
	}
	return s
}

func (s *stage) mount() {
	s.Helper()
	data := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s,%s", s.path("lower"), s.path("upper"), s.path("work"), os.Getenv(mountsEnv))
	must(s.T, unix.Mount("overlay", s.path("merged"), "overlay", 0, data))
	s.Cleanup(func() { unix.Unmount(s.path("merged"), unix.MNT_DETACH) })
}

// remount brings what is on disk to the mounted tree. Where file handles cannot be decoded, as in a user namespace, a file
// that was there before it was copied up has two inode numbers until then: its old name the old one, and new links another.
func (s *stage) remount() {
	s.Helper()
	must(s.T, unix.Unmount(s.path("merged"), 0))
	s.mount()
}

func (s *stage) path(name string) string { return filepath.Join(s.dir, name) }

func (s *stage) open(name string) *archive.Dir {
	s.Helper()
	d, err := archive.OpenDir(s.path(name))
	must(s.T, err)
	s.Cleanup(func() { d.Close() })
	return d
}

// list is what fileids makes of a directory, less sockets and the names in skip and below.
func (s *stage) list(name string, skip ...string) *list.Input {
	s.Helper()
	var draft list.Draft
	d := s.open(name)
	identify := archive.Identify{
		Open:  func() (archive.Source, error) { return d.Share(), nil },
		Null:  true,
		Write: func(records []byte) error { _, err := draft.Write(records); return err },
		Fail:  func(err error) { s.Error(err) },
	}
	c := Changes{Skip: skip}
	must(s.T, identify.Run(func(each func([]byte) error) error {
		return d.Walk(false, func(name []byte) error {
			if st, err := d.Stat(name); err != nil || st.Type() == list.Socket || c.skips(name) {
				return err
			}
			return each(name)
		}, func(err error) { s.Error(err) })
	}))
	return draft.Input(name, true)
}

func quiet(string, ...any) {}

// want is what listdiff says of lower and merged.
func (s *stage) want(skip ...string) string {
	s.Helper()
	s.remount()
	var out bytes.Buffer
	d := list.Diff{Base: s.list("lower", skip...), New: s.list("merged", skip...), Out: &out, Null: true, Warn: quiet}
	_, err := d.Layer()
	must(s.T, err)
	return out.String()
}

func (s *stage) changes(skip ...string) *Changes {
	return &Changes{Upper: s.open("upper"), Lower: s.open("lower"), Skip: skip, Null: true, Warn: quiet}
}

// got is what Changes says.
func (s *stage) got(skip ...string) string {
	s.Helper()
	var out bytes.Buffer
	must(s.T, s.changes(skip...).List(&out))
	return out.String()
}

// names are the names in a list, those that are deleted with a "-".
func names(text string) string {
	var all []string
	for rec := range strings.SplitSeq(strings.TrimSuffix(text, "\x00"), "\x00") {
		if name, deleted := strings.CutSuffix(rec, " -"); deleted {
			all = append(all, "-"+name)
		} else if i := strings.LastIndexByte(rec, ' '); i >= 0 {
			all = append(all, rec[:i])
		}
	}
	return strings.Join(all, " ")
}

func show(text string) string { return strings.ReplaceAll(text, "\x00", "\n") }

// sh runs a script in a directory.
func (s *stage) sh(dir, script string) {
	s.Helper()
	cmd := exec.Command("sh", "-ec", script)
	cmd.Dir = s.path(dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		s.Fatalf("%s: %v\n%s", script, err, out)
	}
}

// What a script does to a tree, and what the list then names.
var scripts = []struct{ title, before, run, want string }{
	{"nothing", "echo 1 >a; mkdir d", "cat a >/dev/null; ls d", ""},
	{"new file", "mkdir d", "echo 1 >d/a", ". ./d ./d/a"},
	{"append", "mkdir d; echo 1 >d/a; echo 1 >d/b", "echo 2 >>d/a", ". ./d ./d/a"},
	{"same size", "echo 1 >a", "echo 2 >a", ". ./a"},
	{"copied up but the same", "mkdir d; echo 1 >d/a", "touch d/a; chmod 600 d/a; chmod 644 d/a; cat d/a >b; cp b d/a; rm b", ""},
	{"truncate", "echo 1 >a", ": >a", ". ./a"},
	{"from empty", ": >a", "echo 1 >a", ". ./a"},
	{"chmod", "echo 1 >a; mkdir d; echo 2 >d/b", "chmod 0 a; chmod 700 d", ". ./a ./d"},
	{"chmod of an empty file", ": >a", "chmod 755 a", ". ./a"},
	{"the root", "echo 1 >a", "chmod 700 .", "."},
	{"mode 0000", "echo 1 >a; mkdir d; echo 2 >d/b; chmod 0 a d", "chmod 0 d; echo 2 >c; chmod 0 c; echo 3 >>a; echo 3 >>d/b", ". ./a ./c ./d ./d/b"},
	{"remove", "mkdir d; echo 1 >d/a; echo 2 >d/b", "rm d/a", ". ./d -./d/a"},
	{"remove what is new", "mkdir d", "mkdir d/e; echo 1 >d/e/a; rm -r d/e", ""},
	{"rm -r", "mkdir -p d/e; echo 1 >d/e/a; echo 2 >d-e", "rm -r d", ". -./d"},
	{"rm -r and anew", "mkdir -p d/e/f; echo 1 >d/e/a; echo 2 >d/b; echo 3 >d-e", "rm -r d; mkdir d; echo 2 >d/b; mkdir d/e", ". ./d ./d/e -./d/e/a -./d/e/f"},
	{"anew and the same", "mkdir -p d/e; echo 1 >d/e/a; echo 2 >d/b", "cp -a d x; rm -r d; mv x d", ""},
	{"deep in a new directory", "mkdir -p d/e/f/g; echo 1 >d/e/f/g/a", "rm -r d; mkdir -p d/e/f/g; echo 2 >d/e/f/g/b", ". ./d ./d/e ./d/e/f ./d/e/f/g -./d/e/f/g/a ./d/e/f/g/b"},
	{"directory to file", "mkdir -p d/e; echo 1 >d/e/a", "rm -r d; echo 1 >d", ". ./d"},
	{"file to directory", "echo 1 >a", "rm a; mkdir a; echo 1 >a/b", ". ./a ./a/b"},
	{"directory to link", "mkdir d x; echo 1 >d/a; echo 2 >x/a", "rm -r d; ln -s x d", ". ./d"},
	{"link to directory", "mkdir x; echo 1 >x/a; ln -s x d", "rm d; mkdir d; echo 1 >d/a", ". ./d ./d/a"},
	{"link elsewhere", "ln -s a l; ln -s a m", "ln -sfn b l; ln -sfn a m", ". ./l"},
	{"rename", "mkdir d; echo 1 >d/a", "mv d/a d/b", ". ./d -./d/a ./d/b"},
	{"rename over", "echo 1 >a; echo 2 >b", "mv a b", ". -./a ./b"},
	{"order of names", "mkdir a; echo 1 >a/x; echo 1 >a-b; echo 1 >a0", "echo 2 >a/x; echo 2 >a-b; rm a0; mkdir 'a '", ". ./a ./a  ./a-b ./a/x -./a0"},
	{"odd names", "mkdir 'd '; echo 1 >'d /a b'; echo 1 >'-'", "echo 2 >'d /a b'; rm ./-; touch '\n' '%20' \"$(printf '\\377')\"",
		". ./\n ./%20 -./- ./d  ./d /a b ./\xff"},
	{"FIFO and socket", "mkfifo p", "rm p; mkfifo q; chmod 600 q", ". -./p ./q"},
	{"sparse", "truncate -s 1M a", "truncate -s 2M a; truncate -s 1M b", ". ./a ./b"},
	{"new hard links", "mkdir d", "echo 1 >d/a; ln d/a b; ln d/a d/c", ". ./b ./d ./d/a ./d/c"},
	{"hard links untouched", "echo 1 >a; ln a b; echo 1 >c", "echo 2 >c", ". ./c"},
	{"one of two links", "mkdir d e; echo 1 >d/a; ln d/a e/b; echo 1 >f", "echo 2 >>d/a", ". ./d ./d/a ./e ./e/b"},
	{"second of three links", "echo 1 >a; ln a b; ln a c", "echo 2 >>b", ". ./b"},
	{"first of three links", "echo 1 >a; ln a b; ln a c", "echo 2 >>a", ". ./a ./b ./c"},
	{"link of a lower file", "mkdir d; echo 1 >d/a", "ln d/a b", ". ./b ./d ./d/a"},
	{"link touched", "mkdir d; echo 1 >d/a; ln d/a d/b", "touch d/b", ". ./d ./d/b"},
	{"first link removed", "mkdir d; echo 1 >d/a; ln d/a e; ln d/a f", "rm d/a", ". ./d -./d/a ./e ./f"},
	{"link below what is removed", "mkdir -p d/e x; echo 1 >d/e/a; ln d/e/a x/f; ln d/e/a x/g", "rm -r d", ". -./d ./x ./x/f ./x/g"},
	{"link below what is replaced", "mkdir -p d/e x; echo 1 >d/e/a; ln d/e/a x/f", "rm -r d; mkdir -p d/e; echo 1 >d/e/a", ". ./x ./x/f"},
	{"link from below what is replaced", "mkdir -p d/e x; echo 1 >a; ln a d/e/f; ln a d/e/g", "rm -r d; echo 1 >d", ". ./d"},
}

func TestScripts(t *testing.T) {
	if !inNamespaces(t) {
		return
	}
	for _, c := range scripts {
		t.Run(c.title, func(t *testing.T) {
			s := newStage(t)
			s.sh("lower", c.before)
			s.mount()
			s.sh("merged", c.run)
			want, got := s.want(), s.got()
			if got != want {
				t.Errorf("%s; %s:\n%swhere listdiff has\n%s", c.before, c.run, show(got), show(want))
			}
			if got := names(got); got != c.want {
				t.Errorf("%s; %s: %s, not %s", c.before, c.run, got, c.want)
			}
			s.checkLayer()
		})
	}
}

// checkLayer unpacks a layer of the lower directory and over it one of the changes: that is the mounted tree again.
func (s *stage) checkLayer() {
	s.Helper()
	target := s.path("unpacked")
	must(s.T, os.Mkdir(target, 0o755))
	lower := s.open("lower")
	s.unpack(target, &archive.Layer{List: s.list("lower"), Source: lower})
	var draft list.Draft
	c := s.changes()
	must(s.T, c.List(&draft))
	src := c.Source()
	defer src.Close()
	s.unpack(target, &archive.Layer{List: draft.Input("changes", true), Source: src})
	for _, name := range []string{"merged", "unpacked"} {
		must(s.T, os.Chmod(s.path(name), 0o755)) // layers have no root
	}
	if got, want := s.text("unpacked"), s.text("merged"); got != want {
		s.Errorf("unpacked:\n%swhere the tree is\n%s", show(got), show(want))
	}
}

func (s *stage) text(name string) string {
	s.Helper()
	var b strings.Builder
	for scan := s.list(name).Scan(); ; {
		rec, err := scan.Next()
		if err == io.EOF {
			return b.String()
		}
		must(s.T, err)
		b.Write(append(rec.Text, 0))
	}
}

// unpack packs a layer and does what engines do with it.
func (s *stage) unpack(dir string, layer *archive.Layer) {
	s.Helper()
	layer.Warn = quiet
	var packed bytes.Buffer
	must(s.T, layer.Write(&packed))
	for r := tar.NewReader(&packed); ; {
		h, err := r.Next()
		if err == io.EOF {
			return
		}
		must(s.T, err)
		name := filepath.Join(dir, h.Name)
		if hidden, ok := strings.CutPrefix(filepath.Base(name), ".wh."); ok {
			name = filepath.Join(filepath.Dir(name), hidden)
			if _, err := os.Lstat(name); err != nil {
				s.Errorf("deleted is what is not there: %v", err)
			}
			must(s.T, os.RemoveAll(name))
			continue
		}
		if err := unpackEntry(dir, name, h, r); err != nil {
			s.Errorf("%s: %v", h.Name, err)
		}
	}
}

func unpackEntry(dir, name string, h *tar.Header, r io.Reader) error {
	fi, err := os.Lstat(name)
	if err == nil && (h.Typeflag != tar.TypeDir || !fi.IsDir()) {
		if err := os.RemoveAll(name); err != nil {
			return err
		}
		err = os.ErrNotExist
	}
	switch h.Typeflag {
	case tar.TypeDir:
		if err != nil {
			err = os.Mkdir(name, 0o700)
		}
	case tar.TypeReg:
		err = unpackFile(name, r)
	case tar.TypeLink:
		return os.Link(filepath.Join(dir, h.Linkname), name)
	case tar.TypeSymlink:
		return errors.Join(os.Symlink(h.Linkname, name), os.Lchown(name, h.Uid, h.Gid))
	case tar.TypeFifo:
		err = unix.Mkfifo(name, 0o600)
	default:
		err = unix.Mknod(name, uint32(h.Mode)|map[byte]uint32{tar.TypeChar: unix.S_IFCHR, tar.TypeBlock: unix.S_IFBLK}[h.Typeflag],
			int(unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor))))
	}
	if err != nil {
		return err
	}
	var old [4096]byte
	n, _ := unix.Llistxattr(name, old[:])
	for attr := range strings.SplitSeq(string(old[:max(n, 0)]), "\x00") {
		unix.Lremovexattr(name, attr)
	}
	err = errors.Join(os.Lchown(name, h.Uid, h.Gid), syscall.Chmod(name, uint32(h.Mode)))
	for key, value := range h.PAXRecords {
		if attr, ok := strings.CutPrefix(key, "SCHILY.xattr."); ok {
			err = errors.Join(err, unix.Lsetxattr(name, attr, []byte(value), 0))
		}
	}
	return err
}

func unpackFile(name string, r io.Reader) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}

// What cannot be looked at in the mounted tree is no change: it is an error that says why.
func TestBeforeTellsErrors(t *testing.T) {
	dir := t.TempDir()
	var dirs [2]*archive.Dir
	for i, name := range []string{"up", "low"} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.Mkdir(path, 0o755), os.WriteFile(filepath.Join(path, "f"), nil, 0o644)); err != nil {
			t.Fatal(err)
		}
		d, err := archive.OpenDir(path)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		dirs[i] = d
	}
	b := &before{merged: merged{dirs[0], dirs[1]}}
	var err error
	failtest.During(t, func() { _, err = b.Stat([]byte("./f")) }, failtest.Call{Number: unix.SYS_NEWFSTATAT, Err: unix.EIO, After: 1})
	if !errors.Is(err, unix.EIO) {
		t.Error(err)
	}
}
