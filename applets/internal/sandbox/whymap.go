package sandbox

import (
	"strconv"
	"syscall"
)

// idMap is about /proc/self/{setgroups,uid_map,gid_map}.
func (ev *evidence) idMap(errno syscall.Errno) reason {
	switch {
	case errno == syscall.ENOENT && !ev.exists("proc/self/status"):
		return reason{"/proc is not there, and without it no ID can be mapped", "as root: mount -t proc proc /proc"}
	case errno == syscall.EACCES && !ev.dumpable:
		// The files of /proc/self belong to root then (proc(5), PR_SET_DUMPABLE).
		return reason{"this user may not read the program " + ev.exe + ", so that the kernel keeps its /proc files from it",
			"chmod a+r " + shellWord(ev.exe) + ", and no set-uid bit or capabilities on it"}
	case !ev.mapped():
		return reason{"user " + strconv.Itoa(ev.euid) + " is not mapped in the present user namespace",
			"run it as a user of that namespace, or outside"}
	}
	return reason{}
}
