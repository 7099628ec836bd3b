package conformancetest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/multilock/multilock-go/backends/consul"
	"github.com/multilock/multilock-go/core/driver"
	"github.com/multilock/multilock-go/testservers/proxy"
)

func newLink(t *testing.T, addr string) *proxy.Proxy {
	t.Helper()
	return proxy.Start(t, addr)
}

// TestManyFollowedGroups: beyond MaxWatches, followers hear of resignations by a
// doorbell and of expiry by the sweep, on few connections.
func TestManyFollowedGroups(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	link := newLink(t, s.addr)
	a := s.open()
	// No sweep will come to the rescue of the doorbells.
	b := s.open(func(o *consul.Options) { o.Address, o.SweepInterval = "http://"+link.Addr(), 10*time.Minute })
	const ttl = 30 * time.Second
	const groups = 100
	k, sub := watch(t, b)
	terms := make([]driver.Term, groups)
	for i := range terms {
		terms[i] = win(t, a, request(fmt.Sprintf("g%d", i), ttl))
		if err := sub.Add(limit(t), terms[i].Group); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	gate := make(chan struct{}, 8)
	for _, term := range terms {
		wg.Go(func() {
			gate <- struct{}{}
			defer func() { <-gate }()
			if err := a.Resign(limit(t), term); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	most := 0
	for _, term := range terms {
		eventually(t, "woken for "+term.Group, func() bool {
			most = max(most, len(link.Open()))
			return k.woken(term.Group) > 0
		})
	}
	if most > 20 {
		t.Errorf("%d connections, declared are 20", most)
	}
	t.Logf("%d connections for %d followed groups", most, groups)
	for _, term := range terms {
		if n := k.woken(term.Group); n > 2 {
			t.Errorf("%s was woken %d times", term.Group, n)
		}
	}
}

// TestSweep: the expiry of a group without a watch of its own is found.
func TestSweep(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	a := s.open()
	b := s.open(func(o *consul.Options) { o.MaxWatches = -1 })
	k, sub := watch(t, b)
	win(t, a, request("g", 20*time.Second))
	if err := sub.Add(limit(t), "g"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.admin.Session().Destroy(s.get("g").Session, nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "woken", func() bool { return k.woken("g") > 0 })
}

// TestWatchAfterCut: wake-ups work again, and what was missed is made up for, in
// both ways of watching.
func TestWatchAfterCut(t *testing.T) {
	t.Parallel()
	for _, watches := range []int{8, -1} {
		t.Run(fmt.Sprint(watches), func(t *testing.T) {
			t.Parallel()
			s := newSpace(t)
			link := newLink(t, s.addr)
			a := s.open()
			b := s.open(func(o *consul.Options) {
				o.Address, o.MaxWatches, o.SweepInterval = "http://"+link.Addr(), watches, 10*time.Minute
			})
			k, sub := watch(t, b)
			term := win(t, a, request("g", 30*time.Second))
			if err := sub.Add(limit(t), "g"); err != nil {
				t.Fatal(err)
			}
			link.Cut()
			if err := a.Resign(limit(t), term); err != nil {
				t.Fatal(err)
			}
			link.Restore()
			eventually(t, "woken for what was missed", func() bool { return k.woken("g") > 0 })
			term = win(t, a, request("g", 30*time.Second))
			n := k.woken("g")
			if err := a.Resign(limit(t), term); err != nil {
				t.Fatal(err)
			}
			eventually(t, "woken again", func() bool { return k.woken("g") > n })
		})
	}
}

// TestIdleFollower: after its one look a follower costs its long poll only, and
// no session.
func TestIdleFollower(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	count := newCounter(t, s.addr)
	a := s.open()
	b := s.open(func(o *consul.Options) { o.Address = "http://" + count.addr })
	const ttl = 2 * time.Second
	term := win(t, a, request("g", ttl))
	keep(t, a, ttl, term)
	k, sub := watch(t, b)
	if err := sub.Add(limit(t), "g"); err != nil {
		t.Fatal(err)
	}
	mustHeld(t, b, "g", ttl)
	eventually(t, "the poll is open", func() bool { return count.requests.Load() >= 3 })
	time.Sleep(2 * ttl) // the time in which nothing may happen
	if n := count.requests.Load(); n != 3 {
		t.Errorf("%d requests, want one to begin to watch, one attempt and one poll: %v", n, count.kinds())
	}
	if count.kinds()["PUT session"] > 0 {
		t.Error("a follower has created a session")
	}
	if k.woken("g") > 0 {
		t.Error("woken without reason")
	}
}

// TestLeaderRequests: a heartbeat is one renewal of the session and one
// confirmation, however many groups; a session is created once.
func TestLeaderRequests(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	count := newCounter(t, s.addr)
	d := s.open(func(o *consul.Options) { o.Address = "http://" + count.addr })
	const ttl = 20 * time.Second
	terms := make([]driver.Term, 50)
	for i := range terms {
		terms[i] = win(t, d, request(fmt.Sprintf("g%d", i), ttl))
	}
	before := count.requests.Load()
	for range 10 {
		for _, res := range renew(t, d, ttl, terms...) {
			if res.Err != nil {
				t.Fatal(res.Err)
			}
		}
	}
	if n := count.requests.Load() - before; n != 20 {
		t.Errorf("%d requests for 10 heartbeats, want 20", n)
	}
}
