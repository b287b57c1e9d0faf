package sums

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/output"
	"github.com/ctbox/ctbox/applets/internal/progress"
)

// bufferSize is the size of reads, in bytes: beyond it a read's own cost no longer shows.
const bufferSize = 256 << 10

// A Digester digests any number of files with the same memory.
type Digester struct {
	Progress *progress.Line // counts what is read

	stdin io.Reader
	hash  hash.Hash
	buf   []byte
}

// NewDigester returns a Digester whose file "-" is stdin.
func NewDigester(stdin io.Reader) *Digester {
	return &Digester{stdin: stdin, hash: sha256.New(), buf: make([]byte, bufferSize)}
}

// File is the digest of a file's content. A file that becomes shorter while it is read is an error, one
// that grows is not: it may be a log. A FIFO is read like any other file. Errors name the file.
func (d *Digester) File(name string) (Sum, error) {
	sum, err := d.file(name)
	if err != nil {
		if name == "-" {
			name = "standard input"
		}
		err = fmt.Errorf("%s: %w", name, output.Cause(err))
	}
	return sum, err
}

func (d *Digester) file(name string) (sum Sum, err error) {
	if name == "-" {
		return d.read(d.stdin)
	}
	f, err := os.Open(name)
	if err != nil {
		return sum, err
	}
	defer f.Close()
	before, err := f.Stat()
	switch {
	case err != nil:
		return sum, err
	case before.IsDir(): // not every system refuses to read one
		return sum, unix.EISDIR
	}
	if sum, err = d.read(f); err != nil {
		return sum, err
	}
	if after, err := f.Stat(); err == nil && after.Size() < before.Size() {
		return sum, errors.New("became shorter while it was read")
	}
	return sum, nil
}

// read does without io.Copy, which would not use the buffer but make one for each file.
func (d *Digester) read(r io.Reader) (sum Sum, err error) {
	r = d.Progress.Reader(r)
	d.hash.Reset()
	for {
		n, err := r.Read(d.buf)
		d.hash.Write(d.buf[:n])
		switch err {
		case nil:
		case io.EOF:
			d.hash.Sum(sum[:0])
			return sum, nil
		default:
			return sum, err
		}
	}
}
