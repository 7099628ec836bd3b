package conformancetest

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/multilock/multilock-go/backends/consul"
	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/testservers/proxy"
)

// groupsEnv names the variable that changes how many groups TestManyGroups has.
const groupsEnv = "MULTILOCK_TEST_CONSUL_GROUPS"

// process is what one process of an application has: a backend with an elector
// for each group, and here a network that counts.
type process struct {
	t        *testing.T
	backend  *multilock.Backend
	electors []*multilock.Elector
	count    *counter
	link     *proxy.Proxy
	most     int // connections at once
}

func (s *space) process(t *testing.T, groups int) *process {
	t.Helper()
	p := &process{t: t, count: newCounter(t, s.addr)}
	p.link = newLink(t, p.count.addr)
	b, err := consul.Open(t.Context(), consul.Options{Address: "http://" + p.link.Addr(), KeyPrefix: s.prefix})
	if err != nil {
		t.Fatal(err)
	}
	p.backend = b
	t.Cleanup(func() { _ = b.Close(limit(t)) })
	for i := range groups {
		e, err := multilock.New(b, multilock.Options{Group: fmt.Sprint("g", i), HeartbeatTimeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		p.electors = append(p.electors, e)
	}
	return p
}

// start starts all electors and waits for done.
func (p *process) start(what string, done func(multilock.Stats) bool) {
	p.t.Helper()
	var wg sync.WaitGroup
	gate := make(chan struct{}, 16)
	begun := time.Now()
	for _, e := range p.electors {
		gate <- struct{}{}
		p.look()
		wg.Go(func() {
			defer func() { <-gate }()
			if err := e.Start(p.t.Context()); err != nil {
				p.t.Errorf("start: %v", err)
			}
		})
	}
	wg.Wait()
	p.until(what, func() bool { return done(p.backend.Stats()) })
	p.t.Logf("%d electors %s after %v: %v, %d connections at most", len(p.electors), what, time.Since(begun).Round(time.Millisecond), p.requests(), p.most)
}

// until waits as long as many groups may take.
func (p *process) until(what string, cond func() bool) {
	p.t.Helper()
	for end := time.Now().Add(5 * time.Minute); !cond(); time.Sleep(5 * time.Millisecond) {
		p.look()
		if time.Now().After(end) {
			p.t.Fatalf("not in five minutes: all electors %s", what)
		}
	}
}

func (p *process) look() { p.most = max(p.most, len(p.link.Open())) }

func (p *process) requests() map[string]int { return p.count.kinds() }

// TestManyGroups: a process that leads many groups and one that follows them keep
// to the declared connections and to one session, and the heartbeats of the one
// and the sweeps of the other are a few requests for all.
func TestManyGroups(t *testing.T) {
	s := newSpace(t) // alone, so that the figures mean something
	groups := 500
	if raw := os.Getenv(groupsEnv); raw != "" {
		n, err := strconv.Atoi(raw)
		if err != nil || n < 200 {
			t.Fatalf("%s must be a number from 200", groupsEnv)
		}
		groups = n
	}
	leader, follower := s.process(t, groups), s.process(t, groups)
	leader.start("lead", func(s multilock.Stats) bool { return s.LiveTerms == groups })
	follower.start("follow", func(s multilock.Stats) bool { return s.Watched == groups })

	// Two heartbeats of the one, and four sweeps of the other.
	beats, asked, swept, heard := leader.backend.Stats(), leader.requests(), follower.requests(), follower.backend.Stats()
	leader.until("have renewed", func() bool {
		follower.look()
		return leader.backend.Stats().RenewedTerms-beats.RenewedTerms >= uint64(2*groups)
	})
	now := leader.requests()
	batches := int(leader.backend.Stats().Renewals - beats.Renewals)
	renewals, confirmations := now["PUT session"]-asked["PUT session"], now["PUT txn"]-asked["PUT txn"]
	t.Logf("two heartbeats of %d terms: %d batches, %d renewals of the session, %d transactions", groups, batches, renewals, confirmations)
	if renewals > batches || confirmations > batches+2*groups/128+2 {
		t.Errorf("%d renewals and %d confirmations in %d batches of %d terms", renewals, confirmations, batches, groups)
	}
	now = follower.requests()
	t.Logf("the follower meanwhile: %d transactions, %d polls, %d attempts, %d wake-ups", now["PUT txn"]-swept["PUT txn"],
		now["GET kv"]-swept["GET kv"], follower.backend.Stats().Acquires-heard.Acquires, follower.backend.Stats().Wakes-heard.Wakes)

	// Some are handed over, and all followers hear of it.
	const handed = 100
	begun := time.Now()
	var wg sync.WaitGroup
	for _, e := range leader.electors[:handed] {
		wg.Go(func() {
			if err := e.Stop(limit(t)); err != nil {
				t.Errorf("stop: %v", err)
			}
		})
	}
	follower.until("of the groups handed over lead", func() bool {
		leader.look()
		return follower.backend.Stats().LiveTerms >= handed
	})
	wg.Wait()
	t.Logf("%d groups at once were handed over in %v", handed, time.Since(begun).Round(time.Millisecond))
	for _, e := range follower.electors[:handed] {
		if !e.IsLeader() {
			t.Errorf("nobody leads %s", e.Options().Group)
		}
	}
	for name, p := range map[string]*process{"leader": leader, "follower": follower} {
		if declared := p.backend.Info().Connections; p.most > declared {
			t.Errorf("%s: %d connections at once, declared are %d", name, p.most, declared)
		}
		if n := p.backend.Stats().LiveTerms; p == leader && n != groups-handed || p == follower && n != handed {
			t.Errorf("%s: %d terms", name, n)
		}
	}
	t.Logf("connections at most: leader %d, follower %d", leader.most, follower.most)
}
