// Package wire is what the host (runkvm) and the guest's init (rdinit) say to each other: a greeting on a serial line, then
// frames in both directions, through memory that both see or, where that cannot be, on the serial line itself.
//
// Invariant: a run is a success only when an End arrives that carries the Job's nonce and counts and sums exactly the
// bytes that arrived before it. All else that the guest may send, by accident or on purpose, is an error.
package wire

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"io"
	"strings"
)

// Words on the guest kernel's command line.
const (
	// ParamLine names the serial line: "ctbox.line=ttyS1". Without it rdinit is not under runkvm.
	ParamLine = "ctbox.line="
	// ParamMemory is where the shared memory begins: "ctbox.memory=0x800000", a physical address. It is Shared bytes long,
	// and the kernel must have been told to leave it alone.
	ParamMemory = "ctbox.memory="
	// ParamRoot says that the root is on the disk: "ctbox.root=/dev/nvme0n1,ext4,rw", with its file system and "rw" or "ro".
	ParamRoot = "ctbox.root="
)

// Paths of the guest's init: in an initrd that brings it, and where the host adds it, in which case it removes its name, so
// that a tree is the same with and without.
const (
	OwnInit   = "/rdinit"
	AddedInit = "/.rdinit"
)

// MostPayload is the most that a frame holds, in bytes.
const MostPayload = 256 << 10

// The kinds of frames.
const (
	Alive  = 'a' // guest to host: the Job was read; the first frame, and empty
	Stdout = 'o' // guest to host: bytes of standard output
	Stderr = 'e' // guest to host: bytes of standard error
	Credit = 'c' // guest to host: the guest used up so many bytes of Stdin or Tree (8 bytes, little-endian)
	Ended  = 'x' // guest to host: an End; nothing comes after it

	Start = 'j' // host to guest: a Job, the first frame
	Tree  = 't' // host to guest: bytes of the initrd to run, if the Job says so; an empty frame ends it
	Stdin = 'i' // host to guest: bytes of standard input, if the Job says so; an empty frame ends it
)

// HeadBytes is the size of a frame's head: the kind and the payload's size (4 bytes, little-endian).
const HeadBytes = 5

// Window is how many bytes of Stdin and Tree may be on their way before the guest gives Credit. A tty loses what overruns
// its buffer, so on a serial line it is small.
func Window(memory bool) int64 {
	if memory {
		return Shared
	}
	return 2 << 10
}

// A Hello is the line by which the guest says that it is up, and the offer of shared memory.
type Hello struct {
	Token  uint64 // stands in the shared memory too, so that the host can tell that it sees the same
	Memory bool
}

// helloPrefix begins the line; the number is the version of all that this package describes.
const helloPrefix = "ctbox rdinit 1 "

// String is the line, with its newline.
func (h Hello) String() string {
	offer := "serial"
	if h.Memory {
		offer = "memory"
	}
	token := hex.EncodeToString(binary.BigEndian.AppendUint64(nil, h.Token))
	return helloPrefix + token + " " + offer + "\n" // package fmt would be a guest's first use of it
}

// ErrVersion is a greeting of some other version of rdinit.
var ErrVersion = errors.New("the initrd's /rdinit is of another version of ctbox")

// ParseHello reads the line without its newline.
func ParseHello(line string) (Hello, error) {
	rest, ok := strings.CutPrefix(line, helloPrefix)
	if !ok {
		if strings.HasPrefix(line, "ctbox rdinit ") {
			return Hello{}, ErrVersion
		}
		return Hello{}, errors.New("not a greeting")
	}
	token, offer, _ := strings.Cut(rest, " ")
	b, err := hex.DecodeString(token)
	if err != nil || len(b) != 8 || offer != "memory" && offer != "serial" {
		return Hello{}, errors.New("damaged greeting")
	}
	return Hello{Token: binary.BigEndian.Uint64(b), Memory: offer == "memory"}, nil
}

// The host's answer to a Hello, one line, says where frames go.
const (
	AnswerMemory = "memory\n"
	AnswerSerial = "serial\n"
)

// AppendFrame appends a frame's head to b; the payload follows as it is.
func AppendFrame(b []byte, kind byte, size int) []byte {
	return binary.LittleEndian.AppendUint32(append(b, kind), uint32(size))
}

// A Writer writes frames.
type Writer struct {
	w   io.Writer
	buf []byte
}

// NewWriter returns a Writer on w. Each frame is one Write.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Frame writes one frame of at most MostPayload bytes.
func (w *Writer) Frame(kind byte, payload []byte) error {
	if len(payload) > MostPayload {
		return errSize
	}
	w.buf = append(AppendFrame(w.buf[:0], kind, len(payload)), payload...)
	_, err := w.w.Write(w.buf)
	return err
}

var errSize = errors.New("frame is too large")

// A Reader reads frames.
type Reader struct {
	r    io.Reader
	head [HeadBytes]byte
	buf  []byte
}

// NewReader returns a Reader on r.
func NewReader(r io.Reader) *Reader { return &Reader{r: r} }

// Next returns the next frame. The payload is valid until the next call. io.EOF comes only between frames.
func (r *Reader) Next() (kind byte, payload []byte, err error) {
	if _, err := io.ReadFull(r.r, r.head[:]); err != nil {
		return 0, nil, err
	}
	announced := binary.LittleEndian.Uint32(r.head[1:])
	if announced > MostPayload {
		return 0, nil, errSize
	}
	size := int(announced)
	if cap(r.buf) < size {
		r.buf = make([]byte, size, MostPayload)
	}
	r.buf = r.buf[:size]
	if _, err := io.ReadFull(r.r, r.buf); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, err
	}
	return r.head[0], r.buf, nil
}

