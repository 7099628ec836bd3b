package conformancetest

import (
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/multilock/multilock-go/backends/consul"
	"github.com/multilock/multilock-go/core/driver"
)

// since are the requests that came after before was taken.
func (c *counter) since(before map[string]int) map[string]int {
	now := c.kinds()
	for kind, n := range before {
		if now[kind] -= n; now[kind] == 0 {
			delete(now, kind)
		}
	}
	return now
}

// rest waits until the polls have caught up.
func (c *counter) rest(t *testing.T) {
	t.Helper()
	last, since := int64(-1), time.Now()
	eventually(t, "nothing is asked for", func() bool {
		if n := c.requests.Load(); n != last {
			last, since = n, time.Now()
		}
		return time.Since(since) > 100*time.Millisecond
	})
}

// same compares requests by kind, polls aside: those follow in the background.
func same(t *testing.T, what string, got, want map[string]int) {
	t.Helper()
	delete(got, "poll")
	if !maps.Equal(got, want) {
		t.Errorf("%s: requests %v, want %v", what, got, want)
	}
}

// counted is a driver whose requests are counted.
func (s *space) counted(change ...func(*consul.Options)) (driver.Driver, *counter) {
	s.t.Helper()
	c := newCounter(s.t, s.addr)
	return s.open(append(change, func(o *consul.Options) { o.Address = "http://" + c.addr })...), c
}

var once1 = map[string]int{"PUT txn": 1}

// TestRequestsOfAHandover: between a resignation and the next leader lie one
// transaction that releases the key, the long poll of the follower, and one
// transaction that locks it.
func TestRequestsOfAHandover(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	const ttl = 30 * time.Second
	type candidate struct {
		driver.Driver
		count *counter
		sink  *sink
	}
	var cs [2]candidate
	for i := range cs {
		d, count := s.counted()
		k, sub := watch(t, d)
		if err := sub.Add(limit(t), "g"); err != nil {
			t.Fatal(err)
		}
		win(t, d, request(fmt.Sprintf("own%d", i), ttl)) // it has a session
		cs[i] = candidate{d, count, k}
	}
	leader, follower := cs[0], cs[1]
	term := win(t, leader, request("g", ttl))
	for range 6 {
		mustHeld(t, follower, "g", ttl)
		follower.count.rest(t)
		wakes := follower.sink.woken("g")
		before := leader.count.kinds()
		if err := leader.Resign(limit(t), term); err != nil {
			t.Fatal(err)
		}
		same(t, "resignation", leader.count.since(before), once1)
		before = follower.count.kinds()
		eventually(t, "woken", func() bool { return follower.sink.woken("g") > wakes })
		next := win(t, follower, request("g", ttl))
		same(t, "attempt", follower.count.since(before), once1)
		if next.Token <= term.Token {
			t.Errorf("token %d after %d", next.Token, term.Token)
		}
		leader, follower, term = follower, leader, next
	}
}

// TestRequestsOfACycle: who takes a group that it has given back sends one
// transaction for each.
func TestRequestsOfACycle(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	d, count := s.counted()
	const ttl = 30 * time.Second
	cycle := func() {
		if err := d.Resign(limit(t), win(t, d, request("g", ttl))); err != nil {
			t.Fatal(err)
		}
	}
	cycle()
	before := count.kinds()
	for range 5 {
		cycle()
	}
	same(t, "five cycles", count.since(before), map[string]int{"PUT txn": 10})
}

// TestOldKnowledge: what is remembered of a key decides nothing. An attempt on a
// group that somebody else has taken since is told who leads, and one on a group
// that was taken and given back, or whose key was deleted, wins.
func TestOldKnowledge(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	a, count := s.counted()
	b := s.open()
	const ttl = 30 * time.Second
	give := func(d driver.Driver) driver.Term {
		term := win(t, d, request("g", ttl))
		if err := d.Resign(limit(t), term); err != nil {
			t.Fatal(err)
		}
		return term
	}
	give(a)
	other := win(t, b, request("g", ttl))
	before := count.kinds()
	var held *driver.HeldError
	if g, err := a.Acquire(limit(t), request("g", ttl)); !errors.As(err, &held) {
		t.Fatalf("want *HeldError, got %+v, %v", g, err)
	}
	if held.Record.Nonce != other.Nonce || held.Record.Token != other.Token || held.Record.Participant != other.Participant {
		t.Errorf("held by %+v, want %+v", held.Record, other)
	}
	same(t, "a transaction that fails, and a read", count.since(before), map[string]int{"PUT txn": 1, "GET kv": 1})
	if err := b.Resign(limit(t), other); err != nil {
		t.Fatal(err)
	}
	mine := give(a)
	theirs := give(b)
	again := give(a)
	if _, err := s.admin.KV().Delete(s.key("g"), nil); err != nil {
		t.Fatal(err)
	}
	last := give(a)
	if !(other.Token < mine.Token && mine.Token < theirs.Token && theirs.Token < again.Token && again.Token < last.Token) {
		t.Errorf("tokens %d, %d, %d, %d, %d", other.Token, mine.Token, theirs.Token, again.Token, last.Token)
	}
}

