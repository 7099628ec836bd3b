package conformancetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/multilock/multilock-go/backends/zookeeper"
	"github.com/multilock/multilock-go/core/driver"
)

func TestTokenIsTheTransactionThatAcquired(t *testing.T) {
	t.Parallel()
	w := steadyWorld(t)
	a, b := w.open(), w.open()
	term := a.win("g")
	conn := w.conn()
	_, lock, err := conn.Get(w.root + "/g/lock")
	if err != nil {
		t.Fatal(err)
	}
	_, group, err := conn.Get(w.root + "/g")
	if err != nil {
		t.Fatal(err)
	}
	if uint64(lock.Czxid) != term.Token || group.Mzxid != lock.Czxid {
		t.Fatalf("token %d, lock created by %d, group changed by %d", term.Token, lock.Czxid, group.Mzxid)
	}
	first := b.leader("g")
	// Metadata move mzxid and version; token and time of acquisition stay.
	for i := range 3 {
		m := map[string]string{"n": string(rune('a' + i))}
		if r := a.renewFor(patience, m, term)[0]; r.Err != nil {
			t.Fatal(r.Err)
		}
		rec := b.leader("g")
		if rec.Token != term.Token || !rec.AcquiredAt.Equal(first.AcquiredAt) || rec.Metadata["n"] != m["n"] || len(rec.Metadata) != 1 {
			t.Fatalf("after a change of metadata: %+v, before %+v", rec, first)
		}
	}
	if _, lock, err = conn.Get(w.root + "/g/lock"); err != nil || lock.Mzxid == lock.Czxid {
		t.Fatalf("metadata did not write: %+v, %v", lock, err)
	}
	if rec := b.held("g"); rec.Token != term.Token || rec.Nonce != term.Nonce || rec.Remaining != driver.RemainingUnknown || rec.TTL != w.ttl {
		t.Fatalf("held by %+v", rec)
	}
	a.resign(term)
	b.noLeader("g")
	if next := b.win("g"); next.Token <= term.Token {
		t.Fatalf("token %d after %d", next.Token, term.Token)
	}
}

func TestNonceLife(t *testing.T) {
	t.Parallel()
	w := steadyWorld(t)
	a, b := w.open(), w.open()
	req := request("g")
	term, first, err := a.try(req)
	if err != nil {
		t.Fatal(err)
	}
	_, again, err := a.try(req)
	if err != nil || again.Token != first.Token || !again.AcquiredAt.Equal(first.AcquiredAt) || again.Granted <= 0 {
		t.Fatalf("the same nonce again: %+v, %v, first %+v", again, err, first)
	}
	if _, _, err := b.try(req); err == nil {
		t.Fatal("another session won with the nonce of the leader")
	}
	if err := b.Resign(within(patience), term); !errors.Is(err, driver.ErrLost) {
		t.Fatalf("resign by another session: %v", err)
	}
	a.keeps(term)
	a.resign(term)
	for _, c := range []*client{a, b} {
		if _, _, err := c.try(req); !errors.Is(err, driver.ErrResigned) {
			t.Fatalf("acquire with the resigned nonce: %v", err)
		}
	}
	a.loses(term)
	if err := a.Resign(within(patience), term); !errors.Is(err, driver.ErrLost) {
		t.Fatalf("second resign: %v", err)
	}
	next := b.win("g")
	if err := a.Resign(within(patience), term); !errors.Is(err, driver.ErrLost) {
		t.Fatalf("resign of an old term: %v", err)
	}
	a.loses(term)
	b.keeps(next)
	if rec := a.leader("g"); rec.Nonce != next.Nonce {
		t.Fatalf("leader %+v", rec)
	}
}

// A successor's lock node has the version numbers of ours, all over again.
func TestLateRequestsOfALostTermTouchNoSuccessor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.open(), w.open()
	term := a.win("g")
	conn := w.conn()
	if err := conn.Delete(w.root+"/g/lock", -1); err != nil {
		t.Fatal(err)
	}
	next := b.win("g")
	if r := a.renewFor(patience, map[string]string{"mine": "1"}, term)[0]; !errors.Is(r.Err, driver.ErrLost) {
		t.Fatalf("renewal of a removed record: %v", r.Err)
	}
	if err := a.Resign(within(patience), term); !errors.Is(err, driver.ErrLost) {
		t.Fatalf("resign of a removed record: %v", err)
	}
	for began := time.Now(); time.Since(began) < ttl+ttl/2; time.Sleep(ttl / 10) { // the claim lapses
		b.keeps(next)
	}
	if rec := a.leader("g"); rec.Nonce != next.Nonce || rec.Metadata["mine"] != "" {
		t.Fatalf("leader %+v", rec)
	}
}

