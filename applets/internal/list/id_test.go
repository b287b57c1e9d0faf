package list

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
)

const (
	digestA = "ba34fb34865ba36fb9655e724266364f36155c93326b6b73f4e3d516f51f6fb2"
	digestB = "22e4d2865e654f830f6bfc146e170846dde15185be675db4e9cd987cb02afa78"
)

var goodIDs = []string{
	"-",
	"0040755-0-0-0",
	"0041777-0-0-0",
	"0047777-4294967294-4294967294-0",
	"0100644-0-0-" + digestA,
	"0104755-1000-100-" + digestA,
	"0107777-0-0-" + digestA + "-xattr=" + digestB,
	"0100644-0-0-" + digestA + "-link=./a",
	"0100644-0-0-" + digestA + "-link=./a-link=./b",
	"0100644-0-0-" + digestA + "-link=./a%20b%25%0A%7F%01\xff",
	"0100644-0-0-" + digestA + "-xattr=" + digestB + "-link=./x-y/z",
	"0120777-0-0-" + digestA,
	"0020600-0-0-0-rdev=5:1",
	"0060660-0-6-0-rdev=4294967295:4294967295-xattr=" + digestA,
	"0060660-0-6-0",
	"0010644-0-0-0",
	"0140755-0-0-0",
}

func TestIDGood(t *testing.T) {
	for _, text := range goodIDs {
		var id ID
		if err := id.Parse([]byte(text)); err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := string(id.AppendTo([]byte("x"))); got != "x"+text {
			t.Errorf("%s: written as %s", text, got)
		}
	}
}

func TestTypeName(t *testing.T) {
	for mode, want := range map[uint32]string{
		0o100644: "a regular file", 0o120777: "a symbolic link", 0o041777: "a directory", 0o020600: "a character device",
		0o060600: "a block device", 0o010644: "a FIFO", 0o140755: "a socket", 0o000644: "of unknown type",
	} {
		if got := TypeName(mode); got != want {
			t.Errorf("%07o: %s, want %s", mode, got, want)
		}
	}
}

