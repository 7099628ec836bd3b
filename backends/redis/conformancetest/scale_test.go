package conformancetest

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/multilock/multilock-go/backends/redis"
	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/testservers/proxy"
	server "github.com/multilock/multilock-go/testservers/redis"
)

// TestManyGroups: ten thousand groups led by one process and followed by another,
// over the declared connections.
func TestManyGroups(t *testing.T) {
	const n = 10_000
	s := server.Start(t, server.Options{})
	leaders, followers := proxy.Start(t, s.Addr), proxy.Start(t, s.Addr)
	heap := func() (int, int) {
		for range 3 { // each halves the stacks that have become too large
			runtime.GC()
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc + m.StackInuse), runtime.NumGoroutine()
	}
	var groups []string
	for range n {
		groups = append(groups, newGroup())
	}
	begin := func(p *proxy.Proxy) (*multilock.Backend, []*multilock.Elector) {
		b := backend(t, redis.Options{Addrs: []string{p.Addr()}})
		es := make([]*multilock.Elector, n)
		var all sync.WaitGroup
		for i := range es {
			e, err := multilock.New(b, multilock.Options{Group: groups[i], HeartbeatTimeout: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			es[i] = e
			all.Go(func() {
				if err := e.Start(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		return b, es
	}
	memory, routines := heap()
	began := time.Now()
	lb, les := begin(leaders)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for _, e := range les {
		if _, err := e.WaitForLeadership(ctx); err != nil {
			t.Fatal(err)
		}
	}
	memory2, routines2 := heap()
	t.Logf("%d groups led after %v; %d B and %.2f goroutines each", n, time.Since(began).Round(time.Millisecond), (memory2-memory)/n, float64(routines2-routines)/n)
	began = time.Now()
	fb, fes := begin(followers)
	eventually(t, "all groups are watched", func() bool { return fb.Stats().Watched == n })
	memory3, routines3 := heap()
	t.Logf("%d groups followed after %v; %d B and %.2f goroutines each", n, time.Since(began).Round(time.Millisecond), (memory3-memory2)/n, float64(routines3-routines2)/n)
	time.Sleep(5 * time.Second) // each tries once more, now that it would be woken
	commands := func() int64 { return s.Calls("evalsha", "eval", "ping", "subscribe") }
	ls, fs, sent := lb.Stats(), fb.Stats(), commands()
	const span = 20 * time.Second
	time.Sleep(span)
	le, fe, sent2 := lb.Stats(), fb.Stats(), commands()
	renewals, terms, attempts := le.Renewals-ls.Renewals, le.RenewedTerms-ls.RenewedTerms, fe.Acquires-fs.Acquires
	t.Logf("in %v: leaders %d requests that renew %d terms, followers %d requests (%.1f/s); the server executed %d commands (%.0f/s)", span,
		renewals, terms, attempts, float64(renewals+attempts)/span.Seconds(), sent2-sent, float64(sent2-sent)/span.Seconds())
	// A heartbeat is 19.7 s, so two of them at most begin in the window; a follower
	// tries once in 40 s or more. Requests are batches of up to 500.
	if terms > 3*n || renewals > 3*2*n/500 {
		t.Errorf("%d requests that renew %d terms in little more than a heartbeat of %d", renewals, terms, n)
	}
	if attempts > n {
		t.Errorf("%d requests of followers within a third of a TTL", attempts)
	}
	if perLeader, perFollower := float64(routines2-routines)/n, float64(routines3-routines2)/n; perLeader > 2.1 || perFollower > 1.1 {
		t.Errorf("%.2f goroutines for a leader, %.2f for a follower", perLeader, perFollower)
	}
	for name, p := range map[string]*proxy.Proxy{"leaders": leaders, "followers": followers} {
		if open := len(p.Open()); open > 4 {
			t.Errorf("the %s have %d connections, want at most 4", name, open)
		}
	}
	for _, e := range les {
		if !e.IsLeader() {
			t.Errorf("a leader lost its group: %+v", e.Status())
			break
		}
	}
	var all sync.WaitGroup
	for _, e := range append(fes, les...) {
		all.Go(func() {
			if err := e.Stop(ctx); err != nil {
				t.Errorf("Stop: %v", err)
			}
		})
	}
	all.Wait()
}

// TestRequests counts what a leader and a follower ask of the server in four TTLs,
// which at the default TTL are a minute.
func TestRequests(t *testing.T) {
	const ttl, groups, span = 5 * time.Second, 10, 20 * time.Second
	s := server.Start(t, server.Options{})
	leader, follower := backend(t, at(s)), backend(t, at(s))
	var es []*multilock.Elector
	for _, b := range []*multilock.Backend{leader, follower} {
		for i := range groups {
			e, err := multilock.New(b, multilock.Options{Group: fmt.Sprintf("group-%d", i), HeartbeatTimeout: ttl})
			if err != nil {
				t.Fatal(err)
			}
			es = append(es, e)
			if err := e.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			if b == leader {
				if _, err := e.WaitForLeadership(patience(t)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	eventually(t, "all groups are watched", func() bool { return follower.Stats().Watched == groups })
	time.Sleep(ttl) // the terms come to be renewed together
	scripts := func() int64 { return s.Calls("evalsha", "eval") }
	began := time.Now()
	ls, fs, executed, pings := leader.Stats(), follower.Stats(), scripts(), s.Calls("ping")
	time.Sleep(span)
	le, fe, executed2, pings2 := leader.Stats(), follower.Stats(), scripts(), s.Calls("ping")
	took := time.Since(began)
	heartbeat := (ttl - ttl/10) / 3
	beats := took.Seconds() / heartbeat.Seconds()
	renewals, terms := le.Renewals-ls.Renewals, le.RenewedTerms-ls.RenewedTerms
	attempts := fe.Acquires - fs.Acquires
	t.Logf("leader of %d groups: %d requests with %d renewals in %.1f heartbeats, and %d others", groups, renewals, terms, beats,
		le.Acquires+le.Resigns+le.Reads-ls.Acquires-ls.Resigns-ls.Reads)
	t.Logf("follower of %d groups: %d requests in %.1f TTLs; both, and the subscription: %d pings; the server executed %d scripts", groups, attempts, took.Seconds()/ttl.Seconds(), pings2-pings, executed2-executed)
	if most := uint64(beats*3/2) + 2; renewals > most {
		t.Errorf("%d requests that renew, want at most %d", renewals, most)
	}
	if le.Acquires+le.Resigns+le.Reads != ls.Acquires+ls.Resigns+ls.Reads {
		t.Error("a leader sent more than renewals")
	}
	// TTL/(TTL - heartbeat) = 10/7 attempts per group and TTL.
	if most := uint64(groups * (took.Seconds()/ttl.Seconds()*10/7 + 1)); attempts > most {
		t.Errorf("a follower sent %d requests, want at most %d", attempts, most)
	}
	// What the clients say that they sent is what the server got.
	if most := int64(terms) + groups*int64(attempts) + 2*groups; executed2-executed > most {
		t.Errorf("the server executed %d scripts, want at most %d", executed2-executed, most)
	}
	if le.Hedges == ls.Hedges && executed2-executed < int64(terms) {
		t.Errorf("the server executed %d scripts, want at least %d", executed2-executed, terms)
	}
	for _, e := range es {
		if err := e.Stop(patience(t)); err != nil {
			t.Error(err)
		}
	}
}
