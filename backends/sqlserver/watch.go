package sqlserver

import (
	"context"
	"errors"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

// Watch implements driver.Watcher: doorbells for as many groups as there are
// connections for, batched reads each PollInterval for the others.
func (d *leaseDriver) Watch(_ context.Context, sink driver.Sink) (driver.Subscription, error) {
	b := d.bells
	b.mu.Lock()
	closed := b.closed
	b.mu.Unlock()
	if closed {
		return nil, driver.ErrClosed
	}
	b.sinkMu.Lock()
	defer b.sinkMu.Unlock()
	b.sink = sink
	return (*subscription)(b), nil
}

type subscription bells

// Add implements driver.Subscription.
func (s *subscription) Add(_ context.Context, group string) error {
	b := (*bells)(s)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return driver.ErrClosed
	}
	g := b.group(group)
	g.watched = true
	g.notify()
	b.serve(g)
	return nil
}

// Remove implements driver.Subscription.
func (s *subscription) Remove(group string) {
	b := (*bells)(s)
	b.mu.Lock()
	defer b.mu.Unlock()
	if g := b.groups[group]; g != nil {
		g.watched = false
		g.notify()
		b.drop(g)
	}
}

// Close implements driver.Subscription.
func (s *subscription) Close() error {
	b := (*bells)(s)
	b.mu.Lock()
	for _, g := range b.groups {
		g.watched = false
		g.notify()
		b.drop(g)
	}
	b.mu.Unlock()
	b.sinkMu.Lock()
	defer b.sinkMu.Unlock()
	b.sink = nil
	return nil
}

// startPoller runs the poller if g, of which something has changed, is a watched
// group without a bell; it goes on while there are any. To look at all groups here
// would cost the square of their number. The caller holds mu.
func (b *bells) startPoller(g *bell) {
	if b.poll || b.closed || !g.silent(time.Now()) {
		return
	}
	b.poll = true
	b.done.Add(1)
	go b.poller()
}

// silent reports whether the group is watched and no bell rings for it. While a
// term of ours lasts there is nothing to hear of but its end, which ended tells.
// The caller holds mu.
func (g *bell) silent(now time.Time) bool {
	_, leading := g.leading(now)
	return g.watched && !leading && (!g.slot || g.mute)
}

// silent lists the silent groups. The caller holds mu.
func (b *bells) silent() []string {
	var groups []string
	now := time.Now()
	for name, g := range b.groups {
		if g.silent(now) {
			groups = append(groups, name)
		}
	}
	return groups
}

// poller wakes the electors of groups that nobody leads. The expiry of a record
// needs no poll: followers know it and try by themselves.
func (b *bells) poller() {
	defer b.done.Done()
	for {
		sleep(b.ctx, b.d.opts.PollInterval, nil)
		b.mu.Lock()
		groups := b.silent()
		if len(groups) == 0 || b.closed {
			b.poll = false
			b.mu.Unlock()
			return
		}
		b.mu.Unlock()
		for len(groups) > 0 && b.ctx.Err() == nil {
			n := min(len(groups), readBatch)
			b.d.Leaders(b.ctx, groups[:n], func(group string, _ driver.Record, err error) {
				if !errors.Is(err, driver.ErrNoLeader) {
					return
				}
				b.mu.Lock()
				g := b.groups[group]
				b.mu.Unlock()
				if g != nil {
					b.wake(g)
				}
			})
			groups = groups[n:]
		}
	}
}

// readBatch and renewBatch are the most groups of one round trip.
const readBatch = 500
