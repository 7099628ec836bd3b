package conformancetest

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/multilock/multilock-go/backends/redis"
	"github.com/multilock/multilock-go/backends/redis/internal/seam"
	"github.com/multilock/multilock-go/core/driver"
	"github.com/multilock/multilock-go/testservers/proxy"
	server "github.com/multilock/multilock-go/testservers/redis"
	goredis "github.com/redis/go-redis/v9"
)

var sharedCluster = sync.OnceValue(func() *server.Cluster { return server.StartCluster(scope, 3, server.Options{}) })

// through puts a proxy before each server and lets d connect through them.
func through(t *testing.T, d driver.Driver, servers ...*server.Server) map[string]*proxy.Proxy {
	t.Helper()
	proxies := make(map[string]*proxy.Proxy)
	for _, s := range servers {
		proxies[s.Addr] = proxy.Start(t, s.Addr)
	}
	seam.SetDialer(d, func(ctx context.Context, network, addr string) (net.Conn, error) {
		if p := proxies[addr]; p != nil {
			addr = p.Addr()
		}
		return new(net.Dialer).DialContext(ctx, network, addr)
	})
	return proxies
}

func key(group string) string { return "leader-election:{" + group + "}" }

// groupOf makes a group whose slot a server has.
func groupOf(c *server.Cluster, s *server.Server) string {
	for {
		if g := newGroup(); c.Owner(key(g)) == s {
			return g
		}
	}
}

func TestClusterBatches(t *testing.T) {
	t.Parallel()
	c := sharedCluster()
	d := open(t, redis.Options{Addrs: c.Addrs()})
	proxies := through(t, d, c.Servers...)
	sink, sub := watchOn(t, d)
	const n = 100
	reqs := make([]driver.AcquireRequest, n)
	renewals := make([]driver.RenewRequest, n)
	for i := range reqs {
		reqs[i] = request(newGroup(), "a")
		if err := sub.Add(patience(t), reqs[i].Group); err != nil {
			t.Fatal(err)
		}
	}
	var mu sync.Mutex
	answers := 0
	d.(driver.BatchAcquirer).AcquireBatch(patience(t), reqs, func(i int, g driver.Grant, err error) {
		mu.Lock()
		defer mu.Unlock()
		answers++
		if err != nil {
			t.Errorf("attempt %d: %v", i, err)
		}
		renewals[i] = driver.RenewRequest{Term: term(reqs[i], g), TTL: ttl}
	})
	if answers != n {
		t.Fatalf("%d answers, want %d", answers, n)
	}
	for i, r := range renew(t, d, renewals...) {
		if r.Err != nil {
			t.Errorf("renewal %d: %v", i, r.Err)
		}
	}
	for _, r := range renewals {
		if err := d.Resign(patience(t), r.Term); err != nil {
			t.Fatal(err)
		}
		sink.woken(t, r.Term.Group, 1)
	}
	for addr, p := range proxies {
		if n := len(p.Open()); n > 4 {
			t.Errorf("%d connections to the master at %s, want at most 4", n, addr)
		}
	}
}

func TestClusterMasterThatHangsDelaysNoOther(t *testing.T) {
	t.Parallel()
	c := sharedCluster()
	d := open(t, redis.Options{Addrs: c.Addrs()})
	proxies := through(t, d, c.Servers...)
	hung := acquire(t, d, request(groupOf(c, c.Servers[0]), "a"))
	fine := acquire(t, d, request(groupOf(c, c.Servers[1]), "a"))
	both := []driver.RenewRequest{{Term: hung, TTL: ttl}, {Term: fine, TTL: ttl}}
	for _, r := range renew(t, d, both...) {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	proxies[c.Servers[0].Addr].Blackhole(proxy.BothWays)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	told := make(chan driver.RenewResult, 2)
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.Renew(ctx, both, func(r driver.RenewResult) { told <- r })
	}()
	select {
	case r := <-told:
		if r.Index != 1 || r.Err != nil {
			t.Errorf("first result: %+v", r)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the healthy master's answer waits for the other")
	}
	cancel()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("Renew did not return when its context ended")
	}
	proxies[c.Servers[0].Addr].Restore()
	eventually(t, "renewed when the network is back", func() bool {
		_, err := renewOne(t, d, hung, ttl)
		return err == nil
	})
}

