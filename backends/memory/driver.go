package memory

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

// memoryDriver is one client of a Store.
type memoryDriver struct {
	store  *Store
	closed atomic.Bool

	mu  sync.Mutex
	sub *subscription
}

var (
	namedMu sync.Mutex
	named   = map[string]*Store{}
)

// newDriver makes a client of the store that o names.
func newDriver(o Options) (driver.Driver, error) {
	s := o.Store
	switch {
	case s != nil:
	case o.Name != "":
		namedMu.Lock()
		defer namedMu.Unlock()
		if s = named[o.Name]; s == nil {
			s = NewStore()
			named[o.Name] = s
		}
	default:
		s = NewStore()
	}
	return &memoryDriver{store: s}, nil
}

// inBubble guesses whether the caller runs inside a testing/synctest bubble,
// whose clock starts in the year 2000.
func inBubble() bool { return time.Now().Year() < 2010 }

// send runs execute through the interceptor. Its error takes the place of the
// reply; without one the reply is what execute left behind first.
func (d *memoryDriver) send(ctx context.Context, op string, groups []string, execute func()) error {
	if d.closed.Load() {
		return driver.ErrClosed
	}
	d.store.mu.Lock()
	f := d.store.intercept
	d.store.mu.Unlock()
	if f == nil {
		execute()
		return nil
	}
	return f(ctx, Request{Op: op, Groups: groups, Client: d}, execute)
}

// reply keeps the result of the first execution: later ones are duplicates, whose
// replies the caller never sees.
type reply[T any] struct {
	mu   sync.Mutex
	done bool
	v    T
}

func (r *reply[T]) set(v T) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.done {
		r.done, r.v = true, v
	}
}

func (r *reply[T]) get() (T, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.v, r.done
}

type granted struct {
	grant driver.Grant
	err   error
}

// Acquire implements driver.Driver.
func (d *memoryDriver) Acquire(ctx context.Context, req driver.AcquireRequest) (driver.Grant, error) {
	var r reply[granted]
	err := d.send(ctx, "acquire", []string{req.Group}, func() {
		g, err := d.store.acquire(req)
		r.set(granted{g, err})
	})
	v, ok := r.get()
	if err != nil || !ok {
		return driver.Grant{}, orInjected(err)
	}
	return v.grant, v.err
}

// orInjected is the error of a request whose reply never came.
func orInjected(err error) error {
	if err == nil {
		return ErrInjected
	}
	return err
}

// AcquireBatch implements driver.BatchAcquirer.
func (d *memoryDriver) AcquireBatch(ctx context.Context, reqs []driver.AcquireRequest, report func(int, driver.Grant, error)) {
	groups := make([]string, len(reqs))
	for i := range reqs {
		groups[i] = reqs[i].Group
	}
	var r reply[[]granted]
	err := d.send(ctx, "acquire", groups, func() {
		all := make([]granted, len(reqs))
		for i, req := range reqs {
			all[i].grant, all[i].err = d.store.acquire(req)
		}
		r.set(all)
	})
	v, ok := r.get()
	for i := range reqs {
		if err != nil || !ok {
			report(i, driver.Grant{}, orInjected(err))
			continue
		}
		report(i, v[i].grant, v[i].err)
	}
}

// Renew implements driver.Driver.
func (d *memoryDriver) Renew(ctx context.Context, reqs []driver.RenewRequest, report func(driver.RenewResult)) {
	groups := make([]string, len(reqs))
	for i := range reqs {
		groups[i] = reqs[i].Term.Group
	}
	var r reply[[]driver.RenewResult]
	err := d.send(ctx, "renew", groups, func() {
		all := make([]driver.RenewResult, len(reqs))
		for i, req := range reqs {
			all[i].Index = i
			all[i].Granted, all[i].Err = d.store.renew(req)
		}
		r.set(all)
	})
	v, ok := r.get()
	for i := range reqs {
		if err != nil || !ok {
			report(driver.RenewResult{Index: i, Err: orInjected(err)})
			continue
		}
		report(v[i])
	}
}

// Resign implements driver.Driver.
func (d *memoryDriver) Resign(ctx context.Context, t driver.Term) error {
	var r reply[error]
	err := d.send(ctx, "resign", []string{t.Group}, func() { r.set(d.store.resign(t)) })
	if v, ok := r.get(); err == nil && ok {
		return v
	}
	return orInjected(err)
}

type found struct {
	rec driver.Record
	err error
}

// Leader implements driver.Driver.
func (d *memoryDriver) Leader(ctx context.Context, group string) (rec driver.Record, err error) {
	err = driver.ErrNoLeader
	d.Leaders(ctx, []string{group}, func(_ string, r driver.Record, e error) { rec, err = r, e })
	return rec, err
}

// Leaders implements driver.BatchReader.
func (d *memoryDriver) Leaders(ctx context.Context, groups []string, report func(string, driver.Record, error)) {
	var r reply[[]found]
	err := d.send(ctx, "leader", groups, func() {
		all := make([]found, len(groups))
		for i, g := range groups {
			all[i].rec, all[i].err = d.store.leader(g)
		}
		r.set(all)
	})
	v, ok := r.get()
	for i, g := range groups {
		if err != nil || !ok {
			report(g, driver.Record{}, orInjected(err))
			continue
		}
		report(g, v[i].rec, v[i].err)
	}
}

// Ping implements driver.Pinger.
func (d *memoryDriver) Ping(context.Context) error {
	if d.closed.Load() {
		return driver.ErrClosed
	}
	return nil
}

// Close implements driver.Driver. Terms live on until they expire.
func (d *memoryDriver) Close() error {
	d.closed.Store(true)
	d.mu.Lock()
	sub := d.sub
	d.mu.Unlock()
	if sub != nil {
		return sub.Close()
	}
	return nil
}

// subscription is the wake-ups of one client, under the store's lock.
type subscription struct {
	store  *Store
	sink   driver.Sink
	groups map[string]struct{}
}

// Watch implements driver.Watcher.
func (d *memoryDriver) Watch(_ context.Context, sink driver.Sink) (driver.Subscription, error) {
	if d.closed.Load() {
		return nil, driver.ErrClosed
	}
	sub := &subscription{store: d.store, sink: sink, groups: make(map[string]struct{})}
	d.store.mu.Lock()
	d.store.sinks[sub] = struct{}{}
	d.store.mu.Unlock()
	d.mu.Lock()
	d.sub = sub
	d.mu.Unlock()
	return sub, nil
}

// Add implements driver.Subscription.
func (x *subscription) Add(_ context.Context, group string) error {
	x.store.mu.Lock()
	defer x.store.mu.Unlock()
	x.groups[group] = struct{}{}
	return nil
}

// Remove implements driver.Subscription.
func (x *subscription) Remove(group string) {
	x.store.mu.Lock()
	defer x.store.mu.Unlock()
	delete(x.groups, group)
}

// Close implements driver.Subscription.
func (x *subscription) Close() error {
	x.store.mu.Lock()
	defer x.store.mu.Unlock()
	delete(x.store.sinks, x)
	return nil
}
