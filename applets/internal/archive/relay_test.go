package archive

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// relayed sends pages through a relay and tells which were used; use may fail.
func relayed(t *testing.T, workers, spare, pages int, work func(n int), use func(n int) error) (used []int, err error) {
	t.Helper()
	var filled int
	var filling, using atomic.Int32
	alone := func(n *atomic.Int32, what string) func() {
		if n.Add(1) != 1 {
			t.Errorf("%s two pages at once", what)
		}
		return func() { n.Add(-1) }
	}
	r := newRelay(workers+spare, func(p *page) bool {
		defer alone(&filling, "fills")()
		p.items = append(p.items[:0], item{line: filled})
		filled++
		return filled < pages
	}, func(p *page) error {
		defer alone(&using, "uses")()
		used = append(used, p.items[0].line)
		return use(p.items[0].line)
	})
	var running sync.WaitGroup
	for range workers {
		running.Go(func() {
			for p := r.next(); p != nil; p = r.next() {
				work(p.items[0].line)
				r.finish(p)
			}
		})
	}
	running.Wait()
	return used, r.err
}

// TestRelay: pages are used once each, in order, whoever is fast or slow.
func TestRelay(t *testing.T) {
	for _, procs := range []int{1, 4} {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
		for _, workers := range []int{1, 2, 3, 8} {
			for _, spare := range []int{0, 1, 3} {
				idle := func(int) {
					for range rand.IntN(4) {
						runtime.Gosched()
					}
				}
				used, err := relayed(t, workers, spare, 1000, idle, func(n int) error { idle(n); return nil })
				if err != nil || len(used) != 1000 {
					t.Fatalf("%d workers, %d spare: %d pages, %v", workers, spare, len(used), err)
				}
				for i, n := range used {
					if n != i {
						t.Fatalf("%d workers, %d spare: page %d comes as number %d", workers, spare, n, i)
					}
				}
			}
		}
	}
}

// TestRelayError: after an error nothing is used, and all workers end.
func TestRelayError(t *testing.T) {
	bad := errors.New("bad")
	for _, workers := range []int{1, 2, 8} {
		for _, at := range []int{0, 1, 50, 999} {
			used, err := relayed(t, workers, 3, 1000, func(int) {}, func(n int) error {
				if n >= at {
					return bad
				}
				return nil
			})
			if err != bad || len(used) != at+1 {
				t.Errorf("%d workers: %d pages used, not %d: %v", workers, len(used), at+1, err)
			}
		}
	}
}
