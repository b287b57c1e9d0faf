package archive

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/ctbox/ctbox/applets/internal/list"
)

// An Xattr is one extended attribute (xattr(7)).
type Xattr struct {
	Name  string
	Value []byte
}

// XattrDigest is what a list holds of attributes: the SHA-256 of all of them in order of name, each as the length
// of its name, its name, the length of its value, its value. Lengths are 4 bytes, big-endian.
func XattrDigest(attrs []Xattr) list.Digest {
	h := sha256.New()
	var size [4]byte
	for _, a := range attrs {
		for _, part := range [][]byte{[]byte(a.Name), a.Value} {
			binary.BigEndian.PutUint32(size[:], uint32(len(part)))
			h.Write(size[:])
			h.Write(part)
		}
	}
	return list.Digest(h.Sum(nil))
}

// An XattrReader calls each for every attribute of a file.
type XattrReader func(each func(name string, value []byte)) error

// SelectXattrs reads attributes, keeps those that belong in a list, normalises and sorts them. An empty value is left out: in a PAX header it means deletion
// (POSIX.1-2017 pax, "extended header"), so no layer could hold it.
//
//go:noinline
func SelectXattrs(read XattrReader) ([]Xattr, error) {
	if read == nil {
		return nil, nil
	}
	var attrs []Xattr
	err := read(func(name string, value []byte) {
		if isBookkeeping(name) || len(value) == 0 {
			return
		}
		attrs = append(attrs, Xattr{name, normal(name, value)})
		for i := len(attrs) - 1; i > 0 && attrs[i-1].Name > name; i-- { // they are few
			attrs[i-1], attrs[i] = attrs[i], attrs[i-1]
		}
	})
	return attrs, err
}

// isBookkeeping reports attributes that describe a host and not a file: SELinux labels, POSIX ACLs (system.*), and
// what overlay file systems keep. All of trusted.* is left out, because only root sees it.
func isBookkeeping(name string) bool {
	for _, prefix := range []string{"trusted.", "system.", "user.overlay.", "user.fuseoverlayfs.", "user.containers."} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return name == "security.selinux"
}

// Revisions of security.capability (linux/capability.h).
const (
	capRevisionMask = 0xff000000
	capRevision2    = 0x02000000
	capRevision3    = 0x03000000
	capSize3        = 24 // bytes; revision 2 lacks the last 4, the owner of the user namespace
)

// normal turns capabilities of revision 3, which hold a user ID of the host, into revision 2, as moby does.
func normal(name string, value []byte) []byte {
	value = slices.Clone(value)
	if name != "security.capability" || len(value) != capSize3 {
		return value
	}
	magic := binary.LittleEndian.Uint32(value)
	if magic&capRevisionMask != capRevision3 {
		return value
	}
	binary.LittleEndian.PutUint32(value, magic&^uint32(capRevisionMask)|capRevision2)
	return value[:capSize3-4]
}
