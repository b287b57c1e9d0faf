package loader

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/ctbox/ctbox/tests/elftest"
)

// What the writer of the tests writes is read again, in all classes and byte orders.
func TestReadObject(t *testing.T) {
	for name, base := range architectures {
		f := base
		f.Interp, f.Needed, f.Soname, f.RPath = "/lib/ld.so", []string{"liba.so", "", "libb.so"}, "libme.so", "/r"
		o, err := readObject(bytes.NewReader(f.Bytes()))
		must(t, err)
		if o.interpreter != f.Interp || !reflect.DeepEqual(o.needed, f.Needed) || o.soname != f.Soname || o.rpath != f.RPath || o.hasRunpath || o.noDefault {
			t.Errorf("%s: %+v", name, o)
		}
		f.RunPath, f.NoDefault = str("/run"), true
		if o, err = readObject(bytes.NewReader(f.Bytes())); err != nil || o.rpath != "" || o.runpath != "/run" || !o.hasRunpath || !o.noDefault {
			t.Errorf("%s: %+v, %v", name, o, err)
		}
	}
}

// A file that is cut off anywhere is no other file.
func TestTruncated(t *testing.T) {
	f := elftest.File{Interp: "/lib/ld.so", Needed: []string{"liba.so", "libb.so"}, Soname: "libme.so", RPath: "/r"}
	for _, narrow := range []bool{false, true} {
		f.Narrow = narrow
		whole := f.Bytes()
		for n := range len(whole) {
			o, err := readObject(bytes.NewReader(whole[:n]))
			want := errCut
			if n < 4 {
				want = errOther
			}
			if err != want {
				t.Errorf("%d of %d bytes: %+v, %v", n, len(whole), o, err)
			}
		}
	}
}

func TestDamaged(t *testing.T) {
	whole := elftest.File{Interp: "/lib/ld.so", Needed: []string{"liba.so"}}.Bytes()
	const headers, load, interp, dynamic = 64, 64, 120, 176
	section := binary.LittleEndian.Uint64(whole[dynamic+8:])
	put := func(at uint64, v uint64) func([]byte) {
		return func(b []byte) { binary.LittleEndian.PutUint64(b[at:], v) }
	}
	for name, c := range map[string]struct {
		change func([]byte)
		want   error
	}{
		"class 0":               {func(b []byte) { b[4] = 0 }, errClass},
		"class 3":               {func(b []byte) { b[4] = 3 }, errClass},
		"byte order 3":          {func(b []byte) { b[5] = 3 }, errClass},
		"headers behind all":    {put(32, 1<<40), errCut},
		"headers far behind":    {put(32, 1<<63), errCut},
		"headers at the end":    {put(32, ^uint64(0)), errCut},
		"size of a header":      {func(b []byte) { b[54] = 32 }, errHeaders},
		"65535 headers":         {func(b []byte) { b[56], b[57] = 255, 255 }, errHeaders},
		"no headers":            {func(b []byte) { b[56] = 0 }, nil},
		"loader far behind":     {put(interp+8, 1<<63-1), errCut},
		"loader without end":    {put(interp+32, 5), errInterp},
		"long loader":           {put(interp+32, 1<<50), nil},
		"no bytes of a loader":  {put(interp+32, 0), nil},
		"large dynamic section": {put(dynamic+32, maxDynamic+1), errDynamic},
		"no dynamic section":    {put(dynamic+32, 0), nil},
		"odd dynamic section":   {put(dynamic+32, 17), nil},
		"dynamic far behind":    {put(dynamic+8, 1<<62), errCut},
		"strings nowhere":       {put(section+8, 0), errStrings},
		"strings at the end":    {put(section+8, ^uint64(0)), errStrings},
		"string behind table":   {put(section+16+8, 1<<20), errString},
		"string far behind":     {func(b []byte) { put(section+16+8, 1<<63)(b); put(section+32+8, 1<<63+9)(b) }, errString},
		"string without end":    {put(section+32+8, 5), errString},
		"nothing loaded":        {put(load+32, 1), errStrings},
		"far load":              {put(load+8, 1<<62-2), errCut},
		"load that wraps":       {put(load+8, ^uint64(0)-0x10), errStrings},
	} {
		b := bytes.Clone(whole)
		c.change(b)
		if o, err := readObject(bytes.NewReader(b)); err != c.want {
			t.Errorf("%s: %+v, %v, want %v", name, o, err, c.want)
		}
	}
}

