package image

import (
	"bufio"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/compress"
)

// madeAnnotation of an index says which layers mkimage has compressed, and how: compress.GzipVersion, then for each layer a
// space and "HEX:N", its digest and how many gzip members it is. Layers that came compressed are not there. Whatever other
// programs do to an image, a layer that is listed and has its digest is what this version would make of its content.
const madeAnnotation = "com.github.ctbox.gzip"

// A Reuse is an image whose layers are taken for what is the same in new ones.
type Reuse struct {
	Path   string // of an archive or an OCI layout; there need not be one, nor a name
	Err    error  // what is wrong with it, afterwards
	Copied int    // gzip members that were copied from it
	Of     int    // gzip members of all layers that were compressed

	known   compress.Reuse
	archive *Archive // nil for a directory
	files   []*os.File
}

// made lists the layers that were compressed here, for the index.
func (b *build) made() map[string]string {
	var list strings.Builder
	for _, l := range b.layers {
		if l.members > 0 {
			list.WriteString(" " + hex(l.digest) + ":" + strconv.Itoa(l.members))
		}
	}
	if list.String() == "" {
		return nil
	}
	return map[string]string{madeAnnotation: compress.GzipVersion + list.String()}
}

// open looks for what may be copied. An image that is damaged only costs time.
func (u *Reuse) open() {
	fi, err := os.Stat(u.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil && !fi.IsDir() {
		u.archive = &Archive{byName: map[string]int{}}
		if u.archive.r, err = u.file(u.Path); err == nil {
			err = u.archive.scan()
		}
	}
	if err == nil {
		err = u.add()
	}
	u.Err = err
}

// end closes what open has opened.
func (u *Reuse) end() {
	for _, f := range u.files {
		f.Close()
	}
}

// blob opens a file of the layout.
func (u *Reuse) blob(name string) (*io.SectionReader, error) {
	if u.archive == nil {
		return u.file(filepath.Join(u.Path, name))
	}
	i, err := u.archive.find(name)
	if err != nil {
		return nil, err
	}
	f := u.archive.files[i]
	return io.NewSectionReader(u.archive.r, f.data, f.size), nil
}

// file opens a regular file, without waiting for the writer of a FIFO.
func (u *Reuse) file(path string) (*io.SectionReader, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	u.files = append(u.files, f)
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = errors.New("is not a regular file")
	}
	if err != nil {
		return nil, err
	}
	return io.NewSectionReader(f, 0, fi.Size()), nil
}

// add takes note of the layers that mkimage has compressed, and of the others when one is damaged.
func (u *Reuse) add() error {
	layers, err := u.listed()
	for layer := range strings.FieldsSeq(layers) {
		if e := u.layer(strings.Cut(layer, ":")); e != nil && err == nil {
			err = fmt.Errorf("%q: %w", layer, e)
		}
	}
	return err
}

// layer takes note of the members of a layer. They all begin alike: so if the places where one may begin are as many as the members
// are, these are all of them. Else some are content, such as a compressed file that did not become smaller.
func (u *Reuse) layer(name, members string, _ bool) error {
	if len(name) != 64 || !isHex(name) {
		return errors.New("is not a digest")
	}
	r, err := u.blob(blobDir + name)
	if err != nil {
		return err
	}
	starts, sum, err := headers(r)
	if err == nil && hex(sum) != name {
		err = errors.New("does not have its digest")
	}
	if err != nil || strconv.Itoa(len(starts)) != members {
		return err
	}
	end := r.Size()
	for i := len(starts) - 1; i >= 0; i-- {
		if err := u.known.Add(io.NewSectionReader(r, starts[i], end-starts[i])); err != nil {
			return err
		}
		end = starts[i]
	}
	return nil
}

// headers finds where members may begin in r, and digests it on the way.
func headers(r io.Reader) (starts []int64, sum string, err error) {
	hash := sha256.New()
	br := bufio.NewReaderSize(io.TeeReader(r, hash), readSize)
	for at := int64(0); err == nil || err == bufio.ErrBufferFull; {
		var skipped []byte
		skipped, err = br.ReadSlice(compress.GzipHeader[0])
		at += int64(len(skipped))
		if next, _ := br.Peek(len(compress.GzipHeader) - 1); err == nil && string(next) == compress.GzipHeader[1:] {
			starts = append(starts, at-1)
		}
	}
	if err == io.EOF {
		err = nil
	}
	return starts, digest(hash), err
}

// listed is what the index says of layers that this version has compressed.
func (u *Reuse) listed() (string, error) {
	r, err := u.blob(indexFile)
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(io.LimitReader(r, maxJSON))
	if err != nil {
		return "", err
	}
	var x index
	if err := json.Unmarshal(text, &x); err != nil {
		return "", fmt.Errorf("%q: %w", indexFile, err)
	}
	version, layers, _ := strings.Cut(x.Annotations[madeAnnotation], " ")
	if version != compress.GzipVersion {
		return "", nil
	}
	return layers, nil
}

// count adds what z has written, and is how many gzip members that are.
func (u *Reuse) count(z *compress.Writer) int {
	written, copied := z.Members()
	u.Copied += copied
	u.Of += written
	return written
}
