package custombackend

import (
	"context"
	"sync"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

const renewBatch = 100

// NewDriver returns a new client of the store and what it can do. Most programs
// want [Store.Backend] instead.
func (s *Store) NewDriver() (driver.Driver, driver.Info) {
	return &boltDriver{store: s}, driver.Info{
		Name: "bbolt", Target: s.db.Path(),
		MinTTL: 100 * time.Millisecond, TTLGranularity: time.Microsecond,
		ExpiryFactor: 1, RemainingKnown: true, PushOnResign: true,
		Calls: 4, RenewBatch: renewBatch,
	}
}

// boltDriver is one client. All it owns is its subscription.
type boltDriver struct {
	store *Store

	mu     sync.Mutex
	closed bool
	sub    *subscription
}

var (
	_ driver.Driver  = (*boltDriver)(nil)
	_ driver.Watcher = (*boltDriver)(nil)
	_ driver.Pinger  = (*boltDriver)(nil)
)

// ready is the error with which an operation ends before it begins. bbolt knows no
// contexts; a transaction that has begun takes as long as its fsync.
func (d *boltDriver) ready(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return driver.ErrClosed
	}
	return ctx.Err()
}

// Acquire implements driver.Driver.
func (d *boltDriver) Acquire(ctx context.Context, req driver.AcquireRequest) (driver.Grant, error) {
	if err := d.ready(ctx); err != nil {
		return driver.Grant{}, err
	}
	return d.store.acquire(req)
}

// Renew implements driver.Driver.
func (d *boltDriver) Renew(ctx context.Context, reqs []driver.RenewRequest, report func(driver.RenewResult)) {
	results := make([]driver.RenewResult, len(reqs))
	err := d.ready(ctx)
	if err == nil {
		results, err = d.store.renew(reqs)
	}
	for i := range results {
		if err != nil { // nothing was committed
			results[i] = driver.RenewResult{Index: i, Err: err}
		}
		report(results[i])
	}
}

// Resign implements driver.Driver.
func (d *boltDriver) Resign(ctx context.Context, t driver.Term) error {
	if err := d.ready(ctx); err != nil {
		return err
	}
	return d.store.resign(t)
}

// Leader implements driver.Driver.
func (d *boltDriver) Leader(ctx context.Context, group string) (driver.Record, error) {
	if err := d.ready(ctx); err != nil {
		return driver.Record{}, err
	}
	return d.store.leader(group)
}

// Ping implements driver.Pinger.
func (d *boltDriver) Ping(ctx context.Context) error {
	if err := d.ready(ctx); err != nil {
		return err
	}
	return d.store.ping(ctx)
}

// Close implements driver.Driver. The store stays open: it was given to us.
func (d *boltDriver) Close() error {
	d.mu.Lock()
	d.closed = true
	sub := d.sub
	d.mu.Unlock()
	if sub != nil {
		return sub.Close()
	}
	return nil
}
