package tests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// A sharedTree is a directory in which something costly is made for all tests that want it, and made again if it failed: it comes
// from a mirror.
type sharedTree struct {
	sync.Once
	dir string
	err error
}

// make makes the tree, unless it is there, and returns its directory. What prepare makes must not depend on what is left of a
// failed first time: then the directory is empty again.
func (s *sharedTree) make(t *testing.T, prepare func(dir string) error) string {
	t.Helper()
	if testing.Short() {
		t.Skip("takes a minute")
	}
	s.Do(func() {
		if s.dir, s.err = sharedDir("read -r _"); s.err != nil {
			return
		}
		for i := range 2 {
			dir := filepath.Join(s.dir, fmt.Sprint(i))
			if s.err = os.Mkdir(dir, 0o755); s.err != nil {
				return
			}
			if s.err = os.Chmod(dir, 0o755); s.err != nil {
				return
			}
			if s.err = prepare(dir); s.err == nil {
				s.dir = dir
				return
			}
			t.Logf("again, because of %v", s.err)
		}
	})
	if s.err != nil {
		t.Fatal(s.err)
	}
	return s.dir
}

var debian, installed sharedTree

// debianTree is a Debian that root has installed. Who changes it must copy it. Beside it is the tar that it was unpacked
// from, as mmdebstrap made it.
func debianTree(t *testing.T) string {
	t.Helper()
	requireRoot(t)
	requireTool(t, "mmdebstrap")
	return filepath.Join(debian.make(t, func(dir string) error {
		cmd := exec.Command("sh", "-ec", `umask 022
			mmdebstrap --quiet --variant=minbase bookworm debian.tar
			mkdir debian && tar -C debian -xpf debian.tar --numeric-owner --xattrs --xattrs-include='*'`)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, out)
		}
		return err
	}), "debian")
}

// installDebian lets an ordinary user install Debian, as ctbox-try-fakeroot(1) says, and returns that user and the directory with
// what that made.
func installDebian(t *testing.T) *bench {
	t.Helper()
	requireTool(t, "debootstrap", "fakeroot", "fakechroot")
	user := &bench{t: t}
	if os.Geteuid() == 0 {
		requireTool(t, "setpriv")
		user.as = []string{"setpriv", "--reuid=65532", "--regid=65532", "--clear-groups"}
	}
	env := append(os.Environ(), "PATH="+filepath.Dir(program(t))+":"+os.Getenv("PATH")+":/usr/sbin:/sbin")
	user.dir = installed.make(t, func(dir string) error {
		if user.as != nil {
			if err := os.Chown(dir, 65532, 65532); err != nil {
				return err
			}
		}
		for _, e := range manualExamples(t, "../man/ctbox-try-fakeroot.1") {
			if !e.installs {
				continue
			}
			if err := e.run(dir, env, user.as...); err != nil {
				log, _ := os.ReadFile(filepath.Join(dir, "debian.log"))
				return fmt.Errorf("%w\n%s", err, log[max(0, len(log)-1000):])
			}
		}
		return nil
	})
	return user
}
