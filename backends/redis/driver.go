package redis

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/multilock/multilock-go/core/driver"
	goredis "github.com/redis/go-redis/v9"
)

// minGrace is how long after a restart a missing record counts as lost, unless
// the option or the TTL says more: the default TTL, since other participants may
// use it.
const minGrace = 15 * time.Second

// redisDriver implements the contract over one server, a master found through
// sentinels, or a cluster.
type redisDriver struct {
	o       Options
	sharded bool // a cluster

	// Of clients of our own, one for each purpose: a call that hangs delays
	// nothing but calls. With a client of the user's, all are the same.
	calls, renewals, hedge, pushes *lane
	user                           bool

	plain    atomic.Bool // the server does not know scripts with flags
	noShards atomic.Bool // nor sharded publish/subscribe
	checked  sync.Map    // address -> its eviction policy is fine

	mu     sync.Mutex
	closed bool
	watch  *watch
}

// newDriver makes a driver with clients of its own; it does no I/O. o has been
// validated and has its defaults.
func newDriver(o Options) (*redisDriver, error) {
	d := &redisDriver{
		o: o, sharded: o.isCluster(),
		calls: newLane(o), renewals: newLane(o), hedge: newOnce(o), pushes: newLane(o),
	}
	return d, nil
}

// newUserDriver makes a driver over a client that stays the user's.
func newUserDriver(c goredis.UniversalClient, o Options) *redisDriver {
	l := &lane{client: func() goredis.UniversalClient { return c }}
	_, sharded := c.(*goredis.ClusterClient)
	return &redisDriver{o: o, sharded: sharded, user: true, calls: l, renewals: l, hedge: l, pushes: l}
}

// key is where the record of a group is, and also the channel of its wake-ups:
// the braces keep both in one slot of a cluster.
func (d *redisDriver) key(group string) string { return d.o.KeyPrefix + ":{" + group + "}" }

func (d *redisDriver) isClosed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.closed
}

func (d *redisDriver) acquireCall(req driver.AcquireRequest) (call, error) {
	meta, err := encodeMetadata(req.Metadata)
	if err != nil {
		return call{}, err
	}
	grace := d.o.Grace
	if grace == 0 {
		grace = max(minGrace, req.TTL)
	}
	return call{acquireScript, d.key(req.Group), []any{req.Nonce.String(), req.Participant, micros(req.TTL), meta, micros(grace), ""}}, nil
}

func (d *redisDriver) acquired(req driver.AcquireRequest, fields []string, err error) (driver.Grant, error) {
	switch {
	case err != nil:
		return driver.Grant{}, err
	case fields[0] == "ok":
		return parseGrant(fields)
	case fields[0] == "resigned":
		return driver.Grant{}, driver.ErrResigned
	case fields[0] == "policy" && len(fields) == 2:
		return driver.Grant{}, errPolicy(fields[1])
	case fields[0] == "held", fields[0] == "foreign":
		return driver.Grant{}, held(req.Group, d.key(req.Group), fields)
	}
	return driver.Grant{}, errReply(fields)
}

// Acquire implements driver.Driver.
func (d *redisDriver) Acquire(ctx context.Context, req driver.AcquireRequest) (driver.Grant, error) {
	c, err := d.acquireCall(req)
	if err != nil {
		return driver.Grant{}, fmt.Errorf("%w: %w", driver.ErrNotApplied, err)
	}
	fields, err := d.one(ctx, &batch{calls: []call{c}, wait: d.waitFor(req.TTL), policy: true})
	return d.acquired(req, fields, err)
}

var errUnanswered = errors.New("redis: no answer")

// AcquireBatch implements driver.BatchAcquirer.
func (d *redisDriver) AcquireBatch(ctx context.Context, reqs []driver.AcquireRequest, report func(i int, g driver.Grant, err error)) {
	b := &batch{policy: true}
	index := make([]int, 0, len(reqs))
	var ttl time.Duration
	for i, req := range reqs {
		if d.isClosed() {
			report(i, driver.Grant{}, driver.ErrClosed)
			continue
		}
		c, err := d.acquireCall(req)
		if err != nil {
			report(i, driver.Grant{}, fmt.Errorf("%w: %w", driver.ErrNotApplied, err))
			continue
		}
		b.calls = append(b.calls, c)
		index = append(index, i)
		ttl = max(ttl, req.TTL)
	}
	if len(b.calls) == 0 {
		return
	}
	b.wait = d.waitFor(ttl)
	b.report = func(j int, fields []string, err error) {
		g, err := d.acquired(reqs[index[j]], fields, err)
		report(index[j], g, err)
	}
	_ = d.exec(ctx, d.calls, b) // an answer that is missing is uncertain
}

