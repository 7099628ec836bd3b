package multilock

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// closePatience is how long Close waits for what hangs in the driver.
const closePatience = time.Second

// Close ends the terms of all electors of the backend as their Stop does, and
// then closes the driver; a client that was handed to the backend stays open. If
// work still runs at the drain limit Close returns ErrDrainTimeout; the driver
// stays open, without renewing, until that work has returned or its lease has
// expired, so that nothing is released under a work that still runs. If ctx ends
// first, the drains end with it, and what is not over soon after goes on without
// Close, which returns context.Cause(ctx). A ctx that has ended before the call
// limits nothing.
//
// A further Close waits for the first. Called from inside work, with its context,
// it does not wait.
func (b *Backend) Close(ctx context.Context) error {
	b.mu.Lock()
	first := !b.closing
	b.closing = true
	electors := slices.Collect(maps.Keys(b.electors))
	b.mu.Unlock()
	runs := make([]*run, 0, len(electors))
	for _, e := range electors {
		e.mu.Lock()
		if e.run != nil {
			runs = append(runs, e.run)
		}
		e.mu.Unlock()
	}

	within := false
	for _, r := range runs {
		within = within || inside(ctx, r)
		r.stop(ErrClosed, r.e.drainLimit(ctx))
	}
	if first {
		go b.shutdown(runs)
	}
	if within {
		return nil
	}
	drained := make(chan struct{})
	go func() { // ends with the runs, at the latest
		for _, r := range runs {
			r.untilDrained()
		}
		close(drained)
	}()
	ended := ctx.Done()
	if ctx.Err() != nil {
		ended = nil
	}
	select {
	case <-b.closed:
		return b.closeErr
	case <-drained:
	case <-ended:
		for _, r := range runs {
			r.stop(ErrClosed, 0)
		}
		if !b.await(drained) {
			return closing(ctx)
		}
	}
	for _, r := range runs {
		select {
		case <-r.done:
		default:
			return ErrDrainTimeout
		}
	}
	select {
	case <-b.closed:
	case <-ended:
		if !b.await(b.closed) {
			return closing(ctx)
		}
	}
	return b.closeErr
}

// closing is the error of a Close that ctx ended.
func closing(ctx context.Context) error {
	return fmt.Errorf("multilock: the closing goes on: %w", context.Cause(ctx))
}

// untilDrained returns when the run has ended, or its drain limit has passed.
func (r *run) untilDrained() {
	r.e.mu.Lock()
	l := r.term
	r.e.mu.Unlock()
	var out chan struct{}
	if l != nil {
		out = l.drainOut
	}
	select {
	case <-r.done:
	case <-out:
	}
}

// shutdown closes everything once no run needs it.
func (b *Backend) shutdown(runs []*run) {
	for _, r := range runs {
		r.untilDrained()
		r.untilExpired()
	}
	err := b.watch.close()
	lanes := append([]*lane{b.calls, b.renewals}, b.watch.lanes[:]...)
	for _, l := range lanes {
		l.close()
	}
	b.hands.close()
	b.cancel()
	idle := make(chan struct{})
	go func() {
		for _, l := range lanes {
			l.busy.Wait()
		}
		close(idle)
	}()
	b.await(idle)
	if e := b.drv.Close(); e != nil {
		err = e
	}
	if out := b.out.drained(); out != nil {
		b.await(out)
	}
	for _, l := range lanes {
		l.rest()
	}
	b.closeErr = b.wrap("close", "", err)
	close(b.closed)
}

// untilExpired returns when the run has ended, or the lease that its overrun work
// was left with has expired at the store.
func (r *run) untilExpired() {
	e := r.e
	e.mu.Lock()
	left := time.Duration(0)
	if l := r.term; l != nil {
		left = time.Duration(l.believed.Load().lease - e.b.clock.Now().Mono)
	}
	e.mu.Unlock()
	over := make(chan struct{})
	t := e.b.clock.AfterFunc(max(left, 0), func() { close(over) })
	defer t.Stop()
	select {
	case <-r.done:
	case <-over:
	}
}

// await waits for done, for as long as closePatience; it reports whether it came.
func (b *Backend) await(done <-chan struct{}) bool {
	over := make(chan struct{})
	t := b.clock.AfterFunc(closePatience, func() { close(over) })
	defer t.Stop()
	select {
	case <-done:
		return true
	case <-over:
		return false
	}
}

// remember notes an elector with a run; false once the backend is closing. Its
// caller holds the elector's lock, which comes before the backend's.
func (b *Backend) remember(e *Elector) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closing {
		return false
	}
	b.electors[e] = struct{}{}
	return true
}

func (b *Backend) forget(e *Elector) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.electors, e)
}
