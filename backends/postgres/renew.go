package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/multilock/multilock-go/core/driver"
)

// Renew implements driver.Driver, with one statement for all terms.
func (s *store) Renew(ctx context.Context, reqs []driver.RenewRequest, report func(driver.RenewResult)) {
	n := len(reqs)
	groups, nonces := make([]string, n), make([]string, n)
	ttls, metadata := make([]int64, n), make([]*string, n)
	for i, r := range reqs {
		groups[i], nonces[i], ttls[i] = r.Term.Group, r.Term.Nonce.String(), r.TTL.Microseconds()
		if r.Metadata != nil {
			m := encodeMetadata(r.Metadata)
			metadata[i] = &m
		}
	}
	results := make([]driver.RenewResult, 0, n)
	err := s.ask(ctx, s.renewals, question{sql: s.sql.renew, args: []any{groups, nonces, ttls, metadata}, row: func(rows pgx.Rows) error {
		var i int
		var granted *int64
		var alive bool
		if err := rows.Scan(&i, &granted, &alive); err != nil {
			return err
		}
		if i < 1 || i > n {
			return errors.New("the server numbers rows in a way of its own")
		}
		res := driver.RenewResult{Index: i - 1}
		switch {
		case granted != nil && *granted > 0:
			res.Granted = min(reqs[i-1].TTL, time.Duration(*granted)*time.Microsecond)
		case granted != nil || alive:
			res.Err = notApplied(errLocked)
		default:
			res.Err = driver.ErrLost
		}
		results = append(results, res)
		return nil
	}})
	if err != nil {
		for i := range reqs {
			report(driver.RenewResult{Index: i, Err: err})
		}
		return
	}
	for _, res := range results {
		report(res)
	}
}

// Resign implements driver.Driver. It goes where the heartbeats went: a leader makes
// no other calls, and a connection for those may be gone after minutes.
func (s *store) Resign(ctx context.Context, t driver.Term) error {
	pool := s.calls
	if s.renewals.Stat().IdleConns() > 0 {
		pool = s.renewals
	}
	var ended, alive bool
	err := s.ask(ctx, pool, question{
		sql: s.sql.resign, args: []any{t.Group, t.Nonce.String(), s.channel},
		row: func(rows pgx.Rows) error { return rows.Scan(&ended, &alive) },
	})
	switch {
	case err != nil:
		return err
	case ended:
		return nil
	case alive:
		return notApplied(errLocked)
	}
	return driver.ErrLost
}
