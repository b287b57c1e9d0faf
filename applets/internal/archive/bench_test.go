package archive

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ctbox/ctbox/applets/internal/statcache"
)

// benchTree is 1000 files of 2 kB in 10 directories, and its list.
func benchTree(b *testing.B) (dir string, records string) {
	dir = b.TempDir()
	for d := range 10 {
		must(b, os.Mkdir(filepath.Join(dir, fmt.Sprint("d", d)), 0o755))
		for f := range 100 {
			text := strings.Repeat(fmt.Sprintln(d, f), 512)[:2048]
			must(b, os.WriteFile(filepath.Join(dir, fmt.Sprint("d", d), fmt.Sprintf("file%02d", f)), []byte(text), 0o644))
		}
	}
	return dir, identifyDir(b, dir)
}

func BenchmarkIdentify(b *testing.B) {
	dir, _ := benchTree(b)
	b.ReportAllocs()
	for b.Loop() {
		top := openDir(b, dir)
		x := Identify{
			Open:  func() (Source, error) { return top.Share(), nil },
			Write: func([]byte) error { return nil },
			Fail:  func(err error) { b.Error(err) },
		}
		must(b, x.RunDir(top, false))
	}
}

// benchPack packs the tree of benchTree.
func benchPack(b *testing.B, kind string, w func() io.Writer) {
	dir, records := benchTree(b)
	b.ReportAllocs()
	for b.Loop() {
		must(b, packers[kind](b, dir, records, nil, w()))
	}
}

func discard() io.Writer { return io.Discard }

func BenchmarkLayer(b *testing.B)  { benchPack(b, "layer", discard) }
func BenchmarkInitrd(b *testing.B) { benchPack(b, "initrd", discard) }

func BenchmarkLayerToFile(b *testing.B) {
	f, err := os.Create(filepath.Join(b.TempDir(), "layer"))
	must(b, err)
	defer f.Close()
	benchPack(b, "layer", func() io.Writer {
		_, err := f.Seek(0, io.SeekStart)
		must(b, err)
		return f
	})
}

func BenchmarkTarWriter(b *testing.B) {
	w := NewTarWriter(io.Discard)
	short := TarEntry{Name: []byte("usr/share/doc/"), Kind: tarDirectory, Mode: 0o755}
	long := TarEntry{Name: []byte(strings.Repeat("directory-", 30)), Kind: tarDirectory, UID: 3000000}
	b.ReportAllocs()
	for b.Loop() {
		must(b, w.Header(&short))
		must(b, w.Header(&long))
	}
}

// BenchmarkIdentifyKnown lists what a cache knows.
func BenchmarkIdentifyKnown(b *testing.B) {
	dir, _ := benchTree(b)
	path := filepath.Join(b.TempDir(), "cache")
	top := openDir(b, dir)
	run := func() {
		must(b, statcache.Replace(path, func(err error) { b.Error(err) }, func(old *statcache.File, next *statcache.Next) (err, saved error) {
			x := Identify{
				Open:  func() (Source, error) { return top.Share(), nil },
				Write: func([]byte) error { return nil },
				Fail:  func(err error) { b.Error(err) },
				Cache: NewCache(old, next, func(err error) { b.Error(err) }),
			}
			err = x.RunDir(top, false)
			return err, x.Cache.Close()
		}))
	}
	run()
	b.ReportAllocs()
	for b.Loop() {
		run()
	}
}
