//go:build linux && (amd64 || arm64)

package sandbox

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/cli"
	"github.com/ctbox/ctbox/applets/internal/plan"
)

// An IDMap says that Count user or group ids of a user namespace, from Inside on, are those of its parent from Outside
// on (user_namespaces(7)).
type IDMap struct{ Inside, Outside, Count uint32 }

// An idmap is which users and groups a user namespace has, and who says so.
type idmap struct {
	users, groups []IDMap
	// deny takes setgroups(2) away. Without that, whom a group's membership denies something could leave the group
	// (CVE-2014-8989), so the kernel wants it of callers without CAP_SETGID.
	deny bool
	// programs are the paths of newuidmap and newgidmap, where the caller may not map what users and groups say.
	programs [2]string
}

// idmapPrivileges are what it takes to map any id. CAP_SETFCAP is for id 0, since Linux 5.12 (verify_root_map in
// kernel/user_namespace.c).
const idmapPrivileges = 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID | 1<<unix.CAP_SETFCAP

// idmapSingle makes the caller uid and gid inside; there are no others. Everybody may do that.
func idmapSingle(uid, gid uint32) *idmap {
	return &idmap{
		users:  []IDMap{{uid, uint32(os.Geteuid()), 1}},
		groups: []IDMap{{gid, uint32(os.Getegid()), 1}},
		deny:   !idmapMay(1 << unix.CAP_SETGID),
	}
}

// idmapIdentity gives a privileged caller every id that there is here, so that files keep their owners. Whoever is not
// allowed that becomes user and group 0, and has no others.
func idmapIdentity() *idmap {
	users, err1 := os.ReadFile("/proc/self/uid_map")
	groups, err2 := os.ReadFile("/proc/self/gid_map")
	if err1 != nil || err2 != nil || os.Geteuid() != 0 || !idmapMay(idmapPrivileges) {
		return idmapSingle(0, 0)
	}
	return &idmap{users: idmapItself(string(users)), groups: idmapItself(string(groups))}
}

// single is what the child may write itself.
func (m *idmap) single() bool {
	return len(m.users) == 1 && m.users[0].Count == 1 && len(m.groups) == 1 && m.groups[0].Count == 1
}

// idmapMay reports whether the caller has all of these capabilities in its own user namespace. Those asked for are below 32.
func idmapMay(capabilities uint32) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	return unix.Capget(&header, &data[0]) == nil && data[0].Effective&capabilities == capabilities
}

// idmapItself maps the ids that a file such as /proc/self/uid_map names to themselves. Neighbours become one line.
func idmapItself(text string) []IDMap {
	var maps []IDMap
	for line := range strings.Lines(text) {
		field := strings.Fields(line)
		if len(field) != 3 {
			continue
		}
		inside, err1 := strconv.ParseUint(field[0], 10, 32)
		count, err2 := strconv.ParseUint(field[2], 10, 32)
		if err1 != nil || err2 != nil {
			continue
		}
		m := IDMap{uint32(inside), uint32(inside), uint32(count)}
		if last := len(maps) - 1; last >= 0 && maps[last].Inside+maps[last].Count == m.Inside {
			maps[last].Count += m.Count
		} else {
			maps = append(maps, m)
		}
	}
	return maps
}

// idmapWords is maps as the programs want them; the kernel wants a line for each.
func idmapWords(maps []IDMap) []string {
	var words []string
	for _, m := range maps {
		for _, n := range [...]uint32{m.Inside, m.Outside, m.Count} {
			words = append(words, strconv.FormatUint(uint64(n), 10))
		}
	}
	return words
}

func idmapLines(maps []IDMap) string {
	var b strings.Builder
	for i, word := range idmapWords(maps) {
		b.WriteString(word)
		b.WriteByte(" \n"[i%3/2])
	}
	return b.String()
}

// write tells the namespace of a process that waits what its ids are. The kernel takes each file in a single write.
func (m *idmap) write(pid int) error {
	for _, file := range [...]struct{ what, name, text string }{
		{"deny setgroups", "setgroups", "deny"},
		{"map user ids", "uid_map", idmapLines(m.users)},
		{"map group ids", "gid_map", idmapLines(m.groups)},
	} {
		if file.name == "setgroups" && !m.deny {
			continue
		}
		err := idmapWriteFile("/proc/"+strconv.Itoa(pid)+"/"+file.name, file.text)
		if err != nil {
			return idmapExplain(&plan.Failure{Step: file.what, Call: "write", Errno: err.(unix.Errno)})
		}
	}
	return nil
}

// idmapWriteFile returns the bare error number: the path has a process id in it that says nothing to anybody.
func idmapWriteFile(path, text string) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	_, err = unix.Write(fd, []byte(text))
	return err
}

// idmapExplain knows the one refusal that comes of a capability which nobody connects with user ids.
func idmapExplain(err error) error {
	if errors.Is(err, unix.EPERM) && os.Geteuid() == 0 && !idmapMay(1<<unix.CAP_SETFCAP) {
		return cli.Hint(err, "since Linux 5.12, root cannot do this without CAP_SETFCAP (docker: --cap-add SETFCAP)")
	}
	return err
}

// plan is what a dry run prints of it, a line for each step.
func (m *idmap) plan() []string {
	if m.programs[0] != "" {
		return []string{
			strings.Join(append([]string{m.programs[0], "PID"}, idmapWords(m.users)...), " "),
			strings.Join(append([]string{m.programs[1], "PID"}, idmapWords(m.groups)...), " "),
		}
	}
	lines := []string{
		fmt.Sprintf("write /proc/PID/uid_map %q", idmapLines(m.users)),
		fmt.Sprintf("write /proc/PID/gid_map %q", idmapLines(m.groups)),
	}
	if m.deny {
		lines = append([]string{`write /proc/PID/setgroups "deny"`}, lines...)
	}
	return lines
}
