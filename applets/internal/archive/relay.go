package archive

import (
	"sync"
	"sync/atomic"
)

// A relay takes pages through three hands: they are filled one after another, worked on several at once, and used one after
// another, in the order in which they were filled. There is nobody whose only work it is to fill or to use: a worker fills
// a page when it needs one, and when it has finished the page whose turn it is, uses that and those after it that are
// finished already. So no processor waits while there is work, and most pages are not handed to another one.
type relay struct {
	fill func(*page) (more bool)
	use  func(*page) error

	filling sync.Mutex
	filled  int
	end     bool

	mu      sync.Mutex // of what follows; held for moments
	freed   sync.Cond
	free    []*page // taken from the end: it was used last, so the processor may still have it at hand
	ready   []*page // finished, each at its number modulo the number of pages
	turn    int     // number of the page to use next
	using   bool    // somebody does
	err     error   // of use
	stopped atomic.Bool
}

func newRelay(pages int, fill func(*page) (more bool), use func(*page) error) *relay {
	r := &relay{fill: fill, use: use, ready: make([]*page, pages)}
	r.freed.L = &r.mu
	for range pages {
		r.free = append(r.free, new(page))
	}
	return r
}

// next fills a page for a worker. It returns nil when there are no more, or none are wanted. What it returns must be
// finished, even so.
func (r *relay) next() *page {
	r.filling.Lock()
	defer r.filling.Unlock()
	if r.end {
		return nil
	}
	p := r.take()
	if p == nil {
		return nil
	}
	p.number = r.filled
	r.filled++
	r.end = !r.fill(p)
	return p
}

// take waits for a page that is free.
func (r *relay) take() *page {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.free) == 0 && r.err == nil {
		r.freed.Wait()
	}
	if r.err != nil {
		return nil
	}
	last := len(r.free) - 1
	p := r.free[last]
	r.free = r.free[:last]
	return p
}

// finish gives a page back, to be used when its turn comes.
func (r *relay) finish(p *page) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ready[p.number%len(r.ready)] = p
	if r.using {
		return // and whoever does will find it
	}
	r.using = true
	for r.err == nil && r.useNext() {
	}
	r.using = false
}

// useNext uses the page whose turn it is, if that is finished.
func (r *relay) useNext() bool {
	at := &r.ready[r.turn%len(r.ready)]
	p := *at
	if p == nil {
		return false
	}
	*at = nil
	r.mu.Unlock()
	err := r.use(p)
	r.mu.Lock()
	r.turn++
	r.free = append(r.free, p)
	if err != nil {
		r.err = err
		r.stopped.Store(true)
	}
	r.freed.Signal() // only one waits: it holds filling
	return true
}
