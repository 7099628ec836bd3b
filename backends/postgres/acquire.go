package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/multilock/multilock-go/core/driver"
)

// Acquire implements driver.Driver.
func (s *store) Acquire(ctx context.Context, req driver.AcquireRequest) (g driver.Grant, err error) {
	s.AcquireBatch(ctx, []driver.AcquireRequest{req}, func(_ int, grant driver.Grant, e error) { g, err = grant, e })
	return g, err
}

// AcquireBatch implements driver.BatchAcquirer. Attempts for different groups
// share a statement; a second one for the same group follows after the first.
func (s *store) AcquireBatch(ctx context.Context, reqs []driver.AcquireRequest, report func(int, driver.Grant, error)) {
	todo := make([]int, len(reqs))
	for i := range reqs {
		todo[i] = i
	}
	for len(todo) > 0 {
		var now, later []int
		groups := make(map[string]bool, len(todo))
		for _, i := range todo {
			if groups[reqs[i].Group] {
				later = append(later, i)
				continue
			}
			groups[reqs[i].Group] = true
			now = append(now, i)
		}
		if len(now) == 1 {
			s.attempt(ctx, reqs, now[0], report)
		} else {
			s.attempts(ctx, reqs, now, report)
		}
		todo = later
	}
}

// attempt is what a statement saw of one attempt.
type attempt struct {
	token, acquired *int64 // nil unless it won
	granted         *int64 // nil if all that was asked for
	exists          bool
	resigned        bool // its nonce is the one that resigned last
	same            bool // the record carries its nonce
	live            bool
	late            bool // the record is to be clamped
	rec             recordRow
}

// seen are the columns of that name.
func (a *attempt) seen() []any {
	return append([]any{&a.exists, &a.resigned, &a.same, &a.live, &a.late}, a.rec.fields()...)
}

func (a *attempt) won() bool { return a.token != nil && a.acquired != nil }

func (a *attempt) grant(req driver.AcquireRequest) driver.Grant {
	g := driver.Grant{Token: uint64(*a.token), Granted: req.TTL, AcquiredAt: time.UnixMicro(*a.acquired)}
	if a.granted != nil {
		g.Granted = min(req.TTL, time.Duration(*a.granted)*time.Microsecond)
	}
	return g
}

// attempt makes one attempt, in one statement unless the record is its own.
func (s *store) attempt(ctx context.Context, reqs []driver.AcquireRequest, i int, report func(int, driver.Grant, error)) {
	r := reqs[i]
	var a attempt
	err := s.ask(ctx, s.calls, question{
		sql:   s.sql.acquireOne,
		row:   func(rows pgx.Rows) error { return rows.Scan(append([]any{&a.token, &a.acquired}, a.seen()...)...) },
		args:  []any{r.Group, r.Nonce.String(), r.Participant, r.TTL.Microseconds(), encodeMetadata(r.Metadata)},
		short: s.sql.take, shortRow: func(rows pgx.Rows) error { return rows.Scan(&a.token, &a.acquired) },
	})
	switch {
	case err != nil:
		report(i, driver.Grant{}, err)
	case !a.won() && a.same && a.live:
		s.attempts(ctx, reqs, []int{i}, report) // an earlier send has won: it is extended
	default:
		s.settle(ctx, reqs, []int{i}, []attempt{a}, report)
	}
}

// columns are the parameters of attempts whose indexes are given.
func columns(reqs []driver.AcquireRequest, which []int) []any {
	n := len(which)
	groups, nonces, participants := make([]string, n), make([]string, n), make([]string, n)
	ttls, metadata := make([]int64, n), make([]string, n)
	for k, i := range which {
		r := reqs[i]
		groups[k], nonces[k], participants[k] = r.Group, r.Nonce.String(), r.Participant
		ttls[k], metadata[k] = r.TTL.Microseconds(), encodeMetadata(r.Metadata)
	}
	return []any{groups, nonces, participants, ttls, metadata}
}

