package sandbox

import (
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/ctbox/ctbox/applets/internal/program"
)

// scratchPlace is where the plan mounts the tmpfs that takes what the program writes.
const scratchPlace = "/tmp"

// procMount is about a new /proc: the kernel allows it in a user namespace only where one is mounted already of which
// everything can be seen and, if it is to be writable, written (mnt_already_visible in fs/namespace.c).
func (ev *evidence) procMount() reason {
	if over := ev.masked(); over != "" {
		fix := "as root: umount " + shellWord(over) + ev.orChroot()
		if ev.container() != "" {
			fix = ev.openContainer()
		}
		return reason{"parts of /proc are hidden here (something is mounted on " + over + ")", fix}
	}
	for _, m := range ev.mounts() {
		if m.point == "/proc" && m.kind == "proc" {
			if strings.HasPrefix(m.options, "ro") {
				return reason{"/proc is mounted read-only here", "as root: mount -o remount,rw /proc" + ev.orChroot()}
			}
			return reason{}
		}
	}
	return reason{"no /proc is mounted here", "as root: mount -t proc proc /proc"}
}

// overlay is about the root directory that lies over DIR.
func (ev *evidence) overlay(f Failure) reason {
	const orWrite = "; or use --rw, which writes into it"
	dir := f.Path
	if dir == "" {
		dir = "DIR"
	}
	switch f.Errno {
	case syscall.ENODEV:
		return reason{"this kernel has no overlay file system", "as root: modprobe overlay" + orWrite}
	case syscall.EPERM, syscall.EINVAL:
		if older(ev.release, 5, 11) { // EINVAL where a distribution allows it before: there is no option userxattr
			return reason{"overlays in a user namespace need Linux 5.11, this is " + ev.release, "use a newer kernel" + orWrite}
		}
		if f.Errno == syscall.EPERM {
			return reason{}
		}
		return ev.overlayInvalid(dir, orWrite)
	}
	return reason{}
}

// overlayInvalid finds which of its many conditions overlayfs says EINVAL about.
func (ev *evidence) overlayInvalid(dir, orWrite string) reason {
	if within(scratchPlace, dir) {
		return reason{dir + " holds " + scratchPlace + ", where what is written would go", "copy the tree to a directory of its own" + orWrite}
	}
	for _, m := range ev.mounts() {
		// Mounts that a new user namespace gets from outside are locked, and what hides below must stay hidden.
		if m.point != dir && within(m.point, dir) {
			return reason{"something is mounted on " + m.point + ", and an overlay takes no tree with mounts in it",
				"umount " + shellWord(m.point) + orWrite}
		}
	}
	kind := ev.kindOf(dir)
	if kind == "overlay" {
		return reason{dir + " is on an overlay, and the kernel lays no more than two over each other", "copy the tree to another file system" + orWrite}
	}
	return reason{"overlayfs refuses " + dir + " (on " + kind + ")", "dmesg has the reason; copy the tree to another file system" + orWrite}
}

// within says whether path is dir or below it.
func within(path, dir string) bool {
	return strings.HasPrefix(strings.TrimSuffix(path, "/")+"/", strings.TrimSuffix(dir, "/")+"/")
}

// tooClosed is about a directory that root of the machine may enter, but not root of a user namespace: it has no power
// over the files of those who are not mapped.
func (ev *evidence) tooClosed(dir string) reason {
	who := "this user"
	if ev.euid == 0 {
		who = "root of a user namespace, which is not root of the machine"
	}
	return reason{dir + " is closed to " + who, "chmod a+rx " + shellWord(dir) + ", or move what is in it"}
}

// closed is the first directory on the way to path, or path itself, that cannot be entered in the user namespace.
func (ev *evidence) closed(path string) string {
	for end := 1; strings.HasPrefix(path, "/") && end <= len(path); end++ {
		if end < len(path) && path[end] != '/' {
			continue
		}
		if fi, err := os.Stat(ev.root + path[:end]); err != nil {
			return ""
		} else if fi.IsDir() && !program.Allowed(fi, 1) {
			return path[:end]
		}
	}
	return ""
}

// older compares a kernel's release, such as "5.4.0-150-generic".
func older(release string, major, minor int) bool {
	first, rest, _ := strings.Cut(release, ".")
	second, _, _ := strings.Cut(rest, ".")
	digits := 0
	for digits < len(second) && '0' <= second[digits] && second[digits] <= '9' {
		digits++
	}
	a, err1 := strconv.Atoi(first)
	b, err2 := strconv.Atoi(second[:digits])
	return err1 == nil && err2 == nil && (a < major || a == major && b < minor)
}
