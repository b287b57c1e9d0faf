package tests

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
)

// TestRunlocalSurroundings: what a program finds is what was asked for, and nothing else of the host.
func TestRunlocalSurroundings(t *testing.T) {
	asEach(t, func(b *localBench) {
		tree := b.probeTree()
		odd := []string{"", "a b", "'\"$x\\", "line\nbreak", "\xff\xfe", strings.Repeat("long", 10000)}
		cmd := b.runlocal(append([]string{"-eA=1,2 =3", "-e", "INHERITED", "-eABSENT", "-eHOME=/", "--workdir=/dev", "--hostname=there", tree, "/init", "show"}, odd...)...)
		cmd.Env = append(cmd.Env, "INHERITED=in\nherited", "SECRET=1", "LD_PRELOAD=/nosuch.so", "MAKEFLAGS=-j", "REDO=1", "SOURCE_DATE_EPOCH=7")
		out, errs, status := outcome(b.t, cmd)
		out, mounts, _ := strings.Cut(out, "overlay / ")
		want := fmt.Sprintf("args %q\ndir \"/dev\"\nhost \"there\"\nids 0 0, pid 1: true, session leader: true\n"+
			"env \"A=1,2 =3\"\nenv %q\nenv \"HOME=/\"\nenv \"INHERITED=in\\nherited\"\nenv \"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\"\n"+
			"env \"SOURCE_DATE_EPOCH=7\"\nenv \"container=ctbox\"\nfd 0 /dev/null\nfd 1 pipe\nfd 2 pipe\n", append([]string{"/init", "show"}, odd...), b.mark)
		if out != want || status != 0 || strings.Contains(errs, "rror") {
			b.t.Errorf("%q, %q, status %d; want\n%q", out, errs, status, want)
		}
		for _, mount := range []string{"/dev tmpfs", "/dev/pts devpts", "/dev/null ", "/proc proc", "/tmp tmpfs"} {
			if !strings.Contains(mounts, " "+mount) {
				b.t.Errorf("no %s in %s", mount, mounts)
			}
		}
		for line := range strings.SplitSeq(mounts, "\n") {
			if fields := strings.Fields(line); len(fields) > 1 && !strings.HasPrefix(fields[1], "/dev") && !strings.HasPrefix(fields[1], "/proc") && fields[1] != "/tmp" && strings.HasPrefix(fields[1], "/") {
				b.t.Errorf("a mount too much: %s", line)
			}
		}
		b.expect("022\n", "", 0, tree, "/init", "umask")
		b.expect("/\n", "", 0, tree, "/init", "cwd")
	})
}

