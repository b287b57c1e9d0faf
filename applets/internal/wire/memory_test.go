package wire

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// sides are the guest's and the host's views of one memory, with a line between them; hangUp ends the line.
func sides(t *testing.T) (guest, host *Memory, guestBell, hostBell *Bell, hangUp func()) {
	b := make([]byte, Shared)
	up, upEnd := io.Pipe()
	down, downEnd := io.Pipe()
	hangUp = func() { upEnd.Close(); downEnd.Close() }
	t.Cleanup(hangUp)
	guest, host = NewMemory(b), NewMemory(b)
	guest.Reset(7)
	if host.Token() != 7 {
		t.Fatal("the host does not see the token")
	}
	return guest, host, NewBell(down, upEnd), NewBell(up, downEnd), hangUp
}

// random gives n bytes of a stream that its seed settles.
func random(seed uint64, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed)}).Read(b)
	return b
}

// Pieces of all sizes, in both directions at once, across the end of the buffers many times.
func TestPipes(t *testing.T) {
	guest, host, guestBell, hostBell, _ := sides(t)
	total := 20 << 20
	if testing.Short() {
		total = 6 << 20
	}
	done := make(chan error)
	for i, d := range []struct{ w, r *Pipe }{
		{guest.Out(guestBell), host.Out(hostBell)}, {host.In(hostBell), guest.In(guestBell)},
	} {
		want := random(uint64(i), total)
		go func() { done <- writePieces(d.w, want, uint64(i)) }()
		go func() { done <- readPieces(d.r, want, uint64(i)) }()
	}
	for range 4 {
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(time.Minute):
			t.Fatal("somebody waits for ever")
		}
	}
}

// sizes are mostly small, and now and then larger than a buffer.
func sizes(seed uint64) func() int {
	r := rand.New(rand.NewPCG(seed, 1))
	return func() int { return 1 + r.IntN(1<<(1+r.IntN(22))) }
}

func writePieces(p *Pipe, b []byte, seed uint64) error {
	for next := sizes(seed); len(b) > 0; {
		piece := b[:min(len(b), next())]
		if n, err := p.Write(piece); n != len(piece) || err != nil {
			return errors.New("short write")
		}
		b = b[len(piece):]
	}
	return nil
}

func readPieces(p *Pipe, want []byte, seed uint64) error {
	buf := make([]byte, 4<<20)
	for next := sizes(seed + 100); len(want) > 0; {
		n, err := p.Read(buf[:next()])
		if err != nil || n == 0 || !bytes.HasPrefix(want, buf[:n]) {
			return errors.New("other bytes than were written")
		}
		want = want[n:]
	}
	return nil
}

// The last words of a guest that has switched itself off are still to be read.
func TestEndOfTheLine(t *testing.T) {
	for range 200 {
		guest, host, guestBell, hostBell, hangUp := sides(t)
		w, r := guest.Out(guestBell), host.Out(hostBell)
		go func() {
			w.Write([]byte("last"))
			hangUp()
		}()
		if got, err := io.ReadAll(io.LimitReader(r, 4)); string(got) != "last" || err != nil {
			t.Fatalf("%q, %v", got, err)
		}
		if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Fatalf("after the end: %d, %v", n, err)
		}
	}
}

// When both a ring and the end are there, what the ring was for counts.
func TestRingAndEndAtOnce(t *testing.T) {
	for range 50 { // select chooses at random
		guest, host, guestBell, hostBell, hangUp := sides(t)
		w, r := guest.Out(guestBell), host.Out(hostBell)
		w.Write([]byte("x"))
		hangUp()
		<-hostBell.dead
		if err := r.wait(0, 0); err != nil {
			t.Fatal(err)
		}
	}
}

