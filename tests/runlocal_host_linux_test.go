package tests

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestRunlocalLinks: whatever in DIR is a symbolic link to the host, nothing is mounted, made or written there (CVE-2021-30465,
// CVE-2025-31133). As the links lead to nothing in DIR, the run may fail.
func TestRunlocalLinks(t *testing.T) {
	asEach(t, func(b *localBench) {
		host := b.host()
		unchanged := b.unchanged(host)
		up := strings.Repeat("../", 20)
		for i, link := range []struct{ name, target string }{
			{"dev", host}, {"proc", host}, {"tmp", host}, {"sys", host}, {"etc", host}, {"run", host}, {"var", host}, {"mnt", host},
			{"dev", up + host}, {"proc", up + host}, {"tmp", up + host}, {"mnt", up + host}, {"mnt", host + "/dir/sub/new"},
			{"dev/null", host + "/null"}, {"dev/pts", host}, {"dev/shm", host}, {"proc/self", host}, {"mnt/x", host + "/null"},
			{"dev", "/proc/self/cwd" + host}, {"tmp", "/proc/1/root" + host}, {"proc", "."}, {"dev", "/"}, {"tmp", ".."},
		} {
			tree := b.tree(fmt.Sprint("tree", i), attackProbe(b.t))
			b.symlink(link.target, fmt.Sprintf("tree%d/%s", i, link.name))
			for _, options := range [][]string{
				nil, {"--rw"}, {"--bind=" + tree + ":/mnt/x/y"}, {"--bind=" + tree + "/init:/mnt/x:ro"}, {"--tmpfs=/mnt/x"}, {"--workdir=/mnt"},
			} {
				cmd := b.runlocal(append(options, tree, "/init", "make", "/dev/new", "/tmp/new", "/etc/new", "/mnt/new", "/proc/new", "/dev/null", "/mnt/x")...)
				_, errs, status := outcome(b.t, cmd)
				if status != 0 && (status != 125 || !strings.HasPrefix(errs, "ctbox runlocal: ")) {
					b.t.Errorf("%v, %v: status %d\n%s", link, options, status, errs)
				}
				if len(options) == 0 && status != 0 {
					b.t.Errorf("%v: status %d\n%s", link, status, errs)
				}
			}
		}
		unchanged()
	})
}

// TestRunlocalExchanged: nor when a directory becomes a link while the sandbox is made.
func TestRunlocalExchanged(t *testing.T) {
	b := ordinaryBench(t)
	host, tree := b.host(), b.attacked()
	unchanged := b.unchanged(host)
	for _, dir := range []string{"dev", "proc", "tmp", "mnt"} {
		b.mkdir("tree/" + dir)
		b.symlink(host, "tree/"+dir+".link")
	}
	stop, done := make(chan bool), make(chan bool)
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				for _, dir := range []string{"dev", "proc", "tmp", "mnt"} {
					unix.Renameat2(unix.AT_FDCWD, tree+"/"+dir, unix.AT_FDCWD, tree+"/"+dir+".link", unix.RENAME_EXCHANGE)
				}
			}
		}
	}()
	for range 20 {
		for _, option := range []string{"--rw", "--tmpfs=/mnt/x", "--bind=" + tree + ":/mnt/y"} {
			outcome(t, b.runlocal(option, tree, "/init", "make", "/dev/new", "/tmp/new", "/mnt/new", "/mnt/x/new"))
		}
	}
	close(stop)
	<-done
	unchanged()
}

// TestRunlocalForeignInit: a link to a program that only the host has is none.
func TestRunlocalForeignInit(t *testing.T) {
	asEach(t, func(b *localBench) {
		b.tree("host", attackProbe(b.t))
		for i, target := range []string{b.path("host/init"), strings.Repeat("../", 20) + b.path("host/init"), "../host/init", "/proc/1/root" + b.path("host/init")} {
			name := fmt.Sprint("tree", i)
			b.symlink(target, name+"/init")
			for _, option := range []string{"--hostname=x", "--rw"} {
				out, errs, status := outcome(b.t, b.runlocal(option, b.path(name)))
				if out != "" || status != 127 || !strings.HasPrefix(errs, "ctbox runlocal: ") {
					b.t.Errorf("%s: %q, %q, status %d", target, out, errs, status)
				}
			}
		}
	})
}

