package multilock

import (
	"context"
	"errors"
	"time"
)

// perform runs the work of a term in the calling goroutine. It reports whether
// the run is over, and its error then.
func (r *run) perform(l *live, work func(context.Context, Term) error) (err error, over bool) {
	var own bool
	// Not on this stack, which a follower keeps, and which would grow here first.
	finished := func() {
		r.e.b.hands.await(func(over func()) {
			r.workDone(l, func(ended bool) { own = ended; over() })
		})
	}
	returned := false
	defer func() {
		if returned {
			return
		}
		// a panic, or runtime.Goexit: give the term back and let it go on
		finished()
		r.finish(errPanic)
	}()
	err = work(l.ctx, l.term)
	returned = true
	finished()

	e := r.e
	e.mu.Lock()
	stopped, cause := r.stopCause, l.cause
	failed := !own && err != nil && !errors.Is(err, context.Canceled)
	if failed {
		e.workErr = err
	}
	e.mu.Unlock()
	if failed {
		e.logWork(l, err)
	}
	switch {
	case own:
		return err, true
	case stopped != nil:
		return stopped, true
	default:
		return cause, false
	}
}

var errPanic = errors.New("multilock: the work panicked")

// endManual ends a term of TryAcquire, whose work is to wait for its end, when it
// was told to end.
func (r *run) endManual(l *live) {
	_ = r.wait(l.ctx, l.term) // only the delay of its drain is left
	r.workDone(l, func(bool) {
		e := r.e
		e.mu.Lock()
		cause := r.stopCause
		if cause == nil {
			cause = l.cause
		}
		e.mu.Unlock()
		r.finish(cause)
	})
}

// workDone ends the term after its work has returned: in order, and by handing
// it over, if it is still ours. It is called in one of the hands, and then when the
// term was given back, with whether the work's return was what ended it.
func (r *run) workDone(l *live, then func(own bool)) {
	e := r.e
	e.mu.Lock()
	close(l.work)
	if l.overrun != nil {
		l.overrun.Stop()
	}
	e.mu.Unlock()
	l.alive() // an end that nobody has looked at yet comes first
	own := e.stepDown(l, ErrWorkDone)
	r.resign(l, func() { then(own) })
}

// stepDown is the first half of a planned end: tell, then cancel. Renewing goes
// on. It reports false if the term was told to end before.
func (e *Elector) stepDown(l *live, cause error) bool {
	if over := l.believed.Load().over; over != nil {
		e.ended(l, over) // whoever ended it may not have come to tell yet
	}
	e.mu.Lock()
	if !l.leading {
		e.mu.Unlock()
		return false
	}
	l.leading, l.cause = false, cause
	e.current.CompareAndSwap(l, nil)
	e.publish(Change{Kind: Lost, Term: l.term, Cause: cause})
	l.tell(cause)
	e.mu.Unlock()
	return true
}

// tell ends the context of the work; the elector's lock is held. Who leads by
// TryAcquire has no work and no goroutine: what is to be done begins here.
func (l *live) tell(cause error) {
	l.cancel(cause)
	if l.run.manual && l.announced() && !l.told {
		l.told = true
		l.e.b.hands.run(func() { l.run.endManual(l) })
	}
}

// drain limits how long a term that was told to end is kept alive for its work.
// The earliest limit counts.
func (e *Elector) drain(l *live, limit time.Duration) {
	by := e.b.clock.Now().Mono + int64(limit)
	e.mu.Lock()
	defer e.mu.Unlock()
	if l.drainBy != 0 && l.drainBy <= by {
		return
	}
	l.drainBy = by
	if l.drainTimer != nil {
		l.drainTimer.Stop()
	}
	l.drainTimer = e.b.clock.AfterFunc(max(limit, 0), l.drained)
}

// drained is run at the drain limit: if the work has not returned, the lease is
// left to expire.
func (l *live) drained() {
	select {
	case <-l.work:
		return
	default:
	}
	l.e.mu.Lock()
	first := !l.drainOver
	l.drainOver = true
	l.e.mu.Unlock()
	if first {
		l.end(ErrDrainTimeout)
		close(l.drainOut)
	}
}

