package overlay

import (
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// What was mounted elsewhere during the run, and the way there, is no change.
func TestSkippedNames(t *testing.T) {
	if !inNamespaces(t) {
		return
	}
	for _, c := range []struct{ title, before, run, skip, want string }{
		{"made for the run", "mkdir d", "mkdir dev proc tmp; : >dev/null; mkdir -p a/b/c; : >a/b/f", "./dev ./proc ./tmp ./a/b/c ./a/b/f", ""},
		{"was there before", "mkdir -p tmp/a; : >f", "rm -r tmp; mkdir tmp; echo 1 >f", "./tmp ./f", ""},
		{"beside it", "mkdir d", "mkdir -p a/b/c; : >a/x", "./a/b/c", ". ./a ./a/x"},
		{"further down beside it", "mkdir d", "mkdir -p a/b/c; : >a/b/x", "./a/b/c", ". ./a ./a/b ./a/b/x"},
		{"an empty directory beside it", "mkdir d", "mkdir -p a/b a/e", "./a/b", ". ./a ./a/e"},
		{"the way there was there", "mkdir -p a/x", "mkdir -p a/b/c", "./a/b/c", ""},
		{"the way there was changed", "mkdir -p a/x", "mkdir -p a/b/c; chmod 700 a", "./a/b/c", ". ./a"},
		{"the way there was a link", "mkdir x; ln -s x a", "rm a; mkdir -p a/b", "./a/b", ""},
		{"names that begin alike", "mkdir d", "mkdir tmp tmp-a tmpa", "./tmp", ". ./tmp-a ./tmpa"},
		{"hard links from there", "mkdir tmp; echo 1 >tmp/a; ln tmp/a b; ln tmp/a c", "rm tmp/a; echo 1 >>b", "./tmp", ". ./b ./c"},
		{"something removed beside it", "mkdir -p a/b; : >a/x", "rm a/x; mkdir a/b/c", "./a/b", ". ./a -./a/x"},
	} {
		t.Run(c.title, func(t *testing.T) {
			s := newStage(t)
			s.sh("lower", c.before)
			s.mount()
			s.sh("merged", c.run)
			if got := names(s.got(strings.Fields(c.skip)...)); got != c.want {
				t.Errorf("%s; %s less %s: %q, not %q", c.before, c.run, c.skip, got, c.want)
			}
		})
	}
}

// marked makes upper and lower directories by hand, and sets one attribute of a name in the upper one.
func marked(t *testing.T, lower, upper, name, attr, value string) *stage {
	s := newStage(t)
	s.sh("lower", lower)
	s.sh("upper", upper)
	prefix := "user.overlay."
	if !strings.Contains(os.Getenv(mountsEnv), "userxattr") {
		prefix = "trusted.overlay."
	}
	if attr != "" {
		must(t, unix.Lsetxattr(s.path("upper/"+name), prefix+attr, []byte(value), 0))
	}
	return s
}

// The marks of overlayfs, those too that this kernel does not make by itself.
func TestMarks(t *testing.T) {
	if !inNamespaces(t) {
		return
	}
	for _, c := range []struct{ lower, upper, name, attr, value, want string }{
		{"mkdir d; : >d/a", "mkdir d", "d", "opaque", "y", ". ./d -./d/a"},
		{"mkdir d; : >d/a; mkdir d/e; : >d/e/b", "mkdir d d/e", "d", "opaque", "y", ". ./d -./d/a ./d/e -./d/e/b"},
		{"mkdir d; : >d/a", "mkdir d", "d", "opaque", "x", ""},
		{"mkdir d; : >d/a", "mkdir d", "d", "impure", "y", ""},
		{"mkdir d; : >d/a", "mkdir d", ".", "opaque", "y", ""}, // the kernel does not look there
		{": >a", ": >a", "a", "whiteout", "", ". -./a"},
		{"mkdir d", ": >a; mkdir d; : >d/b", "d/b", "whiteout", "", ". ./a"},
		{": >a", "echo 1 >a", "a", "whiteout", "", ". ./a"},
		{": >a", ": >a", "a", "origin", "1", ""},
	} {
		t.Run(c.name+" "+c.attr+" "+c.value, func(t *testing.T) {
			s := marked(t, c.lower, c.upper, c.name, c.attr, c.value)
			if got := names(s.got()); got != c.want {
				t.Errorf("%s under %s: %q, not %q", c.lower, c.upper, got, c.want)
			}
			if c.attr == "whiteout" {
				return // in an upper directory the kernel makes none, and in one it names a file that is not there
			}
			s.mount()
			if got, want := s.got(), s.want(); got != want {
				t.Errorf("%s\nwhere the kernel shows\n%s", show(got), show(want))
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	if !inNamespaces(t) {
		return
	}
	for _, c := range []struct{ lower, upper, name, attr, want string }{
		{"mkdir d", "mkdir e", "e", "redirect", "./e: directory was renamed in an overlay with redirect_dir: not supported"},
		{"echo 1 >a", ": >a", "a", "metacopy", "./a: file was changed in an overlay with metacopy: not supported"},
		{"mkdir d", "mkdir d; : >d/.wh.a", "", "", `./d/.wh.a: names that begin ".wh." are reserved for deletions in layers`},
		{"mkdir d", "mkdir -p .wh.d/a", "", "", `./.wh.d: names that begin ".wh." are reserved for deletions in layers`},
	} {
		t.Run(c.upper, func(t *testing.T) {
			if c.attr != "" && strings.Contains(os.Getenv(mountsEnv), "userxattr") {
				return // the kernel has no such attributes then
			}
			s := marked(t, c.lower, c.upper, c.name, c.attr, "")
			if err := s.changes().List(io.Discard); err == nil || err.Error() != c.want {
				t.Errorf("%v, not %s", err, c.want)
			}
		})
	}
}

func TestNewlinesNeedNul(t *testing.T) {
	if !inNamespaces(t) {
		return
	}
	s := marked(t, "mkdir d", ": >'a\n'", "", "", "")
	if got := names(s.got()); got != ". ./a\n" {
		t.Errorf("%q", got)
	}
	c := s.changes()
	c.Null = false
	if err := c.List(io.Discard); err == nil || err.Error() != `"./a\n": newline in name: use -0` {
		t.Errorf("%v", err)
	}
}

func TestSocketsAreLeftOut(t *testing.T) {
	if !inNamespaces(t) {
		return
	}
	s := newStage(t)
	s.sh("lower", "echo 1 >a")
	must(t, unix.Mknod(s.path("lower/old"), unix.S_IFSOCK|0o600, 0))
	s.mount()
	s.sh("merged", "rm a old")
	must(t, unix.Mknod(s.path("merged/a"), unix.S_IFSOCK|0o600, 0))
	must(t, unix.Mknod(s.path("merged/b"), unix.S_IFSOCK|0o600, 0))
	var warned []string
	c := s.changes()
	c.Warn = func(format string, args ...any) { warned = append(warned, args[0].(string)) }
	var out strings.Builder
	must(t, c.List(&out))
	if got := names(out.String()); got != ". -./a" {
		t.Errorf("%q", got)
	}
	if got := strings.Join(warned, " "); got != "./a ./b" {
		t.Errorf("warned of %q", got)
	}
}

// In a user namespace with one id nobody can read a file of another owner. But its directory may be ours.
func TestFilesOfOthers(t *testing.T) {
	const script = "mkdir d d/e; for f in a b same keep; do echo 1 >d/$f; done; ln d/b c; chmod 600 d/*; chmod 755 d/e; " +
		"chown -R 1:1 d/* c; chown 65534:65534 . d"
	if os.Getenv(mountsEnv) == "" {
		if os.Geteuid() != 0 {
			lacking(t, "needs root")
		}
		runAs(t, "setpriv --reuid 65534 --regid 65534 --clear-groups unshare -rm", "userxattr", script)
		return
	}
	s := newStage(t)
	must(t, os.Remove(s.path("lower")))
	must(t, os.Symlink("../lower", s.path("lower")))
	s.mount()
	s.sh("merged", "cd d; rm -f a b same; rmdir e; echo 2 >a; echo 1 >same; chmod 600 same; echo 3 >new")
	if got := names(s.got()); got != ". ./d ./d/a -./d/b -./d/e ./d/new ./d/same" {
		t.Errorf("%q", got)
	}
}
