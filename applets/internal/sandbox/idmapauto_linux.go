//go:build linux && (amd64 || arm64)

package sandbox

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/ctbox/ctbox/applets/internal/cli"
	"github.com/ctbox/ctbox/applets/internal/program"
)

// idmapMost is how many lines a map may have: the kernel takes 340 (user_namespaces(7)), but no more than a page of text.
const idmapMost = 100

// What is mapped, in the order of idmap.programs.
var idmapKinds = [2]struct{ what, file, program, option string }{
	{"user", "/etc/subuid", "newuidmap", "-u"},
	{"group", "/etc/subgid", "newgidmap", "-g"},
}

// idmapAuto makes the caller uid and gid inside, and the other ids from 0 on those that the caller was given in /etc/subuid
// and /etc/subgid (subuid(5)). A privileged caller who was given none has them all, as in idmapIdentity.
func idmapAuto(ctx context.Context, uid, gid uint32) (*idmap, error) {
	privileged := idmapMay(idmapPrivileges)
	caller := [2]uint32{uint32(os.Geteuid()), uint32(os.Getegid())}
	inside := [2]uint32{uid, gid}
	passwd, _ := os.ReadFile("/etc/passwd")
	names := idmapNames(string(passwd), caller[0], os.Getenv("USER"))
	var texts [2]string
	for i, kind := range idmapKinds {
		text, _ := os.ReadFile(kind.file)
		texts[i] = string(text)
	}
	var m idmap
	var maps [2][]IDMap
	for i, kind := range idmapKinds {
		ranges := idmapRanges(texts[i], names)
		if len(ranges) == 0 {
			ranges = idmapAsk(ctx, kind.option, names)
		}
		maps[i] = idmapChain(inside[i], caller[i], ranges)
		if len(maps[i]) == 1 && privileged {
			return idmapIdentity(), nil
		}
		if len(maps[i]) == 1 {
			return nil, idmapNoRange(i, names, texts)
		}
		if !privileged {
			path, err := program.Look(kind.program)
			if err != nil {
				return nil, cli.Hint(fmt.Errorf("%s: %w", kind.program, err),
					"install the package uidmap (Debian, Ubuntu) or shadow-utils (Fedora, RHEL)")
			}
			m.programs[i] = path
		}
	}
	m.users, m.groups = maps[0], maps[1]
	return &m, nil
}

// idmapNames are the names under which subuid(5) may know a user, the number last. Users that are not in /etc/passwd, but in
// LDAP for instance, are called what the environment says; newuidmap finds out whether that is so.
func idmapNames(passwd string, uid uint32, fallback string) []string {
	number := strconv.FormatUint(uint64(uid), 10)
	var names []string
	for line := range strings.Lines(passwd) {
		field := strings.SplitN(line, ":", 4) // passwd(5)
		if len(field) == 4 && field[2] == number && field[0] != "" {
			names = append(names, field[0])
		}
		if field[0] == fallback {
			fallback = "" // known, and not this user; or found
		}
	}
	if len(names) == 0 && fallback != "" {
		names = append(names, fallback)
	}
	return append(names, number)
}

// idmapRanges are the lines NAME:START:COUNT of any of the names.
func idmapRanges(text string, names []string) []IDMap {
	var ranges []IDMap
	for line := range strings.Lines(text) {
		field := strings.Split(strings.TrimSpace(line), ":")
		for _, name := range names {
			if len(field) == 3 && field[0] == name {
				ranges = idmapRange(ranges, field[1], field[2])
				break
			}
		}
	}
	return ranges
}

// idmapRange adds a range, unless it makes no sense.
func idmapRange(ranges []IDMap, start, count string) []IDMap {
	first, err1 := strconv.ParseUint(start, 10, 32)
	n, err2 := strconv.ParseUint(count, 10, 32)
	if err1 != nil || err2 != nil || n == 0 || first+n > 1<<32-1 { // (uid_t)-1 is no id
		return ranges
	}
	return append(ranges, IDMap{Outside: uint32(first), Count: uint32(n)})
}

// idmapAsk asks getsubids(1), which knows of ranges that are not in files (subid in nsswitch.conf(5)).
func idmapAsk(ctx context.Context, option string, names []string) []IDMap {
	path, err := program.Look("getsubids")
	if err != nil {
		return nil
	}
	args := []string{names[0]}
	if option == "-g" {
		args = []string{option, names[0]}
	}
	out, err := exec.CommandContext(ctx, path, args...).Output()
	if err != nil {
		return nil // it has none
	}
	var ranges []IDMap
	for line := range strings.Lines(string(out)) {
		if field := strings.Fields(line); len(field) == 4 { // "0: NAME START COUNT"
			ranges = idmapRange(ranges, field[2], field[3])
		}
	}
	return ranges
}

// idmapChain gives the caller the id inside, and the ranges one after the other the ids from 0 on around it. The kernel
// refuses ids that are there twice, so a range that has the caller or a part of an earlier one is left out.
func idmapChain(inside, caller uint32, ranges []IDMap) []IDMap {
	maps := []IDMap{{inside, caller, 1}}
	next := uint32(0)
	for _, r := range ranges {
		if idmapOverlaps(maps, r) || len(maps)+2 > idmapMost || uint64(next)+uint64(r.Count)+1 > 1<<32-1 {
			continue
		}
		if next <= inside && inside-next < r.Count { // inside is in the middle of it, or its first
			if before := inside - next; before > 0 {
				maps = append(maps, IDMap{next, r.Outside, before})
				next, r.Outside, r.Count = inside, r.Outside+before, r.Count-before
			}
			next++
		}
		maps = append(maps, IDMap{next, r.Outside, r.Count})
		next += r.Count
	}
	return maps
}

func idmapOverlaps(maps []IDMap, r IDMap) bool {
	for _, m := range maps {
		if uint64(m.Outside) < uint64(r.Outside)+uint64(r.Count) && uint64(r.Outside) < uint64(m.Outside)+uint64(m.Count) {
			return true
		}
	}
	return false
}

// idmapNoRange names ids that nobody has: two users with the same ones could change each other's files.
func idmapNoRange(kind int, names []string, texts [2]string) error {
	const want = 65536
	free := uint64(100000)
	for line := range strings.Lines(texts[0] + "\n" + texts[1]) {
		if field := strings.Split(strings.TrimSpace(line), ":"); len(field) == 3 {
			first, _ := strconv.ParseUint(field[1], 10, 32)
			count, _ := strconv.ParseUint(field[2], 10, 32)
			free = max(free, first+count)
		}
	}
	err := fmt.Errorf("user %s has no range of %s ids in %s", names[0], idmapKinds[kind].what, idmapKinds[kind].file)
	if len(names) == 1 || free+want > 1<<32-1 {
		return cli.Hint(err, "as root, add a line %s:START:%d to /etc/subuid and to /etc/subgid", names[0], want)
	}
	ids := fmt.Sprintf("%d-%d", free, free+want-1)
	return cli.Hint(err, "as root: usermod --add-subuids %s --add-subgids %s %s", ids, ids, names[0])
}
