//go:build faults

package faults

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A reader is a program that reads archives.
type reader struct {
	name      string
	needs     []string
	archive   []string // the applet that makes what it reads, and its options
	script    string   // unpacks $1 into the directory $2, which is there and empty
	read      func(*forest, *reader, [][]record) (got [][]record, wrong []string)
	whiteouts func([]record) []record // what it makes of deletions; nil: they are no part of its lists
	limits    []*limit
	rootOnly  bool // takes setuid away from what its user does not own, or is no program of this machine
}

// A limit is what one reader makes of some records, other than what they say. Just that is expected. So the test fails when a
// limit is not needed any more, as it does when there is no record that it is about.
type limit struct {
	why  string
	root bool // only trees of root have such records
	edit func(r, parent record) record
}

// apply edits records, and says whether that made a difference.
func (l *limit) apply(lists [][]record) (edited [][]record, changed bool) {
	edited = make([][]record, len(lists))
	for i, list := range lists {
		known := map[string]record{}
		for _, r := range list {
			e := l.edit(r, known[path.Dir(r.name)])
			known[path.Clean(r.name)] = e
			changed = changed || e != r
			edited[i] = append(edited[i], e)
		}
	}
	return edited, changed
}

var (
	attrField   = regexp.MustCompile(`-xattr=[0-9a-f]{64}`)
	linkOwner   = regexp.MustCompile(`^(0120777)-\d+-\d+-`)
	setgidGroup = regexp.MustCompile(`^004[2367]\d{3}-\d+-(\d+)-`)

	noAttrs = &limit{why: "knows nothing of extended attributes", edit: func(r, _ record) record {
		r.id = attrField.ReplaceAllString(r.id, "")
		return r
	}}
	newcAttrs   = &limit{why: "newc has no extended attributes", edit: noAttrs.edit}
	linksOfRoot = &limit{why: "leaves symbolic links to who unpacks them, and to the group of their directory if that is setgid", root: true,
		edit: func(r, parent record) record {
			group := "0"
			if m := setgidGroup.FindStringSubmatch(parent.id); m != nil {
				group = m[1]
			}
			r.id = linkOwner.ReplaceAllString(r.id, "$1-0-"+group+"-")
			return r
		}}
	smallIDs = &limit{why: "passes over uid and gid in PAX headers, which hold those that ustar cannot", root: true, edit: func(r, _ record) record {
		if r.id == "-" {
			return r
		}
		f := strings.SplitN(r.id, "-", 4)
		for i := 1; i <= 2; i++ {
			if n, err := strconv.Atoi(f[i]); err != nil || n > 2097151 {
				f[i] = "0"
			}
		}
		r.id = strings.Join(f, "-")
		return r
	}}
	ownRoot = &limit{why: "leaves the mode and owner of the directory in which it is called", edit: func(r, _ record) record {
		if r.name == "." {
			r.id = "0040755-0-0-0"
		}
		return r
	}}
)

var (
	layer  = []string{"mklayer", "--root-entry", "-q"}
	initrd = []string{"mkinitrd"}
)

var tarReaders = []*reader{
	{name: "GNU tar", needs: []string{"tar"}, archive: layer, read: unpack, whiteouts: asFiles,
		script: `tar --numeric-owner --xattrs --xattrs-include='*' -xpf "$1" -C "$2"`},
	{name: "bsdtar", needs: []string{"bsdtar"}, archive: layer, read: unpack, whiteouts: asFiles,
		script: `bsdtar --numeric-owner -xpf "$1" -C "$2"`, rootOnly: true},
	{name: "busybox tar", needs: []string{"busybox"}, archive: layer, read: unpack, whiteouts: asFiles,
		script: `busybox tar -xpf "$1" -C "$2"`, rootOnly: true, limits: []*limit{noAttrs, smallIDs, linksOfRoot}},
	{name: "python", needs: []string{"python3"}, archive: layer, read: unpackPython, whiteouts: asFiles, limits: []*limit{noAttrs}},
	{name: "fakeroot", needs: []string{"fakeroot", "tar"}, archive: layer, read: unpackFaked, whiteouts: asFiles, rootOnly: true,
		script: `tar --numeric-owner -xpf "$1" -C "$2"`, limits: []*limit{noAttrs}},
	{name: "Go", archive: layer, read: readGo, whiteouts: asFiles},
}

