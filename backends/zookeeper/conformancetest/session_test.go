package conformancetest

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/multilock/multilock-go/backends/zookeeper"
	"github.com/multilock/multilock-go/core/driver"
	"github.com/multilock/multilock-go/testservers/proxy"
)

// linked is open through a faulty network.
func (w *world) linked() (*client, *proxy.Proxy) {
	w.t.Helper()
	p := proxy.Start(w.t, w.servers[0])
	return w.open(func(o *zookeeper.Options) { o.Servers = []string{p.Addr()} }), p
}

func TestSessionExpiry(t *testing.T) {
	t.Parallel()
	w := steadyWorld(t) // nothing shall expire before the cut
	a, p := w.linked()
	b := w.open()
	term, second := a.win("g"), a.win("h")
	sent := time.Now()
	r := a.renewFor(patience, nil, term, second)[0]
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	p.Cut()
	next := b.winEventually("g")
	if took := time.Since(sent); took < r.Granted {
		t.Fatalf("taken after %v, granted were %v", took, r.Granted)
	}
	if next.Token <= term.Token {
		t.Fatalf("token %d after %d", next.Token, term.Token)
	}
	p.Restore()
	// A connection that the hook still holds back is an uncertain answer.
	eventually(t, "the terms of the expired session are lost", func() bool {
		lost := 0
		for _, r := range a.renewFor(patience, nil, term, second) {
			if r.Err == nil {
				t.Fatal("a term of an expired session was renewed")
			}
			if errors.Is(r.Err, driver.ErrLost) {
				lost++
			}
		}
		return lost == 2
	})
	b.keeps(next)
	// The driver has joined again, with another session.
	if again := a.winEventually("h"); again.Token <= second.Token {
		t.Fatalf("token %d after %d", again.Token, second.Token)
	}
	a.held("g")
}

func TestReconnectKeepsTermsAndWatches(t *testing.T) {
	t.Parallel()
	w := steadyWorld(t)
	a, pa := w.linked()
	b, pb := w.linked()
	s, sub := b.watch()
	term := a.win("g")
	other := a.win("other")
	if err := sub.Add(within(patience), "g"); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		pa.Reset()
		pb.Reset()
		eventually(t, "the watch of everything follows a reconnect", func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.all >= i+1
		})
		for _, r := range a.renewFor(patience, nil, term, other) {
			if r.Err != nil || r.Granted < w.ttl/2 {
				t.Fatalf("renewal after a reconnect: %+v", r)
			}
		}
	}
	// What an operator does while a leader is away is found out.
	conn := w.conn()
	pa.Cut()
	if err := conn.Delete(w.root+"/g/lock", -1); err != nil {
		t.Fatal(err)
	}
	pa.Restore()
	results := a.renewFor(patience, nil, term, other)
	if !errors.Is(results[0].Err, driver.ErrLost) || results[1].Err != nil {
		t.Fatalf("renewals: %+v", results)
	}
	eventually(t, "woken by the watch that went through the reconnects", func() bool { return s.woken("g") > 0 })
}

// No answer for a third of the time left: the connection is given up, the
// session goes on over another one, and the renewal comes in time.
func TestSilentConnectionIsReplaced(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, p := w.linked()
	term := a.win("g")
	a.keeps(term)
	if !p.Stall(0) {
		t.Fatal("no connection")
	}
	if r := a.renewFor(ttl-ttl/4, nil, term)[0]; r.Err != nil || r.Granted <= ttl/2 {
		t.Fatalf("renewal over a silent connection: %+v", r)
	}
	if n := p.Accepted(); n != 2 {
		t.Fatalf("%d connections", n)
	}
}

// Requests arrive, answers do not: attempts to connect must not keep the session
// alive for ever.
func TestUnansweredSessionExpires(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, p := w.linked()
	b := w.open()
	term := a.win("g")
	a.keeps(term)
	p.Blackhole(proxy.ToClient)
	began := time.Now()
	next := b.winEventually("g")
	if took := time.Since(began); took > 4*ttl {
		t.Fatalf("taken after %v only", took)
	}
	p.Restore()
	a.loses(term)
	b.keeps(next)
}

