package tds

import (
	"embed"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"sort"
	"time"
)

// The statements of backends/sqlserver. The texts are copies on purpose: whoever
// changes one there has to change the meaning given to it here.
//
//go:embed sql/*.sql
var texts embed.FS

func text(name string) string {
	b, err := texts.ReadFile("sql/" + name + ".sql")
	if err != nil {
		panic(err) // embedded
	}
	return string(b)
}

var (
	_ = register("acquire", text("acquire"), acquire)
	_ = register("renew", text("renew"), renew)
	_ = register("resign", text("resign"), resign)
	_ = register("leader", text("leader"), leader)
	_ = register("leaders", text("leaders"), leaders)
	_ = register("probe", text("probe"), probe)
	_ = register("durability", text("durability"), durability)
	_ = register("create table", text("schema"), createTable)
)

const (
	kindLease = "lease"
	kindFence = "fence"
)

func acquire(x *exec) error {
	x.c.lockTimeout = 200 * time.Millisecond
	grp, nonce, ttl := x.str("grp"), x.str("nonce"), x.int("ttl")
	t, err := x.target(kindLease, "SELECT", "INSERT", "UPDATE")
	if err != nil {
		return err
	}
	// SET @seen = (SELECT ...)
	e := t.entry(grp)
	if err := x.wait(e); err != nil {
		return err
	}
	old, found := e.row.(leaseRow)
	now, err := x.clock()
	if err != nil {
		return err
	}
	if err := x.between(); err != nil {
		return err
	}
	if !found {
		err := x.statement(func(st *transaction) error { return x.insert(st, e, leaseRow{}) })
		var failed *sqlError
		if err != nil && !(errors.As(err, &failed) && failed.number == 2627) {
			return err
		}
		if err := x.between(); err != nil {
			return err
		}
	}
	// UPDATE: clamp
	err = x.update(e, func(r *leaseRow) bool {
		if !found || r.expires != old.expires || r.expires <= now+r.ttl+r.ttl/20 {
			return false
		}
		r.expires = now + r.ttl
		return true
	}, nil)
	if err != nil {
		return err
	}
	if err := x.between(); err != nil {
		return err
	}
	// UPDATE: take
	var won []any
	err = x.update(e, func(r *leaseRow) bool {
		if r.lastNonce == nonce || r.expires > now && r.nonce != nonce {
			return false
		}
		mine := r.nonce == nonce && r.expires > now
		if !mine {
			r.token, r.acquired = max(r.token+1, now), now
		}
		if r.nonce == nonce && r.expires > now+ttl {
			r.expires, r.ttl = r.expires+1, max(r.ttl, ttl)
		} else {
			r.expires, r.ttl = now+ttl, ttl
		}
		r.nonce, r.participant, r.metadata = nonce, x.str("participant"), x.args["metadata"]
		return true
	}, func(r leaseRow) { won = []any{r.token, r.acquired, x.tranCount()} })
	if err != nil {
		return err
	}
	if won != nil {
		won[2] = x.tranCount()
		x.p.result([]column{{"token", bigint}, {"acquired_us", bigint}, {"trancount", integer}}, [][]any{won})
		return nil
	}
	if err := x.between(); err != nil {
		return err
	}
	// SELECT
	if err := x.wait(e); err != nil {
		return err
	}
	var rows [][]any
	if r, ok := e.row.(leaseRow); ok {
		rows = append(rows, []any{r.nonce, r.lastNonce, r.participant, r.token, r.acquired, r.expires, r.ttl, r.metadata, now})
	}
	x.p.result([]column{{"nonce", nvarchar}, {"last_nonce", nvarchar}, {"participant", nvarchar}, {"token", bigint}, {"acquired_us", bigint},
		{"expires_us", bigint}, {"ttl_us", bigint}, {"metadata", nvarchar}, {"now_us", bigint}}, rows)
	return nil
}

// insert adds a row, which nobody may have done before.
func (x *exec) insert(st *transaction, e *entry, row any) error {
	if err := x.write(st, e); err != nil {
		return err
	}
	if e.row != nil {
		return &sqlError{2627, 14, "Violation of PRIMARY KEY constraint. Cannot insert duplicate key."}
	}
	st.set(e, row)
	return nil
}

// update is an UPDATE statement of one row by its key: change tells whether the
// row matches the rest of the condition and changes it; output sees the result.
func (x *exec) update(e *entry, change func(*leaseRow) bool, output func(leaseRow)) error {
	return x.statement(func(st *transaction) error { return x.updateRow(st, e, change, output) })
}

func (x *exec) updateRow(st *transaction, e *entry, change func(*leaseRow) bool, output func(leaseRow)) error {
	if err := x.write(st, e); err != nil {
		return err
	}
	r, ok := e.row.(leaseRow)
	if !ok || !change(&r) {
		st.unchanged(e)
		return nil
	}
	st.set(e, r)
	if output != nil {
		output(r)
	}
	return nil
}

// request is an entry of @reqs.
type request struct {
	I        int             `json:"i"`
	Group    string          `json:"g"`
	Nonce    string          `json:"n"`
	TTL      int64           `json:"t"`
	Metadata json.RawMessage `json:"m"`
	number   int32
}

