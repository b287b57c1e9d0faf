package output

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestInheritance: a file that is replaced is a new one. It gets from its directory what any new file there gets, and nothing
// from the old one but the mode (G32).
func TestInheritance(t *testing.T) {
	const group = 61236
	dir := t.TempDir()
	if err := errors.Join(os.Chown(dir, -1, group), os.Chmod(dir, 0o755|os.ModeSetgid)); err != nil {
		t.Skip(err) // only root gives to a group that it is not in
	}
	path := filepath.Join(dir, "out")
	if err := errors.Join(os.WriteFile(path, []byte("old"), 0o640), os.Chown(path, 1, 1), os.Chmod(path, 0o640)); err != nil {
		t.Fatal(err)
	}
	write(t, path, "new")
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil || st.Gid != group || st.Uid != uint32(os.Geteuid()) || st.Mode&0o7777 != 0o640 {
		t.Errorf("owner %d:%d, mode %o, %v", st.Uid, st.Gid, st.Mode, err)
	}
}

// TestInheritedACL is about another thing that comes from the directory (G32).
func TestInheritedACL(t *testing.T) {
	// Version 2; user::rwx, user:61236:rw-, group::r-x, mask::rwx, other::--- (linux/posix_acl_xattr.h), little-endian everywhere.
	const all = "\xff\xff\xff\xff"
	const acl = "\x02\x00\x00\x00" + "\x01\x00\x07\x00" + all + "\x02\x00\x06\x00\x34\xef\x00\x00" +
		"\x04\x00\x05\x00" + all + "\x10\x00\x07\x00" + all + "\x20\x00\x00\x00" + all
	dir := t.TempDir()
	if err := unix.Setxattr(dir, "system.posix_acl_default", []byte(acl), 0); err != nil {
		t.Skipf("the file system has no ACLs: %v", err)
	}
	path := filepath.Join(dir, "out")
	for _, when := range []string{"new", "replaced"} {
		write(t, path, when)
		got := make([]byte, 256)
		n, err := unix.Getxattr(path, "system.posix_acl_access", got)
		if err != nil || !strings.Contains(string(got[:n]), "\x02\x00\x06\x00\x34\xef\x00\x00") {
			t.Errorf("%s: %q, %v", when, got[:max(n, 0)], err)
		}
	}
}
