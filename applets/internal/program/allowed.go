package program

import (
	"io/fs"
	"os"
	"slices"
	"syscall"
)

// Allowed says whether a right to a file (4 to read, 2 to write, 1 to execute or search, all of them) is held by
// root in a user namespace to which only the calling user and group are mapped. There, root passes over the mode
// only where both IDs of the file are mapped (capable_wrt_inode_uidgid in kernel/capability.c). ACLs are not seen.
func Allowed(fi fs.FileInfo, right uint32) bool {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return true
	}
	uid, gid := uint32(os.Geteuid()), uint32(os.Getegid())
	if st.Uid == uid && st.Gid == gid {
		return true
	}
	groups, _ := os.Getgroups()
	mode := uint32(fi.Mode().Perm())
	switch {
	case st.Uid == uid:
		mode >>= 6
	case st.Gid == gid || slices.Contains(groups, int(st.Gid)):
		mode >>= 3
	}
	return mode&right == right
}
