package conformancetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/multilock/multilock-go/backends/redis"
	"github.com/multilock/multilock-go/core/driver"
	"github.com/multilock/multilock-go/testservers/proxy"
	goredis "github.com/redis/go-redis/v9"
)

// prompt is how soon a call must return after its context has ended, generously.
const prompt = 3 * time.Second

func TestCancelledCallsReturn(t *testing.T) {
	t.Parallel()
	p := proxy.Start(t, shared().Addr)
	d := open(t, redis.Options{Addrs: []string{p.Addr()}})
	tm := acquire(t, d, request(newGroup(), "a"))
	for name, blind := range map[string]bool{"open connections": false, "new connections": true} {
		if blind {
			p.Restore()
			p.Reset()
		}
		p.Blackhole(proxy.ToClient)
		for op, call := range map[string]func(context.Context) error{
			"Acquire": func(ctx context.Context) error { _, err := d.Acquire(ctx, request(newGroup(), "a")); return err },
			"Renew": func(ctx context.Context) error {
				return renewCtx(ctx, d, driver.RenewRequest{Term: tm, TTL: ttl})[0].Err
			},
			"Resign": func(ctx context.Context) error {
				return d.Resign(ctx, driver.Term{Group: newGroup(), Nonce: driver.NewNonce()})
			},
			"Leader": func(ctx context.Context) error { _, err := d.Leader(ctx, tm.Group); return err },
		} {
			ctx, cancel := context.WithCancel(context.Background())
			time.AfterFunc(100*time.Millisecond, cancel)
			began := time.Now()
			err := call(ctx)
			if took := time.Since(began); took > prompt {
				t.Errorf("%s, %s: returned %v after it began", name, op, took)
			}
			var held *driver.HeldError
			if err == nil || errors.Is(err, driver.ErrLost) || errors.Is(err, driver.ErrNoLeader) || errors.As(err, &held) {
				t.Errorf("%s, %s: a certain answer without an answer: %v", name, op, err)
			}
		}
	}
	p.Restore()
	if _, err := renewOne(t, d, tm, ttl); err != nil {
		t.Errorf("Renew afterwards: %v", err)
	}
}

func TestCancelledCallsOfAUsersClientReturn(t *testing.T) {
	t.Parallel()
	p := proxy.Start(t, shared().Addr)
	c := goredis.NewClient(&goredis.Options{Addr: p.Addr()})
	defer c.Close()
	b, err := redis.FromClient(c, redis.Options{Grace: noGrace})
	if err != nil {
		t.Fatal(err)
	}
	d := b.Driver()
	tm := acquire(t, d, request(newGroup(), "a"))
	p.Blackhole(proxy.ToClient)
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	if r := renewCtx(ctx, d, driver.RenewRequest{Term: tm, TTL: ttl})[0]; r.Err != errUnreported {
		t.Errorf("result without an answer: %+v", r)
	}
	if took := time.Since(began); took > prompt {
		t.Errorf("returned after %v", took)
	}
	p.Restore()
	if _, err := renewOne(t, d, tm, ttl); err != nil {
		t.Errorf("Renew afterwards: %v", err)
	}
	if err := b.Close(patience(t)); err != nil {
		t.Fatal(err)
	}
	if err := c.Ping(patience(t)).Err(); err != nil {
		t.Errorf("the user's client was closed: %v", err)
	}
}

