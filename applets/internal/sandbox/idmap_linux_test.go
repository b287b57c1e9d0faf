//go:build linux && (amd64 || arm64)

package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// idmapLacking skips a test for want of a tool, or fails it in CI, where everything is to be there.
func idmapLacking(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// idmapChild starts a process in namespaces of its own, that waits to be killed.
func idmapChild(t *testing.T, namespaces uintptr) (pid int) {
	t.Helper()
	cmd := exec.Command("sleep", "60")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER | namespaces, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Skipf("user namespaces: %v", err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return cmd.Process.Pid
}

// idmapAsUser runs the calling test once more as an ordinary user, if root runs it. Otherwise the test is to go on.
func idmapAsUser(t *testing.T, uid, gid uint32, environment ...string) (done bool) {
	t.Helper()
	if os.Getuid() != 0 {
		return false
	}
	self, err := os.Open("/proc/self/exe") // the path may be closed to others
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	cmd := exec.Command("/proc/self/fd/3", "-test.v", "-test.run=^"+strings.ReplaceAll(t.Name(), "/", "$/^")+"$")
	cmd.Env = append(os.Environ(), append(environment, "TMPDIR=/tmp")...)
	cmd.Dir, cmd.ExtraFiles = "/", []*os.File{self}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid}}
	out, err := cmd.CombinedOutput()
	switch {
	case err != nil:
		t.Fatalf("as user %d: %v\n%s", uid, err, out)
	case bytes.Contains(out, []byte("--- SKIP: "+t.Name()+" ")):
		t.Skipf("as user %d: %s", uid, out)
	case !bytes.Contains(out, []byte("--- PASS: "+t.Name()+" ")):
		t.Fatalf("as user %d: %s", uid, out)
	}
	return true
}

// idmapGrantee is a user who has ranges, and the user's name.
func idmapGrantee(t *testing.T) (uid, gid uint32, name string) {
	t.Helper()
	granted, _ := os.ReadFile("/etc/subuid")
	passwd, _ := os.ReadFile("/etc/passwd")
	for line := range strings.Lines(string(passwd)) {
		field := strings.Split(line, ":")
		if len(idmapRanges(string(granted), field[:1])) > 0 && field[0] != "root" {
			u, err1 := strconv.ParseUint(field[2], 10, 32)
			g, err2 := strconv.ParseUint(field[3], 10, 32)
			if err := errors.Join(err1, err2); err != nil {
				t.Fatal(err)
			}
			return uint32(u), uint32(g), field[0]
		}
	}
	t.Skip("no user has a line in /etc/subuid") // tests do not make users
	return 0, 0, ""
}

// idmapGranted reports whether the user who runs the tests has ranges.
func idmapGranted() bool {
	granted, _ := os.ReadFile("/etc/subuid")
	passwd, _ := os.ReadFile("/etc/passwd")
	return len(idmapRanges(string(granted), idmapNames(string(passwd), uint32(os.Getuid()), ""))) > 0
}

// idmapRead is what the kernel has, without its columns.
func idmapRead(t *testing.T, pid int, file string) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(strings.Fields(string(text)), " ")
}

func TestIDMapItself(t *testing.T) {
	for text, want := range map[string][]IDMap{
		"         0          0 4294967295\n": {{0, 0, 1<<32 - 1}},
		"0 1000 1\n":                         {{0, 0, 1}},
		"0 1000 1\n1 100000 65536\n":         {{0, 0, 65537}},
		"0 5 10\n20 100 5\n25 7 5\n":         {{0, 0, 10}, {20, 20, 10}},
		"5 0 1\n0 1 5\n":                     {{5, 5, 1}, {0, 0, 5}},
		"":                                   nil,
		"x 0 1\n0 0 -1\n0 0\n":               nil,
	} {
		if got := idmapItself(text); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %v, not %v", text, got, want)
		}
	}
}

