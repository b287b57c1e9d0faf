package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path"
	"strings"

	"github.com/ctbox/ctbox/applets/internal/compress"
	"github.com/ctbox/ctbox/applets/internal/output"
	"github.com/ctbox/ctbox/applets/internal/tarball"
)

// maxEntries bounds an archive's entries: an image has two or three for each layer.
const maxEntries = 100_000

// maxLinks bounds how many links lead to a layer's file.
const maxLinks = 8

// An Archive is one image in an archive: mkimage's, or what "docker save" or another tool wrote.
type Archive struct {
	Config       string   // digest of the config: the image's ID in engines with a graph driver, and podman
	Manifest     string   // digest of the manifest: its ID in containerd's store; "" if there is none
	Index        string   // digest of the index of platforms that is its ID there instead; usually ""
	DiffIDs      []string // digests of the plain layers, base first
	RepoTags     []string // names, as the archive has them
	Entrypoint   []string
	Cmd          []string
	OS           string
	Architecture string

	r      io.ReaderAt
	files  []file
	byName map[string]int // index in files; the last of a name counts
	layers []int          // the file of each layer
	end    int64          // where the end of the tar begins
	close  func() error
}

// A file is an entry of an archive and where it lies, in bytes.
type file struct {
	start, data, end int64 // header, content, next entry
	size             int64
	link             string // canonical name of what a link leads to
	path             string // in a directory
	regular          bool
}

// Open reads what an archive says of its image; layers are not read. r must stay usable as long as the
// Archive is used. Docker's first format is refused as an "old image format".
func Open(r io.ReaderAt) (*Archive, error) { return open(r, (*Archive).describe) }

func open(r io.ReaderAt, describe func(*Archive) error) (*Archive, error) {
	a := &Archive{r: r, byName: map[string]int{}, close: func() error { return nil }}
	if err := a.scan(); err != nil {
		return nil, err
	}
	if err := describe(a); err != nil {
		return nil, err
	}
	return a, nil
}

// OpenFrom is Open for any input: one that is compressed, or cannot be read twice, is first copied, plain,
// to a temporary file without a name. Close frees it.
func OpenFrom(r io.Reader) (*Archive, error) { return openFrom(r, (*Archive).describe) }

func openFrom(r io.Reader, describe func(*Archive) error) (*Archive, error) {
	if f, ok := r.(*os.File); ok {
		if fi, err := f.Stat(); err == nil && fi.Mode().IsRegular() {
			_, method, err := compress.NewReader(io.NewSectionReader(f, 0, math.MaxInt64))
			if err == nil && method == "none" {
				return open(f, describe)
			}
		}
	}
	z, _, err := compress.NewReader(r)
	if err != nil {
		return nil, err
	}
	defer z.Close()
	spool, err := output.Unnamed("")
	if err != nil {
		return nil, err
	}
	if _, err = io.Copy(spool, z); err == nil {
		var a *Archive
		if a, err = open(spool, describe); err == nil {
			a.close = spool.Close
			return a, nil
		}
	}
	spool.Close()
	return nil, err
}

// Close frees what OpenFrom made; the input stays open.
func (a *Archive) Close() error { return a.close() }

// WriteWithout writes the archive without the blobs of the first have layers, for an engine that has them
// already; 0 writes all of it. Nothing else changes, so the image keeps its digests.
func (a *Archive) WriteWithout(w io.Writer, have int) error {
	omit := map[int]bool{}
	have = min(max(have, 0), len(a.layers))
	for _, i := range a.layers[:have] {
		omit[i] = true
	}
	for _, i := range a.layers[have:] {
		delete(omit, i)
	}
	var from int64
	for i, f := range a.files {
		if !omit[i] {
			continue
		}
		if err := a.copy(w, from, f.start); err != nil {
			return err
		}
		from = f.end
	}
	if err := a.copy(w, from, a.end); err != nil {
		return err
	}
	_, err := w.Write(make([]byte, endOfTar))
	return err
}

