//go:build faults

package faults

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// withSandbox makes a tree with a program, what is bound to a place in it, and a host that nobody may see or touch.
//
//	root/   the tree; who is in each directory that is swapped
//	bound/  for --bind=bound:/a/mnt
//	host/   the same, with the secret in it
func withSandbox(r *racer) {
	r.t.Helper()
	text, err := os.ReadFile(program)
	check(r.t, err)
	for dir, who := range map[string]string{"root": "root", "host": secret, "another": "another"} {
		for _, sub := range []string{"a/mnt", "dev", "proc", "tmp", "bin"} {
			r.mkdir(dir + "/" + sub)
		}
		r.write(dir+"/who", who)
		r.write(dir+"/a/who", who)
		r.write(dir+"/a/mnt/who", who)
		r.write(dir+"/bin/ctbox", string(text))
		check(r.t, os.Chmod(r.path(dir+"/bin/ctbox"), 0o755))
	}
	r.mkdir("host/empty")
	r.write("bound/who", "bound")
	r.own()
}

// state is all that can be seen of a tree from outside, but for times of access.
func (r *racer) state(name string) string {
	r.t.Helper()
	var all strings.Builder
	check(r.t, filepath.WalkDir(r.path(name), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err == nil {
			fmt.Fprintln(&all, path, fi.Mode(), fi.Size(), fi.ModTime().UnixNano())
		}
		return err
	}))
	return all.String()
}

// digest is how sha256 shows what a file holds.
func digest(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text))) }

// TestRacesRunlocal: whatever is swapped in DIR, or for DIR, while a sandbox is made, its program sees one tree and what is bound to
// it, and nothing else; what symbolic links lead to outside stays as it is.
func TestRacesRunlocal(t *testing.T) {
	users := []int{os.Geteuid()}
	if users[0] == 0 {
		users = append(users, ordinary)
	}
	swaps, wrong, good, runs := 0, 0, 0, 0
	for _, uid := range users {
		t.Run(fmt.Sprint("as ", uid), func(t *testing.T) {
			r := newRacer(t, "/tmp", uid)
			withSandbox(r)
			if _, out, err := r.sandbox(); err != nil {
				lacking(t, out)
			}
			for _, of := range sandboxRaces(r) {
				good += r.raceSandbox(of)
			}
			swaps, wrong, runs = swaps+int(r.swaps.Load()), wrong+r.wrong, runs+r.runs
		})
	}
	t.Logf("%d runs, %d good", runs, good)
	if good == 0 {
		t.Error("no run was good")
	}
	count(t, swaps, "swaps in a tree whose program was started", wrong)
}

// sandboxRaces are about mount points in a tree, what is above them, and the tree.
func sandboxRaces(r *racer) []race {
	host := func(name string) func(string) error { return aLink(r.path("host/" + name)) }
	return []race{
		swapped("above the place of a bind", "root/a", host("a")),
		swapped("above the place of a bind, relative", "root/a", aLink("../host/a")),
		swapped("the place of a bind", "root/a/mnt", host("a/mnt")),
		swapped("the place of a bind, relative", "root/a/mnt", aLink("../../host/a/mnt")),
		// While mounts are made, /proc has ways to the host. What is not there yet would be made there.
		swapped("above the place of a bind, by way of proc", "root/a", aLink("/proc/self/cwd"+r.path("host/empty"))),
		swapped("tmp, by way of proc", "root/tmp", aLink("/proc/self/cwd"+r.path("host/none"))),
		swapped("the place of a bind, and a file", "root/a/mnt", aFile(other)),
		swapped("proc", "root/proc", host("proc")),
		swapped("dev", "root/dev", host("dev")),
		swapped("tmp", "root/tmp", aLink("../host/tmp")),
		swapped("bin", "root/bin", host("bin")),
		{name: "the tree, and another", deeds: []deed{exchange("root", "another"), exchange("root", "another")}},
	}
}

// sandbox runs a program that digests what it is to see. It fails if one of them is missing.
func (r *racer) sandbox(options ...string) (args []string, out string, err error) {
	args = append(append([]string{"runlocal", "--timeout=60", "--bind=bound:/a/mnt"}, options...), "root", "/bin/ctbox", "sha256", "/who", "/a/mnt/who", "/a/who")
	cmd, cancel := r.command(args...)
	defer cancel()
	var both bytes.Buffer
	cmd.Stdout, cmd.Stderr = &both, &both
	r.running.Store(true)
	err = cmd.Run()
	r.running.Store(false)
	return args, both.String(), err
}

// raceSandbox has sandboxes be made while a race goes on, and gives how many were good.
func (r *racer) raceSandbox(of race) (good int) {
	r.t.Helper()
	if of.prepare != nil {
		of.prepare(r)
	}
	before := r.state("host")
	end, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		r.swap(of, end)
	}()
	for i := range scale(6, 120) {
		args, out, err := r.sandbox([][]string{nil, {"--rw"}}[i%2]...)
		r.runs++
		if err == nil {
			good++
		}
		if what := sandboxed(out, err); what != "" {
			r.complain("%s: %s: %s\n%s", of.name, strings.Join(args, " "), what, out)
		}
	}
	close(end)
	<-done
	if now := r.state("host"); now != before {
		r.complain("%s: what lies outside was touched: %s\nwas %s", of.name, now, before)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	check(r.t, err)
	if bytes.Contains(mounts, []byte(r.dir)) {
		r.complain("%s: a mount is left", of.name)
	}
	return good
}

// sandboxed says what is wrong with what a sandbox made of a program, or "".
func sandboxed(out string, err error) string {
	var exit *exec.ExitError
	switch {
	case strings.Contains(out, secret) || strings.Contains(out, digest(secret)):
		return "an escape: what lies outside was seen"
	case err != nil && (!errors.As(err, &exit) || exit.ExitCode() < 1 || exit.ExitCode() > 127):
		return err.Error()
	case err != nil && exit.ExitCode() > 1 && !strings.HasPrefix(out, "ctbox runlocal: "):
		return "not the message that one wants"
	case err != nil:
		return ""
	}
	one := strings.Contains(out, digest("root")+"  /who\n")
	another := strings.Contains(out, digest("another")+"  /who\n")
	if one == another || !strings.Contains(out, digest("bound")+"  /a/mnt/who\n") {
		return "it is neither of the trees"
	}
	return ""
}
