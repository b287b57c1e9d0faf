package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/ctbox/ctbox/applets/internal/list"
)

// archives are where an archive can go, after something else that was written there.
var archives = map[string]func(t *testing.T) (w io.Writer, got func() []byte){
	"file":     func(t *testing.T) (io.Writer, func() []byte) { return begun(t, os.O_RDWR) },
	"appended": func(t *testing.T) (io.Writer, func() []byte) { return begun(t, os.O_RDWR|os.O_APPEND) },
	"within":   within,
	"pipe":     pipe,
	"wrapped": func(t *testing.T) (io.Writer, func() []byte) {
		f, got := begun(t, os.O_RDWR)
		return struct{ io.Writer }{f}, got
	},
}

const before = "what was there before\n"

// begun is a file that has been written to already.
func begun(t *testing.T, flags int) (*os.File, func() []byte) {
	path := filepath.Join(t.TempDir(), "out")
	f, err := os.OpenFile(path, os.O_CREATE|flags, 0o644)
	must(t, err)
	t.Cleanup(func() { f.Close() })
	_, err = f.WriteString(before)
	must(t, err)
	return f, func() []byte {
		all, err := os.ReadFile(path)
		must(t, err)
		return bytes.TrimPrefix(all, []byte(before))
	}
}

// within is a place in the middle of a larger file; what is after it must stay.
func within(t *testing.T) (io.Writer, func() []byte) {
	const size = 32 << 20
	f, _ := begun(t, os.O_RDWR)
	must(t, f.Truncate(size))
	return f, func() []byte {
		end, err := f.Seek(0, io.SeekCurrent)
		must(t, err)
		if info, err := f.Stat(); err != nil || info.Size() != size {
			t.Errorf("size is %d, %v", info.Size(), err)
		}
		all, err := os.ReadFile(f.Name())
		must(t, err)
		return bytes.TrimPrefix(all[:end], []byte(before))
	}
}

func pipe(t *testing.T) (io.Writer, func() []byte) {
	r, w, err := os.Pipe()
	must(t, err)
	all := make(chan []byte)
	go func() {
		text, _ := io.ReadAll(r)
		r.Close()
		all <- text
	}()
	return w, func() []byte { w.Close(); return <-all }
}

// TestArchiveAnywhere: the archive is the same wherever it goes, whatever the number of workers.
func TestArchiveAnywhere(t *testing.T) {
	dir := t.TempDir()
	records := manyFiles(t, dir, 120)
	for kind, pack := range packers {
		var want bytes.Buffer
		must(t, pack(t, dir, records, nil, &want))
		for _, procs := range []int{1, 4} {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
			for to, open := range archives {
				w, got := open(t)
				must(t, pack(t, dir, records, nil, w))
				if !bytes.Equal(got(), want.Bytes()) {
					t.Errorf("%s to %s, %d processors: another one", kind, to, procs)
				}
			}
		}
	}
}

