package sqlserver

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/multilock/multilock-go/core/driver"

	mssql "github.com/microsoft/go-mssqldb"
)

// renewal is one entry of the renew statement's @reqs.
type renewal struct {
	I        int             `json:"i"`
	Group    string          `json:"g"`
	Nonce    string          `json:"n"`
	TTL      int64           `json:"t"`
	Metadata json.RawMessage `json:"m,omitempty"` // not a string: some servers do not undo its escapes

	indices []int // the requests it answers
}

// Renew implements driver.Driver with one round trip for all terms.
func (d *leaseDriver) Renew(ctx context.Context, reqs []driver.RenewRequest, report func(driver.RenewResult)) {
	if len(reqs) == 0 {
		return
	}
	batch, err := newRenewals(reqs)
	if err == nil {
		err = d.prepare(ctx, false)
	}
	var answers map[int]renewed
	sent := time.Now()
	if err == nil {
		answers, err = d.renew(ctx, batch)
	}
	if err = d.withoutTable(err, driver.ErrLost); err != nil {
		for i := range reqs {
			report(driver.RenewResult{Index: i, Err: err})
		}
		return
	}
	for _, r := range batch {
		a, ok := answers[r.I]
		for _, i := range r.indices {
			ttl := reqs[i].TTL.Truncate(time.Microsecond)
			switch {
			case !ok: // not told: uncertain
			case a.number != 0:
				report(driver.RenewResult{Index: i, Err: rowError(a.number)})
			case a.done:
				d.bells.renewed(r.Group, reqs[i].Term.Nonce, sent.Add(ttl))
				report(driver.RenewResult{Index: i, Granted: ttl})
			default:
				d.bells.ended(r.Group, reqs[i].Term.Nonce, false)
				report(driver.RenewResult{Index: i, Err: driver.ErrLost})
			}
		}
	}
}

// newRenewals merges requests for the same term, so that the statement meets
// each row once: the longest time and the last metadata count.
func newRenewals(reqs []driver.RenewRequest) ([]*renewal, error) {
	type term struct {
		group string
		nonce driver.Nonce
	}
	batch := make([]*renewal, 0, len(reqs))
	known := make(map[term]*renewal, len(reqs))
	for i, req := range reqs {
		key := term{req.Term.Group, req.Term.Nonce}
		r := known[key]
		if r == nil {
			r = &renewal{I: len(batch), Group: req.Term.Group, Nonce: req.Term.Nonce.String()}
			known[key] = r
			batch = append(batch, r)
		}
		r.indices = append(r.indices, i)
		r.TTL = max(r.TTL, int64(req.TTL/time.Microsecond))
		if req.Metadata != nil {
			b, err := json.Marshal(req.Metadata)
			if err != nil {
				return nil, err
			}
			r.Metadata = b
		}
	}
	return batch, nil
}

type renewed struct {
	number int32 // the error that left it undecided, or 0
	done   bool
}

func (d *leaseDriver) renew(ctx context.Context, batch []*renewal) (map[int]renewed, error) {
	reqs, err := json.Marshal(batch)
	if err != nil {
		return nil, err
	}
	return call(ctx, d, func(ctx context.Context) (map[int]renewed, error) {
		answers := make(map[int]renewed, len(batch))
		err := d.query(ctx, d.stmt.renew, func(rows *sql.Rows, _ int) error {
			var i, open int
			var a renewed
			if err := rows.Scan(&i, &a.number, &a.done, &open); err != nil {
				return err
			}
			answers[i] = a
			return checkCommitted(open)
		}, sql.Named("reqs", mssql.NVarCharMax(reqs)))
		return answers, err
	})
}

// rowError is the error of one row of a batch, of which only the number came.
func rowError(number int32) error {
	return classify(mssql.Error{Number: number, Message: fmt.Sprintf("a row of the batch failed with error %d", number)})
}

// Leaders implements driver.BatchReader.
func (d *leaseDriver) Leaders(ctx context.Context, groups []string, report func(group string, rec driver.Record, err error)) {
	if len(groups) == 0 {
		return
	}
	err := d.prepare(ctx, false)
	var states map[int]state
	if err == nil {
		states, err = d.readMany(ctx, groups)
	}
	if err = d.withoutTable(err, driver.ErrNoLeader); err != nil {
		for _, g := range groups {
			report(g, driver.Record{}, err)
		}
		return
	}
	for i, g := range groups {
		s, ok := states[i]
		switch {
		case !ok:
		case s.number != 0:
			report(g, driver.Record{}, rowError(s.number))
		case !s.live():
			report(g, driver.Record{}, driver.ErrNoLeader)
		default:
			report(g, s.record(g), nil)
		}
	}
}

// state is the record of one group of a batch.
type state struct {
	row
	number int32 // the error that kept it from being read, or 0
}

func (d *leaseDriver) readMany(ctx context.Context, groups []string) (map[int]state, error) {
	type entry struct {
		I     int    `json:"i"`
		Group string `json:"g"`
	}
	entries := make([]entry, len(groups))
	for i, g := range groups {
		entries[i] = entry{i, g}
	}
	reqs, err := json.Marshal(entries)
	if err != nil {
		return nil, err
	}
	return call(ctx, d, func(ctx context.Context) (map[int]state, error) {
		states := make(map[int]state, len(groups))
		err := d.query(ctx, d.stmt.leaders, func(rows *sql.Rows, _ int) error {
			var i int
			var s state
			var nonce, participant sql.NullString
			var token, acquired, expires, ttl sql.NullInt64
			if err := rows.Scan(&i, &s.number, &nonce, &participant, &token, &acquired, &expires, &ttl, &s.metadata, &s.now); err != nil {
				return err
			}
			s.nonce, s.participant = nonce.String, participant.String
			s.token, s.acquired, s.expires, s.ttl = token.Int64, acquired.Int64, expires.Int64, ttl.Int64
			states[i] = s
			return nil
		}, sql.Named("reqs", mssql.NVarCharMax(reqs)))
		return states, err
	})
}