var cpioReaders = []*reader{
	{name: "GNU cpio", needs: []string{"cpio"}, archive: initrd, read: unpack,
		script: `cd "$2" && cpio -idmu --quiet <"$1"`, limits: []*limit{newcAttrs, ownRoot}},
	{name: "bsdcpio", needs: []string{"bsdcpio"}, archive: initrd, read: unpack,
		script: `cd "$2" && bsdcpio -idmu --quiet <"$1"`, rootOnly: true, limits: []*limit{newcAttrs}},
	{name: "busybox cpio", needs: []string{"busybox"}, archive: initrd, read: unpack,
		script: `cd "$2" && busybox cpio -idmu <"$1"`, limits: []*limit{newcAttrs, linksOfRoot}},
	{name: "Linux", needs: []string{"qemu-system-x86_64"}, archive: []string{"--cold"}, read: boot, rootOnly: true, limits: []*limit{newcAttrs}},
	{name: "runkvm", needs: []string{"qemu-system-x86_64"}, read: boot, rootOnly: true, limits: []*limit{newcAttrs}},
}

var imageReaders = []*reader{
	{name: "umoci", needs: []string{"umoci"}, read: unpackImage, whiteouts: asNothing},
	{name: "umoci, changes", needs: []string{"umoci"}, read: unpackChanges},
}

// unpack has a shell unpack each tree, and lists what is there then.
func unpack(f *forest, r *reader, lists [][]record) (got [][]record, wrong []string) {
	f.t.Helper()
	return f.unpack(r, lists, "sh", "-c", r.loop())
}

// loop is a shell's script that unpacks each archive.
func (r *reader) loop() string {
	return `umask 0
		while read -r archive out; do
			(set -- "$archive" "$out"; ` + r.script + `) >said 2>&1 </dev/null || echo "${out##*/} status $? $(head -n 3 said | tr '\n' ' ')"
		done`
}

// unpackFaked does so as an ordinary user, for whom fakeroot keeps all that only root can make.
func unpackFaked(f *forest, r *reader, lists [][]record) (got [][]record, wrong []string) {
	f.t.Helper()
	for i, list := range lists {
		f.pack("trees/"+number(i), text(list), r.archive...) // which root must do
	}
	dir := filepath.Join(f.dir, "faked")
	check(f.t, os.Mkdir(dir, 0o755))
	check(f.t, os.Chmod(f.dir, 0o755))
	f.user, f.faked = &unprivileged, "faked/state"
	defer func() { f.user, f.faked = nil, "" }()
	f.own(dir)
	// What tar makes at once so that its owner may not read it, fakeroot leaves so; where modes are changed it does not.
	const readable = `; find ../outs -type f ! -perm -400 -exec sh -c 'for f; do chmod "$(stat -c %a "$f")" "$f"; done' sh {} +`
	return f.unpack(r, lists, "fakeroot", "-s", f.faked, "sh", "-c", "cd faked; "+r.loop()+readable)
}

// unpackPython does so in one process, as most of its time would be that to start.
func unpackPython(f *forest, r *reader, lists [][]record) (got [][]record, wrong []string) {
	f.t.Helper()
	return f.unpack(r, lists, "sh", "-c", `umask 0; exec python3 -c 'import os, sys, tarfile
trust = {"filter": "fully_trusted"} if hasattr(tarfile, "data_filter") else {}
for line in sys.stdin:
    archive, out = line.split()
    try:
        with tarfile.open(archive, encoding="utf-8", errors="surrogateescape") as t:
            t.extractall(out, numeric_owner=True, **trust)
    except Exception as e:
        print(os.path.basename(out), repr(e))'`)
}

