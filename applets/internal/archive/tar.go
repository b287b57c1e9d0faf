package archive

import (
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/ctbox/ctbox/applets/internal/list"
)

// Type flags of tar entries (POSIX.1-2017 pax, "ustar Interchange Format").
const (
	tarRegular   = '0'
	tarLink      = '1'
	tarSymlink   = '2'
	tarChar      = '3'
	tarBlock     = '4'
	tarDirectory = '5'
	tarFIFO      = '6'
	tarExtended  = 'x'
)

// Sizes in a tar, in bytes.
const (
	TarBlock = 512          // all is written in blocks of this size
	TarEnd   = 2 * TarBlock // of zeros, which end the archive

	tarNameSize   = 100
	tarPrefixSize = 155
	tarMaxID      = 1<<21 - 1 // 7 octal digits
	tarMaxSize    = 1<<33 - 1 // 11 octal digits
)

var zeros [TarEnd]byte

// TarPadding is how many zero bytes follow content of size bytes.
func TarPadding(size int64) int64 { return -size & (TarBlock - 1) }

// A TarEntry is the header of one entry. Names are as they stand in the archive: no "./", directories end in "/".
type TarEntry struct {
	Name, Target []byte // Target of a symbolic or hard link
	Kind         byte   // type flag
	Mode         uint32 // permissions, 07777
	UID, GID     uint32
	Size, Time   int64 // bytes; seconds since 1970
	Major, Minor uint32
	Xattrs       []Xattr
}

// A TarWriter writes ustar, with PAX extended headers for just what ustar cannot hold. The bytes are a function of
// the entries alone: no user names, no times of access, no device or inode numbers.
//
// Names are bytes. One that fits goes into the ustar header as it is, whatever its encoding: GNU tar, bsdtar, busybox,
// Python and Go all read it back, while a PAX path that is not ASCII makes bsdtar fail in other locales.
type TarWriter struct {
	buffer
	head []byte
}

// NewTarWriter writes to w.
func NewTarWriter(w io.Writer) *TarWriter { return &TarWriter{buffer: newBuffer(w)} }

// Header writes the header of an entry. For a regular file, Content must follow.
func (t *TarWriter) Header(e *TarEntry) (err error) {
	if t.head, err = AppendTarHeader(t.head[:0], e); err != nil {
		return err
	}
	return t.write(t.head)
}

// Content copies exactly size bytes of c, adds them to h if that is not nil, and fills up the last block.
func (t *TarWriter) Content(c io.Reader, size int64, h hash.Hash) error {
	if err := t.copy(c, size, h); err != nil {
		return err
	}
	return t.write(zeros[:TarPadding(size)])
}

// lent is Content that is in memory, and stays there until settle.
func (t *TarWriter) lent(p []byte) error {
	if err := t.lend(p); err != nil {
		return err
	}
	return t.write(zeros[:TarPadding(int64(len(p)))])
}

// Close writes the end of the archive: two blocks of zeros. It does not close the underlying writer.
func (t *TarWriter) Close() error {
	if err := t.write(zeros[:TarEnd]); err != nil {
		return err
	}
	return t.flush()
}

// AppendTarHeader appends the header of an entry to b: one block, with a PAX header before it if that cannot hold all.
func AppendTarHeader(b []byte, e *TarEntry) ([]byte, error) {
	start := len(b)
	b = append(b, zeros[:TarBlock]...)
	b, err := appendRecords(b, e)
	if err != nil {
		return b, err
	}
	if size := int64(len(b) - start - TarBlock); size > 0 {
		b = append(b, zeros[:TarPadding(size)]...)
		ustar(b[start:start+TarBlock], &TarEntry{
			Name: []byte("PaxHeaders/x"), Kind: tarExtended, Mode: 0o644, Size: size, Time: fit(e.Time, tarMaxSize),
		})
		start = len(b)
		b = append(b, zeros[:TarBlock]...)
	}
	ustar(b[start:], e)
	return b, nil
}

