package conformancetest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/multilock/multilock-go/backends/sqlserver"
	"github.com/multilock/multilock-go/core/driver"
	"github.com/multilock/multilock-go/testservers/tds"
)

// realURL names a real server to test against; without it the stand-in is used.
var realURL = os.Getenv("MULTILOCK_TEST_SQLSERVER_URL")

// target is one namespace: a table of its own.
type target struct {
	url    string
	table  string
	server *tds.Server // nil for a real server
	db     *sql.DB     // the test's own connections
}

var tables atomic.Int64

// newTarget makes a namespace on the real server, or a stand-in.
func newTarget(t testing.TB) *target {
	t.Helper()
	if realURL == "" {
		return newStandIn(t, tds.Options{})
	}
	x := &target{url: realURL, table: fmt.Sprintf("multilock_test_%d_%d", os.Getpid(), tables.Add(1))}
	x.open(t)
	t.Cleanup(func() { x.exec(t, "DROP TABLE "+x.quoted()) })
	return x
}

// newStandIn is for tests that need what only the stand-in can do.
func newStandIn(t testing.TB, o tds.Options) *target {
	t.Helper()
	s, err := tds.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	x := &target{url: s.URL(), table: "LeaderElection", server: s}
	x.open(t)
	return x
}

func newStandInOnly(t testing.TB) *target { return newStandIn(t, tds.Options{}) }

func (x *target) open(t testing.TB) {
	t.Helper()
	db, err := sql.Open("sqlserver", x.url)
	if err != nil {
		t.Fatal(err)
	}
	x.db = db
	t.Cleanup(func() { db.Close() })
}

func (x *target) quoted() string { return "[dbo].[" + x.table + "]" }

// exec runs a statement of the test's own: {table} is the table, quoted.
func (x *target) exec(t testing.TB, text string, args ...any) {
	t.Helper()
	if _, err := x.db.Exec(x.text(text), args...); err != nil && !strings.Contains(err.Error(), "does not exist") {
		t.Fatalf("%s: %v", text, err)
	}
}

func (x *target) text(text string) string {
	return strings.NewReplacer("{table}", x.quoted(), "{t}", "["+x.table+"]").Replace(text)
}

func (x *target) options() sqlserver.Options {
	return sqlserver.Options{ConnString: x.url, Table: x.table, PollInterval: 100 * time.Millisecond}
}

// driver opens one more client.
func (x *target) driver(t testing.TB, change ...func(*sqlserver.Options)) driver.Driver {
	t.Helper()
	o := x.options()
	for _, c := range change {
		c(&o)
	}
	d, _, err := sqlserver.NewDriver(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return d
}

// lockRow holds the row of a group in a transaction until unlock is called.
func (x *target) lockRow(t testing.TB, group string) (unlock func()) {
	t.Helper()
	tx, err := x.db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	_, err = tx.Exec(x.text("UPDATE {table} SET ttl_us = {t}.ttl_us WHERE grp = @grp"), sql.Named("grp", group))
	if err != nil {
		t.Fatalf("lock: %v", err)
	}
	done := false
	unlock = func() {
		if !done {
			done = true
			if err := tx.Rollback(); err != nil {
				t.Errorf("unlock: %v", err)
			}
		}
	}
	t.Cleanup(unlock)
	return unlock
}

func acquire(t testing.TB, d driver.Driver, group string, ttl time.Duration) (driver.Term, driver.Grant) {
	t.Helper()
	n := driver.NewNonce()
	g, err := d.Acquire(t.Context(), driver.AcquireRequest{Group: group, Participant: "p", Nonce: n, TTL: ttl})
	if err != nil {
		t.Fatalf("acquire %s: %v", group, err)
	}
	return driver.Term{Group: group, Participant: "p", Token: g.Token, Nonce: n}, g
}

func renewOne(ctx context.Context, d driver.Driver, r driver.RenewRequest) driver.RenewResult {
	res := driver.RenewResult{Err: errors.New("not reported")}
	d.Renew(ctx, []driver.RenewRequest{r}, func(r driver.RenewResult) { res = r })
	return res
}

// eventually waits for a condition, generously.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}
