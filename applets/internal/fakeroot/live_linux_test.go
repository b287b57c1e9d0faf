//go:build amd64 || arm64

package fakeroot

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/archive"
)

const inFakeroot = "CTBOX_TEST_IN_FAKEROOT"

// TestLive asks real daemons: this test runs itself under both kinds of fakeroot.
func TestLive(t *testing.T) {
	if os.Getenv(inFakeroot) != "" {
		t.Skip("is within already")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"fakeroot-sysv", "fakeroot-tcp"} {
		t.Run(name, func(t *testing.T) {
			if _, err := exec.LookPath(name); err != nil {
				if os.Getenv("CI") == "true" {
					t.Fatal(err)
				}
				t.Skip(err)
			}
			script := `umask 022; : >file; : >other; ln file link; mkdir dir; ln -s x sym; chown 33:44 file; chmod 6755 file
chown -h 3:4 sym; chown 5 dir; mknod null c 1 3; mknod loop b 7 300; mkfifo fifo; chown 9 fifo; : >written; mknod device c 5 1; echo x >device
exec "$0" -test.run='^TestLiveWithin$' -test.v`
			cmd := exec.Command(name, "sh", "-euc", script, self)
			cmd.Dir = t.TempDir()
			cmd.Env = append(os.Environ(), inFakeroot+"=1", Key+"=", StateFile+"=")
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), "--- PASS: TestLiveWithin") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// TestLiveWithin is the part of TestLive under fakeroot, which this static program itself does not see.
func TestLiveWithin(t *testing.T) {
	if os.Getenv(inFakeroot) == "" {
		t.Skip("for TestLive")
	}
	var warnings []string
	src, err := Open("", Context{Warn: func(err error) { warnings = append(warnings, err.Error()) }})
	if err != nil {
		t.Fatal(err)
	}
	d, err := archive.OpenDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"./file": "106755 33:44 0,0", "./link": "106755 33:44 0,0", "./other": "100644 0:0 0,0", "./dir": "40755 5:0 0,0",
		"./sym": "120777 3:4 0,0", "./null": "20644 0:0 1,3", "./loop": "60644 0:0 7,300", "./fifo": "10644 9:0 0,0",
		"./device": "100644 0:0 0,0", // is no device any more
	} {
		st, err := d.Stat([]byte(name))
		if err != nil {
			t.Fatal(err)
		}
		if err := src.Fake([]byte(name), &st); err != nil {
			t.Error(err)
		}
		if got := fmt.Sprintf("%o %d:%d %d,%d", st.Mode, st.UID, st.GID, st.Major, st.Minor); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if want := "./device: is not what fakeroot saw"; len(warnings) != 1 || !strings.HasPrefix(warnings[0], want) {
		t.Errorf("%q", warnings)
	}
}

// serveQueues is a daemon of our own on a new key, which answers each message with what answer makes of it.
func serveQueues(t *testing.T, answer func([]byte) []byte) (key string) {
	t.Helper()
	n := 0x70000000 + os.Getpid()%1000000*4
	const create, private, remove = 0o1000 | 0o2000, 0o600, 0
	var ids [2]uintptr
	for i := range ids {
		id, _, errno := unix.Syscall(unix.SYS_MSGGET, uintptr(n+i), create|private, 0)
		if errno != 0 {
			t.Skipf("no message queues: %v", errno)
		}
		ids[i] = id
		t.Cleanup(func() { unix.Syscall(unix.SYS_MSGCTL, id, remove, 0) })
	}
	sem, _, errno := unix.Syscall(unix.SYS_SEMGET, uintptr(n+2), 1, create|private)
	if errno != 0 {
		t.Skipf("no semaphores: %v", errno)
	}
	t.Cleanup(func() { unix.Syscall(unix.SYS_SEMCTL, sem, 0, remove) })
	if err := (&queues{sem: sem}).add(1); err != nil {
		t.Fatal(err)
	}
	go func() {
		for in := make([]byte, 4096); ; {
			n, err := again(func() (uintptr, unix.Errno) {
				n, _, errno := unix.Syscall6(unix.SYS_MSGRCV, ids[0], uintptr(unsafe.Pointer(&in[0])), uintptr(len(in)-8), 0, 0, 0)
				return n, errno
			})
			if err != nil {
				return
			}
			if out := answer(in[:8+n]); out != nil {
				unix.Syscall6(unix.SYS_MSGSND, ids[1], uintptr(unsafe.Pointer(&out[0])), uintptr(len(out)-8), 0, 0, 0)
			}
		}
	}()
	return strconv.Itoa(n)
}

// TestLiveTrouble: a daemon that says something else, or nothing, is an error that says so.
func TestLiveTrouble(t *testing.T) {
	defer func(p time.Duration) { patience = p }(patience)
	patience = 200 * time.Millisecond
	for want, answer := range map[string]func([]byte) []byte{
		"has another form of messages (52 bytes)":   func(m []byte) []byte { return m[:60] },
		"has another form of messages (1089 bytes)": func(m []byte) []byte { return append(m, 0) },
		"has another form of messages":              func(m []byte) []byte { m[headLen+8]++; return m },
		"no answer within 200ms":                    func(m []byte) []byte { return nil },
		"":                                          func(m []byte) []byte { return m },
	} {
		t.Run(want, func(t *testing.T) {
			_, err := dial(serveQueues(t, answer), Context{})
			if (err != nil) != (want != "") || err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %s", err, want)
			}
		})
	}
}

// TestLiveOthers: answers to others, who were killed before they took them, are passed over.
func TestLiveOthers(t *testing.T) {
	key := serveQueues(t, func(m []byte) []byte { return m })
	n, _ := strconv.Atoi(key)
	from, _, _ := unix.Syscall(unix.SYS_MSGGET, uintptr(n+1), 0, 0)
	stale := make([]byte, headLen+bodyLen)
	stale[0] = 1
	if _, _, errno := unix.Syscall6(unix.SYS_MSGSND, from, uintptr(unsafe.Pointer(&stale[0])), uintptr(len(stale)-8), 0, 0, 0); errno != 0 {
		t.Fatal(errno)
	}
	l, err := dial(key, Context{})
	if err != nil {
		t.Fatal(err)
	}
	st := archive.Stat{Dev: 5, Ino: 6, Mode: 0o100600, UID: 7, GID: 8}
	if e, err := l.stat(&st); err != nil || e.uid != 7 || e.gid != 8 || e.mode != 0o100600 {
		t.Errorf("%+v, %v", e, err)
	}
}

// TestLiveEnds: a daemon that ends is an error of every file after that.
func TestLiveEnds(t *testing.T) {
	key := serveQueues(t, func(m []byte) []byte { return m })
	l, err := dial(key, Context{})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Fake([]byte("./a"), new(archive.Stat)); err != nil {
		t.Error(err)
	}
	n, _ := strconv.Atoi(key)
	removeQueues(n)
	for range 2 {
		if err := l.Fake([]byte("./b"), new(archive.Stat)); err == nil || !strings.HasPrefix(err.Error(), "fakeroot: its daemon has ended") {
			t.Error(err)
		}
	}
	if _, err := dial(key, Context{}); err == nil || !strings.HasSuffix(err.Error(), "its daemon is not running") {
		t.Error(err)
	}
}

// TestLiveTCPEnds: so is one at the other end of a connection.
func TestLiveTCPEnds(t *testing.T) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(ends[1])
	if err := send(ends[0], []byte("x")); err != unix.EPIPE {
		t.Error(err)
	}
	unix.Close(ends[0])
	if err := receive(-1, []byte("x")); err != unix.EBADF {
		t.Error(err)
	}
}

// TestLiveTCPTrouble: a port that somebody else listens on.
func TestLiveTCPTrouble(t *testing.T) {
	port, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Skip(err)
	}
	defer port.Close()
	go func() {
		for {
			c, err := port.Accept()
			if err != nil {
				return
			}
			c.Write([]byte("220 hello\r\n"))
			c.(*net.TCPConn).CloseWrite()
		}
	}()
	_, key, _ := net.SplitHostPort(port.Addr().String())
	if _, err := dial(key, Context{}); err == nil || !strings.Contains(err.Error(), "unexpected EOF") {
		t.Error(err)
	}
}