// attempts makes the attempts whose indexes are given, in one statement, and for
// groups that have no rows in another.
func (s *store) attempts(ctx context.Context, reqs []driver.AcquireRequest, which []int, report func(int, driver.Grant, error)) {
	answers := make([]attempt, len(which))
	err := s.ask(ctx, s.calls, question{sql: s.sql.acquire, args: columns(reqs, which), row: func(rows pgx.Rows) error {
		var k int
		var a attempt
		if err := rows.Scan(append([]any{&k, &a.token, &a.acquired, &a.granted}, a.seen()...)...); err != nil {
			return err
		}
		if k < 1 || k > len(which) {
			return errors.New("the server numbers rows in a way of its own")
		}
		answers[k-1] = a
		return nil
	}})
	if err != nil {
		for _, i := range which {
			report(i, driver.Grant{}, err)
		}
		return
	}
	var fresh, others []int
	var seen []attempt
	for k, i := range which {
		if a := answers[k]; a.exists || a.won() {
			others, seen = append(others, i), append(seen, a)
		} else {
			fresh = append(fresh, i)
		}
	}
	s.settle(ctx, reqs, others, seen, report)
	if len(fresh) > 0 {
		s.first(ctx, reqs, fresh, report)
	}
}

// first makes the rows of groups that have none, as first terms.
func (s *store) first(ctx context.Context, reqs []driver.AcquireRequest, which []int, report func(int, driver.Grant, error)) {
	made := make(map[string]attempt, len(which))
	err := s.ask(ctx, s.calls, question{sql: s.sql.insert, args: columns(reqs, which), row: func(rows pgx.Rows) error {
		var group string
		var a attempt
		if err := rows.Scan(&group, &a.token, &a.acquired); err != nil {
			return err
		}
		made[group] = a
		return nil
	}})
	if err != nil {
		for _, i := range which {
			report(i, driver.Grant{}, err)
		}
		return
	}
	answers := make([]attempt, len(which))
	for k, i := range which {
		answers[k] = made[reqs[i].Group]
	}
	s.settle(ctx, reqs, which, answers, report)
}

// settle reports what statements saw of attempts.
func (s *store) settle(ctx context.Context, reqs []driver.AcquireRequest, which []int, answers []attempt, report func(int, driver.Grant, error)) {
	var raced []int
	var late []string
	for k, i := range which {
		a, req := answers[k], reqs[i]
		switch {
		case a.won():
			report(i, a.grant(req), nil)
		case a.resigned:
			report(i, driver.Grant{}, driver.ErrResigned)
		case a.live && a.same:
			// An earlier send has won, so this is not the answer that nothing changed.
			report(i, driver.Grant{}, errLocked)
		case a.live:
			if a.late {
				late = append(late, req.Group)
			}
			report(i, driver.Grant{}, &driver.HeldError{Record: a.rec.record(req.Group)})
		default:
			raced = append(raced, i)
		}
	}
	s.raced(ctx, reqs, raced, report)
	if len(late) > 0 {
		// If this fails, whoever comes next does it.
		_ = s.ask(ctx, s.calls, question{sql: s.sql.clamp, args: []any{late}})
	}
}

// raced answers attempts that found their record free or missing and did not get
// it: another was quicker, which a second look tells, or somebody has locked the
// row.
func (s *store) raced(ctx context.Context, reqs []driver.AcquireRequest, which []int, report func(int, driver.Grant, error)) {
	if len(which) == 0 {
		return
	}
	groups := make([]string, len(which))
	for k, i := range which {
		groups[k] = reqs[i].Group
	}
	found, err := s.read(ctx, groups)
	for _, i := range which {
		rec, ok := found[reqs[i].Group]
		switch {
		case err != nil, !ok:
			report(i, driver.Grant{}, notApplied(errLocked))
		case rec.Nonce == reqs[i].Nonce:
			report(i, driver.Grant{}, errLocked) // an earlier send is being executed
		default:
			report(i, driver.Grant{}, &driver.HeldError{Record: rec})
		}
	}
}

// encodeMetadata makes JSON of metadata. Maps of strings cannot fail to encode.
func encodeMetadata(m map[string]string) string {
	if len(m) == 0 {
		return "{}"
	}
	b, _ := json.Marshal(m)
	return string(b)
}
