package interop

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/image-spec/schema"
)

// template is like the cookbook's: fields of Docker's first format, many of them null.
const template = `{"architecture":"amd64","comment":"x","config":{"AttachStderr":false,"Cmd":["/init"],"CpuShares":0,"Entrypoint":null,
"Env":null,"ExposedPorts":null,"Image":"","Labels":null,"OnBuild":null,"Tty":false,"User":"","Volumes":null,"WorkingDir":""},
"container_config":{"Cmd":null},"docker_version":"1.6.2","os":"linux"}`

// The JSON texts of a layout are what the specification's own schemas allow.
func TestSchema(t *testing.T) {
	dir := workspace(t)
	if err := os.WriteFile(filepath.Join(dir, "template.json"), []byte(template), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"--cmd", "/init"},
		{"-t", "template.json", "--tag", "a", "--tag", "b:2"},
		{"-t", "template.json", "-z", "gzip", "-e", "A=1", "--label", "l=", "--expose", "80", "--volume", "/v", "--workdir", "/",
			"--user", "0", "--author", "me", "--annotation", "k=v", "--entrypoint", "/e", "--platform", "linux/arm/v7"},
	} {
		config, manifest := mkimage(t, dir, append(args, "--format=oci-dir", "-o", "oci")...)
		for file, validator := range map[string]schema.Validator{
			"oci-layout":   schema.ValidatorMediaTypeLayoutHeader,
			"index.json":   schema.ValidatorMediaTypeImageIndex,
			blob(manifest): schema.ValidatorMediaTypeManifest,
			blob(config):   schema.ValidatorMediaTypeImageConfig,
		} {
			text, err := os.ReadFile(filepath.Join(dir, "oci", file))
			if err != nil {
				t.Fatal(err)
			}
			if err := validator.Validate(bytes.NewReader(text)); err != nil {
				t.Errorf("%q: %s: %v\n%s", args, file, err, text)
			}
		}
	}
	// The validator is not blind: this is what the template says.
	if schema.ValidatorMediaTypeImageConfig.Validate(strings.NewReader(template)) == nil {
		t.Error("a config without rootfs is valid")
	}
}

func blob(digest string) string {
	return filepath.Join("blobs", strings.Replace(digest, ":", string(filepath.Separator), 1))
}
