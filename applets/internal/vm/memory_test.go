package vm

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestNeedCovers the least that booted with Debian's 6.1.0-56-cloud-amd64 under QEMU 7.2, found by bisecting or by
// steps, in MiB, or one more than the most that did not. Where one of two is 0 it was not looked for.
func TestNeedCovers(t *testing.T) {
	const kernel = 0x3378000
	for _, row := range []struct {
		name             string
		unpacked, loaded float64
		window           int64
		tmpfs, ramfs     int64
	}{
		{"hello", 1.9, 1.9, 0, 72, 72},
		{"random", 32, 33.9, 0, 148, 137},
		{"random", 128, 129.9, 0, 442, 332},
		{"lz4", 32, 1.5, 8, 114, 110},
		{"lz4", 128, 1.8, 8, 311, 211},
		{"random", 514, 514, 0, 0, 1162},
		{"random", 1026, 1026, 0, 3203, 2215},
		{"text", 1802, 1802, 0, 0, 3902},
		{"lz4", 1026, 5.5, 8, 2114, 1189},
		{"xz -9", 4, 2.8, 64, 141, 0},
		{"zstd -22", 514, 1, 128, 0, 716},
	} {
		i := Initrd{Loaded: int64(row.loaded * mib), Unpacked: int64(row.unpacked * mib), Window: row.window * mib}
		for rootfs, measured := range map[string]int64{Tmpfs: row.tmpfs, Ramfs: row.ramfs} {
			got := Need(i, kernel, rootfs) / mib
			if measured > 0 && (got < measured || got > measured*13/10) {
				t.Errorf("%+v on %s: %d MiB", row, rootfs, got)
			}
		}
	}
}

// TestNeedGrows: more of anything needs more, a tmpfs needs no less than a ramfs, and nothing overflows.
func TestNeedGrows(t *testing.T) {
	sizes := []int64{math.MinInt64, 0, 1, 4096, mib, 1 << 32, 15e12, 1 << 56, math.MaxInt64}
	for _, loaded := range sizes {
		for _, unpacked := range sizes {
			for _, kernel := range sizes {
				n := Need(Initrd{Loaded: loaded, Unpacked: unpacked}, kernel, Tmpfs)
				m := Need(Initrd{Loaded: loaded, Unpacked: unpacked}, kernel, Ramfs)
				least := max(min(loaded, 1<<56), min(unpacked, 1<<56), min(kernel, 1<<56))
				if n < m || m < least || m < 18*mib {
					t.Errorf("%d, %d, %d: %d on a tmpfs, %d on a ramfs", loaded, unpacked, kernel, n, m)
				}
			}
		}
	}
}

// A member of an archive for a test; mode 0 is a regular file.
type member struct {
	name       string
	size       int
	ino, links int
	mode       int
}

// archived makes one newc archive. Content is zeros.
func archived(members ...member) []byte {
	var b bytes.Buffer
	for _, m := range append(members, member{name: "TRAILER!!!", mode: 1}) {
		if m.mode == 0 {
			m.mode = 0o100644
		}
		fmt.Fprintf(&b, "070701%08x%08x%08x%08x%08x%08x%08x%032x%08x%08x%s", m.ino, m.mode, 0, 0, m.links, 0, m.size, 0, len(m.name)+1, 0, m.name)
		b.Write(make([]byte, 1+-(b.Len()+1)&3))
		b.Write(make([]byte, (m.size+3)&^3))
	}
	return b.Bytes()
}

func TestMeasure(t *testing.T) {
	const kib, empty = 1024, 5 * 1024 // what a file takes, at least; a further name takes 4 KiB, all names together 8
	for name, test := range map[string]struct {
		initrd []byte
		want   int64
	}{
		"nothing in it":        {archived(), 0},
		"pages":                {archived(member{name: "a"}, member{name: "b", size: 1}, member{name: "c", size: 4096}, member{name: "d", size: 4097}), 3*empty + 9*kib},
		"directory":            {archived(member{name: "d", mode: 0o40755}), empty},
		"replaced":             {archived(member{name: "a", size: 9000}, member{name: "./a", size: 8192}), 13 * kib},
		"replaced by more":     {archived(member{name: "a"}, member{name: "a", size: 8192}), 9 * kib},
		"replaced, other type": {archived(member{name: "a", size: 4096}, member{name: "a", mode: 0o40755}), empty},
		"in the next segment":  {append(archived(member{name: "a", size: 8192}), archived(member{name: "a"}, member{name: "b"})...), 10 * kib},
		"hard links":           {archived(member{"a", 8192, 5, 3, 0}, member{"b", 8192, 5, 3, 0}, member{"c", 0, 5, 3, 0}), (9 + 8 + 2*4) * kib},
		"content on the last":  {archived(member{"a", 0, 5, 2, 0}, member{"b", 8192, 5, 2, 0}), (9 + 8 + 4) * kib},
		"one inode, no links":  {archived(member{"a", 8192, 5, 1, 0}, member{"b", 8192, 5, 1, 0}), 18 * kib},
		"links end at TRAILER": {append(archived(member{"a", 8192, 5, 2, 0}), archived(member{"b", 8192, 5, 2, 0})...), (18 + 8) * kib},
		"a link replaced":      {archived(member{"a", 8192, 5, 2, 0}, member{"b", 0, 5, 2, 0}, member{name: "a", mode: 0o40755}), (14 + 8) * kib},
		"gone, then new":       {archived(member{name: "a", size: 8192}, member{name: "a", mode: 0o40755}, member{name: "b"}), 10 * kib},
	} {
		got, err := Measure(bytes.NewReader(test.initrd))
		if err != nil || got.Unpacked != test.want || got.Loaded != int64(len(test.initrd)) || got.Rdinit {
			t.Errorf("%s: %+v, %v; want %d of %d", name, got, err, test.want, len(test.initrd))
		}
		z, err := Measure(bytes.NewReader(packed(t, "zstd", test.initrd)))
		if err != nil || z.Unpacked != test.want || z.Loaded != int64(len(packed(t, "zstd", test.initrd))) {
			t.Errorf("%s, compressed: %+v, %v", name, z, err)
		}
	}
}

func TestMeasureRdinit(t *testing.T) {
	for _, name := range []string{"rdinit", "./rdinit", "/rdinit"} {
		if got, err := Measure(bytes.NewReader(archived(member{name: name}))); err != nil || !got.Rdinit {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if got, _ := Measure(bytes.NewReader(archived(member{name: "bin/rdinit"}))); got.Rdinit {
		t.Error("in a directory")
	}
}

// zeros is an endless initrd without a file.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestMeasureTooLarge: what cannot be an initrd is refused, without reading it where its size is known.
func TestMeasureTooLarge(t *testing.T) {
	if !testing.Short() {
		if _, err := Measure(zeros{}); err != errTooLarge {
			t.Error(err)
		}
	}
	for _, size := range []int64{1 << 32, 15e12} {
		f, err := os.Create(filepath.Join(t.TempDir(), "sparse"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := f.Truncate(size); err != nil {
			t.Skip(err)
		}
		if _, err := Measure(f); err != errTooLarge {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

func TestMeasureErrors(t *testing.T) {
	whole := archived(member{name: "a", size: 8192})
	if _, err := Measure(bytes.NewReader(whole[:5000])); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
	if _, err := Measure(strings.NewReader("#!/bin/sh\n")); err == nil || !strings.Contains(err.Error(), "not an initrd") {
		t.Error(err)
	}
}