// What a renewal grants is what the session's life is known for: the age of the
// proof is at least a tick, and at most what is declared.
func TestGrantedIsTheAgeOfTheProof(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.open()
	term, first, err := a.try(request("g"))
	if err != nil || first.Granted < ttl-time.Second {
		t.Fatalf("first in a new session: %+v, %v", first, err)
	}
	var late atomic.Int64 // how often the machine was busy
	bystander, quit := w.conn(), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			start := time.Now()
			if _, err := bystander.Sync("/"); err != nil || time.Since(start) > ttl/60 {
				late.Add(1)
			}
			select {
			case <-quit:
				return
			case <-time.After(ttl / 200):
			}
		}
	})
	stop := sync.OnceFunc(func() { close(quit); wg.Wait() })
	defer stop()
	least := ttl
	for began := time.Now(); time.Since(began) < 2*ttl; time.Sleep(ttl / 20) {
		start := time.Now()
		r := a.renew(term)
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		if time.Since(began) > ttl && r.Granted > ttl-tick {
			t.Fatalf("granted %v of %v: no proof can be as young", r.Granted, ttl)
		}
		if time.Since(start) > ttl/20 {
			late.Add(1)
			continue
		}
		least = min(least, r.Granted)
	}
	stop()
	if declared := ttl - a.info.Shortening; least < declared-ttl/4 || late.Load() == 0 && least < declared {
		t.Fatalf("granted %v at the least, declared are %v", least, declared)
	}
	// A session that has only followed for a while grants enough at once.
	w.ttl = max(2*ttl, 4*tick) // so that a busy machine's answers are a small part of it
	b := w.open()
	b.held("g")
	time.Sleep(w.ttl)
	if _, g, err := b.try(request("idle")); err != nil || g.Granted < w.ttl/4 || g.Granted > w.ttl-tick {
		t.Fatalf("an acquire in an old session: %+v, %v", g, err)
	}
}

// gate is a connection that holds transactions back while closed.
type gate struct {
	mu   sync.Mutex
	held chan struct{} // closed to let go
}

func (g *gate) close() (open func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held = make(chan struct{})
	return sync.OnceFunc(func() { close(g.held) })
}

type gatedConn struct {
	net.Conn
	g *gate
}

const opMulti = 14

func (c gatedConn) Write(b []byte) (int, error) {
	if len(b) >= 12 && binary.BigEndian.Uint32(b[8:]) == opMulti {
		c.g.mu.Lock()
		held := c.g.held
		c.g.mu.Unlock()
		if held != nil {
			<-held
		}
	}
	return c.Conn.Write(b)
}

// own is open with a client of the test's own.
func (w *world) own(dial zk.Dialer) (*client, *zk.Conn) {
	w.t.Helper()
	h := zookeeper.NewHook(dial, nil)
	conn, _, err := zk.Connect(w.servers, w.ttl, zk.WithDialer(h.Dial), zk.WithEventCallback(h.Event), zk.WithLogInfo(false))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(conn.Close)
	o := w.options()
	o.Servers = nil
	b, err := zookeeper.FromConn(conn, h, o)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = b.Driver().Close() })
	if _, err := zookeeper.FromConn(conn, h, o); err == nil {
		w.t.Fatal("a hook served two backends")
	}
	return &client{t: w.t, Driver: b.Driver(), info: b.Info()}, conn
}

func TestLateAcquire(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := &gate{}
	a, _ := w.own(func(network, address string, timeout time.Duration) (net.Conn, error) {
		c, err := net.DialTimeout(network, address, timeout)
		return gatedConn{c, g}, err
	})
	b := w.open()
	stays := a.win("stays")
	a.keeps(stays)

	late := func(group string) (driver.AcquireRequest, func()) {
		t.Helper()
		open := g.close()
		req := request(group)
		if _, err := a.Acquire(within(300*time.Millisecond), req); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, driver.ErrNotApplied) {
			t.Fatalf("an unanswered attempt: %v", err)
		}
		return req, open
	}

	// Sent again: a success, with one term.
	req, open := late("again")
	open()
	b.heldEventually("again")
	term, _, err := a.try(req)
	if err != nil {
		t.Fatal(err)
	}
	a.keeps(term)
	a.resign(term)

	// Resigned before it was executed: it leaves nothing behind.
	req, open = late("resigned")
	resigned := make(chan error, 1)
	go func() {
		resigned <- a.Resign(within(patience), driver.Term{Group: req.Group, Participant: req.Participant, Nonce: req.Nonce})
	}()
	time.Sleep(50 * time.Millisecond)
	open()
	if err := <-resigned; err != nil && !errors.Is(err, driver.ErrLost) {
		t.Fatal(err)
	}
	b.winEventually("resigned")

	// Given up: the session lives on, the record does not.
	req, open = late("orphan")
	open()
	b.heldEventually("orphan")
	began := time.Now()
	for {
		a.keeps(stays)
		if _, _, err := b.try(request("orphan")); err == nil {
			break
		}
		if time.Since(began) > ttl+patience/4 {
			t.Fatal("the record of a late attempt stays")
		}
		time.Sleep(20 * time.Millisecond)
	}
	a.keeps(stays)
	_ = req
}