// unpack runs a command, which gets lines with an archive and a directory each, and says what went wrong in lines that begin with
// the number of a tree.
func (f *forest) unpack(r *reader, lists [][]record, command ...string) (got [][]record, wrong []string) {
	f.t.Helper()
	outs := f.outs("outs", len(lists))
	defer func() { check(f.t, os.RemoveAll(outs)) }()
	var table strings.Builder
	for i, list := range lists {
		fmt.Fprintf(&table, "%s %s\n", f.pack("trees/"+number(i), text(list), r.archive...), filepath.Join(outs, number(i)))
	}
	wrong = make([]string, len(lists))
	said := f.run(table.String(), command...)
	for line := range strings.Lines(said) {
		var i int
		if _, err := fmt.Sscanf(line, "%d", &i); err != nil {
			f.t.Fatalf("%s says %q", r.name, said)
		}
		wrong[i] += line
	}
	return f.split(f.fileids(outs), len(lists)), wrong
}

// readGo makes lists of what archive/tar says.
func readGo(f *forest, r *reader, lists [][]record) (got [][]record, wrong []string) {
	f.t.Helper()
	wrong = make([]string, len(lists))
	for i, list := range lists {
		archive, err := os.Open(f.pack("trees/"+number(i), text(list), r.archive...))
		check(f.t, err)
		all, err := listTar(archive)
		archive.Close()
		if err != nil {
			wrong[i] = err.Error()
		}
		got = append(got, sorted(all))
	}
	return got, wrong
}

var tarTypes = map[byte]uint32{tar.TypeReg: 0o100000, tar.TypeSymlink: 0o120000, tar.TypeChar: 0o020000, tar.TypeBlock: 0o060000,
	tar.TypeDir: 0o040000, tar.TypeFifo: 0o010000}

// listTar makes a list of a layer.
func listTar(archive io.Reader) (all []record, err error) {
	ids := map[string]string{}
	for t := tar.NewReader(archive); ; {
		h, err := t.Next()
		if err == io.EOF {
			return all, nil
		} else if err != nil {
			return all, err
		}
		name := strings.TrimSuffix("./"+strings.TrimPrefix(h.Name, "./"), "/")
		if h.Typeflag == tar.TypeLink {
			all = append(all, record{name, ids["./"+h.Linkname] + "-link=" + encode("./"+h.Linkname)})
			continue
		}
		digest := sha256.New()
		if _, err := io.Copy(digest, t); err != nil {
			return all, err
		}
		ids[name] = goID(h, fmt.Sprintf("%x", digest.Sum(nil)))
		all = append(all, record{name, ids[name]})
	}
}

// goID is the ID of an entry, whose content has that digest.
func goID(h *tar.Header, digest string) string {
	switch h.Typeflag {
	case tar.TypeReg:
	case tar.TypeSymlink:
		digest = fmt.Sprintf("%x", sha256.Sum256([]byte(h.Linkname)))
	default:
		digest = "0"
	}
	id := fmt.Sprintf("%07o-%d-%d-%s", tarTypes[h.Typeflag]|uint32(h.Mode), h.Uid, h.Gid, digest)
	if h.Typeflag == tar.TypeChar || h.Typeflag == tar.TypeBlock {
		id += fmt.Sprintf("-rdev=%d:%d", h.Devmajor, h.Devminor)
	}
	attrs := sha256.New()
	found := false
	for _, key := range slices.Sorted(maps.Keys(h.PAXRecords)) {
		if name, ok := strings.CutPrefix(key, "SCHILY.xattr."); ok {
			for _, s := range []string{name, h.PAXRecords[key]} {
				attrs.Write(binary.BigEndian.AppendUint32(nil, uint32(len(s))))
				attrs.Write([]byte(s))
			}
			found = true
		}
	}
	if found {
		id += fmt.Sprintf("-xattr=%x", attrs.Sum(nil))
	}
	return id
}

