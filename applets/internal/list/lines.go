package list

import (
	"bytes"
	"io"
)

// Lines reads names of any spelling in any order, one a line. With null, they end in NUL.
type Lines struct{ split *splitter }

// NewLines reads names from r; file names it in messages.
func NewLines(file string, r io.Reader, null bool) *Lines {
	return &Lines{newSplitter(file, r, null, MaxName)}
}

// Next returns the next name, or io.EOF.
func (l *Lines) Next() (string, error) {
	text, err := l.split.next()
	if err == io.EOF {
		return "", err
	}
	if err == nil && bytes.IndexByte(text, 0) >= 0 {
		err = errForNull
	}
	if err != nil {
		return "", l.split.wrap(err)
	}
	return string(text), nil
}