// heldEventually waits until another leads.
func (c *client) heldEventually(group string) {
	c.t.Helper()
	eventually(c.t, group+" is led", func() bool {
		_, err := c.Leader(within(patience), group)
		return err == nil
	})
}

// The terms of a client that its owner closes end before anybody can follow.
func TestClientClosedByItsOwner(t *testing.T) {
	t.Parallel()
	w := steadyWorld(t)
	a, conn := w.own(nil)
	b := w.open()
	s, _ := a.watch()
	term := a.win("g")
	order := make(chan int, 1)
	go func() {
		for {
			if _, _, err := b.try(request("g")); err == nil {
				order <- s.losses(term.Nonce)
				return
			}
		}
	}()
	conn.Close()
	select {
	case n := <-order:
		if n != 1 {
			t.Fatal("another could lead before the loss was told")
		}
	case <-time.After(patience):
		t.Fatal("nobody follows")
	}
	if _, err := a.Acquire(within(patience), request("h")); !errors.Is(err, driver.ErrClosed) {
		t.Fatalf("acquire with a closed client: %v", err)
	}
	if r := a.renew(term); !errors.Is(r.Err, driver.ErrClosed) && !errors.Is(r.Err, driver.ErrLost) {
		t.Fatalf("renewal with a closed client: %v", r.Err)
	}
}

// A driver leaves no records behind in a client that goes on without it.
func TestCloseLeavesTheOwnersClientClean(t *testing.T) {
	t.Parallel()
	w := steadyWorld(t)
	a, conn := w.own(nil)
	b := w.open()
	a.keeps(a.win("g"))
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	b.win("g")
	if _, _, err := conn.Get(w.root + "/g"); err != nil {
		t.Fatalf("the owner's client: %v", err)
	}
	if left, _, err := conn.Children(w.root + "/@sessions"); err != nil || len(left) > 0 && !onlyOthers(left, conn) {
		t.Fatalf("left behind: %v, %v", left, err)
	}
}

func onlyOthers(names []string, conn *zk.Conn) bool {
	for _, n := range names {
		if ok, stat, err := conn.Exists(n); err == nil && ok && stat.EphemeralOwner == conn.SessionID() {
			return false
		}
	}
	return true
}

// Thousands of requests by many goroutines share one connection.
func TestOneConnectionForAll(t *testing.T) {
	t.Parallel()
	w := steadyWorld(t)
	a, p := w.linked()
	const groups = 200
	terms := make([]driver.Term, groups)
	var wg sync.WaitGroup
	for i := range groups {
		wg.Go(func() {
			term, _, err := a.try(request("g" + string(rune('a'+i%26)) + string(rune('a'+i/26))))
			if err != nil {
				t.Error(err)
			}
			terms[i] = term
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	for range 3 {
		for _, r := range a.renewFor(patience, nil, terms...) {
			if r.Err != nil {
				t.Fatal(r.Err)
			}
		}
	}
	if n := p.Accepted(); n != 1 {
		t.Fatalf("%d connections", n)
	}
}

// A backend that has not been used yet does nothing for the session of the client
// that it was given: the library's pings keep it.
func TestUnusedBackendLeavesThePings(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var dials atomic.Int64
	_, conn := w.own(func(network, address string, timeout time.Duration) (net.Conn, error) {
		dials.Add(1)
		return net.DialTimeout(network, address, timeout)
	})
	eventually(t, "a session", func() bool { return conn.State() == zk.StateHasSession })
	session := conn.SessionID()
	time.Sleep(2 * ttl)
	eventually(t, "a session", func() bool { return conn.State() == zk.StateHasSession })
	if n := dials.Load(); n > 1 || conn.SessionID() != session {
		t.Errorf("%d connections; the session was %x and is %x", n, session, conn.SessionID())
	}
}
