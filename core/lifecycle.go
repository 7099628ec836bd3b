package multilock

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Run campaigns, and runs work whenever it leads, until work returns during its
// term or ctx ends. Everything happens in the caller's goroutine.
//
// The context of work carries the values of ctx and ends, with a cause, when the
// term ends: by a loss, by its deadline, by Stop, Resign or Close, or after ctx
// ended. Its Err looks at the clocks, so check it, or IsLeader, before a write
// that cannot be undone, and send term.Token with the write; contexts derived
// from it follow a timer.
//
//   - If work returns while the term lives, the term is resigned and Run returns
//     what work returned.
//   - If the term ended first, Run waits for work to return and campaigns again.
//     A second copy of work never starts before the first has returned. An error
//     is logged and carried in the next Change.
//   - If ctx ends, leadership is given up in order: IsLeader turns false, the
//     context of work is cancelled, the lease is kept alive while work returns (at
//     most DrainTimeout), and then it is resigned. Run returns context.Cause(ctx).
//   - After Stop, Run returns ErrStopped; after Backend.Close, ErrClosed.
//   - A misconfiguration of the store ends Run with an error that matches
//     ErrMisconfigured. A store that is merely unreachable is waited for.
//   - If work panics the term is resigned and the panic goes on.
//
// On an elector that is already started or running, the error is ErrRunning.
func (e *Elector) Run(ctx context.Context, work func(ctx context.Context, term Term) error) error {
	if work == nil {
		return &InvalidError{Field: "work", Allowed: "must not be nil"}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	r := &run{e: e, ctx: ctx} // it begins with its campaign, on another stack than this
	err := r.loop(work)
	if r.begun {
		r.finish(err)
	}
	return err
}

// Start campaigns in a goroutine of its own until Stop. It waits for the first
// answer of the store, at most until ctx ends or for LockTimeout, to report a
// misconfiguration; it does not wait for leadership, and a store that is
// unreachable is no error. ctx bounds only this call.
//
// A second Start is a no-op. During Run or StartWork, or while a term won by
// TryAcquire is held, the error is ErrRunning. Start during a stop waits for its
// end.
func (e *Elector) Start(ctx context.Context) error {
	return e.start(ctx, func() *run { return &run{ctx: context.Background(), idle: true, answered: make(chan struct{})} }, (*run).wait)
}

// StartWork is Run in a goroutine of its own, with the beginning of Start: it
// reports a misconfiguration that the store's first answer shows, and ctx bounds
// only this call, though work sees its values. What Run would return is the cause
// of the Stopped change. If work panics, the term is resigned and the program
// ends, as with any goroutine. A second StartWork is a no-op, whatever its work;
// on an elector that was started otherwise the error is ErrRunning.
func (e *Elector) StartWork(ctx context.Context, work func(ctx context.Context, term Term) error) error {
	if work == nil {
		return &InvalidError{Field: "work", Allowed: "must not be nil"}
	}
	return e.start(ctx, func() *run {
		return &run{ctx: context.WithoutCancel(ctx), started: true, answered: make(chan struct{})}
	},
		func(_ *run, ctx context.Context, t Term) error { return work(ctx, t) })
}

func (e *Elector) start(ctx context.Context, newRun func() *run, work func(*run, context.Context, Term) error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	fresh := newRun()
	r, err := e.begin(fresh)
	for errors.Is(err, ErrRunning) {
		e.mu.Lock()
		old := e.run
		started := old != nil && (old.idle && fresh.idle || old.started && fresh.started) && old.stopCause == nil
		stopping := old != nil && old.stopCause != nil
		e.mu.Unlock()
		switch {
		case started:
			return nil
		case stopping && !inside(ctx, old):
			select {
			case <-old.done:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		case old != nil:
			return err
		}
		fresh = newRun()
		r, err = e.begin(fresh)
	}
	if err != nil {
		return err
	}
	go func() {
		r.finish(r.loop(func(ctx context.Context, t Term) error { return work(r, ctx, t) }))
	}()

	limit := make(chan struct{})
	defer e.b.clock.AfterFunc(e.o.LockTimeout, func() { close(limit) }).Stop()
	select {
	case <-r.answered:
	case <-limit:
	case <-ctx.Done():
	}
	e.mu.Lock()
	err = r.endErr
	e.mu.Unlock()
	if errors.Is(err, ErrMisconfigured) || errors.Is(err, ErrClosed) {
		<-r.done
		return err
	}
	return nil
}

// wait is the work of Start: others act on IsLeader and the changes.
func (r *run) wait(ctx context.Context, _ Term) error {
	<-ctx.Done()
	e := r.e
	if e.o.DrainDelay > 0 && !errors.Is(context.Cause(ctx), ErrLost) {
		over := make(chan struct{})
		t := e.b.clock.AfterFunc(e.o.DrainDelay, func() { close(over) })
		defer t.Stop()
		e.mu.Lock()
		l := r.term
		e.mu.Unlock()
		select {
		case <-over:
		case <-l.drainOut:
		}
	}
	return nil
}

// begin makes r the elector's run. The end of its context, if it has one, stops it.
func (e *Elector) begin(r *run) (*run, error) {
	r.e = e
	r.wake = make(chan struct{}, 1)
	r.stopping, r.done = make(chan struct{}), make(chan struct{})
	if err := e.occupy(r); err != nil {
		return nil, err
	}
	r.begun = true
	if r.ctx.Done() != nil {
		r.unhook = context.AfterFunc(r.ctx, func() { r.stop(context.Cause(r.ctx), e.o.DrainTimeout) })
	}
	return r, nil
}

func (e *Elector) occupy(r *run) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.run != nil {
		return ErrRunning
	}
	if !e.b.remember(e) {
		return e.b.wrap("start", e.o.Group, ErrClosed)
	}
	e.run = r
	e.lastErr, e.workErr = nil, nil
	return nil
}

// Stop ends Run, Start or a term won by TryAcquire, in order: IsLeader turns
// false and Lost is published; the work's context is cancelled; the lease is kept
// alive while the work returns; then it is resigned, Stopped is published and the
// sequences of Changes end.
//
// If the work does not return within DrainTimeout, or the shorter time that ctx's
// deadline leaves, Stop returns ErrDrainTimeout and the lease is left to expire.
// If the resignation could not be confirmed Stop returns its error; the elector
// is stopped all the same. If ctx ends first, the drain ends with it, and a
// resignation that is not answered soon after goes on without Stop, which returns
// context.Cause(ctx). A ctx that has ended before the call limits nothing. On a
// stopped elector it is a no-op. Called from inside the work, with its context, it
// does not wait.
func (e *Elector) Stop(ctx context.Context) error {
	e.mu.Lock()
	r := e.run
	e.mu.Unlock()
	if r == nil {
		return nil
	}
	return e.stopRun(ctx, r, ErrStopped)
}

// stopRun is an ordered stop for cause.
func (e *Elector) stopRun(ctx context.Context, r *run, cause error) error {
	ended := ctx.Done()
	if ctx.Err() != nil {
		ended = nil // it was over before: then it says nothing about this stop
	}
	l := r.stop(cause, e.drainLimit(ctx))
	if inside(ctx, r) {
		return nil
	}
	var out chan struct{}
	if l != nil {
		out = l.drainOut
	}
	select {
	case <-r.done:
	case <-out:
	case <-ended:
		r.stop(cause, 0)
		patience := make(chan struct{})
		defer e.b.clock.AfterFunc(minHedge, func() { close(patience) }).Stop()
		select {
		case <-r.done:
		case <-out:
		case <-patience: // a request is under way that the store does not answer
			return fmt.Errorf("multilock: the stop goes on: %w", context.Cause(ctx))
		}
	}
	select {
	case <-r.done:
		e.mu.Lock()
		defer e.mu.Unlock()
		if l != nil && l.drainOver {
			return ErrDrainTimeout
		}
		return r.resignErr
	default:
		return ErrDrainTimeout
	}
}

// abstention is the least time an elector takes no part after Resign.
const abstention = time.Second

// Resign steps down and keeps taking part. Like Stop it tells, cancels and drains
// before it lets go, with the same limits and errors; then the elector abstains
// for max(2 x Spread, 1 s), since it would win against everybody who has to hear
// of it first. Without leadership it is a no-op. A term won by TryAcquire is
// resigned and the elector is stopped. Called from inside the work, with its
// context, it does not wait.
func (e *Elector) Resign(ctx context.Context) error {
	e.mu.Lock()
	r := e.run
	var l *live
	if r != nil {
		l = r.term
	}
	e.mu.Unlock()
	if l == nil {
		return nil
	}
	if r.manual {
		return e.stopRun(ctx, r, ErrResigned)
	}
	limit := e.drainLimit(ctx)
	e.mu.Lock()
	r.abstain = e.b.clock.Now().Mono + int64(max(2*e.o.Spread, abstention))
	e.mu.Unlock()
	e.stepDown(l, ErrResigned)
	e.drain(l, limit)
	if inside(ctx, r) {
		return nil
	}
	ended := ctx.Done()
	if ctx.Err() != nil {
		ended = nil
	}
	select {
	case <-l.gone:
		return l.resignErr
	case <-l.drainOut:
		return ErrDrainTimeout
	case <-ended:
		return fmt.Errorf("%w: %w", ErrDrainTimeout, context.Cause(ctx))
	}
}

// TryAcquire makes one attempt to lead and reports whether this elector leads.
//
// On a stopped elector a success begins a term without work: it is renewed until
// Resign, Stop or its loss, which stop the elector again; meanwhile Run and Start
// return ErrRunning. On a started elector the attempt is made at once instead of
// at its time, also while it abstains after Resign. An elector that leads returns
// true without I/O; one that is stopping, or whose work has not returned, ErrStopped;
// one that another TryAcquire occupies, ErrRunning.
func (e *Elector) TryAcquire(ctx context.Context) (bool, error) {
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	for {
		if e.IsLeader() {
			return true, nil
		}
		e.mu.Lock()
		r := e.run
		if r == nil {
			e.mu.Unlock()
			won, err := e.tryOnce(ctx)
			if errors.Is(err, ErrRunning) {
				continue // somebody else was faster
			}
			return won, err
		}
		if r.stopCause != nil || r.term != nil {
			leading := r.term != nil && r.term.leading
			e.mu.Unlock()
			if leading && e.IsLeader() { // it was announced in between
				return true, nil
			}
			return false, ErrStopped
		}
		if r.manual {
			e.mu.Unlock()
			return false, ErrRunning
		}
		ask := make(chan outcome, 1)
		r.asks = append(r.asks, ask)
		e.mu.Unlock()
		r.signal()
		select {
		case o := <-ask:
			return o.won, o.err
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
}

// tryOnce is TryAcquire on a stopped elector.
func (e *Elector) tryOnce(ctx context.Context) (bool, error) {
	r, err := e.begin(&run{ctx: context.Background(), manual: true})
	if err != nil {
		return false, err
	}
	c := &candidate{nonce: r.newNonce()}
	a := r.attempt(c, ctx.Done())
	e.noteAttempt(a)
	if a.err == nil {
		if r.won(c, a) != nil {
			return true, nil // endManual ends the run with it
		}
		r.finish(ErrExpired)
		return false, ErrExpired
	}
	var held *HeldError
	if errors.As(a.err, &held) {
		rec := held.Record
		rec.Group = e.o.Group
		e.noteHeld(rec)
		r.finish(nil)
		return false, nil
	}
	err = e.b.wrap("acquire", e.o.Group, a.err)
	if certain(a.err) {
		r.finish(err)
		return false, err
	}
	// It may still be executed. The elector stays busy until that is settled.
	r.stop(err, e.o.DrainTimeout)
	go func() {
		r.settle(c)
		r.finish(err)
	}()
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	return false, err
}
