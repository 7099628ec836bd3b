package conformance

import (
	"errors"
	"fmt"

	"github.com/multilock/multilock-go/core/driver"
)

var resignRules = []Rule{
	{
		ID:      "RES-frees",
		Title:   "after a resign another can lead at once",
		Promise: "Resign ends the term so that the very next attempt of another succeeds, with a greater token.",
		body: func(r *run) {
			a, b := r.client(), r.client()
			l := a.win(r.group(), "holder")
			l.mustResign()
			b.mustBeFree(l.Group, "after Resign")
			next := b.takeover(l.Group, "next", r.slack())
			r.newer(l, next)
		},
	},
	{
		ID:      "RES-twice",
		Title:   "resigning twice is harmless",
		Promise: "A repeated Resign answers ErrLost and changes nothing, before and after a successor leads.",
		body: func(r *run) {
			a, b := r.client(), r.client()
			l := a.win(r.group(), "same")
			l.mustResign()
			lost(r, a.resign(l.Term), "a repeated Resign")
			next := b.win(l.Group, "same") // the same participant: only the nonce tells them apart
			lost(r, a.resign(l.Term), "a repeated Resign beside a successor")
			next.mustLead("after its predecessor resigned again")
			next.mustRenew()
		},
	},
	{
		ID:       "RES-late",
		Title:    "a late resign of an expired term touches no successor",
		Promise:  "Resign ends exactly its own term: of one that expired and was taken it answers ErrLost, even if the successor has the same participant, and the successor leads on.",
		expiries: 6,
		body: func(r *run) {
			a, b := r.client(), r.client()
			l := a.win(r.group(), "same")
			next := b.takeover(l.Group, "same", r.worst(b.info)+r.slack())
			stop := r.keep(next)
			lost(r, a.resign(l.Term), "Resign of an expired term beside a successor")
			next.mustLead("after its predecessor's late Resign")
			stop()
		},
	},
	{
		ID:      "RES-reacquired",
		Title:   "a late resign does not end the same client's next term",
		Promise: "A Resign of the first term delivered after the same client and participant won again leaves the second term alone.",
		body: func(r *run) {
			a, b := r.client(), r.client()
			first := a.win(r.group(), "same")
			first.mustResign()
			second := a.win(first.Group, "same")
			stale := first.Term
			lost(r, a.resign(stale), "a late Resign of the earlier term")
			stale.Token = second.Token // a token proves nothing
			lost(r, a.resign(stale), "a Resign with the earlier nonce and the newer token")
			second.mustLead("after a late Resign of its client's earlier term")
			b.mustBeHeld(r.request(first.Group, "other"))
		},
	},
	{
		ID:      "RES-unknown-token",
		Title:   "a term can be resigned by its nonce alone",
		Promise: "Ownership hangs on the nonce: an attempt whose reply was lost is given up by a Resign without a token.",
		body: func(r *run) {
			a, b := r.client(), r.client()
			l := a.win(r.group(), "holder")
			term := l.Term
			term.Token = 0
			if err := a.resign(term); err != nil {
				r.Fatalf("Resign of a live term whose token its sender never learned: %v", err)
			}
			b.mustBeFree(l.Group, "after Resign by nonce")
			r.newer(l, b.takeover(l.Group, "next", r.slack()))
		},
	},
	{
		ID:      "RES-nothing",
		Title:   "resigning what was never held changes nothing",
		Promise: "Resign of a term that never began answers ErrLost, creates nothing and does not hinder the next attempt.",
		body: func(r *run) {
			a, b := r.client(), r.client()
			ghost := driver.Term{Group: r.group(), Participant: "ghost", Token: 1, Nonce: driver.NewNonce()}
			lost(r, a.resign(ghost), "Resign in an empty group")
			l := b.win(ghost.Group, "holder")
			lost(r, a.resign(ghost), "Resign of a term that never began")
			l.mustLead("after somebody resigned a term that never began")
			for i := range 3 {
				stranger := l.Term
				stranger.Nonce = driver.NewNonce()
				lost(r, b.resign(stranger), fmt.Sprintf("Resign %d with the right token and a strange nonce", i))
			}
			l.mustLead("after Resigns with its token and a strange nonce")
		},
	},
	{
		ID:       "RES-expired",
		Title:    "resigning an expired term changes nothing",
		Promise:  "Of a term that is not live any more Resign answers ErrLost; the next term has a greater token all the same.",
		expiries: 6,
		body: func(r *run) {
			a, b := r.client(), r.client()
			l := a.win(r.group(), "holder")
			r.eventually(r.worst(a.info)+r.slack(), "Leader sees that the term has expired", func() bool { return a.leader(l.Group) == nil })
			if err := a.resign(l.Term); !errors.Is(err, driver.ErrLost) && !(err == nil && a.info.RenewExpired) {
				r.Errorf("Resign of an expired term: want ErrLost, got %v", err)
			}
			r.newer(l, b.takeover(l.Group, "next", r.worst(b.info)+r.slack()))
		},
	},
}

func lost(r *run, err error, what string) {
	if !errors.Is(err, driver.ErrLost) {
		r.Errorf("%s: want ErrLost, got %v", what, err)
	}
}
