package conformance

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/core/driver"
)

// workRules are about the work of a term, and how it ends.
var workRules = []Rule{
	{
		ID:       "ELE-recampaign",
		Title:    "Run campaigns again, and never runs two works",
		Promise:  "After a lost term Run campaigns again, but a second copy of the work never starts before the first has returned, however long that takes.",
		expiries: 10,
		body: func(r *run) {
			n := r.node()
			var working, most, starts atomic.Int32
			var cut atomic.Bool
			n.f.on(func(call) plan {
				if cut.Load() {
					return plan{err: errInjected}
				}
				return plan{}
			})
			w := r.witness()
			e := n.elector(r.group())
			w.campaignWith(n, e, func(ctx context.Context, term multilock.Term) error {
				now := working.Add(1)
				defer working.Add(-1)
				for m := most.Load(); now > m && !most.CompareAndSwap(m, now); m = most.Load() {
				}
				first := starts.Add(1) == 1
				w.watch(ctx, n.name, term, nil)
				if first { // it ignores that its term is over, for long enough to win another
					r.pause(r.worst(n.info) + r.slack())
				}
				return errors.New("conformance: the work's own error")
			})
			first := w.leads(0, r.recovery(n), "the elector leads")
			cut.Store(true)
			r.eventually(r.span()+r.slack(), "the term is over", func() bool { _, held := w.last(); return !held })
			cut.Store(false)
			w.leads(first.token, 2*r.recovery(n), "Run leads again")
			if most.Load() > 1 {
				r.Errorf("%d copies of the work ran at one time", most.Load())
			}
			w.check()
		},
	},
	{
		ID:       "ELE-drain",
		Title:    "stopping: tell first, drain under a live lease, resign last",
		Promise:  "On a planned stop IsLeader turns false and the work's context ends first; the lease is kept alive while the work returns, even beyond the TTL; the Resign leaves only when the work has returned.",
		expiries: 8,
		body: func(r *run) {
			a, b := r.node(), r.node()
			group := r.group()
			var e elector
			var working, leading, early atomic.Bool
			a.f.watch(func(c call) {
				if c.op != "resign" {
					return
				}
				if working.Load() {
					early.Store(true)
				}
				if e.IsLeader() {
					leading.Store(true)
				}
			})
			e = a.elector(group, func(o *multilock.Options) { o.DrainTimeout = 4 * r.h.TTL })
			drain := r.h.TTL * 3 / 2
			var drained atomic.Int64 // when the work returned
			w := r.witness()
			c := w.campaignWith(a, e, func(ctx context.Context, term multilock.Term) error {
				working.Store(true)
				w.watch(ctx, a.name, term, nil)
				if e.IsLeader() {
					r.Errorf("the work's context is over but IsLeader says true")
				}
				r.pause(drain)
				drained.Store(time.Now().UnixNano())
				working.Store(false)
				return nil
			})
			first := w.leads(0, r.recovery(a), "the elector leads")
			w.campaign(b, group)
			c.stop()
			next := w.leads(first.token, drain+r.failover(b)+r.worst(b.info), "the follower leads after the drain")
			if at := drained.Load(); at == 0 || next.from.UnixNano() < at {
				r.Errorf("a successor led before the work of a planned stop had returned")
			}
			if early.Load() {
				r.Errorf("Resign was sent while the work was still running")
			}
			if leading.Load() {
				r.Errorf("Resign was sent while IsLeader still said true")
			}
			<-c.done
			w.check()
		},
	},
	{
		ID:       "ELE-drain-limit",
		Title:    "work that outlives the drain limit is not handed over",
		Promise:  "When the work does not return within the drain limit, Stop says ErrDrainTimeout, nothing is resigned while it runs, and the lease is left to expire, so that another leads within the declared worst case.",
		expiries: 8,
		body: func(r *run) {
			a, b := r.node(), r.client()
			group := r.group()
			release := make(chan struct{})
			var working, early atomic.Bool
			a.f.watch(func(c call) {
				if c.op == "resign" && working.Load() {
					early.Store(true)
				}
			})
			e := a.elector(group, func(o *multilock.Options) { o.DrainTimeout = r.h.TTL / 4 })
			w := r.witness()
			c := w.campaignWith(a, e, func(ctx context.Context, term multilock.Term) error {
				working.Store(true)
				w.watch(ctx, a.name, term, nil)
				<-release
				working.Store(false)
				return nil
			})
			unblock := sync.OnceFunc(func() { close(release) })
			r.Cleanup(unblock)
			w.leads(0, r.recovery(a), "the elector leads")
			ctx, cancel := context.WithTimeout(r.ctx, callLimit)
			defer cancel()
			if err := e.Stop(ctx); !errors.Is(err, multilock.ErrDrainTimeout) {
				r.Errorf("Stop of an elector whose work does not return: want ErrDrainTimeout, got %v", err)
			}
			next := b.takeover(group, "next", r.worst(b.info)+r.slack())
			if early.Load() {
				r.Errorf("Resign was sent while the work was still running")
			}
			stop := r.keep(next)
			unblock()
			<-c.done
			stop()
			next.mustLead("after the work that outlived its drain limit has returned")
		},
	},
	{
		ID:       "ELE-resign-order",
		Title:    "IsLeader is false before the Resign leaves the process",
		Promise:  "Whoever is told by the store that the group is free cannot find the former leader still believing: IsLeader is false and the context over before the request is sent.",
		expiries: 8,
		body: func(r *run) {
			a := r.node()
			e := a.elector(r.group())
			var resigns, wrong atomic.Int32
			a.f.watch(func(c call) {
				if c.op == "resign" {
					resigns.Add(1)
					if _, ok := e.Term(); ok || e.IsLeader() {
						wrong.Add(1)
					}
				}
			})
			r.start(e)
			for range 3 {
				r.leads(a, e)
				ctx, cancel := a.context()
				if err := e.Resign(ctx); err != nil {
					r.Errorf("Resign: %v", err)
				}
				cancel()
			}
			r.leads(a, e)
			r.stop(e)
			if wrong.Load() > 0 || resigns.Load() < 4 {
				r.Errorf("%d of %d Resign requests left while the elector still believed to lead", wrong.Load(), resigns.Load())
			}
		},
	},
	{
		ID:       "ELE-abstain",
		Title:    "after Resign another leads",
		Promise:  "An elector that resigned lets others go first: with a follower waiting, the follower leads next.",
		expiries: 8,
		applies: func(_ driver.Driver, info driver.Info) string {
			if !info.PushOnResign {
				return "the backend declares no push on resign: the follower may come to know later than the abstention lasts"
			}
			return ""
		},
		body: func(r *run) {
			a, b := r.node(), r.node()
			group := r.group()
			ea, eb := a.elector(group), b.elector(group)
			r.start(ea)
			r.leads(a, ea)
			r.start(eb)
			r.pause(10 * r.tick())
			for i := range 4 {
				from, to, node := ea, eb, b
				if i%2 == 1 {
					from, to, node = eb, ea, a
				}
				r.pause(1200 * time.Millisecond) // the other's abstention is over
				before, ok := from.Term()
				if !ok {
					r.Fatalf("round %d: the leader lost its term by itself", i)
				}
				ctx, cancel := node.context()
				if err := from.Resign(ctx); err != nil {
					r.Errorf("Resign: %v", err)
				}
				cancel()
				r.eventually(r.failover(node), "the follower leads after Resign", func() bool {
					if t, ok := from.Term(); ok {
						r.Fatalf("round %d: the elector that resigned leads again (token %d after %d) while a follower waits", i, t.Token, before.Token)
					}
					return to.IsLeader()
				})
			}
			r.stop(ea)
			r.stop(eb)
		},
	},
	{
		ID:       "ELE-panic",
		Title:    "a panic in the work resigns and goes on",
		Promise:  "When the work panics, the term is resigned, so that another can lead at once, and the caller of Run sees the panic.",
		expiries: 6,
		body: func(r *run) {
			a, b := r.node(), r.node()
			group := r.group()
			e := a.elector(group)
			value := func() (p any) {
				defer func() { p = recover() }()
				ctx, cancel := context.WithTimeout(r.ctx, r.recovery(a))
				defer cancel()
				err := e.Run(ctx, func(context.Context, multilock.Term) error { panic("the work's panic") })
				r.Errorf("Run returned %v although its work panicked", err)
				return nil
			}()
			if value != "the work's panic" {
				r.Errorf("the caller of Run recovered %v", value)
			}
			b.takeover(group, "next", r.slack())
		},
	},
	{
		ID:       "ELE-late-replies",
		Title:    "a term that is over stays over",
		Promise:  "A success that arrives after the deadline revives nothing: the term is over for good, and the elector leads again only with a greater token.",
		expiries: 10,
		body: func(r *run) {
			a := r.node()
			var slow atomic.Bool
			a.f.on(func(c call) plan {
				if slow.Load() && c.op == "renew" {
					return plan{back: r.h.TTL * 6 / 5}
				}
				return plan{}
			})
			w := r.witness()
			c := w.campaign(a, r.group())
			first := w.leads(0, r.recovery(a), "the elector leads")
			slow.Store(true)
			r.eventually(2*r.span()+r.slack(), "the term without timely replies is over", func() bool {
				b, held := w.last()
				return !held || b.token > first.token
			})
			end := time.Now().Add(r.h.TTL * 3 / 2)
			for time.Now().Before(end) {
				if t, ok := c.e.Term(); ok && t.Token == first.token {
					r.Fatalf("the term with token %d, which was over, is believed again", t.Token)
				}
				r.pause(2 * time.Millisecond)
			}
			slow.Store(false)
			w.leads(first.token, r.recovery(a), "the elector leads again")
			w.check()
		},
	},
	{
		ID:       "ELE-late-acquire",
		Title:    "an acquire whose reply comes too late is not announced",
		Promise:  "A grant that arrives when its lifetime is over, or nearly, is never announced as leadership; it is given back or found again by the next attempt.",
		expiries: 10,
		body: func(r *run) {
			a := r.node()
			var slow atomic.Bool
			slow.Store(true)
			a.f.on(func(c call) plan {
				if slow.Load() && c.op == "acquire" {
					return plan{back: r.h.TTL * 11 / 10}
				}
				return plan{}
			})
			w := r.witness()
			group := r.group()
			stale := atomic.Int32{}
			e := a.elector(group, func(o *multilock.Options) { o.LockTimeout = 2 * r.h.TTL })
			w.campaignWith(a, e, func(ctx context.Context, term multilock.Term) error {
				if slow.Load() && ctx.Err() == nil {
					// It may lead only if it really is the live term.
					if rec := a.leader(group); (rec == nil || rec.Token != term.Token) && ctx.Err() == nil {
						stale.Add(1)
					}
				}
				w.watch(ctx, a.name, term, nil)
				return nil
			})
			r.pause(3 * r.h.TTL)
			if n := stale.Load(); n > 0 {
				r.Errorf("%d terms were announced whose grant had run out before its reply came", n)
			}
			slow.Store(false)
			w.leads(0, r.recovery(a)+2*r.h.TTL, "the elector leads once replies are timely")
			w.check()
		},
	},
	{
		ID:       "ELE-overrun",
		Title:    "a lease lost while draining is told",
		Promise:  "When the lease is lost while the work of a planned stop still drains, subscribers are told that the work runs without a term.",
		expiries: 8,
		body: func(r *run) {
			a := r.node()
			var lose atomic.Bool
			a.f.on(func(c call) plan {
				if lose.Load() && c.op == "renew" {
					return plan{err: driver.ErrLost}
				}
				return plan{}
			})
			e := a.elector(r.group(), func(o *multilock.Options) { o.DrainTimeout = 4 * r.h.TTL })
			release := make(chan struct{})
			unblock := sync.OnceFunc(func() { close(release) })
			w := r.witness()
			c := w.campaignWith(a, e, func(ctx context.Context, term multilock.Term) error {
				w.watch(ctx, a.name, term, nil)
				<-release
				return nil
			})
			r.Cleanup(unblock) // runs first
			w.leads(0, r.recovery(a), "the elector leads")
			seen := make(chan struct{})
			changes := e.Changes(r.ctx, multilock.Overrun)
			go func() {
				for range changes {
					close(seen)
					return
				}
			}()
			lose.Store(true)
			c.stop()
			select {
			case <-seen:
			case <-time.After(2*r.h.TTL + r.slack()):
				r.Errorf("no Overrun was told although the lease was lost while the work drained")
			}
			unblock()
			<-c.done
		},
	},
}
