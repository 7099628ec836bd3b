package conformance

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	multilock "github.com/multilock/multilock-go/core"
)

// electorRules are about the life of an elector and those who look at it.
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
