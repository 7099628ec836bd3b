package conformance

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/core/driver"
)

var electorRules = []Rule{
	{
		ID:       "ELE-restart",
		Title:    "an elector can be stopped and started again",
		Promise:  "After Stop an elector starts again as if new: it leads, renews, tells its changes and has a greater token.",
		expiries: 6,
		body: func(r *run) {
			n := r.node()
			e := n.elector(r.group())
			var last uint64
			for i := range 3 {
				r.start(e)
				term := r.leads(n, e)
				if term.Token <= last {
					r.Errorf("start %d: token %d after %d", i, term.Token, last)
				}
				last = term.Token
				if i == 1 { // it renews
					r.pause(r.h.TTL * 3 / 2)
					if now, ok := e.Term(); !ok || now.Token != term.Token {
						r.Errorf("the restarted elector did not keep its term")
					}
				}
				r.stop(e)
				if e.IsLeader() || e.Status().State != multilock.StateStopped {
					r.Errorf("after Stop the elector says leader %v, state %v", e.IsLeader(), e.Status().State)
				}
			}
		},
	},
	{
		ID:       "ELE-cycles",
		Title:    "a hundred quick start and stop cycles",
		Promise:  "Starting and stopping in quick succession leaves no term, no goroutine and no error behind, and tokens increase.",
		expiries: 10,
		body: func(r *run) {
			n := r.node()
			e := n.elector(r.group())
			var last uint64
			for i := range 100 {
				r.start(e)
				if i%4 == 0 {
					term := r.leads(n, e)
					if term.Token <= last {
						r.Errorf("cycle %d: token %d after %d", i, term.Token, last)
					}
					last = term.Token
				}
				r.stop(e)
			}
			probe := n.elector("after-" + r.group())
			r.start(probe)
			r.leads(n, probe)
			r.stop(probe)
		},
	},
	{
		ID:       "ELE-waiters",
		Title:    "waiters never miss",
		Promise:  "Everybody in WaitForLeadership is told when the elector leads, with a term that is live, and when it stops.",
		expiries: 6,
		body: func(r *run) {
			n := r.node()
			e := n.elector(r.group())
			r.start(e)
			r.leads(n, e)
			for round := range 5 {
				ctx, cancel := context.WithTimeout(r.ctx, r.recovery(n))
				var wg sync.WaitGroup
				if err := e.Resign(ctx); err != nil {
					r.Errorf("Resign: %v", err)
				}
				for range 20 {
					wg.Go(func() {
						term, err := e.WaitForLeadership(ctx)
						if err != nil || term.Token == 0 {
							r.Errorf("round %d: WaitForLeadership: %v, %v", round, term, err)
						}
					})
				}
				wg.Wait()
				cancel()
			}
			ctx, cancel := n.context()
			defer cancel()
			if err := e.Resign(ctx); err != nil {
				r.Errorf("Resign: %v", err)
			}
			stopped := make(chan error, 1)
			go func() {
				_, err := e.WaitForLeadership(r.ctx)
				stopped <- err
			}()
			r.pause(r.tick())
			r.stop(e)
			if err := <-stopped; err != nil && !errors.Is(err, multilock.ErrStopped) {
				r.Errorf("WaitForLeadership during Stop: %v", err)
			}
			if _, err := e.WaitForLeadership(r.ctx); !errors.Is(err, multilock.ErrStopped) {
				r.Errorf("WaitForLeadership on a stopped elector: want ErrStopped, got %v", err)
			}
		},
	},
	{
		ID:       "ELE-events",
		Title:    "every transition once, in order, to a slow subscriber too",
		Promise:  "Each subscriber sees each transition of its elector exactly once and in order; Acquired and Lost alternate with their terms, Stopped comes last, however slowly it reads.",
		expiries: 8,
		body: func(r *run) {
			n := r.node()
			e := n.elector(r.group())
			r.start(e)
			quick, slow := make(chan []multilock.Change, 1), make(chan []multilock.Change, 1)
			collect := func(out chan<- []multilock.Change, delay time.Duration) {
				changes := e.Changes(r.ctx, multilock.Acquired|multilock.Lost|multilock.Stopped)
				go func() {
					var all []multilock.Change
					for c := range changes {
						all = append(all, c)
						time.Sleep(delay)
					}
					out <- all
				}()
			}
			r.leads(n, e)
			collect(quick, 0)
			collect(slow, 50*time.Millisecond)
			const rounds = 4
			for range rounds {
				ctx, cancel := n.context()
				if err := e.Resign(ctx); err != nil {
					r.Errorf("Resign: %v", err)
				}
				cancel()
				r.leads(n, e)
			}
			r.stop(e)
			for _, c := range []chan []multilock.Change{quick, slow} {
				checkChanges(r, <-c, rounds)
			}
		},
	},
	{
		ID:       "ELE-blocking",
		Title:    "a blocking logger, observer or subscriber delays no renewal",
		Promise:  "Whoever listens to an elector, however slow, cannot cost it its leadership.",
		expiries: 8,
		body: func(r *run) {
			n := r.node()
			block := make(chan struct{})
			release := sync.OnceFunc(func() { close(block) })
			group := r.group()
			w := r.witness()
			c := w.campaign(n, group, func(o *multilock.Options) {
				o.Logger = slog.New(blockingHandler{block})
				o.Observer = blockingObserver{block}
			})
			r.Cleanup(release) // runs first
			first := w.leads(0, r.recovery(n), "the elector with a blocking logger leads")
			next := c.e.Changes(r.ctx, multilock.All)
			go func() {
				for range next {
					<-block // a subscriber that never gets done
				}
			}()
			r.pause(r.h.TTL * 5 / 2)
			if b, held := w.last(); !held || b.token != first.token {
				r.Errorf("a blocking logger, observer or subscriber cost the leadership")
			}
			release()
			c.stop()
			<-c.done
			w.check()
		},
	},
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
		Promise:  "When the work does not return within the drain limit, Stop says ErrDrainTimeout, nothing is resigned while it runs, and the lease is left to expire.",
		expiries: 8,
		body: func(r *run) {
			a := r.node()
			release := make(chan struct{})
			var working, early atomic.Bool
			a.f.watch(func(c call) {
				if c.op == "resign" && working.Load() {
					early.Store(true)
				}
			})
			e := a.elector(r.group(), func(o *multilock.Options) { o.DrainTimeout = r.h.TTL / 4 })
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
			r.pause(r.h.TTL / 4)
			if early.Load() {
				r.Errorf("Resign was sent while the work was still running")
			}
			unblock()
			<-c.done
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
	{
		ID:       "ELE-try",
		Title:    "TryAcquire makes one attempt and keeps what it wins",
		Promise:  "On a stopped elector TryAcquire tries once; a term it wins is renewed until Resign; a leader answers true without asking the store, a refused one false.",
		expiries: 8,
		body: func(r *run) {
			a, b := r.node(), r.node()
			group := r.group()
			ea, eb := a.elector(group), b.elector(group)
			try := func(e elector, want bool, what string) {
				ctx, cancel := context.WithTimeout(r.ctx, callLimit)
				defer cancel()
				if got, err := e.TryAcquire(ctx); err != nil || got != want {
					r.Fatalf("TryAcquire %s: want %v, got %v, %v", what, want, got, err)
				}
			}
			try(ea, true, "of a free group")
			before := a.f.count("acquire")
			try(ea, true, "of a leader")
			if a.f.count("acquire") != before {
				r.Errorf("TryAcquire of a leader asked the store")
			}
			try(eb, false, "of a held group")
			term, _ := ea.Term()
			r.pause(r.h.TTL * 3 / 2)
			if now, ok := ea.Term(); !ok || now.Token != term.Token {
				r.Errorf("a term won by TryAcquire was not kept")
			}
			try(eb, false, "of a group held for longer than a TTL")
			ctx, cancel := a.context()
			defer cancel()
			if err := ea.Start(ctx); !errors.Is(err, multilock.ErrRunning) {
				r.Errorf("Start while a term won by TryAcquire is held: want ErrRunning, got %v", err)
			}
			if err := ea.Resign(ctx); err != nil {
				r.Errorf("Resign: %v", err)
			}
			r.eventually(r.slack(), "TryAcquire wins after Resign", func() bool {
				won, err := eb.TryAcquire(ctx)
				return err == nil && won
			})
			r.stop(eb)
		},
	},
	{
		ID:       "ELE-follower",
		Title:    "a follower that stops leaves no trace",
		Promise:  "Stopping a follower disturbs nobody, and it never leads afterwards.",
		expiries: 6,
		body: func(r *run) {
			w := r.witness()
			a, b := r.node(), r.node()
			group := r.group()
			leader := w.campaign(a, group)
			first := w.leads(0, r.recovery(a), "the elector leads")
			for range 3 {
				f := w.campaign(b, group)
				r.pause(5 * r.tick())
				f.stop()
				<-f.done
			}
			if last, held := w.last(); !held || last.token != first.token {
				r.Errorf("followers that stopped cost the leader its term")
			}
			leader.stop()
			<-leader.done
			r.pause(r.h.TTL / 2)
			b.mustBeFree(group, "after everybody stopped")
			w.check()
		},
	},
	{
		ID:       "ELE-view",
		Title:    "everybody sees the leader, nobody a dead one",
		Promise:  "WaitForLeader and Leader tell the live leader to followers and to electors that take no part; after a crash they do not go on telling the dead one.",
		expiries: 8,
		body: func(r *run) {
			a, b := r.node(), r.node()
			group := r.group()
			w := r.witness()
			w.campaign(a, group)
			first := w.leads(0, r.recovery(a), "the elector leads")
			e := b.elector(group)
			ctx, cancel := context.WithTimeout(r.ctx, r.recovery(b))
			defer cancel()
			rec, err := e.WaitForLeader(ctx)
			if err != nil || rec.Participant != a.name || rec.Token != first.token {
				r.Errorf("WaitForLeader: %v, %v; want %s with token %d", rec.Term, err, a.name, first.token)
			}
			a.f.on(func(call) plan { return plan{drop: true} })
			r.eventually(r.failover(b), "a dead leader is not told any more", func() bool {
				_, err := e.Leader(ctx)
				return errors.Is(err, multilock.ErrNoLeader)
			})
			w.check()
		},
	},
	{
		ID:      "NAM-invalid",
		Title:   "invalid names and options are refused before anything is sent",
		Promise: "An invalid group, participant, duration or metadata is refused by New with ErrInvalid, and no request reaches the store.",
		body: func(r *run) {
			n := r.node()
			before := n.f.total()
			long := strings.Repeat("x", 256)
			groups := []string{"", ".", "..", "a/b", "a b", "a\n", "é", "a\x00", "a:b", "*", long}
			for _, g := range groups {
				if _, err := n.construct(multilock.Options{Group: g}); !errors.Is(err, multilock.ErrInvalid) {
					r.Errorf("the group %q: want ErrInvalid, got %v", shorten(g), err)
				}
			}
			for name, change := range map[string]func(*multilock.Options){
				"participant a/b": func(o *multilock.Options) { o.ParticipantID = "a/b" },
				"negative TTL":    func(o *multilock.Options) { o.HeartbeatTimeout = -1 },
				"short heartbeat": func(o *multilock.Options) { o.HeartbeatInterval = o.HeartbeatTimeout },
				"small TTL":       func(o *multilock.Options) { o.HeartbeatTimeout = 1 },
				"metadata":        func(o *multilock.Options) { o.Metadata = map[string]string{"k": strings.Repeat("v", 4001)} },
				"empty key":       func(o *multilock.Options) { o.Metadata = map[string]string{"": "v"} },
			} {
				o := multilock.Options{Group: "g", HeartbeatTimeout: r.h.TTL}
				change(&o)
				if _, err := n.construct(o); !errors.Is(err, multilock.ErrInvalid) {
					r.Errorf("%s: want ErrInvalid, got %v", name, err)
				}
			}
			ctx, cancel := n.context()
			defer cancel()
			if _, err := n.b.Leader(ctx, "a/b"); err == nil {
				r.Errorf("Backend.Leader takes the invalid group a/b")
			}
			if sent := n.f.total() - before; sent > 0 {
				r.Errorf("%d requests were sent for invalid arguments", sent)
			}
		},
	},
}

// start starts e and stops it when the rule ends.
func (r *run) start(e elector) {
	ctx, cancel := context.WithTimeout(r.ctx, callLimit)
	defer cancel()
	if err := e.Start(ctx); err != nil {
		r.Fatalf("Start: %v", err)
	}
	r.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), stopPatience)
		defer cancel()
		_ = e.Stop(ctx)
	})
}

