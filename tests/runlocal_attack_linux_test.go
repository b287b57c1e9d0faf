package tests

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A hostile is a sandbox with what its program could want of the host.
type hostile struct {
	*localBench
	tree, host, victim, key, socket string
}

// TestRunlocalAttacks: what a program tries against the host fails, and with the error that says who stopped it.
func TestRunlocalAttacks(t *testing.T) {
	asEach(t, func(b *localBench) {
		for _, dir := range []string{"dev", "proc", "tmp"} {
			b.mkdir("tree/" + dir) // or --rw makes them
		}
		h := &hostile{b, b.attacked(), b.host(), b.victim(), systemV(b), abstractSocket(b)}
		newKey(b)
		host, tree := b.unchanged(h.host), b.unchanged(h.tree)
		for _, a := range h.attacks() {
			cmd := b.runlocal(append(append(a.options, h.tree, "/init"), strings.Fields(a.attack)...)...)
			cmd.Env = append(cmd.Env, "SECRET=passw0rd")
			cmd.Stdin = strings.NewReader("passw0rd SECRET /ctbox " + h.dir)
			out, errs, status := outcome(b.t, cmd)
			if got := results(out); got != a.want || errs != "" || status != 0 {
				b.t.Errorf("%v: %q, stderr %q, status %d; want %q\n%s", cmd.Args[1:], got, errs, status, a.want, out)
			}
		}
		host()
		tree()
	})
}

// An attack is arguments of the program in testdata/attack, and all different last words of the lines that it prints.
type attack struct {
	options []string
	attack  string
	want    string
}

func (h *hostile) attacks() []attack {
	secret := h.host + "/secret"
	all := []attack{
		{nil, "chroot " + h.host + " " + secret, "ENOENT"},
		{nil, "look " + secret + " /proc/1/root" + secret, "ENOENT"},
		{nil, "nodes / /tmp /dev", "EPERM"},
		{nil, "mounts / /proc /proc/sys /dev/null /tmp", "EPERM"},
		{nil, "namespaces", "EPERM"},
		{nil, "clone3", "ENOSYS"}, // what libc takes as the sign to use clone
		{nil, "enter 1 self", "EPERM"},
		{nil, "privileged", "EPERM"},
		{nil, "families", "EAFNOSUPPORT"},
		{nil, "process " + h.victim + " " + strconv.Itoa(os.Getpid()), "0 ENOENT ESRCH"},
		{nil, "everyone", "9 ok"},
		{nil, "sysv " + h.key, "ENOENT"},
		{nil, "abstract " + h.socket, "ECONNREFUSED"},
		{nil, "empty /proc/keys", "empty"},
		{nil, "leaks", "4"},
		{[]string{"--bind=" + h.host + ":/mnt:ro"}, "put /mnt/secret /mnt/dir/file", "EROFS"},
		{[]string{"--bind=" + h.host + ":/mnt:ro"}, "mounts /mnt", "EPERM"},
		{[]string{"--bind=" + h.host + ":/mnt:ro"}, "make /mnt/new /mnt/dir/new", "EROFS"},
		{[]string{"--net=host"}, "sysv " + h.key, "ENOENT"},
		{[]string{"--rw"}, "chroot " + h.host + " " + secret, "ENOENT"},
		{[]string{"--rw"}, "mounts / /proc", "EPERM"},
		{[]string{"--user=5:6"}, "namespaces", "EPERM"},
		{[]string{"--fake-chown"}, "mounts / /proc", "EPERM"},
	}
	if h.euid() == 0 {
		all = append(all, h.ofRoot()...)
	}
	// What belongs to the namespaces of the sandbox, it may change; the kernel counts some of it by namespace only lately.
	own := " /proc/sys/net /proc/sys/user /proc/sys/fs/mqueue /proc/sys/kernel/msg /proc/sys/kernel/sem /proc/sys/kernel/shm" +
		" /proc/sys/kernel/auto_msgmni /proc/sys/kernel/ns_last_pid /proc/sys/kernel/pid_max /proc/sys/kernel/hostname /proc/sys/kernel/domainname"
	return append(all, attack{nil, "writable /proc/sys" + own, ""})
}

