package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/multilock/multilock-go/core/driver"
)

// connect takes a connection from the pool, to a server that is new enough.
func (s *store) connect(ctx context.Context, pool *pgxpool.Pool) (*pgxpool.Conn, error) {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return nil, s.connectError(ctx, err)
	}
	if err := s.look(ctx, conn.Conn()); err != nil {
		err = s.judge(ctx, conn.Conn(), err)
		conn.Release()
		return nil, err
	}
	return conn, nil
}

// look checks what no answer to a statement tells.
func (s *store) look(ctx context.Context, conn *pgx.Conn) error {
	if err := checkVersion(conn.PgConn().ParameterStatus("server_version")); err != nil {
		return err
	}
	if s.owned && s.o.Notify != NotifyOn || s.ready.Load() {
		return nil // the first statement on each connection finds the rest out
	}
	select {
	case s.setup <- struct{}{}:
		defer func() { <-s.setup }()
	case <-ctx.Done():
		return notApplied(ctx.Err())
	}
	if s.ready.Load() {
		return nil
	}
	if err := s.introduce(ctx, conn); err != nil {
		return err
	}
	if s.o.Notify == NotifyOn && s.pooled.Load() {
		if err := s.probe(ctx); err != nil {
			return err
		}
	}
	s.ready.Store(true)
	return nil
}

// session is what is known of the session behind a connection of ours.
type session int

const (
	unknown session = iota
	ours            // it is the one that the connection began with, and has our settings
	shared          // a pooler gives it to others too
)

// sessionKey is where pgx keeps a session for us.
const sessionKey = "multilock"

func (s *store) session(conn *pgx.Conn) session {
	if !s.owned {
		return shared // the settings of a user's session are the user's
	}
	known, _ := conn.PgConn().CustomData()[sessionKey].(session)
	return known
}

// opened takes the answer to opening. A pooler invents the process id that a
// session begins with.
func (s *store) opened(conn *pgx.Conn, pid uint32) {
	known := ours
	if pid != conn.PgConn().PID() {
		known = shared
	}
	conn.PgConn().CustomData()[sessionKey] = known
	s.pooled.Store(known == shared)
}

// introduce finds out whether a connection leads to a pooler, for those who must
// know before they send a statement.
func (s *store) introduce(ctx context.Context, conn *pgx.Conn) error {
	if s.owned && s.session(conn) != unknown {
		return nil
	}
	if !s.owned && s.ready.Load() {
		return nil
	}
	sql := "SELECT pg_backend_pid()"
	if s.owned {
		sql = opening(conn.PgConn().PID())
	}
	// Neither prepared nor described: fit for what is yet to be found out.
	rows, err := conn.Query(ctx, sql, pgx.QueryExecModeExec)
	if err != nil {
		return err
	}
	pid, err := pgx.CollectExactlyOneRow(rows, pidOf)
	switch {
	case err != nil:
		return err
	case s.owned:
		s.opened(conn, pid)
	default:
		s.pooled.Store(pid != conn.PgConn().PID())
	}
	return nil
}

// pidOf reads the first column.
func pidOf(row pgx.CollectableRow) (pid uint32, err error) {
	columns := make([]any, len(row.FieldDescriptions()))
	columns[0] = &pid
	return pid, row.Scan(columns...)
}

// question is a statement, and what becomes of the rows of its answer.
type question struct {
	sql  string
	args []any
	row  func(pgx.Rows) error // nil if there are none of interest

	// short, if there is one, is asked first on a connection that has not been asked
	// anything. It may answer with no row: then sql is asked.
	short    string
	shortRow func(pgx.Rows) error
}

// ask sends one statement, which is one transaction. It makes the table if there
// is none.
func (s *store) ask(ctx context.Context, pool *pgxpool.Pool, q question) error {
	if s.closed.Load() {
		return driver.ErrClosed
	}
	ctx, cancel := context.WithTimeout(ctx, s.o.CommandTimeout)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	conn, err := s.connect(ctx, pool)
	if err != nil {
		return err
	}
	defer conn.Release()
	c := conn.Conn()
	if err = s.askOn(ctx, c, q); s.noTable(err) {
		if err = s.create(ctx, c); err == nil {
			err = s.askOn(ctx, c, q)
		}
	}
	return s.judge(ctx, c, err)
}

// noTable reports whether err says that the table is to be made.
func (s *store) noTable(err error) bool {
	var pg *pgconn.PgError
	return !s.o.NoAutoCreate && errors.As(err, &pg) && (pg.Code == "42P01" || pg.Code == "3F000")
}

func (s *store) askOn(ctx context.Context, conn *pgx.Conn, q question) error {
	if q.short != "" && s.session(conn) == unknown {
		answered := false
		err := s.send(ctx, conn, q.short, q.args, func(rows pgx.Rows) error {
			answered = true
			return q.shortRow(rows)
		})
		if answered || err != nil {
			return err
		}
	}
	return s.send(ctx, conn, q.sql, q.args, q.row)
}

// send sends one statement and hands each row of the answer to row, in one round
// trip: by itself where the session has its settings, or after them.
func (s *store) send(ctx context.Context, conn *pgx.Conn, sql string, args []any, row func(pgx.Rows) error) error {
	known := s.session(conn)
	if known == ours {
		rows, err := conn.Query(ctx, sql, append([]any{s.mode}, args...)...)
		if err != nil {
			return err
		}
		return each(rows, row)
	}
	first := settings
	if known == unknown {
		first = opening(conn.PgConn().PID())
	}
	batch := &pgx.Batch{}
	batch.Queue(first)
	batch.Queue(sql, args...)
	pid, err := receive(conn.SendBatch(ctx, batch), row)
	if err == nil && known == unknown {
		s.opened(conn, pid)
	}
	return err
}

// each hands rows to row. All must have arrived before anything in them counts:
// an error at the end takes the whole back.
func each(rows pgx.Rows, row func(pgx.Rows) error) error {
	var err error
	for err == nil && rows.Next() {
		if row != nil {
			err = row(rows)
		}
	}
	rows.Close()
	return errors.Join(err, rows.Err())
}

// receive takes the answer to a statement behind its settings.
func receive(results pgx.BatchResults, row func(pgx.Rows) error) (pid uint32, err error) {
	rows, err := results.Query()
	if err == nil {
		pid, err = pgx.CollectExactlyOneRow(rows, pidOf)
	}
	if err == nil {
		if rows, err = results.Query(); err == nil {
			err = each(rows, row)
		}
	}
	if closed := results.Close(); err == nil {
		err = closed
	}
	return pid, err
}