// TestClusterSlotsMove has a cluster of its own: it changes who has what.
func TestClusterSlotsMove(t *testing.T) {
	t.Parallel()
	c := server.StartCluster(t, 3, server.Options{})
	a, b := open(t, redis.Options{Addrs: c.Addrs()}), open(t, redis.Options{Addrs: c.Addrs()})
	sink, sub := watchOn(t, b)
	tm := acquire(t, a, request(groupOf(c, c.Servers[0]), "a"))
	stay := acquire(t, a, request(groupOf(c, c.Servers[1]), "a"))
	if err := sub.Add(patience(t), tm.Group); err != nil {
		t.Fatal(err)
	}
	c.MoveSlot(key(tm.Group), c.Servers[2])
	for i, r := range renew(t, a, driver.RenewRequest{Term: tm, TTL: ttl}, driver.RenewRequest{Term: stay, TTL: ttl}) {
		if r.Err != nil {
			t.Errorf("renewal %d after the slot moved: %v", i, r.Err)
		}
	}
	_, err := b.Acquire(patience(t), request(tm.Group, "b"))
	mustHold(t, err)
	sink.woken(t, tm.Group, 1) // the watch has moved too, and may have missed something
	n := sink.count(tm.Group)
	if err := a.Resign(patience(t), tm); err != nil {
		t.Fatal(err)
	}
	sink.woken(t, tm.Group, n+1)
	acquire(t, b, request(tm.Group, "b"))
}

func TestClusterFailover(t *testing.T) {
	t.Parallel()
	c := server.StartClusterWithReplicas(t, 3, server.Options{})
	a, b := open(t, redis.Options{Addrs: c.Addrs(), WaitReplicas: 1}), open(t, redis.Options{Addrs: c.Addrs()})
	sink, sub := watchOn(t, b)
	tm := acquire(t, a, request(groupOf(c, c.Servers[0]), "a"))
	if err := sub.Add(patience(t), tm.Group); err != nil {
		t.Fatal(err)
	}
	c.Servers[0].Kill()
	var err error
	eventually(t, "the replica answers for its master", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		err = renewCtx(ctx, b, driver.RenewRequest{Term: tm, TTL: ttl})[0].Err
		return err == nil || errors.Is(err, driver.ErrLost)
	})
	if err != nil {
		t.Fatalf("Renew of a replicated term: %v", err)
	}
	sink.woken(t, tm.Group, 1) // watched again
	n := sink.count(tm.Group)
	if err := b.Resign(patience(t), tm); err != nil {
		t.Fatal(err)
	}
	sink.woken(t, tm.Group, n+1)
}

func TestClusterWithReplicasWanted(t *testing.T) {
	t.Parallel()
	c := sharedCluster()
	d := open(t, redis.Options{Addrs: c.Addrs(), WaitReplicas: 1})
	_, err := d.Acquire(patience(t), request(newGroup(), "a"))
	if err == nil || errors.Is(err, driver.ErrNotApplied) {
		t.Errorf("granted without a replica: %v", err)
	}
}

func TestClusterClientOfTheUser(t *testing.T) {
	t.Parallel()
	c := goredis.NewClusterClient(&goredis.ClusterOptions{Addrs: sharedCluster().Addrs()})
	defer c.Close()
	b, err := redis.FromClient(c, redis.Options{Grace: noGrace})
	if err != nil {
		t.Fatal(err)
	}
	d := b.Driver()
	sink, sub := watchOn(t, d)
	for range 10 {
		tm := acquire(t, d, request(newGroup(), "a"))
		if err := sub.Add(patience(t), tm.Group); err != nil {
			t.Fatal(err)
		}
		if _, err := renewOne(t, d, tm, ttl); err != nil {
			t.Fatal(err)
		}
		if err := d.Resign(patience(t), tm); err != nil {
			t.Fatal(err)
		}
		sink.woken(t, tm.Group, 1)
	}
	if err := b.Close(patience(t)); err != nil {
		t.Fatal(err)
	}
}

func TestClusterLeastPrivilege(t *testing.T) {
	t.Parallel()
	c := sharedCluster()
	for _, s := range c.Servers {
		s.Do(append([]string{"ACL", "SETUSER", "elector", "on", ">p", "~leader-election:*", "&leader-election:*"},
			strings.Fields("+eval +evalsha +hmget +hset +hincrby +hget +exists +time +lastsave +info +publish +subscribe +unsubscribe +ping "+
				"+cluster|slots +spublish +ssubscribe +sunsubscribe")...)...)
	}
	o := redis.Options{Addrs: c.Addrs(), Username: "elector", Password: "p"}
	a, b := open(t, o), open(t, o)
	sink, sub := watchOn(t, b)
	for range 10 {
		tm := acquire(t, a, request(newGroup(), "a"))
		if err := sub.Add(patience(t), tm.Group); err != nil {
			t.Fatal(err)
		}
		if _, err := renewOne(t, a, tm, ttl); err != nil {
			t.Fatal(err)
		}
		if err := a.Resign(patience(t), tm); err != nil {
			t.Fatal(err)
		}
		sink.woken(t, tm.Group, 1)
	}
	o.Password = "guess"
	_, err := open(t, o).Acquire(patience(t), request(newGroup(), "a"))
	want(t, "a wrong password in a cluster", err, driver.ErrMisconfigured)
}