// A reader that is gone shows when it would be told that there is something to read.
func TestEndBeforeWriting(t *testing.T) {
	guest, host, _, hostBell, _ := sides(t)
	up, end := io.Pipe()
	up.Close()
	w := guest.Out(NewBell(strings.NewReader(""), end))
	if n, err := w.Write([]byte("x")); n != 1 || err == nil {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := host.Out(hostBell).Read(nil); n != 0 || err != nil {
		t.Errorf("nothing was read: %d, %v", n, err)
	}
}

func TestEndWhileWriting(t *testing.T) {
	guest, _, guestBell, _, hangUp := sides(t)
	w := guest.Out(guestBell)
	if n, err := w.Write(make([]byte, bufSize)); n != bufSize || err != nil {
		t.Fatal(n, err)
	}
	hangUp()
	if n, err := w.Write([]byte("x")); n != 0 || err == nil {
		t.Errorf("into a full buffer that nobody reads: %d, %v", n, err)
	}
}

// The guest's program is root and may write what it likes to the counters.
func TestHostileCounters(t *testing.T) {
	for _, c := range [][2]uint64{{bufSize + 1, 0}, {0, 1}, {1 << 63, 0}, {0, 1<<64 - 1 - bufSize}, {1<<64 - 1, 0}, {5, 6}} {
		_, host, _, hostBell, _ := sides(t)
		for _, p := range []*Pipe{host.Out(hostBell), host.In(hostBell)} {
			p.head.Store(c[0])
			p.tail.Store(c[1])
			if n, err := p.Read(make([]byte, 10)); n != 0 || err != errCounters {
				t.Errorf("%d: read %d, %v", c, n, err)
			}
			if n, err := p.Write(make([]byte, 10)); n != 0 || err != errCounters {
				t.Errorf("%d: write %d, %v", c, n, err)
			}
		}
	}
}

// What counts is how far the counters are apart.
func TestCountersAnywhere(t *testing.T) {
	guest, host, guestBell, hostBell, _ := sides(t)
	w, r := guest.Out(guestBell), host.Out(hostBell)
	const start = 1<<40*bufSize - 3
	w.head.Store(start)
	w.tail.Store(start)
	w.Write([]byte("around"))
	got := make([]byte, 6)
	if _, err := io.ReadFull(r, got); string(got) != "around" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestWindow(t *testing.T) {
	if Window(true) < MostPayload || Window(false) >= 4096 {
		t.Errorf("%d bytes in memory, %d on a line whose terminal holds 4096", Window(true), Window(false))
	}
}

// A guest may write anything to the counters, at any time: the host reads no byte that is not in the buffer, and says so.
func FuzzPipe(f *testing.F) {
	for _, c := range [][2]uint64{{0, 0}, {5, 0}, {bufSize, 0}, {bufSize + 1, 0}, {0, 1}, {3, ^uint64(0) - 2}, {^uint64(0), 0}, {bufSize + 7, bufSize - 7}, {1 << 63, 1<<63 - 1}} {
		f.Add(c[0], c[1], uint16(100))
	}
	shared := random(1, Shared)
	bell := NewBell(bytes.NewReader(nil), io.Discard)
	<-bell.dead
	f.Fuzz(func(t *testing.T, head, tail uint64, size uint16) {
		p := NewMemory(shared).Out(bell)
		bell.ears = nil
		p.head.Store(head)
		p.tail.Store(tail)
		b := make([]byte, size)
		n, err := p.Read(b)
		used := head - tail
		switch {
		case size == 0 && n == 0 && err == nil, used > bufSize && n == 0 && err == errCounters, used == 0 && n == 0 && err == io.EOF:
		case err != nil || n < 1 || uint64(n) > used || p.tail.Load() != tail+uint64(n):
			t.Errorf("%d of %d bytes, %v, tail %d", n, used, err, p.tail.Load()-tail)
		default:
			at := int(tail % bufSize)
			if !bytes.Equal(b[:n], shared[page:][at:at+n]) {
				t.Errorf("%d bytes at %d are not what was written", n, at)
			}
		}
		in := NewMemory(shared).In(bell)
		bell.ears = nil
		in.head.Store(head)
		in.tail.Store(tail)
		if n, err := in.Write(b); (err == nil) != (n == len(b)) || used > bufSize && size > 0 && err != errCounters || used <= bufSize && int(bufSize-used) < n {
			t.Errorf("wrote %d bytes beside %d, %v", n, used, err)
		}
	})
}
