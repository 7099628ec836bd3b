package conformance

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

var closeRules = []Rule{
	{
		ID:      "CLS-use-after",
		Title:   "a closed driver answers ErrClosed",
		Promise: "After Close every operation answers ErrClosed at once.",
		body: func(r *run) {
			c := r.client()
			l := c.win(r.group(), "holder")
			if err := c.raw.Close(); err != nil {
				r.Errorf("Close: %v", err)
			}
			ctx, cancel := c.context()
			defer cancel()
			start := time.Now()
			want := func(err error, what string) {
				if !errors.Is(err, driver.ErrClosed) {
					r.Errorf("%s after Close: want ErrClosed, got %v", what, err)
				}
			}
			_, err := c.Acquire(ctx, r.request(r.group(), "late"))
			want(err, "Acquire")
			want(c.Resign(ctx, l.Term), "Resign")
			_, err = c.Leader(ctx, l.Group)
			want(err, "Leader")
			for _, res := range c.renewCtx(ctx, []driver.RenewRequest{{Term: l.Term, TTL: r.h.TTL}}) {
				want(res.Err, "Renew")
			}
			if p, ok := c.Driver.(driver.Pinger); ok {
				want(p.Ping(ctx), "Ping")
			}
			if w, ok := c.Driver.(driver.Watcher); ok {
				_, err := w.Watch(ctx, newSink())
				want(err, "Watch")
			}
			if b, ok := c.Driver.(driver.BatchReader); ok {
				b.Leaders(ctx, []string{l.Group}, func(_ string, _ driver.Record, err error) { want(err, "Leaders") })
			}
			if b, ok := c.Driver.(driver.BatchAcquirer); ok {
				b.AcquireBatch(ctx, []driver.AcquireRequest{r.request(l.Group, "late")}, func(_ int, _ driver.Grant, err error) { want(err, "AcquireBatch") })
			}
			if took := time.Since(start); took > 2*r.slack() {
				r.Errorf("calls on a closed driver took %v", took)
			}
		},
	},
	{
		ID:      "CLS-idempotent",
		Title:   "closing again, and before the first use, is harmless",
		Promise: "Close may be called any number of times, at the same time, and on a driver that was never used.",
		body: func(r *run) {
			unused := r.client()
			used := r.client()
			used.win(r.group(), "holder").mustResign()
			for _, c := range []*client{unused, used} {
				var wg sync.WaitGroup
				for range 4 {
					wg.Go(func() {
						if err := c.raw.Close(); err != nil {
							r.Errorf("Close: %v", err)
						}
					})
				}
				wg.Wait()
			}
		},
	},
	{
		ID:       "CLS-others",
		Title:    "closing one client ends nobody else's terms",
		Promise:  "Close releases what this driver opened and nothing else: other clients' terms live on, can be renewed, and are still guarded, also those of the same participant.",
		expiries: 6,
		body: func(r *run) {
			a, b, c := r.client(), r.client(), r.client()
			mine, theirs := a.win(r.group(), "same"), b.win(r.group(), "same")
			if err := a.raw.Close(); err != nil {
				r.Errorf("Close: %v", err)
			}
			theirs.mustLead("after another client was closed")
			theirs.mustRenew()
			stop := r.keep(theirs)
			// The closed client's term may end with it or be left to expire.
			r.newer(mine, c.takeover(mine.Group, "next", r.worst(c.info)+r.slack()))
			stop()
			theirs.mustLead("long after another client was closed")
		},
	},
	{
		ID:      "CLS-in-flight",
		Title:   "Close does not wait for ever for calls in flight",
		Promise: "Close returns although other calls are running, and those return too.",
		body: func(r *run) {
			c := r.client()
			l := c.win(r.group(), "holder")
			stop := make(chan struct{})
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
						}
						ctx, cancel := context.WithTimeout(r.ctx, callLimit)
						_, err := c.Leader(ctx, l.Group)
						c.Renew(ctx, []driver.RenewRequest{{Term: l.Term, TTL: r.h.TTL}}, func(driver.RenewResult) {})
						cancel()
						if errors.Is(err, driver.ErrClosed) {
							return
						}
						r.pause(time.Millisecond)
					}
				})
			}
			r.pause(r.tick())
			start := time.Now()
			if err := c.raw.Close(); err != nil {
				r.Errorf("Close: %v", err)
			}
			if took := time.Since(start); took > r.slack()+3*time.Second {
				r.Errorf("Close took %v while calls were running", took)
			}
			close(stop)
			wg.Wait()
		},
	},
	{
		ID:      "CLS-leak",
		Title:   "opening, using and closing leaves nothing behind",
		Promise: "A closed driver leaves no goroutine behind, whatever was used before.",
		body: func(r *run) {
			for range 5 {
				c := r.client()
				if _, ok := c.Driver.(driver.Watcher); ok {
					_, sub := c.subscribe()
					c.add(sub, r.group())
				}
				l := c.win(r.group(), "holder")
				l.mustRenew()
				l.mustResign()
				if err := c.raw.Close(); err != nil {
					r.Errorf("Close: %v", err)
				}
			}
		},
	},
}
