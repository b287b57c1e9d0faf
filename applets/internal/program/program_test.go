package program

import (
	"bytes"
	goelf "debug/elf"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ctbox/ctbox/applets/internal/fuzztest"
)

func write(t testing.TB, name, content string, mode os.FileMode) string {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestLook(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	os.Mkdir("bin", 0o777)
	os.Mkdir("bin/sub", 0o777)
	tool := write(t, filepath.Join(dir, "bin/tool"), "", 0o755)
	write(t, "bin/plain", "", 0o644)
	write(t, "here", "", 0o755)
	for _, c := range []struct{ path, name, want string }{
		{dir + "/bin", "tool", tool},
		{dir + "/absent:" + dir + "/here:" + dir + "/bin", "tool", tool},
		{dir + "/bin", "./here", "./here"},
		{"", "bin/tool", "bin/tool"},
		{"bin", "tool", ""},
		{"::.:./bin", "tool", ""},
		{".", "here", ""},
		{"", "here", ""},
		{dir + "/bin", "plain", ""},
		{dir + "/bin", "sub", ""},
		{dir + "/bin", "bin/plain", ""},
		{dir + "/bin", "", ""},
		{dir + "/bin", ".", ""},
		{dir + "/bin", "..", ""},
		{dir + "/bin/tool", "", ""},
		{dir, "bin/sub", ""},
	} {
		t.Setenv("PATH", c.path)
		got, err := Look(c.name)
		if err == nil && got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("PATH=%s: %q is %q, %v; want %q", c.path, c.name, got, err, c.want)
		}
	}
}

// elf64 is a program of so many bytes whose only program header names a loader.
func elf64(order binary.ByteOrder, machine uint16, loader string) string {
	b := make([]byte, 64+56)
	copy(b, "\x7fELF\x02\x01\x01")
	if order == binary.ByteOrder(binary.BigEndian) {
		b[5] = 2
	}
	order.PutUint16(b[16:], 2) // ET_EXEC
	order.PutUint16(b[18:], machine)
	order.PutUint32(b[20:], 1) // version
	order.PutUint64(b[32:], 64)
	order.PutUint16(b[54:], 56)
	order.PutUint16(b[56:], 1)
	order.PutUint32(b[64:], ptInterp)
	order.PutUint64(b[64+8:], uint64(len(b)))
	order.PutUint64(b[64+32:], uint64(len(loader)+1))
	return string(b) + loader + "\x00"
}

// elf32 is elf64 of the other class.
func elf32(machine uint16, loader string) string {
	order := binary.LittleEndian
	b := make([]byte, 52+32)
	copy(b, "\x7fELF\x01\x01\x01")
	order.PutUint16(b[18:], machine)
	order.PutUint32(b[20:], 1)
	order.PutUint32(b[28:], 52)
	order.PutUint16(b[42:], 32)
	order.PutUint16(b[44:], 1)
	order.PutUint32(b[52:], ptInterp)
	order.PutUint32(b[52+4:], uint32(len(b)))
	order.PutUint32(b[52+16:], uint32(len(loader)+1))
	return string(b) + loader + "\x00"
}

func TestLoader(t *testing.T) {
	for name, content := range map[string]string{
		"64":  elf64(binary.LittleEndian, 62, "/lib/ld.so"),
		"64b": elf64(binary.BigEndian, 22, "/lib/ld.so"),
		"32":  elf32(3, "/lib/ld.so"),
	} {
		order := binary.ByteOrder(binary.LittleEndian)
		if name == "64b" {
			order = binary.BigEndian
		}
		got, err := loader(strings.NewReader(content), []byte(content), order)
		if got != "/lib/ld.so" || err != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		for n := 64; n < len(content); n++ {
			if got, err := loader(strings.NewReader(content[:n]), []byte(content), order); err == nil {
				t.Errorf("%s cut at %d: loader %q", name, n, got)
			}
		}
	}
}

func TestCheckSelf(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := Check(self); err != nil {
		t.Error(err)
	}
	if err := Check(filepath.Join(t.TempDir(), "absent")); err == nil {
		t.Error("no error for a program that is not there")
	}
}

