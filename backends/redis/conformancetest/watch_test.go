package conformancetest

import (
	"sync"
	"testing"
	"time"

	"github.com/multilock/multilock-go/backends/redis"
	"github.com/multilock/multilock-go/core/driver"
	"github.com/multilock/multilock-go/testservers/proxy"
)

// sink counts wake-ups.
type sink struct {
	mu   sync.Mutex
	wake map[string]int
	all  int
}

func (s *sink) Wake(group string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wake[group]++
}

func (s *sink) WakeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all++
}

func (s *sink) Lost(string, driver.Nonce) {}

func (s *sink) count(group string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wake[group] + s.all
}

func (s *sink) woken(t *testing.T, group string, least int) {
	t.Helper()
	eventually(t, "woken", func() bool { return s.count(group) >= least })
}

func watchOn(t *testing.T, d driver.Driver) (*sink, driver.Subscription) {
	t.Helper()
	s := &sink{wake: make(map[string]int)}
	sub, err := d.(driver.Watcher).Watch(patience(t), s)
	if err != nil {
		t.Fatal(err)
	}
	return s, sub
}

func resignAnew(t *testing.T, d driver.Driver, group string) {
	t.Helper()
	if err := d.Resign(patience(t), acquire(t, d, request(group, "x"))); err != nil {
		t.Fatal(err)
	}
}

func TestWatchWakesOnlyWhoIsConcerned(t *testing.T) {
	t.Parallel()
	a, b := open(t, at(shared())), open(t, at(shared()))
	sink, sub := watchOn(t, b)
	one, two, gone := newGroup(), newGroup(), newGroup()
	for _, g := range []string{one, two, gone} {
		if err := sub.Add(patience(t), g); err != nil {
			t.Fatal(err)
		}
	}
	sub.Remove(gone)
	resignAnew(t, a, one)
	sink.woken(t, one, 1)
	if n := sink.count(two); n != 0 {
		t.Errorf("another group was woken %d times", n)
	}
	if err := sub.Add(patience(t), gone); err != nil {
		t.Fatal(err)
	}
	resignAnew(t, a, gone)
	sink.woken(t, gone, 1)
	if err := sub.Close(); err != nil {
		t.Fatal(err)
	}
	before := sink.count(one)
	resignAnew(t, a, one)
	time.Sleep(50 * time.Millisecond)
	if sink.count(one) != before {
		t.Error("woken after Close")
	}
}

func TestWatchIsInForceWhenAddReturns(t *testing.T) {
	t.Parallel()
	a, b := open(t, at(shared())), open(t, at(shared()))
	sink, sub := watchOn(t, b)
	for range 200 {
		g := newGroup()
		if err := sub.Add(patience(t), g); err != nil {
			t.Fatal(err)
		}
		resignAnew(t, a, g)
		sink.woken(t, g, 1)
	}
}

func TestWatchSurvivesCutsAndWakesAll(t *testing.T) {
	t.Parallel()
	p := proxy.Start(t, shared().Addr)
	a := open(t, at(shared()))
	b := open(t, redis.Options{Addrs: []string{p.Addr()}})
	sink, sub := watchOn(t, b)
	groups := []string{newGroup(), newGroup(), newGroup()}
	for _, g := range groups {
		if err := sub.Add(patience(t), g); err != nil {
			t.Fatal(err)
		}
	}
	p.Reset()
	sink.woken(t, groups[0], 1)
	n := sink.count(groups[1])
	resignAnew(t, a, groups[1])
	sink.woken(t, groups[1], n+1)

	p.Cut()
	late := newGroup()
	added := make(chan error, 1)
	go func() { added <- sub.Add(patience(t), late) }()
	resignAnew(t, a, groups[2]) // nobody hears it
	n = sink.count(groups[2])
	if err := <-added; err != nil {
		t.Errorf("Add while the server is away: %v", err)
	}
	p.Restore()
	sink.woken(t, groups[2], n+1)
	sink.woken(t, late, 1)
}

func TestSilentSubscriptionIsReplaced(t *testing.T) {
	t.Parallel()
	p := proxy.Start(t, shared().Addr)
	a := open(t, at(shared()))
	b := open(t, redis.Options{Addrs: []string{p.Addr()}})
	sink, sub := watchOn(t, b)
	g := newGroup()
	if err := sub.Add(patience(t), g); err != nil {
		t.Fatal(err)
	}
	if !p.Stall(0) {
		t.Fatal("no connection to stall")
	}
	resignAnew(t, a, g) // lost
	sink.woken(t, g, 1) // when the silence is noticed
}
