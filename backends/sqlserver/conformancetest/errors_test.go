package conformancetest

import (
	"context"
	"database/sql"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	mssql "github.com/microsoft/go-mssqldb"

	"github.com/multilock/multilock-go/backends/sqlserver"
	"github.com/multilock/multilock-go/core/driver"
	"github.com/multilock/multilock-go/testservers/tds"
)

// tryAcquire makes one attempt with a driver of its own.
func tryAcquire(t *testing.T, o sqlserver.Options) error {
	t.Helper()
	d, _, err := sqlserver.NewDriver(o)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err = d.Acquire(ctx, driver.AcquireRequest{Group: "g", Participant: "p", Nonce: driver.NewNonce(), TTL: time.Minute})
	return err
}

func TestMisconfiguration(t *testing.T) {
	const password = "S3cret-and-wrong"
	cases := []struct {
		name    string
		options tds.Options
		change  func(x *target, o *sqlserver.Options)
		number  int32
		hint    string
	}{
		{name: "password", number: 18456, hint: "password", change: func(x *target, o *sqlserver.Options) {
			o.ConnString = strings.Replace(o.ConnString, tds.DefaultPassword, password, 1)
		}},
		{name: "database", number: 4060, hint: "database", change: func(x *target, o *sqlserver.Options) {
			o.ConnString = strings.Replace(o.ConnString, "database=app", "database=other", 1)
		}},
		{name: "missing table", hint: "DDL", change: func(x *target, o *sqlserver.Options) { o.NoAutoCreate = true }},
		{name: "may not create", number: 262, hint: "CREATE TABLE", change: func(x *target, o *sqlserver.Options) {
			x.server.SetLogin(tds.DefaultUser, tds.Login{Password: tds.DefaultPassword, Deny: []string{"CREATE TABLE"}})
		}},
		{name: "may not create the schema", number: 262, change: func(x *target, o *sqlserver.Options) {
			o.Schema = "elections"
			x.server.SetLogin(tds.DefaultUser, tds.Login{Password: tds.DefaultPassword, Deny: []string{"CREATE SCHEMA"}})
		}},
		{name: "may not write", number: 229, hint: "UPDATE", change: func(x *target, o *sqlserver.Options) {
			x.server.SetLogin(tds.DefaultUser, tds.Login{Password: tds.DefaultPassword, Deny: []string{"UPDATE"}})
		}},
		{name: "another table of that name", number: 207, hint: "columns", change: func(x *target, o *sqlserver.Options) {
			g, _ := sqlserver.NewGuard("dbo", "fences")
			if _, err := x.db.Exec(g.DDL()); err != nil {
				panic(err)
			}
			o.Table = "fences"
		}},
		{name: "no OPENJSON", number: 208, hint: "OPENJSON", options: tds.Options{NoOpenJSON: true}},
		{name: "delayed durability", hint: "DELAYED_DURABILITY", options: tds.Options{DelayedDurability: 2}},
		{name: "implicit transactions", hint: "IMPLICIT_TRANSACTIONS", options: tds.Options{ImplicitTransactions: true}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			x := newStandIn(t, c.options)
			o := x.options()
			if c.change != nil {
				c.change(x, &o)
			}
			err := tryAcquire(t, o)
			if !errors.Is(err, driver.ErrMisconfigured) || !strings.Contains(err.Error(), c.hint) {
				t.Fatalf("error %v", err)
			}
			if sdk, ok := errors.AsType[mssql.Error](err); c.number != 0 {
				found := ok && sdk.Number == c.number
				for _, one := range sdk.All {
					found = found || one.Number == c.number
				}
				if !found {
					t.Errorf("the server's error %d is not to be found in %#v", c.number, err)
				}
			}
			if strings.Contains(err.Error(), password) || strings.Contains(err.Error(), tds.DefaultPassword) {
				t.Errorf("the error tells the password: %v", err)
			}
		})
	}
}

