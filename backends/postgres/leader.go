package postgres

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/multilock/multilock-go/core/driver"
)

// recordRow is a row as the statements read it. Everything may be NULL: where
// there is no row, or where somebody else wrote one.
type recordRow struct {
	participant, nonce, metadata    *string
	token, acquired, ttl, remaining *int64
}

func (r *recordRow) fields() []any {
	return []any{&r.participant, &r.token, &r.nonce, &r.metadata, &r.acquired, &r.ttl, &r.remaining}
}

// record makes a Record of a row, as far as it can be read.
func (r *recordRow) record(group string) driver.Record {
	rec := driver.Record{Term: driver.Term{Group: group}, Remaining: driver.RemainingUnknown}
	if r.participant != nil {
		rec.Participant = *r.participant
	}
	if r.token != nil {
		rec.Token = uint64(max(*r.token, 0))
	}
	if r.nonce != nil {
		rec.Nonce, _ = driver.ParseNonce(*r.nonce) // a uuid column holds nothing else
	}
	if r.metadata != nil {
		_ = json.Unmarshal([]byte(*r.metadata), &rec.Metadata) // as much of it as is ours
	}
	if r.acquired != nil {
		rec.AcquiredAt = time.UnixMicro(*r.acquired)
	}
	if r.ttl != nil {
		rec.TTL = time.Duration(*r.ttl) * time.Microsecond
	}
	if r.remaining != nil {
		rec.Remaining = max(0, time.Duration(*r.remaining)*time.Microsecond)
	}
	return rec
}

// Leader implements driver.Driver.
func (s *store) Leader(ctx context.Context, group string) (driver.Record, error) {
	found, err := s.read(ctx, []string{group})
	if err != nil {
		return driver.Record{}, err
	}
	rec, ok := found[group]
	if !ok {
		return driver.Record{}, driver.ErrNoLeader
	}
	return rec, nil
}

// Leaders implements driver.BatchReader.
func (s *store) Leaders(ctx context.Context, groups []string, report func(string, driver.Record, error)) {
	found, err := s.read(ctx, groups)
	for _, g := range groups {
		rec, ok := found[g]
		switch {
		case err != nil:
			report(g, driver.Record{}, err)
		case !ok:
			report(g, driver.Record{}, driver.ErrNoLeader)
		default:
			report(g, rec, nil)
		}
	}
}

// read reads the live records of groups.
func (s *store) read(ctx context.Context, groups []string) (map[string]driver.Record, error) {
	found := make(map[string]driver.Record, len(groups))
	err := s.ask(ctx, s.calls, question{sql: s.sql.leaders, args: []any{groups}, row: func(rows pgx.Rows) error {
		var group string
		var row recordRow
		if err := rows.Scan(append([]any{&group}, row.fields()...)...); err != nil {
			return err
		}
		found[group] = row.record(group)
		return nil
	}})
	if err != nil {
		return nil, err
	}
	return found, nil
}
