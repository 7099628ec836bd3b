package conformancetest

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/multilock/multilock-go/backends/postgres"
	multilock "github.com/multilock/multilock-go/core"
	server "github.com/multilock/multilock-go/testservers/postgres"
)

// Ten thousand groups in one process: how many connections and statements that
// takes while it leads them all, which -v prints together with the memory.
func TestTenThousandGroups(t *testing.T) {
	const groups = 10_000
	s := server.Start(t, server.Options{Settings: []string{"shared_preload_libraries = 'pg_stat_statements'"}})
	url := s.URL(server.User, server.Password, server.Database)
	conn := admin(t, url)
	defer conn.Close(context.Background())
	must(t, exec(conn, "CREATE EXTENSION pg_stat_statements"))
	b, err := postgres.Open(t.Context(), postgres.Options{ConnString: url})
	must(t, err)
	defer b.Close(context.Background())
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	before := heap()
	es := make([]*multilock.Elector, groups)
	begin := time.Now()
	const ttl = 30 * time.Second // a busy machine shall lose nothing
	for i := range es {
		es[i], err = multilock.New(b, multilock.Options{Group: fmt.Sprintf("g%d", i), HeartbeatTimeout: ttl, LockTimeout: ttl})
		must(t, err)
	}
	for _, e := range es {
		go e.Start(t.Context())
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	leading := func() (n int) {
		for _, e := range es {
			if e.IsLeader() {
				n++
			}
		}
		return n
	}
	for leading() < groups {
		if ctx.Err() != nil {
			t.Fatalf("%d of %d lead after 5 min", leading(), groups)
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Logf("%d groups led after %v", groups, time.Since(begin))
	t.Logf("%.1f KiB of heap and stack per group", float64(heap()-before)/groups/1024)

	heartbeat := (ttl - time.Second) / 3
	window := heartbeat * 3 / 2
	time.Sleep(heartbeat) // the terms come to be renewed together
	must(t, exec(conn, "SELECT pg_stat_statements_reset()"))
	stats := b.Stats()
	time.Sleep(window)
	var statements, connections int
	must(t, conn.QueryRow(t.Context(), "SELECT coalesce(sum(calls), 0)::int FROM pg_stat_statements WHERE query LIKE '%leader_election%'").Scan(&statements))
	must(t, conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'multilock'").Scan(&connections))
	now := b.Stats()
	t.Logf("%d connections; in %v, one heartbeat and a half: %d statements, %d renewals of %d terms", connections, window, statements, now.Renewals-stats.Renewals, now.RenewedTerms-stats.RenewedTerms)
	if connections > 4 {
		t.Errorf("%d connections, want at most 3 and a hedge", connections)
	}
	if n := now.RenewedTerms - stats.RenewedTerms; n < groups {
		t.Errorf("%d terms were renewed within a heartbeat and a half, want %d", n, groups)
	}
	if statements > 4*groups/500 {
		t.Errorf("%d statements within a heartbeat and a half, want about %d", statements, groups*3/2/500)
	}
	if n := leading(); n != groups {
		t.Errorf("%d of %d still lead", n, groups)
	}
}