// ended tells that a term is over; only the first call has an effect. Whoever
// ended the term calls it, and whoever notices before that one got here.
func (e *Elector) ended(l *live, cause error) {
	e.mu.Lock()
	if l.over {
		e.mu.Unlock()
		return
	}
	l.over = true
	l.lost = cause == ErrLost // the store's own word; an expiry is only ours
	if l.candidate != nil {
		l.candidate.state = candidateOver
	}
	working := true
	select {
	case <-l.work:
		working = false
	default:
	}
	switch {
	case l.leading:
		l.leading, l.cause = false, cause
		e.current.CompareAndSwap(l, nil)
		if errors.Is(cause, ErrLost) && e.observed.Token == l.term.Token {
			e.observed = Record{}
		}
		e.publish(Change{Kind: Lost, Term: l.term, Cause: cause})
		if working && !l.run.idle && !l.run.manual {
			// the margin is what the work has to return before another may lead
			l.overrun = e.b.clock.AfterFunc(e.o.Margin, l.overran)
		}
	case working && l.announced():
		e.overrunLocked(l, cause)
	}
	// under the lock: whoever finds l.over set finds the context ended too
	l.tell(cause)
	e.mu.Unlock()
	l.run.signal()
}

// announced reports whether l was ever led; the lock is held.
func (l *live) announced() bool { return l.run.term == l }

func (l *live) overran() {
	l.e.mu.Lock()
	defer l.e.mu.Unlock()
	select {
	case <-l.work:
	default:
		l.e.overrunLocked(l, l.cause)
	}
}

func (e *Elector) overrunLocked(l *live, cause error) {
	if !l.warned {
		l.warned = true
		e.publish(Change{Kind: Overrun, Term: l.term, Cause: cause})
	}
}

// stop asks a run to end; it does not wait. The first cause and the earliest
// drain limit count. It returns the term that has to drain, if any.
func (r *run) stop(cause error, limit time.Duration) *live {
	e := r.e
	by := e.b.clock.Now().Mono + int64(limit)
	e.mu.Lock()
	if r.stopCause == nil {
		r.stopCause = cause
		close(r.stopping)
	}
	if r.drainBy == 0 || by < r.drainBy {
		r.drainBy = by
	}
	l, t := r.term, r.trying
	e.mu.Unlock()
	if t != nil {
		t.giveUp()
	}
	if l != nil {
		e.stepDown(l, cause)
		e.drain(l, limit)
	}
	return l
}

// finish ends the run for good.
func (r *run) finish(err error) {
	e := r.e
	if r.timer != nil {
		r.timer.Stop()
	}
	if r.unhook != nil {
		r.unhook()
	}
	e.mu.Lock()
	r.endErr = err
	if r.stopCause == nil { // from here on stop finds that it has been asked for
		r.stopCause = ErrStopped
		close(r.stopping)
	}
	asks := r.asks
	r.asks = nil
	e.run = nil
	e.nextTry = time.Time{}
	e.observed = Record{}
	if errors.Is(err, ErrMisconfigured) {
		e.lastErr = err
	}
	if !r.manual || r.led {
		e.publish(Change{Kind: Stopped, Cause: err})
		e.events.finish()
	}
	e.b.forget(e)
	e.mu.Unlock()
	e.b.watch.leave(r) // after this run ceased to be the elector's: nothing joins it again
	r.answerAsks(asks, outcome{err: ErrStopped})
	r.firstAnswer()
	close(r.done)
}

// drainLimit is how long a planned stop may take: DrainTimeout, or less if ctx
// leaves less, with a reserve for the resignation and for what the caller has to
// do afterwards. A context that has ended already does not shorten it.
func (e *Elector) drainLimit(ctx context.Context) time.Duration {
	limit := e.o.DrainTimeout
	if deadline, ok := ctx.Deadline(); ok && ctx.Err() == nil {
		left := time.Until(deadline)
		limit = min(limit, left-min(left/4, 2*time.Second))
	}
	return max(limit, 0)
}