// encode writes a name as -link= has it.
func encode(name string) string {
	var b strings.Builder
	for _, c := range []byte(name) {
		if c <= ' ' || c == '%' || c == 0x7f {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// under are the lists of all trees as one, in which they lie below a name.
func under(name string, lists [][]record) []record {
	var all []record
	for i, list := range lists {
		all = append(all, below(name+number(i), list)...)
	}
	return all
}

// boot packs all trees as one initrd, with ctbox after them, which lists them in a guest.
func boot(f *forest, r *reader, lists [][]record) (got [][]record, wrong []string) {
	f.t.Helper()
	trees, err := os.ReadFile(f.pack(".", ". 0040755-0-0-0\x00./trees 0040755-0-0-0\x00"+text(under("./trees/", lists)), initrd...))
	check(f.t, err)
	f.run("", "sh", "-c", `mkdir -p guest && cp "$1" guest/ctbox`, "sh", program)
	self, err := os.ReadFile(f.pack("guest", f.run("", program, "fileids", "-0", "--owner=0:0", "guest"), initrd...))
	check(f.t, err)
	check(f.t, os.WriteFile(filepath.Join(f.dir, "initrd"), append(trees, self...), 0o644))
	args := slices.Concat([]string{program, "runkvm", "--accel=tcg", "--timeout=20m"}, r.archive, []string{"initrd", "/ctbox", "fileids", "-0", "/trees"})
	return f.split(f.run("", args...), len(lists)), make([]string, len(lists))
}

// unpackImage makes an image of which each tree is a layer, in a directory of its own.
func unpackImage(f *forest, r *reader, lists [][]record) (got [][]record, wrong []string) {
	f.t.Helper()
	var layers []string
	for i, list := range lists {
		layers = append(layers, f.pack("trees", text(below("./"+number(i), list)), "mklayer", "-q"))
	}
	return f.split(f.umoci(layers), len(lists)), make([]string, len(lists))
}

// unpackChanges makes an image of two layers: the trees after random changes, and what makes them again what they were.
func unpackChanges(f *forest, r *reader, lists [][]record) (got [][]record, wrong []string) {
	f.t.Helper()
	f.run("", "cp", "-a", "trees", "changed")
	f.asUser(func() {
		for i := range lists {
			f.tree(i).Change(f.t, filepath.Join(f.dir, "changed", number(i)))
		}
	})
	before, after := f.fileids("changed"), ". 0040755-0-0-0\x00"+text(under("./", lists))
	check(f.t, os.WriteFile(filepath.Join(f.dir, "before"), []byte(before), 0o644))
	changes := f.run(after, program, "listdiff", "-0", "before")
	if !strings.Contains(changes, " -\x00") {
		f.t.Errorf("no deletions")
	}
	layers := []string{f.pack("changed", before, "mklayer", "-q"), f.pack("trees", changes, "mklayer", "-q")}
	return f.split(f.umoci(layers), len(lists)), make([]string, len(lists))
}

// umoci lists what it makes of an image of layers.
func (f *forest) umoci(layers []string) string {
	f.t.Helper()
	defer func() { check(f.t, os.RemoveAll(filepath.Join(f.dir, "bundle"))) }()
	var names strings.Builder
	for _, layer := range layers {
		names.WriteString(strings.TrimSuffix(filepath.Base(layer), ".layer") + "\n")
	}
	f.run(names.String(), program, "mkimage", "--format=oci-dir", "--tag=forest:1", "-o", "image")
	args := []string{"umoci", "raw", "unpack", "--image=image:1", "bundle"}
	if f.user != nil || os.Geteuid() != 0 {
		args = slices.Insert(args, 3, "--rootless")
	}
	f.run("", args...)
	return f.fileids("bundle")
}

// asNothing is what engines make of the deletion of what is not there.
func asNothing(list []record) []record {
	return slices.DeleteFunc(slices.Clone(list), func(r record) bool { return r.id == "-" })
}
