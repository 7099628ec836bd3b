package conformancetest

import (
	"database/sql"
	"fmt"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/multilock/multilock-go/backends/sqlserver"
	"github.com/multilock/multilock-go/conformance"
	"github.com/multilock/multilock-go/conformance/porcupinecheck"
	"github.com/multilock/multilock-go/core/driver"
	"github.com/multilock/multilock-go/testservers/proxy"
	"github.com/multilock/multilock-go/testservers/tds"
)

// TestMain lets the kit run candidates in processes of their own.
func TestMain(m *testing.M) { conformance.Main(m, sqlserver.OpenURL) }

// newHarness is a stand-in of its own for each rule, or a table of its own on
// the real server.
func newHarness(tb conformance.TB) conformance.Harness {
	x := &target{}
	h := conformance.Harness{TTL: 2 * time.Second, Missing: map[conformance.Power]string{
		conformance.PowerSession: "a term hangs on no connection",
	}, Checker: porcupinecheck.Checker{}}
	if realURL != "" {
		h.Name = "sqlserver"
		x.url, x.table = realURL, fmt.Sprintf("multilock_kit_%d_%d", time.Now().UnixNano(), tables.Add(1))
		for _, p := range []conformance.Power{conformance.PowerStepClock, conformance.PowerRestart, conformance.PowerManualClock, conformance.PowerRequests} {
			h.Missing[p] = "not over a server that the tests did not start"
		}
	} else {
		h.Name = "sqlserver (TDS stand-in)"
		s, err := tds.Start(tds.Options{})
		if err != nil {
			tb.Fatalf("start: %v", err)
		}
		tb.Cleanup(s.Stop)
		x.url, x.table, x.server = s.URL(), "LeaderElection", s
		h.StepClock = func(_ conformance.TB, d time.Duration) { s.StepClock(d) }
		h.ManualClock = func(conformance.TB) (func(time.Duration), time.Duration) {
			s.FreezeClock()
			return s.StepClock, time.Microsecond
		}
		h.Restart = func(tb conformance.TB) {
			if err := s.Restart(); err != nil {
				tb.Fatalf("restart: %v", err)
			}
		}
		h.Requests = func() int64 {
			sum := 0
			for name, n := range s.Counts() {
				if name != "login" {
					sum += n
				}
			}
			return int64(sum)
		}
	}
	db, err := sql.Open("sqlserver", x.url)
	if err != nil {
		tb.Fatalf("open: %v", err)
	}
	x.db = db
	tb.Cleanup(func() {
		if realURL != "" {
			if _, err := db.Exec(x.text("DROP TABLE {table}")); err != nil {
				tb.Logf("drop: %v", err)
			}
		}
		db.Close()
	})
	h.URL = x.url + "&multilock.poll_interval=100ms&multilock.table=" + url.QueryEscape(x.table)
	x.powers(&h)
	return h
}

// powers fills in what a user with rights on the table can do.
func (x *target) powers(h *conformance.Harness) {
	open := func(tb conformance.TB, o sqlserver.Options) (driver.Driver, driver.Info) {
		d, info, err := sqlserver.NewDriver(o)
		if err != nil {
			tb.Fatalf("open: %v", err)
		}
		return d, info
	}
	h.NewDriver = func(tb conformance.TB) (driver.Driver, driver.Info) { return open(tb, x.options()) }
	h.NewLinked = func(tb conformance.TB) (driver.Driver, driver.Info, conformance.Link) {
		u, err := url.Parse(x.url)
		if err != nil {
			tb.Fatalf("%v", err)
		}
		p := proxy.Start(tb, u.Host)
		u.Host = p.Addr()
		o := x.options()
		o.ConnString = u.String()
		d, info := open(tb, o)
		return d, info, link{p}
	}
	run := func(tb conformance.TB, text string, args ...any) {
		tb.Helper()
		if _, err := x.db.Exec(x.text(text), args...); err != nil {
			tb.Fatalf("%s: %v", text, err)
		}
	}
	h.LockRecord = func(tb conformance.TB, group string) func() {
		tx, err := x.db.Begin()
		if err == nil {
			_, err = tx.Exec(x.text("UPDATE {table} SET ttl_us = {t}.ttl_us WHERE grp = @grp"), sql.Named("grp", group))
		}
		if err != nil {
			tb.Fatalf("lock: %v", err)
		}
		var done atomic.Bool
		return func() {
			if !done.Swap(true) {
				_ = tx.Rollback()
			}
		}
	}
	h.RemoveRecord = func(tb conformance.TB, group string) {
		run(tb, "DELETE FROM {table} WHERE grp = @grp", sql.Named("grp", group))
	}
	h.CorruptRecord = func(tb conformance.TB, group string) {
		run(tb, "UPDATE {table} SET nonce = N'not a nonce', participant = N'somebody else', metadata = N'not JSON' WHERE grp = @grp", sql.Named("grp", group))
	}
	h.SetToken = func(tb conformance.TB, group string, token uint64) {
		run(tb, "UPDATE {table} SET token = @token WHERE grp = @grp", sql.Named("token", int64(token)), sql.Named("grp", group))
	}
	h.Age = func(tb conformance.TB, group string, d time.Duration) {
		run(tb, "UPDATE {table} SET acquired_us = {t}.acquired_us - @us, expires_us = {t}.expires_us - @us WHERE grp = @grp",
			sql.Named("us", d.Microseconds()), sql.Named("grp", group))
	}
	h.LoseData = func(tb conformance.TB) { run(tb, "DROP TABLE {table}") }
	h.Snapshot = func(tb conformance.TB) func(conformance.TB) {
		rows, err := x.db.Query(x.text("SELECT grp, nonce, last_nonce, participant, token, acquired_us, expires_us, ttl_us, metadata FROM {table}"))
		if err != nil {
			tb.Fatalf("dump: %v", err)
		}
		defer rows.Close()
		var all [][]any
		for rows.Next() {
			var group, nonce, last, participant string
			var token, acquired, expires, ttl int64
			var metadata sql.NullString
			if err := rows.Scan(&group, &nonce, &last, &participant, &token, &acquired, &expires, &ttl, &metadata); err != nil {
				tb.Fatalf("dump: %v", err)
			}
			all = append(all, []any{sql.Named("grp", group), sql.Named("nonce", nonce), sql.Named("last_nonce", last), sql.Named("participant", participant),
				sql.Named("token", token), sql.Named("acquired", acquired), sql.Named("expires", expires), sql.Named("ttl", ttl), sql.Named("metadata", metadata)})
		}
		return func(tb conformance.TB) {
			run(tb, "DELETE FROM {table}")
			for _, args := range all {
				run(tb, "INSERT INTO {table} (grp, nonce, last_nonce, participant, token, acquired_us, expires_us, ttl_us, metadata)"+
					" VALUES (@grp, @nonce, @last_nonce, @participant, @token, @acquired, @expires, @ttl, @metadata)", args...)
			}
		}
	}
}

// link is the network between one client and the server.
type link struct{ *proxy.Proxy }

// Blackhole implements conformance.Link.
func (l link) Blackhole(d conformance.Direction) { l.Proxy.Blackhole(proxy.Direction(d)) }
