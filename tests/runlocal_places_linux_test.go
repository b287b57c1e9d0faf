package tests

import (
	"os/exec"
	"strings"
	"testing"
)

// TestRunlocalHostRoot: the host's own root directory cannot be the lower layer of an overlay that is mounted in it, and is shown
// read-only, with all that is mounted below.
func TestRunlocalHostRoot(t *testing.T) {
	asEach(t, func(b *localBench) {
		script := `[ -w / ] || [ -w /usr ] || echo root; awk '$5 !~ "^/(dev|proc|tmp|run|var/tmp)(/|$)" && $6 !~ "^ro(,|$)"' /proc/self/mountinfo; test ! -e "$0" && echo hidden`
		out, errs, status := outcome(b.t, b.runlocal("/", "/bin/sh", "-c", script, b.dir))
		if out != "root\nhidden\n" || status != 0 || strings.Count(errs, "\n") != 1 || !strings.Contains(errs, "read-only") {
			b.t.Errorf("%q, %q, status %d", out, errs, status)
		}
	})
}

// TestRunlocalRestrictedMounts: what a mount forbids, its bind must forbid, too, or the kernel says EPERM (locked flags in
// mount_namespaces(7)).
func TestRunlocalRestrictedMounts(t *testing.T) {
	script := `mkdir m o; cp -a "$tree" "$ctbox" .; chmod 755 . ..
run() {
	out=$(setpriv --reuid=$1 --regid=$1 --clear-groups sh -c 'shift; exec ./ctbox runlocal "$@"' sh "$@" 2>err) && status=0 || status=$?
	echo "$options $*: $status $out"
	[ $status != 125 ] || cat err
}
for options in nosuid,nodev noexec nosuid,nodev,noexec ro noatime ro,nosuid,nodev,noatime nodiratime,nosuid relatime strictatime; do
	mount -t tmpfs tmpfs m
	cp -a tree/init m/; mkdir m/dev m/proc m/tmp
	mount -o remount,$options m
	for uid in 0 61235; do
		run $uid m; run $uid --rw m; run $uid --bind=m:/mnt m; run $uid --bind=m:/mnt:ro tree
	done
	umount m
done`
	out := inTreeNamespace(t, script)
	for line := range strings.Lines(out) {
		options, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		want := "0 up" // an overlay does not mind how the mount of its lower layer is restricted
		if strings.Contains(options, "noexec") && strings.Contains(rest, "--rw") {
			want = "126"
		}
		if !strings.HasSuffix(strings.TrimSpace(line), ": "+want) {
			t.Errorf("%swant %s", line, want)
		}
	}
	if n := strings.Count(out, "\n"); n != 9*2*4 {
		t.Errorf("%d lines:\n%s", n, out)
	}
}

// TestRunlocalDeepOverlays: an overlay cannot be of overlays of overlays. Then DIR is shown read-only.
func TestRunlocalDeepOverlays(t *testing.T) {
	out := inTreeNamespace(t, `mkdir u1 w1 u2 w2 m1 m2 low; cp -a "$tree"/init "$ctbox" low/; mkdir low/dev low/proc low/tmp; mv low/ctbox .; chmod 755 . ..
mount -t tmpfs tmpfs u1; mkdir u1/u u1/w; mount -t tmpfs tmpfs u2; mkdir u2/u u2/w
mount -t overlay -o lowerdir=low,upperdir=u1/u,workdir=u1/w overlay m1
mount -t overlay -o nosuid,nodev,lowerdir=m1,upperdir=u2/u,workdir=u2/w overlay m2
for uid in 0 61235; do for dir in m1 m2; do
	setpriv --reuid=$uid --regid=$uid --clear-groups ./ctbox runlocal $dir /init make /new /tmp/new 2>err || cat err
	grep -c read-only err || true
done; done`)
	once := "create /new ok\ncreate /tmp/new ok\n0\ncreate /new EROFS\ncreate /tmp/new ok\n1\n"
	if out != once+once {
		t.Errorf("%s", out)
	}
}