func TestHedgeOvertakesAHangingConnection(t *testing.T) {
	t.Parallel()
	p := proxy.Start(t, shared().Addr)
	d := open(t, redis.Options{Addrs: []string{p.Addr()}})
	tm := acquire(t, d, request(newGroup(), "a")) // connection 0
	if _, err := renewOne(t, d, tm, ttl); err != nil {
		t.Fatal(err)
	}
	if !p.Stall(1) {
		t.Fatal("renewals have no connection of their own")
	}
	first, cancel := context.WithCancel(context.Background())
	defer cancel()
	hung := make(chan error, 1)
	go func() { hung <- renewCtx(first, d, driver.RenewRequest{Term: tm, TTL: ttl})[0].Err }()
	eventually(t, "the hedge succeeds", func() bool {
		time.Sleep(20 * time.Millisecond) // the other goes first
		_, err := renewOne(t, d, tm, ttl)
		return err == nil
	})
	for range 5 { // each over a connection of its own
		if _, err := renewOne(t, d, tm, ttl); err != nil {
			t.Errorf("a further hedge: %v", err)
		}
	}
	eventually(t, "the hedge's connections are closed", func() bool { return len(p.Open()) == 2 })
	select {
	case err := <-hung:
		t.Fatalf("the renewal on the stalled connection ended: %v", err)
	default:
	}
	if _, err := d.Leader(patience(t), tm.Group); err != nil {
		t.Errorf("Leader beside it: %v", err)
	}
	cancel()
	if err := <-hung; err == nil {
		t.Error("the renewal on the stalled connection succeeded")
	}
}

// The SDK's pool would go on refusing for up to a second after failures to connect,
// or longer if its own attempt hangs.
func TestServerIsUsedTheMomentItIsBack(t *testing.T) {
	t.Parallel()
	p := proxy.Start(t, shared().Addr)
	d := open(t, redis.Options{Addrs: []string{p.Addr()}})
	tm := acquire(t, d, request(newGroup(), "a"))
	for range 3 {
		p.Cut()
		for range 5 {
			if _, err := renewOne(t, d, tm, ttl); err == nil || errors.Is(err, driver.ErrLost) {
				t.Fatalf("over a network that is cut: %v", err)
			}
			if _, err := d.Leader(patience(t), tm.Group); err == nil {
				t.Fatal("an answer over a network that is cut")
			}
		}
		p.Restore()
		if _, err := renewOne(t, d, tm, ttl); err != nil {
			t.Errorf("Renew when the network is back: %v", err)
		}
		if _, err := d.Leader(patience(t), tm.Group); err != nil {
			t.Errorf("Leader when the network is back: %v", err)
		}
	}
}

func TestSlowNetworkCostsNothing(t *testing.T) {
	t.Parallel()
	p := proxy.Start(t, shared().Addr)
	d := open(t, redis.Options{Addrs: []string{p.Addr()}})
	tm := acquire(t, d, request(newGroup(), "a"))
	p.Latency(1500 * time.Millisecond)
	if g, err := renewOne(t, d, tm, ttl); err != nil || g != ttl {
		t.Errorf("Renew: %v, %v", g, err)
	}
}

func TestConnections(t *testing.T) {
	t.Parallel()
	p := proxy.Start(t, shared().Addr)
	d := open(t, redis.Options{Addrs: []string{p.Addr()}})
	if n := p.Accepted(); n != 0 {
		t.Fatalf("%d connections before the first call", n)
	}
	_, sub := watchOn(t, d)
	done := make(chan struct{})
	for range 20 {
		go func() {
			defer func() { done <- struct{}{} }()
			for range 10 {
				tm := acquire(t, d, request(newGroup(), "a"))
				if err := sub.Add(patience(t), tm.Group); err != nil {
					t.Error(err)
				}
				if _, err := renewOne(t, d, tm, ttl); err != nil {
					t.Error(err)
				}
				if err := d.Resign(patience(t), tm); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	for range 20 {
		<-done
	}
	eventually(t, "three connections stay", func() bool { return len(p.Open()) == 3 })
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "Close leaves none", func() bool { return len(p.Open()) == 0 })
}

func TestRingIsRefused(t *testing.T) {
	t.Parallel()
	ring := goredis.NewRing(&goredis.RingOptions{Addrs: map[string]string{"a": shared().Addr}})
	defer ring.Close()
	if _, err := redis.FromClient(ring, redis.Options{}); err == nil {
		t.Error("a ring was accepted")
	}
	c := goredis.NewClient(&goredis.Options{Addr: shared().Addr})
	defer c.Close()
	if _, err := redis.FromClient(c, redis.Options{Addrs: []string{"x:1"}}); err == nil {
		t.Error("an address beside a client was accepted")
	}
}
