package conformancetest

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/multilock/multilock-go/backends/consul"
	multilock "github.com/multilock/multilock-go/core"
	server "github.com/multilock/multilock-go/testservers/consul"
	"github.com/multilock/multilock-go/testservers/proxy"
)

// candidate is an elector that campaigns until the test ends, over one server.
type candidate struct {
	*multilock.Elector
	link *proxy.Proxy
}

func newCandidate(t *testing.T, at *server.Server, ttl time.Duration) *candidate {
	t.Helper()
	link := newLink(t, at.Addr)
	b, err := consul.Open(t.Context(), consul.Options{Address: "http://" + link.Addr(), SweepInterval: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	e, err := multilock.New(b, multilock.Options{Group: "g", HeartbeatTimeout: ttl})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(limit(t)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = b.Close(ctx) // it may be cut off
	})
	return &candidate{Elector: e, link: link}
}

// overlap looks for two leaders at once until stop is called.
func overlap(t *testing.T, candidates []*candidate) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-quit:
				return
			case <-time.After(200 * time.Microsecond):
			}
			leaders := 0
			for _, c := range candidates {
				if c.IsLeader() {
					leaders++
				}
			}
			// One may have ended while the next was asked, so ask the first again.
			if leaders > 1 {
				again := 0
				for i := range candidates {
					if candidates[len(candidates)-1-i].IsLeader() {
						again++
					}
				}
				if again > 1 {
					t.Error("two leaders at once")
					return
				}
			}
		}
	}()
	var once sync.Once
	stop = func() { once.Do(func() { close(quit); <-done }) }
	t.Cleanup(stop)
	return stop
}

func leading(candidates []*candidate) *candidate {
	for _, c := range candidates {
		if c.IsLeader() {
			return c
		}
	}
	return nil
}

// TestServerLeaderKilled: the servers elect another leader well within the
// deadline, so the elector's leader keeps its term. Then that one is cut off from
// its server: its term ends by its own deadline, and another candidate leads
// after the lease has run out. At no time are there two.
func TestServerLeaderKilled(t *testing.T) {
	t.Parallel()
	const ttl = 10 * time.Second
	needsOwn(t)
	servers := server.StartCluster(t, 3, server.Options{})
	raftLeader := server.Leader(t, servers)
	var candidates []*candidate
	for _, s := range servers {
		if s != raftLeader {
			candidates = append(candidates, newCandidate(t, s, ttl))
		}
	}
	eventually(t, "a leader", func() bool { return leading(candidates) != nil })
	first := leading(candidates)
	term, _ := first.Term()
	stop := overlap(t, candidates)

	killed := time.Now()
	raftLeader.Kill()
	away := make(chan time.Duration, 1)
	admin := adminClient(t, servers[(slices.Index(servers, raftLeader)+1)%len(servers)].Addr)
	go func() { // until a majority answers again
		for end := killed.Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			if _, _, err := admin.KV().Get("any", &api.QueryOptions{RequireConsistent: true}); err == nil {
				break
			}
		}
		away <- time.Since(killed)
	}()
	kept := true
	for end := killed.Add(ttl + ttl/2); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		now, ok := first.Term()
		kept = kept && ok && now == term
	}
	outage := <-away
	t.Logf("the server that led was killed, and the cluster was away for %v; the elector's term was kept: %v", outage.Round(time.Millisecond), kept)
	if !kept {
		// Belief lasts for 9 s after a renewal, and renewals come each 3 s.
		if outage < ttl/2 {
			t.Errorf("the term was lost although the deadline allowed to keep it")
		}
		eventually(t, "a leader again", func() bool { return leading(candidates) != nil })
		first = leading(candidates)
		term, _ = first.Term()
	}

	cut := time.Now()
	first.link.Cut()
	second := candidates[0]
	if second == first {
		second = candidates[1]
	}
	worst := second.WorstCaseFailover()
	for !second.IsLeader() {
		if time.Since(cut) > worst+5*time.Second {
			t.Fatalf("nobody took over within the declared %v", worst)
		}
		time.Sleep(20 * time.Millisecond)
	}
	next, _ := second.Term()
	if next.Token <= term.Token {
		t.Errorf("token %d after %d", next.Token, term.Token)
	}
	t.Logf("taken over %v after the leader was cut off; the declared worst case is %v", time.Since(cut), worst)
	stop()
}
