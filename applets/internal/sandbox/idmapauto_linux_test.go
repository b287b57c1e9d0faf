//go:build linux && (amd64 || arm64)

package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/cli"
	"github.com/ctbox/ctbox/applets/internal/program"
)

// idmapHint is all that the user sees of an error.
func idmapHint(err error) string {
	var out bytes.Buffer
	a := cli.Applet{Name: "test", Brief: "x", New: func() cli.Command { return &idmapFailing{err} }}
	cli.Run(&a, cli.Stdio{Out: &out, Err: &out}, nil)
	return out.String()
}

type idmapFailing struct{ err error }

func (f *idmapFailing) Run(cli.Stdio) error { return f.err }

func TestIDMapNames(t *testing.T) {
	const passwd = "root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n+::::::\n\nbob:x:1001:100::/:\nann2:x:1000:7::/:\n"
	for _, c := range []struct {
		uid      uint32
		fallback string
		want     []string
	}{
		{1000, "ann", []string{"ann", "ann2", "1000"}},
		{1000, "", []string{"ann", "ann2", "1000"}},
		{1000, "bob", []string{"ann", "ann2", "1000"}},
		{1000, "zoe", []string{"ann", "ann2", "1000"}},
		{2000, "zoe", []string{"zoe", "2000"}}, // of a directory service
		{2000, "bob", []string{"2000"}},        // as after su without -l: $USER is another one
		{2000, "", []string{"2000"}},
		{100, "", []string{"100"}}, // a group's number
	} {
		if got := idmapNames(passwd, c.uid, c.fallback); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%d, USER=%s: %q, not %q", c.uid, c.fallback, got, c.want)
		}
	}
}

func TestIDMapRanges(t *testing.T) {
	const file = "ann:100000:65536\n# ann:1:1\n\nbob:165536:65536\n1000:300000:10\nann:400000:5\nann:x:1\nann:7:0\nann:4294967290:6\nann:1:2:3\nann:5:-1\nannie:9:9"
	for names, want := range map[string]string{
		"ann 1000": "0 100000 65536\n0 300000 10\n0 400000 5\n",
		"1000":     "0 300000 10\n",
		"bob":      "0 165536 65536\n",
		"zoe 7":    "",
	} {
		if got := idmapLines(idmapRanges(file, strings.Fields(names))); got != want {
			t.Errorf("%s: %q, not %q", names, got, want)
		}
	}
	if got := idmapRanges("ann:4294967290:5", []string{"ann"}); len(got) != 1 {
		t.Errorf("up to the last id: %v", got)
	}
}

func TestIDMapChain(t *testing.T) {
	for _, c := range []struct {
		inside       uint32
		ranges, want string
	}{
		{0, "", "0 1000 1\n"},
		{0, "100000 65536", "0 1000 1\n1 100000 65536\n"},
		{0, "100000 10 200000 5", "0 1000 1\n1 100000 10\n11 200000 5\n"},
		{3, "100000 10", "3 1000 1\n0 100000 3\n4 100003 7\n"},
		{10, "100000 10 200000 5", "10 1000 1\n0 100000 10\n11 200000 5\n"},
		{9, "100000 10", "9 1000 1\n0 100000 9\n10 100009 1\n"},
		{12, "100000 10 200000 5", "12 1000 1\n0 100000 10\n10 200000 2\n13 200002 3\n"},
		{99, "100000 10", "99 1000 1\n0 100000 10\n"},
		{0, "100000 10 100005 10 100010 1", "0 1000 1\n1 100000 10\n11 100010 1\n"}, // what overlaps is left out
		{0, "900 200 100000 10", "0 1000 1\n1 100000 10\n"},
		{0, "2000 4294960000 100 800 1 98", "0 1000 1\n1 2000 4294960000\n4294960001 100 800\n4294960801 1 98\n"},
	} {
		var ranges []IDMap
		for field := strings.Fields(c.ranges); len(field) > 0; field = field[2:] {
			ranges = idmapRange(ranges, field[0], field[1])
		}
		if got := idmapLines(idmapChain(c.inside, 1000, ranges)); got != c.want {
			t.Errorf("%d, %s: %q, not %q", c.inside, c.ranges, got, c.want)
		}
	}
	var many []IDMap
	for i := range uint32(1000) {
		many = append(many, IDMap{0, 4000000000 + 2*i, 1})
	}
	if text := idmapLines(idmapChain(4000000000, 1000, many)); len(text) > 4096 || strings.Count(text, "\n") < 50 {
		t.Errorf("the kernel would not take a map of %d bytes", len(text))
	}
}

