// Package image makes and reads container images: the hybrid archive (an OCI layout that is also what
// "docker save" writes), the OCI layout directory, and Docker's first format.
// Invariant: every digest written is that of the bytes written beside it, and the same layers and settings
// give the same bytes whatever kind of file the output is.
package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/ctbox/ctbox/applets/internal/progress"
)

// Formats of an image.
const (
	Hybrid = "hybrid"
	OCIDir = "oci-dir"
	V1     = "v1"
	ACI    = "aci"
)

// Options say what an image is made of.
type Options struct {
	Settings
	Rootfs      *os.File    // a plain tar that is the lowest layer; nil for none
	RootfsName  string      // for messages
	Layers      []string    // names of those above, base first; NAME is the file NAME.layer
	Template    *Template   // nil for none; Write changes it
	Tags        []Reference // names of the image
	Annotations []string    // KEY=VALUE, of the manifest
	Created     time.Time   // of the image
	Epoch       time.Time   // of the archive's entries, in whole seconds
	Compress    string      // of every layer: "none", "gzip" or "zstd"
	Docker      bool        // media types of Docker instead of OCI
	Verify      bool        // look for what is wrong in the layers' tars
	TempDir     string      // where layers are recompressed; "" is the system's
	Format      string      // Hybrid, OCIDir, V1 or ACI
	Reuse       *Reuse      // for Compress "gzip"; nil for none

	Progress *progress.Line // counts what is read of the layers, each time that it is
}

// Digests are the names engines give an image: which of the two depends on their store. They are "" for V1 and ACI.
type Digests struct {
	Config   string // "sha256:" and hex digits
	Manifest string
}

// zeroDigest stands for a digest not yet known: all have the same length, so that sizes are right.
const zeroDigest = "sha256:0000000000000000000000000000000000000000000000000000000000000000"

func (l *layer) digestOrBlank() string { return orBlank(l.digest) }
func (l *layer) diffIDOrBlank() string { return orBlank(l.diffID) }

func orBlank(digest string) string {
	if digest == "" {
		return zeroDigest
	}
	return digest
}

// A build is an image on its way out.
type build struct {
	Options
	layers   []*layer
	template *Template
	ids      []string // of the layers in V1
}

// newBuild looks at all inputs, so that what is missing is told before anything is written.
func newBuild(o Options) (*build, error) {
	b := &build{Options: o, template: o.Template}
	if len(o.Layers) == 0 && o.Rootfs == nil {
		return nil, errors.New("no layers")
	}
	if b.template == nil {
		b.template = blank()
	}
	if err := b.template.apply(&o.Settings); err != nil {
		return nil, err
	}
	if o.Format != V1 {
		b.template.dropNulls()
	}
	if o.Rootfs != nil {
		l, err := newRootfs(o.RootfsName, o.Rootfs)
		if err != nil {
			return nil, err
		}
		b.layers = append(b.layers, l)
	}
	for _, name := range o.Layers {
		l, err := newLayer(name)
		if err != nil {
			return nil, err
		}
		b.layers = append(b.layers, l)
	}
	for _, l := range b.layers {
		l.progress = o.Progress
	}
	return b, nil
}

// blank is the template of an image that has none: the fields that every config has, in the usual order.
func blank() *Template {
	root := object()
	for _, name := range []string{"created", "architecture", "os"} {
		root.set(name, text(""))
	}
	return &Template{root}
}

// mediaTypes of the documents and the layers.
type mediaTypes struct{ manifest, config, layer string }

func (b *build) mediaTypes() mediaTypes {
	if b.Docker {
		layer := "application/vnd.docker.image.rootfs.diff.tar"
		if b.Compress == "gzip" {
			layer += ".gzip"
		}
		return mediaTypes{"application/vnd.docker.distribution.manifest.v2+json",
			"application/vnd.docker.container.image.v1+json", layer}
	}
	layer := "application/vnd.oci.image.layer.v1.tar"
	if b.Compress != "none" {
		layer += "+" + b.Compress
	}
	return mediaTypes{"application/vnd.oci.image.manifest.v1+json",
		"application/vnd.oci.image.config.v1+json", layer}
}

// A descriptor points to a blob. The order of its fields is that of go-containerregistry, so that tools
// built on it give the manifest the same digest.
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Size        int64             `json:"size"`
	Digest      string            `json:"digest"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type manifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	Config        descriptor        `json:"config"`
	Layers        []descriptor      `json:"layers"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

type index struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	Manifests     []descriptor      `json:"manifests"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

// saved is an entry of manifest.json, the table of contents of "docker save".
type saved struct {
	Config   string
	RepoTags []string
	Layers   []string
}

const indexType = "application/vnd.oci.image.index.v1+json"

// Names in an OCI layout (image-spec image-layout.md).
const (
	layoutFile = "oci-layout"
	indexFile  = "index.json"
	savedFile  = "manifest.json"
	blobDir    = "blobs/sha256/"
	layoutText = `{"imageLayoutVersion":"1.0.0"}`
)

// documents are the small files of an image, as far as the layers' digests are known.
type documents struct {
	Digests
	index, saved, manifest, config []byte
}

func (b *build) documents() (d documents) {
	types := b.mediaTypes()
	d.config = b.config()
	d.Digests.Config = digestOf(d.config)
	m := manifest{2, types.manifest, descriptor{types.config, int64(len(d.config)), d.Digests.Config, nil},
		nil, pairs(b.Annotations)}
	s := saved{Config: blobDir + hex(d.Digests.Config)}
	for _, l := range b.layers {
		m.Layers = append(m.Layers, descriptor{types.layer, l.size, l.digestOrBlank(), nil})
		s.Layers = append(s.Layers, blobDir+hex(l.digestOrBlank()))
	}
	for _, tag := range b.Tags {
		s.RepoTags = append(s.RepoTags, tag.String())
	}
	d.manifest = marshal(m)
	d.Digests.Manifest = digestOf(d.manifest)
	d.saved = marshal([]saved{s})
	d.index = marshal(b.index(descriptor{types.manifest, int64(len(d.manifest)), d.Digests.Manifest, nil}))
	return d
}

// index lists the manifest once for each tag, with both annotations: containerd reads the full name, other
// readers of OCI layouts the tag alone.
func (b *build) index(image descriptor) index {
	x := index{SchemaVersion: 2, MediaType: indexType, Annotations: b.made()}
	for _, tag := range b.Tags {
		image.Annotations = map[string]string{nameAnnotation: tag.String(), tagAnnotation: tag.Tag}
		x.Manifests = append(x.Manifests, image)
	}
	if x.Manifests == nil {
		x.Manifests = []descriptor{image}
	}
	return x
}

const (
	nameAnnotation = "io.containerd.image.name"
	tagAnnotation  = "org.opencontainers.image.ref.name"
)

func pairs(settings []string) map[string]string {
	m := map[string]string{}
	for _, s := range settings {
		key, value, _ := strings.Cut(s, "=")
		m[key] = value
	}
	return m
}

// marshal cannot fail: it gets structs of strings and numbers.
func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprint("image: ", err))
	}
	return b
}
