package list

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/ctbox/ctbox/applets/internal/spool"
)

// An Input is a list that can be read more than once: what a pipe brings is kept, in memory while it is
// small and then in an unlinked temporary file.
type Input struct {
	name  string
	null  bool
	at    io.ReaderAt
	size  int64
	still func() error // reports that the file has changed since it was opened; nil for what is spooled
	close func() error
}

// Open opens the list in file; "" and "-" are stdin. With null, records end in NUL.
func Open(file string, stdin io.Reader, null bool) (*Input, error) {
	in := &Input{name: file, null: null, close: func() error { return nil }}
	r := stdin
	if file == "" || file == "-" {
		in.name = "<stdin>"
	} else {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		r, in.close = f, f.Close
	}
	if f, ok := r.(*os.File); ok && in.direct(f) {
		return in, nil
	}
	err := in.keep(r)
	if err != nil {
		in.Close()
		return nil, err
	}
	return in, nil
}

// direct reads a regular file in place, from where its offset stands.
func (in *Input) direct(f *os.File) bool {
	start, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return false
	}
	fi, err := f.Stat()
	if err != nil || !fi.Mode().IsRegular() {
		return false
	}
	in.size = max(fi.Size()-start, 0)
	in.at = io.NewSectionReader(f, start, in.size)
	in.still = func() error {
		now, err := f.Stat()
		if err == nil && (now.Size() != fi.Size() || !now.ModTime().Equal(fi.ModTime())) {
			err = errChanged
		}
		return err
	}
	return in.size > 0 // a file in /proc says 0 whatever it holds
}

func (in *Input) keep(r io.Reader) error {
	kept := new(spool.Spool)
	opened := in.close
	in.close = func() error {
		kept.Close()
		return opened()
	}
	n, err := io.Copy(kept, r)
	in.at, in.size, in.still = kept, n, nil
	return err
}

// Close releases what Open took.
func (in *Input) Close() error { return in.close() }

// Size is that of the list in bytes.
func (in *Input) Size() int64 { return in.size }

// Scan reads the list from its start.
func (in *Input) Scan() *Scanner { return NewScanner(in.name, in.reader(), in.null) }

func (in *Input) reader() io.Reader {
	return &whole{r: io.NewSectionReader(in.at, 0, in.size), still: in.still}
}

// Survey counts the records that are files of their own, neither deleted nor hard links, and digests all: as lines, whatever
// separates them.
func (in *Input) Survey() (digest Digest, files int64, err error) {
	h := sha256.New()
	for scan := in.Scan(); ; {
		rec, err := scan.Next()
		if err == io.EOF {
			return Digest(h.Sum(nil)), files, nil
		}
		if err != nil {
			return digest, 0, err
		}
		if !rec.ID.Deleted && rec.ID.Link == nil {
			files++
		}
		h.Write(rec.Text)
		h.Write([]byte{'\n'})
	}
}

// HasLinks reports whether any record may be a hard link. It is a search for bytes, much cheaper than a scan.
func (in *Input) HasLinks() (bool, error) {
	buf := make([]byte, 256<<10)
	kept := 0
	for r := in.reader(); ; {
		n, err := r.Read(buf[kept:])
		if indexLink(buf[:kept+n]) >= 0 {
			return true, nil
		}
		if err == io.EOF {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("%s: %w", in.name, err)
		}
		tail := min(len(linkField)-1, kept+n)
		kept = copy(buf, buf[kept+n-tail:kept+n])
	}
}

// indexLink is bytes.Index for the field, led by the one byte of it that is rare in lists.
func indexLink(text []byte) int {
	for at := 0; ; at++ {
		i := bytes.IndexByte(text[at:], '=')
		if i < 0 {
			return -1
		}
		at += i
		if bytes.HasSuffix(text[:at+1], []byte(linkField)) {
			return at + 1 - len(linkField)
		}
	}
}

var errChanged = errors.New("changed while it was read")

// whole fails at the end of a file that has changed since it was opened: a list that is still being written lacks
// names, and would make a layer that deletes them.
type whole struct {
	r     io.Reader
	still func() error
}

func (w *whole) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	var path *fs.PathError
	switch {
	case err == io.EOF && w.still != nil:
		if changed := w.still(); changed != nil {
			err = changed
		}
	case errors.As(err, &path):
		err = path.Err // the scanner names the file
	}
	return n, err
}