func (r *run) stop(e elector) {
	ctx, cancel := context.WithTimeout(r.ctx, callLimit+r.h.TTL)
	defer cancel()
	if err := e.Stop(ctx); err != nil {
		r.Errorf("Stop: %v", err)
	}
}

// leads waits until e leads.
func (r *run) leads(n *node, e elector) multilock.Term {
	ctx, cancel := context.WithTimeout(r.ctx, r.recovery(n))
	defer cancel()
	term, err := e.WaitForLeadership(ctx)
	if err != nil {
		r.Fatalf("WaitForLeadership: %v", err)
	}
	return term
}

// checkChanges checks what a subscriber saw that began while the elector led, saw
// it resign and lead again some times, and then stop.
func checkChanges(r *run, all []multilock.Change, rounds int) {
	var kinds []multilock.Kind
	var want []multilock.Kind
	for range rounds {
		want = append(want, multilock.Lost, multilock.Acquired)
	}
	want = append(want, multilock.Lost, multilock.Stopped)
	var seq, token uint64
	for _, c := range all {
		kinds = append(kinds, c.Kind)
		if c.Seq <= seq {
			r.Errorf("change %d came after change %d", c.Seq, seq)
		}
		seq = c.Seq
		switch c.Kind {
		case multilock.Acquired:
			if c.Term.Token <= token {
				r.Errorf("Acquired with token %d after %d", c.Term.Token, token)
			}
			token = c.Term.Token
		case multilock.Lost:
			if token != 0 && c.Term.Token != token {
				r.Errorf("Lost with token %d, though the term with token %d had begun", c.Term.Token, token)
			}
		}
	}
	if !slices.Equal(kinds, want) {
		r.Errorf("a subscriber saw %v, want %v", kinds, want)
	}
}

// blockingHandler is a slog.Handler that hangs until it is released.
type blockingHandler struct{ block chan struct{} }

func (h blockingHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h blockingHandler) Handle(context.Context, slog.Record) error { <-h.block; return nil }
func (h blockingHandler) WithAttrs([]slog.Attr) slog.Handler        { return h }
func (h blockingHandler) WithGroup(string) slog.Handler             { return h }

type blockingObserver struct{ block chan struct{} }

func (o blockingObserver) Observe(multilock.Observation) { <-o.block }
