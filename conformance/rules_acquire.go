package conformance

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

var acquireRules = []Rule{
	{
		ID:      "ACQ-one-winner",
		Title:   "many clients try at once: exactly one wins",
		Promise: "Of any number of simultaneous attempts at a free group, through any number of clients, exactly one succeeds; the others are told that it is held.",
		body:    func(r *run) { raceForGroup(r, r.clients(8), 4) },
	},
	{
		ID:      "ACQ-one-client",
		Title:   "many nonces through one client: exactly one wins",
		Promise: "Attempts of different nonces for one group exclude each other also when they share one client and session, and the losers cannot renew, resign or change the winner's term.",
		body: func(r *run) {
			c := r.client()
			raceForGroup(r, []*client{c}, 16)
			group := r.group()
			winner := c.win(group, "winner")
			loser := &lease{c: c}
			for range 3 {
				req := r.request(group, "loser")
				c.mustBeHeld(req)
				loser.Term = driver.Term{Group: group, Participant: "loser", Token: winner.Token, Nonce: req.Nonce}
			}
			loser.mustBeLost("its Acquire was refused")
			if err := c.resign(loser.Term); !errors.Is(err, driver.ErrLost) {
				r.Errorf("Resign of a nonce that never won: want ErrLost, got %v", err)
			}
			winner.mustLead("after a loser tried to renew and resign")
			winner.mustRenew()
		},
	},
	{
		ID:      "ACQ-held",
		Title:   "a refused attempt says who leads",
		Promise: "An attempt at a group that another term leads fails with a *HeldError; what it tells about holder, token and remaining time is true.",
		body: func(r *run) {
			a, b := r.client(), r.client()
			group := r.group()
			l := a.win(group, "holder")
			b.mustBeHeld(r.request(group, "holder")) // the name proves nothing
			rec := b.mustBeHeld(r.request(group, "other"))
			if rec.Group != "" && rec.Group != group {
				r.Errorf("HeldError names the group %q", rec.Group)
			}
			if rec.Participant != "" {
				if rec.Participant != "holder" || rec.Token != l.Token || !rec.Nonce.IsZero() && rec.Nonce != l.Nonce {
					r.Errorf("HeldError describes %v (nonce %v), want %v", rec.Term, rec.Nonce, l.Term)
				}
			}
			checkRemaining(r, b.info, rec, l)
			l.mustLead("after an attempt was refused")
		},
	},
	{
		ID:       "ACQ-no-early",
		Title:    "nobody is granted a lease that may still be believed",
		Promise:  "Until the lifetime granted by the last successful Acquire or Renew has run out, counted from before that request was sent, nobody else is granted the group.",
		expiries: 8,
		body: func(r *run) {
			a, b := r.client(), r.client()
			for _, renewals := range []int{0, 1, 3} {
				l := a.win(r.group(), "holder")
				for range renewals {
					r.pause(r.h.TTL / 5)
					l.mustRenew()
				}
				next := b.takeover(l.Group, "next", r.worst(b.info)+r.slack())
				r.notEarly(l.goodUntil(), next, fmt.Sprintf("after %d renewals", renewals))
				r.newer(l, next)
			}
		},
	},
	{
		ID:       "ACQ-renew-race",
		Title:    "a renewal at the last moment and a challenger exclude each other",
		Promise:  "When a renewal and another's attempt meet at the moment of expiry, either the renewal is refused or nobody else is granted the group before the renewed lifetime has run out.",
		expiries: 12,
		body: func(r *run) {
			a, b := r.client(), r.client()
			for i := range 8 {
				l := a.win(r.group(), "holder")
				r.pauseUntil(l.goodUntil().Add(-30 * time.Millisecond))
				quit := make(chan struct{})
				var mu sync.Mutex
				var won *lease
				var wg sync.WaitGroup
				for j := range 4 {
					wg.Go(func() {
						r.pause(time.Duration(j) * time.Millisecond) // not all in step
						for {
							next, err := b.acquire(r.request(l.Group, "challenger"))
							if err == nil {
								mu.Lock()
								won = next
								mu.Unlock()
								return
							}
							select {
							case <-quit:
								return
							case <-time.After(time.Millisecond):
							}
						}
					})
				}
				r.pauseUntil(l.goodUntil().Add(time.Duration(2*i-6) * time.Millisecond))
				err := l.renew()
				if err == nil {
					r.pause(50 * time.Millisecond)
				}
				close(quit)
				wg.Wait()
				if err == nil && won != nil {
					r.notEarly(l.goodUntil(), won, "beside a renewal at the last moment")
				}
			}
		},
	},
	{
		ID:       "ACQ-soon-after",
		Title:    "a dead leader's lease is granted within the declared worst case",
		Promise:  "After the last contact of a leader that died, the store grants the group to another within the declared worst-case expiry (a little slack for a busy machine), and the new term carries nothing of the old one.",
		expiries: 4,
		body: func(r *run) {
			a, b := r.client(), r.client()
			req := r.request(r.group(), "holder")
			req.Metadata = map[string]string{"zone": "eu-1"}
			l := a.mustAcquire(req)
			l.mustRenew()
			next := b.takeover(l.Group, "next", time.Until(l.reply)+r.worst(b.info)+r.slack())
			// A new term carries nothing of the dead one.
			wantMetadata(r, b, l.Group, nil)
			if !next.grant.AcquiredAt.After(l.grant.AcquiredAt) {
				r.Errorf("a term that began after another expired tells the time %v, the earlier one %v", next.grant.AcquiredAt, l.grant.AcquiredAt)
			}
		},
	},
	{
		ID:      "ACQ-prompt",
		Title:   "an attempt never waits for the holder",
		Promise: "An attempt makes one try and answers at once: it waits neither for the holder to resign nor for its lease to run out.",
		body: func(r *run) {
			a, b := r.client(), r.client()
			l := a.win(r.group(), "holder")
			defer r.keep(l)()
			for range 5 {
				start := time.Now()
				b.mustBeHeld(r.request(l.Group, "other"))
				if took := time.Since(start); took > r.slack() {
					r.Errorf("an attempt at a held group took %v", took)
				}
			}
		},
	},
	{
		ID:      "ACQ-locked",
		Title:   "somebody's lock on the record delays an attempt by at most 200 ms",
		Promise: "While somebody else's transaction holds the record, an attempt answers within 200 ms (and slack) that the group is held or that nothing was applied; a lease of which nothing is known is never granted.",
		Needs:   []Power{PowerLock},
		body: func(r *run) {
			a, b := r.client(), r.client()
			l := a.win(r.group(), "holder")
			unlock := sync.OnceFunc(r.h.LockRecord(r, l.Group))
			defer unlock()
			for range 3 {
				ctx, cancel := b.context()
				start := time.Now()
				_, err := b.Acquire(ctx, r.request(l.Group, "other"))
				cancel()
				var held *driver.HeldError
				if !errors.As(err, &held) && !errors.Is(err, driver.ErrNotApplied) {
					r.Errorf("Acquire of a locked, held group: want *HeldError or ErrNotApplied, got %v", err)
				}
				if took := time.Since(start); took > r.slack() {
					r.Errorf("Acquire waited %v for somebody's lock", took)
				}
			}
			unlock()
			if time.Now().Before(l.goodUntil()) {
				l.mustRenew()
			}
		},
	},
	{
		ID:      "ACQ-cancelled",
		Title:   "a cancelled context is an error, promptly",
		Promise: "With a context that is already cancelled every operation returns an error promptly; none of them reports a success, a loss or an absence it did not see.",
		body: func(r *run) {
			c := r.client()
			l := c.win(r.group(), "holder")
			ctx, cancel := context.WithCancel(r.ctx)
			cancel()
			start := time.Now()
			other := r.request(r.group(), "other")
			if _, err := c.Acquire(ctx, other); err == nil {
				// Executing is allowed; then it must really have been granted.
				if rec := c.leader(other.Group); rec == nil || rec.Participant != "other" {
					r.Errorf("Acquire with a cancelled context claims a success the store does not know of")
				}
			}
			if _, err := c.Leader(ctx, l.Group); errors.Is(err, driver.ErrNoLeader) {
				r.Errorf("Leader with a cancelled context: ErrNoLeader for a live term")
			}
			if res := c.renewCtx(ctx, []driver.RenewRequest{{Term: l.Term, TTL: r.h.TTL}}); errors.Is(res[0].Err, driver.ErrLost) {
				r.Errorf("Renew with a cancelled context: ErrLost for a live term")
			}
			ended := c.win(r.group(), "ended")
			if err := c.Resign(ctx, ended.Term); err == nil {
				c.mustBeFree(ended.Group, "after a Resign with a cancelled context that claims success")
			} else if errors.Is(err, driver.ErrLost) && time.Now().Before(ended.goodUntil()) {
				r.Errorf("Resign with a cancelled context: ErrLost for a live term")
			}
			if took := time.Since(start); took > 4*r.slack() {
				r.Errorf("calls with a cancelled context took %v", took)
			}
			if time.Now().Before(l.goodUntil()) {
				l.mustLead("after calls with a cancelled context")
			}
		},
	},
	{
		ID:      "ACQ-metadata",
		Title:   "metadata is stored as given and the caller's map is left alone",
		Promise: "The record carries exactly the metadata of the request; the driver neither keeps nor changes the map.",
		body: func(r *run) {
			a, b := r.client(), r.client()
			req := r.request(r.group(), "holder")
			req.Metadata = map[string]string{"zone": "eu-1", "empty": ""}
			l := a.mustAcquire(req)
			if len(req.Metadata) != 2 || req.Metadata["zone"] != "eu-1" {
				r.Errorf("the driver changed the caller's map: %v", req.Metadata)
			}
			req.Metadata["zone"] = "changed by the caller"
			wantMetadata(r, b, l.Group, map[string]string{"zone": "eu-1", "empty": ""})
			l.mustRenew()
			wantMetadata(r, b, l.Group, map[string]string{"zone": "eu-1", "empty": ""})
		},
	},
}

