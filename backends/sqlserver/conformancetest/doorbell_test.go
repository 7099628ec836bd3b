package conformancetest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/multilock/multilock-go/backends/sqlserver"
	"github.com/multilock/multilock-go/core/driver"
	"github.com/multilock/multilock-go/testservers/tds"
)

// sink records wake-ups.
type sink struct {
	mu    sync.Mutex
	wakes map[string]int
}

func newSink() *sink { return &sink{wakes: make(map[string]int)} }

func (s *sink) Wake(group string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wakes[group]++
}
func (s *sink) WakeAll()                  { s.Wake("") }
func (s *sink) Lost(string, driver.Nonce) {}

func (s *sink) count(group string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wakes[group]
}

func watch(t testing.TB, d driver.Driver, groups ...string) (*sink, driver.Subscription) {
	t.Helper()
	s := newSink()
	sub, err := d.(driver.Watcher).Watch(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range groups {
		if err := sub.Add(t.Context(), g); err != nil {
			t.Fatal(err)
		}
	}
	return s, sub
}

// queued waits until n sessions wait for the only application lock.
func (x *target) queued(t testing.TB, n int) {
	t.Helper()
	if x.server == nil {
		time.Sleep(2 * time.Second) // a real server cannot be asked without privileges
		return
	}
	eventually(t, fmt.Sprintf("%d sessions wait for the doorbell", n), func() bool {
		locks := x.server.AppLocks()
		for _, waiting := range locks {
			return len(locks) == 1 && waiting == n
		}
		return false
	})
}

func slowPoll(o *sqlserver.Options) { o.PollInterval = time.Hour }

func TestDoorbellRingsOnResign(t *testing.T) {
	x := newTarget(t)
	leader, follower := x.driver(t, slowPoll), x.driver(t, slowPoll)
	for range 3 {
		term, _ := acquire(t, leader, "g", time.Hour)
		x.queued(t, 0)
		s, sub := watch(t, follower, "g")
		x.queued(t, 1)
		before := s.count("g")
		if err := leader.Resign(t.Context(), term); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the follower is woken", func() bool { return s.count("g") > before })
		// It wins, and now the bell is its own.
		mine, _ := acquire(t, follower, "g", time.Hour)
		s2, sub2 := watch(t, leader, "g")
		x.queued(t, 1)
		before = s2.count("g")
		if err := follower.Resign(t.Context(), mine); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the other is woken", func() bool { return s2.count("g") > before })
		sub.Remove("g")
		sub2.Remove("g")
		if x.server != nil {
			eventually(t, "the bells are put away", func() bool { return len(x.server.AppLocks()) == 0 })
		}
	}
}

func TestDoorbellRingsOneAfterTheOther(t *testing.T) {
	x := newTarget(t)
	leader := x.driver(t, slowPoll)
	term, _ := acquire(t, leader, "g", time.Hour)
	x.queued(t, 0)
	var sinks []*sink
	for i := range 4 {
		s, _ := watch(t, x.driver(t, slowPoll), "g")
		sinks = append(sinks, s)
		x.queued(t, i+1)
	}
	if err := leader.Resign(t.Context(), term); err != nil {
		t.Fatal(err)
	}
	// Nobody takes the lease, so in the end all are told.
	eventually(t, "all followers are woken", func() bool {
		return !slices.ContainsFunc(sinks, func(s *sink) bool { return s.count("g") == 0 })
	})
}

// TestLeaderDies: the bell of a dead leader does not stay with it, and the
// follower is told when the lease is over.
func TestLeaderDies(t *testing.T) {
	x := newTarget(t)
	d, _, err := sqlserver.NewDriver(x.options())
	if err != nil {
		t.Fatal(err)
	}
	acquire(t, d, "g", 8*time.Second)
	x.queued(t, 0)
	follower := x.driver(t)
	s, _ := watch(t, follower, "g")
	x.queued(t, 1)
	if err := d.Close(); err != nil { // its connections end; the lease does not
		t.Fatal(err)
	}
	eventually(t, "the follower is woken", func() bool { return s.count("g") > 0 })
	mine, _ := acquire(t, follower, "g", time.Hour)
	s2, _ := watch(t, x.driver(t, slowPoll), "g")
	x.queued(t, 1)
	if err := follower.Resign(t.Context(), mine); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the next one is woken", func() bool { return s2.count("g") > 0 })
}

func TestDoorbellSharedByElectorsOfOneProcess(t *testing.T) {
	x := newTarget(t)
	d := x.driver(t, slowPoll)
	term, _ := acquire(t, d, "g", time.Hour)
	s, _ := watch(t, d, "g")
	x.queued(t, 0)
	if err := d.Resign(t.Context(), term); err != nil {
		t.Fatal(err)
	}
	if s.count("g") == 0 {
		t.Error("the electors of the resigned leader's process were not woken at once")
	}
}

// TestNothingIsMissedBetweenCheckAndWatch resigns at every moment around Add.
func TestNothingIsMissedBetweenCheckAndWatch(t *testing.T) {
	x := newTarget(t)
	leader, follower := x.driver(t, slowPoll), x.driver(t, slowPoll)
	for i := range 10 {
		group := fmt.Sprintf("g%d", i%8)
		term, _ := acquire(t, leader, group, time.Hour)
		done := make(chan error, 1)
		go func() {
			time.Sleep(time.Duration(i) * 3 * time.Millisecond)
			done <- leader.Resign(context.Background(), term)
		}()
		s, sub := watch(t, follower, group)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		eventually(t, "the follower is woken", func() bool { return s.count(group) > 0 })
		sub.Remove(group)
		if err := sub.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestGroupsWithoutDoorbellArePolled(t *testing.T) {
	x := newTarget(t)
	leader := x.driver(t)
	follower := x.driver(t, func(o *sqlserver.Options) { o.MaxDoorbells = 2 })
	const n = 12
	terms := make([]driver.Term, n)
	groups := make([]string, n)
	for i := range n {
		groups[i] = fmt.Sprintf("g%02d", i)
		terms[i], _ = acquire(t, leader, groups[i], time.Hour)
	}
	s, _ := watch(t, follower, groups...)
	time.Sleep(300 * time.Millisecond) // some polls
	for i := range n {
		before := s.count(groups[i])
		if err := leader.Resign(t.Context(), terms[i]); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the follower is woken for "+groups[i], func() bool { return s.count(groups[i]) > before })
	}
	if x.server != nil {
		// The poll, a call, and two bells; the leader has at most eight bells.
		if n := x.server.Sessions(); n > 2*(2+2)+8+2 {
			t.Errorf("%d connections", n)
		}
	}
}

// TestDoorbellComesBack cuts every connection and expects the wake-ups to work
// afterwards.
func TestDoorbellComesBack(t *testing.T) {
	x := newStandInOnly(t)
	leader, follower := x.driver(t, slowPoll), x.driver(t, slowPoll)
	term, _ := acquire(t, leader, "g", time.Hour)
	x.queued(t, 0)
	s, _ := watch(t, follower, "g")
	x.queued(t, 1)
	if r := renewOne(t.Context(), leader, driver.RenewRequest{Term: term, TTL: time.Hour}); r.Err != nil {
		t.Fatal(r.Err)
	}
	if err := x.server.Restart(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the follower is told that it may have missed something", func() bool { return s.count("g") > 0 })
	eventually(t, "the leader renews", func() bool {
		return renewOne(t.Context(), leader, driver.RenewRequest{Term: term, TTL: time.Hour}).Err == nil
	})
	eventually(t, "the bell is held and waited for again", func() bool {
		for _, waiting := range x.server.AppLocks() {
			return waiting == 1
		}
		return false
	})
	before := s.count("g")
	if err := leader.Resign(t.Context(), term); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the follower is woken", func() bool { return s.count("g") > before })
}

// TestDoorbellIsQuiet counts the requests of a follower while somebody leads.
func TestDoorbellIsQuiet(t *testing.T) {
	x := newStandInOnly(t)
	leader, follower := x.driver(t), x.driver(t)
	acquire(t, leader, "g", time.Hour)
	x.queued(t, 0)
	s, _ := watch(t, follower, "g")
	x.queued(t, 1)
	before, woken := x.server.Counts(), s.count("g")
	time.Sleep(time.Second)
	after := x.server.Counts()
	for name, n := range after {
		if n != before[name] {
			t.Errorf("%s: %d requests while nothing happened", name, n-before[name])
		}
	}
	if s.count("g") != woken {
		t.Error("woken for nothing")
	}
}

func TestDoorbellOnCompatibleServer(t *testing.T) {
	x := newStandIn(t, tds.Options{Compatible: true})
	leader, follower := x.driver(t, slowPoll), x.driver(t, slowPoll)
	term, _ := acquire(t, leader, "g", time.Hour)
	x.queued(t, 0)
	s, _ := watch(t, follower, "g")
	x.queued(t, 1)
	if err := leader.Resign(t.Context(), term); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the follower is woken", func() bool { return s.count("g") > 0 })
}

// TestConnectionsAreCounted: two, and one for each doorbell.
func TestConnectionsAreCounted(t *testing.T) {
	x := newStandInOnly(t)
	const bells, groups = 3, 10
	leader := x.driver(t, func(o *sqlserver.Options) { o.MaxDoorbells = -1 })
	names := make([]string, groups)
	for i := range names {
		names[i] = fmt.Sprintf("followed%d", i)
		acquire(t, leader, names[i], time.Hour)
	}
	if err := leader.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the leader's connections end", func() bool { return x.server.Sessions() == 0 })
	o := x.options()
	o.MaxDoorbells = bells
	d, info, err := sqlserver.NewDriver(o)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if info.Connections != 2+bells {
		t.Errorf("%d connections are declared", info.Connections)
	}
	watch(t, d, names...)
	var reqs []driver.RenewRequest
	for i := range groups {
		term, _ := acquire(t, d, fmt.Sprintf("led%d", i), time.Hour)
		reqs = append(reqs, driver.RenewRequest{Term: term, TTL: time.Hour})
	}
	for range 20 {
		var wg sync.WaitGroup
		wg.Go(func() { d.Renew(t.Context(), reqs, func(driver.RenewResult) {}) })
		wg.Go(func() { _, _ = d.Leader(t.Context(), names[0]) })
		wg.Wait()
	}
	polls := x.server.Counts()["leaders"]
	eventually(t, "the groups without a bell are read", func() bool { return x.server.Counts()["leaders"] > polls })
	eventually(t, "no more than the declared connections stay", func() bool { return x.server.Sessions() <= info.Connections })
	if n := x.server.Sessions(); n < bells {
		t.Errorf("%d connections, of which %d should be doorbells", n, bells)
	}
}

// TestWaitingForABellIsCounted: a follower asks for the lock, and looks at the row,
// about once each time that the lease it knows of runs out.
func TestWaitingForABellIsCounted(t *testing.T) {
	const ttl, heartbeat = 5 * time.Second, 1500 * time.Millisecond
	x := newStandInOnly(t)
	leader, follower := x.driver(t), x.driver(t)
	term, _ := acquire(t, leader, "g", ttl)
	x.queued(t, 0)
	watch(t, follower, "g")
	x.queued(t, 1)
	before, start := x.server.Counts(), time.Now()
	for range 8 {
		time.Sleep(heartbeat)
		if r := renewOne(t.Context(), leader, driver.RenewRequest{Term: term, TTL: ttl}); r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	after := x.server.Counts()
	most := int(time.Since(start)/(ttl-heartbeat)) + 2
	for _, name := range []string{"sp_getapplock", "leader"} {
		if n := after[name] - before[name]; n > most || n == 0 {
			t.Errorf("%s: %d requests in %v, at most %d were expected", name, n, time.Since(start), most)
		}
	}
}

// TestLedGroupsAreNotPolled: who leads a group without a doorbell need not ask
// whether it is free; once it follows, it does.
func TestLedGroupsAreNotPolled(t *testing.T) {
	x := newStandInOnly(t)
	mute := func(o *sqlserver.Options) { o.MaxDoorbells = -1 }
	d, other := x.driver(t, mute), x.driver(t, mute)
	term, _ := acquire(t, d, "g", time.Hour)
	s, _ := watch(t, d, "g")
	time.Sleep(time.Second)
	if n := x.server.Counts()["leaders"]; n != 0 {
		t.Errorf("%d polls of a group that this process leads", n)
	}
	if err := d.Resign(t.Context(), term); err != nil {
		t.Fatal(err)
	}
	theirs, _ := acquire(t, other, "g", time.Hour)
	eventually(t, "the follower polls", func() bool { return x.server.Counts()["leaders"] > 1 })
	before := s.count("g")
	if err := other.Resign(t.Context(), theirs); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the follower is woken", func() bool { return s.count("g") > before })
}
