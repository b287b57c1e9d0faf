package archive

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"testing"
)

// FuzzTar writes entries made of any bytes and reads back, with Go's reader, what was written.
func FuzzTar(f *testing.F) {
	f.Add([]byte("an entry\x00of a few bytes"))
	f.Add(bytes.Repeat([]byte{0xff, 7, '/', 'a'}, 200))
	for kind := range byte(7) {
		seed := append([]byte{kind, 200, 0}, letters(200)...)
		f.Add(append(seed, bytes.Repeat([]byte{0xe0, 0xff, 3}, 60)...))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		in := dice{data}
		var out bytes.Buffer
		var want []TarEntry
		w := NewTarWriter(&out)
		for len(in.left) > 0 && len(want) < 20 {
			e := in.entry()
			must(t, w.Header(&e))
			if e.Kind == tarRegular {
				must(t, w.Content(bytes.NewReader(make([]byte, e.Size)), e.Size, sha256.New()))
			}
			want = append(want, e)
		}
		must(t, w.Close())
		checkTar(t, out.Bytes(), want)
	})
}

// dice makes values of bytes, and zeros when they are used up.
type dice struct{ left []byte }

func (d *dice) bytes(n int) []byte {
	n = min(n, len(d.left))
	p := bytes.ReplaceAll(d.left[:n:n], []byte{0}, []byte{'n'})
	d.left = d.left[n:]
	return p
}

func (d *dice) number() uint64 {
	var b [8]byte
	n := copy(b[:], d.left[:min(8, len(d.left))])
	d.left = d.left[n:]
	return binary.LittleEndian.Uint64(b[:])
}

func (d *dice) below(n uint64) uint64 {
	var b byte
	if len(d.left) > 0 {
		b, d.left = d.left[0], d.left[1:]
	}
	return uint64(b) % n
}

// text is at least one byte long, and holds no NUL.
func (d *dice) text() []byte {
	return append(d.bytes(int(d.below(3)*d.below(256))), 'x')
}

func (d *dice) entry() TarEntry {
	kinds := []byte{tarRegular, tarLink, tarSymlink, tarChar, tarBlock, tarDirectory, tarFIFO}
	e := TarEntry{
		Kind: kinds[d.below(uint64(len(kinds)))], Name: d.text(), Mode: uint32(d.number()) & 0o7777,
		UID: uint32(d.number()), GID: uint32(d.number()), Time: int64(d.number()) >> d.below(63),
	}
	switch e.Kind {
	case tarRegular:
		e.Size = int64(d.below(8) * d.below(256))
	case tarDirectory:
		e.Name = append(e.Name, '/')
	case tarLink, tarSymlink:
		e.Target = d.text()
	case tarChar, tarBlock:
		e.Major, e.Minor = uint32(d.number())&tarMaxID, uint32(d.number())&tarMaxID
	}
	if d.below(4) == 0 {
		name := bytes.ReplaceAll(d.text(), []byte{'='}, []byte{'e'})
		e.Xattrs = append(e.Xattrs, Xattr{"user." + string(name), append(d.bytes(300), 0)})
	}
	return e
}
