package sums

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// longestLine bounds the lines of a list, in bytes: a path has at most 4096, twice that when escaped.
const longestLine = 64 << 10

// Scan calls each for every line of a list that is neither empty nor a comment (#), with the line's number
// and what Parse says of it. It ends at the first error of each or of r, or at a line that is too long.
// Lines may end in CR LF.
func Scan(r io.Reader, each func(line int, sum Sum, name string, malformed error) error) error {
	br := bufio.NewReaderSize(r, longestLine)
	for n := 1; ; n++ {
		text, end := br.ReadSlice('\n')
		switch {
		case errors.Is(end, bufio.ErrBufferFull):
			return errors.New("a line is too long for a list of digests")
		case end != nil && end != io.EOF:
			return end
		}
		text = bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
		if len(text) > 0 && text[0] != '#' {
			sum, name, err := Parse(text)
			if err := each(n, sum, name, err); err != nil {
				return err
			}
		}
		if end == io.EOF {
			return nil
		}
	}
}
