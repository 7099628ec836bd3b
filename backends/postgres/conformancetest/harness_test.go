package conformancetest

import (
	"context"
	"net/url"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/multilock/multilock-go/backends/postgres"
	"github.com/multilock/multilock-go/conformance"
	"github.com/multilock/multilock-go/conformance/porcupinecheck"
	"github.com/multilock/multilock-go/core/driver"
	"github.com/multilock/multilock-go/testservers/proxy"
)

// newHarness is a fresh table on the server itself.
func newHarness(tb conformance.TB) conformance.Harness {
	base, ours := serverURL()
	return harness(tb, "postgres", base, base, ours)
}

// newPgBouncerHarness is a fresh table behind PgBouncer in transaction mode. The
// powers reach the server itself.
func newPgBouncerHarness(tb conformance.TB) conformance.Harness {
	direct, ours := serverURL()
	if !ours {
		tb.Fatalf("the pooler stands before a server of our own: unset MULTILOCK_TEST_POSTGRES_URL, or run the tests without PgBouncer in their names")
	}
	b := bouncer()
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("end of the output of PgBouncer:\n%s", b.LogTail())
		}
	})
	return harness(tb, "postgres-pgbouncer", direct, at(direct, b.Addr()), ours, "multilock.notify", "off")
}

// harness works through the URL client, and has its powers through direct.
func harness(tb conformance.TB, name, direct, client string, ours bool, parameters ...string) conformance.Harness {
	table := tableName()
	o := postgres.Options{Table: table}
	quotedTable := quoted(o)
	parameters = append(parameters, "multilock.table", table)
	u := with(client, parameters...)
	tb.Cleanup(func() { sql(tb, direct, "DROP TABLE IF EXISTS "+quotedTable) })
	run := func(tb conformance.TB, text string, args ...any) {
		tb.Helper()
		sql(tb, direct, text, args...)
	}
	h := conformance.Harness{
		Name:      name,
		TTL:       2 * time.Second,
		URL:       u,
		Checker:   porcupinecheck.Checker{},
		NewDriver: func(tb conformance.TB) (driver.Driver, driver.Info) { return newDriver(tb, u) },
		NewLinked: func(tb conformance.TB) (driver.Driver, driver.Info, conformance.Link) {
			parsed, err := url.Parse(u)
			must(tb, err)
			p := proxy.Start(tb, parsed.Host)
			d, i := newDriver(tb, at(u, p.Addr()))
			return d, i, link{p}
		},
		LockRecord: func(tb conformance.TB, group string) func() {
			conn := admin(tb, direct)
			tx, err := conn.Begin(context.Background())
			must(tb, err)
			_, err = tx.Exec(context.Background(), "SELECT 1 FROM "+quotedTable+" WHERE group_name = $1 FOR UPDATE", group)
			must(tb, err)
			unlock := sync.OnceFunc(func() { _ = conn.Close(context.Background()) })
			tb.Cleanup(unlock)
			return unlock
		},
		RemoveRecord: func(tb conformance.TB, group string) {
			run(tb, "DELETE FROM "+quotedTable+" WHERE group_name = $1", group)
		},
		CorruptRecord: func(tb conformance.TB, group string) {
			run(tb, "UPDATE "+quotedTable+` SET nonce = NULL, participant = 'somebody else', token = -5, metadata = '["not ours"]', acquired_at = 'infinity' WHERE group_name = $1`, group)
		},
		SetToken: func(tb conformance.TB, group string, token uint64) {
			run(tb, "UPDATE "+quotedTable+" SET token = $2 WHERE group_name = $1", group, int64(token))
		},
		Age: func(tb conformance.TB, group string, d time.Duration) {
			run(tb, "UPDATE "+quotedTable+" SET acquired_at = acquired_at - $2::interval, expires_at = expires_at - $2::interval, token = greatest(0, token - $3) WHERE group_name = $1", group, d, d.Microseconds())
		},
		LoseData: func(tb conformance.TB) { run(tb, "DROP TABLE "+quotedTable) },
		Snapshot: func(tb conformance.TB) func(conformance.TB) {
			backup := pgx.Identifier{tableName()}.Sanitize()
			run(tb, "CREATE TABLE "+backup+" AS SELECT * FROM "+quotedTable)
			tb.Cleanup(func() { sql(tb, direct, "DROP TABLE IF EXISTS "+backup) })
			return func(tb conformance.TB) {
				// One statement: nobody sees the table empty.
				run(tb, "DO $do$ BEGIN DELETE FROM "+quotedTable+"; INSERT INTO "+quotedTable+" SELECT * FROM "+backup+"; END $do$")
			}
		},
		Missing: map[conformance.Power]string{
			conformance.PowerSession:     "a term does not hang on a session or connection",
			conformance.PowerManualClock: "the server's clock can be stepped but not stopped",
		},
		// pgx gives a connection that was cut off in the middle of a request 15 s in
		// the background to end well, and a pool waits for it. The last one is a
		// server of ours that a rule restarted.
		IgnoreGoroutines: []string{"pgconn.(*PgConn).asyncClose", "pgxpool.(*Pool).Close", "puddle/v2.(*Pool", "proc.(*Process).start"},
	}
	if !ours {
		for _, p := range []conformance.Power{conformance.PowerStepClock, conformance.PowerRestart, conformance.PowerRequests} {
			h.Missing[p] = "the server is somebody else's"
		}
		return h
	}
	var offset time.Duration
	h.StepClock = func(tb conformance.TB, d time.Duration) {
		offset += d
		shared().StepClock(tb, offset)
	}
	tb.Cleanup(func() {
		if offset != 0 {
			shared().StepClock(tb, 0)
		}
	})
	h.Restart = func(conformance.TB) { shared().Restart() }
	// Statements over our table. What goes before each in the same message, and
	// what a connection asks when it is made, is no request of its own.
	h.Requests = func() int64 {
		conn := admin(tb, direct)
		defer conn.Close(context.Background())
		var n int64
		must(tb, conn.QueryRow(context.Background(), "SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements WHERE query LIKE '%' || $1 || '%'", quotedTable).Scan(&n))
		return n
	}
	return h
}

func newDriver(tb conformance.TB, u string) (driver.Driver, driver.Info) {
	o, err := postgres.ParseURL(u)
	must(tb, err)
	d, i, err := postgres.NewDriver(o)
	must(tb, err)
	return d, i
}

// link makes a Link of a proxy.
type link struct{ *proxy.Proxy }

func (l link) Blackhole(d conformance.Direction) { l.Proxy.Blackhole(proxy.Direction(d)) }
