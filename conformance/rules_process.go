package conformance

import (
	"runtime"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

var processRules = []Rule{
	{
		ID:       "FAIL-exit",
		Title:    "a leader process that stops in order",
		Promise:  "A process that ends its election in order lets another process lead soon.",
		Needs:    []Power{PowerProcess},
		expiries: 6,
		body: func(r *run) {
			w := r.witness()
			n := r.node()
			group := r.group()
			ttl, patience, long := r.handover(n)
			c := w.spawn("child", group, ttl)
			first := w.leads(0, r.recovery(n), "the child process leads")
			w.campaign(n, group, long)
			r.pause(10 * r.tick())
			c.say("stop")
			w.leads(first.token, patience, "another process leads after the child stopped")
			r.eventually(callLimit, "the child has stopped in order", func() bool { return len(c.heard("stopped", 0)) > 0 })
			w.check()
		},
	},
	{
		ID:       "FAIL-kill",
		Title:    "a leader process killed with -9",
		Promise:  "When a leader's process is killed, another leads within the declared worst case, with a greater token.",
		Needs:    []Power{PowerProcess},
		expiries: 12,
		body: func(r *run) {
			w := r.witness()
			n := r.node()
			group := r.group()
			c := w.spawn("child", group, r.h.TTL)
			first := w.leads(0, r.recovery(n), "the child process leads")
			other := w.campaign(n, group)
			r.pause(r.h.TTL / 2)
			killed := time.Now()
			if err := c.cmd.Process.Kill(); err != nil {
				r.Fatalf("kill: %v", err)
			}
			next := w.leads(first.token, r.failover(n), "another process leads after kill -9")
			r.Logf("another process led %v after kill -9; with a TTL of %v the declared worst case is %v",
				time.Since(killed).Round(time.Millisecond), r.h.TTL, n.info.WorstCaseExpiry(r.h.TTL))
			// And the other way round: a new process takes over what this one gives up.
			w.spawn("child-2", group, r.h.TTL)
			r.pause(r.h.TTL / 2)
			other.stop()
			w.leads(next.token, r.recovery(n), "a new process leads after this one stopped")
			w.check()
		},
	},
	{
		ID:       "FAIL-stop",
		Title:    "a leader process stopped for longer than its TTL, then continued",
		Promise:  "A process that was stopped beyond its lease finds out in the first instruction after it goes on: it is not the leader, the context is over, and the one write that was under way is refused by the fence.",
		Needs:    []Power{PowerProcess},
		expiries: 10,
		applies: func(driver.Driver, driver.Info) string {
			if !canStop {
				return "processes cannot be stopped on " + runtime.GOOS
			}
			return ""
		},
		body: func(r *run) {
			w := r.witness()
			n := r.node()
			group := r.group()
			c := w.spawn("child", group, r.h.TTL)
			first := w.leads(0, r.recovery(n), "the child process leads")
			w.campaign(n, group)
			r.pause(r.h.TTL / 2)
			c.mustSignal(sigStop)
			stopped := time.Now()
			next := w.leads(first.token, r.failover(n), "another process leads while the child is stopped")
			r.eventually(r.slack()+callLimit, "the successor has shown its token to the resource", func() bool {
				w.mu.Lock()
				defer w.mu.Unlock()
				return w.highest == next.token
			})
			r.pauseUntil(stopped.Add(r.h.TTL * 5 / 4))
			before := c.said()
			c.say("status") // read in the moment it goes on
			c.mustSignal(sigCont)
			r.eventually(callLimit+r.slack(), "the child tells its status", func() bool { return len(c.heard("status", before)) > 0 })
			if s := c.heard("status", before)[0]; s.Token == first.token && (s.Leader || !s.Over) {
				r.Errorf("right after it was continued the child says: leader %v, context over %v", s.Leader, s.Over)
			}
			r.pause(r.h.TTL / 2)
			if accepted := c.heard("write", before); len(accepted) > 0 && accepted[0].Token == first.token {
				r.Errorf("the resource took a write with token %d after it had seen token %d", first.token, next.token)
			}
			stale := 0
			for _, l := range c.heard("refused", before) {
				if l.Token == first.token {
					stale++
				}
			}
			if stale > 1 {
				r.Errorf("the child tried %d writes of its old term after it was continued; only the one under way may be", stale)
			}
			w.check()
		},
	},
}
