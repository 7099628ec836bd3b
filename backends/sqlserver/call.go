package sqlserver

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"fmt"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

// call runs f, bounded by ctx, the command timeout and Close. When ctx ends it
// returns soon even if the SQL driver goes on waiting for the server to confirm
// the cancellation (up to ten seconds): that request is left to end by itself.
func call[T any](ctx context.Context, d *leaseDriver, f func(context.Context) (T, error)) (T, error) {
	var none T
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return none, driver.ErrClosed
	}
	d.calls.Add(1)
	d.mu.Unlock()

	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	inner, cancel := context.WithTimeout(ctx, d.opts.CommandTimeout)
	stop := context.AfterFunc(d.ctx, cancel)
	go func() {
		defer d.calls.Done()
		defer cancel()
		defer stop()
		value, err := f(inner)
		done <- result{value, err}
	}()
	var r result
	select {
	case r = <-done:
	case <-inner.Done():
		patience := time.NewTimer(cancelPatience)
		defer patience.Stop()
		select {
		case r = <-done:
		case <-patience.C:
			r.err = inner.Err()
		}
	}
	if r.err != nil && d.ctx.Err() != nil && !isContract(r.err) {
		// Uncertain to us, but the caller asked for it.
		return none, fmt.Errorf("%w: %w", driver.ErrClosed, r.err)
	}
	if r.err != nil && len(errorNumbers(r.err)) == 0 && !isContract(r.err) {
		d.bells.doubt()
	}
	if hasNumber(r.err, errCannotOpen) && d.hasWorked() {
		// It was open once: it is failing over or being restored, and will come back.
		return r.value, fmt.Errorf("%w: %w", driver.ErrNotApplied, r.err)
	}
	return r.value, classify(r.err)
}

// cancelPatience is how long a cancelled call may take to end by itself, which
// it does at once unless the server is unreachable or does not read while busy.
const cancelPatience = 100 * time.Millisecond

// query runs one batch and hands the rows of its result sets to scan. It reads
// to the end, because an error may follow rows.
func (d *leaseDriver) query(ctx context.Context, text string, scan func(rows *sql.Rows, columns int) error, args ...any) error {
	conn, err := d.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer cutWhenOver(ctx, conn)()
	err = queryConn(ctx, conn, text, scan, args...)
	if isReadOnly(err) {
		discard(conn)
	}
	return err
}

func queryConn(ctx context.Context, conn *sql.Conn, text string, scan func(rows *sql.Rows, columns int) error, args ...any) error {
	rows, err := conn.QueryContext(ctx, text, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for {
		columns, err := rows.Columns()
		if err != nil {
			return err
		}
		for rows.Next() {
			if err := scan(rows, len(columns)); err != nil {
				return err
			}
		}
		if !rows.NextResultSet() {
			break
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	return rows.Close()
}

// discard keeps a connection from going back to the pool.
func discard(conn *sql.Conn) {
	_ = conn.Raw(func(any) error { return sqldriver.ErrBadConn })
}
