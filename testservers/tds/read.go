package tds

import "time"

func leader(x *exec) error {
	x.c.lockTimeout = 200 * time.Millisecond
	now, err := x.clock()
	if err != nil {
		return err
	}
	t, err := x.target(kindLease, "SELECT")
	if err != nil {
		return err
	}
	e := t.entry(x.str("grp"))
	if err := x.wait(e); err != nil {
		return err
	}
	var rows [][]any
	if r, ok := e.row.(leaseRow); ok {
		rows = append(rows, []any{r.nonce, r.participant, r.token, r.acquired, r.expires, r.ttl, r.metadata, now})
	}
	x.p.result([]column{{"nonce", nvarchar}, {"participant", nvarchar}, {"token", bigint}, {"acquired_us", bigint},
		{"expires_us", bigint}, {"ttl_us", bigint}, {"metadata", nvarchar}, {"now_us", bigint}}, rows)
	return nil
}

func leaders(x *exec) error {
	reqs, err := x.openJSON()
	if err != nil {
		return err
	}
	x.c.lockTimeout = 50 * time.Millisecond
	now, err := x.clock()
	if err != nil {
		return err
	}
	t, err := x.target(kindLease, "SELECT")
	if err != nil {
		return err
	}
	seen := make(map[int]leaseRow)
	one := func(r *request) error {
		e := t.rows[r.Group]
		if e == nil {
			return nil
		}
		if err := x.wait(e); err != nil {
			return err
		}
		if row, ok := e.row.(leaseRow); ok {
			seen[r.I] = row
		}
		return nil
	}
	for _, r := range reqs {
		if err = one(r); err != nil {
			break
		}
	}
	if err != nil {
		if _, ok := caught(err); !ok {
			return err
		}
		clear(seen)
		x.c.lockTimeout = time.Millisecond
		for _, r := range reqs {
			if err := x.between(); err != nil {
				return err
			}
			err := one(r)
			if failed, ok := caught(err); ok {
				r.number = failed.number
			} else if err != nil {
				return err
			}
		}
	}
	rows := make([][]any, 0, len(reqs))
	for _, r := range reqs {
		cells := []any{r.I, int64(r.number), nil, nil, nil, nil, nil, nil, nil, now}
		if s, ok := seen[r.I]; ok {
			copy(cells[2:], []any{s.nonce, s.participant, s.token, s.acquired, s.expires, s.ttl, s.metadata})
		}
		rows = append(rows, cells)
	}
	x.p.result([]column{{"i", integer}, {"num", integer}, {"nonce", nvarchar}, {"participant", nvarchar}, {"token", bigint}, {"acquired_us", bigint},
		{"expires_us", bigint}, {"ttl_us", bigint}, {"metadata", nvarchar}, {"now_us", bigint}}, rows)
	return nil
}