func TestTransient(t *testing.T) {
	for _, number := range []int32{1205, 1222, 3960, 2627, 3906} {
		x := newStandInOnly(t)
		d := x.driver(t)
		acquire(t, d, "warm", time.Minute)
		req := driver.AcquireRequest{Group: "g", Participant: "p", Nonce: driver.NewNonce(), TTL: time.Minute}
		x.server.Fail("acquire", number)
		if _, err := d.Acquire(t.Context(), req); !errors.Is(err, driver.ErrNotApplied) || errors.Is(err, driver.ErrMisconfigured) {
			t.Errorf("%d: %v", number, err)
		}
		if _, err := d.Acquire(t.Context(), req); err != nil {
			t.Errorf("after %d: %v", number, err)
		}
	}
	x := newStandInOnly(t)
	d := x.driver(t)
	acquire(t, d, "warm", time.Minute)
	for _, number := range []int32{40501, 40613, 10928, tds.CompatibleError} {
		x.server.Fail("acquire", number)
		_, err := d.Acquire(t.Context(), driver.AcquireRequest{Group: "g", Participant: "p", Nonce: driver.NewNonce(), TTL: time.Minute})
		if err == nil || errors.Is(err, driver.ErrNotApplied) || errors.Is(err, driver.ErrMisconfigured) || errors.Is(err, driver.ErrLost) {
			t.Errorf("%d must be uncertain: %v", number, err)
		}
	}
}

// TestDatabaseAway: a database that was open before and cannot be opened now is
// failing over, which ends no campaign.
func TestDatabaseAway(t *testing.T) {
	x := newStandInOnly(t)
	d := x.driver(t)
	term, _ := acquire(t, d, "g", time.Minute)
	x.server.SetDatabases()
	x.server.KillSessions()
	req := driver.AcquireRequest{Group: "other", Participant: "p", Nonce: driver.NewNonce(), TTL: time.Minute}
	eventually(t, "the database cannot be opened", func() bool {
		_, err := d.Acquire(t.Context(), req)
		if err == nil || errors.Is(err, driver.ErrMisconfigured) || errors.Is(err, driver.ErrLost) {
			t.Fatalf("database away: %v", err)
		}
		return errors.Is(err, driver.ErrNotApplied) && strings.Contains(err.Error(), "Cannot open database")
	})
	if r := renewOne(t.Context(), d, driver.RenewRequest{Term: term, TTL: time.Minute}); r.Err == nil || errors.Is(r.Err, driver.ErrLost) || errors.Is(r.Err, driver.ErrMisconfigured) {
		t.Errorf("renew: %+v", r)
	}
	if err := tryAcquire(t, x.options()); !errors.Is(err, driver.ErrMisconfigured) {
		t.Errorf("a driver that never saw the database: %v", err)
	}
	x.server.SetDatabases(tds.DefaultDatabase)
	if r := renewOne(t.Context(), d, driver.RenewRequest{Term: term, TTL: time.Minute}); r.Err != nil {
		t.Errorf("renew afterwards: %v", r.Err)
	}
	if _, err := d.Acquire(t.Context(), req); err != nil {
		t.Errorf("acquire afterwards: %v", err)
	}
}

func TestServerAway(t *testing.T) {
	x := newStandInOnly(t)
	d := x.driver(t)
	term, _ := acquire(t, d, "g", time.Minute)
	x.server.Stop()
	eventually(t, "the dial is refused", func() bool {
		_, err := d.Acquire(t.Context(), driver.AcquireRequest{Group: "g", Participant: "p", Nonce: driver.NewNonce(), TTL: time.Minute})
		if err == nil || errors.Is(err, driver.ErrMisconfigured) || errors.Is(err, driver.ErrLost) {
			t.Fatalf("server away: %v", err)
		}
		return errors.Is(err, driver.ErrNotApplied)
	})
	if r := renewOne(t.Context(), d, driver.RenewRequest{Term: term, TTL: time.Minute}); r.Err == nil || errors.Is(r.Err, driver.ErrLost) {
		t.Errorf("renew: %+v", r)
	}
	if err := x.server.Restart(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the term goes on", func() bool {
		return renewOne(t.Context(), d, driver.RenewRequest{Term: term, TTL: time.Minute}).Err == nil
	})
}

