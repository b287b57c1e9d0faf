package tests

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// change makes what a layer may do of a tree: new files over old ones, directories for files, files for directories, links,
// deletions.
func change(t *testing.T, r *rand.Rand, dir string) {
	t.Helper()
	for range 6 {
		var parts []string
		for depth := r.IntN(3); depth >= 0; depth-- {
			parts = append(parts, fmt.Sprintf("%c%d", "ab-"[r.IntN(3)], r.IntN(2)))
		}
		path := filepath.Join(dir, filepath.Join(parts...))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			continue // below what is no directory
		}
		switch r.IntN(6) {
		case 0, 1:
			check(t, os.RemoveAll(path))
		case 2:
			check(t, os.RemoveAll(path))
			check(t, os.Symlink("target", path))
		case 3:
			check(t, os.RemoveAll(path))
			check(t, os.Mkdir(path, 0o700))
			check(t, os.WriteFile(path+"/new", []byte{byte(r.IntN(256))}, 0o644))
			check(t, os.Link(path+"/new", path+"/same"))
		default:
			check(t, os.RemoveAll(path))
			check(t, os.WriteFile(path, fmt.Append(nil, r.IntN(1000)), 0o4755))
		}
	}
}

// layers makes ten states of a tree, and a layer of each change: b.ls/0.layer is the first. It gives the list of the last.
func (b *bench) layers(t *testing.T, seed uint64) (names, last string) {
	r := rand.New(rand.NewPCG(seed, 10))
	check(t, os.MkdirAll(b.path("tree"), 0o755))
	b.write("last.list", "")
	for i := range 10 {
		change(t, r, b.path("tree"))
		b.run("sh", "-euc", fmt.Sprintf(`ctbox=$1
			"$ctbox" fileids --owner=0:0 tree >new.list
			"$ctbox" listdiff last.list new.list | "$ctbox" mklayer -q -C tree --root-entry -o %d.layer
			mv new.list last.list`, i), "sh", program(t))
		names += fmt.Sprintln(i)
	}
	return names, b.read("last.list")
}

// Ten layers, in one tar, are the tree that they were made of, and what umoci and docker make of them.
func TestFlatten(t *testing.T) {
	requireTool(t, "tar", "umoci")
	requireRoot(t)
	for seed := range uint64(5) {
		b := newBench(t)
		names, want := b.layers(t, seed)
		b.write("names", names)
		b.run("sh", "-euc", `ctbox=$1
			"$ctbox" flatten <names >flat.tar
			"$ctbox" flatten --list <names >flat.list
			mkdir flat && tar -C flat -xpf flat.tar --numeric-owner && "$ctbox" fileids flat >unpacked.list
			"$ctbox" mkimage --tag=x:1 -o x.image names
			"$ctbox" mkimage --format=oci-dir --tag=x:1 -o x.oci names
			"$ctbox" mkimage -q --compress=zstd --tag=x:1 -o zstd.image names
			gzip -k x.image
			umoci raw unpack --image x.oci:1 umoci >&2
			"$ctbox" fileids umoci >umoci.list
			for image in x.image x.oci zstd.image x.image.gz; do "$ctbox" flatten $image | cmp - flat.tar; done
			"$ctbox" flatten - <x.image | cmp - flat.tar`, "sh", program(t))
		for _, list := range []string{"flat.list", "unpacked.list", "umoci.list"} {
			compareLists(t, withoutRoot(want), withoutRoot(b.read(list)))
		}
	}
}

// "docker export" of a container that never ran is the image, and the few names that docker adds.
func TestFlattenIsDockerExport(t *testing.T) {
	requireRoot(t)
	e := startDocker(t)
	b := newBench(t)
	names, want := b.layers(t, 99)
	b.write("names", names)
	b.ctbox("mkimage", "--tag=flatten:1", "--cmd=/none", "-o", b.path("x.image"), b.path("names"))
	e.run(t, "load", "-qi", b.path("x.image"))
	id := strings.TrimSpace(e.run(t, "create", "flatten:1"))
	e.run(t, "export", "-o", b.path("export.tar"), id)
	e.run(t, "save", "-o", b.path("saved.image"), "flatten:1")
	e.run(t, "rm", id)
	added := map[string]bool{"./.dockerenv": true, "./dev": true, "./etc": true, "./proc": true, "./sys": true}
	var exported strings.Builder
	for line := range strings.Lines(b.ctbox("fileids", "-T", b.path("export.tar"))) {
		name, _, _ := strings.Cut(line, " ")
		if top := strings.SplitN(name, "/", 3); len(top) < 2 || !added[top[0]+"/"+top[1]] {
			exported.WriteString(line)
		}
	}
	compareLists(t, withoutRoot(want), withoutRoot(exported.String()))
	compareLists(t, withoutRoot(want), withoutRoot(b.ctbox("flatten", "--list", b.path("saved.image"))))
}
