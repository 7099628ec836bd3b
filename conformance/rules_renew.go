package conformance

import (
	"errors"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

var renewRules = []Rule{
	{
		ID:       "REN-extends",
		Title:    "renewals keep the term for as long as they come",
		Promise:  "A term renewed in time stays live, with the same token, beyond any number of TTLs; a renewal on time is granted the TTL less the declared shortening.",
		expiries: 6,
		body: func(r *run) {
			a, b := r.client(), r.client()
			l := a.win(r.group(), "holder")
			end := l.reply.Add(r.h.TTL * 5 / 2)
			for time.Now().Before(end) {
				r.pause(r.h.TTL / 5)
				late := time.Now().After(l.goodUntil().Add(-r.h.TTL / 4)) // this machine was too slow
				t0 := time.Now()
				res := a.renewAll(driver.RenewRequest{Term: l.Term, TTL: r.h.TTL})[0]
				if errors.Is(res.Err, driver.ErrLost) && !late {
					r.Fatalf("a term renewed every fifth of its TTL was lost")
				}
				if res.Err == nil {
					l.extended(t0, res.Granted)
					if least := r.h.TTL - a.info.Shortening - r.h.TTL/4; res.Granted < least && !late {
						r.Errorf("a renewal on time was granted %v of %v; declared is a shortening of %v", res.Granted, r.h.TTL, a.info.Shortening)
					}
				}
				if time.Now().Before(l.goodUntil().Add(-r.h.TTL / 4)) {
					b.mustBeHeld(r.request(l.Group, "other"))
				}
			}
			l.mustLead("after 2.5 TTLs of renewals")
		},
	},
	{
		ID:       "REN-never-shortens",
		Title:    "a renewal with less time leaves the longer expiry",
		Promise:  "A renewal never moves an expiry backwards, whatever its TTL and whenever it executes.",
		expiries: 8,
		applies: func(_ driver.Driver, info driver.Info) string {
			if info.MaxTTL > 0 && info.MaxTTL == info.MinTTL {
				return "the backend knows one TTL only"
			}
			return ""
		},
		body: func(r *run) {
			a, b := r.client(), r.client()
			req := r.request(r.group(), "holder")
			req.TTL = 2 * r.h.TTL
			if a.info.MaxTTL > 0 {
				req.TTL = min(req.TTL, a.info.MaxTTL)
			}
			l := a.mustAcquire(req)
			for _, ttl := range []time.Duration{r.h.TTL, max(r.h.TTL/2, a.info.MinTTL).Truncate(max(a.info.TTLGranularity, 1))} {
				if err := l.renewTTL(ttl, nil); err != nil {
					r.Fatalf("Renew with a TTL of %v: %v", ttl, err)
				}
			}
			next := b.takeover(l.Group, "next", a.info.WorstCaseExpiry(req.TTL)+r.slack())
			r.notEarly(l.goodUntil(), next, "after renewals with less time")
		},
	},
	{
		ID:       "REN-order",
		Title:    "an old renewal that executes last does not shorten a newer one",
		Promise:  "A renewal that was held up by somebody's lock and executes after a newer one leaves the newer expiry in place.",
		Needs:    []Power{PowerLock},
		expiries: 8,
		body: func(r *run) {
			a, b := r.client(), r.client()
			blocked, free := a.win(r.group(), "holder"), a.win(r.group(), "holder")
			unlock := r.h.LockRecord(r, blocked.Group)
			old := make(chan struct{})
			go func() {
				defer close(old)
				ctx, cancel := a.context()
				defer cancel()
				a.renewCtx(ctx, []driver.RenewRequest{{Term: blocked.Term, TTL: r.h.TTL}, {Term: free.Term, TTL: r.h.TTL}})
			}()
			r.pause(r.h.TTL / 4) // the older batch is on its way, or waits
			free.mustRenew()
			unlock()
			<-old
			next := b.takeover(free.Group, "next", r.worst(b.info)+r.slack())
			r.notEarly(free.goodUntil(), next, "after an older renewal executed last")
		},
	},
	{
		ID:      "REN-never-held",
		Title:   "renewing what was never held is a loss and creates nothing",
		Promise: "Renew never creates a record: of a nonce the group does not have it answers ErrLost, in an empty group too.",
		body: func(r *run) {
			a := r.client()
			ghost := &lease{c: a, Term: driver.Term{Group: r.group(), Participant: "ghost", Token: 7, Nonce: driver.NewNonce()}}
			ghost.mustBeLost("it never began")
			a.mustBeFree(ghost.Group, "after renewing a term that never began")
			l := a.win(ghost.Group, "holder")
			ghost.mustBeLost("another term is live")
			l.mustLead("after renewing a term that never began")
		},
	},
	{
		ID:      "REN-after-resign",
		Title:   "renewing a resigned term is a loss and creates nothing",
		Promise: "A renewal that executes after the Resign of its term answers ErrLost and does not bring the term back, nor does it touch a successor.",
		body: func(r *run) {
			a, b := r.client(), r.client()
			l := a.win(r.group(), "holder")
			l.mustResign()
			l.mustBeLost("it resigned")
			b.mustBeFree(l.Group, "after renewing a resigned term")
			next := b.win(l.Group, "next")
			l.mustBeLost("it resigned and another leads")
			next.mustLead("after renewing a resigned term")
		},
	},
	{
		ID:       "REN-after-taken",
		Title:    "renewing after another has led is a loss, whoever leads now",
		Promise:  "Once another term has begun, the older one cannot be renewed: not while the successor lives, not after it has resigned or expired.",
		expiries: 8,
		body: func(r *run) {
			a, b := r.client(), r.client()
			l := a.win(r.group(), "holder")
			next := b.takeover(l.Group, "next", r.worst(b.info)+r.slack())
			until := next.goodUntil()
			l.mustBeLost("another leads")
			next.mustLead("after the expired leader tried to renew")
			if err := next.settled(nil); err != nil && time.Now().Before(until) {
				r.Errorf("the successor cannot renew: %v", err)
			}
			next.mustResign()
			l.mustBeLost("another led and resigned")
			b.mustBeFree(l.Group, "after the expired leader tried to renew")
		},
	},
	{
		ID:      "REN-other-nonce",
		Title:   "a participant that led again cannot renew its earlier term",
		Promise: "Operations are scoped to the nonce: the same participant, having resigned and won again, cannot renew its first term, and trying leaves the second alone.",
		body: func(r *run) {
			a := r.client()
			first := a.win(r.group(), "same")
			first.mustResign()
			second := a.win(first.Group, "same")
			if err := first.settled(map[string]string{"stale": "yes"}); !errors.Is(err, driver.ErrLost) {
				r.Fatalf("Renew of the participant's earlier term: want ErrLost, got %v", err)
			}
			second.mustLead("after its participant's earlier term was renewed")
			wantMetadata(r, a, second.Group, nil)
		},
	},
	{
		ID:       "REN-expired-untaken",
		Title:    "renewing an expired term is a loss, unless declared otherwise",
		Promise:  "After the expiry a renewal answers ErrLost and creates nothing. Where the backend declares RenewExpired it may succeed while nobody else has led, and then the term is as live as any.",
		expiries: 6,
		body: func(r *run) {
			a, b := r.client(), r.client()
			l := a.win(r.group(), "holder")
			r.eventually(r.worst(a.info)+r.slack(), "Leader sees that the term has expired", func() bool { return a.leader(l.Group) == nil })
			err := l.settled(nil)
			switch {
			case errors.Is(err, driver.ErrLost):
				b.mustBeFree(l.Group, "after renewing an expired term")
			case err == nil && a.info.RenewExpired:
				l.mustLead("after its expired term was renewed")
				b.mustBeHeld(r.request(l.Group, "other"))
			case err == nil:
				r.Errorf("an expired term was renewed although the backend does not declare RenewExpired")
			default:
				r.Errorf("Renew of an expired term: want ErrLost, got %v", err)
			}
		},
	},
	{
		ID:      "REN-token",
		Title:   "metadata changes; token and acquired-at stay",
		Promise: "A renewal with metadata replaces it, one without leaves it, an empty map clears it; none of them changes the token or the time the term began.",
		body: func(r *run) {
			a, b := r.client(), r.client()
			l := a.win(r.group(), "holder")
			began := l.grant.AcquiredAt
			if rec := b.leader(l.Group); rec != nil {
				began = rec.AcquiredAt
			}
			check := func(metadata, want map[string]string) {
				if err := l.settled(metadata); err != nil {
					r.Fatalf("Renew with metadata %q: %v", metadata, err)
				}
				wantMetadata(r, b, l.Group, want)
				l.mustLead("after its metadata changed")
				if rec := b.leader(l.Group); rec != nil && !rec.AcquiredAt.Equal(began) {
					r.Errorf("acquired-at moved from %v to %v with metadata %q", began, rec.AcquiredAt, metadata)
				}
			}
			check(map[string]string{"a": "1"}, map[string]string{"a": "1"})
			check(nil, map[string]string{"a": "1"})
			check(map[string]string{"b": "2", "c": ""}, map[string]string{"b": "2", "c": ""})
			check(map[string]string{}, nil)
			check(nil, nil)
			req := driver.AcquireRequest{Group: l.Group, Participant: l.Participant, Nonce: l.Nonce, TTL: r.h.TTL}
			if again, err := a.acquire(req); err != nil || again.Token != l.Token {
				r.Errorf("the attempt repeated after metadata changes: %v, %v; want token %d", again, err, l.Token)
			}
		},
	},
}

// recordRules are about records that somebody removed or replaced.
var recordRules = []Rule{
	{
		ID:      "REN-removed",
		Title:   "a leader whose record was removed loses the term",
		Promise: "When the record is deleted under a leader, its next renewal answers ErrLost and does not re-create it, also while the same client and session hold other terms.",
		Needs:   []Power{PowerRemove},
		body: func(r *run) {
			a, b := r.client(), r.client()
			l, other := a.win(r.group(), "holder"), a.win(r.group(), "holder")
			r.h.RemoveRecord(r, l.Group)
			res := a.renewBatch(l, other)
			if !errors.Is(res[0], driver.ErrLost) {
				l.mustBeLost("its record was removed")
			}
			if res[1] != nil {
				other.mustRenew()
			}
			b.mustBeFree(l.Group, "after renewing a term whose record was removed")
			other.mustLead("after another group's record was removed")
			if err := a.resign(l.Term); !errors.Is(err, driver.ErrLost) {
				r.Errorf("Resign of a term whose record was removed: want ErrLost, got %v", err)
			}
		},
	},
	{
		ID:       "REN-replaced",
		Title:    "a leader whose record was removed and taken by another loses the term",
		Promise:  "When the record of a live term is replaced by another's, the earlier leader learns ErrLost from its next renewal and the new leader is not disturbed, also under a session that other terms keep alive.",
		Needs:    []Power{PowerRemove},
		expiries: 6,
		body: func(r *run) {
			a, b := r.client(), r.client()
			l, other := a.win(r.group(), "holder"), a.win(r.group(), "holder")
			defer r.keep(other)()
			r.h.RemoveRecord(r, l.Group)
			next := b.takeover(l.Group, "next", r.worst(b.info)+20*time.Second) // a store may fear data loss and wait
			stop := r.keep(next)
			l.mustBeLost("its record belongs to another")
			if err := a.resign(l.Term); !errors.Is(err, driver.ErrLost) {
				r.Errorf("Resign of a replaced term: want ErrLost, got %v", err)
			}
			next.mustLead("after the replaced leader renewed and resigned")
			stop()
		},
	},
	{
		ID:       "REN-corrupt",
		Title:    "a record that no driver wrote is nobody's term",
		Promise:  "When somebody else's program overwrites the record, the leader's renewals stop succeeding and say ErrLost, they do not repair it, and nobody is granted the group before the leader's lease has run out.",
		Needs:    []Power{PowerCorrupt},
		expiries: 6,
		body: func(r *run) {
			a, b := r.client(), r.client()
			l := a.win(r.group(), "holder")
			r.h.CorruptRecord(r, l.Group)
			if err := l.settled(nil); err == nil {
				r.Errorf("Renew succeeded on a record that no driver wrote")
			} else if !errors.Is(err, driver.ErrLost) {
				r.Errorf("Renew on a record that no driver wrote: want ErrLost, got %v", err)
			}
			ctx, cancel := b.context()
			defer cancel()
			if rec, err := b.Leader(ctx, l.Group); err == nil && rec.Nonce == l.Nonce {
				r.Errorf("Leader still tells the overwritten term: %v", rec.Term)
			}
			for time.Now().Before(l.goodUntil()) && r.ctx.Err() == nil {
				if next, err := b.acquire(r.request(l.Group, "next")); err == nil {
					r.notEarly(l.goodUntil(), next, "after the record was overwritten")
					return
				}
				r.pause(r.tick())
			}
		},
	},
}

// renewBatch renews leases in one batch, as large as the backend takes.
func (c *client) renewBatch(leases ...*lease) []error {
	out := make([]error, 0, len(leases))
	size := max(c.info.RenewBatch, 1)
	for len(leases) > 0 {
		n := min(size, len(leases))
		reqs := make([]driver.RenewRequest, n)
		for i, l := range leases[:n] {
			reqs[i] = driver.RenewRequest{Term: l.Term, TTL: c.r.h.TTL}
		}
		t0 := time.Now()
		for i, res := range c.renewAll(reqs...) {
			if res.Err == nil {
				leases[i].extended(t0, res.Granted)
			}
			out = append(out, res.Err)
		}
		leases = leases[n:]
	}
	return out
}
