package postgres_test

import (
	"context"
	"fmt"
	"log"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/multilock/multilock-go/backends/postgres"
	"github.com/multilock/multilock-go/backends/postgres/fence"
	multilock "github.com/multilock/multilock-go/core"
)

// Work that one replica does at a time.
func Example() {
	ctx := context.Background()
	b, err := postgres.OpenURL(ctx, "postgres://app@db.internal/app?multilock.table=elections")
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close(ctx)
	e, err := multilock.New(b, multilock.Options{Group: "nightly"})
	if err != nil {
		log.Fatal(err)
	}
	err = e.Run(ctx, func(ctx context.Context, term multilock.Term) error {
		log.Printf("leading as %v", term)
		<-ctx.Done() // ends with the term
		return nil
	})
	log.Print(err)
}

// A pool of your own, and a table of your own that only the leader may write.
func ExampleFromPool() {
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, "postgres://app@db.internal/app")
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
	b, err := postgres.FromPool(pool, postgres.Options{Schema: "jobs"})
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close(ctx) // before the pool
	e, err := multilock.New(b, multilock.Options{Group: "billing"})
	if err != nil {
		log.Fatal(err)
	}
	guard := fence.New("jobs", "leader_fence")
	err = e.Run(ctx, func(ctx context.Context, term multilock.Term) error {
		tx, err := pool.Begin(ctx)
		if err != nil {
			return err
		}
		defer tx.Rollback(context.WithoutCancel(ctx))
		if err := guard.Check(ctx, tx, term); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "UPDATE accounts SET billed_at = now()"); err != nil {
			return err
		}
		return tx.Commit(ctx)
	})
	log.Print(err)
}

// The statements to run beforehand where the service may create no tables.
func ExampleDDL() {
	fmt.Println(strings.Contains(postgres.DDL("jobs", "leaders"), `"jobs"."leaders"`))
	// Output: true
}
