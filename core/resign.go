package multilock

import (
	"context"
	"errors"
	"time"
)

// resign is the second half of a planned end: believe no more, then let go. Of a
// term that ended otherwise it is one attempt; the store may still hold it. It is
// called in one of the hands, and then when nothing more is sent for the term.
func (r *run) resign(l *live, then func()) {
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
	gone := func(err error) {
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
		then()
	}
	if lost {
		gone(nil)
		return
	}
	limit, within := e.o.LockTimeout, time.Duration(0) // one attempt
	if planned {
		within = lease + e.o.Margin // after that there is nothing to hand over
	}
	if drainBy != 0 {
		left := time.Duration(drainBy - e.b.clock.Now().Mono)
		limit, within = min(limit, max(left, minHedge)), min(within, left)
	}
	e.b.resign(l.term, limit, within, e, gone)
}

// errOver ends a term that is about to be resigned.
var errOver = errors.New("multilock: the term is over")

// resigning gives a term back: it sends a Resign, and again without a certain
// answer, for as long as within; at least once.
type resigning struct {
	e             *Elector
	t             Term
	limit, within time.Duration
	start         int64 // monotonic
	fails         int
	then          func(error)
}

// resign gives t back, and calls then when that has succeeded or was given up. It
// is called in one of the hands.
func (b *Backend) resign(t Term, limit, within time.Duration, e *Elector, then func(error)) {
	x := &resigning{e: e, t: t, limit: limit, within: within, start: b.clock.Now().Mono, then: then}
	x.send()
}

func (x *resigning) left() time.Duration {
	return x.within - time.Duration(x.e.b.clock.Now().Mono-x.start)
}

func (x *resigning) send() {
	b := x.e.b
	one := x.limit
	if left := x.left(); left > 0 { // one lost packet must not eat all the time there is
		one = min(x.limit, max(left/3, minHedge))
	}
	sent := time.Now()
	b.stats.resigns.Add(1)
	var answer error // of this send, which may come while the next is under way
	c := newCall(one, func(ctx context.Context) { answer = b.drv.Resign(ctx, x.t) })
	c.then = func() {
		err := errAbandoned
		if c.outcome() == callDone {
			err = answer
		}
		x.answered(sent, err)
	}
	if err := b.calls.perform(c, true); err != nil {
		x.answered(sent, err)
	}
}

func (x *resigning) answered(sent time.Time, err error) {
	b := x.e.b
	x.e.observe(Observation{Op: "resign", Token: x.t.Token, Start: sent, Duration: time.Since(sent), Err: err})
	if err == nil || errors.Is(err, ErrLost) {
		x.then(nil) // over either way: an earlier send may have done it
		return
	}
	left := x.left()
	if left <= 0 || errors.Is(err, ErrClosed) {
		x.then(b.wrap("resign", x.t.Group, err))
		return
	}
	x.fails++
	b.clock.AfterFunc(min(time.Duration(x.fails)*5*time.Millisecond, left), func() { b.hands.run(x.send) })
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
