package fence_test

import (
	"context"
	"database/sql"
	"log"

	"github.com/jackc/pgx/v5/pgxpool"
	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/multilock/multilock-go/backends/postgres/fence"
	multilock "github.com/multilock/multilock-go/core"
)

// A transaction that commits only if no newer term has written.
func Example() {
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, "postgres://app@db.internal/app")
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
	guard := fence.New("public", "leader_fence")
	if _, err := pool.Exec(ctx, guard.DDL()); err != nil { // once
		log.Fatal(err)
	}
	var term multilock.Term // what Run gives to the work
	tx, err := pool.Begin(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer tx.Rollback(ctx)
	if err := guard.Check(ctx, tx, term); err != nil {
		log.Fatal(err) // errors.Is(err, fence.ErrStale): a newer term has written
	}
	if _, err := tx.Exec(ctx, "UPDATE accounts SET billed_at = now()"); err != nil {
		log.Fatal(err)
	}
	log.Print(tx.Commit(ctx))
}

// The same with database/sql.
func ExampleGuard_CheckSQL() {
	ctx := context.Background()
	db, err := sql.Open("pgx", "postgres://app@db.internal/app")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	guard := fence.New("public", "leader_fence")
	var term multilock.Term // what Run gives to the work
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer tx.Rollback()
	if err := guard.CheckSQL(ctx, tx, term); err != nil {
		log.Fatal(err)
	}
	log.Print(tx.Commit())
}
