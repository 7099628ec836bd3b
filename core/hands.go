package multilock

import (
	"sync"
	"time"

	"github.com/multilock/multilock-go/core/internal/clock"
)

// hands runs short jobs in goroutines that it uses again. A new goroutine begins
// with a small stack, which grows, by copying, in nearly every driver call: that
// was a quarter of the processor time of an acquisition and a resignation.
//
// A goroutine that has had nothing to do for idleFor ends: a Backend at rest has
// none.
type hands struct {
	b *Backend

	mu     sync.Mutex
	idle   []*hand // the one used last at the end
	closed bool
}

type hand struct {
	jobs  chan func() // holds one; nil ends the goroutine
	timer clock.Timer
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
	h.idle = append(h.idle, x)
	h.mu.Unlock()
	if x.timer == nil {
		x.timer = h.b.clock.AfterFunc(idleFor, func() { h.dismiss(x) })
	} else {
		x.timer.Reset(idleFor)
	}
	f := <-x.jobs
	x.timer.Stop()
	return f
}

// dismiss ends x if it waits. A timer that was stopped too late may dismiss it
// before its time, which costs a new goroutine.
func (h *hands) dismiss(x *hand) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, y := range h.idle {
		if y == x {
			h.idle = append(h.idle[:i], h.idle[i+1:]...)
			x.jobs <- nil
			return
		}
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
