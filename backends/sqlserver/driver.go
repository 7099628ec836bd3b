package sqlserver

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	mssql "github.com/microsoft/go-mssqldb"

	"github.com/multilock/multilock-go/core/driver"
)

// leaseDriver implements driver.Driver, driver.Watcher, driver.BatchReader and
// driver.Pinger over a *sql.DB.
type leaseDriver struct {
	opts Options
	stmt statements
	db   *sql.DB
	// own is the dialer of a pool we opened, nil for one we were given.
	own *dialer

	// ctx ends with Close and takes every call with it.
	ctx    context.Context
	cancel context.CancelFunc
	bells  *bells

	mu     sync.Mutex
	closed bool
	ready  bool // the probe has found the table
	worked bool // the probe has been answered, ever
	calls  sync.WaitGroup
}

// newDriver opens a pool for validated options. It does not touch the network.
func newDriver(o Options) (driver.Driver, error) {
	db, own, err := openPool(o)
	if err != nil {
		return nil, err
	}
	return newLeaseDriver(db, own, o), nil
}

func newLeaseDriver(db *sql.DB, own *dialer, o Options) *leaseDriver {
	d := &leaseDriver{opts: o, stmt: newStatements(o.Schema, o.Table), db: db, own: own}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	d.bells = newBells(d)
	if own != nil {
		own.broken = d.bells.doubt // before the first connection
	}
	return d
}

// Acquire implements driver.Driver.
func (d *leaseDriver) Acquire(ctx context.Context, req driver.AcquireRequest) (driver.Grant, error) {
	metadata, err := encodeMetadata(req.Metadata)
	if err != nil {
		return driver.Grant{}, err
	}
	ttl := req.TTL / time.Microsecond
	var a answer
	var sent time.Time
	for again := false; ; again = true {
		if err := d.prepare(ctx, !d.opts.NoAutoCreate); err != nil {
			return driver.Grant{}, err
		}
		sent = time.Now()
		a, err = call(ctx, d, func(ctx context.Context) (answer, error) {
			return d.acquire(ctx, req, int64(ttl), metadata)
		})
		if err == nil {
			break
		}
		if !hasNumber(err, errTableMissing) {
			return driver.Grant{}, err
		}
		d.unprepare() // somebody dropped the table
		if again {
			return driver.Grant{}, err
		}
	}
	if a.won {
		granted := ttl * time.Microsecond
		d.bells.began(req.Group, req.Nonce, sent.Add(granted))
		return driver.Grant{Token: uint64(a.token), Granted: granted, AcquiredAt: time.UnixMicro(a.acquired).UTC()}, nil
	}
	if a.lastNonce == req.Nonce.String() {
		return driver.Grant{}, driver.ErrResigned
	}
	if a.live() {
		rec := a.record(req.Group)
		d.bells.held(req.Group, rec.Remaining)
		return driver.Grant{}, &driver.HeldError{Record: rec}
	}
	// The holder left, or the row was removed, between the attempt and the look.
	return driver.Grant{}, fmt.Errorf("%w: the group became free meanwhile", driver.ErrNotApplied)
}

// answer is what an acquire brought: the token, or the row as it stands.
type answer struct {
	row
	won       bool
	lastNonce string
}

func (d *leaseDriver) acquire(ctx context.Context, req driver.AcquireRequest, ttl int64, metadata any) (answer, error) {
	var a answer
	err := d.query(ctx, d.stmt.acquire, func(rows *sql.Rows, columns int) error {
		if columns == 3 {
			var open int
			a.won = true
			if err := rows.Scan(&a.token, &a.acquired, &open); err != nil {
				return err
			}
			return checkCommitted(open)
		}
		return rows.Scan(&a.nonce, &a.lastNonce, &a.participant, &a.token, &a.acquired, &a.expires, &a.ttl, &a.metadata, &a.now)
	}, sql.Named("grp", req.Group), sql.Named("nonce", req.Nonce.String()), sql.Named("participant", req.Participant),
		sql.Named("ttl", ttl), sql.Named("metadata", metadata))
	return a, err
}

