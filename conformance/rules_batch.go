package conformance

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

func needsBatch(_ driver.Driver, info driver.Info) string {
	if info.RenewBatch < 2 {
		return "the backend declares no batches of renewals"
	}
	return ""
}

var batchRules = []Rule{
	{
		ID:      "BAT-mixed",
		Title:   "each term of a batch gets its own answer",
		Promise: "In a batch with live, resigned, unknown and repeated terms each request is answered by what is true of its own term.",
		applies: needsBatch,
		body: func(r *run) {
			c := r.client()
			live, resigned, other := c.win(r.group(), "a"), c.win(r.group(), "b"), c.win(r.group(), "c")
			resigned.mustResign()
			unknown := driver.Term{Group: r.group(), Participant: "d", Token: 1, Nonce: driver.NewNonce()}
			foreign := other.Term
			foreign.Nonce = driver.NewNonce()
			terms := []driver.Term{live.Term, resigned.Term, unknown, other.Term, foreign, live.Term}
			wantLost := []bool{false, true, true, false, true, false}
			for len(terms) > c.info.RenewBatch {
				terms, wantLost = terms[:len(terms)-1], wantLost[:len(wantLost)-1]
			}
			var reqs []driver.RenewRequest
			for _, t := range terms {
				reqs = append(reqs, driver.RenewRequest{Term: t, TTL: r.h.TTL})
			}
			for i, res := range c.renewAll(reqs...) {
				if got := errors.Is(res.Err, driver.ErrLost); got != wantLost[i] || !got && res.Err != nil {
					r.Errorf("request %d of the batch (%v): want lost %v, got %v", i, terms[i], wantLost[i], res.Err)
				}
			}
			live.mustLead("after a mixed batch")
			other.mustLead("after a mixed batch")
			c.mustBeFree(resigned.Group, "after a mixed batch")
			c.mustBeFree(unknown.Group, "after a mixed batch")
		},
	},
	{
		ID:      "BAT-again",
		Title:   "a batch whose reply was lost, and one that arrives twice",
		Promise: "A batch executed without an answer is simply sent again, and costs no term; a duplicate that arrives after its terms were resigned brings none of them back.",
		applies: needsBatch,
		body: func(r *run) {
			c := r.client()
			leases := make([]*lease, min(c.info.RenewBatch, 5))
			for i := range leases {
				leases[i] = c.win(r.group(), "holder")
			}
			c.f.on(func(call) plan { return plan{lose: true} })
			for i, err := range c.renewBatch(leases...) {
				if !errors.Is(err, errInjected) {
					r.Fatalf("request %d of a batch without an answer: %v", i, err)
				}
			}
			again := make(chan struct{})
			c.f.on(func(call) plan { return plan{twice: again} })
			for i, err := range c.renewBatch(leases...) {
				if err != nil && time.Now().Before(leases[i].goodUntil()) {
					r.Errorf("request %d of a batch sent again after its reply was lost: %v", i, err)
				}
			}
			c.f.on(nil)
			for _, l := range leases {
				if err := c.resign(l.Term); err != nil && time.Now().Before(l.goodUntil()) {
					r.Errorf("Resign of %v: %v", l.Term, err)
				}
			}
			close(again)
			r.pause(5 * r.tick())
			for _, l := range leases {
				c.mustBeFree(l.Group, "after a duplicate of a batch whose terms were resigned")
			}
		},
	},
	{
		ID:      "BAT-full",
		Title:   "a batch as large as declared is answered in full",
		Promise: "A batch of as many terms as the backend declares is renewed in one call.",
		applies: needsBatch,
		body: func(r *run) {
			c := r.client()
			n := min(c.info.RenewBatch, 500)
			leases := make([]*lease, n)
			next := make(chan int, n)
			for i := range n {
				next <- i
			}
			close(next)
			groups := make([]string, n)
			for i := range groups {
				groups[i] = r.group()
			}
			var wg sync.WaitGroup
			for range max(c.info.Calls, 2) {
				wg.Go(func() {
					for i := range next {
						if r.Failed() {
							return
						}
						l, err := c.acquire(r.request(groups[i], "holder"))
						if err != nil {
							r.Errorf("Acquire of group %d of %d: %v", i, n, err)
							return
						}
						leases[i] = l
					}
				})
			}
			wg.Wait()
			if r.Failed() {
				return
			}
			// What took longer than a TTL to acquire may have expired meanwhile.
			lost := 0
			for i, err := range c.renewBatch(leases...) {
				switch {
				case errors.Is(err, driver.ErrLost) && time.Now().After(leases[i].goodUntil()):
					lost++
				case err != nil:
					r.Errorf("request %d of a batch of %d: %v", i, n, err)
				}
			}
			if lost > 0 {
				r.Logf("%d of %d terms expired before the batch was executed", lost, n)
			}
		},
	},
	{
		ID:       "BAT-locked",
		Title:    "a locked term delays no other of its batch",
		Promise:  "While somebody's transaction holds one record, all other terms of the batch are renewed on time; the locked one is uncertain, not lost, and can be renewed once the lock is gone.",
		Needs:    []Power{PowerLock},
		applies:  needsBatch,
		expiries: 6,
		body: func(r *run) {
			c := r.client()
			locked := c.win(r.group(), "a")
			others := []*lease{c.win(r.group(), "b"), c.win(r.group(), "c")}
			unlock := r.h.LockRecord(r, locked.Group)
			var mu sync.Mutex
			answered := map[int]time.Duration{}
			reqs := []driver.RenewRequest{{Term: others[0].Term, TTL: r.h.TTL}, {Term: locked.Term, TTL: r.h.TTL}, {Term: others[1].Term, TTL: r.h.TTL}}
			ctx, cancel := context.WithTimeout(r.ctx, callLimit)
			defer cancel()
			start := time.Now()
			c.Renew(ctx, reqs[:min(3, c.info.RenewBatch)], func(res driver.RenewResult) {
				mu.Lock()
				defer mu.Unlock()
				answered[res.Index] = time.Since(start)
				if res.Index == 1 && errors.Is(res.Err, driver.ErrLost) {
					r.Errorf("a locked live term was called lost")
				}
				if res.Index != 1 && res.Err != nil {
					r.Errorf("request %d beside a locked one: %v", res.Index, res.Err)
				}
			})
			unlock()
			for _, i := range []int{0, 2} {
				if i >= c.info.RenewBatch {
					continue
				}
				if took, ok := answered[i]; !ok || took > r.slack() {
					r.Errorf("request %d beside a locked one was answered after %v (answered: %v)", i, took, ok)
				}
			}
			if time.Now().Before(locked.goodUntil()) {
				locked.mustRenew()
			}
		},
	},
	{
		ID:      "BAT-overlap",
		Title:   "overlapping batches do not block each other",
		Promise: "Batches that hold the same terms in different orders, sent at the same time, all end, and no live term is called lost.",
		applies: needsBatch,
		body: func(r *run) {
			a, b := r.client(), r.client()
			n := min(a.info.RenewBatch, 20)
			var mine, theirs []*lease
			for range n {
				mine = append(mine, a.win(r.group(), "a"))
			}
			for range n {
				theirs = append(theirs, b.win(r.group(), "b"))
			}
			send := func(c *client, owned []*lease, reverse bool) {
				reqs := make([]driver.RenewRequest, n)
				for i := range reqs {
					l := owned[i]
					if reverse {
						l = owned[n-1-i]
					}
					reqs[i] = driver.RenewRequest{Term: l.Term, TTL: r.h.TTL}
				}
				for i, res := range c.renewAll(reqs...) {
					if errors.Is(res.Err, driver.ErrLost) {
						r.Errorf("overlapping batches: the live term %v was called lost", reqs[i].Term)
					}
				}
			}
			start := time.Now()
			var wg sync.WaitGroup
			for _, reverse := range []bool{false, true} {
				wg.Go(func() {
					for range 5 {
						send(a, mine, reverse)
					}
				})
				wg.Go(func() {
					for range 5 {
						send(b, theirs, reverse)
					}
				})
			}
			wg.Wait()
			if took := time.Since(start); took > callLimit {
				r.Errorf("overlapping batches took %v", took)
			}
		},
	},
	{
		ID:       "BAT-read",
		Title:    "a batch of reads tells what single reads tell",
		Promise:  "Leaders reports each group once, with its live record or ErrNoLeader, as Leader would; a term that has expired is not live.",
		expiries: 4,
		applies: func(d driver.Driver, _ driver.Info) string {
			if _, ok := d.(driver.BatchReader); !ok {
				return "the driver is no BatchReader"
			}
			return ""
		},
		body: func(r *run) {
			a, b := r.client(), r.client()
			live, resigned, never := a.win(r.group(), "holder"), a.win(r.group(), "gone"), r.group()
			resigned.mustResign()
			dead := a.win(r.group(), "dead")
			stop := r.keep(live)
			r.pauseUntil(dead.reply.Add(r.worst(b.info) + r.h.TTL/10))
			stop()
			if time.Now().After(live.goodUntil().Add(-r.h.TTL / 4)) {
				live.mustRenew()
			}
			groups := []string{dead.Group, live.Group, resigned.Group, never}[:min(4, b.info.ReadBatch)]
			seen := map[string]int{}
			var mu sync.Mutex
			ctx, cancel := b.context()
			defer cancel()
			b.Driver.(driver.BatchReader).Leaders(ctx, groups, func(g string, rec driver.Record, err error) {
				mu.Lock()
				defer mu.Unlock()
				seen[g]++
				switch {
				case g == live.Group && err != nil:
					r.Errorf("Leaders of a live group: %v", err)
				case g == live.Group:
					if diff := live.differs(rec); diff != "" {
						r.Errorf("Leaders of %s differs from its term %v: %s", g, live.Term, diff)
					}
					checkRemaining(r, b.info, rec, live)
				case !errors.Is(err, driver.ErrNoLeader):
					r.Errorf("Leaders of %s, which nobody leads: want ErrNoLeader, got %v, %v", g, rec.Term, err)
				}
			})
			for _, g := range groups {
				if seen[g] != 1 {
					r.Errorf("Leaders reported %s %d times", g, seen[g])
				}
			}
		},
	},
	{
		ID:      "BAT-acquire",
		Title:   "each attempt of a batch obeys the rules of a single one",
		Promise: "AcquireBatch grants free groups, refuses held ones, and of two attempts at one group grants exactly one.",
		applies: func(d driver.Driver, info driver.Info) string {
			if _, ok := d.(driver.BatchAcquirer); !ok {
				return "the driver is no BatchAcquirer"
			}
			if info.AcquireBatch < 4 {
				return fmt.Sprintf("the declared batch of %d attempts is too small", info.AcquireBatch)
			}
			return ""
		},
		body: func(r *run) {
			a, b := r.client(), r.client()
			held := a.win(r.group(), "holder")
			contested, free := r.group(), r.group()
			reqs := []driver.AcquireRequest{r.request(held.Group, "x"), r.request(contested, "y"), r.request(contested, "z"), r.request(free, "w")}
			grants := map[int]driver.Grant{}
			var mu sync.Mutex
			ctx, cancel := b.context()
			defer cancel()
			reported := map[int]int{}
			b.Driver.(driver.BatchAcquirer).AcquireBatch(ctx, reqs, func(i int, g driver.Grant, err error) {
				mu.Lock()
				defer mu.Unlock()
				reported[i]++
				var he *driver.HeldError
				if err == nil {
					grants[i] = g
				} else if !errors.As(err, &he) {
					r.Errorf("attempt %d of the batch: want *HeldError, got %v", i, err)
				}
			})
			for i := range reqs {
				if reported[i] != 1 {
					r.Errorf("AcquireBatch reported attempt %d %d times", i, reported[i])
				}
			}
			_, x := grants[0]
			_, y := grants[1]
			_, z := grants[2]
			_, w := grants[3]
			if x || y == z || !w {
				r.Errorf("granted: held group %v, contested group %v and %v, free group %v", x, y, z, w)
			}
			held.mustLead("after a batch of attempts")

			// Repeated, late and ordinary attempts are told apart as single ones are.
			own := b.win(r.group(), "own")
			ended := b.win(r.group(), "ended")
			ended.mustResign()
			next := r.request(ended.Group, "next")
			reqs = []driver.AcquireRequest{
				{Group: own.Group, Participant: own.Participant, Nonce: own.Nonce, TTL: r.h.TTL},
				{Group: ended.Group, Participant: ended.Participant, Nonce: ended.Nonce, TTL: r.h.TTL},
				next,
			}
			errs := map[int]error{}
			clear(grants)
			b.Driver.(driver.BatchAcquirer).AcquireBatch(ctx, reqs, func(i int, g driver.Grant, err error) {
				mu.Lock()
				defer mu.Unlock()
				grants[i], errs[i] = g, err
			})
			if g := grants[0]; errs[0] != nil || g.Token != own.Token || g.Granted < r.h.TTL-b.info.Shortening-r.h.TTL/4 {
				r.Errorf("an attempt of the batch that finds its own live term: want token %d and about %v, got %+v, %v", own.Token, r.h.TTL, g, errs[0])
			}
			if !errors.Is(errs[1], driver.ErrResigned) {
				r.Errorf("an attempt of the batch with the nonce that resigned last: want ErrResigned, got %+v, %v", grants[1], errs[1])
			}
			if g := grants[2]; errs[2] != nil || g.Token <= ended.Token || g.Granted <= 0 || g.Granted > r.h.TTL {
				r.Errorf("an attempt of the batch at a resigned group: want a token above %d and at most %v, got %+v, %v", ended.Token, r.h.TTL, g, errs[2])
			}
			if rec := a.leader(next.Group); rec == nil || rec.Token != grants[2].Token {
				r.Errorf("Leader tells %+v, the batch granted token %d", rec, grants[2].Token)
			}
		},
	},
}
