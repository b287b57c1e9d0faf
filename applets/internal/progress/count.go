package progress

import (
	"io"
	"os"
)

// File counts one more file.
func (l *Line) File() {
	if l != nil {
		l.files.Add(1)
	}
}

// Bytes counts n more bytes.
func (l *Line) Bytes(n int) {
	if l != nil {
		l.bytes.Add(int64(n))
	}
}

// Total says that n more bytes than known before are to be counted; less, if n is negative.
func (l *Line) Total(n int64) {
	if l != nil {
		l.total.Add(n)
	}
}

// Inputs makes the sizes of files the total, if all are regular files; "" and "-" are stdin.
func (l *Line) Inputs(stdin io.Reader, files ...string) {
	if l == nil {
		return
	}
	var total int64
	for _, name := range files {
		bytes, known := inputSize(stdin, name)
		if !known {
			return
		}
		total += bytes
	}
	l.Total(total)
}

// inputSize is how many bytes are to be read of a file.
func inputSize(stdin io.Reader, name string) (bytes int64, known bool) {
	if name != "" && name != "-" {
		fi, err := os.Stat(name)
		return sizeOf(fi, err, 0)
	}
	f, ok := stdin.(*os.File)
	if !ok {
		return 0, false
	}
	at, _ := f.Seek(0, io.SeekCurrent)
	fi, err := f.Stat()
	return sizeOf(fi, err, at)
}

func sizeOf(fi os.FileInfo, err error, at int64) (bytes int64, known bool) {
	if err != nil || !fi.Mode().IsRegular() {
		return 0, false
	}
	return max(fi.Size()-at, 0), true
}

// List says that the work goes through a list of so many bytes, and Listed that n more of them are done.
func (l *Line) List(bytes int64) {
	if l != nil {
		l.list.Store(bytes)
	}
}

// Listed counts n more bytes of the list.
func (l *Line) Listed(n int) {
	if l != nil {
		l.listed.Add(int64(n))
	}
}

// Reader counts the bytes that are read of r.
func (l *Line) Reader(r io.Reader) io.Reader {
	if l == nil {
		return r
	}
	return &reader{l, r}
}

type reader struct {
	line *Line
	r    io.Reader
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.line.bytes.Add(int64(n))
	return n, err
}

// Writer counts the bytes that are written to w.
func (l *Line) Writer(w io.Writer) io.Writer {
	if l == nil {
		return w
	}
	return &writer{l, w}
}

type writer struct {
	line *Line
	w    io.Writer
}

func (w *writer) Write(p []byte) (int, error) {
	n, err := w.w.Write(p)
	w.line.bytes.Add(int64(n))
	return n, err
}
