package conformancetest

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/multilock/multilock-go/backends/postgres"
	multilock "github.com/multilock/multilock-go/core"
	server "github.com/multilock/multilock-go/testservers/postgres"
)

// counted starts a server that counts statements, and connects to it.
func counted(t *testing.T) (url string, conn *pgx.Conn) {
	t.Helper()
	s := server.Start(t, server.Options{Settings: []string{"shared_preload_libraries = 'pg_stat_statements'"}})
	url = s.URL(server.User, server.Password, server.Database)
	conn = admin(t, url)
	t.Cleanup(func() { conn.Close(context.Background()) })
	must(t, exec(conn, "CREATE EXTENSION pg_stat_statements"))
	return url, conn
}

// statementsSince is how many were executed since they were last asked for, over the
// table or not, but for those that count.
func statementsSince(t *testing.T, conn *pgx.Conn) (n int) {
	t.Helper()
	must(t, conn.QueryRow(t.Context(), "SELECT coalesce(sum(calls), 0)::int FROM pg_stat_statements WHERE toplevel AND query NOT LIKE '%pg_stat_statements%'").Scan(&n))
	must(t, exec(conn, "SELECT pg_stat_statements_reset()"))
	return n
}

// memory is what is in use after a collection, and how many goroutines there are.
func memory() (bytes, goroutines int) {
	for range 3 { // each halves the stacks that have become too large
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc + m.StackInuse), runtime.NumGoroutine()
}

// manyGroups is how many one process takes part in: ten thousand, and a fifth of
// that where each would cost ten times the processor.
func manyGroups() int {
	if underRace {
		return 2_000
	}
	return 10_000
}

