package guest

import (
	"os"

	"golang.org/x/sys/unix"
)

// A node is a file that the kernel's own initramfs has (usr/default_cpio_list), as it was before anything was mounted.
type node struct {
	path string
	st   unix.Stat_t
}

// builtin finds the nodes, which a tree of ours is to have too. Their times are those of the kernel's build.
func builtin() (found []node) {
	for _, path := range [...]string{"/dev", "/dev/console", "/root"} {
		n := node{path: path}
		if unix.Lstat(path, &n.st) == nil {
			found = append(found, n)
		}
	}
	return found
}

// restore makes the nodes below the new root.
func restore(nodes []node) error {
	for _, n := range nodes {
		var err error
		if n.st.Mode&unix.S_IFMT == unix.S_IFDIR {
			err = unix.Mkdir(n.path, n.st.Mode&0o7777)
		} else {
			err = unix.Mknod(n.path, n.st.Mode, int(n.st.Rdev))
		}
		if err == nil {
			err = unix.Chmod(n.path, n.st.Mode&0o7777)
		}
		if err != nil {
			return &os.PathError{Op: "make", Path: n.path, Err: err}
		}
	}
	for _, n := range nodes {
		setTime(unix.AT_FDCWD, n.path, n.st.Mtim)
	}
	return nil
}

// newRoot is a directory that nothing else has in the root it is made in.
const newRoot = "/.ctbox-root"

// switchRoot puts an empty root over the one that the kernel made, of the kind that it is itself, as switch_root(8) does.
// Absolute symbolic links in what is unpacked there lead where they should.
func switchRoot() error {
	for _, m := range kernelMounts {
		unix.Unmount(m.at, unix.MNT_DETACH)
	}
	unix.Mkdir(newRoot, 0o700)
	for _, step := range [...]struct {
		what string
		do   func() error
	}{
		{"mount", func() error { return unix.Mount("rootfs", newRoot, "ramfs", 0, "mode=0755") }},
		{"enter", func() error { return unix.Chdir(newRoot) }},
		{"move", func() error { return unix.Mount(".", "/", "", unix.MS_MOVE, "") }},
		{"chroot", func() error { return unix.Chroot(".") }},
		{"enter", func() error { return unix.Chdir("/") }},
	} {
		if err := step.do(); err != nil {
			return &os.PathError{Op: step.what, Path: "new root", Err: err}
		}
	}
	return nil
}

// tree makes a root of the initrd that the host sends.
func (s *session) tree() error {
	if err := switchRoot(); err != nil {
		return err
	}
	if err := restore(s.builtin); err != nil {
		return err
	}
	root, err := unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(root)
	if err := unpack(root, &treeReader{s: s}); err != nil {
		return err
	}
	unix.Fstat(root, &s.root)
	mountAll(kernelMounts[:])
	return nil
}
