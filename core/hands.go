package multilock

import (
	"slices"
	"sync"
	"time"
)

// hands runs short jobs in goroutines that it uses again. A new goroutine begins
// with a small stack, which grows, by copying, in nearly every driver call: that
// was a quarter of the processor time of an acquisition and a resignation.
//
// A goroutine that has had nothing to do for idleFor ends, at the latest after
// twice that: a Backend at rest has none.
type hands struct {
	b *Backend

	mu     sync.Mutex
	idle   []*hand // the one used last at the end
	closed bool
	sweeps alarm
}

type hand struct {
	jobs chan func() // holds one; nil ends the goroutine
	seen bool        // waiting, by the last sweep
}

const (
	// maxIdle bounds the goroutines that wait for a job.
	maxIdle = 4
	idleFor = time.Second
)

// run runs f in a goroutine; it never waits.
func (h *hands) run(f func()) {
	h.mu.Lock()
	if n := len(h.idle); n > 0 {
		x := h.idle[n-1]
		h.idle[n-1] = nil
		h.idle = h.idle[:n-1]
		h.mu.Unlock()
		x.jobs <- f
		return
	}
	h.mu.Unlock()
	go h.work(f)
}

// runAll runs each of jobs in a goroutine.
func (h *hands) runAll(jobs []func()) {
	for _, f := range jobs {
		h.run(f)
	}
}

// await runs f in a goroutine and waits until it, or what follows it, calls over.
func (h *hands) await(f func(over func())) {
	done := make(chan struct{})
	h.run(func() { f(func() { close(done) }) })
	<-done
}

func (h *hands) work(f func()) {
	x := &hand{jobs: make(chan func(), 1)}
	for f != nil {
		f()
		f = h.next(x)
	}
}

// next waits for a job, and returns nil if none came or enough others wait.
func (h *hands) next(x *hand) func() {
	h.mu.Lock()
	if h.closed || len(h.idle) >= maxIdle {
		h.mu.Unlock()
		return nil
	}
	x.seen = false
	h.idle = append(h.idle, x)
	if h.sweeps.at == 0 {
		h.sweepLater()
	}
	h.mu.Unlock()
	return <-x.jobs
}

func (h *hands) sweepLater() {
	c := h.b.clock
	h.sweeps.set(c, c.Now().Mono+int64(idleFor), h.sweep)
}

// sweep ends those that have waited since the last one.
func (h *hands) sweep() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sweeps.rung()
	h.idle = slices.DeleteFunc(h.idle, func(x *hand) bool {
		if x.seen {
			x.jobs <- nil
		}
		was := x.seen
		x.seen = true
		return was
	})
	if len(h.idle) > 0 {
		h.sweepLater()
	}
}

// close ends those that wait, and lets no other wait.
func (h *hands) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for _, x := range h.idle {
		x.jobs <- nil
	}
	h.idle = nil
}