// ofRoot is what the owner of the kernel's own files could do, were they not hidden.
func (h *hostile) ofRoot() []attack {
	refused := "EROFS"
	if h.uid != 0 {
		refused = "EACCES" // already by owner
	}
	return []attack{
		{nil, "writable /proc/sys", ""},
		{[]string{"--user=7"}, "writable /proc/sys", ""},
		{[]string{"--rw"}, "writable /proc/sys", ""},
		{nil, "writable /proc/irq", ""},
		{nil, "writable /proc/bus", ""},
		{nil, "writable /proc/fs", ""},
		{nil, "writable /proc/acpi", ""},
		{nil, "writable /proc/scsi", ""},
		{nil, "put /proc/sys/kernel/core_pattern /proc/sys/vm/drop_caches", refused},
		{nil, "empty /proc/timer_list", "empty"},
	}
}

// results is the last words of lines, sorted, each once.
func results(out string) string {
	words := []string{}
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		words = append(words, fields[len(fields)-1])
	}
	slices.Sort(words)
	return strings.Join(slices.Compact(words), " ")
}

// systemV makes a message queue, semaphores and memory that anyone on the host may use, and returns their key.
func systemV(b *localBench) string {
	b.t.Helper()
	key := 0x63000000 | os.Getpid()&0xffff<<8 | b.number
	for call, size := range map[uintptr]uintptr{unix.SYS_MSGGET: 0o1666, unix.SYS_SEMGET: 1, unix.SYS_SHMGET: 4096} {
		mode := uintptr(unix.IPC_CREAT | 0o666)
		if call == unix.SYS_MSGGET {
			size = mode
		}
		id, _, errno := unix.Syscall(call, uintptr(key), size, mode)
		if errno != 0 {
			b.t.Fatal(errno)
		}
		b.t.Cleanup(func() {
			control := map[uintptr]uintptr{unix.SYS_MSGGET: unix.SYS_MSGCTL, unix.SYS_SEMGET: unix.SYS_SEMCTL, unix.SYS_SHMGET: unix.SYS_SHMCTL}[call]
			args := [4]uintptr{id, unix.IPC_RMID}
			if call == unix.SYS_SEMGET {
				args = [4]uintptr{id, 0, unix.IPC_RMID}
			}
			unix.Syscall6(control, args[0], args[1], args[2], args[3], 0, 0)
		})
	}
	return fmt.Sprint(key)
}

// newKey makes a key in the kernel that the user may see.
func newKey(b *localBench) {
	b.t.Helper()
	expect(b.t, b.command(attackProbe(b.t), "newkey", "ctbox-test"), "add key ctbox-test ok\n", "", 0)
}

// abstractSocket is one that has no file and so no owner.
func abstractSocket(b *localBench) string {
	b.t.Helper()
	name := fmt.Sprint("ctbox-test-", os.Getpid(), "-", b.number)
	l, err := net.Listen("unix", "@"+name)
	check(b.t, err)
	b.t.Cleanup(func() { l.Close() })
	return name
}

// TestRunlocalAttacksWork: the program of the attacks reaches what it is after where nothing stops it, so that its failures mean
// something. It does no harm.
func TestRunlocalAttacksWork(t *testing.T) {
	b := ordinaryBench(t)
	h := &hostile{localBench: b, host: b.host(), victim: b.victim(), key: systemV(b), socket: abstractSocket(b)}
	newKey(b)
	for _, a := range []attack{
		{nil, "empty /proc/keys", "full"},
		{nil, "look " + h.host + "/secret", "ok"},
		{nil, "put " + h.host + "/null", "ok"},
		{nil, "sysv " + h.key, "ok"},
		{nil, "abstract " + h.socket, "ok"},
		{nil, "leaks", "1 PATH="},
		{nil, "empty " + h.host + "/null", "full"},
	} {
		cmd := b.command(append([]string{attackProbe(t)}, strings.Fields(a.attack)...)...)
		cmd.Stdin = strings.NewReader("PATH=")
		out, errs, status := outcome(t, cmd)
		if got := results(out); got != a.want || status != 0 {
			t.Errorf("%s: %q, %s, status %d; want %q\n%s", a.attack, got, errs, status, a.want, out)
		}
	}
	out, _, _ := outcome(t, b.command(attackProbe(t), "process", h.victim))
	if !strings.Contains(out, "signal "+h.victim+" ok\n") {
		t.Errorf("%s", out)
	}
}

