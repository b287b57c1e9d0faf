package guest

import (
	"errors"
	"os"
	"strings"
	"time"

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

// switchRoot puts what mount mounts at newRoot over the root that the kernel made, as switch_root(8) does. Absolute symbolic
// links there lead where they should.
func switchRoot(mount func() error) error {
	unix.Mkdir(newRoot, 0o700)
	for _, step := range [...]struct {
		what string
		do   func() error
	}{
		{"mount", mount},
		{"leave", leaveMounts},
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

func leaveMounts() error {
	for _, m := range kernelMounts {
		unix.Unmount(m.at, unix.MNT_DETACH)
	}
	return nil
}

// anEmptyRoot is of the kind that the kernel's own is.
func anEmptyRoot() error { return unix.Mount("rootfs", newRoot, "ramfs", 0, "mode=0755") }

// tree makes a root of the initrd that the host sends.
func (s *session) tree() error {
	if err := switchRoot(anEmptyRoot); err != nil {
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

// diskLimit is how long the kernel may take to find the disk: emulated and on a busy machine, a few seconds.
const diskLimit = 60 * time.Second

// diskRoot makes the file system on the disk the root, as wire.ParamRoot says.
func (m *machine) diskRoot() error {
	device, rest, _ := strings.Cut(m.disk, ",")
	kind, mode, _ := strings.Cut(rest, ",")
	var flags uintptr
	if mode == "ro" {
		flags = unix.MS_RDONLY
	}
	err := switchRoot(func() error {
		for late := time.Now().Add(diskLimit); ; time.Sleep(time.Millisecond) {
			err := unix.Mount(device, newRoot, kind, flags, "")
			if err != unix.ENOENT && err != unix.ENXIO || time.Now().After(late) {
				return err
			}
		}
	})
	if errors.Is(err, unix.ENODEV) {
		return errors.New("the guest's kernel has no " + kind)
	}
	if err == nil {
		unix.Stat("/", &m.root)
		mountAll(kernelMounts[:])
	}
	return err
}
