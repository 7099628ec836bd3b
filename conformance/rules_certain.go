package conformance

import (
	"sync/atomic"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

// span is how long n's electors believe after the last answer, without a margin
// of their own.
func (n *node) span() time.Duration {
	ttl := n.r.h.TTL
	return ttl - n.info.Shortening - max(10*time.Millisecond, ttl/100, min(ttl/10, time.Second))
}

// certainRules are about which answer belongs to which term.
var certainRules = []Rule{
	{
		ID:       "FAIL-lost",
		Title:    "a certain loss ends the term at once",
		Promise:  "When the store says that the term is lost the leader stops believing there and then, long before its deadline, and sends no further renewal for it.",
		expiries: 6,
		body: func(r *run) {
			a := r.node()
			w := r.witness()
			var lose atomic.Bool
			var said atomic.Int64
			var token atomic.Uint64
			var more atomic.Int32 // renewals of the lost term
			a.f.on(func(c call) plan {
				switch {
				case c.op != "renew" || !lose.Load() || !c.about(token.Load()):
				case said.CompareAndSwap(0, time.Now().UnixNano()):
					return plan{err: driver.ErrLost}
				case time.Since(time.Unix(0, said.Load())) > a.span()/4:
					more.Add(1)
				}
				return plan{}
			})
			e := a.elector(r.group(), withHeartbeat(a, 8))
			w.campaignWith(a, e, watched(w, a.name))
			first := w.leads(0, r.recovery(a), "the elector leads")
			token.Store(first.token)
			lose.Store(true)
			r.eventually(r.span()+r.slack(), "the lost term is over", func() bool {
				b, held := w.last()
				return !held || b.token > first.token
			})
			if said.Load() == 0 {
				r.Fatalf("the term ended without a renewal")
			}
			w.mu.Lock()
			late := w.all[0].until.Sub(time.Unix(0, said.Load()))
			w.mu.Unlock()
			if late > a.span()/3 {
				r.Errorf("the leader still believed %v after the store had said that its term is lost", late)
			}
			w.leads(first.token, r.recovery(a), "the elector leads again")
			if n := more.Load(); n > 0 {
				r.Errorf("%d renewals were sent for a term that was lost", n)
			}
			w.check()
		},
	},
	{
		ID:       "ELE-late-loss",
		Title:    "a late loss of an earlier term does not end the present one",
		Promise:  "Answers belong to their term: when a renewal of a term that is over is answered ErrLost only after the next term has begun, that one lives on.",
		expiries: 10,
		body: func(r *run) {
			a := r.node()
			w := r.witness()
			var held atomic.Int32
			var second atomic.Bool
			release := make(chan struct{})
			a.f.on(func(c call) plan {
				if c.op == "renew" && !second.Load() {
					held.Add(1)
					return plan{hold: release, deaf: true}
				}
				return plan{}
			})
			w.campaign(a, r.group())
			first := w.leads(0, r.recovery(a), "the elector leads")
			next := w.leads(first.token, 2*r.recovery(a), "the elector leads again after a term without answers")
			second.Store(true)
			if held.Load() == 0 {
				r.Fatalf("the first term ended without a renewal")
			}
			close(release)
			r.pause(r.h.TTL)
			if b, ok := w.last(); !ok || b.token != next.token {
				r.Errorf("the term with token %d ended when late answers about the one before came in", next.token)
			}
			w.check()
		},
	},
	{
		ID:       "ELE-nonce",
		Title:    "a nonce is good for one attempt",
		Promise:  "An attempt is sent again with its nonce only while it may still be undecided: never after a certain answer, after the first Resign for it, or after its term has ended.",
		expiries: 10,
		body: func(r *run) {
			a, b := r.node(), r.client()
			a.f.nonces = newNonces(r)
			group := r.group()
			var loseReply, loseTerm atomic.Bool
			a.f.on(func(c call) plan {
				switch {
				case c.op == "acquire" && loseReply.Swap(false):
					return plan{lose: true}
				case c.op == "renew" && loseTerm.Swap(false):
					return plan{err: driver.ErrLost}
				}
				return plan{}
			})
			e := a.elector(group)
			loseReply.Store(true)
			r.start(e)
			for range 2 {
				r.leads(a, e)
				loseReply.Store(true)
				ctx, cancel := a.context()
				if err := e.Resign(ctx); err != nil {
					r.Errorf("Resign: %v", err)
				}
				cancel()
			}
			term := r.leads(a, e)
			loseTerm.Store(true)
			r.eventually(r.recovery(a), "the elector leads again after a lost term", func() bool {
				now, ok := e.Term()
				return ok && now.Token > term.Token
			})
			r.stop(e)
			other := b.takeover(group, "other", r.failover(a))
			stop := r.keep(other)
			r.start(e)
			r.pause(r.h.TTL)
			stop()
			if err := b.resign(other.Term); err != nil && time.Now().Before(other.goodUntil()) {
				r.Errorf("Resign: %v", err)
			}
			r.leads(a, e)
			r.stop(e)
			if sends, again := a.f.nonces.counts(); sends < 6 || again < 1 {
				r.Errorf("%d attempts were sent, %d of them again; the rule saw too little", sends, again)
			}
		},
	},
}
