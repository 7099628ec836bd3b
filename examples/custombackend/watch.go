package custombackend

import (
	"context"
	"sync"

	"github.com/multilock/multilock-go/core/driver"
)

// subscription is the groups that one client watches.
type subscription struct {
	store *Store
	sink  driver.Sink

	mu     sync.Mutex // held while the sink is called, which never blocks
	groups map[string]bool
	closed bool
}

// Watch implements driver.Watcher.
func (d *boltDriver) Watch(ctx context.Context, sink driver.Sink) (driver.Subscription, error) {
	if err := d.ready(ctx); err != nil {
		return nil, err
	}
	sub := &subscription{store: d.store, sink: sink, groups: map[string]bool{}}
	d.mu.Lock()
	d.sub = sub
	d.mu.Unlock()
	d.store.mu.Lock()
	defer d.store.mu.Unlock()
	d.store.subs[sub] = struct{}{}
	return sub, nil
}

// wake tells everybody who watches group. It is called after the transaction that
// freed the group was committed.
func (s *Store) wake(group string) {
	s.mu.Lock()
	subs := make([]*subscription, 0, len(s.subs))
	for sub := range s.subs {
		subs = append(subs, sub)
	}
	s.mu.Unlock()
	for _, sub := range subs {
		sub.wake(group)
	}
}

func (x *subscription) wake(group string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.closed && x.groups[group] {
		x.sink.Wake(group)
	}
}

// Add implements driver.Subscription.
func (x *subscription) Add(_ context.Context, group string) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.groups[group] = true
	return nil
}

// Remove implements driver.Subscription.
func (x *subscription) Remove(group string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.groups, group)
}

// Close implements driver.Subscription.
func (x *subscription) Close() error {
	x.store.mu.Lock()
	delete(x.store.subs, x)
	x.store.mu.Unlock()
	x.mu.Lock()
	defer x.mu.Unlock()
	x.closed = true
	return nil
}
