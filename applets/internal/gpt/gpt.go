// Package gpt puts a file system into the one partition of a disk, with a table of partitions as UEFI has it (chapter 5).
// Invariant: the bytes are a function of the arguments; there are no random GUIDs.
package gpt

import (
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"
	"io"
	"runtime"
)

// Sizes in bytes. What is before and behind the partition keeps it at a multiple of 1 MiB, and so the disk.
const (
	Before = 1 << 20 // the partition begins there
	Around = 2 << 20 // how much larger the disk is than the file system

	sector     = 512
	entrySize  = 128
	entryCount = 128
	tableSize  = entrySize * entryCount
	headerSize = 92
)

// A guid is in its mixed order of bytes: the first three numbers are little-endian.
type guid [16]byte

// rootType is the type of a root file system for this machine's architecture, from the Discoverable Partitions Specification
// of the UAPI group, which systemd finds by it; or that of any Linux file system.
func rootType() guid {
	switch runtime.GOARCH {
	case "amd64":
		return guid{0xe3, 0xbc, 0x68, 0x4f, 0xcd, 0xe8, 0xb1, 0x4d, 0x96, 0xe7, 0xfb, 0xca, 0xf9, 0x84, 0xb7, 0x09}
	case "arm64":
		return guid{0x45, 0xb0, 0x21, 0xb9, 0xf0, 0x1d, 0xc3, 0x41, 0xaf, 0x44, 0x4c, 0x6f, 0x28, 0x0d, 0x3f, 0xae}
	}
	return guid{0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47, 0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d, 0xe4}
}

// newGUID makes a GUID (version 8 of RFC 9562) of a seed, another one for each purpose.
func newGUID(seed []byte, purpose string) guid {
	sum := sha256.Sum256(append([]byte(purpose), seed...))
	g := guid(sum[:16])
	g[7] = g[7]&0x0f | 0x80
	g[8] = g[8]&0x3f | 0x80
	return g
}

// Write puts the tables around a file system of size bytes, which is at Before of the disk, and returns the disk's size. GUIDs
// are made of seed.
func Write(disk io.WriterAt, size int64, seed []byte) (total int64, err error) {
	padded := (size + sector - 1) &^ (sector - 1)
	total = padded + Around
	t := tables{sectors: total / sector, id: newGUID(seed, "disk")}
	e := t.entries[:entrySize]
	kind, own := rootType(), newGUID(seed, "partition")
	copy(e, kind[:])
	copy(e[16:], own[:])
	binary.LittleEndian.PutUint64(e[32:], Before/sector)
	binary.LittleEndian.PutUint64(e[40:], uint64((Before+padded)/sector-1))
	for i, c := range "root" {
		binary.LittleEndian.PutUint16(e[56+2*i:], uint16(c))
	}

	last := t.sectors - 1
	for _, part := range []struct {
		sector int64
		bytes  []byte
	}{
		{0, t.protective()},
		{1, t.header(1, last, 2)},
		{2, t.entries[:]},
		{last - tableSize/sector, t.entries[:]},
		{last, t.header(last, 1, last-tableSize/sector)},
	} {
		if _, err := disk.WriteAt(part.bytes, part.sector*sector); err != nil {
			return 0, err
		}
	}
	return total, nil
}

type tables struct {
	sectors int64 // of the disk
	id      guid
	entries [tableSize]byte
}

// header is the header in one sector; the other one is in another.
func (t *tables) header(at, other, entries int64) []byte {
	h := make([]byte, sector)
	copy(h, "EFI PART\x00\x00\x01\x00")
	binary.LittleEndian.PutUint32(h[12:], headerSize)
	binary.LittleEndian.PutUint64(h[24:], uint64(at))
	binary.LittleEndian.PutUint64(h[32:], uint64(other))
	binary.LittleEndian.PutUint64(h[40:], 2+tableSize/sector) // the first sector that a partition can have
	binary.LittleEndian.PutUint64(h[48:], uint64(t.sectors-2-tableSize/sector))
	copy(h[56:], t.id[:])
	binary.LittleEndian.PutUint64(h[72:], uint64(entries))
	binary.LittleEndian.PutUint32(h[80:], entryCount)
	binary.LittleEndian.PutUint32(h[84:], entrySize)
	binary.LittleEndian.PutUint32(h[88:], crc32.ChecksumIEEE(t.entries[:]))
	binary.LittleEndian.PutUint32(h[16:], crc32.ChecksumIEEE(h[:headerSize]))
	return h
}

// protective is a table of the old kind that says that all the disk is in use.
func (t *tables) protective() []byte {
	b := make([]byte, sector)
	e := b[446:]
	e[2], e[4] = 2, 0xee // the place by heads and sectors, and the type
	e[5], e[6], e[7] = 0xff, 0xff, 0xff
	binary.LittleEndian.PutUint32(e[8:], 1)
	binary.LittleEndian.PutUint32(e[12:], uint32(min(t.sectors-1, 1<<32-1)))
	b[510], b[511] = 0x55, 0xaa
	return b
}
