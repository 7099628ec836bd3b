package conformancetest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/multilock/multilock-go/backends/postgres"
	"github.com/multilock/multilock-go/core/driver"
	server "github.com/multilock/multilock-go/testservers/postgres"
)

// trips relays connections to a server and counts round trips: a client that wants
// an answer sends a Sync or a simple Query.
type trips struct {
	addr string
	n    atomic.Int64
}

func countTrips(t *testing.T, target string) *trips {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	x := &trips{addr: l.Addr().String()}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go x.relay(client, target)
		}
	}()
	return x
}

func (x *trips) relay(client net.Conn, target string) {
	defer client.Close()
	srv, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer srv.Close()
	go func() {
		_, _ = io.Copy(client, srv)
		_ = client.Close()
	}()
	for head := make([]byte, 4); ; head = make([]byte, 5) { // only the first message has no type
		if _, err := io.ReadFull(client, head); err != nil {
			return
		}
		body := make([]byte, binary.BigEndian.Uint32(head[len(head)-4:])-4)
		if _, err := io.ReadFull(client, body); err != nil {
			return
		}
		if len(head) == 5 && (head[0] == 'S' || head[0] == 'Q') {
			x.n.Add(1)
		}
		if _, err := srv.Write(append(head, body...)); err != nil {
			return
		}
	}
}

// What each call costs: statements that the server executed, and round trips.
func TestOneStatementIsOneRoundTrip(t *testing.T) {
	t.Parallel()
	direct, conn := counted(t)
	relay := countTrips(t, hostOf(t, direct))
	o := postgres.Options{ConnString: at(direct, relay.addr)}
	must(t, everything(t.Context(), open(t, o), "led before")) // makes the table
	d := open(t, o)
	ctx := t.Context()
	held := func(group string) {
		t.Helper()
		var h *driver.HeldError
		if _, err := d.Acquire(ctx, request(group)); !errors.As(err, &h) {
			t.Errorf("a follower's look: %v", err)
		}
	}
	var term driver.Term
	acquire := func(group string) {
		t.Helper()
		req := request(group)
		g, err := d.Acquire(ctx, req)
		must(t, err)
		term = driver.Term{Group: group, Nonce: req.Nonce, Token: g.Token}
	}
	renewed := func() {
		t.Helper()
		if r := renew(ctx, d, 10*time.Second, term)[0]; r.Err != nil {
			t.Error(r.Err)
		}
	}
	expect := func(what string, statements, most int, f func()) {
		t.Helper()
		statementsSince(t, conn)
		before := relay.n.Load()
		f()
		took := int(relay.n.Load() - before)
		if n := statementsSince(t, conn); n != statements || took > most {
			t.Errorf("%s: %d statements in %d round trips, want %d in %d", what, n, took, statements, most)
		}
	}
	// A connection begins with its settings, in the same message as its first statement.
	expect("first attempt of a new client", 2, 1, func() { acquire("led before") })
	expect("first renewal", 2, 1, renewed)
	// The first of each kind is prepared, and the next is not.
	renewed()
	held("led before")
	must(t, d.Resign(ctx, term))
	acquire("led before")
	expect("renewal", 1, 1, renewed)
	expect("follower's look", 1, 1, func() { held("led before") })
	expect("resignation", 1, 1, func() { must(t, d.Resign(ctx, term)) })
	expect("attempt", 1, 1, func() { acquire("led before") })
	expect("first term of a group", 1, 1, func() { acquire("never led before") })
	groups := []driver.AcquireRequest{request("new A"), request("new B")}
	batch := func() {
		d.(driver.BatchAcquirer).AcquireBatch(ctx, groups, func(_ int, _ driver.Grant, err error) { must(t, err) })
	}
	batch()
	groups = []driver.AcquireRequest{request("new C"), request("new D")}
	expect("first terms of two groups", 2, 2, batch)
}

