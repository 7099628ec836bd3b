package postgres

import (
	"context"
	_ "embed"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"
)

//go:embed schema.sql
var schemaSQL string

// schemaName is the table as schema.sql calls it, in code only and not in its
// comments: a name with a line break would end them.
const schemaName = `"public"."leader_election"`

// DDL returns the statement that creates the table, as in schema.sql but for
// another schema and table, for programs that may not create it themselves.
func DDL(schema, table string) string {
	return strings.ReplaceAll(schemaSQL, schemaName, pgx.Identifier{schema, table}.Sanitize())
}

// create makes what is missing. Several clients may do so at once: whoever comes
// second fails in one of a few ways, and the table is then there.
func (s *store) create(ctx context.Context, conn *pgx.Conn) error {
	var hasSchema bool
	err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1)`, s.o.Schema).Scan(&hasSchema)
	if err != nil {
		return err
	}
	ddl := DDL(s.o.Schema, s.o.Table)
	if !hasSchema {
		ddl = "CREATE SCHEMA IF NOT EXISTS " + pgx.Identifier{s.o.Schema}.Sanitize() + ";\n" + ddl
	}
	// A single message, hence a single transaction, so that lock_timeout ends with it.
	_, err = conn.PgConn().Exec(ctx, "SELECT set_config('lock_timeout', '1s', true);\n"+ddl).ReadAll()
	if err == nil {
		return nil
	}
	exists, again := s.exists(ctx, conn)
	if again != nil {
		return errors.Join(err, again)
	}
	if exists {
		return nil
	}
	return err
}

// exists reports whether the table is there.
func (s *store) exists(ctx context.Context, conn *pgx.Conn) (bool, error) {
	var exists bool
	err := conn.QueryRow(ctx, `SELECT to_regclass($1::text) IS NOT NULL`, s.table).Scan(&exists)
	return exists, err
}