// TestIDMapSingle: what everybody may do, done to a child.
func TestIDMapSingle(t *testing.T) {
	for _, uid := range []uint32{0, 65534} {
		t.Run(strconv.Itoa(int(uid)), func(t *testing.T) {
			if uid != 0 && idmapAsUser(t, uid, uid) {
				return
			}
			pid := idmapChild(t, 0)
			m := idmapSingle(7, 8)
			if err := m.apply(t.Context(), pid); err != nil {
				t.Fatal(err)
			}
			users, groups := fmt.Sprintf("7 %d 1", os.Geteuid()), fmt.Sprintf("8 %d 1", os.Getegid())
			if got := idmapRead(t, pid, "uid_map"); got != users {
				t.Errorf("users %q, not %q", got, users)
			}
			if got := idmapRead(t, pid, "gid_map"); got != groups {
				t.Errorf("groups %q, not %q", got, groups)
			}
			want := "allow"
			if os.Geteuid() != 0 {
				want = "deny"
			}
			if got := idmapRead(t, pid, "setgroups"); got != want {
				t.Errorf("setgroups %s, not %s", got, want)
			}
			if err := m.apply(t.Context(), pid); !errors.Is(err, unix.EPERM) || !strings.HasPrefix(err.Error(), "map user ids: ") &&
				!strings.HasPrefix(err.Error(), "deny setgroups: ") {
				t.Errorf("a second time: %v", err) // the kernel takes a map once
			}
		})
	}
}

// TestIDMapIdentity: root's namespace has the ids that root has; an ordinary user gets the caller alone.
func TestIDMapIdentity(t *testing.T) {
	for _, uid := range []uint32{0, 65534} {
		t.Run(strconv.Itoa(int(uid)), func(t *testing.T) {
			if uid != 0 && idmapAsUser(t, uid, uid) {
				return
			}
			pid := idmapChild(t, 0)
			m := idmapIdentity()
			if err := m.apply(t.Context(), pid); err != nil {
				t.Fatal(err)
			}
			want := fmt.Sprintf("0 %d 1", os.Geteuid())
			if os.Geteuid() == 0 {
				want = idmapRead(t, os.Getpid(), "uid_map")
			}
			if got := idmapRead(t, pid, "uid_map"); got != want {
				t.Errorf("%q, not %q", got, want)
			}
		})
	}
}

// TestIDMapWithoutCapabilities: root as in a container that drops some gets what is left, or is told what is missing.
func TestIDMapWithoutCapabilities(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	for capability, refused := range map[uint]string{unix.CAP_SETUID: "", unix.CAP_SETGID: "", unix.CAP_SETFCAP: "CAP_SETFCAP"} {
		t.Run(strconv.Itoa(int(capability)), func(t *testing.T) {
			result := make(chan error)
			var m *idmap
			go func() {
				runtime.LockOSThread() // and never unlocked: the thread goes with what it lost
				header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
				var data [2]unix.CapUserData
				err := unix.Capget(&header, &data[0])
				data[0].Effective &^= 1 << capability
				if err := errors.Join(err, unix.Capset(&header, &data[0])); err != nil {
					result <- err
					return
				}
				m = idmapIdentity()
				cmd := exec.Command("sleep", "60")
				cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER}
				err = cmd.Start()
				if err == nil {
					err = m.apply(t.Context(), cmd.Process.Pid)
					cmd.Process.Kill()
					cmd.Wait()
				}
				result <- err
			}()
			err := <-result
			if hint := idmapHint(err); (err != nil) != (refused != "") || !strings.Contains(hint, refused) {
				t.Errorf("%v, hint %q", err, hint)
			}
			if !reflect.DeepEqual(m.users, []IDMap{{0, 0, 1}}) || m.deny != (capability == unix.CAP_SETGID) {
				t.Errorf("%+v", m)
			}
		})
	}
}

func TestIDMapPlan(t *testing.T) {
	m := &idmap{users: []IDMap{{0, 1000, 1}, {1, 100000, 65536}}, groups: []IDMap{{0, 100, 1}}, deny: true}
	want := []string{
		`write /proc/PID/setgroups "deny"`,
		`write /proc/PID/uid_map "0 1000 1\n1 100000 65536\n"`,
		`write /proc/PID/gid_map "0 100 1\n"`,
	}
	if got := m.plan(); !reflect.DeepEqual(got, want) {
		t.Errorf("%q", got)
	}
	m.programs = [2]string{"/bin/newuidmap", "/bin/newgidmap"}
	want = []string{"/bin/newuidmap PID 0 1000 1 1 100000 65536", "/bin/newgidmap PID 0 100 1"}
	if got := m.plan(); !reflect.DeepEqual(got, want) {
		t.Errorf("%q", got)
	}
}