// However large the table has become: a statement is planned once for each
// connection, and once more when the table was analysed, but not for each attempt.
func TestPlansAreKept(t *testing.T) {
	t.Parallel()
	s := server.Start(t, server.Options{Settings: []string{"shared_preload_libraries = 'pg_stat_statements'", "pg_stat_statements.track_planning = on"}})
	u := s.URL(server.User, server.Password, server.Database)
	conn := admin(t, u)
	defer conn.Close(context.Background())
	must(t, exec(conn, "CREATE EXTENSION pg_stat_statements"))
	d := open(t, postgres.Options{ConnString: u})
	must(t, everything(t.Context(), d, "g"))
	must(t, exec(conn, "INSERT INTO leader_election (group_name) SELECT 'many ' || i FROM generate_series(1, 5000) i"))
	must(t, exec(conn, "SELECT pg_stat_statements_reset()"))
	const attempts = 100
	for range attempts {
		req := request("g")
		g, err := d.Acquire(t.Context(), req)
		must(t, err)
		must(t, d.Resign(t.Context(), driver.Term{Group: "g", Nonce: req.Nonce, Token: g.Token}))
	}
	var calls, plans int
	must(t, conn.QueryRow(t.Context(), "SELECT sum(calls)::int, sum(plans)::int FROM pg_stat_statements WHERE query LIKE '%leader_election%'").Scan(&calls, &plans))
	if calls != 2*attempts || plans > 6 {
		t.Errorf("%d statements were planned %d times", calls, plans)
	}
}

// A statement that fails takes the settings of its connection back: they are made
// again with the next.
func TestSettingsAfterAFirstStatementThatFailed(t *testing.T) {
	t.Parallel()
	w := newWorld(t) // the table is not there yet
	w.term(request("g"))
	w.whileLocked(w.table, func() {
		for range 3 { // on the connection that made the table
			if _, err := w.d.Acquire(t.Context(), request("g")); !errors.Is(err, driver.ErrNotApplied) {
				t.Errorf("acquire in a locked table: %v", err)
			}
		}
	})
}

// A connection that replaces another has the settings too.
func TestSettingsOfAConnectionThatReplacesAnother(t *testing.T) {
	t.Parallel()
	o := options(t)
	name := fmt.Sprintf("settings %d", tables.Add(1))
	o.ConnString = with(o.ConnString, "application_name", name)
	d := open(t, o)
	must(t, everything(t.Context(), d, "g"))
	w := newWorld(t)
	must(t, exec(w.admin, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1", name))
	eventually(t, "it works again", func() bool {
		_, err := d.Leader(t.Context(), "g")
		return errors.Is(err, driver.ErrNoLeader)
	})
	w.whileLocked(quoted(o), func() {
		if _, err := d.Leader(t.Context(), "g"); !errors.Is(err, driver.ErrNotApplied) {
			t.Errorf("leader in a locked table: %v", err)
		}
	})
}

// Sessions of a user's pool are the user's: nothing of ours stays in them.
func TestNothingIsLeftInSessionsOfAUsersPool(t *testing.T) {
	t.Parallel()
	o := options(t)
	conf, err := pgxpool.ParseConfig(o.ConnString)
	must(t, err)
	conf.MaxConns = 1
	pool, err := pgxpool.NewWithConfig(t.Context(), conf)
	must(t, err)
	defer pool.Close()
	b, err := postgres.FromPool(pool, postgres.Options{Table: o.Table})
	must(t, err)
	defer b.Close(context.Background())
	for range 3 {
		req := request("g")
		g, err := b.Driver().Acquire(t.Context(), req)
		must(t, err)
		must(t, b.Driver().Resign(t.Context(), driver.Term{Group: "g", Nonce: req.Nonce, Token: g.Token}))
		var lock string
		must(t, pool.QueryRow(t.Context(), "SELECT current_setting('lock_timeout')").Scan(&lock))
		if lock != "0" {
			t.Fatalf("a session was left with lock_timeout %s", lock)
		}
	}
}

// Whoever is making the row of a group at this moment is waited for no longer than
// lock_timeout, and the answer is that nothing was changed.
func TestFirstTermBesideAnotherInsertion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.term(request("other")) // the table is there
	attempt := map[string]func(group string) error{
		"one": func(group string) error {
			_, err := w.d.Acquire(t.Context(), request(group))
			return err
		},
		"many": func(group string) (err error) {
			reqs := []driver.AcquireRequest{request(group), request(group + " and another")}
			w.d.(driver.BatchAcquirer).AcquireBatch(t.Context(), reqs, func(i int, _ driver.Grant, e error) {
				if i == 0 {
					err = e
				}
			})
			return err
		},
	}
	for name, attempt := range attempt {
		for _, end := range []string{"rollback", "commit"} {
			group := name + " " + end
			tx, err := w.admin.Begin(t.Context())
			must(t, err)
			_, err = tx.Exec(t.Context(), "INSERT INTO "+w.table+" (group_name) VALUES ($1)", group)
			must(t, err)
			start := time.Now()
			if err := attempt(group); !errors.Is(err, driver.ErrNotApplied) {
				t.Errorf("%s: beside an insertion: %v", group, err)
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("%s: it was waited for: %v", group, took)
			}
			if end == "commit" {
				must(t, tx.Commit(t.Context()))
			} else {
				must(t, tx.Rollback(t.Context()))
			}
			if err := attempt(group); err != nil {
				t.Errorf("%s: after it: %v", group, err)
			}
		}
	}
}

// Many clients want the first term of a group at once: one gets it, and the others
// are told of it or that they may try again.
func TestFirstTermIsWonOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.term(request("other"))
	ds := make([]driver.Driver, 8)
	for i := range ds {
		ds[i] = open(t, w.o)
		_, err := ds[i].Leader(t.Context(), "other") // connected
		must(t, err)
	}
	for round := range 30 {
		group := fmt.Sprint("g", round)
		var won atomic.Int64
		var wg sync.WaitGroup
		for _, d := range ds {
			wg.Go(func() {
				var held *driver.HeldError
				switch _, err := d.Acquire(t.Context(), request(group)); {
				case err == nil:
					won.Add(1)
				case !errors.As(err, &held) && !errors.Is(err, driver.ErrNotApplied):
					t.Errorf("%s: %v", group, err)
				}
			})
		}
		wg.Wait()
		if n := won.Load(); n != 1 {
			t.Errorf("%s was won %d times", group, n)
		}
	}
}