func TestIDFields(t *testing.T) {
	var id ID
	text := "0106755-7-8-" + digestA + "-xattr=" + digestB + "-link=./a%20b"
	if err := id.Parse([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if id.Type() != Regular || id.Mode&PermMask != 0o6755 || id.UID != 7 || id.GID != 8 || !id.HasAttr || string(id.Link) != "./a b" {
		t.Errorf("%+v", id)
	}
	if id.Digest[0] != 0xba || id.Digest[31] != 0xb2 || id.Attr[0] != 0x22 || id.Attr[31] != 0x78 {
		t.Errorf("%x %x", id.Digest, id.Attr)
	}
	if err := id.Parse([]byte("0060660-0-6-0-rdev=8:17")); err != nil || !id.HasRdev || id.Major != 8 || id.Minor != 17 ||
		!id.IsDevice() || id.HasDigest() || id.HasAttr || id.Link != nil || id.Digest != (Digest{}) {
		t.Errorf("%v: %+v: something is left of the ID before", err, id)
	}
}

func TestIDBad(t *testing.T) {
	file := "0100644-0-0-" + digestA
	bad := []string{
		"", "--", " ", "-0", "0", "0040755", "0040755-0", "0040755-0-0", "0040755-0-0-", "-0040755-0-0-0",
		// numbers: octal 8, too short, too long, signs, leading zeros, out of range, (uid_t)-1, other digits
		"0040785-0-0-0", "040755-0-0-0", "00040755-0-0-0", "+040755-0-0-0", "004075a-0-0-0", "7040755-0-0-0", "0240755-0-0-0",
		"0040755-+0-0-0", "0040755-00-0-0", "0040755-0-01-0", "0040755--0-0", "0040755-0--0", "0040755--1-0-0",
		"0040755-4294967296-0-0", "0040755-0-4294967296-0", "0040755-4294967295-0-0", "0040755-0-4294967295-0",
		"0040755-99999999999-0-0", "0040755-0x1-0-0", "0040755-1_0-0-0", "0040755-0-٠-0", "0040755-0 -0-0",
		// types that are none
		"0000644-0-0-0", "0000644-0-0-" + digestA, "0030644-0-0-0", "0110644-0-0-" + digestA, "0170644-0-0-0",
		// digests: P37, P38
		"0040755-0-0-" + digestA, "0040755-0-0-00", "0040755-0-0-1", "0010644-0-0-" + digestA, "0020600-0-0-" + digestA,
		"0100644-0-0-0", "0100644-0-0-" + digestA[1:], file + "0", "0100644-0-0-" + strings.ToUpper(digestA),
		"0100644-0-0-" + digestA[1:] + "g", "0100644-0-0-" + digestA[1:] + "\xff", "0120777-0-0-0", "0100644-0-0- " + digestA[1:],
		"0100644-0-0-0x" + digestA[2:], "0100644-0-0-" + digestA[1:] + "/", "0100644-0-0-" + digestA[1:] + ":", "0100644-0-0-" + digestA[1:] + "`",
		// fields: unknown, empty, out of order, twice, of the wrong type
		file + "-", file + "--", file + "-foo=1", file + "-foo", file + "-xattr=", file + "-xattr=" + digestB[1:], file + "-rdev=1:2",
		file + "-xattr=" + digestB + "-", file + "-xattr=" + digestB + "-xattr=" + digestB, file + "-link=./a ",
		"0020600-0-0-0-", "0020600-0-0-0-rdev=", "0020600-0-0-0-rdev=1", "0020600-0-0-0-rdev=1:", "0020600-0-0-0-rdev=:1",
		"0020600-0-0-0-rdev=1:2-", "0020600-0-0-0-rdev=01:2", "0020600-0-0-0-rdev=1:2:3", "0020600-0-0-0-rdev=1:4294967296",
		"0020600-0-0-0-rdev=1:2-rdev=1:2", "0020600-0-0-0-rdev=1:-2", "0020600-0-0-0-xattr=" + digestA + "-rdev=1:2",
		"0040755-0-0-0-rdev=1:2", "0010644-0-0-0-rdev=1:2", "0020600-0-0-0-rdev=1:2-link=./a", "0040755-0-0-0-link=./a",
		"0120777-0-0-" + digestA + "-link=./a", "0040755-0-0-0-",
		// links: one spelling
		file + "-link=", file + "-link=a", file + "-link=/a", file + "-link=./", file + "-link=./a/", file + "-link=./../a",
		file + "-link=./a//b", file + "-link=./a%", file + "-link=./a%2", file + "-link=./a%zz", file + "-link=./%0a",
		file + "-link=./%41", file + "-link=./a%+1", file + "-link=./%00", file + "-link=./a\x00", file + "-link=./a\x7f",
		file + "-link=./%2F", file + "-link=./a b", file + "-link=./a\r", file + "-link=./" + strings.Repeat("x", 256),
		file + "-link=./a-xattr=" + digestA[:1] + "%", file + " ", file + "\r", file + "\n", file + "\x00", "-\r",
	}
	for _, text := range bad {
		var id ID
		if err := id.Parse([]byte(text)); err == nil {
			t.Errorf("%q: accepted as %s", text, id.AppendTo(nil))
		}
	}
}

// TestHexDigest: every byte at every place is decoded as encoding/hex does, or refused.
func TestHexDigest(t *testing.T) {
	for place := range 64 {
		for c := range 256 {
			text := []byte(digestA)
			text[place] = byte(c)
			var got, want Digest
			ok := hexDigest(&got, text)
			_, err := hex.Decode(want[:], text)
			if lower := err == nil && !('A' <= c && c <= 'F'); ok != lower || ok && got != want {
				t.Fatalf("%#x at %d: %v, %x", c, place, ok, got)
			}
		}
	}
}

func FuzzID(f *testing.F) {
	for _, text := range goodIDs {
		f.Add([]byte(text))
		f.Add([]byte(text + "-"))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		before := bytes.Clone(text)
		var id ID
		err := id.Parse(text)
		if !bytes.Equal(text, before) {
			t.Fatalf("Parse changed its input from %q to %q", before, text)
		}
		if err != nil {
			return
		}
		if got := id.AppendTo(nil); !bytes.Equal(got, text) {
			t.Errorf("%q is written as %q", text, got)
		}
	})
}
