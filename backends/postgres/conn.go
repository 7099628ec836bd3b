package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/multilock/multilock-go/core/driver"
)

// errPooled ends a first connection that turned out to lead to a pooler; the next
// is made for one.
var errPooled = errors.New("connected through a pooler")

// beforeConnect makes a connection fit for a pooler once one was noticed: named
// statements would be prepared on one session and executed on another.
func (s *store) beforeConnect(_ context.Context, c *pgx.ConnConfig) error {
	if s.pooled.Load() && needsSession(c.DefaultQueryExecMode) {
		c.DefaultQueryExecMode = pgx.QueryExecModeExec
	}
	return nil
}

func needsSession(m pgx.QueryExecMode) bool {
	return m == pgx.QueryExecModeCacheStatement || m == pgx.QueryExecModeDescribeExec
}

// afterConnect notices a pooler.
func (s *store) afterConnect(ctx context.Context, conn *pgx.Conn) error {
	behind, err := behindPooler(ctx, conn)
	if err != nil {
		return err
	}
	if behind {
		s.pooled.Store(true)
		if needsSession(conn.Config().DefaultQueryExecMode) {
			return errPooled
		}
	}
	return nil
}

// behindPooler reports whether conn ends at something that is not the server: a
// pooler invents the process id that a session begins with.
func behindPooler(ctx context.Context, conn *pgx.Conn) (bool, error) {
	var pid uint32
	// Neither prepared nor described: fit for what is yet to be found out.
	err := conn.QueryRow(ctx, "SELECT pg_backend_pid()", pgx.QueryExecModeExec).Scan(&pid)
	return err == nil && pid != conn.PgConn().PID(), err
}

// connect takes a connection from the pool and makes sure, once, that the server
// and the table are as they must be.
func (s *store) connect(ctx context.Context, pool *pgxpool.Pool) (*pgxpool.Conn, error) {
	conn, err := pool.Acquire(ctx)
	if errors.Is(err, errPooled) {
		conn, err = pool.Acquire(ctx)
	}
	if err != nil {
		return nil, s.connectError(ctx, err)
	}
	if s.ready.Load() {
		return conn, nil
	}
	select {
	case s.setup <- struct{}{}:
		defer func() { <-s.setup }()
	case <-ctx.Done():
		conn.Release()
		return nil, notApplied(ctx.Err())
	}
	if s.ready.Load() {
		return conn, nil
	}
	if err := s.look(ctx, conn.Conn()); err != nil {
		err = s.judge(ctx, conn.Conn(), err)
		conn.Release()
		return nil, err
	}
	s.ready.Store(true)
	return conn, nil
}

// minVersion is the oldest server whose statements are ours.
const minVersion = 120000

// look checks what no later answer would tell, and creates the table.
func (s *store) look(ctx context.Context, conn *pgx.Conn) error {
	if !s.owned { // own connections were looked at when they were made
		behind, err := behindPooler(ctx, conn)
		if err != nil {
			return err
		}
		s.pooled.Store(behind)
	}
	var version int
	var exists bool
	err := conn.QueryRow(ctx, "SELECT current_setting('server_version_num')::int, to_regclass($1::text) IS NOT NULL", s.table).Scan(&version, &exists)
	if err != nil {
		return err
	}
	if err := checkVersion(version); err != nil {
		return err
	}
	if !exists {
		if s.o.NoAutoCreate {
			return driver.Misconfigured(errors.New("there is no table "+s.table), "create it with schema.sql, or leave out NoAutoCreate")
		}
		if err := s.create(ctx, conn); err != nil {
			return err
		}
	}
	if s.o.Notify == NotifyOn && s.pooled.Load() {
		return s.probe(ctx)
	}
	return nil
}

// ask sends one statement, after its settings and in the same round trip, and
// hands each row to row. It is one transaction.
func (s *store) ask(ctx context.Context, pool *pgxpool.Pool, row func(pgx.Rows) error, sql string, args ...any) error {
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
	batch := &pgx.Batch{}
	batch.Queue(settings)
	batch.Queue(sql, args...)
	return s.judge(ctx, conn.Conn(), receive(conn.SendBatch(ctx, batch), row))
}

// receive takes the answer to a batch of ask. All of it must have arrived before
// anything in it counts: an error at its end takes the whole back.
func receive(results pgx.BatchResults, row func(pgx.Rows) error) error {
	_, err := results.Exec()
	if err == nil {
		var rows pgx.Rows
		if rows, err = results.Query(); err == nil {
			for err == nil && rows.Next() {
				err = row(rows)
			}
			rows.Close()
			err = errors.Join(err, rows.Err())
		}
	}
	if closed := results.Close(); err == nil {
		err = closed
	}
	return err
}
