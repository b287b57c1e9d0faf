package archive

import (
	"bufio"
	"io"
	"os"
)

// An offsetReader is buffered, knows how many bytes were taken from it, and passes over content of a regular
// file without reading it.
type offsetReader struct {
	br   *bufio.Reader
	src  io.Reader
	raw  int64     // bytes that br has read or passed over
	file io.Seeker // src, if it is a regular file
	size int64     // of file, from where reading began
}

func newOffsetReader(r io.Reader) *offsetReader {
	o := &offsetReader{src: r}
	o.br = bufio.NewReaderSize(rawReader{o}, 64<<10)
	if f, ok := r.(*os.File); ok {
		info, err := f.Stat()
		begin, seekErr := f.Seek(0, io.SeekCurrent)
		if err == nil && seekErr == nil && info.Mode().IsRegular() {
			o.file, o.size = f, info.Size()-begin
		}
	}
	return o
}

// rawReader is what br reads.
type rawReader struct{ o *offsetReader }

func (r rawReader) Read(p []byte) (int, error) {
	n, err := r.o.src.Read(p)
	r.o.raw += int64(n)
	return n, err
}

func (o *offsetReader) Read(p []byte) (int, error) { return o.br.Read(p) }

// offset is how many bytes were taken.
func (o *offsetReader) offset() int64 { return o.raw - int64(o.br.Buffered()) }

// skip passes over n bytes. If there are fewer, it returns io.EOF.
func (o *offsetReader) skip(n int64) error {
	buffered := int64(o.br.Buffered())
	if n <= buffered || o.file == nil {
		_, err := io.CopyN(io.Discard, o.br, n)
		return err
	}
	o.br.Discard(int(buffered))
	n -= buffered
	if o.raw+n > o.size { // seeking beyond the end is no error
		return io.EOF
	}
	_, err := o.file.Seek(n, io.SeekCurrent)
	o.raw += n
	return err
}

// skipZeros passes over zeros and returns the byte after them, which is not taken.
func (o *offsetReader) skipZeros() (byte, error) {
	for {
		if _, err := o.br.Peek(1); err != nil {
			return 0, err
		}
		ahead, _ := o.br.Peek(o.br.Buffered())
		for i, b := range ahead {
			if b != 0 {
				o.br.Discard(i)
				return b, nil
			}
		}
		o.br.Discard(len(ahead))
	}
}
