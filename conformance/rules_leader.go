package conformance

import (
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

var leaderRules = []Rule{
	{
		ID:      "LDR-live",
		Title:   "Leader describes the live term",
		Promise: "Leader tells group, participant, token, metadata and the time the term began of the live term, to every client.",
		body: func(r *run) {
			a, b := r.client(), r.client()
			before := time.Now()
			req := r.request(r.group(), "holder")
			req.Metadata = map[string]string{"address": "10.0.0.1:80"}
			l := a.mustAcquire(req)
			for _, c := range []*client{a, b} {
				rec := c.leader(l.Group)
				if rec == nil {
					r.Fatalf("Leader: nobody leads, want %v", l.Term)
					return
				}
				if diff := l.differs(*rec); diff != "" {
					r.Errorf("Leader differs from the term %v: %s", l.Term, diff)
				}
				checkRemaining(r, c.info, *rec, l)
				if rec.TTL != 0 && rec.TTL != r.h.TTL {
					r.Errorf("Leader tells a TTL of %v, want %v (or 0 where the store does not tell)", rec.TTL, r.h.TTL)
				}
				if rec.AcquiredAt.IsZero() || rec.AcquiredAt.Sub(before).Abs() > 2*365*24*time.Hour {
					r.Errorf("Leader tells that the term began at %v", rec.AcquiredAt)
				}
			}
			wantMetadata(r, b, l.Group, req.Metadata)
		},
	},
	{
		ID:      "LDR-none",
		Title:   "Leader says when nobody leads",
		Promise: "Of a group that nobody ever led, or whose term was resigned, Leader answers ErrNoLeader.",
		body: func(r *run) {
			a, b := r.client(), r.client()
			a.mustBeFree(r.group(), "in a group nobody ever led")
			l := a.win(r.group(), "holder")
			l.mustResign()
			a.mustBeFree(l.Group, "after Resign")
			b.mustBeFree(l.Group, "after Resign")
		},
	},
	{
		ID:       "LDR-expired",
		Title:    "an expired leader is not reported",
		Promise:  "A record whose lease has run out is not live: Leader answers ErrNoLeader within the declared worst case, though nobody cleaned it up.",
		expiries: 4,
		body: func(r *run) {
			a, b := r.client(), r.client()
			l := a.win(r.group(), "holder")
			bound := l.reply.Add(r.worst(b.info) + r.slack())
			for b.leader(l.Group) != nil {
				if time.Now().After(bound) {
					r.Fatalf("Leader still tells %v, %v after its last contact", l.Term, time.Since(l.reply))
				}
				r.pause(r.tick())
			}
			if now := time.Now(); now.Before(l.goodUntil().Add(-5 * time.Millisecond)) {
				r.Errorf("Leader called a term gone %v before its lease ran out", l.goodUntil().Sub(now))
			}
		},
	},
	{
		ID:      "LDR-ping",
		Title:   "a ping says whether the store answers",
		Promise: "Ping succeeds while the store can be reached, fails while the network is cut, and succeeds again afterwards.",
		Needs:   []Power{PowerLink},
		applies: func(d driver.Driver, _ driver.Info) string {
			if _, ok := d.(driver.Pinger); !ok {
				return "the driver is no Pinger"
			}
			return ""
		},
		body: func(r *run) {
			c := r.linked()
			ping := func() error {
				ctx, cancel := c.context()
				defer cancel()
				return c.Driver.(driver.Pinger).Ping(ctx)
			}
			r.eventually(callLimit+r.slack(), "Ping of a store that can be reached succeeds", func() bool { return ping() == nil })
			c.link.Cut()
			if err := ping(); err == nil {
				r.Errorf("Ping succeeded although the network is cut")
			}
			c.link.Restore()
			r.eventually(30*time.Second+r.slack(), "Ping succeeds again after the network has come back", func() bool { return ping() == nil })
		},
	},
	{
		ID:       "LDR-remaining",
		Title:    "the remaining time shrinks and grows with renewals",
		Promise:  "Where the store tells the remaining time it is the store's: it falls as time passes, returns with a renewal, and never exceeds the TTL.",
		expiries: 4,
		body: func(r *run) {
			a, b := r.client(), r.client()
			l := a.win(r.group(), "holder")
			var before time.Duration // the remaining time told last, at seen
			var seen time.Time
			for i := range 8 {
				asked := time.Now()
				if asked.After(l.goodUntil()) {
					break // this machine was too slow to see more
				}
				rec := b.leader(l.Group)
				if rec == nil {
					if time.Now().Before(l.goodUntil()) {
						r.Errorf("nobody leads while the lease is good")
					}
					break
				}
				checkRemaining(r, b.info, *rec, l)
				if b.info.RemainingKnown {
					// The store cannot keep it longer than TTL from the last answer.
					if late := asked.Add(rec.Remaining).Sub(l.reply.Add(r.h.TTL)); late > r.slack() {
						r.Errorf("the remaining time tells an expiry %v after the lease runs out", late)
					}
				}
				if passed := asked.Sub(seen); b.info.RemainingKnown && !seen.IsZero() && rec.Remaining > before-passed/2 {
					r.Errorf("the remaining time was %v and, %v later without a renewal, is %v", before, passed, rec.Remaining)
				}
				before, seen = rec.Remaining, time.Now()
				r.pause(r.h.TTL / 5)
				if i == 3 && time.Now().Before(l.goodUntil()) {
					l.mustRenew()
					seen = time.Time{}
				}
			}
		},
	},
}
