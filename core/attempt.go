package multilock

import (
	"context"
	"errors"
	"time"

	"github.com/multilock/multilock-go/core/driver"
	"github.com/multilock/multilock-go/core/internal/seam"
)

// attempt sends one acquire and waits for its answer, its time limit, or giveUp.
func (r *run) attempt(c *candidate, giveUp <-chan struct{}) *acquireCall {
	e := r.e
	meta := e.meta.Load()
	e.mu.Lock()
	fresh := !c.sent
	c.sent = true
	if fresh {
		c.meta = meta.version
	}
	stored := c.meta
	e.lastTry = time.Now()
	e.mu.Unlock()
	start := time.Now()
	a := &acquireCall{fresh: fresh, start: start, req: driver.AcquireRequest{
		Group: e.o.Group, Participant: e.o.ParticipantID, Nonce: c.nonce,
		TTL: e.o.HeartbeatTimeout, Metadata: meta.m,
	}}
	call := newCall(e.o.LockTimeout, func(ctx context.Context) { e.b.acquireOne(ctx, a) })
	call.acquire = a
	call.late = func() {
		if a.err == nil {
			e.lateGrant(c, a)
		}
	}
	forget := func() { // nothing of this nonce can be, or become, executed
		if fresh {
			e.mu.Lock()
			c.sent = false
			e.mu.Unlock()
		}
	}
	unsent := func(err error) *acquireCall {
		forget()
		return &acquireCall{req: a.req, start: start, err: err}
	}
	if err := e.b.calls.submit(call, false); err != nil {
		return unsent(err)
	}
	select {
	case <-call.done:
	case <-giveUp:
		if call.giveUp() {
			return unsent(errAbandoned)
		}
		return &acquireCall{req: a.req, start: start, err: errAbandoned}
	}
	if !call.answered() {
		return &acquireCall{req: a.req, start: start, err: errAbandoned}
	}
	switch {
	case a.err == nil:
		e.metadataSent(stored)
	case errors.Is(a.err, driver.ErrNotApplied):
		forget()
	}
	return a
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
			_ = e.b.resign(Term{Group: e.o.Group, Participant: e.o.ParticipantID, Token: a.grant.Token, Nonce: c.nonce}, e.o.LockTimeout, time.Duration(by-e.b.clock.Now().Mono), e)
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
