package conformance

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

var clockRules = []Rule{
	{
		ID:      "CLK-tick",
		Title:   "not granted one tick too early, granted on time",
		Promise: "On the store's own clock: one tick before the granted lifetime is over nobody else is granted the group and the holder is still the leader; at the declared worst case another is.",
		Needs:   []Power{PowerManualClock},
		body: func(r *run) {
			a, b := r.client(), r.client()
			advance, tick := r.h.ManualClock(r)
			for _, renew := range []bool{false, true} {
				l := a.win(r.group(), "holder")
				left := l.grant.Granted
				if renew {
					advance(r.h.TTL / 2)
					res := a.renewAll(driver.RenewRequest{Term: l.Term, TTL: r.h.TTL})[0]
					if res.Err != nil {
						r.Fatalf("Renew at half the TTL: %v", res.Err)
					}
					left = res.Granted
				}
				advance(left - tick)
				b.mustBeHeld(r.request(l.Group, "other"))
				l.mustLead("one tick before the expiry")
				advance(tick + b.info.WorstCaseExpiry(r.h.TTL) - left)
				b.mustBeFree(l.Group, "at the declared worst case")
				next, err := b.acquire(r.request(l.Group, "next"))
				if err != nil {
					r.Fatalf("Acquire at the declared worst case: %v", err)
				}
				r.newer(l, next)
				l.mustBeLost("it expired and another leads")
			}
		},
	},
	{
		ID:      "CLK-granted",
		Title:   "Granted is the store's own remaining time",
		Promise: "On a clock that stands still a repeated Acquire and every Renew are granted no more than what the store keeps, also when a longer expiry stays in place.",
		Needs:   []Power{PowerManualClock},
		body: func(r *run) {
			a, b := r.client(), r.client()
			advance, tick := r.h.ManualClock(r)
			req := r.request(r.group(), "holder")
			l := a.mustAcquire(req)
			advance(r.h.TTL * 8 / 10)
			again, err := a.acquire(req)
			if err != nil || again.Token != l.Token {
				r.Fatalf("the attempt repeated at 0.8 of the TTL: %v, %v", again, err)
			}
			advance(again.grant.Granted - tick)
			if next, err := b.acquire(r.request(req.Group, "early")); err == nil {
				r.Errorf("%v was granted before the lifetime told to the repeated attempt was over", next.Term)
			}
			if rec := b.leader(req.Group); rec == nil || rec.Token != l.Token {
				r.Errorf("the repeated attempt's term is gone before the lifetime it was told is over")
			}
		},
	},
	{
		ID:       "CLK-rate",
		Title:    "clocks that run at rates one percent apart elect one leader",
		Promise:  "Where the store's clock runs one percent faster or slower than a process's, a leader that is cut off stops believing before anybody else is granted the group.",
		Needs:    []Power{PowerManualClock},
		expiries: 8,
		body: func(r *run) {
			advance, _ := r.h.ManualClock(r)
			var rate atomic.Int64 // percent
			rate.Store(101)
			r.driveClock(advance, &rate)
			for _, percent := range []int64{101, 99} {
				rate.Store(percent)
				a, b := r.node(), r.client()
				w := r.witness()
				group := r.group()
				leader := w.campaign(a, group)
				w.leads(0, r.recovery(a), "the elector leads")
				r.pause(r.h.TTL / 2)
				a.f.on(func(call) plan { return plan{drop: true} })
				end := time.Now().Add(2 * r.failover(a))
				next, err := b.acquire(r.request(group, "next"))
				for ; err != nil; next, err = b.acquire(r.request(group, "next")) {
					if time.Now().After(end) || r.ctx.Err() != nil {
						r.Fatalf("the group of the leader that was cut off was not granted to another: %v", err)
					}
					r.pause(time.Millisecond)
				}
				r.eventually(r.slack(), "the leader that was cut off has stopped believing", func() bool { _, held := w.last(); return !held })
				if last, _ := w.last(); last.until.After(next.reply) {
					r.Errorf("with the store's clock at %d %% of the process's the leader that was cut off believed %v longer than its lease lasted", percent, last.until.Sub(next.reply))
				}
				leader.stop()
			}
		},
	},
	{
		ID:       "CLK-back",
		Title:    "a store clock stepped back delays a takeover by one more TTL at most",
		Promise:  "After the store's clock was stepped back by an hour a dead leader's lease is taken within twice the declared worst case, the remaining time is never told above the TTL, and the token still increases.",
		Needs:    []Power{PowerStepClock},
		expiries: 8,
		body: func(r *run) {
			a, b := r.client(), r.client()
			l := a.win(r.group(), "holder")
			r.h.StepClock(r, -time.Hour)
			stepped := time.Now()
			_, err := b.acquire(r.request(l.Group, "early"))
			var held *driver.HeldError
			if errors.As(err, &held) && held.Record.Remaining > r.h.TTL {
				r.Errorf("the remaining time is told as %v after a step back; the TTL is %v", held.Record.Remaining, r.h.TTL)
			}
			if err == nil && time.Now().Before(l.goodUntil()) {
				r.Errorf("a step back of the clock freed a live lease")
			}
			if err != nil {
				next := b.takeover(l.Group, "next", time.Until(stepped)+2*r.worst(b.info)+2*r.slack()+10*time.Second)
				r.notEarly(l.goodUntil(), next, "after a step back of the store's clock")
				r.newer(l, next)
			}
		},
	},
	{
		ID:       "CLK-back-live",
		Title:    "a store clock stepped back costs a live leader nothing",
		Promise:  "A leader that renews goes on leading while the store's clock is stepped back by an hour, and its successor after a resign has a greater token.",
		Needs:    []Power{PowerStepClock},
		expiries: 8,
		body: func(r *run) {
			a, b := r.client(), r.client()
			l := a.win(r.group(), "holder")
			r.h.StepClock(r, -time.Hour)
			if err := l.settled(nil); err != nil && time.Now().Before(l.goodUntil()) {
				r.Errorf("Renew after a step back of the store's clock: %v", err)
			} else if err == nil {
				l.mustLead("after a step back of the store's clock")
				l.mustResign()
			}
			r.newer(l, b.takeover(l.Group, "next", 2*r.worst(b.info)+2*r.slack()+10*time.Second))
		},
	},
	{
		ID:       "CLK-forward",
		Title:    "a store clock stepped forward leaves the fence intact",
		Promise:  "After the store's clock was stepped forward by an hour the next term, whenever it begins, has a greater token, and the earlier leader can neither renew nor resign once another leads.",
		Needs:    []Power{PowerStepClock},
		expiries: 8,
		body: func(r *run) {
			a, b := r.client(), r.client()
			l := a.win(r.group(), "holder")
			r.h.StepClock(r, time.Hour)
			next := b.takeover(l.Group, "next", r.worst(b.info)+2*r.slack()+10*time.Second)
			r.newer(l, next)
			l.mustBeLost("another leads after a step forward")
			lost(r, a.resign(l.Term), "Resign of the earlier term after a step forward")
			r.h.StepClock(r, -time.Hour)
			r.newer(next, b.takeover(l.Group, "next", 2*r.worst(b.info)+2*r.slack()+10*time.Second))
		},
	},
}

// driveClock moves a store's clock at rate percent of real time until the rule
// ends. It is never ahead of that; if it fell behind, by a delay of this machine
// that a leader's margin would not cover, the attempt counts as slow.
func (r *run) driveClock(advance func(time.Duration), rate *atomic.Int64) {
	quit := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		last := time.Now()
		for {
			select {
			case <-quit:
				return
			case <-time.After(time.Millisecond):
			}
			now := time.Now()
			step := now.Sub(last)
			last = now
			if step > r.h.TTL/40 {
				r.took(r.h.TTL)
			}
			advance(step * time.Duration(rate.Load()) / 100)
		}
	})
	r.Cleanup(func() { close(quit); wg.Wait() })
}
