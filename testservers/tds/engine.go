package tds

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// table is a table of either kind: leases, or fences of the guard.
type table struct {
	name string
	kind string
	rows map[string]*entry
}

// entry is the place of one key, whether a row is there or not.
type entry struct {
	owner *session // who has locked it for writing
	freed chan struct{}
	row   any // leaseRow or fenceRow; nil if there is no row
}

type leaseRow struct {
	nonce, lastNonce, participant string
	token, acquired, expires, ttl int64
	metadata                      any // string, or nil
}

type fenceRow struct{ token int64 }

// transaction holds what is to be undone, and the locks, until it ends.
type transaction struct {
	id    uint64
	owner *session
	undo  []func()
	locks []*entry
}

func (t *transaction) commit() { t.release() }

func (t *transaction) rollback() {
	for i := len(t.undo) - 1; i >= 0; i-- {
		t.undo[i]()
	}
	t.undo = nil
	t.release()
}

func (t *transaction) release() {
	for _, e := range t.locks {
		e.owner = nil
		close(e.freed)
		e.freed = make(chan struct{})
	}
	t.locks = nil
}

// exec is one batch or call being executed. The server's mutex is held, except
// while it waits for a lock and, for a moment, between statements.
type exec struct {
	ctx    context.Context
	c      *session
	s      *Server
	args   map[string]any
	p      *reply
	name   string // of the statement
	schema string
	table  string
}

func (x *exec) str(name string) string {
	v, _ := x.args[name].(string)
	return v
}

func (x *exec) int(name string) int64 {
	v, _ := x.args[name].(int64)
	return v
}

// clock is SYSUTCDATETIME in microseconds. A statement that [Server.Hold] holds
// stops after it has read it.
func (x *exec) clock() (int64, error) {
	now := x.s.now().UnixMicro()
	h := x.s.holds[x.name]
	if h == nil {
		return now, nil
	}
	delete(x.s.holds, x.name)
	x.s.mu.Unlock()
	close(h.reached)
	select {
	case <-h.released:
	case <-x.ctx.Done():
	}
	x.s.mu.Lock()
	return now, x.ctx.Err()
}

// between lets other sessions in between two statements of a batch, as they get
// in on a real server, and notices a cancellation.
func (x *exec) between() error {
	x.s.mu.Unlock()
	x.s.mu.Lock()
	return x.ctx.Err()
}

// target finds the table of the statement, as one of the given kind.
func (x *exec) target(kind string, permissions ...string) (*table, error) {
	for _, p := range permissions {
		if !x.c.may(p) {
			return nil, &sqlError{229, 14, fmt.Sprintf("The %s permission was denied on the object '%s'.", p, x.table)}
		}
	}
	t := x.s.tables[tableKey(x.schema, x.table)]
	if t == nil {
		number := int32(208)
		if x.s.opts.Compatible {
			number = CompatibleError
		}
		return nil, &sqlError{number, 16, fmt.Sprintf("Invalid object name '%s.%s'.", x.schema, x.table)}
	}
	if t.kind != kind {
		return nil, &sqlError{207, 16, "Invalid column name."}
	}
	return t, nil
}

func tableKey(schema, table string) string { return strings.ToLower(schema + "\x00" + table) }

// statement runs one statement: what it writes is undone if it fails, and its
// locks are freed at its end unless the session is in a transaction.
func (x *exec) statement(f func(st *transaction) error) error {
	st := &transaction{owner: x.c}
	err := f(st)
	if err != nil {
		for i := len(st.undo) - 1; i >= 0; i-- {
			st.undo[i]()
		}
		st.undo = nil
	}
	if x.c.tran == nil && x.s.opts.ImplicitTransactions {
		x.c.tran = x.s.newTransaction(x.c)
	}
	if t := x.c.tran; t != nil {
		t.undo = append(t.undo, st.undo...)
		t.locks = append(t.locks, st.locks...)
		return err
	}
	st.release()
	return err
}

func (s *Server) newTransaction(c *session) *transaction {
	s.lastTran++
	return &transaction{id: s.lastTran, owner: c}
}

// entry is the place of a key in a table.
func (t *table) entry(key string) *entry {
	e := t.rows[key]
	if e == nil {
		e = &entry{freed: make(chan struct{})}
		t.rows[key] = e
	}
	return e
}

// write locks a key for writing.
func (x *exec) write(st *transaction, e *entry) error {
	if e.owner == x.c {
		return nil
	}
	if err := x.wait(e); err != nil {
		return err
	}
	e.owner = x.c
	st.locks = append(st.locks, e)
	return nil
}

// set changes a locked row.
func (t *transaction) set(e *entry, row any) {
	old := e.row
	t.undo = append(t.undo, func() { e.row = old })
	e.row = row
}

// unchanged gives a lock back that turned out not to be needed: the row does not
// match the statement's condition.
func (t *transaction) unchanged(e *entry) {
	if n := len(t.locks); n > 0 && t.locks[n-1] == e {
		t.locks = t.locks[:n-1]
		e.owner = nil
		close(e.freed)
		e.freed = make(chan struct{})
	}
}

// wait returns when nobody else has locked the key: reading committed data waits
// for writers.
func (x *exec) wait(e *entry) error {
	var timeout <-chan time.Time
	if limit := x.c.lockTimeout; limit >= 0 {
		t := time.NewTimer(limit)
		defer t.Stop()
		timeout = t.C
	}
	for e.owner != nil && e.owner != x.c {
		x.c.waitsFor = e.owner
		for o := e.owner; o != nil; o = o.waitsFor {
			if o.waitsFor == x.c {
				x.c.waitsFor = nil
				if x.c.tran != nil { // the victim loses its transaction
					x.c.tran.rollback()
					x.c.tran = nil
				}
				return &sqlError{1205, 13, "Transaction was deadlocked on lock resources with another process and has been chosen as the deadlock victim."}
			}
		}
		freed := e.freed
		x.s.mu.Unlock()
		var err error
		select {
		case <-freed:
		case <-timeout:
			err = &sqlError{1222, 16, "Lock request time out period exceeded."}
			if x.s.opts.Compatible {
				err = &sqlError{CompatibleError, 16, "canceling statement due to lock timeout"}
			}
		case <-x.ctx.Done():
			err = x.ctx.Err()
		}
		x.s.mu.Lock()
		x.c.waitsFor = nil
		if err != nil {
			return err
		}
	}
	return x.ctx.Err()
}

// tranCount is @@TRANCOUNT.
func (x *exec) tranCount() int {
	if x.c.tran != nil {
		return 1
	}
	return 0
}
