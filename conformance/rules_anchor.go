package conformance

import (
	"errors"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

// anchorRules are about attempts whose reply was lost: repeated, late and
// duplicated ones.
var anchorRules = []Rule{
	{
		ID:      "ACQ-retry",
		Title:   "a repeated attempt finds its own term",
		Promise: "An attempt repeated with the same nonce while its term is live is granted the same token and acquired-at, and makes no second term.",
		body: func(r *run) {
			c, other := r.client(), r.client()
			req := r.request(r.group(), "holder")
			req.Metadata = map[string]string{"k": "v"}
			first := c.mustAcquire(req)
			r.pause(r.h.TTL / 10)
			again, err := c.acquire(req)
			if err != nil {
				r.Fatalf("the attempt repeated with the same nonce: %v", err)
			}
			if again.Token != first.Token {
				r.Errorf("the repeated attempt was given token %d, the first %d", again.Token, first.Token)
			}
			if !again.grant.AcquiredAt.Equal(first.grant.AcquiredAt) {
				r.Errorf("the repeated attempt tells acquired-at %v, the first %v", again.grant.AcquiredAt, first.grant.AcquiredAt)
			}
			other.mustBeHeld(r.request(req.Group, "other"))
			again.mustLead("after a repeated attempt")
			wantMetadata(r, other, req.Group, req.Metadata)
		},
	},
	{
		ID:       "ACQ-anchor",
		Title:    "the grant of a repeated attempt is no longer than the store keeps it",
		Promise:  "When the reply to an Acquire was lost and it is repeated late, the term is extended, and the lifetime told by the second reply really is the store's: nobody else is granted the group before it has run out.",
		expiries: 6,
		body: func(r *run) {
			a, b := r.client(), r.client()
			req := r.request(r.group(), "holder")
			first := a.mustAcquire(req)
			r.pauseUntil(first.reply.Add(r.h.TTL * 8 / 10))
			retry, err := a.acquire(req)
			if err != nil {
				var held *driver.HeldError
				if errors.As(err, &held) {
					r.Fatalf("the attempt repeated at 0.8 of the TTL found its own term held by another: %v", err)
				}
				r.Fatalf("the attempt repeated at 0.8 of the TTL: %v", err)
			}
			if least := r.h.TTL - a.info.Shortening - r.h.TTL/4; retry.Token == first.Token && retry.grant.Granted < least {
				r.Errorf("the repeated attempt was granted %v of %v: its term was not extended; declared is a shortening of %v", retry.grant.Granted, r.h.TTL, a.info.Shortening)
			}
			next := b.takeover(req.Group, "next", r.worst(b.info)+r.slack())
			r.notEarly(retry.goodUntil(), next, "after the repeated attempt")
		},
	},
	{
		ID:       "ACQ-expired-taken",
		Title:    "the nonce of an expired term, after another has led, begins a new term",
		Promise:  "An attempt with the nonce of an expired term is no success of its own past: after another term its token is greater than that one's.",
		expiries: 6,
		body: func(r *run) {
			a, b := r.client(), r.client()
			req := r.request(r.group(), "first")
			first := a.mustAcquire(req)
			second := b.takeover(req.Group, "second", r.worst(b.info)+r.slack())
			a.mustBeHeld(req)
			second.mustRenew()
			second.mustResign()
			third, err := a.acquire(req)
			if err != nil {
				r.Fatalf("Acquire of a free group with the nonce of a long expired term: %v", err)
			}
			r.newer(first, second)
			r.newer(second, third)
		},
	},
	{
		ID:       "ACQ-expired-untaken",
		Title:    "the nonce of an expired term that nobody took begins a new term",
		Promise:  "An expired record is never a repeated attempt's own success: the result is a new term with a greater token.",
		expiries: 6,
		body: func(r *run) {
			a := r.client()
			req := r.request(r.group(), "holder")
			first := a.mustAcquire(req)
			r.eventually(r.worst(a.info)+r.slack(), "Leader sees that the term has expired", func() bool { return a.leader(req.Group) == nil })
			again := a.takeoverWith(req, r.worst(a.info)+r.slack())
			r.newer(first, again)
			again.mustLead("after the nonce of an expired term was used again")
		},
	},
	{
		ID:       "ACQ-late",
		Title:    "an attempt nobody waits for any more blocks the group no longer than declared",
		Promise:  "If an Acquire executes after its sender gave up, the group is free again within the declared worst case (one TTL more where a session is shared), although the same client keeps other terms alive.",
		expiries: 6,
		body: func(r *run) {
			a, b := r.client(), r.client()
			kept := a.win(r.group(), "kept")
			stop := r.keep(kept)
			orphan := a.mustAcquire(r.request(r.group(), "gave-up")) // the kit forgets it here
			next := b.takeover(orphan.Group, "next", r.worst(b.info)+r.h.TTL+r.slack())
			r.newer(orphan, next)
			stop()
			kept.mustRenew()
		},
	},
	{
		ID:      "ACQ-after-resign",
		Title:   "a late duplicate of a resigned attempt makes no orphan",
		Promise: "The store remembers the nonce that resigned last and refuses an Acquire with it, so that a duplicate on the network cannot lead for nobody.",
		body: func(r *run) {
			a, b := r.client(), r.client()
			req := r.request(r.group(), "holder")
			l := a.mustAcquire(req)
			l.mustResign()
			if again, err := a.acquire(req); !errors.Is(err, driver.ErrResigned) {
				r.Errorf("Acquire with the nonce that resigned last: want ErrResigned, got %v, %v", again, err)
			}
			b.mustBeFree(req.Group, "after a duplicate of the resigned attempt")
			next := b.takeover(req.Group, "next", r.slack())
			r.newer(l, next)
			if again, err := a.acquire(req); err == nil {
				r.Errorf("Acquire with a resigned nonce beside a live successor succeeded: %v", again.Term)
			}
			next.mustLead("after a duplicate of the resigned attempt")
		},
	},
	{
		ID:       "ACQ-overtaken",
		Title:    "a Resign that overtakes its Acquire costs at most one worst-case expiry",
		Promise:  "If a Resign arrives before the Acquire it gives up, it answers ErrLost and changes nothing, and the late term ends by itself within the declared bound.",
		expiries: 6,
		body: func(r *run) {
			a, b := r.client(), r.client()
			req := r.request(r.group(), "gave-up")
			err := a.resign(driver.Term{Group: req.Group, Participant: req.Participant, Nonce: req.Nonce})
			if !errors.Is(err, driver.ErrLost) {
				r.Errorf("Resign of a term that never began: want ErrLost, got %v", err)
			}
			if l, err := a.acquire(req); err != nil && !errors.Is(err, driver.ErrResigned) {
				r.Errorf("the Acquire that was overtaken: %v, %v", l, err)
			}
			b.takeover(req.Group, "next", r.worst(b.info)+r.h.TTL+r.slack())
		},
	},
}

// takeoverWith repeats one request until it is granted.
func (c *client) takeoverWith(req driver.AcquireRequest, patience time.Duration) *lease {
	end := time.Now().Add(patience)
	for {
		l, err := c.acquire(req)
		if err == nil {
			return l
		}
		if time.Now().After(end) || c.r.ctx.Err() != nil {
			c.r.Fatalf("%s was not granted within %v: %v", req.Group, patience, err)
		}
		c.r.pause(c.r.tick())
	}
}
