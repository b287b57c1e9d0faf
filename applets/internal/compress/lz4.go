package compress

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

const (
	lz4Magic = "\x02\x21\x4c\x18"
	// lz4Block is the most a block holds uncompressed; all but the last one hold as much.
	lz4Block = 8 << 20
	// lz4Most is the most a block has compressed, that of data that cannot be.
	lz4Most = lz4Block + lz4Block/255 + 16
)

// lz4Reader reads lz4's legacy format (lz4_Frame_format.md, "Legacy frame"), which Linux uses for kernels and
// initrds: blocks after their lengths, no checksum, no end mark. It ends as it does for Linux
// (lib/decompress_unlz4.c): at the end of the input, or at a word of zeros, which it leaves unread.
type lz4Reader struct {
	br        *bufio.Reader
	in, block []byte
	rest      []byte // of block
	err       error
}

func (z *lz4Reader) Read(p []byte) (int, error) {
	for len(z.rest) == 0 {
		if z.err == nil {
			z.err = z.fill()
		}
		if z.err != nil {
			return 0, z.err
		}
	}
	n := copy(p, z.rest)
	z.rest = z.rest[n:]
	return n, nil
}

// fill reads the next block. Joined streams have a magic number where the length of a block is.
func (z *lz4Reader) fill() error {
	head, err := z.br.Peek(4)
	if err == io.EOF {
		return io.EOF
	} else if err != nil {
		return err
	}
	length := binary.LittleEndian.Uint32(head)
	switch {
	case length == 0:
		return io.EOF
	case string(head) == lz4Magic:
		length = 0
	case length > lz4Most:
		return fmt.Errorf("%w: block of %d bytes", errCorrupt, length)
	}
	z.br.Discard(4)
	if length == 0 {
		return nil
	}
	if z.in, err = readBlock(z.br, z.in[:0], int(length)); err != nil {
		return early(err)
	}
	z.block, err = lz4Decode(z.block[:0], z.in, lz4Block)
	z.rest = z.block
	return err
}

// readBlock appends n bytes to b. It makes no room for what a length only claims.
func readBlock(r io.Reader, b []byte, n int) ([]byte, error) {
	for len(b) < n {
		k := min(n-len(b), max(64<<10, cap(b)-len(b)))
		if cap(b)-len(b) < k {
			b = append(make([]byte, 0, min(2*cap(b)+k, lz4Most)), b...)
		}
		k, err := io.ReadFull(r, b[len(b):len(b)+k])
		b = b[:len(b)+k]
		if err != nil {
			return b, err
		}
	}
	return b, nil
}

// lz4Decode appends what the block src holds to dst, which must not grow beyond most bytes
// (lz4_Block_format.md).
func lz4Decode(dst, src []byte, most int) ([]byte, error) {
	for len(src) > 0 {
		token := src[0]
		literals, rest, ok := lz4Length(int(token>>4), src[1:])
		if !ok || literals > len(rest) || len(dst)+literals > most {
			return dst, errCorrupt
		}
		dst = append(dst, rest[:literals]...)
		if src = rest[literals:]; len(src) == 0 {
			return dst, nil // the last sequence has no match
		}
		if len(src) < 2 {
			return dst, errCorrupt
		}
		offset := int(binary.LittleEndian.Uint16(src))
		match, rest, ok := lz4Length(int(token&15), src[2:])
		match += 4
		if !ok || offset == 0 || offset > len(dst) || len(dst)+match > most {
			return dst, errCorrupt
		}
		for match > 0 { // what is copied may be what was just written
			from := dst[len(dst)-offset:]
			k := min(match, len(from))
			dst = append(dst, from[:k]...)
			match -= k
		}
		src = rest
	}
	return dst, errCorrupt // it ends with a match, or is empty
}

// lz4Length reads a length that begins in a token's four bits and goes on in src.
func lz4Length(n int, src []byte) (length int, rest []byte, ok bool) {
	if n < 15 {
		return n, src, true
	}
	for i, b := range src {
		if n += int(b); b < 255 {
			return n, src[i+1:], true
		}
	}
	return 0, nil, false
}
