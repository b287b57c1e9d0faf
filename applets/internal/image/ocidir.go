package image

import (
	"os"
	"path/filepath"
	"strconv"
)

// IsLayout reports whether dir is an OCI layout directory, which may be replaced by another.
func IsLayout(dir string) bool {
	fi, err := os.Lstat(filepath.Join(dir, layoutFile))
	return err == nil && fi.Mode().IsRegular()
}

// WriteDir writes the image as an OCI layout into dir, an empty directory. Layers are copied, not linked: a
// link would change with a file that is written in place, and the blob would no longer be what it is called.
func WriteDir(dir string, o Options) (d Digests, err error) {
	b, err := newBuild(o)
	if err != nil {
		return d, err
	}
	done, err := b.recompress(false)
	if err != nil {
		return d, err
	}
	defer done()
	blobs := filepath.Join(dir, blobDir)
	// Not MkdirAll, which would make dir again after a signal took it away.
	if err = os.Mkdir(filepath.Dir(blobs), 0o777); err == nil {
		err = os.Mkdir(blobs, 0o777)
	}
	if err != nil {
		return d, err
	}
	var copies []func() error
	for i, l := range b.layers {
		tmp := filepath.Join(blobs, strconv.Itoa(i))
		copies = append(copies, func() error { return l.copyTo(tmp, b.Verify) })
	}
	if err = parallel(copies); err != nil {
		return d, err
	}
	for _, p := range b.hybrid() {
		if p.layer != nil || p.name == savedFile {
			continue
		}
		if err = os.WriteFile(filepath.Join(dir, p.name), p.data, 0o666); err != nil {
			return d, err
		}
	}
	return b.documents().Digests, nil
}

// copyTo copies the blob to a file of that name, whose name then becomes its digest.
func (l *layer) copyTo(tmp string, verify bool) error {
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	if err := l.copy(f, verify); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(filepath.Dir(tmp), hex(l.digest)))
}
