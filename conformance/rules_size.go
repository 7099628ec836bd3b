package conformance

import (
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

var sizeRules = []Rule{
	{
		ID:       "SIZ-leader",
		Title:    "one renewal per heartbeat for all terms of a process",
		Promise:  "A process that leads many groups sends one batch of renewals per heartbeat (as many as the declared batch size needs), and nothing else.",
		expiries: 8,
		body: func(r *run) {
			n := r.node()
			const groups = 10
			var es []elector
			for range groups {
				e := n.elector(r.group())
				r.start(e)
				es = append(es, e)
			}
			for _, e := range es {
				r.leads(n, e)
			}
			r.pause(r.h.TTL) // the terms have aligned
			renews, all := n.f.count("renew"), n.f.total()
			start := time.Now()
			r.pause(2 * r.h.TTL)
			renews, all = n.f.count("renew")-renews, n.f.total()-all
			margin := max(10*time.Millisecond, r.h.TTL/100, min(r.h.TTL/10, time.Second))
			heartbeat := (r.h.TTL - margin - n.info.Shortening) / 3
			beats := int(time.Since(start)/heartbeat) + 1
			batches := (groups + max(n.info.RenewBatch, 1) - 1) / max(n.info.RenewBatch, 1)
			// A busy machine may split a batch or hedge one now and then.
			if most := (beats + 1) * batches * 3 / 2; renews > most {
				r.Errorf("%d batches of renewals in %d heartbeats for %d groups; at most %d were expected", renews, beats, groups, most)
			}
			if renews < 3*batches {
				r.Errorf("only %d batches of renewals in %d heartbeats", renews, beats)
			}
			if extra := all - renews; extra > 2 {
				r.Errorf("a process that only leads sent %d requests besides its renewals", extra)
			}
			for _, e := range es {
				r.stop(e)
			}
		},
	},
	{
		ID:       "SIZ-follower",
		Title:    "a follower is nearly silent",
		Promise:  "A follower tries again about when the lease it saw runs out: no more than TTL/(TTL - heartbeat) attempts per TTL, or the declared polls.",
		expiries: 8,
		body: func(r *run) {
			a, b := r.node(), r.node()
			group := r.group()
			ea, eb := a.elector(group), b.elector(group)
			r.start(ea)
			r.leads(a, ea)
			r.start(eb)
			r.pause(r.h.TTL / 2)
			before := b.f.total()
			const ttls = 4
			start := time.Now()
			r.pause(ttls * r.h.TTL)
			sent := b.f.total() - before
			spent := int(time.Since(start)/r.h.TTL) + 1
			most := spent*2 + 3
			if d := b.info.PollDivisor; d > 0 {
				most = spent*(d+1) + 3
			}
			if sent > most {
				r.Errorf("a follower sent %d requests in %d TTLs; at most %d were expected", sent, ttls, most)
			}
			r.stop(eb)
			r.stop(ea)
		},
	},
	{
		ID:       "SIZ-handover",
		Title:    "a handover costs one attempt per follower",
		Promise:  "After a Resign each follower that is woken tries about once: with N followers at most N + 1 attempts, and a little for a busy machine.",
		expiries: 8,
		applies: func(_ driver.Driver, info driver.Info) string {
			if !info.PushOnResign {
				return "the backend declares no push on resign: followers poll"
			}
			return ""
		},
		body: func(r *run) {
			const followers = 6
			lead := r.node()
			group := r.group()
			w := r.witness()
			leader := w.campaign(lead, group)
			first := w.leads(0, r.recovery(lead), "the first elector leads")
			var ns []*node
			for range followers {
				n := r.node()
				w.campaign(n, group)
				ns = append(ns, n)
			}
			r.pause(r.h.TTL / 2)
			before := 0
			for _, n := range ns {
				before += n.f.count("acquire")
			}
			start := time.Now()
			leader.stop()
			w.leads(first.token, r.failover(lead), "a follower leads")
			r.pause(r.h.TTL / 4)
			after := 0
			for _, n := range ns {
				after += n.f.count("acquire")
			}
			// Attempts that were due anyway while this took its time are not the handover's.
			due := followers * 2 * int(time.Since(start)/r.h.TTL)
			if sent := after - before; sent > 2*followers+1+due {
				r.Errorf("%d attempts by %d followers for one handover", sent, followers)
			}
			w.check()
		},
	},
	{
		ID:       "SIZ-network",
		Title:    "requests on the network are what the driver was asked for",
		Promise:  "What a client sends to the store is in proportion to the calls of the driver: no hidden polling, no request per group where one per batch is declared.",
		Needs:    []Power{PowerRequests},
		expiries: 8,
		body: func(r *run) {
			n := r.node()
			const groups = 10
			var es []elector
			for range groups {
				e := n.elector(r.group())
				r.start(e)
				es = append(es, e)
			}
			for _, e := range es {
				r.leads(n, e)
			}
			r.pause(r.h.TTL)
			calls, requests := n.f.total(), r.h.Requests()
			r.pause(2 * r.h.TTL)
			calls, requests = n.f.total()-calls, r.h.Requests()-requests
			// Confirmations, pings of sessions and long polls are a few per heartbeat.
			if most := int64(4*calls + 20); requests > most {
				r.Errorf("%d requests were sent for %d calls of the driver while leading %d groups; at most %d were expected", requests, calls, groups, most)
			}
			for _, e := range es {
				r.stop(e)
			}
		},
	},
}
