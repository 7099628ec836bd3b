package conformancetest

import (
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/multilock/multilock-go/backends/sqlserver"
	"github.com/multilock/multilock-go/core/driver"
	"github.com/multilock/multilock-go/testservers/tds"
)

// TestMuteDoorbell follows a leader that has no bell: the free lock must not make
// followers spin, and they still learn of a resignation.
func TestMuteDoorbell(t *testing.T) {
	x := newTarget(t)
	leader := x.driver(t, func(o *sqlserver.Options) { o.MaxDoorbells = -1 })
	follower := x.driver(t)
	term, _ := acquire(t, leader, "g", time.Hour)
	s, _ := watch(t, follower, "g")
	time.Sleep(2 * time.Second)
	if n := s.count("g"); n != 0 {
		t.Errorf("woken %d times although somebody leads", n)
	}
	if x.server != nil {
		if n := x.server.Counts()["sp_getapplock"]; n > 12 {
			t.Errorf("%d requests for the lock in two seconds", n)
		}
	}
	if err := leader.Resign(t.Context(), term); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the follower is woken", func() bool { return s.count("g") > 0 })
}

// TestFrozenBell: a process that is stopped keeps its application lock while its
// connection lives. Followers wait for it no longer than the lease lasts, and so
// hear of what happens without the bell.
func TestFrozenBell(t *testing.T) {
	const ttl = 6 * time.Second
	x := newStandInOnly(t)
	leader, follower := x.driver(t, slowPoll), x.driver(t, slowPoll)
	term, _ := acquire(t, leader, "g", time.Hour)
	x.queued(t, 0)
	var name string
	for name = range x.server.AppLocks() {
	}
	if err := leader.Resign(t.Context(), term); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the bell is put away", func() bool { return len(x.server.AppLocks()) == 0 })
	frozen, err := x.db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer frozen.Close()
	if _, err := frozen.ExecContext(t.Context(), "sp_getapplock", sql.Named("Resource", name), sql.Named("LockMode", "Exclusive"),
		sql.Named("LockOwner", "Session"), sql.Named("LockTimeout", int32(0))); err != nil {
		t.Fatal(err)
	}
	mute := x.driver(t, func(o *sqlserver.Options) { o.MaxDoorbells = -1 }) // it could not have the bell either
	term, _ = acquire(t, mute, "g", ttl)
	asked := len(x.server.LockWaits())
	s, _ := watch(t, follower, "g")
	x.queued(t, 1)
	if r := renewOne(t.Context(), mute, driver.RenewRequest{Term: term, TTL: ttl}); r.Err != nil {
		t.Fatal(r.Err)
	}
	before := s.count("g")
	if err := mute.Resign(t.Context(), term); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the follower looks for itself", func() bool { return s.count("g") > before })
	for _, wait := range x.server.LockWaits()[asked:] {
		if wait > ttl {
			t.Errorf("a follower was ready to wait %v for a bell, with a lease of %v", wait, ttl)
		}
	}
}

// TestRefusedBell: where the server refuses application locks at once, groups are
// polled.
func TestRefusedBell(t *testing.T) {
	x := newStandIn(t, tds.Options{NoAppLocks: true})
	leader, follower := x.driver(t), x.driver(t)
	term, _ := acquire(t, leader, "g", time.Hour)
	s, _ := watch(t, follower, "g")
	eventually(t, "the group is polled", func() bool { return x.server.Counts()["leaders"] > 2 })
	if n := x.server.Counts()["sp_getapplock"]; n > 40 {
		t.Errorf("%d requests for a lock that is refused", n)
	}
	before := s.count("g")
	if err := leader.Resign(t.Context(), term); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the follower is woken", func() bool { return s.count("g") > before })
}

func TestUseAfterClose(t *testing.T) {
	x := newTarget(t)
	d, _, err := sqlserver.NewDriver(x.options())
	if err != nil {
		t.Fatal(err)
	}
	term, _ := acquire(t, d, "g", time.Minute)
	_, sub := watch(t, d, "g", "h")
	for range 2 {
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.Acquire(t.Context(), driver.AcquireRequest{Group: "g", Nonce: driver.NewNonce(), TTL: time.Minute}); !errors.Is(err, driver.ErrClosed) {
		t.Errorf("acquire: %v", err)
	}
	if err := d.Resign(t.Context(), term); !errors.Is(err, driver.ErrClosed) {
		t.Errorf("resign: %v", err)
	}
	if _, err := d.Leader(t.Context(), "g"); !errors.Is(err, driver.ErrClosed) {
		t.Errorf("leader: %v", err)
	}
	if r := renewOne(t.Context(), d, driver.RenewRequest{Term: term, TTL: time.Minute}); !errors.Is(r.Err, driver.ErrClosed) {
		t.Errorf("renew: %v", r.Err)
	}
	if err := d.(driver.Pinger).Ping(t.Context()); !errors.Is(err, driver.ErrClosed) {
		t.Errorf("ping: %v", err)
	}
	if err := sub.Add(t.Context(), "i"); !errors.Is(err, driver.ErrClosed) {
		t.Errorf("add: %v", err)
	}
	if err := sub.Close(); err != nil {
		t.Errorf("close of the subscription: %v", err)
	}
	if x.server != nil {
		eventually(t, "all connections end", func() bool { return x.server.Sessions() <= 1 })
	}
	// Closing ended nothing: somebody else holds the term until it expires.
	if rec, err := x.driver(t).Leader(t.Context(), "g"); err != nil || rec.Nonce != term.Nonce {
		t.Errorf("after close: %+v, %v", rec, err)
	}
}
