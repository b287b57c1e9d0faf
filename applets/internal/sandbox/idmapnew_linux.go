//go:build linux && (amd64 || arm64)

package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/cli"
)

// apply does what idmap says for the namespace of a process that waits for it: a child of ours, made by the user that we are.
func (m *idmap) apply(ctx context.Context, pid int) error {
	if m.programs[0] == "" {
		return m.write(pid)
	}
	if err := idmapRun(ctx, m.programs[0], pid, m.users, "/proc/self/uid_map"); err != nil {
		return err
	}
	return idmapRun(ctx, m.programs[1], pid, m.groups, "/proc/self/gid_map")
}

// idmapRun runs newuidmap(1) or newgidmap(1).
func idmapRun(ctx context.Context, path string, pid int, maps []IDMap, own string) error {
	cmd := exec.CommandContext(ctx, path, append([]string{strconv.Itoa(pid)}, idmapWords(maps)...)...)
	cmd.Env = []string{"LC_ALL=C"} // for the messages
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	name := filepath.Base(path)
	said := strings.TrimPrefix(strings.TrimSpace(string(out)), name+": ")
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case said == "" || !errors.As(err, new(*exec.ExitError)):
		said = err.Error()
	}
	text, _ := os.ReadFile(own)
	return idmapFailure(path, said, idmapUnmapped(maps, string(text)))
}

// idmapFailure adds the reason to what the program at path said. It says the same for several ("write to uid_map failed").
func idmapFailure(path, said string, unmapped bool) error {
	err := fmt.Errorf("%s: %s", filepath.Base(path), said)
	dumpable, _ := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	cause, cure := idmapSetuid(path)
	switch {
	case strings.Contains(said, "owned by a different user") && dumpable != 1:
		return cli.Hint(err, "the kernel protects programs that their user may not read: chmod +r ctbox")
	case cause != "":
		return cli.Hint(fmt.Errorf("%w: %s", err, cause), "%s", cure)
	case unmapped:
		return cli.Hint(err, "the ranges in /etc/subuid and /etc/subgid have ids that this container does not have (see /proc/self/uid_map)")
	case strings.Contains(said, "not allowed"):
		return cli.Hint(err, "it does not find these ids to be this user's: see /etc/subuid, /etc/subgid and subid in /etc/nsswitch.conf")
	}
	return err
}

// idmapUnmapped reports whether one of maps is of ids that are not there in this namespace itself.
func idmapUnmapped(maps []IDMap, own string) bool {
	all := idmapItself(own)
	for _, m := range maps {
		there := false
		for _, have := range all {
			there = there || m.Outside >= have.Inside && uint64(m.Outside)+uint64(m.Count) <= uint64(have.Inside)+uint64(have.Count)
		}
		if !there {
			return true
		}
	}
	return false
}

// idmapSetuid says why a program does not get the privileges that its file grants, or nothing.
func idmapSetuid(path string) (cause, cure string) {
	var fs unix.Statfs_t
	var st unix.Stat_t
	noNew, _ := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	_, err := unix.Getxattr(path, "security.capability", nil)
	switch {
	case noNew == 1:
		return "no_new_privs is set for ctbox, so no program gets privileges",
			"start it outside of the sandbox or service that does this (systemd: NoNewPrivileges=no), or leave out --map-auto"
	case unix.Statfs(path, &fs) == nil && fs.Flags&unix.ST_NOSUID != 0:
		return path + " is on a file system that is mounted nosuid", "mount it without nosuid, or leave out --map-auto"
	case unix.Stat(path, &st) == nil && (st.Mode&unix.S_ISUID == 0 || st.Uid != 0) && err != nil:
		return path + " is neither setuid root nor has file capabilities",
			"install its package again, or as root: chown root " + path + " && chmod u+s " + path
	case !idmapBounds(unix.CAP_SETUID) || !idmapBounds(unix.CAP_SETGID):
		return "CAP_SETUID or CAP_SETGID can be had by no program here", "allow them (docker: --cap-add SETUID --cap-add SETGID), or leave out --map-auto"
	}
	return "", ""
}

func idmapBounds(capability uintptr) bool {
	has, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, capability, 0, 0, 0)
	return err != nil || has == 1
}
