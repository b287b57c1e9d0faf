package vm

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/ctbox/ctbox/applets/internal/wire"
)

const ramSize = 8 << 20

// snapshotted makes RAM with pages here and there, a state, and the snapshot of both.
func snapshotted(t *testing.T) (ram, state *os.File, snapshot []byte) {
	t.Helper()
	ram, state = memory(t, ramSize), memory(t, 0)
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, at := range []int64{0, 5000, 1 << 20, 3<<20 + 17, ramSize - 4096} {
		page := make([]byte, 4096)
		for i := range page {
			page[i] = byte(rnd.Uint32())
		}
		ram.WriteAt(page, at)
	}
	ram.WriteAt(make([]byte, 1<<20), 5<<20) // zeros that are no hole
	state.WriteString("the state of the devices")
	var b bytes.Buffer
	if err := writeSnapshot(&b, wire.Hello{Token: 42, Memory: true}, ram, state); err != nil {
		t.Fatal(err)
	}
	return ram, state, b.Bytes()
}

func memory(t *testing.T, size int64) *os.File {
	t.Helper()
	f, err := memoryFile("test", size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func content(t *testing.T, f *os.File) []byte {
	t.Helper()
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<40))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSnapshot(t *testing.T) {
	ram, state, snapshot := snapshotted(t)
	if len(snapshot) > 600<<10 {
		t.Errorf("%d bytes for 5 pages", len(snapshot))
	}
	ram2, state2 := memory(t, ramSize), memory(t, 0)
	hello, err := readSnapshot(bytes.NewReader(snapshot), ram2, state2)
	if err != nil || hello != (wire.Hello{Token: 42, Memory: true}) {
		t.Fatal(hello, err)
	}
	if !bytes.Equal(content(t, ram), content(t, ram2)) || !bytes.Equal(content(t, state), content(t, state2)) {
		t.Error("it is not the same machine")
	}
}

// TestSnapshotDamaged: no bit can change and no byte be missing without notice; and nothing makes it panic or grow.
func TestSnapshotDamaged(t *testing.T) {
	_, _, snapshot := snapshotted(t)
	refused := func(what string, at int, b []byte) {
		ram, state := memory(t, ramSize), memory(t, 0)
		if _, err := readSnapshot(bytes.NewReader(b), ram, state); !errors.Is(err, errSnapshot) {
			t.Errorf("%s %d: %v", what, at, err)
		}
		ram.Close()
		state.Close()
	}
	step := func(at int) int {
		if at < 100 || at > len(snapshot)-100 {
			return 1
		}
		return 7919
	}
	for at := 0; at < len(snapshot); at += step(at) {
		b := bytes.Clone(snapshot)
		b[at] ^= 0x10
		refused("changed at", at, b)
		refused("cut to", at, snapshot[:at])
	}
	ram, state := memory(t, ramSize*2), memory(t, 0)
	if _, err := readSnapshot(bytes.NewReader(snapshot), ram, state); !errors.Is(err, errSnapshot) {
		t.Errorf("RAM of another size: %v", err)
	}
}

// TestSnapshotFiles: a disk that is full, or files that cannot be read or written, are errors of both ways.
func TestSnapshotFiles(t *testing.T) {
	ram, state, snapshot := snapshotted(t)
	closed := memory(t, ramSize)
	closed.Close()
	readOnly, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer readOnly.Close()
	for _, files := range [][2]*os.File{{closed, state}, {ram, closed}} {
		if err := writeSnapshot(io.Discard, wire.Hello{}, files[0], files[1]); !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
	}
	for n := 0; n < len(snapshot); n += 50_000 {
		if err := writeSnapshot(&filling{n}, wire.Hello{}, ram, state); err != errFull {
			t.Errorf("room for %d bytes: %v", n, err)
		}
	}
	for _, files := range [][2]*os.File{{closed, memory(t, 0)}, {memory(t, ramSize), closed}, {memory(t, ramSize), readOnly}} {
		if _, err := readSnapshot(bytes.NewReader(snapshot), files[0], files[1]); err == nil {
			t.Error("a snapshot was read into files that cannot be written")
		}
	}
}

// filling is a disk with room for so many bytes.
type filling struct{ room int }

func (f *filling) Write(p []byte) (int, error) {
	if f.room -= len(p); f.room < 0 {
		return 0, errFull
	}
	return len(p), nil
}
