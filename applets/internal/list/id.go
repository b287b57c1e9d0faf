package list

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// File types and permission bits of a MODE, as st_mode has them on every Unix (inode(7)).
const (
	TypeMask    = 0o170000
	Socket      = 0o140000
	Symlink     = 0o120000
	Regular     = 0o100000
	BlockDevice = 0o060000
	Directory   = 0o040000
	CharDevice  = 0o020000
	FIFO        = 0o010000
	PermMask    = 0o7777
)

// A Digest is the SHA-256 of a file's content or of a symbolic link's target.
type Digest [32]byte

// An ID is everything a list says of a name but the name itself.
type ID struct {
	Deleted bool   // the ID is "-"; all else is zero
	Mode    uint32 // st_mode: type and permissions
	UID     uint32
	GID     uint32
	Digest  Digest // of regular files and symbolic links
	HasRdev bool
	Major   uint32 // device number of a block or character device
	Minor   uint32
	HasAttr bool
	Attr    Digest // of the extended attributes
	Link    []byte // canonical name of the first record of the same inode, or nil
}

// Type is the file type in the mode.
func (id *ID) Type() uint32 { return id.Mode & TypeMask }

// HasDigest reports whether files of this type have content that is digested.
func (id *ID) HasDigest() bool { return id.Type() == Regular || id.Type() == Symlink }

// IsDevice reports whether the mode is that of a block or character device.
func (id *ID) IsDevice() bool { return id.Type() == BlockDevice || id.Type() == CharDevice }

const linkField = "-link="

var errID = errors.New("not an ID (MODE-UID-GID-DIGEST)")

// Parse reads an ID in the form of ctbox-list(5). Link shares memory with text when it holds no escapes.
// It is strict, so that equal meaning is equal text: no signs, no leading zeros, lower-case digits.
func (id *ID) Parse(text []byte) error {
	*id = ID{}
	if len(text) == 1 && text[0] == '-' {
		id.Deleted = true
		return nil
	}
	mode, rest, ok := cut(text)
	if !ok || len(mode) != 7 {
		return errID
	}
	for _, c := range mode {
		if c < '0' || c > '7' {
			return errID
		}
		id.Mode = id.Mode<<3 | uint32(c-'0')
	}
	if id.Mode > TypeMask|PermMask {
		return fmt.Errorf("MODE %07o is no type of file", id.Mode)
	}
	uid, rest, ok1 := cut(rest)
	gid, rest, ok2 := cut(rest)
	if !ok1 || !ok2 {
		return errID
	}
	if id.UID, ok1 = decimal(uid); !ok1 || id.UID == noID {
		return fmt.Errorf("bad UID %q", uid)
	}
	if id.GID, ok2 = decimal(gid); !ok2 || id.GID == noID {
		return fmt.Errorf("bad GID %q", gid)
	}
	digest, rest, more := bytes.Cut(rest, []byte("-"))
	if err := id.parseDigest(digest); err != nil {
		return err
	}
	if !more {
		return nil
	}
	return id.parseFields(rest)
}

// noID is (uid_t)-1, which chown(2) takes for "leave it" and no file can have.
const noID = 1<<32 - 1

func (id *ID) parseDigest(text []byte) error {
	switch id.Type() {
	case Regular, Symlink:
		if !hexDigest(&id.Digest, text) {
			return fmt.Errorf("bad DIGEST %q", text)
		}
		return nil
	case Directory, CharDevice, BlockDevice, FIFO, Socket:
		if len(text) != 1 || text[0] != '0' {
			return fmt.Errorf("DIGEST must be 0 for this type, not %q", text)
		}
		return nil
	}
	return fmt.Errorf("MODE %07o is no type of file", id.Mode)
}

// parseFields reads what follows the digest: rdev=, xattr= and link=, in this order, each at most once.
func (id *ID) parseFields(rest []byte) error {
	more := true // a dash came, so that a field must follow
	if v, ok := bytes.CutPrefix(rest, []byte("rdev=")); ok {
		var num []byte
		num, rest, more = cut(v)
		if !id.parseRdev(num) {
			return fmt.Errorf("bad rdev=%q", num)
		}
	}
	if v, ok := bytes.CutPrefix(rest, []byte("xattr=")); ok {
		var sum []byte
		sum, rest, more = cut(v)
		if id.HasAttr = hexDigest(&id.Attr, sum); !id.HasAttr {
			return fmt.Errorf("bad xattr=%q", sum)
		}
	}
	if v, ok := bytes.CutPrefix(rest, []byte("link=")); ok {
		var err error
		if id.Link, err = unescape(v); err != nil || id.Type() != Regular {
			return fmt.Errorf("bad link=%q", v)
		}
		more = false
	}
	if more {
		return errID
	}
	return nil
}