// TestArchiveUnwritable: an error of writing is told as it is, and ends the work.
func TestArchiveUnwritable(t *testing.T) {
	dir := t.TempDir()
	records := manyFiles(t, dir, 120)
	path := write(t, t.TempDir(), "out", "")
	for kind, pack := range packers {
		f, err := os.Open(path) // only to read
		must(t, err)
		defer f.Close()
		err = pack(t, dir, records, nil, f)
		var at *fs.PathError
		if !errors.As(err, &at) || at.Op != "write" || at.Path != path {
			t.Errorf("%s: %v", kind, err)
		}
		small := &roomFor{3 << 20}
		if err := pack(t, dir, records, nil, small); !errors.Is(err, io.ErrShortWrite) {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// roomFor has room for so many bytes.
type roomFor struct{ bytes int }

func (r *roomFor) Write(p []byte) (int, error) {
	if r.bytes -= len(p); r.bytes < 0 {
		return 0, io.ErrShortWrite
	}
	return len(p), nil
}

// TestBuffer: what is written, lent and copied comes out in order, at any size.
func TestBuffer(t *testing.T) {
	for to, open := range archives {
		w, got := open(t)
		b := newBuffer(w)
		var want []byte
		for i := range 400 {
			text := bytes.Repeat([]byte{byte(i)}, i*i*7%3000)
			if i%50 == 0 {
				text = bytes.Repeat([]byte{byte(i)}, bufferSize+i-100)
			}
			want = append(want, text...)
			switch i % 3 {
			case 0:
				must(t, b.write(text))
			case 1:
				must(t, b.lend(text))
			case 2:
				must(t, b.copy(bytes.NewReader(text), int64(len(text)), nil))
			}
			if i%7 == 0 {
				must(t, b.settle())
				clear(text) // it was lent until now
			}
		}
		must(t, b.flush())
		if !bytes.Equal(got(), want) {
			t.Errorf("%s: other bytes", to)
		}
	}
}

// TestReadAll: a file has as many bytes as it should have, in whatever pieces they come.
func TestReadAll(t *testing.T) {
	bad := errors.New("bad")
	for _, size := range []int{0, 1, 2, 5000} {
		text := strings.Repeat("x", size)
		for real, want := range map[int]error{size: nil, size + 1: ErrRacing, size - 1: ErrRacing} {
			if real < 0 {
				continue
			}
			text := strings.Repeat("x", real)
			for how, r := range map[string]io.Reader{
				"whole":  strings.NewReader(text),
				"bytes":  iotest.OneByteReader(strings.NewReader(text)),
				"halves": iotest.HalfReader(strings.NewReader(text)),
			} {
				p := make([]byte, size+1)
				err := readAll(r, p)
				if how != "whole" && want != nil && real > size && err == nil {
					continue // what comes later than the last byte is not asked for; only Unchanged tells
				}
				if err != want || err == nil && string(p[:size]) != text {
					t.Errorf("%d bytes of %d, %s: %v", real, size, how, err)
				}
			}
		}
		if err := readAll(io.MultiReader(strings.NewReader(text[:size/2]), iotest.ErrReader(bad)), make([]byte, size+1)); err != bad {
			t.Errorf("%d: %v", size, err)
		}
	}
}

// TestNoMemoryForEntries: files and symbolic links cost no memory each, whatever they hold.
func TestNoMemoryForEntries(t *testing.T) {
	if runtime.GOOS != "linux" || strconv.IntSize < 64 {
		t.Skip("names are copied for system calls here")
	}
	dir := t.TempDir()
	for i := range 2000 {
		name := fmt.Sprintf("d%d/f%04d", i%2, i)
		if i%10 == 0 {
			must(t, os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755))
			must(t, os.Symlink(name, filepath.Join(dir, name)))
		} else {
			write(t, dir, name, strings.Repeat("x", i))
		}
	}
	records := identifyDir(t, dir)
	some := strings.Join(strings.SplitAfter(records, "\x00")[:200], "")
	for kind, pack := range packers {
		count := func(records string) float64 {
			return testing.AllocsPerRun(3, func() { must(t, pack(t, dir, records, nil, io.Discard)) })
		}
		if few, many := count(some), count(records); many-few > 200 {
			t.Errorf("%s: %v allocations for 200 entries, %v for 2000", kind, few, many)
		}
	}
}

// once fails once, so that whoever loses the error has no other.
type once struct{ failed bool }

func (o *once) Write(p []byte) (int, error) {
	if !o.failed {
		o.failed = true
		return 0, io.ErrShortWrite
	}
	return len(p), nil
}

// TestArchiveFull: an error of the writer is told wherever in an archive it comes. The first write is of a full buffer, and that
// ends anywhere in what follows the first file.
func TestArchiveFull(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "b"+strings.Repeat("n", 150), strings.Repeat("b", 600))
	must(t, os.Symlink(strings.Repeat("target", 30), filepath.Join(dir, "c")))
	must(t, os.Link(filepath.Join(dir, "b"+strings.Repeat("n", 150)), filepath.Join(dir, "d"+strings.Repeat("n", 150))))
	must(t, os.MkdirAll(filepath.Join(dir, "e", strings.Repeat("n", 150)), 0o755))
	program := write(t, t.TempDir(), strings.Repeat("p", 100), "\x7fELF\x02\x01\x01"+strings.Repeat("\x00", 1000))
	must(t, os.Chmod(program, 0o755))
	for short := 0; short < 5<<10; short += 64 {
		write(t, dir, "a", strings.Repeat("a", bufferSize-short))
		records := identifyDir(t, dir)
		for kind, pack := range packers {
			if err := pack(t, dir, records, nil, new(once)); err != io.ErrShortWrite && !strings.HasSuffix(fmt.Sprint(err), ": short write") {
				t.Errorf("%s: %d bytes left after the first: %v", kind, short, err)
			}
		}
		for _, last := range []string{"", nul("./z 0040755-0-0-0")} {
			f, err := OpenInit(program)
			must(t, err)
			in, err := list.Open("-", strings.NewReader(records+last), true)
			must(t, err)
			i := Initrd{List: in, Source: openDir(t, dir), Init: f}
			if err := i.Write(new(once)); !errors.Is(err, io.ErrShortWrite) {
				t.Errorf("with an init before %q: %d bytes left after the first: %v", last, short, err)
			}
			f.Close()
			in.Close()
		}
	}
}

// TestPass: a large file that is not as long as it was is noticed, however it is copied.
func TestPass(t *testing.T) {
	for _, c := range []struct {
		text string
		size int64
		want error
	}{{"12345", 5, nil}, {"1234", 5, ErrRacing}, {"123456", 5, ErrRacing}, {"", 1, ErrRacing}, {"12345", 0, ErrRacing}} {
		var out bytes.Buffer
		var s stream
		s.begin(strings.NewReader(c.text))
		b := newBuffer(&out)
		if err := b.copy(&s, c.size, nil); err != c.want || err == nil && out.String() != c.text {
			t.Errorf("%q of %d: %q, %v", c.text, c.size, out.String(), err)
		}
		s.end()
	}
}