// raceForGroup lets each client make several attempts at once, for some groups.
func raceForGroup(r *run, cs []*client, each int) {
	for range 5 {
		group := r.group()
		var mu sync.Mutex
		var winners []*lease
		var wg sync.WaitGroup
		start := make(chan struct{})
		for i, c := range cs {
			for j := range each {
				wg.Go(func() {
					req := r.request(group, fmt.Sprintf("p%d-%d", i, j))
					<-start
					l, err := c.acquire(req)
					var held *driver.HeldError
					switch {
					case err == nil:
						mu.Lock()
						winners = append(winners, l)
						mu.Unlock()
					case !errors.As(err, &held):
						r.Errorf("a simultaneous attempt at %s: want *HeldError, got %v", group, err)
					}
				})
			}
		}
		close(start)
		wg.Wait()
		if len(winners) != 1 {
			r.Fatalf("%d of %d simultaneous attempts at %s succeeded, want 1", len(winners), len(cs)*each, group)
		}
		winners[0].mustLead("after simultaneous attempts")
		winners[0].mustResign()
	}
}

// checkRemaining checks what a record that was just read tells about the remaining
// time of l. The store looked before now, so that the time it told, counted from
// now, ends no earlier than the lease but for what the store rounds.
func checkRemaining(r *run, info driver.Info, rec driver.Record, l *lease) {
	if !info.RemainingKnown {
		if rec.Remaining != driver.RemainingUnknown {
			r.Errorf("the backend declares that it does not know the remaining time, yet tells %v", rec.Remaining)
		}
		return
	}
	if rec.Remaining <= 0 || rec.Remaining > r.h.TTL {
		r.Errorf("the remaining time of a live term is %v; allowed is more than 0 and at most its TTL %v", rec.Remaining, r.h.TTL)
	}
	if early := l.goodUntil().Sub(time.Now().Add(rec.Remaining)); early > 5*time.Millisecond+r.h.TTL/500 {
		r.Errorf("the remaining time tells an expiry %v before the lease that was granted runs out", early)
	}
}

func wantMetadata(r *run, c *client, group string, want map[string]string) {
	rec := c.leader(group)
	if rec == nil {
		r.Fatalf("nobody leads %s", group)
		return
	}
	if len(rec.Metadata) != len(want) {
		r.Errorf("the metadata of %s is %q, want %q", group, rec.Metadata, want)
		return
	}
	for k, v := range want {
		if got, ok := rec.Metadata[k]; !ok || got != v {
			r.Errorf("the metadata of %s is %q, want %q", group, rec.Metadata, want)
			return
		}
	}
}
