package image

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/compress"
	"github.com/ctbox/ctbox/applets/internal/progress"
)

// A layer is one layer of the image to be. Its digests are "" until it was read.
type layer struct {
	name    string            // as in the list
	path    string            // NAME.layer
	file    *os.File          // if not nil, what is in the place of path, which is for messages then
	info    fs.FileInfo       // of the file when it was first seen
	size    int64             // of the blob, in bytes
	digest  string            // "sha256:" and hex digits, of the blob
	diffID  string            // likewise, of the plain tar
	method  string            // how the file is compressed
	members int               // gzip members that were made from it
	spool   *io.SectionReader // blob made from it, if that must be compressed in another way

	progress *progress.Line
}

// newLayer looks at NAME.layer without reading it.
func newLayer(name string) (*layer, error) {
	l := &layer{name: name, path: name + ".layer"}
	f, err := l.open()
	if errors.Is(err, fs.ErrNotExist) && strings.HasSuffix(name, ".layer") {
		return nil, fmt.Errorf("%w: layers are named without .layer", err)
	}
	if err != nil {
		return nil, err
	}
	return l, f.Close()
}

// newRootfs is a layer of a plain tar in an open file.
func newRootfs(name string, f *os.File) (*layer, error) {
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return &layer{name: "--rootfs", path: name, file: f, info: fi, size: fi.Size()}, nil
}