func (id *ID) parseRdev(text []byte) bool {
	major, minor, ok := bytes.Cut(text, []byte(":"))
	var ok1, ok2 bool
	id.Major, ok1 = decimal(major)
	id.Minor, ok2 = decimal(minor)
	id.HasRdev = ok && ok1 && ok2 && id.IsDevice()
	return id.HasRdev
}

// AppendTo appends the ID's text, the only one that Parse accepts for it.
func (id *ID) AppendTo(b []byte) []byte {
	if id.Deleted {
		return append(b, '-')
	}
	for shift := 18; shift >= 0; shift -= 3 {
		b = append(b, '0'+byte(id.Mode>>shift&7))
	}
	b = strconv.AppendUint(append(b, '-'), uint64(id.UID), 10)
	b = strconv.AppendUint(append(b, '-'), uint64(id.GID), 10)
	b = append(b, '-')
	if id.HasDigest() {
		b = hex.AppendEncode(b, id.Digest[:])
	} else {
		b = append(b, '0')
	}
	if id.HasRdev {
		b = strconv.AppendUint(append(b, "-rdev="...), uint64(id.Major), 10)
		b = strconv.AppendUint(append(b, ':'), uint64(id.Minor), 10)
	}
	if id.HasAttr {
		b = hex.AppendEncode(append(b, "-xattr="...), id.Attr[:])
	}
	if id.Link != nil {
		b = escape(append(b, linkField...), id.Link)
	}
	return b
}

// cut splits text at the first dash. Most fields are short, too short for bytes.Cut to be fast.
func cut(text []byte) (field, rest []byte, found bool) {
	for i, c := range text {
		if c == '-' {
			return text[:i], text[i+1:], true
		}
	}
	return text, nil, false
}

func decimal(text []byte) (uint32, bool) {
	if len(text) == 0 || len(text) > 10 || text[0] == '0' && len(text) > 1 {
		return 0, false
	}
	var n uint64
	for _, c := range text {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return uint32(n), n < 1<<32
}

// hexDigest decodes eight lower-case digits at once, one in each byte of a word: digests are most of a list.
func hexDigest(d *Digest, text []byte) bool {
	if len(text) != 2*len(d) {
		return false
	}
	const each = 0x0101010101010101
	var bad uint64
	for i := 0; i < len(text); i += 8 {
		c := binary.LittleEndian.Uint64(text[i:])
		v := c&(each*0x0f) + c>>6&each*9 // letters have bit 6 set, and 'a' ends in 1
		letter := (v + each*6) >> 4 & each
		bad |= v&(each*0xf0) | c ^ (v + each*'0' + letter*('a'-10-'0'))
		v = (v<<4 | v>>8) & 0x00ff00ff00ff00ff
		v = (v | v>>8) & 0x0000ffff0000ffff
		binary.LittleEndian.PutUint32(d[i/2:], uint32(v|v>>16))
	}
	return bad == 0
}

const upperHex = "0123456789ABCDEF"

// escaped reports whether c is written as %XX in a link, so that an ID holds neither space nor newline.
func escaped(c byte) bool { return c <= ' ' || c == '%' || c == 0x7f }

func escape(b, name []byte) []byte {
	for _, c := range name {
		if escaped(c) {
			b = append(b, '%', upperHex[c>>4], upperHex[c&15])
		} else {
			b = append(b, c)
		}
	}
	return b
}

// unescape is the inverse of escape; it refuses what escape would have written otherwise.
func unescape(text []byte) ([]byte, error) {
	var decoded []byte
	if bytes.IndexByte(text, '%') >= 0 {
		decoded = make([]byte, 0, len(text))
	}
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c == '%' {
			var ok bool
			if c, ok = unhex(text[i+1:]); !ok {
				return nil, errID
			}
			i += 2
		} else if escaped(c) {
			return nil, errID
		}
		if decoded != nil {
			decoded = append(decoded, c)
		}
	}
	if decoded == nil {
		decoded = text
	}
	return decoded, CheckName(decoded)
}

// unhex reads the two digits of an escape, ok if it had to be one.
func unhex(text []byte) (c byte, ok bool) {
	if len(text) < 2 {
		return 0, false
	}
	hi, lo := strings.IndexByte(upperHex, text[0]), strings.IndexByte(upperHex, text[1])
	c = byte(hi<<4 | lo)
	return c, hi >= 0 && lo >= 0 && escaped(c)
}

// TypeName is the type in a mode, in words with their article.
func TypeName(mode uint32) string {
	switch mode & TypeMask {
	case Regular:
		return "a regular file"
	case Symlink:
		return "a symbolic link"
	case Directory:
		return "a directory"
	case CharDevice:
		return "a character device"
	case BlockDevice:
		return "a block device"
	case FIFO:
		return "a FIFO"
	case Socket:
		return "a socket"
	}
	return "of unknown type"
}