// Strings, and what they take, are bounded: by the table, and all together.
func TestStringLimits(t *testing.T) {
	long := strings.Repeat("x", maxText-2)
	o, err := readObject(bytes.NewReader(elftest.File{RPath: long}.Bytes()))
	if err != nil || o.rpath != long {
		t.Errorf("%v", err)
	}
	for _, f := range []elftest.File{{RPath: long + "xx"}, {RPath: long, Soname: "liba.so"}, {Needed: []string{long[:maxText/2], long[:maxText/2]}}} {
		if _, err := readObject(bytes.NewReader(f.Bytes())); err != errString {
			t.Errorf("%v", err)
		}
	}
	// A dynamic section full of the same string.
	f := elftest.File{Needed: []string{strings.Repeat("x", 100)}}.Bytes()
	entry := f[len(f)-len("\x00")-101-4*16:][16:32]
	if entry[0] != tagNeeded {
		t.Fatalf("%x", entry)
	}
	section := binary.LittleEndian.Uint64(f[128:])
	const many = 2000
	g := append(bytes.Clone(f), bytes.Repeat(entry, many)...)
	g = append(g, f[section:]...)
	binary.LittleEndian.PutUint64(g[128:], uint64(len(f)))
	binary.LittleEndian.PutUint64(g[152:], uint64(many*16)+4*16)
	if _, err := readObject(bytes.NewReader(g)); err != errString {
		t.Errorf("%v", err)
	}
}

// A broken disk is not a broken file.
func TestReadError(t *testing.T) {
	broken := errors.New("input/output error")
	whole := elftest.File{Interp: "/ld.so", Needed: []string{"liba.so"}}.Bytes()
	for n := range 5 {
		if _, err := readObject(&breaks{whole, n, broken}); err != broken {
			t.Errorf("after %d reads: %v", n, err)
		}
	}
}

// breaks fails after so many reads.
type breaks struct {
	text []byte
	left int
	err  error
}

func (b *breaks) ReadAt(p []byte, off int64) (int, error) {
	if b.left--; b.left < 0 {
		return 0, b.err
	}
	return bytes.NewReader(b.text).ReadAt(p, off)
}

// Whatever a file holds, reading it ends, takes no more than the limits, and gives names that can be in paths.
func FuzzReadObject(f *testing.F) {
	for _, base := range architectures {
		base.Interp, base.Needed, base.Soname, base.RunPath = "/lib/ld.so", []string{"liba.so", "libb.so"}, "libme.so", str("$ORIGIN")
		f.Add(base.Bytes())
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		o, err := readObject(bytes.NewReader(text))
		if err != nil {
			if _, ok := err.(fault); !ok {
				t.Errorf("%T: %v", err, err)
			}
			return
		}
		all := strings.Join(append(o.needed, o.soname, o.rpath, o.runpath, o.interpreter), "")
		if len(all) > maxText || len(o.needed) > maxDynamic/8 || strings.Contains(all, "\x00") {
			t.Errorf("%d bytes, %d names", len(all), len(o.needed))
		}
	})
}

// Whatever a cache holds, its paths are bounded.
func FuzzParseCache(f *testing.F) {
	entries := [][2]string{{"liba.so", "/a/liba.so"}, {"libb.so", "/b/libb.so"}}
	for _, c := range []elftest.Cache{{Entries: entries}, {Big: true, Old: true, Entries: entries}, {Unmarked: true}} {
		f.Add(c.Bytes())
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		n := 0
		for name, paths := range parseCache(text) {
			for _, path := range paths {
				n++
				if len(name) >= maxPath || len(path) >= maxPath || strings.Contains(name+path, "\x00") {
					t.Errorf("%d, %d bytes", len(name), len(path))
				}
			}
		}
		if n > len(text)/cacheEntry {
			t.Errorf("%d entries", n)
		}
	})
}
