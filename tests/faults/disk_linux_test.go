//go:build faults

package faults

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// sector is what a disk writes whole or not at all, in bytes.
const sector = 4096

// A disk is one with a cache of its own, which loses it with the power: of what was written since the last flush, any part
// in any order. It is the memory of a file, which holds the file system.
type disk struct {
	data  []byte
	was   map[int][]byte // each sector that was written since the last flush, as it was then
	heard func(string)   // if not nil, this is no disk, and what is written to it is for the test
}

// openDisk makes a disk of a file.
func openDisk(path string) (*disk, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	data, err := unix.Mmap(int(f.Fd()), 0, int(fi.Size()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	return &disk{data: data, was: map[int][]byte{}}, err
}

// write keeps what it overwrites, until the next flush.
func (d *disk) write(at int, p []byte) {
	if d.heard != nil {
		d.heard(string(p))
		return
	}
	for n := at / sector; n*sector < at+len(p); n++ {
		if d.was[n] == nil {
			d.was[n] = append([]byte(nil), d.data[n*sector:(n+1)*sector]...)
		}
	}
	copy(d.data[at:], p)
}

// A supply is the power of all disks of a guest, and serves them by the protocol NBD, as qemu speaks it.
type supply struct {
	sync.Mutex
	disks map[string]*disk
	rand  *rand.Rand
	left  int           // requests until the cut; if negative, it is not yet known when
	wait  int           // requests until peek is called, if positive
	peek  func()        // with the lock held
	out   chan struct{} // closed when the power has been cut
}

// cut reports whether the power is off, or is cut now, during a request. Of a write, any part from its begin may have been done then.
func (s *supply) cut(d *disk, at int, written []byte) bool {
	if s.out == nil {
		return true
	}
	if s.left != 0 {
		s.left--
		return false
	}
	if d.heard == nil {
		d.write(at, written[:s.rand.IntN(len(written)/sector+1)*sector])
	}
	close(s.out)
	s.out = nil
	return true
}

// off ends the power for good, and does what a cut does to the disks.
func (s *supply) off() {
	s.Lock()
	defer s.Unlock()
	s.out = nil
	for _, d := range s.disks {
		d.lose(d.data, s.rand)
		clear(d.was)
	}
}

// lose makes data, which is as that of the disk, what a cut would leave of it: the cache was written to the last sector, or
// not at all, or here and there.
func (d *disk) lose(data []byte, r *rand.Rand) {
	how := r.IntN(3)
	for n, old := range d.was {
		if how == 1 || how == 2 && r.IntN(2) == 0 {
			copy(data[n*sector:], old)
		}
	}
}

// copyTo makes another disk, which no guest has in use, what this one would be if the power were cut now.
func (d *disk) copyTo(to *disk, r *rand.Rand) {
	for at := 0; at < len(d.data); at += sector {
		if from, to := d.data[at:at+sector], to.data[at:at+sector]; !bytes.Equal(from, to) { // so that holes remain
			copy(to, from)
		}
	}
	clear(to.was)
	d.lose(to.data, r)
}

// serve accepts connections, each for one disk, until the listener is closed.
func (s *supply) serve(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			in := bufio.NewReader(c)
			d, err := s.negotiate(in, c)
			for err == nil {
				err = s.request(d, in, c)
			}
		}()
	}
}

// Numbers of the protocol: https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md.
const (
	nbdMagic, nbdOption, nbdOptionReply = "NBDMAGIC", "IHAVEOPT", 0x3e889045565a9
	nbdRequest, nbdReply                = 0x25609513, 0x67446698
	optAbort, optGo                     = 2, 7
	repAck, repInfo, repUnsupported     = 1, 3, 1<<31 | 1
	cmdRead, cmdWrite, cmdEnd, cmdFlush = 0, 1, 2, 3
	flagHasFlags, flagFlush             = 1, 4
)

var errEnd = errors.New("end of the connection")