// Renew implements driver.Driver.
func (d *redisDriver) Renew(ctx context.Context, reqs []driver.RenewRequest, report func(driver.RenewResult)) {
	b := &batch{calls: make([]call, 0, len(reqs))}
	index := make([]int, 0, len(reqs))
	var ttl time.Duration
	for i, req := range reqs {
		meta, err := encodeMetadata(req.Metadata)
		if err == nil && d.isClosed() {
			err = driver.ErrClosed
		}
		if err != nil {
			report(driver.RenewResult{Index: i, Err: err})
			continue
		}
		b.calls = append(b.calls, call{renewScript, d.key(req.Term.Group), []any{req.Term.Nonce.String(), micros(req.TTL), meta}})
		index = append(index, i)
		ttl = max(ttl, req.TTL)
	}
	if len(b.calls) == 0 {
		return
	}
	b.wait = d.waitFor(ttl)
	b.report = func(j int, fields []string, err error) {
		res := driver.RenewResult{Index: index[j], Err: err}
		switch {
		case err != nil:
		case fields[0] == "ok" && len(fields) == 2:
			res.Granted, res.Err = parseMicros(fields[1])
		case fields[0] == "lost":
			res.Err = driver.ErrLost
		default:
			res.Err = errReply(fields)
		}
		report(res)
	}
	_ = d.renew(ctx, b)
}

// renew runs b on the lane for renewals, or beside a call that hangs there.
func (d *redisDriver) renew(ctx context.Context, b *batch) error {
	if d.user {
		return d.exec(ctx, d.renewals, b)
	}
	b.d = d
	l := d.renewals
	select {
	case l.turn <- struct{}{}:
	default:
		select {
		case l.turn <- struct{}{}:
		case d.hedge.turn <- struct{}{}:
			l = d.hedge
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	l.run(ctx, func() { b.run(ctx, l.client(), true) })
	return nil
}

// Resign implements driver.Driver.
func (d *redisDriver) Resign(ctx context.Context, t driver.Term) error {
	publish := "PUBLISH"
	if d.sharded {
		publish = "SPUBLISH"
	}
	key := d.key(t.Group)
	fields, err := d.one(ctx, &batch{calls: []call{{resignScript, key, []any{t.Nonce.String(), key, publish}}}})
	switch {
	case err != nil:
		return err
	case fields[0] == "ok":
		return nil
	case fields[0] == "lost":
		return driver.ErrLost
	}
	return errReply(fields)
}

// Leader implements driver.Driver.
func (d *redisDriver) Leader(ctx context.Context, group string) (driver.Record, error) {
	fields, err := d.one(ctx, &batch{calls: []call{{leaderScript, d.key(group), nil}}})
	if err != nil {
		return driver.Record{}, err
	}
	return d.led(group, fields)
}

func (d *redisDriver) led(group string, fields []string) (driver.Record, error) {
	switch fields[0] {
	case "led":
		return parseRecord(group, fields)
	case "none":
		return driver.Record{}, driver.ErrNoLeader
	case "foreign":
		return driver.Record{}, errForeign{d.key(group)}
	}
	return driver.Record{}, errReply(fields)
}

// Leaders implements driver.BatchReader.
func (d *redisDriver) Leaders(ctx context.Context, groups []string, report func(group string, rec driver.Record, err error)) {
	b := &batch{calls: make([]call, len(groups))}
	closed := d.isClosed()
	for i, g := range groups {
		if closed {
			report(g, driver.Record{}, driver.ErrClosed)
			continue
		}
		b.calls[i] = call{leaderScript, d.key(g), nil}
	}
	if closed || len(groups) == 0 {
		return
	}
	b.report = func(i int, fields []string, err error) {
		var rec driver.Record
		if err == nil {
			rec, err = d.led(groups[i], fields)
		}
		report(groups[i], rec, err)
	}
	_ = d.exec(ctx, d.calls, b)
}

// one runs the single call of b on the lane for calls.
func (d *redisDriver) one(ctx context.Context, b *batch) (fields []string, err error) {
	if d.isClosed() {
		return nil, driver.ErrClosed
	}
	err = errUnanswered
	b.report = func(_ int, f []string, e error) { fields, err = f, e }
	if sent := d.exec(ctx, d.calls, b); sent != nil {
		return nil, fmt.Errorf("redis: no answer: %w", sent)
	}
	return fields, err
}

// Ping implements driver.Pinger: the server answers and is fit for use.
func (d *redisDriver) Ping(ctx context.Context) error {
	if d.isClosed() {
		return driver.ErrClosed
	}
	if _, err := d.Leader(ctx, "multilock-ping"); err != nil && !errors.Is(err, driver.ErrNoLeader) {
		return err
	}
	return nil
}

// Close implements driver.Driver.
func (d *redisDriver) Close() error {
	d.mu.Lock()
	first := !d.closed
	d.closed = true
	w := d.watch
	d.mu.Unlock()
	var errs []error
	if w != nil {
		errs = append(errs, w.Close())
	}
	if first && !d.user {
		for _, l := range []*lane{d.calls, d.renewals, d.hedge, d.pushes} {
			errs = append(errs, l.close())
		}
	}
	return errors.Join(errs...)
}
