package multilock

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/multilock/multilock-go/core/driver"
	"github.com/multilock/multilock-go/core/internal/clock"
	"github.com/multilock/multilock-go/core/internal/seam"
)

// Backend is a store that electors share: one per process and store is the
// normal case, however many groups take part. It does once, for every driver,
// what does not depend on the store: time limits, batching and hedging of
// renewals, fan-out of wake-ups, error wrapping, counting and closing.
//
// Make one with a backend module, e.g. redis.Open; with NewBackend if you wrote
// a driver. All methods may be called concurrently.
type Backend struct {
	drv   driver.Driver
	info  driver.Info
	clock clock.Clock
	fault seam.Fault

	batchAcquirer driver.BatchAcquirer
	batchReader   driver.BatchReader
	acquireBatch  int // attempts that may share a round trip; at least 1

	calls    *lane // acquire, resign, leader, ping
	renewals *lane
	hands    hands
	renewer  renewer
	watch    watch
	out      outbox
	stats    counters

	ctx    context.Context // ends when the driver is about to be closed
	cancel context.CancelFunc

	mu       sync.Mutex
	electors map[*Elector]struct{} // those with a run
	closing  bool
	closed   chan struct{} // closed when the driver is closed
	closeErr error
}

func init() {
	seam.SetClock = func(b any, c clock.Clock) { b.(*Backend).clock = c }
	seam.Sabotage = func(b any, f seam.Fault) { b.(*Backend).fault = f }
}

// NewBackend wraps a driver and what it declares. The Backend owns the driver
// and closes it. The error names everything in info that contradicts itself or
// the interfaces the driver implements.
func NewBackend(d driver.Driver, info driver.Info) (*Backend, error) {
	if d == nil {
		return nil, &InvalidError{Field: "driver", Allowed: "must not be nil"}
	}
	if err := checkInfo(d, info); err != nil {
		return nil, err
	}
	b := &Backend{
		drv: d, info: info, clock: clock.System{}, acquireBatch: 1,
		electors: make(map[*Elector]struct{}), closed: make(chan struct{}),
	}
	if x, ok := d.(driver.BatchAcquirer); ok {
		b.batchAcquirer, b.acquireBatch = x, max(1, info.AcquireBatch)
	} else if x, ok := d.(driver.BatchReader); ok {
		b.batchReader, b.acquireBatch = x, max(1, info.ReadBatch)
	}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	b.calls = &lane{b: b, limit: max(1, info.Calls)}
	b.renewals = &lane{b: b, limit: 1}
	if info.Hedge {
		b.renewals.limit = 2
	}
	b.renewer.b, b.hands.b = b, b
	b.watch.init(b)
	return b, nil
}

func checkInfo(d driver.Driver, i driver.Info) error {
	var errs []error
	bad := func(field, value, allowed string) {
		errs = append(errs, &InvalidError{Field: "Info." + field, Value: value, Allowed: allowed})
	}
	if !validName(i.Name) {
		bad("Name", quote(i.Name), allowedName)
	}
	if i.MinTTL < 0 || i.MaxTTL < 0 || i.MaxTTL > 0 && i.MaxTTL < i.MinTTL {
		bad("MaxTTL", i.MaxTTL.String(), fmt.Sprintf("must be 0 or at least MinTTL %v", i.MinTTL))
	}
	if i.TTLGranularity < 0 || i.Shortening < 0 || i.ExpirySlack < 0 || i.ExpiryFactor < 0 {
		bad("TTLGranularity, Shortening, ExpirySlack, ExpiryFactor", "", "must not be negative")
	}
	if _, ok := d.(driver.Watcher); !ok && (i.PushOnResign || i.PushOnExpiry) {
		bad("PushOnResign, PushOnExpiry", "", "need a driver that implements driver.Watcher")
	}
	return errors.Join(errs...)
}

// Info returns what the backend declares about itself.
func (b *Backend) Info() driver.Info { return b.info }

// Driver returns the driver, for tools and tests. Calls made on it bypass all
// that Backend does.
func (b *Backend) Driver() driver.Driver { return b.drv }

// String says what the backend is and where, without secrets.
func (b *Backend) String() string {
	if b.info.Target == "" {
		return b.info.Name
	}
	return b.info.Name + " " + b.info.Target
}

