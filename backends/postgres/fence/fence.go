// Package fence protects tables of your own by the fencing token of a term: a
// leader whose term is over, however late it notices, can no longer commit once
// its successor has written.
//
//	tx, err := pool.Begin(ctx)
//	...
//	if err := guard.Check(ctx, tx, term); err != nil {
//		return err // and roll back
//	}
//	_, err = tx.Exec(ctx, "UPDATE accounts ...")
//	...
//	return tx.Commit(ctx)
//
// # What it does and does not
//
// A guard is a table in the database it protects, with one row per group: the
// greatest token that has written so far. Check raises it to the term's token, or
// fails if it is greater already. The row stays locked until the transaction
// ends, so the protected transactions of a group, of whatever term, run one after
// the other, and one that was checked is finished before a newer term is let in.
//
// The guard learns of a new term only by its first Check: until then the old one
// can still write. A leader that must rule that out begins its term with a
// transaction that does nothing but Check.
//
// The lease's own row is never the guard: locking it would hold up the leader's
// heartbeats and its successor. The two need not even be in the same database.
package fence

import (
	"context"
	"database/sql"
	_ "embed"
	"fmt"
	"math"
	"strings"

	"github.com/jackc/pgx/v5"

	multilock "github.com/multilock/multilock-go/core"
)

// ErrStale says that a newer term of the group has written. The transaction must
// be rolled back. errors.Is(err, multilock.ErrLost) holds as well.
var ErrStale = fmt.Errorf("fence: a newer term of the group has written: %w", multilock.ErrLost)

//go:embed fence.sql
var fenceSQL string

// fenceName is the table as fence.sql calls it.
const fenceName = `"public"."leader_fence"`

// Guard is a table that remembers the greatest token of each group. It may be
// used by several goroutines.
type Guard struct {
	table string // quoted
}

// New returns a guard over a table, which need not exist yet. The names are
// quoted and so case-sensitive.
func New(schema, table string) Guard {
	return Guard{pgx.Identifier{schema, table}.Sanitize()}
}

// DDL returns the statement that creates the guard's table, that of fence.sql.
func (g Guard) DDL() string { return strings.ReplaceAll(fenceSQL, fenceName, g.table) }

// Check lets tx go on as part of term, or fails with [ErrStale]. It waits for
// other transactions of the group that were checked and are not over yet, so ctx
// should have a limit. Any other error leaves the transaction aborted too.
func (g Guard) Check(ctx context.Context, tx pgx.Tx, term multilock.Term) error {
	token, err := number(term)
	if err != nil {
		return err
	}
	tag, err := tx.Exec(ctx, g.sql(), term.Group, token)
	if err != nil {
		return fmt.Errorf("fence: %w", err)
	}
	return verdict(tag.RowsAffected())
}

// CheckSQL is Check for a transaction of database/sql.
func (g Guard) CheckSQL(ctx context.Context, tx *sql.Tx, term multilock.Term) error {
	token, err := number(term)
	if err != nil {
		return err
	}
	res, err := tx.ExecContext(ctx, g.sql(), term.Group, token)
	if err != nil {
		return fmt.Errorf("fence: %w", err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return fmt.Errorf("fence: %w", err)
	}
	return verdict(n)
}

func (g Guard) sql() string {
	return `INSERT INTO ` + g.table + ` AS f (group_name, token) VALUES ($1, $2)
ON CONFLICT (group_name) DO UPDATE SET token = excluded.token WHERE f.token <= excluded.token`
}

func verdict(rows int64) error {
	if rows != 1 {
		return ErrStale
	}
	return nil
}

// number is a token as a bigint. Tokens of a term are never 0.
func number(term multilock.Term) (int64, error) {
	if term.Token == 0 || term.Token > math.MaxInt64 || term.Group == "" {
		return 0, fmt.Errorf("fence: %v is not a term", term)
	}
	return int64(term.Token), nil
}