// One attempt has a statement of its own, and the first on a connection another:
// both answer as that of many does, and write the same.
func TestOneAttemptAnswersAsManyDo(t *testing.T) {
	t.Parallel()
	own := request("") // the nonce whose fate is looked at
	states := map[string]string{
		"free":                "nonce = NULL, expires_at = '-infinity'",
		"expired":             "expires_at = clock_timestamp() - interval '1 second'",
		"expired, own":        "nonce = '" + own.Nonce.String() + "', expires_at = clock_timestamp() - interval '1 second'",
		"held":                "token = token",
		"own":                 "nonce = '" + own.Nonce.String() + "'",
		"resigned":            "last_nonce = '" + own.Nonce.String() + "', nonce = NULL, expires_at = '-infinity'",
		"resigned, held":      "last_nonce = '" + own.Nonce.String() + "'",
		"clock stepped back":  "expires_at = clock_timestamp() + interval '1 hour'",
		"token far ahead":     "token = 1::bigint << 60, expires_at = '-infinity'",
		"written by somebody": `nonce = NULL, metadata = '["not ours"]', acquired_at = 'infinity', token = -5`,
	}
	for name, state := range states {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			outcome := func(kind, group string, attempt func(driver.AcquireRequest) (driver.Grant, error)) string {
				before := w.term(request(group))
				must(t, exec(w.admin, "UPDATE "+w.table+" SET "+state+" WHERE group_name = $1", group))
				req := own
				req.Group, req.Metadata = group, map[string]string{"a": "1"}
				g, err := attempt(req)
				var held *driver.HeldError
				if errors.As(err, &held) {
					r := held.Record
					if r.Remaining > 10*time.Second || r.Remaining <= 0 {
						t.Errorf("%s: %v remain", kind, r.Remaining)
					}
					return fmt.Sprintf("held by %s", r.Participant)
				}
				if err != nil {
					return err.Error()
				}
				var row string
				w.value(&row, "SELECT concat_ws(' ', nonce, participant, metadata, ttl, token = $2, acquired_at = to_timestamp($3::float8 / 1000000), expires_at BETWEEN clock_timestamp() + interval '5 s' AND clock_timestamp() + ttl) FROM "+w.table+" WHERE group_name = $1",
					group, int64(g.Token), g.AcquiredAt.UnixMicro())
				return fmt.Sprintf("granted %v, later token %v: %s", g.Granted, g.Token > before.Token, row)
			}
			want := outcome("many", "m", func(req driver.AcquireRequest) (g driver.Grant, err error) {
				w.d.(driver.BatchAcquirer).AcquireBatch(t.Context(), []driver.AcquireRequest{request("beside"), req}, func(i int, grant driver.Grant, e error) {
					if i == 1 {
						g, err = grant, e
					}
				})
				return g, err
			})
			one := func(req driver.AcquireRequest) (driver.Grant, error) { return w.d.Acquire(t.Context(), req) }
			first := func(req driver.AcquireRequest) (driver.Grant, error) { return open(t, w.o).Acquire(t.Context(), req) }
			if got := outcome("one", "o", one); got != want {
				t.Errorf("one attempt:\n%s\nmany:\n%s", got, want)
			}
			if got := outcome("first", "f", first); got != want {
				t.Errorf("the first on its connection:\n%s\nmany:\n%s", got, want)
			}
		})
	}
}
