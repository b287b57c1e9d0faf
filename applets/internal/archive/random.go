package archive

import (
	"io"

	"golang.org/x/sys/unix"
)

// A RandomReader is the content of a regular file for those who do not read it from its start to its end.
type RandomReader interface {
	io.ReaderAt
	io.Closer
}

// OpenRandom is Open for reading at offsets.
func (d *Dir) OpenRandom(name []byte, st Stat) (RandomReader, error) {
	c, err := d.Open(name, st)
	if err != nil {
		return nil, err
	}
	return c.(*file), nil
}

// ReadAt implements io.ReaderAt.
func (f *file) ReadAt(p []byte, off int64) (int, error) {
	n, err := retry(func() (int, error) { return unix.Pread(f.fd, p, off) })
	if err != nil {
		return 0, err
	}
	if n < len(p) {
		err = io.EOF // of a regular file, all is read that is there
	}
	return n, err
}
