package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
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
		s.attempts(ctx, reqs, now, true, report)
		todo = later
	}
}

// attempt is the answer of the statement to one attempt.
type attempt struct {
	token, acquired, granted *int64 // nil unless it won
	exists                   bool
	resigned                 bool // its nonce is the one that resigned last
	same                     bool // the record carries its nonce
	live                     bool
	late                     bool // the record is to be clamped
	rec                      recordRow
}

// attempts makes the attempts whose indexes are given, in one statement. Groups
// that are new get their rows, and another attempt if first.
func (s *store) attempts(ctx context.Context, reqs []driver.AcquireRequest, which []int, first bool, report func(int, driver.Grant, error)) {
	n := len(which)
	groups, nonces, participants := make([]string, n), make([]string, n), make([]string, n)
	ttls, metadata := make([]int64, n), make([]string, n)
	for k, i := range which {
		r := reqs[i]
		groups[k], nonces[k], participants[k] = r.Group, r.Nonce.String(), r.Participant
		ttls[k], metadata[k] = r.TTL.Microseconds(), encodeMetadata(r.Metadata)
	}
	answers := make([]attempt, n)
	err := s.ask(ctx, s.calls, func(rows pgx.Rows) error {
		var k int
		var a attempt
		if err := rows.Scan(append([]any{&k, &a.token, &a.acquired, &a.granted, &a.exists, &a.resigned, &a.same, &a.live, &a.late}, a.rec.fields()...)...); err != nil {
			return err
		}
		if k < 1 || k > n {
			return errors.New("the server numbers rows in a way of its own")
		}
		answers[k-1] = a
		return nil
	}, s.sql.acquire, groups, nonces, participants, ttls, metadata)
	if err != nil {
		for _, i := range which {
			report(i, driver.Grant{}, err)
		}
		return
	}
	var fresh, raced []int
	var late []string
	for k, i := range which {
		a, req := answers[k], reqs[i]
		switch {
		case a.token != nil && a.acquired != nil && a.granted != nil:
			report(i, driver.Grant{
				Token:      uint64(*a.token),
				Granted:    min(req.TTL, time.Duration(*a.granted)*time.Microsecond),
				AcquiredAt: time.UnixMicro(*a.acquired),
			}, nil)
		case !a.exists && first:
			fresh = append(fresh, i)
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
		_ = s.ask(ctx, s.calls, func(pgx.Rows) error { return nil }, s.sql.clamp, late)
	}
	if len(fresh) == 0 {
		return
	}
	created := make([]string, len(fresh))
	for k, i := range fresh {
		created[k] = reqs[i].Group
	}
	slices.Sort(created)
	if err := s.ask(ctx, s.calls, func(pgx.Rows) error { return nil }, s.sql.insert, created); err != nil {
		for _, i := range fresh {
			report(i, driver.Grant{}, err)
		}
		return
	}
	s.attempts(ctx, reqs, fresh, false, report)
}

// raced answers attempts that found their record free and did not get it: another
// was quicker, which a second look tells, or somebody has locked the row.
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