// TestResignAfterChange: the record has moved since the term was last confirmed, by
// a write of somebody else's or by its own end; the resignation looks.
func TestResignAfterChange(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	a, b := s.open(), s.open()
	const ttl = 30 * time.Second
	term := win(t, a, request("g", ttl))
	p := s.get("g")
	p.Flags++ // the value stays what it is
	if ok, _, err := s.admin.KV().CAS(p, nil); err != nil || !ok {
		t.Fatal(ok, err)
	}
	if err := a.Resign(limit(t), term); err != nil {
		t.Fatalf("the record was still its own: %v", err)
	}
	term = win(t, a, request("g", ttl))
	if _, err := s.admin.KV().Delete(s.key("g"), nil); err != nil {
		t.Fatal(err)
	}
	other := win(t, b, request("g", ttl))
	if err := a.Resign(limit(t), term); !errors.Is(err, driver.ErrLost) {
		t.Fatalf("the group is led by another: %v", err)
	}
	if res := renew(t, b, ttl, other); res[0].Err != nil {
		t.Fatalf("and stays so: %v", res[0].Err)
	}
}

// TestGrantOfARenewedSession: an attempt in a session that was renewed lately does
// not renew it, and is granted what is left of it; one in an older session, or in
// one without lock-delay, does and is granted all.
func TestGrantOfARenewedSession(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	const ttl = 10 * time.Second
	grant := func(d driver.Driver) time.Duration {
		t.Helper()
		req := request("g", ttl)
		g, err := d.Acquire(limit(t), req)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Resign(limit(t), driver.Term{Group: "g", Nonce: req.Nonce, Token: g.Token}); err != nil {
			t.Fatal(err)
		}
		return g.Granted
	}
	for name, c := range map[string]struct {
		lockDelay time.Duration
		age       time.Duration
		renewals  int
	}{
		"renewed lately": {0, 0, 0},
		"older":          {0, ttl/10 + 50*time.Millisecond, 1},
		"no lock-delay":  {-1, 0, 1},
		"shorter delay":  {ttl - 1, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			d, count := s.counted(func(o *consul.Options) { o.LockDelay = c.lockDelay })
			begun := time.Now()
			if g := grant(d); g != ttl {
				t.Errorf("in a new session: %v, want %v", g, ttl)
			}
			made := time.Now()
			time.Sleep(c.age)
			before := count.kinds()
			least, most := ttl, ttl
			if c.renewals == 0 { // what is left since the session was asked for, after begun and before made
				most = ttl - time.Since(made)
			}
			g := grant(d)
			if c.renewals == 0 {
				least = ttl - time.Since(begun)
			}
			if g < least || g > most {
				t.Errorf("granted %v, want %v to %v", g, least, most)
			}
			want := map[string]int{"PUT txn": 2}
			if c.renewals > 0 {
				want["PUT session"] = c.renewals
			}
			same(t, "a cycle", count.since(before), want)
		})
	}
}

// TestDoorbellLockedByHand: a doorbell that somebody has locked keeps nobody from
// resigning, and those who listen hear of it.
func TestDoorbellLockedByHand(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	const ttl = 30 * time.Second
	a := s.open()
	b := s.open(func(o *consul.Options) { o.MaxWatches, o.SweepInterval = -1, 10*time.Minute })
	k, sub := watch(t, b)
	if err := sub.Add(limit(t), "g"); err != nil {
		t.Fatal(err)
	}
	term := win(t, a, request("g", ttl))
	if err := a.Resign(limit(t), term); err != nil {
		t.Fatal(err)
	}
	eventually(t, "woken", func() bool { return k.woken("g") > 0 })
	id, _, err := s.admin.Session().CreateNoChecks(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = s.admin.Session().Destroy(id, nil) })
	bells, _, err := s.admin.KV().List(s.key(".bell/"), nil)
	if err != nil || len(bells) != 1 {
		t.Fatal(bells, err)
	}
	bells[0].Session = id
	if ok, _, err := s.admin.KV().Acquire(bells[0], nil); err != nil || !ok {
		t.Fatal(ok, err)
	}
	term = win(t, a, request("g", ttl))
	wakes := k.woken("g")
	if err := a.Resign(limit(t), term); err != nil {
		t.Fatal(err)
	}
	eventually(t, "woken by a doorbell made anew", func() bool { return k.woken("g") > wakes })
}
