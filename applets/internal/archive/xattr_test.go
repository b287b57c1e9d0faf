package archive

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// TestXattrDigest: the text that is digested, written out by hand.
func TestXattrDigest(t *testing.T) {
	text := "\x00\x00\x00\x06user.a" + "\x00\x00\x00\x02" + "1\x00" + "\x00\x00\x00\x06user.b" + "\x00\x00\x01\x00" + strings.Repeat("v", 256)
	got := XattrDigest([]Xattr{{"user.a", []byte("1\x00")}, {"user.b", []byte(strings.Repeat("v", 256))}})
	if want := sumOf(strings.NewReader(text), int64(len(text))); fmt.Sprintf("%x", got) != fmt.Sprintf("%x", want) {
		t.Errorf("%x, not %x", got, want)
	}
}

// TestXattrFilter: attributes are sorted; a host's bookkeeping and empty values are left out.
func TestXattrFilter(t *testing.T) {
	all := []Xattr{
		{"user.z", []byte("z")}, {"security.selinux", []byte("label")}, {"system.posix_acl_access", []byte("acl")},
		{"trusted.overlay.opaque", []byte("y")}, {"user.overlay.opaque", []byte("y")}, {"user.fuseoverlayfs.x", []byte("y")},
		{"user.containers.override_stat", []byte("0:0:0755")}, {"user.empty", nil}, {"security.ima", []byte("i")}, {"user.a", []byte("a")},
	}
	got, err := SelectXattrs(func(each func(string, []byte)) error {
		for _, a := range all {
			each(a.Name, a.Value)
		}
		return nil
	})
	if fmt.Sprintf("%s", got) != "[{security.ima i} {user.a a} {user.z z}]" || err != nil {
		t.Errorf("%s %v", got, err)
	}
	oops := errors.New("oops")
	if _, err := SelectXattrs(func(func(string, []byte)) error { return oops }); err != oops {
		t.Error(err)
	}
	if got, err := SelectXattrs(nil); got != nil || err != nil {
		t.Errorf("%s %v", got, err)
	}
}

// TestCapabilityRevision: revision 3 becomes 2, its owner is cut off, and nothing else changes.
func TestCapabilityRevision(t *testing.T) {
	const rest = "\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	for _, c := range []struct{ name, value, want string }{
		{"security.capability", "\x01\x00\x00\x03" + rest + "\xe8\x03\x00\x00", "\x01\x00\x00\x02" + rest},
		{"security.capability", "\x01\x00\x00\x02" + rest, "\x01\x00\x00\x02" + rest},
		{"security.capability", "\x01\x00\x00\x01" + rest[:8], "\x01\x00\x00\x01" + rest[:8]},
		{"security.capability", "\x01\x00\x00\x04" + rest + "1234", "\x01\x00\x00\x04" + rest + "1234"},
		{"security.capability", "\x03", "\x03"},
		{"user.capability", "\x01\x00\x00\x03" + rest + "1234", "\x01\x00\x00\x03" + rest + "1234"},
	} {
		if got := normal(c.name, []byte(c.value)); string(got) != c.want {
			t.Errorf("%s %q: %q", c.name, c.value, got)
		}
	}
}