// TestRunlocalInertFiles: programs with the setuid bit and device nodes are files like others, in DIR and in what is bound.
func TestRunlocalInertFiles(t *testing.T) {
	requireRoot(t)
	asEach(t, func(b *localBench) {
		tree := b.attacked()
		for i, owner := range []int{0, b.uid, 1} {
			for _, dir := range []string{"tree", "bound"} {
				name := fmt.Sprintf("%s/as%d", dir, i)
				path := b.program(name, attackProbe(t))
				check(t, os.Chown(path, owner, owner))
				check(t, unix.Setxattr(path, "security.capability", []byte("\x01\x00\x00\x02\xff\xff\xff\xff\x00\x00\x00\x00\xff\xff\xff\xff\x00\x00\x00\x00"), 0))
				check(t, os.Chmod(path, 0o755|os.ModeSetuid|os.ModeSetgid))
			}
		}
		for _, dir := range []string{"tree", "bound"} {
			check(t, unix.Mknod(b.path(dir+"/node"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5))))
			check(t, os.Chmod(b.path(dir+"/node"), 0o666))
			b.own(b.path(dir + "/node"))
		}
		bind := "--bind=" + b.path("bound") + ":/mnt"
		for _, options := range [][]string{{bind}, {bind, "--rw"}, {bind + ":ro"}} {
			run := func(args ...string) string {
				out, errs, status := outcome(b.t, b.runlocal(append(append(options, tree, "/init"), args...)...))
				if status != 0 {
					b.t.Errorf("%v %v: status %d, %s", options, args, status, errs)
				}
				return out
			}
			me := run("who")
			if got := run("setuid", "/as0", "/as1", "/as2", "/mnt/as0", "/mnt/as1", "/mnt/as2"); got != strings.Repeat(me, 6) {
				b.t.Errorf("%v: not all of the programs are\n%s\n%s", options, me, got)
			}
			if got := results(run("look", "/node", "/mnt/node")); got != "EACCES" {
				b.t.Errorf("%v: a device opens: %s", options, got)
			}
			// the way through another mount of the same file system
			if got := results(run("mounts", "/mnt")); got != "EPERM" {
				b.t.Errorf("%v: %s", options, got)
			}
		}
	})
}

// TestRunlocalChangedRoot: --chroot isolates nothing, but programs get no privileges from files, and nothing is left of them.
func TestRunlocalChangedRoot(t *testing.T) {
	requireRoot(t)
	b := newLocalBench(t, 0)
	tree := b.attacked()
	setuid := b.program("tree/setuid", attackProbe(t))
	check(t, os.Chown(setuid, 1, 1))
	check(t, os.Chmod(setuid, 0o755|os.ModeSetuid|os.ModeSetgid))
	out, errs, status := outcome(t, b.runlocal("--chroot", "--user=5:6", tree, "/init", "setuid", "/init", "/setuid"))
	if lines := strings.SplitAfter(out, "\n"); len(lines) != 3 || lines[0] != lines[1] || !strings.HasPrefix(out, "uid 5 gid 6 no_new_privs 1 ") || status != 0 {
		t.Errorf("%s%sstatus %d", out, errs, status)
	}
	out, _, _ = outcome(t, b.runlocal("--chroot", tree, "/init", "privileged"))
	if got := results(out); got != "EPERM" {
		t.Errorf("%s\n%s", got, out)
	}
	b.expect("fork once more ok\n20 children\n", "", 0, "--chroot", tree, "/init", "bomb", "20") // and see newLocalBench
}
