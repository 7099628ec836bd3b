package tds

import "strings"

// The guard's statements, and those of the tests' harness: what a user, an
// operator or a careless program does to the table of leases.
var (
	_ = register("guard", text("guard"), guard)
	_ = register("create guard table", text("guard_schema"), func(x *exec) error { return x.create(kindFence) })
	_ = register("ping", "select 1", func(x *exec) error {
		x.p.result([]column{{"one", integer}}, [][]any{{1}})
		return nil
	})
	_ = register("drop table", "DROP TABLE {table}", dropTable)
	// A lock on the row, until the transaction ends.
	_ = register("lock", "UPDATE {table} SET ttl_us = {t}.ttl_us WHERE grp = @grp", func(x *exec) error {
		return x.touch(func(r *leaseRow) {})
	})
	// Somebody else's record.
	_ = register("corrupt", "UPDATE {table} SET nonce = N'not a nonce', participant = N'somebody else', metadata = N'not JSON' WHERE grp = @grp", func(x *exec) error {
		return x.touch(func(r *leaseRow) {
			r.nonce, r.participant, r.metadata = "not a nonce", "somebody else", "not JSON"
		})
	})
	_ = register("set token", "UPDATE {table} SET token = @token WHERE grp = @grp", func(x *exec) error {
		return x.touch(func(r *leaseRow) { r.token = x.int("token") })
	})
	// Idle time that has gone by.
	_ = register("age", "UPDATE {table} SET acquired_us = {t}.acquired_us - @us, expires_us = {t}.expires_us - @us WHERE grp = @grp", func(x *exec) error {
		return x.touch(func(r *leaseRow) {
			r.acquired -= x.int("us")
			r.expires -= x.int("us")
		})
	})
	_ = register("delete", "DELETE FROM {table} WHERE grp = @grp", func(x *exec) error {
		return x.remove(func(key string) bool { return key == x.str("grp") })
	})
	_ = register("delete namespace", "DELETE FROM {table}", func(x *exec) error {
		return x.remove(func(string) bool { return true })
	})
	_ = register("dump", "SELECT grp, nonce, last_nonce, participant, token, acquired_us, expires_us, ttl_us, metadata FROM {table}", dump)
	_ = register("load", "INSERT INTO {table} (grp, nonce, last_nonce, participant, token, acquired_us, expires_us, ttl_us, metadata)"+
		" VALUES (@grp, @nonce, @last_nonce, @participant, @token, @acquired, @expires, @ttl, @metadata)", load)
)

// guard admits a token or not; the rows it touches stay locked until the
// transaction ends.
func guard(x *exec) error {
	t, err := x.target(kindFence, "SELECT", "INSERT", "UPDATE")
	if err != nil {
		return err
	}
	e, admitted := t.entry(x.str("resource")), 0
	err = x.statement(func(st *transaction) error {
		if err := x.write(st, e); err != nil {
			return err
		}
		if r, ok := e.row.(fenceRow); ok && r.token <= x.int("token") {
			st.set(e, fenceRow{x.int("token")})
			admitted = 1
		} else {
			st.unchanged(e)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := x.between(); err != nil {
		return err
	}
	if admitted == 0 {
		if err := x.wait(e); err != nil {
			return err
		}
		if e.row == nil {
			err := x.statement(func(st *transaction) error { return x.insert(st, e, fenceRow{x.int("token")}) })
			if err != nil {
				return err
			}
			admitted = 1
		}
	}
	x.p.result([]column{{"admitted", integer}}, [][]any{{admitted}})
	return nil
}

func dropTable(x *exec) error {
	key := tableKey(x.schema, x.table)
	if x.s.tables[key] == nil {
		return &sqlError{3701, 11, "Cannot drop the table '" + x.table + "', because it does not exist or you do not have permission."}
	}
	delete(x.s.tables, key)
	return nil
}

func (x *exec) touch(change func(*leaseRow)) error {
	t, err := x.target(kindLease, "UPDATE")
	if err != nil {
		return err
	}
	return x.update(t.entry(x.str("grp")), func(r *leaseRow) bool { change(r); return true }, nil)
}

func (x *exec) remove(which func(key string) bool) error {
	t, err := x.target(kindLease, "DELETE")
	if err != nil {
		return err
	}
	return x.statement(func(st *transaction) error {
		for key, e := range t.rows {
			if !which(key) {
				continue
			}
			if err := x.write(st, e); err != nil {
				return err
			}
			st.set(e, nil)
		}
		return nil
	})
}

func dump(x *exec) error {
	t, err := x.target(kindLease, "SELECT")
	if err != nil {
		return err
	}
	var rows [][]any
	for key, e := range t.rows {
		if err := x.wait(e); err != nil {
			return err
		}
		if r, ok := e.row.(leaseRow); ok {
			rows = append(rows, []any{key, r.nonce, r.lastNonce, r.participant, r.token, r.acquired, r.expires, r.ttl, r.metadata})
		}
	}
	x.p.result([]column{{"grp", nvarchar}, {"nonce", nvarchar}, {"last_nonce", nvarchar}, {"participant", nvarchar}, {"token", bigint},
		{"acquired_us", bigint}, {"expires_us", bigint}, {"ttl_us", bigint}, {"metadata", nvarchar}}, rows)
	return nil
}

func load(x *exec) error {
	t, err := x.target(kindLease, "INSERT")
	if err != nil {
		return err
	}
	return x.statement(func(st *transaction) error {
		return x.insert(st, t.entry(x.str("grp")), leaseRow{
			nonce: x.str("nonce"), lastNonce: x.str("last_nonce"), participant: x.str("participant"),
			token: x.int("token"), acquired: x.int("acquired"), expires: x.int("expires"), ttl: x.int("ttl"),
			metadata: x.args["metadata"],
		})
	})
}

// createSchema handles CREATE SCHEMA, which has a name of its own and no table to
// be found by. It reports whether text is one.
func (c *session) createSchema(text string) (bool, error) {
	name, ok := strings.CutPrefix(normalise(text), "CREATE SCHEMA [")
	if !ok || !strings.HasSuffix(name, "]") {
		return false, nil
	}
	c.s.counts["create schema"]++
	if !c.may("CREATE SCHEMA") {
		return true, &sqlError{262, 14, "CREATE SCHEMA permission denied in database."}
	}
	name = strings.ReplaceAll(strings.TrimSuffix(name, "]"), "]]", "]")
	if c.s.schemas[name] {
		return true, &sqlError{2714, 16, "There is already an object named '" + name + "' in the database."}
	}
	c.s.schemas[name] = true
	return true, nil
}
