package sqlserver_test

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"strings"

	_ "github.com/microsoft/go-mssqldb"

	"github.com/multilock/multilock-go/backends/sqlserver"
	multilock "github.com/multilock/multilock-go/core"
)

// A pool of your own, and a table that only the leader may write.
func ExampleFromDB() {
	ctx := context.Background()
	db, err := sql.Open("sqlserver", "sqlserver://app@db.internal?database=app")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	b, err := sqlserver.FromDB(db, sqlserver.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close(ctx) // before the pool
	e, err := multilock.New(b, multilock.Options{Group: "billing"})
	if err != nil {
		log.Fatal(err)
	}
	guard, err := sqlserver.NewGuard("dbo", "Fences") // create it once, with guard.DDL()
	if err != nil {
		log.Fatal(err)
	}
	err = e.Run(ctx, func(ctx context.Context, term multilock.Term) error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		if err := guard.Check(ctx, tx, "billing", term.Token); err != nil {
			return err // sqlserver.ErrFenced: a newer term has written
		}
		if _, err := tx.ExecContext(ctx, "UPDATE dbo.Accounts SET BilledAt = SYSUTCDATETIME()"); err != nil {
			return err
		}
		return tx.Commit()
	})
	log.Print(err)
}

// The bare driver over a pool of your own.
func ExampleNewDriverFromDB() {
	db, err := sql.Open("sqlserver", "sqlserver://app@db.internal?database=app")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	d, info, err := sqlserver.NewDriverFromDB(db, sqlserver.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()
	fmt.Println(info.Name)
	// Output: sqlserver
}

// The statements to run beforehand where the service may create no tables.
func ExampleDDL() {
	fmt.Println(strings.Contains(sqlserver.DDL("dbo", "Leaders"), "CREATE TABLE [dbo].[Leaders]"))
	guard, err := sqlserver.NewGuard("dbo", "Fences")
	fmt.Println(strings.Contains(guard.DDL(), "CREATE TABLE [dbo].[Fences]"), err)
	// Output:
	// true
	// true <nil>
}
