package multilock

import (
	"context"
	"errors"
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
	manual  bool            // by TryAcquire: one term and no campaign
	idle    bool            // by Start: the work is to wait
	started bool            // by StartWork

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

// candidate is the nonce of one campaign attempt, under the elector's lock. It is
// sent again only while every earlier send is unanswered or uncertain.
type candidate struct {
	nonce driver.Nonce
	sent  bool // a send may have been, or may still be, executed
	state candidateState
	token uint64 // of its term, once it has won
	meta  uint64 // version of the metadata that was sent first: it may be what is stored
}

type candidateState int8

const (
	candidateSending candidateState = iota
	candidateLive                   // it won, and its term is not over
	candidateOver                   // it won, and its term is over
	candidateDead                   // it did not win, and is not sent again
)

// step is what one attempt of a campaign came to.
type step struct {
	l     *live // the attempt won
	over  bool  // the run is over, for cause
	cause error
	delay time.Duration // how long to wait before the next
}

// campaign makes attempts until one wins. A nil term means that the run is over.
//
// Each attempt has another goroutine while it lasts: it needs a stack that
// this one, which may follow for months, would keep. Ten thousand followers are
// ten thousand small stacks.
func (r *run) campaign() (*live, error) {
	steps := make(chan step, 1)
	c := &campaigning{r: r}
	attempt := func() { c.attempt(steps) }
	for {
		r.e.b.hands.run(attempt)
		s := <-steps
		if s.l != nil || s.over {
			return s.l, s.cause
		}
		if s.delay > 0 {
			r.sleep(s.delay)
		}
	}
}

// aside runs f in a goroutine of its own and waits for it. A stack that has grown
// to 4 KiB, as one does that waits for a lock, never shrinks again, and the caller's
// is kept for as long as it follows.
func aside(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	<-done
}

// campaigning is a campaign between its attempts.
type campaigning struct {
	r     *run
	c     *candidate
	fails int
}

func (x *campaigning) attempt(steps chan<- step) { steps <- x.next() }

// next makes one attempt.
func (x *campaigning) next() step {
	r := x.r
	e := r.e
	if x.c == nil {
		if !r.attempted.Load() {
			e.logStart()
			r.timer = e.b.clock.AfterFunc(maxWait, r.signal) // here, not on the stack that sleeps
		}
		e.b.watch.join(r) // before the attempt: no wake-up after it is missed
		x.c = &candidate{nonce: r.newNonce()}
	}
	if cause := r.stopAsked(); cause != nil {
		r.settle(x.c)
		return step{over: true, cause: cause}
	}
	// Whatever woke us so far is served by this attempt. The order matters: a
	// TryAcquire asks first and wakes then, so one that is not taken here wakes.
	select {
	case <-r.wake:
	default:
	}
	asks, pause := r.takeAsks()
	if pause > 0 {
		return step{delay: pause}
	}
	r.attempted.Store(true)
	a := r.attempt(x.c, r.stopping)
	e.noteAttempt(a)
	if a.err == nil {
		x.fails = 0
		if l := r.won(x.c, a); l != nil {
			r.answerAsks(asks, outcome{won: true})
			r.firstAnswer()
			return step{l: l}
		}
		x.c = r.retire(x.c)
		r.answerAsks(asks, outcome{err: ErrExpired})
		return step{}
	}
	delay, final := r.judge(a, &x.fails)
	if certain(a.err) {
		x.c = r.retire(x.c)
	}
	var held *HeldError
	if errors.As(a.err, &held) {
		r.answerAsks(asks, outcome{})
	} else {
		r.answerAsks(asks, outcome{err: e.b.wrap("acquire", e.o.Group, a.err)})
	}
	if final != nil {
		e.mu.Lock()
		r.endErr = final
		e.mu.Unlock()
		r.firstAnswer()
		return step{over: true, cause: final}
	}
	r.firstAnswer()
	e.nextAttempt(delay)
	return step{delay: delay}
}

// judge decides what follows a failed attempt: how long to wait, or an error that
// ends the campaign.
func (r *run) judge(a *acquireCall, fails *int) (time.Duration, error) {
	e := r.e
	var held *HeldError
	switch {
	case errors.As(a.err, &held):
		*fails = 0
		rec := held.Record
		rec.Group = e.o.Group
		e.noteHeld(rec)
		return r.untilNext(rec), nil
	case errors.Is(a.err, ErrMisconfigured), errors.Is(a.err, ErrClosed):
		return 0, e.b.wrap("acquire", e.o.Group, a.err)
	}
	*fails++
	most := min(e.o.ElectionInterval, e.o.HeartbeatInterval)
	d := max(most/64<<min(*fails, 6), time.Millisecond)
	if errors.Is(a.err, driver.ErrNotApplied) { // nobody was in the way for long
		d = min(time.Millisecond<<min(*fails, 20), most)
	}
	return d/2 + time.Duration(e.b.clock.Int64N(int64(d))), nil
}

// untilNext is how long a follower sleeps unless it is woken.
func (r *run) untilNext(rec Record) time.Duration {
	e, info := r.e, r.e.b.info
	jitter := time.Duration(e.b.clock.Int64N(int64(e.o.Spread) + 1))
	pushes := e.b.watch.pushes(e.o.Group)
	if !pushes { // once it does, there is another attempt: this one may have missed something
		e.b.watch.ask(e.o.Group)
	}
	switch {
	case info.PollDivisor > 0:
		d := min(e.o.ElectionInterval, e.o.HeartbeatTimeout/time.Duration(info.PollDivisor))
		// Never later than declared: the worst case is computed from it.
		return d*9/10 + time.Duration(e.b.clock.Int64N(int64(d/10)+1))
	case rec.Remaining >= 0:
		d := max(rec.Remaining, time.Millisecond) + jitter
		if !pushes { // a resignation would not be heard of
			d = min(d, e.o.ElectionInterval)
		}
		return d
	case pushes && info.PushOnExpiry:
		return info.WorstCaseExpiry(max(e.o.HeartbeatTimeout, rec.TTL)) + jitter
	}
	return e.o.ElectionInterval + jitter
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
	r.resign(l)
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
	r.answerAsks(r.asks, outcome{won: true}) // who asked while this attempt was under way
	r.asks = nil
	e.observed = Record{Term: l.term, Metadata: e.meta.Load().m, AcquiredAt: l.acquiredAt, TTL: e.o.HeartbeatTimeout, Remaining: driver.RemainingUnknown}
	e.seenAt, e.lastErr, e.nextTry = time.Now(), nil, time.Time{}
	e.current.Store(l)
	e.publish(Change{Kind: Acquired, Term: l.term})
	return true
}

// stopAsked returns why a stop was asked for, or nil.
func (r *run) stopAsked() error {
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	return r.stopCause
}

// takeAsks takes the requests of TryAcquire that the next attempt answers, or
// returns how long to abstain.
func (r *run) takeAsks() ([]chan outcome, time.Duration) {
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	asks := r.asks
	r.asks = nil
	if pause := time.Duration(r.abstain - r.e.b.clock.Now().Mono); r.abstain != 0 && pause > 0 && len(asks) == 0 {
		return nil, pause
	}
	r.abstain = 0
	return asks, 0
}

func (r *run) answerAsks(asks []chan outcome, o outcome) {
	for _, ask := range asks {
		ask <- o // holds one, and is answered once
	}
}

func (r *run) firstAnswer() {
	if r.answered == nil {
		return
	}
	select {
	case <-r.answered:
	default:
		close(r.answered)
	}
}