// Resign implements driver.Driver.
func (d *leaseDriver) Resign(ctx context.Context, t driver.Term) error {
	if err := d.prepare(ctx, false); err != nil {
		return d.withoutTable(err, driver.ErrLost)
	}
	ended, err := call(ctx, d, func(ctx context.Context) (int, error) {
		var ended int
		err := d.query(ctx, d.stmt.resign, func(rows *sql.Rows, _ int) error {
			var open int
			if err := rows.Scan(&ended, &open); err != nil {
				return err
			}
			return checkCommitted(open)
		}, sql.Named("grp", t.Group), sql.Named("nonce", t.Nonce.String()))
		return ended, err
	})
	if err != nil {
		return d.withoutTable(err, driver.ErrLost)
	}
	// Certain either way: the term is over, so its bell may ring.
	d.bells.ended(t.Group, t.Nonce, ended > 0)
	if ended == 0 {
		return driver.ErrLost
	}
	return nil
}

// Leader implements driver.Driver.
func (d *leaseDriver) Leader(ctx context.Context, group string) (driver.Record, error) {
	if err := d.prepare(ctx, false); err != nil {
		return driver.Record{}, d.withoutTable(err, driver.ErrNoLeader)
	}
	rec, err := call(ctx, d, func(ctx context.Context) (driver.Record, error) {
		var r row
		err := d.query(ctx, d.stmt.leader, func(rows *sql.Rows, _ int) error {
			return rows.Scan(&r.nonce, &r.participant, &r.token, &r.acquired, &r.expires, &r.ttl, &r.metadata, &r.now)
		}, sql.Named("grp", group))
		if err != nil {
			return driver.Record{}, err
		}
		if !r.live() {
			return driver.Record{}, driver.ErrNoLeader
		}
		return r.record(group), nil
	})
	return rec, d.withoutTable(err, driver.ErrNoLeader)
}

// Ping implements driver.Pinger: the server answers, the login works, and the
// table is there unless it would be created.
func (d *leaseDriver) Ping(ctx context.Context) error {
	_, err := call(ctx, d, func(ctx context.Context) (struct{}, error) {
		_, err := d.probe(ctx, false)
		return struct{}{}, err
	})
	if errors.Is(err, errNoTable) && !d.opts.NoAutoCreate {
		return nil // the first attempt creates it
	}
	return err
}

// Close implements driver.Driver.
func (d *leaseDriver) Close() error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil
	}
	d.closed = true
	d.mu.Unlock()
	d.bells.close() // releases the bells properly where the server answers
	d.cancel()
	if d.own == nil {
		d.calls.Wait()
		return nil
	}
	// A request that waits for the server ends when its connection does.
	d.own.closeAll()
	err := d.db.Close()
	d.calls.Wait()
	return err
}

// row is a record as it is stored; times are microseconds by the server's clock.
type row struct {
	nonce, participant       string
	token, acquired, expires int64
	ttl, now                 int64
	metadata                 sql.NullString
}

func (r row) live() bool { return r.nonce != "" && r.expires > r.now }

func (r row) record(group string) driver.Record {
	nonce, _ := driver.ParseNonce(r.nonce) // one of another form is left zero
	return driver.Record{
		Term:       driver.Term{Group: group, Participant: r.participant, Token: uint64(r.token), Nonce: nonce},
		Metadata:   decodeMetadata(r.metadata),
		AcquiredAt: time.UnixMicro(r.acquired).UTC(),
		TTL:        time.Duration(r.ttl) * time.Microsecond,
		Remaining:  time.Duration(min(r.expires-r.now, r.ttl)) * time.Microsecond,
	}
}

// encodeMetadata returns the parameter to send: JSON, or a typed NULL for none.
func encodeMetadata(m map[string]string) (any, error) {
	if m == nil {
		return sql.NullString{}, nil
	}
	b, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	return mssql.NVarCharMax(b), nil
}

// decodeMetadata reads what encodeMetadata wrote; anything else counts as none.
func decodeMetadata(s sql.NullString) map[string]string {
	if s.String == "" || s.String == "{}" {
		return nil
	}
	var m map[string]string
	if json.Unmarshal([]byte(s.String), &m) != nil {
		return nil
	}
	return m
}

// checkCommitted refuses connections that do not commit by themselves: what was
// written on them would be undone when they go back to the pool.
func checkCommitted(openTransactions int) error {
	if openTransactions == 0 {
		return nil
	}
	return driver.Misconfigured(errors.New("a transaction is open after the statement"),
		"do not set IMPLICIT_TRANSACTIONS on the pool's connections")
}
