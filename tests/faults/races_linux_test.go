//go:build faults

package faults

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What a race does to in/a/f12, to the directory above it, to in/a/link and to in/a/large.
const (
	file  = "in/a/f12"
	spare = "spare" // what a name is exchanged with
)

type deed = func(r *racer) error

// exchange swaps two names at once.
func exchange(a, b string) deed {
	return func(r *racer) error {
		return unix.Renameat2(unix.AT_FDCWD, r.path(a), unix.AT_FDCWD, r.path(b), unix.RENAME_EXCHANGE)
	}
}

// over puts what is linked as from in place of to.
func over(from, to string) deed {
	return func(r *racer) error {
		os.Remove(r.path("temp"))
		return errors.Join(os.Link(r.path(from), r.path("temp")), os.Rename(r.path("temp"), r.path(to)))
	}
}

func remove(name string) deed { return func(r *racer) error { return os.Remove(r.path(name)) } }

func link(from, to string) deed {
	return func(r *racer) error { return os.Link(r.path(from), r.path(to)) }
}

func symlink(target, name string) deed {
	return func(r *racer) error { return os.Symlink(target, r.path(name)) }
}

func truncate(name string, size int64) deed {
	return func(r *racer) error { return os.Truncate(r.path(name), size) }
}

// write writes into a file that is there, and leaves the rest of it.
func write(name, text string, at int64) deed {
	return func(r *racer) error {
		f, err := os.OpenFile(r.path(name), os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = f.WriteAt([]byte(text), at)
		return errors.Join(err, f.Close())
	}
}

// secretly does a deed and sets the time of modification back, so that only ctime tells.
func secretly(name string, do deed) deed {
	return func(r *racer) error {
		return errors.Join(do(r), os.Chtimes(r.path(name), time.Time{}, time.Unix(1e9, 0)))
	}
}

// turns writes a byte at one place of a file, then at another. 1 0, 1 1, 2 1, 2 2, 0 2 and 0 0 were there at a moment, and no other pair.
func turns(name string, first, second int64) (deeds []deed) {
	for _, digit := range []string{"1", "2", "0"} {
		deeds = append(deeds, secretly(name, write(name, digit, first)), secretly(name, write(name, digit, second)))
	}
	return deeds
}

func chmod(name string, mode os.FileMode) deed {
	return func(r *racer) error { return os.Chmod(r.path(name), mode) }
}

func chown(name string, more int) deed {
	return func(r *racer) error { return os.Lchown(r.path(name), r.uid+more, r.uid+more) }
}

// touch gives a name a time of modification that it did not have.
func touch(name string) deed {
	n := int64(0)
	return func(r *racer) error {
		n++
		return os.Chtimes(r.path(name), time.Time{}, time.Unix(1e9+n, n))
	}
}

// attribute sets an extended attribute, or removes it.
func attribute(name, value string) deed {
	return func(r *racer) error {
		if value == "" {
			return unix.Removexattr(r.path(name), "user.race")
		}
		return unix.Setxattr(r.path(name), "user.race", []byte(value), 0)
	}
}

// with makes spare, of the user.
func with(make func(path string) error) func(r *racer) {
	return func(r *racer) {
		r.t.Helper()
		check(r.t, os.RemoveAll(r.path(spare)))
		check(r.t, make(r.path(spare)))
		r.own()
	}
}

func aLink(to string) func(string) error {
	return func(path string) error { return os.Symlink(to, path) }
}

func aFIFO(path string) error { return unix.Mkfifo(path, 0o644) }

func aDir(path string) error { return os.Mkdir(path, 0o755) }

func aFile(text string) func(string) error {
	return func(path string) error { return os.WriteFile(path, []byte(text), 0o600) }
}

// swapped is a race of two deeds: a name is exchanged with spare, and back.
func swapped(what, name string, make func(string) error) race {
	return race{name: what, prepare: with(make), deeds: []deed{exchange(name, spare), exchange(name, spare)}}
}

// treeRaces are about a tree. Where one name is replaced, the packers must notice or not mind; where only ctime, the number of
// links or what a list does not have changes, they must not fail.
func treeRaces() []race {
	outside := func(path string) error { return os.Symlink(filepath.Dir(path)+"/out/a", path) }
	return []race{
		swapped("a file, and a symbolic link out of the tree", file, aLink("../../out/a/f12")),
		swapped("a file, and a symbolic link in the tree", file, aLink("f11")),
		swapped("a file, and a FIFO", file, aFIFO),
		swapped("a file, and a directory", file, aDir),
		swapped("a file, and another of its length", file, aFile(other)),
		swapped("a file, and another of another length", file, aFile(other[1:])),
		swapped("a directory, and a symbolic link out of the tree", "in/a", aLink("../out/a")),
		swapped("a directory, and a symbolic link by its whole path", "in/a", outside),
		swapped("a directory, and a symbolic link to its neighbour", "in/a", aLink("b")),
		swapped("a directory, and a FIFO", "in/a", aFIFO),
		swapped("a directory, and a file", "in/a", aFile(other)),
		{name: "a directory, and another", deeds: []deed{exchange("in/a", "other/a"), exchange("in/a", "other/a")}},
		{name: "two directories", deeds: []deed{exchange("in/a", "in/b"), exchange("in/a", "in/b")}},
		swapped("a symbolic link, and another", "in/a/link", aLink("other")),
		swapped("a symbolic link, and a file", "in/a/link", aFile("in")),
		swapped("a large file, and a symbolic link out of the tree", "in/a/large", aLink("../../out/a/large")),
		{name: "a file, renamed over", prepare: with(aFile(other)), deeds: []deed{over(spare, file), over("good", file)}},
		{name: "a file, removed and made a symbolic link", deeds: []deed{
			remove(file), symlink("../../out/a/f12", file), remove(file), link("good", file)}},
		{name: "a file, emptied and written", deeds: []deed{
			truncate(file, 0), write(file, other, 0), truncate(file, 0), write(file, inside, 0)}},
		{name: "a file, written to, with its time set back", deeds: []deed{
			secretly(file, write(file, "I", 0)), secretly(file, write(file, "i", 0))}},
		{name: "both ends of a large file, with its time set back", deeds: append(turns(large, 0, largeSize-1),
			secretly(large, write(large, "i", 0)), secretly(large, write(large, largeEnd, largeSize-1)))},
		{name: "a large file, longer and shorter", deeds: []deed{
			truncate(large, largeSize+5000), truncate(large, largeSize-5000), truncate(large, largeSize),
			write(large, largeTail, largeSize-5000)}},
		{name: "a name more in a directory, and less", harmless: "mklayer mkinitrd", deeds: []deed{
			link(file, "in/a/new"), remove("in/a/new")}},
		{name: "the mode of a file", harmless: "all", deeds: []deed{chmod(file, 0o600), chmod(file, 0o644)}},
		{name: "the mode of a file, as it is", harmless: "all", deeds: []deed{chmod(file, 0o644)}},
		{name: "the mode of a directory", harmless: "all", deeds: []deed{chmod("in/a", 0o755), chmod("in/a", 0o775)}},
		{name: "the links of a file", harmless: "all", deeds: []deed{link(file, "more"), remove("more")}},
		{name: "the links of a file with others in the tree", harmless: "all", deeds: []deed{link("in/b/linked", "more"), remove("more")}},
		{name: "the time of a directory", harmless: "all", deeds: []deed{touch("in/a")}},
		{name: "the time of a file", deeds: []deed{touch(file)}},
		{name: "an attribute of a file", harmless: "mklayer mkinitrd", prepare: withAttributes,
			deeds: []deed{attribute(file, "1"), attribute(file, "")}},
		{name: "an attribute of a directory", harmless: "mklayer mkinitrd", prepare: withAttributes,
			deeds: []deed{attribute("in/a", "1"), attribute("in/a", "2"), attribute("in/a", "")}},
	}
}

const large = "in/a/large"

var (
	largeEnd  = string(largeText(inside)[largeSize-1])
	largeTail = largeText(inside)[largeSize-5000:]
)

// withAttributes skips a race where there are no extended attributes.
func withAttributes(r *racer) {
	r.t.Helper()
	if err := attribute(file, "0")(r); err != nil {
		r.t.Skip("extended attributes: ", err)
	}
	check(r.t, attribute(file, "")(r))
}

// ownerRaces need root.
func ownerRaces() []race {
	return []race{
		{name: "the owner of a file", harmless: "all", deeds: []deed{chown(file, 1), chown(file, 0)}},
		{name: "the owner of a directory", harmless: "all", deeds: []deed{chown("in/a", 1), chown("in/a", 0)}},
	}
}

// places are where the trees of a test are made: file systems differ in what they say of a change.
func places() []string {
	all := []string{"/tmp"}
	var fs unix.Statfs_t
	if err := unix.Statfs("/dev/shm", &fs); err == nil && uint32(fs.Type) == unix.TMPFS_MAGIC && unix.Access("/dev/shm", unix.W_OK) == nil {
		all = append(all, "/dev/shm")
	}
	return all
}

// eachRacer calls test for root and an ordinary user, in each place; in its short form for each place once, and each user.
func eachRacer(t *testing.T, test func(t *testing.T, r *racer)) {
	users := []int{os.Geteuid()}
	if users[0] == 0 {
		users = append(users, ordinary)
	}
	for i, dir := range places() {
		for k, uid := range users {
			if !*long && i != k%len(places()) {
				continue
			}
			t.Run(fmt.Sprintf("%s as %d", filepath.Base(dir), uid), func(t *testing.T) { test(t, newRacer(t, dir, uid)) })
		}
	}
}

// TestRacesTree: whatever is swapped in a tree while it is read, the outcome is that of the list or an error, and nothing from
// outside of the tree.
func TestRacesTree(t *testing.T) {
	all := treeRaces()
	if os.Geteuid() == 0 {
		all = append(all, ownerRaces()...)
	}
	runs, failed := runRaces(t, "swaps in trees while they were read", treeJobs(), all, scale(500, 1_000_000/len(all)/4))
	if failed == 0 || failed == runs {
		t.Errorf("%d of %d runs failed: those were no races", failed, runs)
	}
}

// runRaces has each race go on in each place until so much of it happened, and counts.
func runRaces(t *testing.T, what string, jobs []*job, all []race, enough int) (runs, failed int) {
	t.Helper()
	swaps, wrong := 0, 0
	eachRacer(t, func(t *testing.T, r *racer) {
		for _, of := range all {
			if r.race(of, jobs, enough); t.Failed() {
				break // it may have left what makes others fail
			}
		}
		t.Logf("%d runs, %d of them failed, %d swaps", r.runs, r.failed, r.swaps.Load())
		swaps, wrong = swaps+int(r.swaps.Load()), wrong+r.wrong
		runs, failed = runs+r.runs, failed+r.failed
	})
	count(t, swaps, what, wrong)
	return runs, failed
}

// withLists makes two lists of a tree, and one that changes.
func withLists(r *racer) {
	r.t.Helper()
	text, err := os.ReadFile(r.path("tree.list"))
	check(r.t, err)
	r.write("list.one", string(text))
	r.write("list.two", strings.ReplaceAll(string(text), " 0100644-", " 0100600-"))
	r.write("list", string(text))
	r.own()
}

// owners is turns for the owners of "." and "./b" in a list.
func owners(name string) (deeds []deed) {
	at := func(r *racer, last bool) int64 {
		text, err := os.ReadFile(r.path(name))
		check(r.t, err)
		const mode = " 0040755-"
		if last {
			return int64(strings.Index(string(text), "\n./b"+mode) + len("\n./b"+mode))
		}
		return int64(len("." + mode))
	}
	for _, digit := range []string{"1", "2", "3"} {
		for _, last := range []bool{false, true} {
			deeds = append(deeds, func(r *racer) error { return write(name, digit, at(r, last))(r) })
		}
	}
	return deeds
}

// TestRacesList: a list that is replaced while it is read gives what one of the two says. One that is rewritten in place, too,
// or it is an error.
func TestRacesList(t *testing.T) {
	jobs := []*job{
		{args: []string{"mklayer", "-C", "in", "list"}, always: true},
		{args: []string{"mkinitrd", "-C", "in", "list"}, always: true},
		{args: []string{"mklayer", "-z", "gzip", "-C", "in", "--trust-cache=made/trusted", "list"}, always: true},
		{args: []string{"listdiff", "list.one", "list"}, always: true},
	}
	runRaces(t, "swaps of lists while they were read", jobs, []race{
		{name: "a list, and another", harmless: "all", prepare: withLists, deeds: []deed{exchange("list", "list.two"), exchange("list", "list.two")}},
		{name: "a list, renamed over", harmless: "all", prepare: withLists, deeds: []deed{over("list.two", "list"), over("list.one", "list")}},
		{name: "a list, two owners rewritten in place", prepare: withLists, deeds: owners("list")},
	}, scale(500, 10_000))
}

// withLayers makes two layers, one that changes, and the names of layers.
func withLayers(r *racer) {
	r.t.Helper()
	withLists(r)
	for _, name := range []string{"one", "two"} {
		r.plain("mklayer", "-C", "in", "-o", name+".layer", "list."+name)
	}
	text, err := os.ReadFile(r.path("one.layer"))
	check(r.t, err)
	r.write("x.layer", string(text))
	r.write("layers", "x\n")
	r.write("layers.two", "two\n")
	r.own()
}

// TestRacesImage is TestRacesList for layers, and for the names of layers.
func TestRacesImage(t *testing.T) {
	jobs := []*job{
		{args: []string{"mkimage", "layers"}, always: true},
		{args: []string{"mkimage", "-z", "gzip", "--no-verify-layers", "layers"}, always: true},
		{args: []string{"mkimage", "-q", "--format=oci-dir", "layers"}, always: true, dir: true},
	}
	runRaces(t, "swaps of layers while they were read", jobs, []race{
		{name: "a layer, and another", prepare: withLayers, deeds: []deed{exchange("x.layer", "two.layer"), exchange("x.layer", "two.layer")}},
		{name: "a layer, renamed over", prepare: withLayers, deeds: []deed{over("two.layer", "x.layer"), over("one.layer", "x.layer")}},
		{name: "a layer, rewritten", prepare: withLayers, deeds: turns("x.layer", 600, largeSize/2)},
		{name: "a layer, longer and shorter", prepare: withLayers, deeds: []deed{
			truncate("x.layer", 3<<20), truncate("x.layer", 2<<20)}},
		{name: "the times of a layer's inode", harmless: "all", prepare: withLayers, deeds: []deed{chmod("x.layer", 0o600), chmod("x.layer", 0o644)}},
		{name: "the names of layers", harmless: "all", prepare: withLayers, deeds: []deed{exchange("layers", "layers.two"), exchange("layers", "layers.two")}},
	}, scale(500, 5_000))
}

// TestRacesCache: a cache that was made while the tree changed, or right before and after, never hides a change, though the length
// of a file and its time of modification be as they were.
func TestRacesCache(t *testing.T) {
	wrong, n := 0, 0
	eachRacer(t, func(t *testing.T, r *racer) {
		cached := &job{args: []string{"fileids", "--cache=made/cache", "in"}, lines: true}
		plain := &job{args: []string{"fileids", "in"}, lines: true}
		layer := &job{args: []string{"mklayer", "-C", "in", "--trust-cache=made/cache", "now.list"}}
		change := race{name: "a file, its attributes and its name", deeds: []deed{
			secretly(file, write(file, "I", 0)), secretly(file, write(file, "J", 0)), exchange(file, "good"),
			chmod(file, 0o600), exchange(file, "good"), secretly(large, write(large, "1", largeSize-1)),
			secretly(large, write(large, "2", largeSize-1)), link(file, "in/a/new"), remove("in/a/new")}}
		for range scale(20, 500) {
			end, done := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(done)
				r.swap(change, end)
			}()
			r.run(cached) // of no one moment, or an error
			close(end)
			<-done
			for range 3 {
				check(t, change.deeds[n%2](r)) // right after the end of a run, and right before the next
				got, errs, err := r.run(cached)
				want, _, err2 := r.run(plain)
				if err != nil || err2 != nil || !bytes.Equal(got, want) {
					wrong++
					t.Fatalf("with the cache, %v, %v, %s\n%s\nwithout\n%s", err, err2, errs, got, want)
				}
				check(t, os.WriteFile(r.path("now.list"), want, 0o644))
				check(t, change.deeds[(n+1)%2](r)) // now the list is old
				if _, errs, err := r.run(layer); err == nil || !strings.Contains(errs, "changed") {
					wrong++
					t.Fatalf("a layer of an old list: %v\n%s", err, errs)
				}
				n++
			}
		}
	})
	count(t, n, "lists with a cache, of a tree that changes", wrong)
}