func TestFirstLine(t *testing.T) {
	dir := t.TempDir()
	for line, want := range map[string]string{
		"#!/bin/sh":                             "",
		"#!/bin/sh\n":                           "",
		"#!\t /bin/sh -e -u\n":                  "",
		"#!/bin/sh\t-e\n":                       "",
		"#!/usr/bin/env -i sh\n":                "",
		"#!/usr/bin/env\tno-such-shell\n":       "no-such-shell is missing",
		"#!\n":                                  "names no interpreter",
		"#! \t\n":                               "names no interpreter",
		"#!/bin/sh\r\n":                         "carriage return",
		"#!/usr/bin/env sh\r\n":                 "carriage return",
		"#!/" + strings.Repeat("x", 300) + "\n": "first line is too long",
		"#!/usr/bin/env no-such-shell\n":        "no-such-shell is missing",
		"#!/no/such/shell\n":                    "/no/such/shell is missing",
		"#!" + dir + "\n":                       "is missing",
	} {
		err := Check(write(t, filepath.Join(dir, "script"), line, 0o755))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%.40q: %v; want %q", line, err, want)
		}
	}
}

func FuzzELF(f *testing.F) {
	f.Add([]byte(elf64(binary.LittleEndian, 62, "/lib/ld.so")))
	f.Add([]byte(elf64(binary.BigEndian, 22, "")))
	f.Add([]byte(elf32(3, "/lib/ld.so")))
	f.Add([]byte(elf64(binary.LittleEndian, 62, "/lib/ld.so\x00more\x00")))
	for _, text := range []string{"", "#!", "#! \t/bin/sh -x\r\n", "#!/usr/bin/env sh\r\n", "#!" + strings.Repeat("x", 300), "\x7fELF", "\x7fELF\x02\x02" + strings.Repeat("\xff", 100)} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var path string
		var err error
		fuzztest.Bounded(t, len(b), 1<<20, 16, func() {
			elf(here{}, bytes.NewReader(b), b[:min(len(b), headLen)]) // must not panic
			path, err = Interpreter(bytes.NewReader(b))
		})
		theirs, theirErr := goelf.NewFile(bytes.NewReader(b))
		if err != nil || theirErr != nil {
			return
		}
		want := ""
		for _, p := range theirs.Progs {
			if text, err := io.ReadAll(io.LimitReader(p.Open(), 4096)); p.Type == goelf.PT_INTERP && err == nil && want == "" {
				want, _, _ = strings.Cut(string(text), "\x00")
			}
		}
		if path != want {
			t.Errorf("%q, but for debug/elf %q", path, want)
		}
	})
}

// TestInterpreter: what the kernel would start, whether or not it is here and for which machine.
func TestInterpreter(t *testing.T) {
	for text, want := range map[string]string{
		"#!/no/such/shell\n":                      "/no/such/shell",
		"#! /bin/sh -e":                           "/bin/sh",
		"#!/usr/bin/env no-such-shell\n":          "/usr/bin/env",
		elf64(binary.LittleEndian, 62, "/l/d.so"): "/l/d.so",
		elf64(binary.BigEndian, 22, "/l/d.so"):    "/l/d.so",
		elf32(40, "/l/d.so"):                      "/l/d.so",
		elf64(binary.LittleEndian, 183, ""):       "",
		"":                                        "error: empty file",
		"echo\n":                                  "error: neither a script nor an ELF program",
		"#!\n":                                    "error: the first line names no interpreter",
		"#!/bin/sh\r\n":                           "error: the first line ends in a carriage return",
		"\x7fELF\x02\x01\x01":                     "error: truncated ELF program",
		elf64(binary.LittleEndian, 62, "")[:70]:   "error: truncated ELF program",
	} {
		got, err := Interpreter(strings.NewReader(text))
		if err != nil {
			got = "error: " + err.Error()
		}
		if got != want {
			t.Errorf("%.40q: %s, not %s", text, got, want)
		}
	}
}

// What cannot be read is no program of the wrong kind.
func TestDirectoryAsProgram(t *testing.T) {
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if _, err := Interpreter(dir); !errors.Is(err, syscall.EISDIR) {
		t.Error(err)
	}
	if err := Check(dir.Name()); !errors.Is(err, syscall.EISDIR) {
		t.Error(err)
	}
}

// brokenAt cannot be read from an offset on.
type brokenAt struct {
	*strings.Reader
	off int64
}

func (b brokenAt) ReadAt(p []byte, off int64) (int, error) {
	if off >= b.off {
		return 0, syscall.EIO
	}
	return b.Reader.ReadAt(p, off)
}

// What cannot be read is not what is cut off.
func TestInterpreterReadError(t *testing.T) {
	text := elf64(binary.LittleEndian, 62, "/l/d.so")
	for off := range int64(strings.Index(text, "/l/d.so")) {
		if _, err := Interpreter(brokenAt{strings.NewReader(text), off}); err != nil && err != syscall.EIO {
			t.Errorf("from %d: %v", off, err)
		}
	}
	if _, err := Interpreter(brokenAt{strings.NewReader(text), 64}); err != syscall.EIO {
		t.Error(err)
	}
}
