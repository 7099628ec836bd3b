package sqlserver

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// ErrFenced is the error of [Guard.Check] for a token that a newer term has
// superseded: the caller leads no more, and its transaction must be rolled back.
var ErrFenced = errors.New("sqlserver: a newer term has written already")

// Guard protects tables of the same database against writes of a term that is
// over. It keeps the highest token seen for each resource in a table of its own
// and never touches the lease: a transaction of the application that locks a
// fence does not get in the way of renewals.
//
// All methods may be called concurrently.
type Guard struct {
	check, ddl string
}

// NewGuard returns a guard over the table of that name; create the table with
// [Guard.DDL]. Schema and table are quoted.
func NewGuard(schema, table string) (*Guard, error) {
	if schema == "" || table == "" {
		return nil, errors.New("sqlserver: NewGuard: schema and table are required")
	}
	return &Guard{
		check: statement("guard", schema, table),
		ddl:   statement("guard_schema", schema, table),
	}, nil
}

// DDL returns the statement that creates the guard's table.
func (g *Guard) DDL() string { return g.ddl }

// Check admits the term that holds token to resource, or returns [ErrFenced]. It
// must run in the transaction that writes: the transaction then holds the fence
// until it ends, so that no older term can commit after a newer one.
//
// A resource is anything the application names, usually the group; at most 255
// characters. The first check of a resource may fail with a duplicate key if two
// terms make it at once; the transaction can be tried again.
func (g *Guard) Check(ctx context.Context, tx *sql.Tx, resource string, token uint64) error {
	var admitted int
	err := tx.QueryRowContext(ctx, g.check, sql.Named("resource", resource), sql.Named("token", int64(token))).Scan(&admitted)
	if err != nil {
		return err
	}
	if admitted == 0 {
		return fmt.Errorf("%w: resource %q, token %d", ErrFenced, resource, token)
	}
	return nil
}