// negotiate finds out which disk a connection is for.
func (s *supply) negotiate(in io.Reader, out io.Writer) (*disk, error) {
	fmt.Fprintf(out, "%s%s\x00\x03", nbdMagic, nbdOption)
	var flags uint32
	if err := binary.Read(in, binary.BigEndian, &flags); err != nil {
		return nil, err
	}
	for {
		var head struct {
			Magic       [8]byte
			Option, Len uint32
		}
		if err := binary.Read(in, binary.BigEndian, &head); err != nil {
			return nil, err
		}
		data := make([]byte, head.Len)
		if _, err := io.ReadFull(in, data); err != nil {
			return nil, err
		}
		reply := func(kind uint32, data []byte) {
			b := binary.BigEndian.AppendUint64(nil, nbdOptionReply)
			b = binary.BigEndian.AppendUint32(b, head.Option)
			b = binary.BigEndian.AppendUint32(b, kind)
			b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
			out.Write(append(b, data...))
		}
		switch head.Option {
		case optAbort:
			reply(repAck, nil)
			return nil, errEnd
		case optGo:
			name := data[4:][:binary.BigEndian.Uint32(data)]
			d := s.disks[string(name)]
			if d == nil {
				return nil, fmt.Errorf("no disk %q", name)
			}
			info := binary.BigEndian.AppendUint64(make([]byte, 2), uint64(len(d.data)))
			reply(repInfo, binary.BigEndian.AppendUint16(info, flagHasFlags|flagFlush))
			reply(repAck, nil)
			return d, nil
		default:
			reply(repUnsupported, nil)
		}
	}
}

// request does one request. Without power there is neither effect nor reply.
func (s *supply) request(d *disk, in io.Reader, out io.Writer) error {
	var head struct {
		Magic       uint32
		Flags, Type uint16
		Handle, At  uint64
		Len         uint32
	}
	if err := binary.Read(in, binary.BigEndian, &head); err != nil {
		return err
	}
	if head.Magic != nbdRequest || head.Type == cmdEnd || head.At+uint64(head.Len) > uint64(len(d.data)) {
		return errEnd
	}
	var data []byte
	if head.Type == cmdWrite {
		data = make([]byte, head.Len)
		if _, err := io.ReadFull(in, data); err != nil {
			return err
		}
	}
	answer, err := s.do(d, head.Type, int(head.At), int(head.Len), data)
	if err == nil {
		reply := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, nbdReply<<32), head.Handle)
		_, err = out.Write(append(reply, answer...))
	}
	return err
}

// do does a request and returns what was read.
func (s *supply) do(d *disk, command uint16, at, n int, written []byte) ([]byte, error) {
	s.Lock()
	defer s.Unlock()
	if s.cut(d, at, written) {
		return nil, errEnd
	}
	if s.wait--; s.wait == 0 {
		s.peek()
	}
	switch command {
	case cmdRead:
		return append([]byte(nil), d.data[at:at+n]...), nil
	case cmdWrite:
		d.write(at, written)
	case cmdFlush:
		clear(d.was)
	default:
		return nil, fmt.Errorf("unknown request %d", command)
	}
	return nil, nil
}

// TestPowerCutDisk: what was flushed stays; of what came later, all, nothing or any part is left, and of the write that the cut
// interrupts a part from its begin.
func TestPowerCutDisk(t *testing.T) {
	const sectors = 16
	all := func(b byte) []byte { return bytes.Repeat([]byte{b}, sectors*sector) }
	left := map[string]int{}
	for seed := range uint64(100) {
		d := &disk{data: make([]byte, 2*sectors*sector), was: map[int][]byte{}}
		s := supply{rand: rand.New(rand.NewPCG(seed, 0)), disks: map[string]*disk{"": d}, left: 4, out: make(chan struct{})}
		for i, do := range []struct {
			command uint16
			at      int
			data    []byte
		}{{cmdWrite, 0, all(1)}, {cmdFlush, 0, nil}, {cmdWrite, 0, all(2)}, {cmdRead, 0, nil}, {cmdWrite, sectors * sector, all(3)}, {cmdFlush, 0, nil}} {
			_, err := s.do(d, do.command, do.at, len(do.data), do.data)
			if cut := i >= 4; (err != nil) != cut {
				t.Fatalf("request %d: %v", i, err)
			}
		}
		s.off()
		old, new, torn := bytes.Count(d.data, all(1)[:sector]), bytes.Count(d.data, all(2)[:sector]), bytes.Count(d.data, all(3)[:sector])
		if old+new != sectors {
			t.Fatalf("%d sectors as flushed, %d as written later, of %d", old, new, sectors)
		}
		left[fmt.Sprintf("%v %v", old > 0, new > 0)]++
		left[fmt.Sprintf("torn %v", torn > 0)]++
	}
	if len(left) != 5 {
		t.Errorf("not all that can happen did: %v", left)
	}
}
