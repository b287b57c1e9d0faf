package image

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/ctbox/ctbox/applets/internal/archive"
	"github.com/ctbox/ctbox/applets/internal/compress"
	"github.com/ctbox/ctbox/applets/internal/tarball"
)

// Names in an App Container Image (appc spec 0.8, "App Container Image").
const (
	aciManifest = "manifest"
	aciRootfs   = "rootfs/"
	aciVersion  = "0.8.11"
)

// An aciPair is a named value. appc has such lists where others have maps.
type aciPair struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type aciPort struct {
	Name     string `json:"name"`
	Port     int    `json:"port"`
	Protocol string `json:"protocol"`
}

type aciMount struct {
	Name string `json:"name"`
	Path string `json:"path"`
}

type aciApp struct {
	Exec             []string   `json:"exec"`
	User             string     `json:"user"`
	Group            string     `json:"group"`
	WorkingDirectory string     `json:"workingDirectory,omitempty"`
	Environment      []aciPair  `json:"environment,omitempty"`
	MountPoints      []aciMount `json:"mountPoints,omitempty"`
	Ports            []aciPort  `json:"ports,omitempty"`
}

type aciImage struct {
	Kind        string    `json:"acKind"`
	Version     string    `json:"acVersion"`
	Name        string    `json:"name"`
	Labels      []aciPair `json:"labels"`
	App         *aciApp   `json:"app,omitempty"`
	Annotations []aciPair `json:"annotations"`
}

// aciArchitectures are those that appc calls by other names.
var aciArchitectures = [...][2]string{{"386", "i386"}, {"arm64", "aarch64"}, {"arm", "armv7l"}}

// aci writes an App Container Image: a manifest, and all layers as one tree.
func (b *build) aci(w io.Writer) error {
	manifest, err := b.aciManifest()
	if err != nil {
		return err
	}
	var layers []tarball.Layer
	for _, l := range b.layers {
		f := l.file
		if f == nil {
			if f, err = l.open(); err != nil {
				return err
			}
			defer f.Close()
		}
		layers = append(layers, tarball.Layer{Name: l.path, Reader: io.NewSectionReader(f, 0, l.size)}) // wherever the file stands
	}
	stack, err := tarball.NewStack(layers)
	if err != nil {
		return err
	}
	defer stack.Close()
	return compress.To(w, b.Compress, 0, func(w io.Writer) error {
		if _, err := w.Write(append(header(aciManifest, int64(len(manifest)), b.Epoch.Unix()), pad(manifest)...)); err != nil {
			return err
		}
		return tarball.Pack(w, stack, aciRootfs, archive.Times{Epoch: b.Epoch.Unix()}, nil)
	})
}

// runConfig is what a config says of how to run.
type runConfig struct {
	Created, Author, Architecture, OS, Variant string
	Config                                     struct {
		User, WorkingDir      string
		Env, Entrypoint, Cmd  []string
		ExposedPorts, Volumes map[string]any
		Labels                map[string]string
	}
}

func (b *build) aciManifest() ([]byte, error) {
	var c runConfig
	if err := json.Unmarshal(b.config(), &c); err != nil {
		return nil, fmt.Errorf("template: %w", err)
	}
	tag := b.Tags[0]
	m := aciImage{Kind: "ImageManifest", Version: aciVersion, Name: tag.Domain + "/" + tag.Path, Labels: []aciPair{
		{"version", tag.Tag}, {"os", c.OS}, {"arch", c.aciArchitecture()},
	}}
	if tag.Domain == "docker.io" {
		m.Name = tag.Familiar()
	}
	if !isACName(m.Name) {
		return nil, fmt.Errorf("--tag: %q cannot be the name of an ACI: lower-case letters and digits, between them one of -._~/", m.Name)
	}
	m.Annotations = append(m.Annotations, aciPair{"created", c.Created})
	if c.Author != "" {
		m.Annotations = append(m.Annotations, aciPair{"authors", c.Author})
	}
	for _, key := range slices.Sorted(maps.Keys(c.Config.Labels)) {
		if !isACName(key) {
			return nil, fmt.Errorf("label %q cannot be the name of an annotation of an ACI", key)
		}
		m.Annotations = append(m.Annotations, aciPair{key, c.Config.Labels[key]})
	}
	m.App = c.aciApp()
	return append(marshal(m), '\n'), nil
}

func (c *runConfig) aciArchitecture() string {
	for _, a := range aciArchitectures {
		if c.Architecture == a[0] {
			return a[1]
		}
	}
	return c.Architecture
}

// aciApp is how the image runs, or nil if it does not say.
func (c *runConfig) aciApp() *aciApp {
	app := &aciApp{Exec: append(c.Config.Entrypoint, c.Config.Cmd...), WorkingDirectory: c.Config.WorkingDir}
	if len(app.Exec) == 0 {
		return nil
	}
	app.User, app.Group, _ = strings.Cut(c.Config.User, ":")
	app.User, app.Group = orZero(app.User), orZero(app.Group)
	for _, e := range c.Config.Env {
		name, value, _ := strings.Cut(e, "=")
		app.Environment = append(app.Environment, aciPair{name, value})
	}
	for i, path := range slices.Sorted(maps.Keys(c.Config.Volumes)) {
		app.MountPoints = append(app.MountPoints, aciMount{"volume-" + strconv.Itoa(i), path})
	}
	for _, port := range slices.Sorted(maps.Keys(c.Config.ExposedPorts)) {
		number, protocol, _ := strings.Cut(port, "/")
		n, _ := strconv.Atoi(number)
		app.Ports = append(app.Ports, aciPort{number + "-" + protocol, n, protocol})
	}
	return app
}

func orZero(id string) string {
	if id == "" {
		return "0"
	}
	return id
}

// isACName reports whether s is an AC Identifier (appc spec 0.8, "Types"): runs of lower-case letters and digits, with one of
// "-._~/" between them.
func isACName(s string) bool {
	separator := true // as before a run
	for i := range len(s) {
		c := s[i]
		switch {
		case isLower(c) || isDigit(c):
			separator = false
		case separator || strings.IndexByte("-._~/", c) < 0:
			return false
		default:
			separator = true
		}
	}
	return !separator
}