// open opens the layer's file, which must be the one that was first seen. It does not wait for the
// writer of a FIFO.
func (l *layer) open() (*os.File, error) {
	f, err := os.OpenFile(l.path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	switch {
	case err != nil:
	case fi.IsDir():
		err = fmt.Errorf("%s: is a directory", l.path)
	case !fi.Mode().IsRegular():
		err = fmt.Errorf("%s: is not a regular file", l.path)
	case l.info == nil:
		l.info, l.size = fi, fi.Size()
	default:
		err = l.unchanged(fi)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (l *layer) unchanged(fi fs.FileInfo) error {
	if !os.SameFile(fi, l.info) || fi.Size() != l.info.Size() || !fi.ModTime().Equal(l.info.ModTime()) {
		return fmt.Errorf("%s: changed while it was read", l.path)
	}
	return nil
}

// sniff finds how the layer's file is compressed.
func (l *layer) sniff() error {
	return l.read(func(f *os.File) error {
		r, method, err := compress.NewReader(io.NewSectionReader(f, 0, l.size))
		if err != nil {
			return l.errorf(err)
		}
		l.method = method
		return r.Close()
	})
}

// errorf names the layer in an error that names no file. One that does is of the layer's own file, or of
// the one that is written meanwhile.
func (l *layer) errorf(err error) error {
	var named *fs.PathError
	if errors.As(err, &named) {
		return err
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("truncated")
	}
	return fmt.Errorf("%s: %w", l.path, err)
}

// copy writes the layer's blob to w, checks its tar if verify is set, and takes its digests or, when they
// are known, compares them: a file that changes while it is read is an error, never part of an image.
func (l *layer) copy(w io.Writer, verify bool) error {
	if l.spool != nil {
		return l.copySpool(w)
	}
	return l.read(func(f *os.File) error {
		all := l.all(f)
		src := newCopier(w, all)
		defer src.stop()
		plain, tar := src.hash, io.Reader(src)
		if l.method != "none" {
			z, _, err := compress.NewReader(src)
			if err != nil {
				return l.errorf(err)
			}
			defer z.Close()
			plain = sha256.New()
			tar = io.TeeReader(z, plain)
		}
		if err := l.readTar(tar, f, verify); err != nil {
			return err
		}
		if err := drain(src); err != nil {
			return err
		}
		if all.N > 0 {
			return l.errorf(io.ErrUnexpectedEOF)
		}
		return l.found(digest(src.hash), digest(plain))
	})
}

// all reads as many bytes of the layer's file as there were when it was first seen.
func (l *layer) all(f *os.File) *io.LimitedReader {
	return &io.LimitedReader{R: l.progress.Reader(io.NewSectionReader(f, 0, l.size)), N: l.size}
}

// convert writes the layer's blob to spool at offset at, compressed as b says.
func (l *layer) convert(spool *os.File, at int64, b *build) error {
	return l.read(func(f *os.File) error {
		all := l.all(f)
		r, _, err := compress.NewReader(all)
		if err != nil {
			return l.errorf(err)
		}
		defer r.Close()
		blob, plain, out := sha256.New(), sha256.New(), io.NewOffsetWriter(spool, at)
		z, err := compress.NewWriter(io.MultiWriter(out, blob), b.Compress, 0)
		if err != nil {
			return err
		}
		z.Reuse(&b.Reuse.known)
		err = l.readTar(io.TeeReader(r, io.MultiWriter(z, plain)), f, b.Verify)
		if err == nil && l.method == "none" && all.N > 0 {
			err = l.errorf(io.ErrUnexpectedEOF)
		}
		if e := z.Close(); err == nil && e != nil {
			err = fmt.Errorf("temporary file: %w", e)
		}
		if err != nil {
			return err
		}
		l.members = b.Reuse.count(z)
		l.digest, l.diffID = digest(blob), digest(plain)
		l.size, err = out.Seek(0, io.SeekCurrent)
		l.spool = io.NewSectionReader(spool, at, l.size)
		return err
	})
}

// read opens the layer's file for use, and prefers "changed" to whatever error follows from a change. If its inode changes
// meanwhile, its content can have, too, and its time of modification been set back.
func (l *layer) read(use func(*os.File) error) (err error) {
	f := l.file
	if f == nil {
		if f, err = l.open(); err != nil {
			return err
		}
		defer f.Close()
	}
	before := changed(f)
	err = use(f)
	fi, e := f.Stat()
	if e == nil {
		e = l.unchanged(fi)
	}
	if e == nil && err == nil && changed(f) != before {
		e = l.again(f)
	}
	if e != nil {
		return e
	}
	return err
}

// changed is the time of the last change of a file's inode.
func changed(f *os.File) unix.Timespec {
	var st unix.Stat_t
	unix.Fstat(int(f.Fd()), &st) // if that fails, asking for the time of modification does
	return st.Ctim
}

// again reports an error if a second look at the layer's file does not find what is known of it.
func (l *layer) again(f *os.File) error {
	r, _, err := compress.NewReader(io.NewSectionReader(f, 0, l.info.Size()))
	if err != nil {
		return l.errorf(err)
	}
	defer r.Close()
	plain := sha256.New()
	if err := drain(io.TeeReader(r, plain)); err != nil {
		return l.errorf(err)
	}
	return l.found(l.digest, digest(plain))
}

// readTar reads a layer's plain tar to the end; f is its file.
func (l *layer) readTar(tar io.Reader, f *os.File, verify bool) error {
	var err error
	if verify {
		err = lint(tar, func() (io.Reader, error) {
			file := io.NewSectionReader(f, 0, l.info.Size())
			if l.method == "none" {
				return file, nil
			}
			r, _, err := compress.NewReader(file)
			return r, err
		})
	}
	if err == nil {
		err = drain(tar)
	}
	if err != nil {
		return l.errorf(err)
	}
	return nil
}

// drain reads r to its end in pieces larger than io.Discard's own.
func drain(r io.Reader) error {
	_, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, r, make([]byte, readSize))
	return err
}

func (l *layer) copySpool(w io.Writer) error {
	src := newCopier(w, l.progress.Reader(io.NewSectionReader(l.spool, 0, l.size)))
	defer src.stop()
	if err := drain(src); err != nil {
		return l.errorf(err)
	}
	return l.found(digest(src.hash), l.diffID)
}

func (l *layer) found(blob, plain string) error {
	if l.digest != "" && (l.digest != blob || l.diffID != plain) {
		return fmt.Errorf("%s: changed while it was read", l.path)
	}
	l.digest, l.diffID = blob, plain
	return nil
}

func digest(h hash.Hash) string { return fmt.Sprintf("sha256:%x", h.Sum(nil)) }

func digestOf(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }

// hex is a digest without its algorithm, as blobs are named.
func hex(digest string) string { return strings.TrimPrefix(digest, "sha256:") }

// listID reads NAME.list.sha256: exactly 64 hex digits on one line. It becomes the name of a directory, so
// nothing else will do.
func listID(name string) (string, error) {
	path := name + ".list.sha256"
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 128))
	if err != nil {
		return "", err
	}
	id := strings.TrimSuffix(string(b), "\n")
	if len(id) != 64 || !isHex(id) {
		return "", fmt.Errorf("%s: %w", path, errors.New("is not one line of 64 hex digits"))
	}
	return id, nil
}
