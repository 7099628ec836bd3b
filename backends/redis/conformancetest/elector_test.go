package conformancetest

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/multilock/multilock-go/backends/redis"
	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/testservers/proxy"
	server "github.com/multilock/multilock-go/testservers/redis"
)

func backend(t *testing.T, o redis.Options) *multilock.Backend {
	t.Helper()
	o.Grace = shortGrace
	b, err := redis.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := b.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return b
}

// handovers lets candidates lead one after the other, as soon as each can, until n
// terms have ended, and returns how long the group was without a leader each time.
func handovers(t *testing.T, candidates, n int, open func(i int) *multilock.Backend) []time.Duration {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	group := newGroup()
	var mu sync.Mutex
	var gaps []time.Duration
	var last uint64
	var lastBy string
	var left time.Time
	var leading atomic.Int32
	var all sync.WaitGroup
	for i := range candidates {
		b, name := open(i), fmt.Sprintf("candidate-%d", i)
		all.Go(func() {
			for ctx.Err() == nil {
				e, err := multilock.New(b, multilock.Options{Group: group, ParticipantID: name})
				if err != nil {
					t.Error(err)
					return
				}
				_ = e.Run(ctx, func(_ context.Context, term multilock.Term) error {
					now := time.Now()
					if leading.Add(1) != 1 {
						t.Error("two lead at one time")
					}
					mu.Lock()
					if term.Token <= last {
						t.Errorf("token %d after %d", term.Token, last)
					}
					if lastBy != "" && lastBy != name {
						gaps = append(gaps, now.Sub(left))
					}
					last, lastBy = term.Token, name
					enough := len(gaps) >= n
					left = time.Now()
					mu.Unlock()
					leading.Add(-1)
					if enough {
						cancel()
					}
					return nil
				})
			}
		})
	}
	all.Wait()
	slices.Sort(gaps)
	return gaps
}

func figures(gaps []time.Duration) string {
	return fmt.Sprintf("%d handovers, p50 %v, p90 %v, p99 %v, max %v", len(gaps),
		gaps[len(gaps)/2], gaps[len(gaps)*9/10], gaps[len(gaps)*99/100], gaps[len(gaps)-1])
}

func TestFiveHundredHandovers(t *testing.T) {
	s := shared()
	gaps := handovers(t, 20, 500, func(int) *multilock.Backend { return backend(t, at(s)) })
	t.Logf("20 candidates: %s", figures(gaps))
	if gaps[len(gaps)/2] > 5*time.Second {
		t.Errorf("half of the handovers took longer than %v: nobody was woken", gaps[len(gaps)/2])
	}
}

func TestFiveHundredHandoversInACluster(t *testing.T) {
	c := sharedCluster()
	gaps := handovers(t, 20, 500, func(int) *multilock.Backend { return backend(t, redis.Options{Addrs: c.Addrs()}) })
	t.Logf("20 candidates: %s", figures(gaps))
}

// TestPlannedHandover measures two candidates, without a crowd.
func TestPlannedHandover(t *testing.T) {
	s := shared()
	gaps := handovers(t, 2, 500, func(int) *multilock.Backend { return backend(t, at(s)) })
	t.Logf("2 candidates: %s", figures(gaps))
	if gaps[len(gaps)/2] > 5*time.Second {
		t.Errorf("half of the handovers took longer than %v: nobody was woken", gaps[len(gaps)/2])
	}
}

// TestManyGroups: ten thousand groups led by one process and followed by another,
// over the declared connections.
func TestManyGroups(t *testing.T) {
	const n = 10_000
	s := start(t, server.Options{})
	leaders, followers := proxy.Start(t, s.Addr), proxy.Start(t, s.Addr)
	heap := func() (int, int) {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapInuse + m.StackInuse), runtime.NumGoroutine()
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
	t.Logf("in %v: leaders %d renewals for %d terms, followers %d attempts; the server executed %d commands (%.0f/s)", span,
		le.Renewals-ls.Renewals, le.RenewedTerms-ls.RenewedTerms, fe.Acquires-fs.Acquires, sent2-sent, float64(sent2-sent)/span.Seconds())
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
