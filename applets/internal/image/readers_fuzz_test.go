package image

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ctbox/ctbox/applets/internal/tarball"
)

// pythonTar reads archives, each after its length, and says what is in them: a line of the numbers of entries, and a line for each.
const pythonTar = `
import io, os, struct, sys, tarfile
f, out = sys.stdin.buffer, sys.stdout
while True:
	head = f.read(8)
	if len(head) < 8: break
	data = f.read(struct.unpack("<Q", head)[0])
	lines = []
	try:
		for m in tarfile.open(fileobj=io.BytesIO(data), mode="r:"):
			size = m.size if m.isreg() else 0
			kind = "0" if m.isreg() else m.type.decode("latin-1")
			lines.append("%s %s %s %d %o" % (kind, os.fsencode(m.name).hex(), os.fsencode(m.linkname).hex() if m.islnk() or m.issym() else "", size, m.mode & 0o7777))
	except Exception as e:
		lines.append("error " + repr(e))
	out.write("%d\n" % len(lines) + "".join(l + "\n" for l in lines))
	out.flush()
`

// A python is a running interpreter: to start one for each input would take most of the time.
type python struct {
	in  io.Writer
	out *bufio.Reader
}

func startPython(f *testing.F) *python {
	path, err := exec.LookPath("python3")
	if err != nil && os.Getenv("CI") == "true" {
		f.Fatal(err)
	} else if err != nil {
		f.Skip(err)
	}
	cmd := exec.Command(path, "-c", pythonTar)
	cmd.Stderr = os.Stderr
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { in.Close(); cmd.Wait() })
	return &python{in, bufio.NewReader(out)}
}

func (p *python) read(t *testing.T, b []byte) (lines []string) {
	go p.in.Write(append(binary.LittleEndian.AppendUint64(nil, uint64(len(b))), b...))
	var n int
	if _, err := fmt.Fscanln(p.out, &n); err != nil {
		t.Fatal(err)
	}
	for range n {
		line, err := p.out.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, strings.TrimSuffix(line, "\n"))
	}
	return lines
}

// odd is a header that Python reads in a way of its own, or not at all, and says nothing: numbers that are neither octal nor of 8 bits
// after a byte 0x80, names in two parts where that is not the format, and several headers before one entry, of which it believes the first.
func odd(b []byte) bool {
	plain := regexp.MustCompile(`^([0-7]+[ \x00]*|\x00*)$`)
	before := false
	for block := range slices.Chunk(b, blockSize) {
		if len(block) < blockSize || string(block[257:262]) != "ustar" {
			continue
		}
		for _, at := range [][2]int{{100, 108}, {108, 116}, {116, 124}, {124, 136}, {136, 148}, {329, 337}, {337, 345}} {
			if field := block[at[0]:at[1]]; field[0] != 0x80 && !plain.Match(field) {
				return true
			}
		}
		about := bytes.IndexByte([]byte("xLK"), block[156]) >= 0
		if about && before || string(block[257:265]) != "ustar\x0000" && (string(block[257:265]) != "ustar  \x00" || block[345] != 0) {
			return true
		}
		before = about
	}
	return false
}

// A layer that is found well has the same files for others as for the engines: what one looked at must not be news to the next. A
// long name that is empty is none, which Python does not know (pax(1): a value of no length takes the record back), and where it finds no
// header that it knows, its list ends.
func FuzzReaders(f *testing.F) {
	for _, b := range hostileTars(f) {
		f.Add(b)
	}
	p := startPython(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		b = sealed(b)
		if len(b) > 1<<20 || odd(b) || lintBytes(b) != nil {
			return
		}
		var ours []string
		r := tarball.NewReader(bytes.NewReader(b))
		h, err := r.Next()
		for ; err == nil; h, err = r.Next() {
			size, link := h.Size, ""
			if h.Kind == tarball.Link || h.Kind == tarball.Symlink {
				link = fmt.Sprintf("%x", h.Target)
			}
			ours = append(ours, fmt.Sprintf("%c %x %s %d %o", h.Kind, bytes.TrimRight(h.Name, "/"), link, size, h.Mode))
		}
		theirs := p.read(t, b)
		if slices.ContainsFunc(theirs, func(line string) bool { return line[1:3] == "  " || strings.HasPrefix(line, "error ") }) {
			return
		}
		if err != io.EOF || !slices.Equal(ours[:min(len(ours), len(theirs))], theirs) {
			t.Errorf("%v\n%s\nis for python\n%s", err, strings.Join(ours, "\n"), strings.Join(theirs, "\n"))
		}
	})
}