// TestSilentServer accepts connections and never answers.
func TestSilentServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d, _, err := sqlserver.NewDriver(sqlserver.Options{ConnString: "sqlserver://u:p@" + l.Addr().String() + "?encrypt=disable"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err = d.Leader(ctx, "g")
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 3*time.Second {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
	start = time.Now()
	if err := d.Close(); err != nil || time.Since(start) > 3*time.Second {
		t.Errorf("close after %v: %v", time.Since(start), err)
	}
}

// TestCancelWhileWaiting cancels a request that waits for a lock.
func TestCancelWhileWaiting(t *testing.T) {
	x := newTarget(t)
	d := x.driver(t)
	term, _ := acquire(t, d, "g", time.Minute)
	unlock := x.lockRow(t, "g")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	err := d.Resign(ctx, term)
	if err == nil || errors.Is(err, driver.ErrLost) || time.Since(start) > 3*time.Second {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
	unlock()
	eventually(t, "the connection is good again", func() bool { return d.Resign(t.Context(), term) == nil })
}

func TestTableIsCreatedOnceByMany(t *testing.T) {
	x := newTarget(t)
	errs := make(chan error, 12)
	for range cap(errs) {
		d := x.driver(t)
		go func() {
			_, err := d.Acquire(context.Background(), driver.AcquireRequest{Group: "g", Participant: "p", Nonce: driver.NewNonce(), TTL: time.Minute})
			errs <- err
		}()
	}
	won := 0
	for range cap(errs) {
		err := <-errs
		var held *driver.HeldError
		switch {
		case err == nil:
			won++
		case errors.As(err, &held), errors.Is(err, driver.ErrNotApplied):
		default:
			t.Errorf("acquire: %v", err)
		}
	}
	if won != 1 {
		t.Errorf("%d winners", won)
	}
}

func TestSchemaIsCreated(t *testing.T) {
	x := newStandInOnly(t)
	o := x.options()
	o.Schema, o.Table = "elections]", "table of [leaders]"
	if err := tryAcquire(t, o); err != nil {
		t.Fatal(err)
	}
}

// TestTableDropped drops the table under a running driver: the terms cannot be
// renewed, and the next attempt creates it again, with a greater token.
func TestTableDropped(t *testing.T) {
	x := newStandInOnly(t)
	d := x.driver(t)
	term, g := acquire(t, d, "g", time.Minute)
	x.exec(t, "DROP TABLE {table}")
	if r := renewOne(t.Context(), d, driver.RenewRequest{Term: term, TTL: time.Minute}); r.Err == nil {
		t.Errorf("renew: %+v", r)
	}
	req := driver.AcquireRequest{Group: "g", Participant: "p", Nonce: driver.NewNonce(), TTL: time.Minute}
	g2, err := d.Acquire(t.Context(), req)
	if err != nil || g2.Token <= g.Token {
		t.Errorf("the attempt after: %+v, %v", g2, err)
	}
}

func TestForeignRecord(t *testing.T) {
	x := newTarget(t)
	d := x.driver(t)
	term, _ := acquire(t, d, "g", time.Minute)
	x.exec(t, "UPDATE {table} SET nonce = N'not a nonce', participant = N'somebody else', metadata = N'not JSON' WHERE grp = @grp", sql.Named("grp", "g"))
	if r := renewOne(t.Context(), d, driver.RenewRequest{Term: term, TTL: time.Minute}); !errors.Is(r.Err, driver.ErrLost) {
		t.Errorf("renew: %+v", r)
	}
	_, err := d.Acquire(t.Context(), driver.AcquireRequest{Group: "g", Participant: "p", Nonce: driver.NewNonce(), TTL: time.Minute})
	held, ok := errors.AsType[*driver.HeldError](err)
	if !ok || held.Record.Participant != "somebody else" || !held.Record.Nonce.IsZero() || held.Record.Metadata != nil {
		t.Errorf("acquire: %v", err)
	}
	x.exec(t, "DELETE FROM {table} WHERE grp = @grp", sql.Named("grp", "g"))
	if err := d.Resign(t.Context(), term); !errors.Is(err, driver.ErrLost) {
		t.Errorf("resign of a deleted row: %v", err)
	}
}
