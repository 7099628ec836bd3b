package multilock

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/multilock/multilock-go/core/driver"
	"github.com/multilock/multilock-go/core/internal/clock"
	"github.com/multilock/multilock-go/core/internal/seam"
)

// Term is one unbroken leadership; see [driver.Term].
type Term = driver.Term

// Record is what a store holds about a live term; see [driver.Record].
type Record = driver.Record

// HeldError is the answer of an attempt that found another leader.
type HeldError = driver.HeldError

// Nonce proves ownership of a term at the store; see [driver.Nonce].
type Nonce = driver.Nonce

// live is a term of this process from its acquisition until it is over.
//
// It ends once: its belief is swapped for one that is over by whoever finds the
// deadline passed, hears of the loss, or is about to resign, and nothing brings it
// back. A reply that arrives later finds it over and changes nothing.
type live struct {
	e          *Elector
	run        *run
	term       Term
	acquiredAt time.Time
	believed   atomic.Pointer[belief]
	watching   atomic.Bool // its wake-ups were asked for

	ctx    *termContext
	cancel context.CancelCauseFunc

	// of the renewer, under its lock
	due      int64 // monotonic time of the next send
	inflight int
	meta     *metadataVersion // what the sends under way carry
	fails    int
	index    int // in the heap
	queued   bool

	work     chan struct{} // closed when the work has returned
	drainOut chan struct{} // closed when the drain limit passed before that
	gone     chan struct{} // closed when nothing more is sent for the term

	// of the elector, under its lock
	candidate  *candidate
	leading    bool  // IsLeader may answer for it
	told       bool  // endManual was begun
	over       bool  // the belief is over and that was told
	lost       bool  // the store said so: there is nothing left to resign
	cause      error // why it was told to end
	drainBy    int64 // monotonic drain limit, 0 without one
	drainTimer clock.Timer
	drainOver  bool
	overrun    clock.Timer // tells when the work outlives a lost lease
	warned     bool        // Overrun was published
	resignErr  error       // set before gone is closed
}

// newLive begins a term at t0, the instant before the request that won it.
func newLive(r *run, term Term, g driver.Grant, t0 instant) *live {
	l := &live{e: r.e, run: r, term: term, acquiredAt: g.AcquiredAt,
		work: make(chan struct{}), drainOut: make(chan struct{}), gone: make(chan struct{})}
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(r.ctx))
	l.ctx, l.cancel = &termContext{Context: ctx, l: l}, cancel
	l.believed.Store(l.belief(t0, g.Granted))
	return l
}

// belief is what an answer to a request sent at t0 allows.
func (l *live) belief(t0 instant, granted time.Duration) *belief {
	o := &l.e.o
	margin := o.Margin
	if l.e.b.fault == seam.NoMargin {
		margin = 0
	}
	return newBelief(t0, min(o.HeartbeatTimeout, granted)-margin, o.Margin)
}

// alive looks at the clocks and ends the term if its deadline has passed.
func (l *live) alive() bool {
	x := l.believed.Load()
	if x.over != nil {
		return false
	}
	c := l.e.b.clock
	if _, ok := c.(clock.System); ok {
		// What judge nearly always finds, without the seam: IsLeader is asked before
		// each write, and takes half as long beside time.Now.
		now := time.Now()
		m, w := int64(now.Sub(clock.Base))-x.at.Mono, now.UnixNano()-x.at.Wall
		if d := w - m; m < x.span && w < x.span && -x.tol <= d && d <= x.tol {
			return true
		}
	}
	switch x.judge(c) {
	case believed:
		return true
	case expired:
		return !l.endIf(x, ErrExpired) && l.alive()
	default:
		return !l.endIf(x, ErrClock) && l.alive()
	}
}

// left is the time until the deadline, 0 if the term is over.
func (l *live) left() time.Duration {
	x := l.believed.Load()
	if x.over != nil {
		return 0
	}
	return x.left(l.e.b.clock)
}

// extend moves the deadline by the answer to a request sent at t0. It reports
// false if the term was over already.
func (l *live) extend(t0 instant, granted time.Duration) bool {
	next := l.belief(t0, granted)
	for {
		old := l.believed.Load()
		if old.over != nil {
			if l.e.b.fault == seam.ReviveTerm && l.e.revive(l, next) {
				return true
			}
			return false
		}
		if v := old.judge(l.e.b.clock); v != believed {
			if !l.alive() {
				return false
			}
			continue
		}
		if next.at.Mono < old.at.Mono {
			return true // an older request whose answer came later
		}
		// A newer answer counts even if it allows less: it knows what the store
		// grants by now, e.g. after a session was negotiated anew.
		if l.believed.CompareAndSwap(old, next) {
			l.run.signal()
			return true
		}
	}
}

// end ends the term for good; it reports whether this call did.
func (l *live) end(cause error) bool {
	for {
		x := l.believed.Load()
		if x.over != nil {
			return false
		}
		if l.endIf(x, cause) {
			return true
		}
	}
}

func (l *live) endIf(x *belief, cause error) bool {
	if !l.believed.CompareAndSwap(x, &belief{over: cause, lease: x.at.Mono + x.span + int64(l.e.o.Margin)}) {
		return false
	}
	l.e.b.renewer.remove(l)
	l.e.ended(l, cause)
	return true
}

// heartbeat is the time between renewals: shorter than configured if the store
// grants less than it was asked for.
func (l *live) heartbeat() time.Duration {
	x := l.believed.Load()
	if x.over != nil {
		return l.e.o.HeartbeatInterval
	}
	return min(l.e.o.HeartbeatInterval, time.Duration(x.span)/3)
}

// termContext is the context of the work of a term. It ends with the term. Its
// Err looks at the clocks, so that a process that was stopped or suspended sees
// the end in its first instruction, before any timer ran.
//
// It shares the Done channel of an ordinary cancel context, which contexts
// derived from it follow; those end when the deadline's timer runs.
type termContext struct {
	context.Context
	l *live
}

// Deadline reports none: the deadline moves with every renewal.
func (c *termContext) Deadline() (time.Time, bool) { return time.Time{}, false }

// Err is nil as long as the term may be believed and was not told to end.
func (c *termContext) Err() error {
	if err := c.Context.Err(); err != nil {
		return err
	}
	if !c.l.alive() {
		// whoever ended the term may not have come to tell yet
		c.l.e.ended(c.l, c.l.believed.Load().over)
	}
	return c.Context.Err()
}

// workKey marks the contexts of a run's work, so that Stop, Resign and Close
// called from inside do not wait for their own caller.
type workKey struct{ *run }

// Value adds the mark to the values of the context given to Run.
func (c *termContext) Value(key any) any {
	if k, ok := key.(workKey); ok {
		return k.run == c.l.run
	}
	return c.Context.Value(key)
}

// inside reports whether ctx belongs to work of the run.
func inside(ctx context.Context, r *run) bool {
	in, _ := ctx.Value(workKey{r}).(bool)
	return in
}
