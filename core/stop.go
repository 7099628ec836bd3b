package multilock

import (
	"context"
	"errors"
	"time"
)

// watchDelay is how long a term of TryAcquire lasts before a watch is asked for.
const watchDelay = 100 * time.Millisecond

// perform runs the work of a term in the calling goroutine. It reports whether
// the run is over, and its error then.
func (r *run) perform(l *live, work func(context.Context, Term) error) (err error, over bool) {
	// A store that ends a term by itself tells of it in the way of wake-ups.
	if !r.manual {
		r.e.b.watch.ask(r.group())
	} else { // for a term that is given back at once it would only be work
		defer r.e.b.clock.AfterFunc(min(watchDelay, l.heartbeat()), r.watchLater).Stop()
	}
	returned := false
	defer func() {
		if returned {
			return
		}
		// a panic, or runtime.Goexit: give the term back and let it go on
		r.workDone(l)
		r.finish(errPanic)
	}()
	err = work(l.ctx, l.term)
	returned = true
	var own bool
	if r.manual { // in a goroutine that is used again already
		own = r.workDone(l)
	} else {
		// Not on this stack, which a follower keeps, and which would grow here first.
		done := make(chan struct{})
		r.e.b.hands.run(func() {
			defer close(done)
			own = r.workDone(l)
		})
		<-done
	}

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
		return cause, r.manual
	}
}

var errPanic = errors.New("multilock: the work panicked")

// workDone ends the term after its work has returned: in order, and by handing
// it over, if it is still ours. It reports whether the work's return was what
// ended it.
func (r *run) workDone(l *live) bool {
	e := r.e
	e.mu.Lock()
	close(l.work)
	if l.overrun != nil {
		l.overrun.Stop()
	}
	e.mu.Unlock()
	l.alive() // an end that nobody has looked at yet comes first
	own := e.stepDown(l, ErrWorkDone)
	r.resign(l)
	return own
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
	l.cancel(cause)
	e.mu.Unlock()
	return true
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
	l.cancel(cause)
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

// resign is the second half of a planned end: believe no more, then let go. Of a
// term that ended otherwise it is one attempt; the store may still hold it.
func (r *run) resign(l *live) {
	e := r.e
	lease := l.left()
	planned := l.end(errOver) // renewing stops with it
	e.mu.Lock()
	lost, drainBy := l.lost, l.drainBy
	if r.drainBy != 0 && (drainBy == 0 || r.drainBy < drainBy) {
		drainBy = r.drainBy
	}
	if l.drainTimer != nil {
		l.drainTimer.Stop()
	}
	e.mu.Unlock()
	var err error
	if !lost {
		limit, within := e.o.LockTimeout, time.Duration(0) // one attempt
		if planned {
			within = lease + e.o.Margin // after that there is nothing to hand over
		}
		if drainBy != 0 {
			left := time.Duration(drainBy - e.b.clock.Now().Mono)
			limit, within = min(limit, max(left, minHedge)), min(within, left)
		}
		err = e.b.resign(l.term, limit, within, e)
	}
	e.mu.Lock()
	if planned && err != nil {
		r.resignErr = err
	}
	l.resignErr = err
	if r.term == l {
		r.term = nil
		if e.observed.Token == l.term.Token {
			e.observed = Record{}
		}
	}
	e.mu.Unlock()
	close(l.gone)
}

// errOver ends a term that is about to be resigned.
var errOver = errors.New("multilock: the term is over")

// resign sends a Resign, and again without a certain answer, for as long as
// within; at least once.
func (b *Backend) resign(t Term, limit, within time.Duration, e *Elector) error {
	start := b.clock.Now().Mono
	for fails := 1; ; fails++ {
		left := within - time.Duration(b.clock.Now().Mono-start)
		one := limit
		if left > 0 { // one lost packet must not eat all the time there is
			one = min(limit, max(left/3, minHedge))
		}
		sent := time.Now()
		b.stats.resigns.Add(1)
		_, err := ask(context.Background(), b, one, func(ctx context.Context) (struct{}, error) { return struct{}{}, b.drv.Resign(ctx, t) })
		e.observe(Observation{Op: "resign", Token: t.Token, Start: sent, Duration: time.Since(sent), Err: err})
		if err == nil || errors.Is(err, ErrLost) {
			return nil // over either way: an earlier send may have done it
		}
		left = within - time.Duration(b.clock.Now().Mono-start)
		if left <= 0 || errors.Is(err, ErrClosed) {
			return b.wrap("resign", t.Group, err)
		}
		b.pause(min(time.Duration(fails)*5*time.Millisecond, left))
	}
}

// resignLater sends one Resign for a term that nobody waits for.
func (b *Backend) resignLater(t Term, limit time.Duration) {
	b.stats.resigns.Add(1)
	c := newCall(limit, func(ctx context.Context) { _ = b.drv.Resign(ctx, t) })
	_ = b.calls.submit(c, true) // if it cannot be sent, the time-to-live ends the term
}

// pause sleeps by the backend's clock.
func (b *Backend) pause(d time.Duration) {
	if d <= 0 {
		return
	}
	over := make(chan struct{})
	b.clock.AfterFunc(d, func() { close(over) })
	<-over
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
	l := r.term
	e.mu.Unlock()
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
	if !r.manual || r.attempted.Load() {
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