func TestTwoNoncesThroughOneSession(t *testing.T) {
	t.Parallel()
	w := steadyWorld(t)
	a := w.open()
	one := a.win("g")
	if rec := a.held("g"); rec.Nonce != one.Nonce {
		t.Fatalf("held by %+v", rec)
	}
	other := one
	other.Nonce = driver.NewNonce()
	a.loses(other)
	if err := a.Resign(within(patience), other); !errors.Is(err, driver.ErrLost) {
		t.Fatalf("resign of another nonce: %v", err)
	}
	a.keeps(one)
	a.resign(one)
	two := a.win("g")
	a.loses(one)
	a.keeps(two)
	if two.Token <= one.Token {
		t.Fatalf("token %d after %d", two.Token, one.Token)
	}
}

// A term that is not renewed ends after one TTL although its session goes on.
func TestUnrenewedTermEndsInALivingSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.open(), w.open()
	began := time.Now()
	req := request("g")
	term, g, err := a.try(req)
	if err != nil {
		t.Fatal(err)
	}
	other := a.win("other")
	deadline := began.Add(patience)
	for {
		a.keeps(other)
		next, _, err := b.try(request("g"))
		if err == nil {
			if d := time.Since(began); d < g.Granted {
				t.Fatalf("taken after %v, granted %v", d, g.Granted)
			}
			if next.Token <= term.Token {
				t.Fatalf("token %d after %d", next.Token, term.Token)
			}
			a.loses(term)
			b.resign(next)
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("never free: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	a.keeps(other)
	// Expired is not resigned: the nonce may be sent again, for a new term.
	if again, _, err := a.try(req); err != nil || again.Token <= term.Token {
		t.Fatalf("the expired nonce again: %+v, %v", again, err)
	}
}

func TestOperatorRemovesOrReplacesTheRecord(t *testing.T) {
	t.Parallel()
	w := steadyWorld(t)
	conn := w.conn()
	for _, group := range []string{"lock", "both", "foreign", "copied"} {
		t.Run(group, func(t *testing.T) {
			a := w.open()
			s, _ := a.watch()
			term, stays := a.win(group), a.win(group+"-stays")
			a.keeps(term)
			lock := w.root + "/" + group + "/lock"
			switch group {
			case "lock":
				err := conn.Delete(lock, -1)
				if err != nil {
					t.Fatal(err)
				}
			case "both":
				if err := errors.Join(conn.Delete(lock, -1), conn.Delete(w.root+"/"+group, -1)); err != nil {
					t.Fatal(err)
				}
			case "foreign":
				if _, err := conn.Set(lock, []byte("not ours"), -1); err != nil {
					t.Fatal(err)
				}
			case "copied": // same data, another owner
				data, _, err := conn.Get(lock)
				if err != nil {
					t.Fatal(err)
				}
				_, err = conn.Multi(&zk.DeleteRequest{Path: lock, Version: -1},
					&zk.CreateRequest{Path: lock, Data: data, Acl: zk.WorldACL(zk.PermAll), Flags: zk.FlagEphemeral})
				if err != nil {
					t.Fatal(err)
				}
			}
			results := a.renewFor(patience, nil, term, stays)
			if !errors.Is(results[0].Err, driver.ErrLost) || results[1].Err != nil {
				t.Fatalf("renewals: %+v", results)
			}
			eventually(t, "the loss is told", func() bool { return s.losses(term.Nonce) == 1 })
			if s.losses(stays.Nonce) != 0 {
				t.Fatal("another term was told as lost")
			}
			if ok, _, err := conn.Exists(lock); err != nil || ok != (group == "foreign" || group == "copied") {
				t.Fatalf("lock node exists: %v, %v", ok, err)
			}
		})
	}
}

func TestPushOnResignRemovalAndExpiry(t *testing.T) {
	t.Parallel()
	w := steadyWorld(t)
	a, b := w.open(), w.open()
	s, sub := b.watch()
	add := func(group string) {
		if err := sub.Add(within(patience), group); err != nil {
			t.Fatal(err)
		}
	}
	held := []driver.Term{a.win("resign"), a.win("close")}
	term := a.win("again")
	add("resign")
	add("close")
	add("again")
	add("free")
	eventually(t, "a group that is free at once is told", func() bool { return s.woken("free") == 1 })
	if s.woken("resign")+s.woken("close")+s.woken("again") != 0 {
		t.Fatal("woken for nothing")
	}
	for i := range 5 {
		a.resign(term)
		eventually(t, "woken by a resign", func() bool { return s.woken("again") > i })
		term = a.win("again")
		// Nobody attempts, so the driver sets its watch again by itself.
		time.Sleep(200 * time.Millisecond)
		for _, h := range held {
			a.keeps(h)
		}
	}
	sub.Remove("resign")
	_ = a.Close()
	eventually(t, "woken by the end of the session", func() bool { return s.woken("close") > 0 })
	if s.woken("resign") != 0 {
		t.Fatal("woken for a group that was removed")
	}
	if err := sub.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestMisconfiguration(t *testing.T) {
	t.Parallel()
	w := steadyWorld(t)
	conn := w.conn()
	locked := fmt.Sprintf("/locked%d-%d", run, roots.Add(1))
	if _, err := conn.Create(locked, nil, 0, zk.DigestACL(zk.PermAll, "u", "p")); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*zookeeper.Options){
		"no such root":         func(o *zookeeper.Options) { o.RootPath, o.NoAutoCreate = "/nowhere/at/all", true },
		"closed by ACL":        func(o *zookeeper.Options) { o.RootPath = locked + "/root" },
		"wrong digest":         func(o *zookeeper.Options) { o.RootPath, o.AuthDigest = locked+"/root", "u:wrong" },
		"session too long":     func(o *zookeeper.Options) { o.SessionTimeout = 30 * time.Minute },
		"list without a right": func(o *zookeeper.Options) { o.ACL = zookeeper.ACL{{Scheme: "nonsense", ID: "x", Perms: 31}} },
	} {
		t.Run(name, func(t *testing.T) {
			c := w.open(change)
			if _, err := c.Acquire(within(patience), request("g-"+driver.NewNonce().String())); !errors.Is(err, driver.ErrMisconfigured) {
				t.Fatalf("%v, want a misconfiguration", err)
			}
		})
	}
	t.Run("right digest", func(t *testing.T) {
		c := w.open(func(o *zookeeper.Options) { o.RootPath, o.AuthDigest = locked+"/root", "u:p" })
		c.keeps(c.win("g"))
		_, _, err := conn.Get(locked + "/root/g")
		if !errors.Is(err, zk.ErrNoAuth) {
			t.Fatalf("others may read the nodes: %v", err)
		}
	})
	t.Run("refused connection is an outage", func(t *testing.T) {
		c := w.open(func(o *zookeeper.Options) { o.Servers = []string{"127.0.0.1:1"} })
		began := time.Now()
		_, err := c.Acquire(within(patience), request("g"))
		if !errors.Is(err, driver.ErrNotApplied) || errors.Is(err, driver.ErrMisconfigured) || time.Since(began) > patience/2 {
			t.Fatalf("%v after %v", err, time.Since(began))
		}
	})
	t.Run("record too large", func(t *testing.T) {
		c := w.open()
		req := request("g")
		req.Metadata = map[string]string{"k": string(make([]byte, 1<<20))}
		if _, err := c.Acquire(within(patience), req); !errors.Is(err, driver.ErrMisconfigured) {
			t.Fatalf("%v", err)
		}
	})
}

func TestParentsAreMadeAgain(t *testing.T) {
	t.Parallel()
	w := steadyWorld(t)
	a, b := w.open(), w.open()
	term := a.win("g")
	a.keeps(term)
	a.resign(term)
	conn := w.conn()
	var remove func(path string)
	remove = func(path string) {
		children, _, err := conn.Children(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range children {
			remove(path + "/" + c)
		}
		if err := conn.Delete(path, -1); err != nil {
			t.Fatal(err)
		}
	}
	remove(w.root)
	next := b.win("g")
	if next.Token <= term.Token {
		t.Fatalf("token %d after %d", next.Token, term.Token)
	}
	b.keeps(next)
	again := a.win("other")
	a.keeps(again)
	a.keeps(again)
}

func TestClose(t *testing.T) {
	t.Parallel()
	w := steadyWorld(t)
	a, b := w.open(), w.open()
	term := a.win("g")
	mine := b.win("mine")
	if err := errors.Join(a.Close(), a.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Acquire(within(patience), request("g")); !errors.Is(err, driver.ErrClosed) {
		t.Fatal(err)
	}
	if r := a.renew(term); !errors.Is(r.Err, driver.ErrClosed) {
		t.Fatal(r.Err)
	}
	if err := a.Resign(within(patience), term); !errors.Is(err, driver.ErrClosed) {
		t.Fatal(err)
	}
	if _, err := a.Leader(within(patience), "g"); !errors.Is(err, driver.ErrClosed) {
		t.Fatal(err)
	}
	b.win("g") // the session ended with Close
	b.keeps(mine)
	// A client that was never used.
	if err := w.open().Close(); err != nil {
		t.Fatal(err)
	}
}
