package conformancetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/multilock/multilock-go/backends/zookeeper"
	"github.com/multilock/multilock-go/conformance"
	"github.com/multilock/multilock-go/core/driver"
	"github.com/multilock/multilock-go/testservers/proc"
	zkserver "github.com/multilock/multilock-go/testservers/zookeeper"
)

const patience = 20 * time.Second

// The server that most tests share, with times as short as it can; those that
// stop servers or cut them off start their own. elsewhere is the server of
// MULTILOCK_TEST_ZOOKEEPER_URL, which has its own tick.
var (
	tick = 100 * time.Millisecond
	ttl  = 2 * time.Second

	scope     = &proc.Scope{}
	server    = sync.OnceValue(func() *zkserver.Server { return zkserver.Start(scope, zkserver.Options{Tick: tick}) })
	elsewhere []string
	roots     atomic.Int64
)

// Names below the root of a server that other runs may have used before.
var run = time.Now().UnixMilli()

func TestMain(m *testing.M) {
	if raw := os.Getenv("MULTILOCK_TEST_ZOOKEEPER_URL"); raw != "" {
		d, err := zookeeper.ParseURL(raw)
		if err != nil {
			panic(err)
		}
		elsewhere = d.Servers
		tick = 2 * time.Second
		if d.Tick != 0 {
			tick = d.Tick
		}
		ttl = 4 * tick
	}
	conformance.Main(m, zookeeper.OpenURL, scope.Close)
}

// world is a fresh root in a store.
type world struct {
	t       testing.TB
	servers []string
	root    string
	ttl     time.Duration
}

func newWorld(t testing.TB) *world { return worldOn(t, addrs()...) }

// steadyWorld is for tests in which nothing shall expire: its sessions last as
// long as the server allows.
func steadyWorld(t testing.TB) *world {
	w := newWorld(t)
	w.ttl = max(ttl, 60*tick)
	if elsewhere != nil {
		w.ttl = 20 * tick
	}
	return w
}

// addrs are the servers that most tests use.
func addrs() []string {
	if elsewhere != nil {
		return elsewhere
	}
	return []string{server().Addr}
}

// ownServers skips a test that stops servers where the tests use another's.
func ownServers(t *testing.T) {
	t.Helper()
	if elsewhere != nil {
		t.Skip("this test starts, stops and cuts off servers of its own: unset MULTILOCK_TEST_ZOOKEEPER_URL")
	}
}

func worldOn(t testing.TB, servers ...string) *world {
	return &world{t: t, servers: servers, ttl: ttl, root: fmt.Sprintf("/test%d-%d/nested", run, roots.Add(1))}
}

func (w *world) options() zookeeper.Options {
	return zookeeper.Options{Servers: w.servers, RootPath: w.root, SessionTimeout: w.ttl, Tick: tick}
}

// open returns another client.
func (w *world) open(change ...func(*zookeeper.Options)) *client {
	w.t.Helper()
	o := w.options()
	for _, f := range change {
		f(&o)
	}
	d, info, err := zookeeper.NewDriver(o)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = d.Close() })
	return &client{t: w.t, Driver: d, info: info}
}

// conn is a bare client, for what only an operator does.
func (w *world) conn() *zk.Conn {
	w.t.Helper()
	c, _, err := zk.Connect(w.servers, 10*time.Second, zk.WithLogInfo(false))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(c.Close)
	return c
}

type client struct {
	driver.Driver
	t    testing.TB
	info driver.Info
}

func within(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	context.AfterFunc(ctx, cancel)
	return ctx
}

func request(group string) driver.AcquireRequest {
	return driver.AcquireRequest{Group: group, Participant: "p", Nonce: driver.NewNonce(), TTL: ttl, Metadata: map[string]string{"k": "v<&>\u2028"}}
}

func (c *client) try(req driver.AcquireRequest) (driver.Term, driver.Grant, error) {
	c.t.Helper()
	req.TTL = c.info.MaxTTL
	g, err := c.Acquire(within(patience), req)
	return driver.Term{Group: req.Group, Participant: req.Participant, Token: g.Token, Nonce: req.Nonce}, g, err
}