// TestRunlocalDescriptors: what make, a shell or a careless parent left open is not for the program (CVE-2016-9962, CVE-2024-21626).
func TestRunlocalDescriptors(t *testing.T) {
	asEach(t, func(b *localBench) {
		tree, host := b.attacked(), b.host()
		script := "exec 3<" + host + " 4<" + host + "/secret 5</ 9</; cd " + b.mkdir("gone") + "; rmdir ../gone; exec \"$@\""
		run := func(args ...string) (string, string, int) {
			cmd := b.runlocal(append([]string{tree, "/init"}, args...)...)
			// the shell comes after what changes the user or the namespace: it must be ctbox that closes
			cmd = b.command(append([]string{"sh", "-c", script, "sh"}, cmd.Args[len(b.wrap):]...)...)
			r, w, err := os.Pipe()
			check(b.t, err)
			defer r.Close()
			defer w.Close()
			cmd.ExtraFiles = []*os.File{0: r, 1: w, 97: r, 98: w} // 100 and 101 are redo's
			return outcome(b.t, cmd)
		}
		if out, errs, status := run("descriptors", "/secret", host+"/secret"); out != "" || status != 0 {
			b.t.Errorf("open: %s, %s, status %d", out, errs, status)
		}
		if out, errs, status := run("cwd", "secret", "../host/secret"); out != "cwd /\nfrom cwd secret ENOENT\nfrom cwd ../host/secret ENOENT\n" || status != 0 {
			b.t.Errorf("%s, %s, status %d", out, errs, status)
		}
	})
}

// TestRunlocalDirectoryAsFile: through a directory as standard file a program would reach all of the host.
func TestRunlocalDirectoryAsFile(t *testing.T) {
	asEach(t, func(b *localBench) {
		tree, host := b.attacked(), b.host()
		for _, redirect := range []string{"0<", "1<", "2<", "0<.; 0<"} {
			cmd := b.runlocal(tree, "/init", "descriptors", "/secret")
			cmd = b.command(append([]string{"sh", "-c", "exec \"$@\" " + redirect + host, "sh"}, cmd.Args[len(b.wrap):]...)...)
			out, errs, status := outcome(b.t, cmd)
			if out != "" || status != 125 || redirect != "2<" && !strings.Contains(errs, "is a directory") {
				b.t.Errorf("%s: %q, %q, status %d", redirect, out, errs, status)
			}
		}
	})
}

// TestRunlocalInputFile: a file that is open to be read stays as it is. /proc/self/fd/0 would open it again, to write.
func TestRunlocalInputFile(t *testing.T) {
	asEach(t, func(b *localBench) {
		tree := b.attacked()
		text := strings.Repeat("0123456789\n", 20000)
		in := b.write("input/file", text[:1000], 0o644)
		unchanged := b.unchanged(b.path("input"))
		for _, option := range []string{"--net=none", "--rw"} {
			for _, attack := range []string{"input", "up"} {
				f, err := os.Open(in)
				check(b.t, err)
				cmd := b.runlocal(option, tree, "/init", attack)
				cmd.Stdin = f
				if _, errs, status := outcome(b.t, cmd); errs != "" || status != 0 {
					b.t.Errorf("status %d, %s", status, errs)
				}
				f.Close()
			}
		}
		unchanged()
		// it is read, from where it was, and to its end
		in = b.write("input/long", text, 0o644)
		f, err := os.Open(in)
		check(b.t, err)
		defer f.Close()
		f.Seek(11, io.SeekStart)
		cmd := b.runlocal(b.tree("cat", probe(b.t)), "/init", "cat")
		cmd.Stdin = f
		expect(b.t, cmd, text[11:], "", 0)
	})
}

// TestRunlocalTerminal: a program cannot type into the terminal that it writes to (CVE-2017-5226), whatever is in the upper half of the
// request (CVE-2019-10063), and neither where no session has the terminal yet.
func TestRunlocalTerminal(t *testing.T) {
	asEach(t, func(b *localBench) {
		tree := b.attacked()
		for _, session := range []bool{true, false} {
			out, typed := onTerminal(b, b.runlocal(tree, "/init", "terminal"), session)
			if got := results(out); got != "EPERM" || typed != 0 {
				b.t.Errorf("session %t: %d bytes typed, %s\n%s", session, typed, got, out)
			}
		}
	})
	// what all this is about
	b := ordinaryBench(t)
	legacy, _ := os.ReadFile("/proc/sys/dev/tty/legacy_tiocsti")
	if out, typed := onTerminal(b, b.command(attackProbe(t), "terminal"), true); typed == 0 && strings.TrimSpace(string(legacy)) == "1" {
		t.Errorf("the attack does not work without a sandbox: %s", out)
	}
}