func (a *Archive) copy(w io.Writer, from, to int64) error {
	n, err := io.Copy(w, io.NewSectionReader(a.r, from, to-from))
	if err == nil && n < to-from {
		err = errors.New("changed while it was read")
	}
	return err
}

// scan finds the entries.
func (a *Archive) scan() error {
	for t := tarball.NewReader(io.NewSectionReader(a.r, 0, math.MaxInt64)); ; {
		h, err := t.Next()
		switch {
		case err == io.EOF && len(a.files) > 0:
			return nil
		case err == io.EOF, err == tarball.ErrEmpty:
			return errors.New("is empty, not an image archive")
		case err != nil:
			return err
		case len(a.files) == maxEntries:
			return fmt.Errorf("more than %d entries, not an image archive", maxEntries)
		}
		if err := a.add(h); err != nil {
			return err
		}
	}
}

// add notes an entry.
func (a *Archive) add(h *tarball.Header) error {
	f := file{start: h.Start, data: h.Offset, size: h.Stored, end: h.Offset + h.Stored + padding(h.Stored), regular: h.Kind == tarball.Regular}
	name := canonical(string(h.Name))
	switch h.Kind {
	case tarball.Regular:
		if h.Sparse {
			return fmt.Errorf("%q is a sparse file", h.Name)
		}
	case tarball.Symlink:
		f.link = path.Join(path.Dir(name), string(h.Target))
	case tarball.Link:
		f.link = canonical(string(h.Target))
	case tarball.Directory:
	default:
		return fmt.Errorf("%q has no place in an image archive", h.Name)
	}
	a.end = f.end
	a.byName[name] = len(a.files)
	a.files = append(a.files, f)
	return nil
}

// find follows links to a regular file.
func (a *Archive) find(name string) (int, error) {
	at := canonical(name)
	for range maxLinks {
		i, ok := a.byName[at]
		switch {
		case !ok:
			return 0, fmt.Errorf("%q is not in the archive", name)
		case a.files[i].regular:
			return i, nil
		case a.files[i].link == "":
			return 0, fmt.Errorf("%q is not a file", name)
		}
		at = a.files[i].link
	}
	return 0, fmt.Errorf("%q: too many links", name)
}

// text is the content of a small file.
func (a *Archive) text(name string) ([]byte, error) {
	i, err := a.find(name)
	if err != nil {
		return nil, err
	}
	f := a.files[i]
	if f.size > maxJSON {
		return nil, fmt.Errorf("%q is larger than %d bytes", name, maxJSON)
	}
	r, err := a.content(i)
	if err != nil {
		return nil, err
	}
	b := make([]byte, f.size)
	if _, err := r.ReadAt(b, 0); err != nil {
		return nil, fmt.Errorf("%q: %w", name, err)
	}
	return b, nil
}

// blob is the content of a small blob, which must have its digest.
func (a *Archive) blob(digest string) ([]byte, error) {
	name := hex(digest)
	if name == digest || len(name) != 64 || !isHex(name) {
		return nil, fmt.Errorf("%q is not a sha256 digest", digest)
	}
	b, err := a.text(blobDir + name)
	if err == nil && digestOf(b) != digest {
		err = fmt.Errorf("%q does not have the digest that is its name", blobDir+name)
	}
	return b, err
}

// decode reads a JSON file of the archive.
func (a *Archive) decode(name string, b []byte, v any) error {
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	return nil
}

func (a *Archive) has(name string) bool { _, ok := a.byName[name]; return ok }

// describe fills in the exported fields.
func (a *Archive) describe() error {
	var s *saved
	var err error
	switch {
	case a.has(savedFile):
		s, err = a.fromSaved()
	case a.has(indexFile):
		s, err = a.fromIndex()
	case a.isOld():
		return errors.New("old image format, which Docker 29 and other engines refuse: make the image anew")
	default:
		return errors.New("is not an image archive: it has neither manifest.json nor index.json")
	}
	if err != nil {
		return err
	}
	a.RepoTags = s.RepoTags
	return a.resolve(s)
}

