package compress

import (
	"bufio"
	"encoding/binary"
	"io"
)

// Window is how much earlier content, in bytes, a decoder must hold to read the stream that br is at: what
// the kernel allocates for it, almost. It takes nothing from br. For what it cannot tell it says 0.
func Window(br *bufio.Reader) int64 {
	head, err := br.Peek(64)
	if err != nil && err != io.EOF {
		return 0
	}
	head = append(head[:len(head):len(head)], make([]byte, 64-len(head))...)
	switch sniff(head[:sniffLen]) {
	case "gzip":
		return 32 << 10
	case "bzip2":
		return int64(head[3]-'0') * 400_000 // a block, as indices of 4 bytes
	case "lz4":
		return lz4Block
	case "xz":
		return xzWindow(head[12:])
	case "zstd":
		return zstdWindow(head)
	}
	return 0
}

// zstdWindow reads a frame header (RFC 8878, 3.1.1.1.2). A frame of one segment is its own window.
func zstdWindow(head []byte) int64 {
	if head[4]&0x20 == 0 {
		base := int64(1) << (10 + head[5]>>3)
		return base + base/8*int64(head[5]&7)
	}
	at := 5 + []int{0, 1, 2, 4}[head[4]&3]
	switch head[4] >> 6 {
	case 0:
		return int64(head[at])
	case 1:
		return int64(binary.LittleEndian.Uint16(head[at:])) + 256
	case 2:
		return int64(binary.LittleEndian.Uint32(head[at:]))
	}
	return int64(min(binary.LittleEndian.Uint64(head[at:]), 1<<62))
}

// xzWindow reads the size of the dictionary in a block header (The .xz File Format 1.2.1, 3.1 and 5.3.1).
func xzWindow(block []byte) int64 {
	flags, rest := block[1], block[2:]
	number := func() (n int) {
		for len(rest) > 0 {
			b := rest[0]
			rest = rest[1:]
			if n = int(b); b < 0x80 {
				break
			}
		}
		return n // its last byte: filters and lengths of properties have one
	}
	for skip := flags>>6&1 + flags>>7; skip > 0; skip-- {
		number()
	}
	for range flags&3 + 1 {
		id, length := number(), number()
		if len(rest) <= length {
			return 0
		}
		if id == 0x21 {
			bits := rest[0] & 63
			return min(int64(2|bits&1)<<(bits/2+11), 1<<32-1)
		}
		rest = rest[length:]
	}
	return 0
}