// ustar fills a block of zeros with what every entry has; what does not fit is cut or zero, and stands in the PAX header.
func ustar(b []byte, e *TarEntry) {
	name, prefix, ok := split(e.Name)
	if !ok {
		name, prefix = e.Name[:min(len(e.Name), tarNameSize)], nil
	}
	copy(b[0:tarNameSize], name)
	octal(b[100:108], int64(e.Mode&list.PermMask))
	octal(b[108:116], fit(int64(e.UID), tarMaxID))
	octal(b[116:124], fit(int64(e.GID), tarMaxID))
	octal(b[124:136], fit(e.Size, tarMaxSize))
	octal(b[136:148], fit(e.Time, tarMaxSize))
	b[156] = e.Kind
	copy(b[157:257], e.Target)
	copy(b[257:265], "ustar\x0000")
	octal(b[329:337], int64(e.Major))
	octal(b[337:345], int64(e.Minor))
	copy(b[345:500], prefix)
	sum := int64(8 * ' ') // the checksum counts its own field as spaces
	for _, c := range b[:TarBlock] {
		sum += int64(c)
	}
	octal(b[148:155], sum)
	b[155] = ' '
}

// fit is n, or 0 where a PAX record holds it.
func fit(n, most int64) int64 {
	if n < 0 || n > most {
		return 0
	}
	return n
}

// octal fills a field with digits and a final NUL.
func octal(field []byte, n int64) {
	for i := len(field) - 2; i >= 0; i-- {
		field[i] = '0' + byte(n&7)
		n >>= 3
	}
}

// split finds how a name fits into the fields name and prefix, which a reader joins with a slash.
func split(full []byte) (name, prefix []byte, ok bool) {
	if len(full) <= tarNameSize {
		return full, nil, true
	}
	for i := min(len(full)-2, tarPrefixSize); i > 0 && len(full)-i-1 <= tarNameSize; i-- {
		if full[i] == '/' {
			return full[i+1:], full[:i], true
		}
	}
	return nil, nil, false
}

var (
	errDeviceNumber = errors.New("device number is too large for tar")
	errXattrName    = errors.New("name of an extended attribute holds \"=\", which a tar header cannot")
)

// appendRecords appends the PAX records for what the ustar block cannot hold.
func appendRecords(b []byte, e *TarEntry) ([]byte, error) {
	if e.Major > tarMaxID || e.Minor > tarMaxID {
		return b, errDeviceNumber
	}
	_, _, fits := split(e.Name)
	longTarget := len(e.Target) > tarNameSize
	if !fits && !utf8.Valid(e.Name) || longTarget && !utf8.Valid(e.Target) {
		b = appendRecord(b, "hdrcharset", []byte("BINARY")) // POSIX: else these values are UTF-8
	}
	if !fits {
		b = appendRecord(b, "path", e.Name)
	}
	if longTarget {
		b = appendRecord(b, "linkpath", e.Target)
	}
	b = appendNumber(b, "size", e.Size, tarMaxSize)
	b = appendNumber(b, "uid", int64(e.UID), tarMaxID)
	b = appendNumber(b, "gid", int64(e.GID), tarMaxID)
	b = appendNumber(b, "mtime", e.Time, tarMaxSize)
	for _, a := range e.Xattrs {
		if strings.Contains(a.Name, "=") {
			return b, fmt.Errorf("%q: %w", a.Name, errXattrName)
		}
		b = appendRecord(b, "SCHILY.xattr."+a.Name, a.Value)
	}
	return b, nil
}

func appendNumber(b []byte, key string, n, most int64) []byte {
	if n < 0 || n > most {
		b = appendRecord(b, key, strconv.AppendInt(nil, n, 10))
	}
	return b
}

// appendRecord appends "LENGTH KEY=VALUE\n", where LENGTH counts its own digits.
func appendRecord(b []byte, key string, value []byte) []byte {
	rest := len(key) + len(value) + len(" =\n")
	size := rest + len(strconv.Itoa(rest))
	if n := rest + len(strconv.Itoa(size)); n > size {
		size = n
	}
	b = append(strconv.AppendInt(b, int64(size), 10), ' ')
	b = append(append(append(b, key...), '='), value...)
	return append(b, '\n')
}
