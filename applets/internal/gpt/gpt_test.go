package gpt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"testing"
)

type disk []byte

func (d disk) WriteAt(p []byte, off int64) (int, error) { return copy(d[off:], p), nil }

func TestWrite(t *testing.T) {
	for _, size := range []int64{1, 4096, 5<<20 + 512} {
		d := make(disk, size+Around+sector)
		total, err := Write(d, size, []byte("seed"))
		if err != nil || total%sector != 0 || total < size+Around || total >= size+Around+sector {
			t.Fatalf("size %d: %d, %v", size, total, err)
		}
		if d[510] != 0x55 || d[511] != 0xaa || d[450] != 0xee || int64(binary.LittleEndian.Uint32(d[458:])) != total/sector-1 {
			t.Errorf("protective table % x", d[446:512])
		}
		last := uint64(total/sector - 1)
		header(t, d, 1, last)
		header(t, d, last, 1)
		e := d[2*sector:]
		first, end := binary.LittleEndian.Uint64(e[32:]), binary.LittleEndian.Uint64(e[40:])
		if first*sector != Before || int64(end-first+1)*sector != (size+sector-1)/sector*sector {
			t.Errorf("a partition from %d to %d for %d bytes", first, end, size)
		}
		if !bytes.Equal(d[Before:Before+size], make([]byte, size)) {
			t.Error("the file system is damaged")
		}
		other := make(disk, len(d))
		if Write(other, size, []byte("seed")); !bytes.Equal(d, other) {
			t.Error("not the same again")
		}
		if Write(other, size, []byte("other")); bytes.Equal(d[sector:2*sector], other[sector:2*sector]) {
			t.Error("the same for another seed")
		}
	}
}

// header checks one of the two headers against its entries and the other.
func header(t *testing.T, d disk, at, other uint64) {
	t.Helper()
	h := bytes.Clone(d[at*sector : (at+1)*sector])
	le := binary.LittleEndian
	sum := le.Uint32(h[16:])
	clear(h[16:20])
	if string(h[:8]) != "EFI PART" || sum != crc32.ChecksumIEEE(h[:headerSize]) {
		t.Errorf("sector %d: no header % x", at, h[:headerSize])
	}
	if le.Uint64(h[24:]) != at || le.Uint64(h[32:]) != other {
		t.Errorf("sector %d: it is %d, the other %d", at, le.Uint64(h[24:]), le.Uint64(h[32:]))
	}
	entries := le.Uint64(h[72:])
	if le.Uint32(h[88:]) != crc32.ChecksumIEEE(d[entries*sector:][:tableSize]) {
		t.Errorf("sector %d: other entries", at)
	}
	if first, last := le.Uint64(h[40:]), le.Uint64(h[48:]); first != 34 || last != max(at, other)-33 {
		t.Errorf("sector %d: partitions from %d to %d", at, first, last)
	}
}

var errFull = errors.New("disk is full")

type full struct{}

func (full) WriteAt([]byte, int64) (int, error) { return 0, errFull }

func TestFull(t *testing.T) {
	if _, err := Write(full{}, 1, nil); !errors.Is(err, errFull) {
		t.Error(err)
	}
}
