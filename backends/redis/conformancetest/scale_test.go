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

// manyGroups is how many one process takes part in: ten thousand, and a fifth of
// that where each would cost ten times the processor.
func manyGroups() int {
	if underRace {
		return 2_000
	}
	return 10_000
}

// TestManyGroups: many groups led by one process and followed by another, over the
// declared connections.
func TestManyGroups(t *testing.T) {
	n := manyGroups()
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
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute) // a busy machine is slow
	defer cancel()
	for _, e := range les {
		if _, err := e.WaitForLeadership(ctx); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "a goroutine for each leader, and few others", func() bool { return runtime.NumGoroutine()-routines < n*11/10 })
	memory2, routines2 := heap()
	t.Logf("%d groups led after %v; %d B and %.2f goroutines each", n, time.Since(began).Round(time.Millisecond), (memory2-memory)/n, float64(routines2-routines)/float64(n))
	began = time.Now()
	fb, fes := begin(followers)
	eventually(t, "all groups are watched", func() bool { return fb.Stats().Watched == n })
	eventually(t, "a goroutine for each follower, and few others", func() bool { return runtime.NumGoroutine()-routines2 < n*11/10 })
	memory3, routines3 := heap()
	t.Logf("%d groups followed after %v; %d B and %.2f goroutines each", n, time.Since(began).Round(time.Millisecond), (memory3-memory2)/n, float64(routines3-routines2)/float64(n))
	// Each tries once more, now that it would be woken.
	for last := uint64(0); last != fb.Stats().Acquires; time.Sleep(2 * time.Second) {
		last = fb.Stats().Acquires
	}
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
	if terms > 3*uint64(n) || renewals > uint64(3*2*n/500)+20 {
		t.Errorf("%d requests that renew %d terms in little more than a heartbeat of %d", renewals, terms, n)
	}
	if attempts > uint64(n)/10 {
		t.Errorf("%d requests of followers within a third of a TTL", attempts)
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

// TestRequests counts what a leader and a follower ask of the server in a minute.
func TestRequests(t *testing.T) {
	t.Parallel()
	const ttl, groups, span = 15 * time.Second, 10, time.Minute // the default TTL
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
	heartbeat := (ttl - time.Second) / 3
	beats := took.Seconds() / heartbeat.Seconds()
	renewals, terms := le.Renewals-ls.Renewals, le.RenewedTerms-ls.RenewedTerms
	attempts := fe.Acquires - fs.Acquires
	t.Logf("leader of %d groups: %d requests with %d renewals in %v, %.1f heartbeats, and %d others", groups, renewals, terms, span, beats,
		le.Acquires+le.Resigns+le.Reads-ls.Acquires-ls.Resigns-ls.Reads)
	t.Logf("follower of %d groups: %d requests in %v and %d pings of its subscription; the server executed %d scripts of both", groups, attempts, span, pings2-pings, executed2-executed)
	if most := uint64(beats*3/2) + 2; renewals > most {
		t.Errorf("%d requests that renew, want at most %d", renewals, most)
	}
	if le.Acquires+le.Resigns+le.Reads != ls.Acquires+ls.Resigns+ls.Reads {
		t.Error("a leader sent more than renewals")
	}
	// TTL/(TTL - heartbeat) attempts per group and TTL.
	if most := uint64(groups * (took.Seconds()/(ttl-heartbeat).Seconds() + 1)); attempts > most {
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
