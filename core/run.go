package multilock

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/multilock/multilock-go/core/driver"
	"github.com/multilock/multilock-go/core/internal/clock"
)

// run is one stretch of an elector between start and stop. Its loop campaigns and
// performs the work, one after the other, in one goroutine; everything else only
// asks it to.
type run struct {
	e       *Elector
	ctx     context.Context // gives its values to the contexts of the work
	manual  bool            // by TryAcquire: one term, without a campaign or a goroutine
	idle    bool            // by Start: the work is to wait
	started bool            // by StartWork

	begun  bool        // it is, or was, the elector's run
	unhook func() bool // from ctx, whose end stops the run; nil if it has none

	wake      chan struct{} // a hint to look again; holds one
	stopping  chan struct{} // closed when a stop was asked for
	done      chan struct{} // closed when the run has ended
	answered  chan struct{} // closed after the first attempt; nil if nobody waits for it
	attempted atomic.Bool
	timer     clock.Timer

	// under the elector's lock
	stopCause error // why a stop was asked for
	drainBy   int64 // monotonic time by which a stop has to be over
	term      *live // from its announcement until its work returned and it was resigned
	led       bool  // it has had a term
	trying    *try  // the attempt of the campaign that is under way
	asks      []chan outcome
	abstain   int64 // monotonic time until which it does not campaign
	endErr    error // what the loop returned
	resignErr error // why a planned resignation was not confirmed
}

// outcome answers TryAcquire.
type outcome struct {
	won bool
	err error
}

func (r *run) group() string { return r.e.o.Group }

// signal wakes the loop; it never blocks.
func (r *run) signal() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// sleep waits for d, a wake-up or a stop.
func (r *run) sleep(d time.Duration) {
	if r.timer == nil {
		r.timer = r.e.b.clock.AfterFunc(d, r.signal)
	} else {
		r.timer.Reset(d)
	}
	select {
	case <-r.wake:
	case <-r.stopping:
	}
	r.timer.Stop()
}

// loop campaigns and performs until the run is over, and returns why.
func (r *run) loop(work func(context.Context, Term) error) error {
	for {
		l, err := r.campaign()
		if l == nil {
			return err
		}
		if err, over := r.perform(l, work); over {
			return err
		}
	}
}

// won makes a term of a grant and announces it, or gives it back.
func (r *run) won(c *candidate, a *acquireCall) *live {
	e := r.e
	l := newLive(r, Term{Group: e.o.Group, Participant: e.o.ParticipantID, Token: a.grant.Token, Nonce: c.nonce}, a.grant, a.t0)
	e.mu.Lock()
	c.state, c.token, l.candidate = candidateLive, a.grant.Token, c
	e.mu.Unlock()
	heartbeat := l.heartbeat()
	spent := time.Duration(e.b.clock.Now().Mono - a.t0.Mono)
	if l.left() >= heartbeat {
		e.b.renewer.add(l, max(0, heartbeat-spent))
	} else { // renew before anybody is told
		e.b.renewer.add(l, 0)
		for l.alive() && l.left() < heartbeat && r.stopAsked() == nil {
			r.sleep(heartbeat)
		}
	}
	if e.announce(l) {
		return l
	}
	close(l.work)
	e.b.hands.await(func(over func()) { r.resign(l, over) })
	return nil
}

// announce lets IsLeader answer for l, unless it is over or a stop was asked for.
func (e *Elector) announce(l *live) bool {
	if !l.alive() {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	r := l.run
	if l.over || r.stopCause != nil {
		return false
	}
	l.leading, r.term = true, l
	r.led = true
	r.answerAsks(r.asks, outcome{won: true}) // who asked while this attempt was under way
	r.asks = nil
	e.observed = Record{Term: l.term, Metadata: e.meta.Load().m, AcquiredAt: l.acquiredAt, TTL: e.o.HeartbeatTimeout, Remaining: driver.RemainingUnknown}
	e.seenAt, e.lastErr, e.nextTry = time.Now(), nil, time.Time{}
	e.current.Store(l)
	e.publish(Change{Kind: Acquired, Term: l.term})
	return true
}
