package image

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ctbox/ctbox/applets/internal/archive"
)

// maxJSON bounds a template and every other JSON text that is read, in bytes. The largest configs seen
// in registries are a few hundred kilobytes.
const maxJSON = 16 << 20

// ReadTemplate reads a template from a file.
func ReadTemplate(path string) (*Template, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxJSON+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxJSON {
		return nil, fmt.Errorf("%s: larger than %d bytes", path, maxJSON)
	}
	t, err := ParseTemplate(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

// Epoch is the time that an archive's entries and, unless it is told otherwise, an image bear:
// SOURCE_DATE_EPOCH, or else 1970.
func Epoch() (time.Time, error) {
	seconds, _, err := archive.Epoch()
	return time.Unix(seconds, 0), err
}

// ParseTime reads a time as image configs have it (RFC 3339).
func ParseTime(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, fmt.Errorf("%q is not a time such as 2026-01-31T12:00:00Z", s)
	}
	return t, nil
}

// Check looks at the options by themselves and brings them to the form that configs have: lists that were
// given as JSON, ports with a protocol, each tag once.
func (o *Options) Check() error {
	if err := o.conflicts(); err != nil {
		return err
	}
	var err error
	if o.Cmd, err = argv("--cmd", o.Cmd); err != nil {
		return err
	}
	if o.Entrypoint, err = argv("--entrypoint", o.Entrypoint); err != nil {
		return err
	}
	for i, port := range o.Expose {
		if o.Expose[i], err = exposed(port); err != nil {
			return err
		}
	}
	var tags []Reference
	for _, tag := range o.Tags {
		if !slices.Contains(tags, tag) {
			tags = append(tags, tag)
		}
	}
	o.Tags = tags
	return o.values()
}

func (o *Options) conflicts() error {
	switch {
	case o.Docker && len(o.Annotations) > 0:
		return errors.New("--media=docker: its manifest has no annotations")
	case o.Docker && o.Compress == "zstd":
		return errors.New("--media=docker: its layers are not compressed with zstd")
	case o.Format == V1 && o.Compress != "none":
		return errors.New("--format=v1: its layers are not compressed")
	case o.Format == ACI && len(o.Tags) != 1:
		return errors.New("--format=aci: needs one --tag, its name and version")
	case o.Format == ACI && (o.Docker || len(o.Annotations) > 0 || o.Reuse != nil || o.Compress == "zstd"):
		return errors.New("--format=aci: has neither media types, annotations, --reuse nor zstd")
	case o.Format == V1 && (o.Docker || len(o.Annotations) > 0):
		return errors.New("--format=v1: has neither media types nor annotations")
	}
	return nil
}

// argv takes a single value that begins with a bracket for a JSON list, as Dockerfiles do. The empty list
// takes the template's away.
func argv(option string, values []string) ([]string, error) {
	if len(values) != 1 || !strings.HasPrefix(values[0], "[") {
		return values, nil
	}
	n, err := parse([]byte(values[0]))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", option, err)
	}
	if mismatch(n, '[') != "" {
		return nil, fmt.Errorf("%s: %s is not a list of strings", option, values[0])
	}
	list := []string{}
	for _, item := range n.items {
		list = append(list, item.str)
	}
	return list, nil
}

// exposed completes PORT[/PROTOCOL].
func exposed(s string) (string, error) {
	number, protocol, ok := strings.Cut(s, "/")
	if !ok {
		protocol = "tcp"
	}
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil || n == 0 || !slices.Contains([]string{"tcp", "udp", "sctp"}, protocol) {
		return "", fmt.Errorf("--expose: %q is not PORT, PORT/tcp, PORT/udp or PORT/sctp", s)
	}
	return fmt.Sprintf("%d/%s", n, protocol), nil
}

// values looks at each value that has a form.
func (o *Options) values() error {
	for _, v := range slices.Concat(o.Entrypoint, o.Cmd, o.Env, o.Labels, o.Annotations, o.Volumes, []string{o.Workdir, o.User, o.Author}) {
		if !utf8.ValidString(v) {
			return fmt.Errorf("%q is not UTF-8, which JSON cannot hold", v)
		}
	}
	for _, v := range o.Env {
		if name, _, ok := strings.Cut(v, "="); !ok || name == "" {
			return fmt.Errorf("--env: %q is not NAME=VALUE", v)
		}
	}
	for _, v := range slices.Concat(o.Labels, o.Annotations) {
		if key, _, ok := strings.Cut(v, "="); !ok || key == "" {
			return fmt.Errorf("%q is not KEY=VALUE", v)
		}
	}
	for _, v := range o.Volumes {
		if !strings.HasPrefix(v, "/") {
			return fmt.Errorf("--volume: %q is not an absolute path", v)
		}
	}
	if o.Workdir != "" && !strings.HasPrefix(o.Workdir, "/") {
		return fmt.Errorf("--workdir: %q is not an absolute path", o.Workdir)
	}
	if o.Platform != "" && !isPlatform(o.Platform) {
		return fmt.Errorf("--platform: %q is not OS/ARCH or OS/ARCH/VARIANT", o.Platform)
	}
	return nil
}

func isPlatform(s string) bool {
	parts := strings.Split(s, "/")
	for _, p := range parts {
		if p == "" || !all(p, func(c byte) bool { return isLower(c) || isDigit(c) || strings.IndexByte("._-", c) >= 0 }) {
			return false
		}
	}
	return len(parts) == 2 || len(parts) == 3
}
