package multilock

import (
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multilock/multilock-go/core/internal/clock"
)

func newHands() *hands { return &hands{b: &Backend{clock: clock.System{}}} }

// waiting are the goroutines that wait for a job. A bubble of synctest ends only
// if all of them have ended.
func (h *hands) waiting() []*hand {
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.idle)
}

func TestHandsAreUsedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHands()
		defer h.close()
		var done atomic.Int64
		job := func() { done.Add(1) }
		h.run(job)
		first := h.waiting()
		for range 1000 {
			h.run(job)
			if now := h.waiting(); len(now) != 1 || now[0] != first[0] {
				t.Fatalf("%d goroutines wait, or another one than before", len(now))
			}
		}
		if done.Load() != 1001 {
			t.Errorf("%d of 1001 jobs done", done.Load())
		}
	})
}

func TestHandsNeverWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHands()
		release := make(chan struct{})
		var begun, done atomic.Int64
		for range 3 * maxIdle {
			h.run(func() { begun.Add(1); <-release; done.Add(1) })
		}
		if synctest.Wait(); begun.Load() != 3*maxIdle {
			t.Fatalf("%d of %d jobs begun while none ends", begun.Load(), 3*maxIdle)
		}
		close(release)
		if n := len(h.waiting()); done.Load() != 3*maxIdle || n != maxIdle {
			t.Errorf("%d jobs done, %d goroutines wait, want %d", done.Load(), n, maxIdle)
		}
		time.Sleep(2 * idleFor)
		if n := len(h.waiting()); n != 0 {
			t.Errorf("%d goroutines wait after %v", n, 2*idleFor)
		}
		h.run(func() { done.Add(1) })
		if n := len(h.waiting()); n != 1 {
			t.Errorf("%d goroutines wait", n)
		}
		h.close()
		h.run(func() { done.Add(1) }) // what comes late is done too
		if n := len(h.waiting()); done.Load() != 3*maxIdle+2 || n != 0 {
			t.Errorf("after close: %d jobs done, %d goroutines wait", done.Load(), n)
		}
	})
}