func (c *client) win(group string) driver.Term {
	c.t.Helper()
	term, g, err := c.try(request(group))
	if err != nil {
		c.t.Fatalf("acquire %s: %v", group, err)
	}
	if g.Granted <= 0 || g.Granted > c.info.MaxTTL || g.Token == 0 || time.Since(g.AcquiredAt).Abs() > time.Minute {
		c.t.Fatalf("grant %+v", g)
	}
	return term
}

// winEventually acquires as soon as the group is free.
func (c *client) winEventually(group string) driver.Term {
	c.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		term, _, err := c.try(request(group))
		if err == nil {
			return term
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("acquire %s: %v", group, err)
		}
	}
}

func (c *client) held(group string) driver.Record {
	c.t.Helper()
	_, _, err := c.try(request(group))
	held, ok := errors.AsType[*driver.HeldError](err)
	if !ok {
		c.t.Fatalf("acquire %s: %v, want a HeldError", group, err)
	}
	return held.Record
}

func (c *client) renew(t driver.Term) driver.RenewResult {
	c.t.Helper()
	return c.renewFor(patience, nil, t)[0]
}

func (c *client) renewFor(d time.Duration, metadata map[string]string, terms ...driver.Term) []driver.RenewResult {
	var reqs []driver.RenewRequest
	for _, t := range terms {
		reqs = append(reqs, driver.RenewRequest{Term: t, TTL: c.info.MaxTTL, Metadata: metadata})
	}
	results := make([]driver.RenewResult, len(reqs))
	for i := range results {
		results[i].Err = errors.New("not reported")
	}
	var mu sync.Mutex
	c.Renew(within(d), reqs, func(r driver.RenewResult) {
		mu.Lock()
		defer mu.Unlock()
		results[r.Index] = r
	})
	mu.Lock()
	defer mu.Unlock()
	return results
}

func (c *client) keeps(t driver.Term) {
	c.t.Helper()
	if r := c.renew(t); r.Err != nil {
		c.t.Fatalf("renew %v: %v", t, r.Err)
	}
}

func (c *client) loses(t driver.Term) {
	c.t.Helper()
	if r := c.renew(t); !errors.Is(r.Err, driver.ErrLost) {
		c.t.Fatalf("renew %v: %v, want ErrLost", t, r.Err)
	}
}

func (c *client) resign(t driver.Term) {
	c.t.Helper()
	if err := c.Resign(within(patience), t); err != nil {
		c.t.Fatalf("resign %v: %v", t, err)
	}
}

func (c *client) leader(group string) driver.Record {
	c.t.Helper()
	rec, err := c.Leader(within(patience), group)
	if err != nil {
		c.t.Fatalf("leader of %s: %v", group, err)
	}
	return rec
}

func (c *client) noLeader(group string) {
	c.t.Helper()
	if rec, err := c.Leader(within(patience), group); !errors.Is(err, driver.ErrNoLeader) {
		c.t.Fatalf("leader of %s: %+v, %v, want ErrNoLeader", group, rec, err)
	}
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// sink records what a driver tells.
type sink struct {
	mu    sync.Mutex
	wakes map[string]int
	all   int
	lost  map[driver.Nonce]int
}

func (c *client) watch() (*sink, driver.Subscription) {
	c.t.Helper()
	s := &sink{wakes: map[string]int{}, lost: map[driver.Nonce]int{}}
	sub, err := c.Driver.(driver.Watcher).Watch(within(patience), s)
	if err != nil {
		c.t.Fatal(err)
	}
	return s, sub
}

func (s *sink) Wake(group string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wakes[group]++
}

func (s *sink) WakeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all++
}

func (s *sink) Lost(_ string, n driver.Nonce) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost[n]++
}

func (s *sink) woken(group string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wakes[group]
}

func (s *sink) losses(n driver.Nonce) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lost[n]
}
