package image

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/ctbox/ctbox/applets/internal/tarball"
)

// OpenLayers opens the image in path, whose layers are wanted: an archive of any format that Write makes or engines save,
// Docker's first one, too, or the directory of an OCI layout. "-" is an archive from in.
func OpenLayers(path string, in io.Reader) (*Archive, error) {
	if path == "-" {
		return openFrom(in, (*Archive).describeLayers)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if fi, err := f.Stat(); err == nil && fi.IsDir() {
		f.Close()
		return openDir(path)
	}
	a, err := openFrom(f, (*Archive).describeLayers)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	free := a.close
	a.close = func() error { return errors.Join(free(), f.Close()) }
	return a, nil
}

// Layers are what a tarball.Stack is made of; they can be used until Close.
func (a *Archive) Layers() (all []tarball.Layer, err error) {
	for i, at := range a.layers {
		l := tarball.Layer{Name: fmt.Sprintf("layer %d of %d", i+1, len(a.layers))}
		if len(a.DiffIDs) > 0 {
			l.DiffID = a.DiffIDs[i]
		}
		if l.Reader, err = a.content(at); err != nil {
			return nil, err
		}
		all = append(all, l)
	}
	return all, nil
}

// content is that of a file.
func (a *Archive) content(i int) (*io.SectionReader, error) {
	f := &a.files[i]
	if f.path == "" {
		return io.NewSectionReader(a.r, f.data, f.size), nil
	}
	r, err := os.Open(f.path)
	if err != nil {
		return nil, err
	}
	free := a.close
	a.close = func() error { return errors.Join(free(), r.Close()) }
	return io.NewSectionReader(r, 0, f.size), nil
}

// openDir opens an OCI layout.
func openDir(dir string) (*Archive, error) {
	a := &Archive{byName: map[string]int{}, close: func() error { return nil }}
	if !IsLayout(dir) {
		return nil, fmt.Errorf("%s: is a directory, but no OCI layout", dir)
	}
	blobs, err := os.ReadDir(filepath.Join(dir, blobDir))
	if err != nil {
		return nil, err
	}
	names := []string{indexFile}
	for _, b := range blobs {
		names = append(names, blobDir+b.Name())
	}
	for _, name := range names {
		fi, err := os.Lstat(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		a.byName[name] = len(a.files)
		a.files = append(a.files, file{path: filepath.Join(dir, name), size: fi.Size(), regular: fi.Mode().IsRegular()})
	}
	if err := a.describe(); err != nil {
		a.close()
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return a, nil
}

// describeLayers is describe, but takes Docker's first format, too.
func (a *Archive) describeLayers() error {
	if a.has(savedFile) || a.has(indexFile) || !a.isOld() {
		return a.describe()
	}
	parents, top := map[string]string{}, ""
	below := map[string]bool{}
	for name := range a.byName {
		id, base := path.Split(name)
		if base != "json" {
			continue
		}
		var l struct{ Parent string }
		b, err := a.text(name)
		if err == nil {
			err = a.decode(name, b, &l)
		}
		if err != nil {
			return err
		}
		parents[path.Clean(id)] = l.Parent
		below[l.Parent] = true
	}
	for id := range parents {
		if !below[id] && top != "" {
			return errors.New("holds several images, not one")
		}
		if !below[id] {
			top = id
		}
	}
	for id := top; id != ""; id = parents[id] {
		i, err := a.find(id + "/layer.tar")
		if err != nil {
			return err
		}
		a.layers = append(a.layers, i)
		if len(a.layers) > len(parents) {
			return errors.New("its layers go round in a circle")
		}
	}
	if len(a.layers) == 0 {
		return errors.New("holds no layers")
	}
	slices.Reverse(a.layers)
	return nil
}