// AppendCredit appends the payload of a Credit frame.
func AppendCredit(b []byte, n int64) []byte { return binary.LittleEndian.AppendUint64(b, uint64(n)) }

// ParseCredit reads what AppendCredit wrote.
func ParseCredit(b []byte) (n int64, ok bool) {
	d := decoder{b: b}
	n = int64(d.uint64())
	return n, d.end() == nil
}

// A Job is what the guest is to do.
type Job struct {
	Nonce     [16]byte // the End must bear it
	Sec, Nsec int64    // the time of day
	Seed      []byte   // for the kernel's random number generator
	Tree      bool     // the root is to be made from Tree frames; otherwise it is there already
	Stdin     bool     // Stdin frames will come; otherwise standard input is empty
	Dir       string   // working directory
	Args      []string // program and arguments
	Env       []string // the whole environment
}

// AppendTo appends the encoding of j: fixed fields, then strings, each after its length.
func (j *Job) AppendTo(b []byte) []byte {
	b = append(b, j.Nonce[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(j.Sec))
	b = binary.LittleEndian.AppendUint64(b, uint64(j.Nsec))
	b = append(b, flag(j.Tree), flag(j.Stdin))
	b = appendString(b, string(j.Seed))
	b = appendString(b, j.Dir)
	for _, list := range [][]string{j.Args, j.Env} {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(list)))
		for _, s := range list {
			b = appendString(b, s)
		}
	}
	return b
}

func flag(set bool) byte {
	if set {
		return 1
	}
	return 0
}

func appendString(b []byte, s string) []byte {
	return append(binary.LittleEndian.AppendUint32(b, uint32(len(s))), s...)
}

// ParseJob reads what AppendTo wrote.
func ParseJob(b []byte) (*Job, error) {
	d := decoder{b: b}
	j := new(Job)
	copy(j.Nonce[:], d.take(len(j.Nonce)))
	j.Sec, j.Nsec = int64(d.uint64()), int64(d.uint64())
	j.Tree, j.Stdin = d.flag(), d.flag()
	j.Seed = []byte(d.string())
	j.Dir = d.string()
	j.Args, j.Env = d.strings(), d.strings()
	return j, d.end()
}

// How a program ended.
const (
	Exited   = 0 // Code is its exit status
	Signaled = 1 // Code is the signal
	Refused  = 2 // it did not start, Code is 126 or 127 as in a shell, or 125; Message says why
)

// An End says how the program ended and what it wrote.
type End struct {
	Nonce   [16]byte
	How     byte
	Code    byte
	Out     Sum
	Err     Sum
	Message string
}

// A Sum counts the bytes of a stream and sums them up (CRC-32C, RFC 3720 appendix B.4).
type Sum struct {
	Bytes uint64
	CRC   uint32
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Add adds bytes to the sum.
func (s *Sum) Add(p []byte) {
	s.Bytes += uint64(len(p))
	s.CRC = crc32.Update(s.CRC, castagnoli, p)
}

// AppendTo appends the encoding of e.
func (e *End) AppendTo(b []byte) []byte {
	b = append(append(b, e.Nonce[:]...), e.How, e.Code)
	for _, s := range [...]Sum{e.Out, e.Err} {
		b = binary.LittleEndian.AppendUint64(b, s.Bytes)
		b = binary.LittleEndian.AppendUint32(b, s.CRC)
	}
	return appendString(b, e.Message)
}

// ParseEnd reads what AppendTo wrote, and nothing that says anything impossible.
func ParseEnd(b []byte) (*End, error) {
	d := decoder{b: b}
	e := new(End)
	copy(e.Nonce[:], d.take(len(e.Nonce)))
	if p := d.take(2); p != nil {
		e.How, e.Code = p[0], p[1]
	}
	for _, s := range [...]*Sum{&e.Out, &e.Err} {
		s.Bytes, s.CRC = d.uint64(), d.uint32()
	}
	e.Message = d.string()
	if e.How > Refused || e.How == Signaled && (e.Code == 0 || e.Code > 64) || e.How == Refused && e.Code < 125 {
		d.bad = true
	}
	return e, d.end()
}

// A decoder takes fields off b; it is bad once a field is missing, and gives zeros from then on.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) take(n int) []byte {
	if d.bad || n < 0 || n > len(d.b) {
		d.bad = true
		return nil
	}
	p := d.b[:n]
	d.b = d.b[n:]
	return p
}

func (d *decoder) uint64() uint64 {
	if p := d.take(8); p != nil {
		return binary.LittleEndian.Uint64(p)
	}
	return 0
}

func (d *decoder) uint32() uint32 {
	if p := d.take(4); p != nil {
		return binary.LittleEndian.Uint32(p)
	}
	return 0
}

func (d *decoder) flag() bool {
	p := d.take(1)
	if p != nil && p[0] > 1 {
		d.bad = true
	}
	return p != nil && p[0] == 1
}

func (d *decoder) string() string { return string(d.take(int(d.uint32()))) }

func (d *decoder) strings() (all []string) {
	for n := d.uint32(); n > 0 && !d.bad; n-- {
		all = append(all, d.string())
	}
	return all
}

func (d *decoder) end() error {
	if d.bad || len(d.b) > 0 {
		return errors.New("damaged record")
	}
	return nil
}