// Ping asks the store for an answer, within ctx. Backends whose driver has no
// ping of its own read the leader of a group that need not exist.
func (b *Backend) Ping(ctx context.Context) error {
	_, err := ask(ctx, b, 0, func(ctx context.Context) (struct{}, error) {
		if p, ok := b.drv.(driver.Pinger); ok {
			return struct{}{}, p.Ping(ctx)
		}
		_, err := b.drv.Leader(ctx, "multilock-ping")
		if errors.Is(err, ErrNoLeader) {
			err = nil
		}
		return struct{}{}, err
	})
	return b.wrap("ping", "", err)
}

// Leader reads the live record of a group; the error is ErrNoLeader if there is
// none. The limit of the reading is that of ctx.
func (b *Backend) Leader(ctx context.Context, group string) (Record, error) {
	if err := checkName("group", group); err != nil {
		return Record{}, err
	}
	return b.leader(ctx, group, 0)
}

func (b *Backend) leader(ctx context.Context, group string, limit time.Duration) (Record, error) {
	b.stats.reads.Add(1)
	rec, err := ask(ctx, b, limit, func(ctx context.Context) (Record, error) { return b.drv.Leader(ctx, group) })
	return rec, b.wrap("leader", group, err)
}

// ask runs do on the calls lane and waits for its answer, until ctx ends or limit
// has passed. What do returns after that is dropped.
func ask[T any](ctx context.Context, b *Backend, limit time.Duration, do func(ctx context.Context) (T, error)) (T, error) {
	var none T
	if ctx.Err() != nil {
		return none, context.Cause(ctx)
	}
	var answer struct { // written by the worker, and read only if it has answered
		v   T
		err error
	}
	c, done := newCall(limit, func(ctx context.Context) { answer.v, answer.err = do(ctx) }), make(chan struct{})
	c.then = func() { close(done) }
	if err := b.calls.submit(c, true); err != nil {
		return none, err
	}
	select {
	case <-done:
	case <-ctx.Done():
		b.calls.giveUp(c)
		return none, context.Cause(ctx)
	}
	if c.outcome() != callDone {
		return none, errAbandoned
	}
	if answer.err != nil {
		return none, answer.err
	}
	return answer.v, nil
}

// wrap adds backend, operation and group to a driver's error, once.
func (b *Backend) wrap(op, group string, err error) error {
	if err == nil {
		return nil
	}
	if op == "leader" && errors.Is(err, ErrNoLeader) {
		return err // an answer, not a failure
	}
	return &OpError{Backend: b.info.Name, Op: op, Group: group, Err: err}
}

// Stats counts what a Backend has done since it was made.
type Stats struct {
	// Acquires, Renewals, Resigns and Reads count requests to the driver; a batch is
	// one request. RenewedTerms counts the terms in those renewals.
	Acquires, Renewals, RenewedTerms, Resigns, Reads uint64
	// Hedges counts second sends of a renewal while the first was unanswered.
	Hedges uint64
	// Abandoned counts calls that were given up while under way; Refused those that
	// were not sent because too many hung.
	Abandoned, Refused uint64
	// Wakes counts wake-ups from the store.
	Wakes uint64
	// Dropped counts log records and observations lost to a blocked receiver.
	Dropped uint64
	// LiveTerms is the number of terms being renewed, Watched of groups whose wake-ups
	// come.
	LiveTerms, Watched int
}

type counters struct {
	acquires, renewals, renewedTerms, resigns, reads, hedges, abandoned, refused, wakes atomic.Uint64
}

// Stats returns the counters.
func (b *Backend) Stats() Stats {
	s := Stats{
		Acquires: b.stats.acquires.Load(), Renewals: b.stats.renewals.Load(), RenewedTerms: b.stats.renewedTerms.Load(),
		Resigns: b.stats.resigns.Load(), Reads: b.stats.reads.Load(), Hedges: b.stats.hedges.Load(),
		Abandoned: b.stats.abandoned.Load(), Refused: b.stats.refused.Load(), Wakes: b.stats.wakes.Load(),
	}
	b.out.mu.Lock()
	s.Dropped = b.out.dropped
	b.out.mu.Unlock()
	s.LiveTerms = b.renewer.count()
	s.Watched = b.watch.count()
	return s
}
