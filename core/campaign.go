package multilock

import (
	"errors"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

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
// Each attempt is made by another goroutine: it needs a stack that this one, which
// may follow for months, would keep. Ten thousand followers are ten thousand small
// stacks.
func (r *run) campaign() (*live, error) {
	x := &campaigning{r: r, steps: make(chan step, 1)}
	attempt := x.attempt
	for {
		r.e.b.hands.run(attempt)
		s := <-x.steps
		if s.l != nil || s.over {
			return s.l, s.cause
		}
		if s.delay > 0 {
			r.sleep(s.delay)
		}
	}
}

// campaigning is a campaign: its attempts follow one another, each in two halves.
type campaigning struct {
	r     *run
	steps chan step // what an attempt came to; holds one
	c     *candidate
	fails int
	asks  []chan outcome // the requests of TryAcquire that the attempt under way answers
}

// attempt makes one attempt, unless there is none to be made.
func (x *campaigning) attempt() {
	r := x.r
	e := r.e
	if !r.begun {
		if _, err := e.begin(r); err != nil {
			x.tell(step{over: true, cause: err})
			return
		}
	}
	if x.c == nil {
		if !r.attempted.Load() {
			e.logStart()
		}
		e.b.watch.join(r) // before the attempt: no wake-up after it is missed
		x.c = &candidate{nonce: r.newNonce()}
	}
	if cause := r.stopAsked(); cause != nil {
		r.settle(x.c)
		x.tell(step{over: true, cause: cause})
		return
	}
	// Whatever woke us so far is served by this attempt. The order matters: a
	// TryAcquire asks first and wakes then, so one that is not taken here wakes.
	select {
	case <-r.wake:
	default:
	}
	asks, pause := r.takeAsks()
	if pause > 0 {
		x.tell(step{delay: pause})
		return
	}
	x.asks = asks
	r.attempted.Store(true)
	t := r.newTry(x.c, func(a *acquireCall) {
		r.setTrying(nil)
		s := x.next(a)
		if s.l != nil {
			s.l.watch()
		}
		x.tell(s)
	})
	if !r.setTrying(t) { // a stop that came before will not give it up
		t.giveUp()
	}
	t.send()
}

// tell ends an attempt.
func (x *campaigning) tell(s step) {
	if s.delay > 0 && x.r.timer == nil { // here, not on the stack that sleeps
		x.r.timer = x.r.e.b.clock.AfterFunc(maxWait, x.r.signal)
	}
	x.steps <- s
}

// next takes the answer to an attempt.
func (x *campaigning) next(a *acquireCall) step {
	r := x.r
	e := r.e
	e.noteAttempt(a)
	if a.err == nil {
		x.fails = 0
		if l := r.won(x.c, a); l != nil {
			r.answerAsks(x.asks, outcome{won: true})
			r.firstAnswer()
			return step{l: l}
		}
		x.c = r.retire(x.c)
		r.answerAsks(x.asks, outcome{err: ErrExpired})
		return step{}
	}
	delay, final := r.judge(a, &x.fails)
	if certain(a.err) {
		x.c = r.retire(x.c)
	}
	var held *HeldError
	if errors.As(a.err, &held) {
		r.answerAsks(x.asks, outcome{})
	} else {
		r.answerAsks(x.asks, outcome{err: e.b.wrap("acquire", e.o.Group, a.err)})
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

// setTrying sets the attempt that a stop gives up. It reports false if a stop was
// asked for before.
func (r *run) setTrying(t *try) bool {
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	r.trying = t
	return r.stopCause == nil
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
