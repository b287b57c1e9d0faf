package tarball

import "bytes"

// until0 is a field up to its NUL, if it has one.
func until0(field []byte) []byte {
	if before, _, ok := bytes.Cut(field, []byte{0}); ok {
		return before
	}
	return field
}

// number reads a numeric field: octal digits after spaces, up to a space or NUL, or GNU's two's complement with the highest
// bit of the first byte set ("base-256").
func number(field []byte) (n int64, ok bool) {
	if field[0]&0x80 != 0 {
		return base256(field)
	}
	field = bytes.TrimLeft(field, " ")
	if len(field) > 0 && field[0] == 0 { // some readers go on after it
		return 0, len(bytes.Trim(field, " \x00")) == 0
	}
	for _, c := range field {
		switch {
		case c == ' ' || c == 0:
			return n, true
		case c < '0' || c > '7':
			return 0, false
		}
		n = n<<3 | int64(c-'0')
	}
	return n, true
}

func base256(field []byte) (n int64, ok bool) {
	n = int64(field[0]<<1) >> 1 & 0x3f
	if field[0]&0x40 != 0 {
		n |= ^0x3f
	}
	for _, c := range field[1:] {
		if n>>55 != 0 && n>>55 != -1 {
			return 0, false
		}
		n = n<<8 | int64(c)
	}
	return n, true
}

// checksum reports whether a block has the sum that it says; in the sum its own field counts as spaces. Some old programs
// added signed bytes.
func checksum(b *[blockSize]byte) bool {
	unsigned, signed := int64(8*' '), int64(8*' ')
	for i, c := range b {
		if i < 148 || i >= 156 {
			unsigned += int64(c)
			signed += int64(int8(c))
		}
	}
	want, ok := number(b[148:156])
	return ok && (want == unsigned || want == signed)
}

// decimal reads digits that are all of text.
func decimal(text []byte) (n int64, ok bool) {
	for _, c := range text {
		if c < '0' || c > '9' || n > (1<<63-1-int64(c-'0'))/10 {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, len(text) > 0
}

// seconds reads a time of a PAX record: perhaps negative, perhaps with a fraction, which goes back in time then, too.
func seconds(text []byte) (sec, nsec int64, ok bool) {
	digits, negative := bytes.CutPrefix(text, []byte("-"))
	whole, fraction, dot := bytes.Cut(digits, []byte("."))
	if sec, ok = decimal(whole); !ok {
		return 0, 0, false
	}
	if dot && len(fraction) > 0 {
		padded := append(append(make([]byte, 0, 16), fraction[:min(len(fraction), 9)]...), "000000000"...)
		if nsec, ok = decimal(padded[:9]); !ok {
			return 0, 0, false
		}
	}
	if negative {
		sec = -sec
		if nsec > 0 {
			sec, nsec = sec-1, 1e9-nsec
		}
	}
	return sec, nsec, true
}
