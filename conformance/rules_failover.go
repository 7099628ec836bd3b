package conformance

import (
	"context"
	"sync/atomic"
	"time"

	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/core/driver"
)

// handover is a TTL so long that neither an expiry nor a poll could be taken for a
// wake-up, how long a planned handover may then take, and the options for it.
func (r *run) handover(n *node) (ttl, patience time.Duration, options func(*multilock.Options)) {
	ttl, patience = r.h.TTL, r.slack()+r.worst(n.info)
	if n.info.PushOnResign {
		ttl, patience = 4*r.h.TTL, r.slack()+time.Second
		if n.info.MaxTTL > 0 {
			ttl = min(ttl, n.info.MaxTTL)
		}
	}
	return ttl, patience, func(o *multilock.Options) {
		o.HeartbeatTimeout, o.ElectionInterval = ttl, max(ttl, o.ElectionInterval)
	}
}

// span is how long a leader without an answer may believe: the TTL, generously
// without its margin.
func (r *run) span() time.Duration { return r.h.TTL }

var failoverRules = []Rule{
	{
		ID:       "FAIL-handover",
		Title:    "a planned handover is quick and clean",
		Promise:  "When a leader stops, it stops believing, then lets go, and a follower leads soon: at once where the store pushes or tells the remaining time, else within a poll.",
		expiries: 10,
		body: func(r *run) {
			w := r.witness()
			group := r.group()
			nodes := r.nodes(2)
			_, patience, long := r.handover(nodes[0])
			cs := []*candidate{w.campaign(nodes[0], group, long)}
			last := w.leads(0, r.recovery(nodes[0]), "the first elector leads")
			for i := range 4 {
				next := w.campaign(nodes[(i+1)%2], group, long)
				cs = append(cs, next)
				r.pause(10 * r.tick()) // it has become a follower
				cs[i].stop()
				last = w.leads(last.token, patience, "the follower leads after a planned stop")
			}
			w.check()
		},
	},
	{
		ID:       "FAIL-requests-lost",
		Title:    "a leader that cannot send loses its term in time",
		Promise:  "When no request of a leader arrives any more it stops believing by its own deadline, before the store lets another lead, and the successor leads within the declared worst case.",
		expiries: 6,
		body: func(r *run) {
			p := r.pair(r.node(), r.node())
			p.a.f.on(func(call) plan { return plan{drop: true} })
			p.over(r.span()+r.slack(), "the cut off leader's belief has ended")
			p.w.leads(p.first.token, r.failover(p.b), "the follower leads")
			p.a.f.on(nil)
			r.pause(r.h.TTL / 2)
			p.w.check()
		},
	},
	{
		ID:       "FAIL-replies-lost",
		Title:    "requests arrive, replies never do",
		Promise:  "A leader that gets no replies, though its requests are executed, stops believing by its own deadline; it sends nothing more for that term, so its lease runs out a worst case later.",
		expiries: 8,
		body: func(r *run) {
			p := r.pair(r.node(), r.node())
			var over atomic.Bool
			var more atomic.Int32
			p.a.f.watch(func(c call) {
				if over.Load() && c.op == "renew" && c.about(p.first.token) {
					more.Add(1)
				}
			})
			p.a.f.on(func(call) plan { return plan{hang: true} })
			p.over(r.span()+r.slack(), "the belief of the leader without replies has ended")
			r.pause(r.h.TTL / 8) // what was on its way when the term ended
			over.Store(true)
			p.w.leads(p.first.token, r.span()+2*r.failover(p.b), "a successor leads")
			p.a.f.on(nil)
			r.pause(r.h.TTL / 2)
			if n := more.Load(); n > 0 {
				r.Errorf("%d renewals were sent for a term that was over", n)
			}
			p.w.check()
		},
	},
	{
		ID:       "FAIL-reply-once",
		Title:    "one lost reply costs nothing",
		Promise:  "When the reply to an Acquire or a renewal is lost after the store has executed it, the elector finds out, and leads on with the same term.",
		expiries: 8,
		body: func(r *run) {
			a, b := r.node(), r.node()
			group := r.group()
			w := r.witness()
			var acquired, renewed atomic.Int64
			a.f.on(func(c call) plan {
				if c.op == "acquire" && acquired.Add(1) == 1 || c.op == "renew" && renewed.Add(1)%2 == 1 {
					return plan{lose: true}
				}
				return plan{}
			})
			w.campaign(a, group)
			first := w.leads(0, r.recovery(a), "the elector whose first reply was lost leads")
			w.campaign(b, group)
			r.pause(r.h.TTL * 5 / 2)
			if last, held := w.last(); !held || last.token != first.token {
				r.Errorf("the leader did not stay although only every second reply was lost")
			}
			w.check()
		},
	},
	{
		ID:       "FAIL-latency",
		Title:    "a slow store costs no leadership",
		Promise:  "A round trip of up to 0.4 times the believed time costs no leadership: attempts are repeated beside the slow ones, not instead of them.",
		expiries: 8,
		body: func(r *run) {
			p := r.pair(r.node(), r.node())
			margin := max(10*time.Millisecond, r.h.TTL/100, min(r.h.TTL/10, time.Second))
			trip := (r.h.TTL - margin - p.a.info.Shortening) * 35 / 100
			p.a.f.on(func(call) plan { return plan{delay: trip / 2, back: trip / 2} })
			r.pause(3 * r.h.TTL)
			p.stays("with a slow store")
		},
	},
	{
		ID:       "FAIL-errors",
		Title:    "errors cost the term at its deadline, not before and not after",
		Promise:  "Uncertain errors end nothing at once: the leader keeps its term while its lease is good, stops believing by its deadline, and leads again when the errors are over.",
		expiries: 8,
		body: func(r *run) {
			a := r.node()
			w := r.witness()
			var failing atomic.Bool
			var lastGood atomic.Int64 // when the newest renewal that may have worked was sent
			lastGood.Store(time.Now().UnixNano())
			a.f.on(func(c call) plan {
				if failing.Load() {
					return plan{err: errInjected}
				}
				if c.op == "renew" || c.op == "acquire" {
					lastGood.Store(time.Now().UnixNano())
				}
				return plan{}
			})
			c := w.campaign(a, r.group())
			first := w.leads(0, r.recovery(a), "the elector leads")
			r.pause(r.h.TTL)
			failing.Store(true)
			began := time.Now()
			r.pause(r.h.TTL / 4)
			if took := time.Since(began); !c.e.IsLeader() && took < r.h.TTL/3 {
				r.Errorf("the leader gave up %v after the first error, though its lease was good for longer", took)
			}
			deadline := time.Unix(0, lastGood.Load()).Add(r.h.TTL)
			for c.e.IsLeader() {
				if now := time.Now(); now.After(deadline.Add(r.slack())) {
					r.Fatalf("the elector still believes to lead %v after its lease ran out", now.Sub(deadline))
				}
				r.pause(2 * time.Millisecond)
			}
			r.eventually(r.slack(), "the work's context is over", func() bool { _, held := w.last(); return !held })
			if b, _ := w.last(); b.until.After(deadline) {
				r.Errorf("the context of the work said that the term lives %v after the lease ran out", b.until.Sub(deadline))
			}
			failing.Store(false)
			w.leads(first.token, r.recovery(a), "the elector leads again after the errors")
			w.check()
		},
	},
	{
		ID:       "FAIL-locked",
		Title:    "a record locked for longer than the TTL costs the term, cleanly",
		Promise:  "When somebody's transaction holds the record for longer than the TTL, the leader stops believing by its deadline, nobody leads meanwhile, and afterwards somebody does, with a greater token.",
		Needs:    []Power{PowerLock},
		expiries: 8,
		body: func(r *run) {
			w := r.witness()
			a, b := r.node(), r.node()
			group := r.group()
			w.campaign(a, group)
			first := w.leads(0, r.recovery(a), "the first elector leads")
			w.campaign(b, group)
			unlock := r.h.LockRecord(r, group)
			r.eventually(r.span()+r.slack(), "the belief of the leader with a locked record has ended", func() bool { _, held := w.last(); return !held })
			unlock()
			w.leads(first.token, r.recovery(b), "somebody leads after the lock is gone")
			w.check()
		},
	},
	{
		ID:       "FAIL-close",
		Title:    "closing the Backend under a leader",
		Promise:  "Close ends the electors' terms first, visibly, then resigns them and closes the driver, so a successor leads soon and never beside the closed leader.",
		expiries: 6,
		body: func(r *run) {
			p := r.pair(r.node(), r.node())
			var early atomic.Bool
			p.a.f.watch(func(c call) {
				if c.op == "resign" && p.leader.e.IsLeader() {
					early.Store(true)
				}
			})
			ctx, cancel := context.WithTimeout(r.ctx, callLimit+r.h.TTL)
			defer cancel()
			if err := p.a.b.Close(ctx); err != nil {
				r.Errorf("Backend.Close: %v", err)
			}
			if p.leader.e.IsLeader() {
				r.Errorf("the elector of a closed Backend still believes to lead")
			}
			if early.Load() {
				r.Errorf("the term was resigned while the elector still said that it leads")
			}
			p.w.leads(p.first.token, r.failover(p.b), "the follower leads after the leader's Backend was closed")
			p.w.check()
		},
	},
	{
		ID:       "FAIL-session",
		Title:    "the leader's session is ended from outside",
		Promise:  "When the store ends a leader's session, or the user closes the client under it, the leader stops believing no later than its deadline and, once the wake-ups that it asks for when it begins are in force, never beside a successor.",
		Needs:    []Power{PowerSession},
		expiries: 8,
		body: func(r *run) {
			p := r.pair(r.node(), r.node())
			if _, ok := p.a.b.Driver().(driver.Watcher); ok {
				r.eventually(r.slack(), "the leader's wake-ups are in force", func() bool { return p.a.b.Stats().Watched > 0 })
			}
			r.h.EndSession(r, p.a.raw)
			p.w.leads(p.first.token, r.recovery(p.b), "somebody leads after the session was ended")
			p.w.check()
		},
	},
	{
		ID:       "FAIL-removed",
		Title:    "the record is removed under a leader",
		Promise:  "When somebody deletes the record, the leader learns of it with its next renewal at the latest, and a later term has a greater token.",
		Needs:    []Power{PowerRemove},
		expiries: 8,
		body: func(r *run) {
			a := r.node()
			w := r.witness()
			group := r.group()
			w.campaign(a, group)
			first := w.leads(0, r.recovery(a), "the elector leads")
			r.h.RemoveRecord(r, group)
			r.eventually(r.span()+r.slack(), "the leader without a record has stopped believing", func() bool {
				b, held := w.last()
				return !held || b.token > first.token
			})
			w.leads(first.token, r.recovery(a)+30*time.Second, "somebody leads again")
			w.check()
		},
	},
	{
		ID:       "FAIL-partition",
		Title:    "the leader's network fails, each way and both ways",
		Promise:  "Whichever direction of a leader's network goes silent, or if its connections are cut, it stops believing before another leads, the other leads within the declared worst case, and the network's return harms nobody.",
		Needs:    []Power{PowerLink},
		expiries: 24,
		body: func(r *run) {
			for _, d := range []Direction{ToStore, ToClient, BothWays, 0} {
				p := r.pair(r.linkedNode(), r.node())
				if d == 0 {
					p.a.link.Cut()
				} else {
					p.a.link.Blackhole(d)
				}
				p.over(r.span()+r.slack(), "the partitioned leader's belief has ended")
				// With only replies lost the store may be renewed until the deadline.
				p.w.leads(p.first.token, r.span()+r.failover(p.b), "the follower leads")
				p.a.link.Restore()
				r.pause(r.h.TTL / 2)
				p.w.check()
				p.leader.stop()
				p.follower.stop()
			}
		},
	},
	{
		ID:       "FAIL-stall",
		Title:    "one silent connection costs no leadership",
		Promise:  "When a single connection of a leader goes silent without breaking, renewals go on over another one, where the backend declares that it can.",
		Needs:    []Power{PowerLink},
		expiries: 24,
		applies: func(_ driver.Driver, info driver.Info) string {
			if !info.Hedge {
				return "the backend declares no second connection for renewals"
			}
			return ""
		},
		body: func(r *run) {
			p := r.pair(r.linkedNode(), r.node())
			for n := 0; n < 8 && p.a.link.Stall(n); n++ {
				r.pause(r.h.TTL * 3 / 2)
				if b, held := p.w.last(); !held || b.token != p.first.token {
					r.Fatalf("connection number %d of the leader went silent and cost the leadership", n)
				}
				p.a.link.Restore()
				r.pause(r.h.TTL / 2)
			}
			p.stays("with one connection silent at a time")
		},
	},
	{
		ID:       "FAIL-resets",
		Title:    "connections that break over and over",
		Promise:  "While its connections are reset again and again, a leader either keeps its term or stops believing in time; afterwards somebody leads.",
		Needs:    []Power{PowerLink},
		expiries: 8,
		body: func(r *run) {
			p := r.pair(r.linkedNode(), r.node())
			for range 20 {
				p.a.link.Reset()
				r.pause(r.h.TTL / 10)
			}
			p.w.leads(p.first.token-1, r.recovery(p.b), "somebody leads after the resets")
			p.w.check()
		},
	},
	{
		ID:       "FAIL-restart",
		Title:    "the store is restarted under a leader",
		Promise:  "Through a restart of the store that keeps its data no two electors lead at one time, and afterwards one does, with a token no smaller.",
		Needs:    []Power{PowerRestart},
		expiries: 10,
		body: func(r *run) {
			p := r.pair(r.node(), r.node())
			for range 2 {
				b, _ := p.w.last()
				r.h.Restart(r)
				r.pause(r.h.TTL / 2) // whoever was let in meanwhile shows up
				p.w.leads(b.token-1, r.recovery(p.b)+30*time.Second, "somebody leads after the restart")
			}
			p.w.check()
		},
	},
	{
		ID:       "FAIL-clock",
		Title:    "the store's clock is stepped back under a leader",
		Promise:  "A store clock stepped back by an hour makes no two leaders, and does not keep a dead leader's group blocked for that hour.",
		Needs:    []Power{PowerStepClock},
		expiries: 10,
		body: func(r *run) {
			p := r.pair(r.node(), r.node())
			r.h.StepClock(r, -time.Hour)
			r.pause(r.h.TTL)
			b := p.w.leads(p.first.token-1, r.recovery(p.b), "somebody leads after the step")
			p.w.check()
			// The leader dies; the other follows within two worst cases.
			dying, next := p.a, p.b
			if b.who == p.b.name {
				dying, next = p.b, p.a
			}
			dying.f.on(func(call) plan { return plan{drop: true} })
			p.w.leads(b.token, r.h.TTL+2*r.failover(next)+10*time.Second, "another leads after the leader died on a stepped clock")
			p.w.check()
		},
	},
}