// TestRunlocalFullTree: a file system without room, or one that cannot be written, is nothing to a program that writes (R29).
func TestRunlocalFullTree(t *testing.T) {
	out := inTreeNamespace(t, `mkdir m; cp -a "$ctbox" .; chmod 755 . ..
mount -t tmpfs -o size=4M,mode=755 tmpfs m; cp -a "$tree"/init m/; mkdir m/dev m/proc m/tmp; head -c 9M /dev/zero >m/fill 2>/dev/null || echo full
run() { for uid in 0 61235; do setpriv --reuid=$uid --regid=$uid --clear-groups ./ctbox runlocal m /init make /new /tmp/new; done; }
run
mount -o remount,ro m
run`)
	if want := "full\n" + strings.Repeat("create /new ok\ncreate /tmp/new ok\n", 4); out != want {
		t.Errorf("%s", out)
	}
}

// inTreeNamespace is inNamespace with $tree, which holds the program of the attacks, and $ctbox, the static one.
func inTreeNamespace(t *testing.T, script string) string {
	t.Helper()
	requireRoot(t)
	requireTool(t, "setpriv")
	out, errs := inNamespace(t, "tree="+newLocalBench(t, 0).attacked()+"\nctbox="+staticCtbox(t)+"\n"+script)
	if errs != "" {
		t.Errorf("%s", errs)
	}
	return out
}

// TestRunlocalNested: in itself it works, or says why not.
func TestRunlocalNested(t *testing.T) {
	asEach(t, func(b *localBench) {
		tree := b.attacked()
		b.program("tree/ctbox", staticCtbox(b.t))
		b.tree("tree/inner", attackProbe(b.t))
		out, errs, status := outcome(b.t, b.runlocal(tree, "/ctbox", "runlocal", "/inner"))
		works := out == "up\n" && status == 0 && errs == ""
		if refused := out == "" && status == 125 && strings.HasPrefix(errs, "ctbox runlocal: ") && strings.Count(errs, "\n") > 1; !works && !refused {
			b.t.Errorf("%q, %q, status %d", out, errs, status)
		}
		b.t.Logf("status %d: %s", status, errs)
	})
}

// TestRunlocalInDocker: with what its message asks for, or with --chroot by default.
func TestRunlocalInDocker(t *testing.T) {
	e := startDocker(t)
	b := newLocalBench(t, 0)
	tree := b.attacked()
	b.program("tree/ctbox", staticCtbox(t))
	b.tree("tree/root", attackProbe(t))
	b.mkdir("tree/tmp")
	tar := b.path("image.tar")
	pipe(t, "", "tar", "-C", tree, "-cf", tar, ".")
	image := e.run(t, "import", tar)
	t.Cleanup(func() { e.try("rmi", "-f", image) })
	run := func(options string, args ...string) (string, string, int) {
		line := append(append([]string{"run", "--rm", "--network=none", "--log-driver=none"}, strings.Fields(options)...), image, "/ctbox", "runlocal")
		cmd := exec.Command(e.Command, append(line, args...)...)
		e.reach(cmd)
		return outcome(t, cmd)
	}
	open := "--security-opt=seccomp=unconfined --security-opt=systempaths=unconfined"
	for _, test := range []struct {
		options, args, out string
		status             int
	}{
		{open, "/root", "up\n", 0},
		{open, "--rw /root", "up\n", 0},
		{open, "/root /init put /proc/sys/kernel/core_pattern", "write /proc/sys/kernel/core_pattern EROFS\n", 0},
		{open, "/root /init look /ctbox /root/init", "read /ctbox ENOENT\nread /root/init ENOENT\n", 0},
		{open + " --user=1000", "/root", "up\n", 0},
		{"", "--chroot /root", "up\n", 0},
		{"", "--chroot /root /init look /ctbox", "read /ctbox ENOENT\n", 0},
		{"", "/root", "", 125},
		{"--security-opt=seccomp=unconfined", "/root", "", 125},
		{"--user=1000", "--chroot /root", "", 125},
	} {
		out, errs, status := run(test.options, strings.Fields(test.args)...)
		if out != test.out || status != test.status || (errs == "") != (status == 0) {
			t.Errorf("%s, %s: %q, status %d, want %q, %d\n%s", test.options, test.args, out, status, test.out, test.status, errs)
		}
		if status == 125 && test.args == "/root" && !strings.Contains(errs, "--security-opt") {
			t.Errorf("%s: does not say what to do: %s", test.options, errs)
		}
	}
}
