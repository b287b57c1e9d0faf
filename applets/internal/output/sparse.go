package output

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Sparse calls fill with a file that it writes anywhere in, and that is all zeros before; fill returns its size. Where w is a
// regular file at its end, that is the file, and what is not written is a hole. Otherwise it is one in TMPDIR without a name,
// which is then copied to w, zeros and all.
func Sparse(w io.Writer, fill func(f *io.OffsetWriter) (size int64, err error)) error {
	if f, start, ok := growing(w); ok {
		size, err := fill(io.NewOffsetWriter(f, start))
		if err != nil {
			return err
		}
		if err := f.Truncate(start + size); err != nil {
			return err
		}
		_, err = f.Seek(start+size, io.SeekStart)
		return err
	}
	f, err := Unnamed("")
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := fill(io.NewOffsetWriter(f, 0))
	if err != nil {
		return renamed(err, f.Name(), "temporary file")
	}
	if err := f.Truncate(size); err != nil {
		return err
	}
	_, err = io.Copy(w, io.NewSectionReader(f, 0, size))
	return err
}

// growing is Seekable for a file that has nothing from its offset on.
func growing(w io.Writer) (f *os.File, start int64, ok bool) {
	if f, start, ok = Seekable(w); ok {
		fi, err := f.Stat()
		ok = err == nil && start >= fi.Size()
	}
	return f, start, ok
}

// Seekable returns the file behind w and its offset, if w is a regular file that can be written in any order.
func Seekable(w io.Writer) (f *os.File, offset int64, ok bool) {
	f, ok = w.(*os.File)
	if !ok {
		return nil, 0, false
	}
	fi, err := f.Stat()
	if err != nil || !fi.Mode().IsRegular() {
		return nil, 0, false
	}
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
	if err != nil || flags&unix.O_APPEND != 0 {
		return nil, 0, false // each write would go to the end
	}
	offset, err = f.Seek(0, io.SeekCurrent)
	return f, offset, err == nil
}
