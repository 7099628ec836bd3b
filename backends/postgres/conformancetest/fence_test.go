package conformancetest

import (
	"context"
	stdsql "database/sql"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx" of database/sql

	"github.com/multilock/multilock-go/backends/postgres/fence"
	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/core/driver"
)

// account is a table that only the leader writes.
func account(t *testing.T) (g fence.Guard, url, table string) {
	t.Helper()
	url, _ = serverURL()
	name := tableName()
	g = fence.New("public", name)
	sql(t, url, g.DDL())
	table = pgx.Identifier{tableName()}.Sanitize()
	sql(t, url, "CREATE TABLE "+table+" (writer bigint NOT NULL, at serial)")
	t.Cleanup(func() {
		sql(t, url, "DROP TABLE "+table)
		sql(t, url, "DROP TABLE "+pgx.Identifier{name}.Sanitize())
	})
	return g, url, table
}

func begin(t *testing.T, url string) pgx.Tx {
	t.Helper()
	conn := admin(t, url)
	t.Cleanup(func() { conn.Close(context.Background()) })
	tx, err := conn.Begin(t.Context())
	must(t, err)
	return tx
}

func TestGuardRefusesAnOlderTerm(t *testing.T) {
	t.Parallel()
	g, url, table := account(t)
	write := func(token uint64) error {
		tx := begin(t, url)
		defer tx.Rollback(context.Background())
		if err := g.Check(t.Context(), tx, driver.Term{Group: "g", Token: token}); err != nil {
			return err
		}
		if _, err := tx.Exec(t.Context(), "INSERT INTO "+table+" (writer) VALUES ($1)", int64(token)); err != nil {
			return err
		}
		return tx.Commit(t.Context())
	}
	for _, step := range []struct {
		token uint64
		stale bool
	}{{5, false}, {5, false}, {7, false}, {5, true}, {6, true}, {7, false}, {8, false}, {7, true}} {
		err := write(step.token)
		if step.stale && (!errors.Is(err, fence.ErrStale) || !errors.Is(err, multilock.ErrLost)) || !step.stale && err != nil {
			t.Errorf("token %d: %v", step.token, err)
		}
	}
	for _, term := range []driver.Term{{Group: "g"}, {Token: 9}, {Group: "g", Token: 1 << 63}} {
		tx := begin(t, url)
		if err := g.Check(t.Context(), tx, term); err == nil || errors.Is(err, fence.ErrStale) {
			t.Errorf("%v: %v", term, err)
		}
		must(t, tx.Rollback(t.Context()))
	}
	conn := admin(t, url)
	defer conn.Close(context.Background())
	var disorder int
	must(t, conn.QueryRow(t.Context(), "SELECT count(*) FROM (SELECT writer < lag(writer) OVER (ORDER BY at) AS back FROM "+table+") x WHERE back").Scan(&disorder))
	if disorder != 0 {
		t.Errorf("%d writes by an older term after a newer one", disorder)
	}
}

// The old leader was checked and is about to commit when the new one comes: the
// new one waits; and after the new one the old one is refused, also if it had
// begun its transaction before.
func TestGuardOrdersTransactionsUnderWay(t *testing.T) {
	t.Parallel()
	g, url, _ := account(t)
	old, next, late := begin(t, url), begin(t, url), begin(t, url)
	must(t, g.Check(t.Context(), old, driver.Term{Group: "g", Token: 5}))
	done := make(chan error, 1)
	go func() { done <- g.Check(context.Background(), next, driver.Term{Group: "g", Token: 6}) }()
	select {
	case err := <-done:
		t.Fatalf("the new term did not wait for the transaction of the old one: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	must(t, old.Commit(t.Context()))
	must(t, <-done)
	go func() { done <- g.Check(context.Background(), late, driver.Term{Group: "g", Token: 5}) }()
	must(t, next.Commit(t.Context()))
	if err := <-done; !errors.Is(err, fence.ErrStale) {
		t.Errorf("the old term after the new one: %v", err)
	}
}

func TestGuardInDatabaseSQL(t *testing.T) {
	t.Parallel()
	g, url, _ := account(t)
	db, err := stdsql.Open("pgx", url)
	must(t, err)
	defer db.Close()
	check := func(token uint64) error {
		tx, err := db.BeginTx(t.Context(), nil)
		must(t, err)
		defer tx.Rollback()
		if err := g.CheckSQL(t.Context(), tx, driver.Term{Group: "g", Token: token}); err != nil {
			return err
		}
		return tx.Commit()
	}
	must(t, check(3))
	if err := check(2); !errors.Is(err, fence.ErrStale) {
		t.Errorf("an older term: %v", err)
	}
	must(t, check(4))
}