// TestIDMapNoRange: the advice can be followed, and gives nobody the ids of another.
func TestIDMapNoRange(t *testing.T) {
	for _, c := range []struct {
		names, users, groups string
		want                 string
	}{
		{"ann 1000", "", "", "usermod --add-subuids 100000-165535 --add-subgids 100000-165535 ann"},
		{"ann 1000", "bob:100000:65536\n", "", "usermod --add-subuids 165536-231071 --add-subgids 165536-231071 ann"},
		{"ann 1000", "bob:100000:65536", "zoe:500000:100000\nx:y:z\n", "usermod --add-subuids 600000-665535 --add-subgids 600000-665535 ann"},
		{"1000", "", "", "add a line 1000:START:65536"},
		{"ann 1000", "bob:4294900000:65536", "", "add a line ann:START:65536"},
	} {
		got := idmapHint(idmapNoRange(1, strings.Fields(c.names), [2]string{c.users, c.groups}))
		if !strings.Contains(got, "no range of group ids in /etc/subgid") || !strings.Contains(got, c.want) {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

// TestIDMapAsk: getsubids is asked for what the files do not have.
func TestIDMapAsk(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	names := []string{"ann", "1000"}
	if got := idmapAsk(t.Context(), "-u", names); got != nil {
		t.Errorf("without the program: %v", got)
	}
	idmapScript(t, dir, "getsubids", `case $* in ann) echo "0: ann 5000 10"; echo "1: ann 7000 10";; "-g ann") echo "0: ann 6000 10";; *) exit 1;; esac`)
	users, groups := idmapLines(idmapAsk(t.Context(), "-u", names)), idmapLines(idmapAsk(t.Context(), "-g", names))
	if users != "0 5000 10\n0 7000 10\n" || groups != "0 6000 10\n" {
		t.Errorf("%q, %q", users, groups)
	}
	if got := idmapAsk(t.Context(), "-u", []string{"zoe"}); got != nil {
		t.Errorf("a stranger: %v", got)
	}
}

func idmapScript(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestIDMapAuto: the maps that the kernel has in the end, through the real programs.
func TestIDMapAuto(t *testing.T) {
	if _, err := program.Look("newuidmap"); err != nil {
		idmapLacking(t, "newuidmap: "+err.Error())
	}
	if os.Getuid() == 0 {
		uid, gid, _ := idmapGrantee(t)
		idmapAsUser(t, uid, gid)
		return
	}
	if !idmapGranted() {
		t.Skip("this user has no line in /etc/subuid")
	}
	for _, inside := range []uint32{0, 1000} {
		m, err := idmapAuto(t.Context(), inside, inside)
		if err != nil {
			t.Fatal(err)
		}
		pid := idmapChild(t, 0)
		if err := m.apply(t.Context(), pid); err != nil {
			t.Fatal(err)
		}
		for file, own := range map[string]int{"uid_map": os.Geteuid(), "gid_map": os.Getegid()} {
			got := idmapRead(t, pid, file)
			if !strings.Contains(" "+got+" ", fmt.Sprintf(" %d %d 1 ", inside, own)) || len(strings.Fields(got)) < 6 {
				t.Errorf("%d inside: %s is %q", inside, file, got)
			}
		}
		if got := idmapRead(t, pid, "setgroups"); got != "allow" {
			t.Errorf("setgroups: %s", got)
		}
	}
}

// TestIDMapAutoRefused: users that have no ranges, and programs that are not there.
func TestIDMapAutoRefused(t *testing.T) {
	if os.Getuid() == 0 {
		m, err := idmapAuto(t.Context(), 0, 0)
		granted, _ := os.ReadFile("/etc/subuid")
		if own := idmapRanges(string(granted), []string{"root", "0"}); err != nil || len(own) == 0 && !reflect.DeepEqual(m, idmapIdentity()) {
			t.Errorf("root: %+v, %v", m, err)
		}
		t.Setenv("USER", "")
	}
	if os.Getuid() == 0 && idmapAsUser(t, 54321, 54321) {
		uid, gid, _ := idmapGrantee(t)
		idmapAsUser(t, uid, gid)
		return
	}
	id := strconv.Itoa(os.Getuid())
	want := []string{"has no range of user ids in /etc/subuid", "hint: as root"}
	if idmapGranted() {
		want = []string{"newuidmap: no such program", "hint: install the package uidmap"}
	} else if id == "54321" {
		want = []string{"user 54321 has no range of user ids in /etc/subuid", "hint: as root, add a line 54321:START:65536 to /etc/subuid"}
	}
	t.Setenv("PATH", "/nowhere")
	_, err := idmapAuto(t.Context(), 0, 0)
	for _, line := range want {
		if got := idmapHint(err); !strings.Contains(got, line) {
			t.Errorf("%q lacks %q", got, line)
		}
	}
}

// TestIDMapPrograms: in which words they are called, and what becomes of theirs.
func TestIDMapPrograms(t *testing.T) {
	dir := t.TempDir()
	m := &idmap{users: []IDMap{{0, 1000, 1}, {1, 100000, 65536}}, groups: []IDMap{{0, 100, 1}}}
	m.programs = [2]string{
		idmapScript(t, dir, "newuidmap", "echo $0 $* LC_ALL=$LC_ALL HOME=$HOME >>"+dir+"/calls"),
		idmapScript(t, dir, "newgidmap", "echo $0 $* >>"+dir+"/calls"),
	}
	if err := m.apply(t.Context(), 12345); err != nil {
		t.Fatal(err)
	}
	calls, err := os.ReadFile(dir + "/calls")
	want := dir + "/newuidmap 12345 0 1000 1 1 100000 65536 LC_ALL=C HOME=\n" + dir + "/newgidmap 12345 0 100 1\n"
	if err != nil || string(calls) != want {
		t.Errorf("%q, %v", calls, err)
	}
	m.programs[1] = idmapScript(t, dir, "newgidmap", "echo 'newgidmap: gid range [1-2) -> [1-2) not allowed' >&2; exit 1")
	got := idmapHint(m.apply(t.Context(), 12345))
	if !strings.Contains(got, "newgidmap: gid range [1-2) -> [1-2) not allowed: ") || !strings.Contains(got, "neither setuid root nor has file capabilities\n") {
		t.Errorf("%q", got)
	}
	m.programs[1] = idmapScript(t, dir, "newgidmap", "exec sleep 60")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, errors.New("late"))
	defer cancel()
	if err := m.apply(ctx, 12345); err == nil || err.Error() != "late" {
		t.Errorf("a program that hangs: %v", err)
	}
}

// TestIDMapSetuid makes newuidmap fail as it does on misconfigured systems.
func TestIDMapSetuid(t *testing.T) {
	path, err := program.Look("newuidmap")
	if err != nil {
		idmapLacking(t, "newuidmap: "+err.Error())
	}
	if os.Getuid() == 0 {
		uid, gid, _ := idmapGrantee(t)
		dir := idmapNosuid(t)
		if out, err := exec.Command("cp", "-p", path, dir).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		idmapAsUser(t, uid, gid, "NOSUID="+dir+"/newuidmap")
		return
	}
	if !idmapGranted() {
		t.Skip("this user has no line in /etc/subuid")
	}
	plain := filepath.Join(t.TempDir(), "newuidmap")
	if out, err := exec.Command("cp", path, plain).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	runtime.LockOSThread() // for the last one; and never unlocked
	for _, c := range []struct{ name, path, want string }{
		{"not setuid", plain, plain + " is neither setuid root nor has file capabilities\n"},
		{"nosuid", os.Getenv("NOSUID"), " is on a file system that is mounted nosuid\n"},
		{"another's ids", path, "not allowed\nctbox test: hint: it does not find these ids"},
		{"no new privileges", path, "no_new_privs is set for ctbox"},
	} {
		if c.path == "" {
			continue
		}
		users := []IDMap{{0, uint32(os.Getuid()), 1}}
		switch c.name {
		case "another's ids":
			users = append(users, IDMap{1, 50, 10})
		case "no new privileges":
			if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
				t.Fatal(err)
			}
		}
		m, err := idmapAuto(t.Context(), 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		if c.name == "another's ids" {
			m.users = users
		}
		m.programs[0] = c.path
		got := idmapHint(m.apply(t.Context(), idmapChild(t, 0)))
		if !strings.HasPrefix(got, "ctbox test: newuidmap: ") || !strings.Contains(got, c.want) || !strings.Contains(got, "hint: ") {
			t.Errorf("%s: %q lacks %q", c.name, got, c.want)
		}
	}
}

// idmapNosuid is a directory where setuid bits mean nothing.
func idmapNosuid(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "nosuid")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(dir) })
	if err := unix.Mount("nosuid", dir, "tmpfs", unix.MS_NOSUID, "mode=755"); err != nil {
		t.Skipf("mount: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

func TestIDMapUnmapped(t *testing.T) {
	for _, c := range []struct {
		own  string
		maps []IDMap
		want bool
	}{
		{"0 0 4294967295", []IDMap{{0, 1000, 1}, {1, 100000, 65536}}, false},
		{"0 1000 1\n1 100000 65536", []IDMap{{0, 0, 1}, {1, 100000, 65536}}, true},
		{"0 1000 1\n1 100000 65536", []IDMap{{0, 1000, 1}, {1, 10000, 5000}}, false},
		{"0 1000 1\n1 100000 65536", []IDMap{{0, 65530, 7}}, false},
		{"0 1000 1\n1 100000 65536", []IDMap{{0, 65530, 8}}, true},
		{"", []IDMap{{0, 0, 1}}, true},
	} {
		if got := idmapUnmapped(c.maps, c.own); got != c.want {
			t.Errorf("%q, %v: %v", c.own, c.maps, got)
		}
	}
}
