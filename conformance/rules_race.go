package conformance

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/core/driver"
)

var raceRules = []Rule{
	{
		ID:       "RACE-churn",
		Title:    "a hundred candidates take turns",
		Promise:  "However many electors compete, no two ever believe to lead at one time, tokens increase from leader to leader, and a register guarded by tokens is never written by an earlier leader.",
		expiries: 8,
		body: func(r *run) {
			churn(r, func(*node, *rand.Rand) func(call) plan { return nil })
		},
	},
	{
		ID:       "RACE-faults",
		Title:    "a hundred candidates on a bad network",
		Promise:  "The same holds while requests and replies are lost, delayed, repeated, and executed after their senders gave up.",
		expiries: 8,
		body: func(r *run) {
			churn(r, func(n *node, rnd *rand.Rand) func(call) plan {
				var mu sync.Mutex
				return func(call) plan {
					mu.Lock()
					defer mu.Unlock()
					late := make(chan struct{})
					after := time.Duration(rnd.Int64N(int64(r.h.TTL)))
					switch rnd.IntN(40) {
					case 0:
						return plan{err: errInjected}
					case 1:
						return plan{lose: true}
					case 2:
						return plan{delay: after / 4, back: after / 8}
					case 3:
						return plan{delay: after, hang: true}
					case 4:
						time.AfterFunc(after, func() { close(late) })
						return plan{twice: late}
					case 5:
						return plan{drop: true}
					}
					return plan{}
				}
			})
		},
	},
	{
		ID:      "RACE-linearizable",
		Title:   "recorded histories fit one correct store",
		Promise: "The answers to concurrent Acquire, Renew, Resign and Leader calls, some of them lost, are such as one correct store, doing one call after the other, could have given.",
		Needs:   []Power{PowerChecker},
		body: func(r *run) {
			cs := r.clients(4)
			for round := range 5 {
				h := recordHistory(r, cs, int64(round))
				if err := r.h.Checker.Check(h); err != nil {
					r.Errorf("round %d: %v", round, err)
				}
			}
		},
	},
}

// churn lets 100 electors on 8 nodes compete for one group with short works.
func churn(r *run, faults func(*node, *rand.Rand) func(call) plan) {
	const candidates = 100
	nodes := r.nodes(8)
	group := r.group()
	w := r.witness()
	seed := time.Now().UnixNano()
	r.Logf("seed %d", seed)
	for i, n := range nodes {
		n.f.on(faults(n, rand.New(rand.NewPCG(uint64(seed), uint64(i)))))
	}
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	var wg sync.WaitGroup
	for i := range candidates {
		n := nodes[i%len(nodes)]
		who := fmt.Sprintf("%s/%d", n.name, i)
		e := n.elector(group, func(o *multilock.Options) {
			o.ParticipantID = fmt.Sprintf("p%d", i)
			o.DrainTimeout = r.h.TTL / 2
		})
		rnd := rand.New(rand.NewPCG(uint64(seed), uint64(1000+i)))
		wg.Go(func() {
			for ctx.Err() == nil {
				err := e.Run(ctx, func(ctx context.Context, term multilock.Term) error {
					done := make(chan struct{})
					t := time.AfterFunc(time.Duration(rnd.IntN(10))*time.Millisecond, func() { close(done) })
					defer t.Stop()
					w.watch(ctx, who, term, done)
					return nil
				})
				if err != nil && ctx.Err() == nil {
					r.Errorf("Run of %s: %v", who, err)
					return
				}
			}
		})
	}
	// At least three terms, however slow the store; as many as come in a few
	// seconds where it is quick.
	end := time.Now().Add(3*time.Second + r.h.TTL)
	r.eventually(r.worst(nodes[0].info)*4+30*time.Second, "three terms have begun", func() bool { return w.terms() >= 3 || r.Failed() })
	r.pauseUntil(end)
	for _, n := range nodes {
		n.f.on(nil)
	}
	cancel()
	wg.Wait()
	w.check()
	r.Logf("%d terms, %d writes accepted", w.terms(), w.accepted)
}

// recordHistory lets each client make some random calls on a fresh group and
// records them. The TTL is long enough that nothing expires meanwhile.
func recordHistory(r *run, cs []*client, seed int64) []Operation {
	group := r.group()
	ttl := 10 * r.h.TTL
	if most := cs[0].info.MaxTTL; most > 0 {
		ttl = min(ttl, most)
	}
	start := time.Now()
	var mu sync.Mutex
	var history []Operation
	var wg sync.WaitGroup
	for i, c := range cs {
		rnd := rand.New(rand.NewPCG(uint64(seed), uint64(i)))
		wg.Go(func() {
			var own *driver.Term            // the term this client holds or may hold
			var open *driver.AcquireRequest // the attempt behind it, if its answer was lost
			for range 12 {
				if time.Since(start) > ttl/2 || r.ctx.Err() != nil {
					return
				}
				var fate plan
				switch rnd.IntN(8) {
				case 0:
					fate.lose = true
				case 1:
					fate.delay = time.Duration(rnd.IntN(3)) * time.Millisecond
				}
				c.f.on(func(call) plan { return fate })
				op := Operation{Client: i, Call: time.Since(start)}
				var err error
				ctx, cancel := c.context()
				switch k := rnd.IntN(4); {
				case k == 0:
					op.Kind = "leader"
					var rec driver.Record
					rec, err = c.Leader(ctx, group)
					op.Token = rec.Token
				case own == nil || k == 2 && open != nil:
					op.Kind = "acquire"
					req := r.request(group, fmt.Sprintf("p%d", i))
					req.TTL = ttl
					if own != nil { // sent again
						req = *open
					}
					op.Nonce = req.Nonce
					var g driver.Grant
					g, err = c.Acquire(ctx, req)
					op.Token = g.Token
					switch {
					case err == nil:
						open = nil
					case !isCertain(err):
						open = &req
					case !errors.Is(err, driver.ErrNotApplied):
						own, open = nil, nil // refused, as every earlier send was
					}
					if err == nil || !isCertain(err) {
						own = &driver.Term{Group: group, Participant: req.Participant, Token: g.Token, Nonce: req.Nonce}
					}
				case k == 1:
					op.Kind, op.Nonce = "renew", own.Nonce
					err = c.renewCtx(ctx, []driver.RenewRequest{{Term: *own, TTL: ttl}})[0].Err
				default:
					op.Kind, op.Nonce = "resign", own.Nonce
					err = c.Resign(ctx, *own)
					own, open = nil, nil
				}
				cancel()
				op.Return = time.Since(start)
				op.Result = resultOf(err)
				if op.Result == "unknown" {
					op.Return, op.Token = Never, 0
				}
				if op.Result == "" {
					continue // certainly not applied
				}
				mu.Lock()
				history = append(history, op)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for _, c := range cs {
		c.f.on(nil)
	}
	return history
}

func resultOf(err error) string {
	var held *driver.HeldError
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &held):
		return "held"
	case errors.Is(err, driver.ErrResigned):
		return "resigned"
	case errors.Is(err, driver.ErrLost):
		return "lost"
	case errors.Is(err, driver.ErrNoLeader):
		return "none"
	case errors.Is(err, driver.ErrNotApplied):
		return ""
	}
	return "unknown"
}