// Many groups led by one process and followed by another: how many connections and
// statements that takes, which -v prints together with the memory.
func TestManyGroups(t *testing.T) {
	groups := manyGroups()
	const ttl = 30 * time.Second // a busy machine shall lose nothing
	url, conn := counted(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute) // a busy machine is slow
	defer cancel()
	var starting sync.WaitGroup
	begin := func(name string) (*multilock.Backend, []*multilock.Elector) {
		b, err := postgres.Open(ctx, postgres.Options{ConnString: with(url, "application_name", name)})
		must(t, err)
		t.Cleanup(func() { _ = b.Close(context.Background()) })
		es := make([]*multilock.Elector, groups)
		for i := range es {
			es[i], err = multilock.New(b, multilock.Options{Group: fmt.Sprintf("g%d", i), HeartbeatTimeout: ttl, LockTimeout: ttl})
			must(t, err)
			starting.Go(func() {
				if err := es[i].Start(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		starting.Wait() // each has been answered, or has stopped waiting for it
		return b, es
	}
	until := func(what string, ok func() bool) {
		for !ok() {
			if ctx.Err() != nil {
				t.Fatalf("not within 10 min: %s", what)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	bytes, goroutines := memory()
	start := time.Now()
	leader, es := begin("leader")
	leading := func() (n int) {
		for _, e := range es {
			if e.IsLeader() {
				n++
			}
		}
		return n
	}
	until("all are led", func() bool { return leading() == groups })
	until("there is a goroutine for each leader, and few others", func() bool { return runtime.NumGoroutine()-goroutines < groups*11/10 })
	bytes2, goroutines2 := memory()
	perLeader := float64(goroutines2-goroutines) / float64(groups)
	t.Logf("%d groups led after %v: %d B and %.2f goroutines each", groups, time.Since(start).Round(time.Millisecond), (bytes2-bytes)/groups, perLeader)
	start = time.Now()
	follower, _ := begin("follower")
	until("all are watched", func() bool { return follower.Stats().Watched == groups })
	until("there is a goroutine for each follower, and few others", func() bool { return runtime.NumGoroutine()-goroutines2 < groups*11/10 })
	bytes3, goroutines3 := memory()
	perFollower := float64(goroutines3-goroutines2) / float64(groups)
	t.Logf("%d groups followed after %v: %d B and %.2f goroutines each", groups, time.Since(start).Round(time.Millisecond), (bytes3-bytes2)/groups, perFollower)

	heartbeat := (ttl - time.Second) / 3
	window := heartbeat * 3 / 2
	// The terms come to be renewed together, and followers know that they would be
	// woken.
	time.Sleep(heartbeat)
	for last := uint64(0); last != follower.Stats().Acquires; time.Sleep(2 * time.Second) {
		last = follower.Stats().Acquires
	}
	statementsSince(t, conn)
	ls, fs := leader.Stats(), follower.Stats()
	time.Sleep(window)
	le, fe := leader.Stats(), follower.Stats()
	statements := statementsSince(t, conn)
	renewals, terms, attempts := le.Renewals-ls.Renewals, le.RenewedTerms-ls.RenewedTerms, fe.Acquires-fs.Acquires
	t.Logf("in %v, one heartbeat and a half: %d requests that renew %d terms, %d of followers; the server executed %d statements (%.1f/s)",
		window, renewals, terms, attempts, statements, float64(statements)/window.Seconds())
	for _, name := range []string{"leader", "follower"} {
		var connections int
		must(t, conn.QueryRow(ctx, "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1", name).Scan(&connections))
		t.Logf("%s: %d connections", name, connections)
		if connections > 4 {
			t.Errorf("%s: %d connections, want at most 3 and a hedge", name, connections)
		}
	}
	if terms < uint64(groups) {
		t.Errorf("%d terms were renewed within a heartbeat and a half, want %d", terms, groups)
	}
	if renewals > uint64(4*groups/500)+20 {
		t.Errorf("%d requests that renew, want about %d", renewals, groups*3/2/500)
	}
	// Followers try once when the lease that they saw would have run out: 20 to 30 s
	// later, so in a window of 14.5 s at most once each, and many together.
	if attempts > uint64(groups)/10 {
		t.Errorf("%d requests of followers", attempts)
	}
	if n := leading(); n != groups {
		t.Errorf("%d of %d still lead", n, groups)
	}
}

// What a leader and a follower ask of the server in a minute.
func TestRequests(t *testing.T) {
	t.Parallel()
	const ttl, groups, span = 15 * time.Second, 10, time.Minute // the default TTL
	url, conn := counted(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	var bs []*multilock.Backend
	for range 2 {
		b, err := postgres.OpenURL(ctx, url)
		must(t, err)
		t.Cleanup(func() { _ = b.Close(context.Background()) })
		for i := range groups {
			e, err := multilock.New(b, multilock.Options{Group: fmt.Sprintf("g%d", i), HeartbeatTimeout: ttl})
			must(t, err)
			must(t, e.Start(ctx))
			if bs == nil {
				_, err := e.WaitForLeadership(ctx)
				must(t, err)
			}
		}
		bs = append(bs, b)
	}
	leader, follower := bs[0], bs[1]
	eventually(t, "all groups are watched", func() bool { return follower.Stats().Watched == groups })
	time.Sleep(ttl) // the terms come to be renewed together
	statementsSince(t, conn)
	start := time.Now()
	ls, fs := leader.Stats(), follower.Stats()
	time.Sleep(span)
	le, fe := leader.Stats(), follower.Stats()
	statements := statementsSince(t, conn)
	took := time.Since(start)
	heartbeat := (ttl - time.Second) / 3
	beats := took.Seconds() / heartbeat.Seconds()
	renewals, terms, attempts := le.Renewals-ls.Renewals, le.RenewedTerms-ls.RenewedTerms, fe.Acquires-fs.Acquires
	others := le.Acquires + le.Resigns + le.Reads - ls.Acquires - ls.Resigns - ls.Reads
	t.Logf("leader of %d groups: %d requests with %d renewals in %v, %.1f heartbeats, and %d others", groups, renewals, terms, span, beats, others)
	t.Logf("follower of %d groups: %d requests in %v; the server executed %d statements of both", groups, attempts, span, statements)
	if most := uint64(beats*3/2) + 2; renewals > most {
		t.Errorf("%d requests that renew, want at most %d", renewals, most)
	}
	if others != 0 {
		t.Errorf("a leader sent %d requests besides its renewals", others)
	}
	// TTL/(TTL - heartbeat) attempts per group and TTL.
	if most := uint64(groups * (took.Seconds()/(ttl-heartbeat).Seconds() + 1)); attempts > most {
		t.Errorf("a follower sent %d requests, want at most %d", attempts, most)
	}
	// What the clients say that they sent is what the server got, but for second
	// looks at a record that has just changed.
	if sent := int(renewals + attempts); statements < sent-2 || statements > 2*sent {
		t.Errorf("the server executed %d statements for %d requests", statements, sent)
	}
}
