package conformancetest

import (
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/multilock/multilock-go/backends/sqlserver"
)

func TestGuard(t *testing.T) {
	x := newTarget(t)
	g, err := sqlserver.NewGuard("dbo", x.table+"_fence")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.db.Exec(g.DDL()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.exec(t, "DROP TABLE [dbo].["+x.table+"_fence]") })
	in := func(token uint64, end func(*sql.Tx) error) error {
		tx, err := x.db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback()
		if err := g.Check(t.Context(), tx, "orders", token); err != nil {
			return err
		}
		return end(tx)
	}
	commit, rollback := (*sql.Tx).Commit, (*sql.Tx).Rollback
	for _, step := range []struct {
		token  uint64
		end    func(*sql.Tx) error
		fenced bool
	}{
		{10, commit, false},
		{10, commit, false}, // the same term writes again
		{20, rollback, false},
		{15, commit, false}, // 20 was never committed
		{10, commit, true},
		{15, commit, false},
		{1 << 53, commit, false},
		{16, commit, true},
	} {
		err := in(step.token, step.end)
		if errors.Is(err, sqlserver.ErrFenced) != step.fenced || !step.fenced && err != nil {
			t.Errorf("token %d: %v", step.token, err)
		}
	}

	// An old leader that comes while a new one writes waits, and is then refused.
	newer, err := x.db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer newer.Rollback()
	if err := g.Check(t.Context(), newer, "orders", 1<<54); err != nil {
		t.Fatal(err)
	}
	result := make(chan error, 1)
	go func() { result <- in(1<<53, commit) }()
	select {
	case err := <-result:
		t.Fatalf("the older term did not wait: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	if err := newer.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := <-result; !errors.Is(err, sqlserver.ErrFenced) {
		t.Errorf("the older term: %v", err)
	}
	if _, err := sqlserver.NewGuard("", "x"); err == nil {
		t.Error("no schema accepted")
	}
}

func TestFromDB(t *testing.T) {
	x := newTarget(t)
	x.db.SetMaxOpenConns(5) // leaves one doorbell
	d, info, err := sqlserver.NewDriverFromDB(x.db, sqlserver.Options{Table: x.table})
	if err != nil {
		t.Fatal(err)
	}
	if info.Connections == 0 {
		t.Error("no connections declared")
	}
	other := x.driver(t)
	for _, group := range []string{"a", "b", "c"} {
		acquire(t, d, group, time.Hour)
	}
	term, _ := acquire(t, other, "d", time.Hour)
	s, _ := watch(t, d, "d")
	if err := other.Resign(t.Context(), term); err != nil {
		t.Fatal(err)
	}
	eventually(t, "woken", func() bool { return s.count("d") > 0 })
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := x.db.PingContext(t.Context()); err != nil {
		t.Errorf("the user's database was closed: %v", err)
	}
	if _, err := sqlserver.FromDB(x.db, sqlserver.Options{ConnString: x.url}); err == nil {
		t.Error("a connection string beside a database was accepted")
	}
	if _, err := sqlserver.FromDB(nil, sqlserver.Options{}); err == nil {
		t.Error("nil accepted")
	}
	b, err := sqlserver.FromDB(x.db, sqlserver.Options{Table: x.table})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