// TestRunlocalSignalsReset: what make or a shell has ignored is not ignored by the program.
func TestRunlocalSignalsReset(t *testing.T) {
	asEach(t, func(b *localBench) {
		cmd := b.runlocal(b.attacked(), "/init", "signals")
		cmd = b.command(append([]string{"sh", "-c", "trap '' PIPE HUP USR1 CHLD; exec \"$@\"", "sh"}, cmd.Args[len(b.wrap):]...)...)
		expect(b.t, cmd, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n", "", 0)
	})
}

// TestRunlocalMounts: what is mounted can be used as it says.
func TestRunlocalMounts(t *testing.T) {
	asEach(t, func(b *localBench) {
		tree, host := b.attacked(), b.host()
		unchanged := b.unchanged(tree)
		run := func(want string, args ...string) {
			b.t.Helper()
			out, errs, status := outcome(b.t, b.runlocal(args...))
			if got := results(out); got != want || errs != "" || status != 0 {
				b.t.Errorf("%v: %s, want %s, stderr %q, status %d\n%s", args, got, want, errs, status, out)
			}
		}
		run("ok", "--bind="+host+":/mnt", tree, "/init", "make", "/mnt/made", "/mnt/dir/sub/made")
		run("EROFS", "--bind="+host+":/mnt:ro", tree, "/init", "make", "/mnt/not", "/mnt/dir/sub/not", "/mnt/secret")
		run("ok", "--bind="+host+"/null:/a/b/file", tree, "/init", "put", "/a/b/file")
		run("EROFS", "--bind="+host+"/null:/a/b/file:ro", tree, "/init", "put", "/a/b/file")
		run("ok", "--bind=host:/here", "--tmpfs=/here/dir", tree, "/init", "look", "/here/secret")
		run("ENOENT", "--tmpfs=/mnt", tree, "/init", "look", "/mnt/dir/file")
		run("ok", "--tmpfs=/deep/down", tree, "/init", "make", "/deep/down/file", "/tmp/file", "/dev/shm/file", "/new")
		for name, there := range map[string]bool{"made": true, "dir/sub/made": true, "not": false, "dir/sub/not": false} {
			var st syscall.Stat_t
			if err := syscall.Stat(host+"/"+name, &st); (err == nil) != there || there && int(st.Uid) != b.uid {
				b.t.Errorf("%s: %v, owner %d", name, err, st.Uid)
			}
		}
		unchanged()
	})
}

// TestRunlocalWritable: with --rw DIR itself is written to, by its owner.
func TestRunlocalWritable(t *testing.T) {
	asEach(t, func(b *localBench) {
		tree := b.attacked()
		b.expect("create /new ok\n", "", 0, "--rw", tree, "/init", "make", "/new")
		var st syscall.Stat_t
		check(b.t, syscall.Stat(tree+"/new", &st))
		if int(st.Uid) != b.uid || st.Mode&0o777 != 0o644 {
			b.t.Errorf("owner %d, mode %o", st.Uid, st.Mode)
		}
		b.expect("create /tmp/new ok\n", "", 0, "--rw", tree, "/init", "make", "/tmp/new")
		if _, err := os.Stat(tree + "/tmp/new"); err == nil {
			b.t.Error("/tmp is DIR's")
		}
	})
}

// TestRunlocalUser: who a program is inside; outside it is who started it.
func TestRunlocalUser(t *testing.T) {
	asEach(t, func(b *localBench) {
		tree := b.attacked()
		for _, test := range []struct{ option, want string }{{"--user=7:8", "uid 7 gid 8 "}, {"--user=7", "uid 7 gid 7 "}, {"--user=0:0", "uid 0 gid 0 "}, {"--user=2000000:3", "uid 2000000 gid 3 "}} {
			out, errs, status := outcome(b.t, b.runlocal(test.option, tree, "/init", "who"))
			if !strings.HasPrefix(out, test.want+"no_new_privs 1 ") || errs != "" || status != 0 {
				b.t.Errorf("%s: %s%s, status %d", test.option, out, errs, status)
			}
		}
		check(b.t, os.Chmod(b.mkdir("out"), 0o777))
		b.expect("create /out/new ok\n", "", 0, "--user=7:8", "--bind="+b.path("out")+":/out", tree, "/init", "make", "/out/new")
		var st syscall.Stat_t
		check(b.t, syscall.Stat(b.path("out/new"), &st))
		if int(st.Uid) != b.uid && (b.uid != 0 || st.Uid != 7) { // root may give itself up outside, too
			b.t.Errorf("owner %d outside", st.Uid)
		}
	})
}

// TestRunlocalNames: DIR may have any name (a comma and a colon mean something to overlayfs), and be given in any way.
func TestRunlocalNames(t *testing.T) {
	asEach(t, func(b *localBench) {
		for _, name := range []string{`a,b:c\d`, "a b", "line\nbreak", "lowerdir=x", "-dash", "\xff", "quote'\""} {
			b.expect("up\n", "", 0, "--", b.tree(name, attackProbe(b.t)))
			b.expect("up\n", "", 0, "--rw", "--", b.path(name))
			if !strings.HasPrefix(name, "-") {
				b.expect("up\n", "", 0, name)
			}
		}
		tree := b.attacked()
		b.symlink("tree", "link")
		for _, dir := range []string{"tree", "./tree", "tree/", "tree//", "link", "link/", "tree/../tree", "tree/.", b.dir + "/link"} {
			b.expect("up\n", "", 0, dir)
			b.expect("up\n", "", 0, "--rw", dir)
			b.expect("up\n", "", 0, "--bind="+dir+":/mnt", tree)
		}
		cmd := b.runlocal(".")
		cmd.Dir = tree
		expect(b.t, cmd, "up\n", "", 0)
	})
}
