package tests

import (
	"archive/tar"
	"bytes"
	"slices"
	"strings"
	"testing"
)

// imageReader is a reader of images in another language: it unpacks the layers that manifest.json names and
// compares every digest with the bytes that it stands for.
const imageReader = `
import hashlib, io, json, sys, tarfile
image = tarfile.open(sys.argv[1], "r:")
names = image.getnames()
assert len(names) == len(set(names)), names
def blob(path):
    data = image.extractfile(path).read()
    if path.startswith("blobs/sha256/"):
        assert hashlib.sha256(data).hexdigest() == path[13:], path
    return data
def follow(d):
    data = blob("blobs/sha256/" + d["digest"][7:])
    assert len(data) == d["size"], d
    return data
assert json.loads(blob("oci-layout")) == {"imageLayoutVersion": "1.0.0"}
saved, = json.loads(blob("manifest.json"))
index = json.loads(blob("index.json"))
assert len({d["digest"] for d in index["manifests"]}) == 1
manifest = json.loads(follow(index["manifests"][0]))
config = json.loads(follow(manifest["config"]))
assert saved["Config"] == "blobs/sha256/" + manifest["config"]["digest"][7:]
assert saved["Layers"] == ["blobs/sha256/" + d["digest"][7:] for d in manifest["layers"]]
assert saved["RepoTags"] == [d["annotations"]["io.containerd.image.name"] for d in index["manifests"]]
assert len(config["history"]) == len(manifest["layers"]) == len(config["rootfs"]["diff_ids"])
for d, diff in zip(manifest["layers"], config["rootfs"]["diff_ids"]):
    data = follow(d)
    if d["mediaType"].endswith("gzip"):
        import gzip
        data = gzip.decompress(data)
    assert "sha256:" + hashlib.sha256(data).hexdigest() == diff
    print(" ".join(tarfile.open(fileobj=io.BytesIO(data)).getnames()))
`

// imageBench has the layers of an image in the making, one of them twice.
func imageBench(t *testing.T) *bench {
	t.Helper()
	b := newBench(t)
	for name, files := range map[string][]string{"base": {"etc", "etc/motd"}, "hello": {"init"}} {
		var layer bytes.Buffer
		w := tar.NewWriter(&layer)
		for _, file := range files {
			h := tar.Header{Name: file, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(file))}
			if file == "etc" {
				h = tar.Header{Name: "etc/", Typeflag: tar.TypeDir, Mode: 0o755}
			}
			check(t, w.WriteHeader(&h))
			w.Write([]byte(file)[:h.Size])
		}
		check(t, w.Close())
		b.write(name+".layer", layer.String())
	}
	b.write("layers", "base\nhello\nbase\n")
	return b
}

func TestImageInPython(t *testing.T) {
	requireTool(t, "python3")
	b := imageBench(t)
	for _, method := range []string{"none", "gzip"} {
		b.ctbox("mkimage", "-z", method, "--tag", "a", "--tag", "b:2", "-o", "image", "layers")
		if got := b.run("python3", "-c", imageReader, "image"); got != "etc etc/motd\ninit\netc etc/motd\n" {
			t.Errorf("%s: layers are %q", method, got)
		}
	}
}

func TestImageInTar(t *testing.T) {
	requireTool(t, "tar")
	b := imageBench(t)
	b.ctbox("mkimage", "-o", "image", "layers")
	var names []string
	for line := range strings.Lines(b.run("tar", "-tvf", "image")) {
		fields := strings.Fields(line)
		if fields[0] != "-rw-r--r--" || fields[1] != "0/0" || fields[3] != "1970-01-01" {
			t.Errorf("header of %s", line)
		}
		names = append(names, fields[5])
	}
	if want := []string{"oci-layout", "index.json", "manifest.json"}; len(names) != 7 || !slices.Equal(names[:3], want) {
		t.Errorf("%q", names)
	}
	if got := b.run("sh", "-c", "tar -xOf image "+names[5]+" | cmp - base.layer && tar -xOf image "+names[6]+" | cmp - hello.layer"); got != "" {
		t.Error(got)
	}
}
