package conformance

import (
	"fmt"
	"sync"
	"time"
)

var fenceRules = []Rule{
	{
		ID:      "FEN-resign",
		Title:   "tokens increase over a hundred resigned terms",
		Promise: "Every term has a token strictly greater than that of every earlier term of its group, also across Resign and when the same participant leads again.",
		body: func(r *run) {
			cs := r.clients(3)
			group := r.group()
			var last *lease
			for i := range 100 {
				who := "same"
				if i%3 == 0 {
					who = fmt.Sprintf("p%d", i)
				}
				l := cs[i%7%3].takeover(group, who, r.slack())
				if last != nil {
					r.newer(last, l)
				}
				l.mustResign()
				last = l
			}
		},
	},
	{
		ID:       "FEN-expiry",
		Title:    "tokens increase over terms that expired",
		Promise:  "A term that begins after another expired has a greater token, whether the same or another participant and client wins it.",
		expiries: 12,
		body: func(r *run) {
			a, b := r.client(), r.client()
			group := r.group()
			last := a.win(group, "same")
			for i, c := range []*client{b, b, a} {
				l := c.takeover(group, "same", r.worst(c.info)+r.slack())
				r.newer(last, l)
				if i == 0 {
					l.mustRenew() // a renewal must not touch the counter
				}
				last = l
			}
			last.mustLead("after three expiries")
		},
	},
	{
		ID:      "FEN-leader",
		Title:   "everybody sees the token that was granted",
		Promise: "Leader and HeldError tell the same token as the grant, before and after renewals.",
		body: func(r *run) {
			a, b := r.client(), r.client()
			for range 5 {
				l := a.win(r.group(), "holder")
				l.mustRenew()
				if rec := b.leader(l.Group); rec == nil || rec.Token != l.Token {
					r.Errorf("Leader tells %+v, granted was token %d", rec, l.Token)
				}
				if rec := b.mustBeHeld(r.request(l.Group, "other")); rec.Participant != "" && rec.Token != l.Token {
					r.Errorf("HeldError tells token %d, granted was %d", rec.Token, l.Token)
				}
			}
		},
	},
	{
		ID:      "FEN-churn",
		Title:   "tokens increase while many clients take turns",
		Promise: "Under contention each grant has a greater token than every term that had ended before its attempt was sent, and no two terms share one.",
		body: func(r *run) {
			group := r.group()
			var mu sync.Mutex
			var ended uint64 // greatest token of a term known to have ended
			seen := map[uint64]bool{}
			var wg sync.WaitGroup
			for i, c := range r.clients(4) {
				wg.Go(func() {
					for range 25 {
						mu.Lock()
						least := ended
						mu.Unlock()
						l, err := c.acquire(r.request(group, fmt.Sprintf("p%d", i)))
						if err != nil {
							r.pause(time.Millisecond)
							continue
						}
						mu.Lock()
						if l.Token <= least {
							r.violation("token %d was granted after the term with token %d had ended", l.Token, least)
						}
						if seen[l.Token] {
							r.violation("token %d was granted twice", l.Token)
						}
						seen[l.Token] = true
						mu.Unlock()
						if err := c.resign(l.Term); err == nil {
							mu.Lock()
							ended = max(ended, l.Token)
							mu.Unlock()
						}
					}
				})
			}
			wg.Wait()
			if len(seen) < 4 {
				r.Errorf("only %d of 100 attempts were granted although terms were resigned at once", len(seen))
			}
		},
	},
	{
		ID:       "FEN-reopen",
		Title:    "tokens increase when every client is closed and opened again",
		Promise:  "The counter lives in the store, not in a client: terms of freshly opened clients have greater tokens, whether the earlier term was resigned or its client simply went away.",
		expiries: 6,
		body: func(r *run) {
			group := r.group()
			var last *lease
			for i := range 6 {
				c := r.client()
				l := c.takeover(group, "same", r.worst(c.info)+r.slack())
				if last != nil {
					r.newer(last, l)
				}
				if i != 3 {
					l.mustResign()
				}
				if err := c.raw.Close(); err != nil {
					r.Errorf("Close: %v", err)
				}
				last = l
			}
		},
	},
	{
		ID:       "FEN-restart",
		Title:    "tokens increase across a restart of the store",
		Promise:  "A restart that keeps acknowledged writes keeps the counter.",
		Needs:    []Power{PowerRestart},
		expiries: 8,
		body: func(r *run) {
			group := r.group()
			last := r.client().win(group, "same")
			for range 2 {
				last.mustResign()
				r.h.Restart(r)
				c := r.client()
				l := c.takeover(group, "same", r.worst(c.info)+30*time.Second)
				r.newer(last, l)
				last = l
			}
		},
	},
	{
		ID:       "FEN-loss",
		Title:    "tokens increase when the store lost all its data",
		Promise:  "Where the store loses everything, order rests on its clock: the first term afterwards has a greater token than any before.",
		Needs:    []Power{PowerLoseData},
		expiries: 8,
		body: func(r *run) {
			group := r.group()
			c := r.client()
			var last *lease
			for range 3 {
				last = c.win(group, "same")
				last.mustResign()
			}
			r.settleClock()
			r.h.LoseData(r)
			after := r.client()
			r.newer(last, after.takeover(group, "same", r.worst(after.info)+60*time.Second))
		},
	},
	{
		ID:       "FEN-removed",
		Title:    "tokens increase when the group's record was removed",
		Promise:  "After somebody deleted all that the store knew about a group, its next term has a greater token than any before.",
		Needs:    []Power{PowerRemove},
		expiries: 4,
		body: func(r *run) {
			c := r.client()
			group := r.group()
			var last *lease
			for range 3 {
				last = c.win(group, "same")
				last.mustResign()
			}
			r.settleClock()
			r.h.RemoveRecord(r, group)
			r.newer(last, c.takeover(group, "same", r.worst(c.info)+30*time.Second))
		},
	},
	{
		ID:       "FEN-restored",
		Title:    "tokens increase when an older copy of the data was put back",
		Promise:  "After a restore of an older backup the next term has a greater token than those that the backup does not know.",
		Needs:    []Power{PowerSnapshot},
		expiries: 8,
		body: func(r *run) {
			c := r.client()
			group := r.group()
			first := c.win(group, "same")
			first.mustResign()
			restore := r.h.Snapshot(r)
			var last *lease
			for range 5 {
				last = c.win(group, "same")
				last.mustResign()
			}
			r.settleClock()
			restore(r)
			after := r.client()
			r.newer(last, after.takeover(group, "same", r.worst(after.info)+60*time.Second))
		},
	},
	{
		ID:      "FEN-idle",
		Title:   "a group idle for years works, and its tokens increase",
		Promise: "No time span is too long for the store's arithmetic: after 25 days and after 30 years without a term the group can be won and its token is greater.",
		Needs:   []Power{PowerAge},
		body: func(r *run) {
			c := r.client()
			for _, idle := range []time.Duration{25 * 24 * time.Hour, 30 * 365 * 24 * time.Hour} {
				for _, resigned := range []bool{true, false} {
					last := c.win(r.group(), "same")
					if resigned {
						last.mustResign()
					}
					r.h.Age(r, last.Group, idle)
					c.mustBeFree(last.Group, "after a long idle time")
					l := c.takeover(last.Group, "same", r.slack())
					r.newer(last, l)
					l.mustRenew()
					l.mustLead("after a long idle time")
				}
			}
		},
	},
	{
		ID:      "FEN-large",
		Title:   "tokens stay exact beyond 2^53",
		Promise: "Tokens are whole numbers of 64 bits: around 2^53, where floating point stops telling neighbours apart, they still increase by what was granted and are read back exactly.",
		Needs:   []Power{PowerToken},
		body: func(r *run) {
			a, b := r.client(), r.client()
			first := a.win(r.group(), "same")
			first.mustResign()
			const edge = 1<<53 - 2
			r.h.SetToken(r, first.Group, edge)
			last := uint64(edge)
			for range 6 {
				l := a.win(first.Group, "same")
				if l.Token <= last {
					r.violation("token %d was granted after %d", l.Token, last)
				}
				l.mustRenew()
				if rec := b.leader(l.Group); rec == nil || rec.Token != l.Token {
					r.Errorf("Leader tells %+v, granted was token %d", rec, l.Token)
				}
				last = l.Token
				l.mustResign()
			}
		},
	},
}

// settleClock lets the store's clock pass the tokens given so far: order after a
// loss rests on it, and a burst of terms may be some microseconds ahead.
func (r *run) settleClock() { r.pause(50 * time.Millisecond) }