// isOld recognises Docker's first format: a directory with VERSION for each layer.
func (a *Archive) isOld() bool {
	for name := range a.byName {
		if strings.HasSuffix(name, "/VERSION") || name == "repositories" {
			return true
		}
	}
	return false
}

func (a *Archive) fromSaved() (*saved, error) {
	b, err := a.text(savedFile)
	if err != nil {
		return nil, err
	}
	var all []saved
	if err := a.decode(savedFile, b, &all); err != nil {
		return nil, err
	}
	if len(all) != 1 {
		return nil, fmt.Errorf("holds %d images, not one", len(all))
	}
	if !a.has(indexFile) {
		return &all[0], nil
	}
	// Some writers save another set of images here; then no manifest is known for this one.
	if other, err := a.fromIndex(); err == nil && path.Base(other.Config) != strings.TrimSuffix(path.Base(all[0].Config), ".json") {
		a.Manifest = ""
	}
	return &all[0], nil
}

// fromIndex is fromSaved for an archive that is only an OCI layout. It also sets Manifest.
func (a *Archive) fromIndex() (*saved, error) {
	b, err := a.text(indexFile)
	if err != nil {
		return nil, err
	}
	var x index
	if err := a.decode(indexFile, b, &x); err != nil {
		return nil, err
	}
	s := &saved{}
	digests := map[string]bool{}
	for _, d := range x.Manifests {
		digests[d.Digest] = true
		if name := d.Annotations[nameAnnotation]; name != "" {
			s.RepoTags = append(s.RepoTags, name)
		}
	}
	if len(digests) != 1 {
		return nil, fmt.Errorf("holds %d images, not one", len(digests))
	}
	return s, a.fromManifest(x.Manifests[0].Digest, s)
}

func (a *Archive) fromManifest(digest string, s *saved) error {
	b, err := a.blob(digest)
	if err != nil {
		return err
	}
	var m manifest
	if err := a.decode(blobDir+hex(digest), b, &m); err != nil {
		return err
	}
	if m.Config.Digest == "" {
		a.Index = digest
		return errors.New("holds an index of several platforms, not one image")
	}
	s.Config = blobDir + hex(m.Config.Digest)
	for _, l := range m.Layers {
		s.Layers = append(s.Layers, blobDir+hex(l.Digest))
	}
	a.Manifest = digest
	return nil
}

// config is what of an image config is of use here.
type config struct {
	OS           string `json:"os"`
	Architecture string `json:"architecture"`
	Config       struct{ Entrypoint, Cmd []string }
	RootFS       struct {
		DiffIDs []string `json:"diff_ids"`
	}
}

// resolve finds the config and the layers that s names.
func (a *Archive) resolve(s *saved) error {
	b, err := a.text(s.Config)
	if err != nil {
		return err
	}
	var c config
	if err := a.decode(s.Config, b, &c); err != nil {
		return err
	}
	a.Config = digestOf(b)
	if name, ok := strings.CutPrefix(s.Config, blobDir); ok && name != hex(a.Config) {
		return fmt.Errorf("%q does not have the digest that is its name", s.Config)
	}
	a.DiffIDs, a.Entrypoint, a.Cmd = c.RootFS.DiffIDs, c.Config.Entrypoint, c.Config.Cmd
	a.OS, a.Architecture = c.OS, c.Architecture
	if len(s.Layers) != len(a.DiffIDs) {
		return fmt.Errorf("has %d layers, but its config has %d", len(s.Layers), len(a.DiffIDs))
	}
	for _, name := range s.Layers {
		i, err := a.find(name)
		if err != nil {
			return err
		}
		a.layers = append(a.layers, i)
	}
	return nil
}