// openJSON reads @reqs, in the order of the primary key of the table it fills.
func (x *exec) openJSON() ([]*request, error) {
	if x.s.opts.NoOpenJSON {
		return nil, &sqlError{208, 16, "Invalid object name 'OPENJSON'."}
	}
	var reqs []*request
	if err := json.Unmarshal([]byte(x.str("reqs")), &reqs); err != nil {
		return nil, &sqlError{13609, 16, "JSON text is not properly formatted."}
	}
	sort.Slice(reqs, func(i, j int) bool { return reqs[i].I < reqs[j].I })
	for i := 1; i < len(reqs); i++ {
		if reqs[i].I == reqs[i-1].I {
			return nil, &sqlError{2627, 14, "Violation of PRIMARY KEY constraint. Cannot insert duplicate key."}
		}
	}
	return reqs, nil
}

// caught reports whether err is one that TRY and CATCH see: not the end of the
// request, nor what is found out when a statement is compiled.
func caught(err error) (*sqlError, bool) {
	var failed *sqlError
	return failed, errors.As(err, &failed)
}

func renew(x *exec) error {
	reqs, err := x.openJSON()
	if err != nil {
		return err
	}
	x.c.lockTimeout = 50 * time.Millisecond
	now, err := x.clock()
	if err != nil {
		return err
	}
	t, err := x.target(kindLease, "SELECT", "UPDATE")
	if err != nil {
		return err
	}
	type key struct{ group, nonce string }
	done := make(map[key]leaseRow)
	one := func(st *transaction, r *request, now int64) error {
		e := t.rows[r.Group]
		if e == nil {
			return nil
		}
		return x.updateRow(st, e, func(q *leaseRow) bool {
			if q.nonce != r.Nonce || q.expires <= now {
				return false
			}
			if q.expires > now+r.TTL {
				q.expires, q.ttl = q.expires+1, max(q.ttl, r.TTL)
			} else {
				q.expires, q.ttl = now+r.TTL, r.TTL
			}
			if r.Metadata != nil {
				q.metadata = string(r.Metadata)
			}
			return true
		}, func(q leaseRow) { done[key{r.Group, r.Nonce}] = q })
	}
	err = x.statement(func(st *transaction) error {
		for _, r := range reqs {
			if err := one(st, r, now); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		if _, ok := caught(err); !ok {
			return err
		}
		clear(done)
		x.c.lockTimeout = time.Millisecond
		x.name = "renew row" // for Hold
		for _, r := range reqs {
			if err := x.between(); err != nil {
				return err
			}
			now, err := x.clock()
			if err != nil {
				return err
			}
			err = x.statement(func(st *transaction) error { return one(st, r, now) })
			if failed, ok := caught(err); ok {
				r.number = failed.number
			} else if err != nil {
				return err
			}
		}
	}
	// UPDATE: clamp
	if err := x.between(); err != nil {
		return err
	}
	x.name = "renew clamp" // for Hold
	if now, err = x.clock(); err != nil {
		return err
	}
	late := func(r leaseRow) bool { return r.expires > now+r.ttl+r.ttl/20 }
	if slices.ContainsFunc(slices.Collect(maps.Values(done)), late) {
		x.c.lockTimeout = time.Millisecond
		err := x.statement(func(st *transaction) error {
			for k, seen := range done {
				err := x.updateRow(st, t.entry(k.group), func(q *leaseRow) bool {
					if q.nonce != k.nonce || q.expires != seen.expires || !late(seen) {
						return false
					}
					q.expires = now + seen.ttl
					return true
				}, nil)
				if err != nil {
					return err
				}
			}
			return nil
		})
		if _, ok := caught(err); err != nil && !ok {
			return err
		}
	}
	rows := make([][]any, 0, len(reqs))
	for _, r := range reqs {
		renewed := 0
		if _, ok := done[key{r.Group, r.Nonce}]; ok {
			renewed = 1
		}
		rows = append(rows, []any{r.I, int64(r.number), renewed, x.tranCount()})
	}
	x.p.result([]column{{"i", integer}, {"num", integer}, {"renewed", integer}, {"trancount", integer}}, rows)
	return nil
}

func resign(x *exec) error {
	x.c.lockTimeout = 200 * time.Millisecond
	now, err := x.clock()
	if err != nil {
		return err
	}
	t, err := x.target(kindLease, "SELECT", "UPDATE")
	if err != nil {
		return err
	}
	ended := 0
	err = x.update(t.entry(x.str("grp")), func(r *leaseRow) bool {
		if r.nonce != x.str("nonce") || r.expires <= now {
			return false
		}
		r.lastNonce, r.nonce, r.participant, r.metadata, r.expires = r.nonce, "", "", nil, 0
		return true
	}, func(leaseRow) { ended++ })
	if err != nil {
		return err
	}
	x.p.result([]column{{"ended", integer}, {"trancount", integer}}, [][]any{{ended, x.tranCount()}})
	return nil
}
