package multilock

import (
	"context"
	"errors"
	"time"

	"github.com/multilock/multilock-go/core/driver"
	"github.com/multilock/multilock-go/core/internal/seam"
)

// try is one attempt under way.
type try struct {
	r      *run
	c      *candidate
	stored uint64 // the version of the metadata that the store will have
	start  time.Time
	a      *acquireCall
	call   *call
	then   func(*acquireCall) // gets the outcome, in a goroutine that it may keep
}

// newTry prepares an attempt with the nonce of c.
func (r *run) newTry(c *candidate, then func(*acquireCall)) *try {
	e := r.e
	meta := e.meta.Load()
	x := &try{r: r, c: c, then: then}
	e.mu.Lock()
	fresh := !c.sent
	c.sent = true
	if fresh {
		c.meta = meta.version
	}
	x.stored = c.meta
	e.lastTry = time.Now()
	e.mu.Unlock()
	x.start = time.Now()
	x.a = &acquireCall{fresh: fresh, req: driver.AcquireRequest{
		Group: e.o.Group, Participant: e.o.ParticipantID, Nonce: c.nonce,
		TTL: e.o.HeartbeatTimeout, Metadata: meta.m,
	}}
	x.call = newCall(e.o.LockTimeout, func(ctx context.Context) { e.b.acquireOne(ctx, x.a) })
	x.call.acquire = x.a
	x.call.then = x.ended
	x.call.late = func() {
		if x.a.err == nil {
			e.lateGrant(c, x.a)
		}
	}
	return x
}

// send makes the attempt in the goroutine of one of the hands.
func (x *try) send() {
	if err := x.r.e.b.calls.perform(x.call, false); err != nil {
		x.refused(err)
	}
}

// submit has the attempt made by another goroutine.
func (x *try) submit() {
	if err := x.r.e.b.calls.submit(x.call, false); err != nil {
		x.refused(err)
	}
}

// giveUp ends the attempt, if it is not over, with errAbandoned.
func (x *try) giveUp() { x.r.e.b.calls.giveUp(x.call) }

// forget notes that nothing of this nonce can be, or become, executed.
func (x *try) forget() {
	if x.a.fresh {
		x.r.e.mu.Lock()
		x.c.sent = false
		x.r.e.mu.Unlock()
	}
}

func (x *try) refused(err error) {
	x.forget()
	x.then(x.without(err))
}

// without is the outcome of an attempt that has no answer. What was given up may
// still write its own.
func (x *try) without(err error) *acquireCall {
	return &acquireCall{req: x.a.req, start: x.start, err: err}
}

func (x *try) ended() {
	switch x.call.outcome() {
	case callUnsent:
		x.refused(errAbandoned)
		return
	case callGivenUp:
		x.then(x.without(errAbandoned))
		return
	}
	switch {
	case x.a.err == nil:
		x.r.e.metadataSent(x.stored)
	case errors.Is(x.a.err, driver.ErrNotApplied):
		x.forget()
	}
	x.then(x.a)
}

// attempt makes one attempt and waits for its answer, its time limit, or giveUp.
func (r *run) attempt(c *candidate, giveUp <-chan struct{}) *acquireCall {
	ended := make(chan *acquireCall, 1)
	x := r.newTry(c, func(a *acquireCall) { ended <- a })
	x.submit()
	select {
	case a := <-ended:
		return a
	case <-giveUp:
		x.giveUp()
		return <-ended
	}
}

// settle makes sure that an attempt without a certain answer leaves no term
// behind: it is sent again until it is answered, and then resigned. What cannot
// be settled until the drain limit ends with its time-to-live.
func (r *run) settle(c *candidate) {
	e := r.e
	e.mu.Lock()
	open, by := c.sent && c.state == candidateSending, r.drainBy
	e.mu.Unlock()
	for fails := 1; open; fails++ {
		left := time.Duration(by - e.b.clock.Now().Mono)
		if left <= 0 {
			break
		}
		limit := make(chan struct{})
		t := e.b.clock.AfterFunc(left, func() { close(limit) })
		a := r.attempt(c, limit)
		t.Stop()
		if a.err == nil {
			t := Term{Group: e.o.Group, Participant: e.o.ParticipantID, Token: a.grant.Token, Nonce: c.nonce}
			e.b.hands.await(func(over func()) {
				e.b.resign(t, e.o.LockTimeout, time.Duration(by-e.b.clock.Now().Mono), e, func(error) { over() })
			})
			break
		}
		if certain(a.err) {
			break
		}
		e.b.pause(min(time.Duration(fails)*5*time.Millisecond, left))
	}
	r.retire(c)
}

// retire ends the life of a nonce and returns a new one.
func (r *run) retire(c *candidate) *candidate {
	r.e.mu.Lock()
	if c.state == candidateSending {
		c.state = candidateDead
	}
	r.e.mu.Unlock()
	return &candidate{nonce: r.newNonce()}
}

func (r *run) newNonce() driver.Nonce {
	if b := r.e.b; b.fault == seam.ReuseNonce {
		return b.reusedNonce(r.e)
	}
	return driver.NewNonce()
}

// lateGrant takes the success of an attempt that was given up. While the nonce is
// sent again or leads, that is what its next answer says too. A term that was won
// and is over is resigned when its work has returned, and not here. Otherwise
// nobody wants the term, and it is resigned.
func (e *Elector) lateGrant(c *candidate, a *acquireCall) {
	e.mu.Lock()
	orphan := c.state == candidateDead || c.state == candidateOver && a.grant.Token != c.token
	e.mu.Unlock()
	if orphan {
		e.b.resignLater(Term{Group: a.req.Group, Participant: a.req.Participant, Token: a.grant.Token, Nonce: a.req.Nonce}, e.o.LockTimeout)
	}
}

// noteAttempt records the outcome of an attempt for Status, logger and observer.
func (e *Elector) noteAttempt(a *acquireCall) {
	var held *HeldError
	failed := a.err != nil && !errors.As(a.err, &held)
	e.mu.Lock()
	stopping := e.run != nil && e.run.stopCause != nil
	first := e.lastErr == nil && !stopping
	if failed && stopping && a.err == errAbandoned {
		e.mu.Unlock() // given up because of the stop: that says nothing about the store
		return
	}
	if failed {
		e.lastErr = e.b.wrap("acquire", e.o.Group, a.err)
	} else {
		e.lastErr = nil
	}
	e.mu.Unlock()
	e.observe(Observation{Op: "acquire", Token: a.grant.Token, Start: a.start, Duration: time.Since(a.start), Err: a.err})
	if failed {
		e.logAttempt(a.err, first)
	}
}

func (e *Elector) nextAttempt(delay time.Duration) {
	e.mu.Lock()
	e.nextTry = time.Now().Add(delay)
	e.mu.Unlock()
}

// noteHeld notes the leader that refused us, and one with another time-to-live.
func (e *Elector) noteHeld(rec Record) {
	e.mu.Lock()
	first := e.observed.Token != rec.Token
	e.noteLeader(rec)
	e.mu.Unlock()
	if first && rec.TTL > 0 && rec.TTL != e.o.HeartbeatTimeout {
		e.logTTL(rec)
	}
}