// onTerminal runs cmd on a new terminal, with a session or without, and returns its output and how much was typed.
func onTerminal(b *localBench, cmd *exec.Cmd, session bool) (out string, typed int) {
	b.t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	check(b.t, err)
	defer master.Close()
	check(b.t, unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	check(b.t, err)
	slave, err := os.OpenFile(fmt.Sprint("/dev/pts/", n), os.O_RDWR|unix.O_NOCTTY, 0)
	check(b.t, err)
	defer slave.Close()
	check(b.t, slave.Chmod(0o666))
	mode, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
	check(b.t, err)
	mode.Lflag &^= unix.ICANON | unix.ECHO
	check(b.t, unix.IoctlSetTermios(int(slave.Fd()), unix.TCSETS, mode))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Setsid, cmd.SysProcAttr.Setctty = true, session
	check(b.t, cmd.Start())
	read := make(chan string)
	go func() {
		all := make([]byte, 1<<16)
		n := 0
		for !strings.HasSuffix(string(all[:n]), "\x00") {
			more, err := master.Read(all[n:])
			if n += more; err != nil {
				break
			}
		}
		read <- strings.ReplaceAll(strings.TrimSuffix(string(all[:n]), "\x00"), "\r", "")
	}()
	if err := cmd.Wait(); err != nil {
		b.t.Errorf("%v: %v", cmd.Args, err)
	}
	typed, err = unix.IoctlGetInt(int(slave.Fd()), unix.TIOCINQ)
	check(b.t, err)
	slave.Write([]byte{0})
	return <-read, typed
}

// TestRunlocalLeftBehind: a run is over when /init is, whatever that has started, and so is its output.
func TestRunlocalLeftBehind(t *testing.T) {
	asEach(t, func(b *localBench) {
		tree := b.tree("tree", probe(b.t))
		start := time.Now()
		cmd := b.runlocal(tree, "/init", "orphans", "5") // each has a session of its own, and ends at nothing but SIGKILL
		out, errs, status := outcome(b.t, cmd)
		if strings.Trim(out, "orphan\n") != "" || errs != "" || status != 5 || time.Since(start) > promptly {
			b.t.Errorf("%.100q, %q, status %d after %v", out, errs, status, time.Since(start))
		}
	})
}

// TestRunlocalBounds: a program that takes all it can get does not take it from the host.
func TestRunlocalBounds(t *testing.T) {
	asEach(t, func(b *localBench) {
		tree := b.attacked()
		b.expect("fill /mnt/full ENOSPC\n3 MiB\n", "", 0, "--tmpfs=/mnt:3M", tree, "/init", "fill", "/mnt/full")
		out, _, _ := outcome(b.t, b.runlocal(tree, "/init", "fill", "/dev/full.file"))
		if !strings.HasPrefix(out, "fill /dev/full.file ENOSPC\n") {
			b.t.Errorf("%s", out)
		}
		if !strings.Contains(pipe(b.t, "", staticCtbox(b.t), "runlocal", "--help"), "--limit") {
			b.t.Fatal("there is no --limit")
		}
		out, errs, status := outcome(b.t, b.runlocal("--limit=mem=24M", tree, "/init", "fill", "/tmp/full"))
		var mib int
		fmt.Sscanf(out, "fill /tmp/full ENOSPC\n%d MiB\n", &mib)
		if killed := status == 128+9; !killed && (status != 0 || mib < 10 || mib > 24) {
			b.t.Errorf("--limit=mem: %s%s, status %d", out, errs, status)
		}
		if b.euid() == 0 && b.uid != 0 {
			return // no cgroup, and no rlimit either, as ctbox says
		}
		out, errs, status = outcome(b.t, b.runlocal("--limit=pids=40", tree, "/init", "bomb", "400"))
		var children int
		fmt.Sscanf(out, "fork once more EAGAIN\n%d children\n", &children)
		if status != 0 || children < 20 || children > 40 {
			b.t.Errorf("--limit=pids: %s%s, status %d", out, errs, status)
		}
	})
}

// TestRunlocalEmptied: what a program does to all that it sees, it does not do to DIR.
func TestRunlocalEmptied(t *testing.T) {
	asEach(t, func(b *localBench) {
		tree := b.tree("tree", probe(b.t))
		for i := range 5 {
			b.write(fmt.Sprintf("tree/dir%d/deep/file", i), "content\n", fs.FileMode(0o600+i))
			b.symlink("deep/file", fmt.Sprintf("tree/dir%d/link", i))
		}
		b.mkdir("tree/dev/pts")
		b.write("tree/dev/null", "", 0o600)
		b.mkdir("tree/proc/self")
		list := fileIDs(b.t, tree)
		old := time.Now().Add(-72 * time.Hour) // so that even relatime would note a time of access
		for i := range 5 {
			check(b.t, os.Chtimes(b.path(fmt.Sprintf("tree/dir%d/deep/file", i)), old, old))
		}
		stats := fileStats(b.t, tree)
		b.expect("content\n", "", 0, tree, "/init", "read", "/dir1/deep/file")
		b.expect("done\n", "", 0, tree, "/init", "ruin", "/")
		sameState(b.t, fileStats(b.t, tree), stats)
		sameState(b.t, fileIDs(b.t, tree), list)
	})
}
