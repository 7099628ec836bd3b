package conformancetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/multilock/multilock-go/backends/consul"
	"github.com/multilock/multilock-go/core/driver"
	server "github.com/multilock/multilock-go/testservers/consul"
)

// patience bounds every wait for something that must happen.
const patience = 30 * time.Second

// needsOwn skips a test that cannot use a server of the user's.
func needsOwn(t *testing.T) {
	t.Helper()
	if os.Getenv(urlEnv) != "" {
		t.Skipf("it needs servers with settings of its own, and %s points at another", urlEnv)
	}
}

// ownServer starts a server for one test.
func ownServer(t *testing.T, o server.Options) *server.Server {
	t.Helper()
	needsOwn(t)
	return server.Start(t, o)
}

// space is a namespace of its own on the shared server.
type space struct {
	t      *testing.T
	addr   string
	prefix string
	admin  *api.Client
}

func newSpace(t *testing.T) *space {
	t.Helper()
	addr := shared(t)
	return &space{t: t, addr: addr, prefix: fmt.Sprintf("multilock-test/%s/own/%d", runID, spaces.Add(1)), admin: adminClient(t, addr)}
}

func (s *space) key(group string) string { return s.prefix + "/" + group }

func (s *space) options() consul.Options {
	return consul.Options{
		Address: "http://" + s.addr, KeyPrefix: s.prefix,
		MinSessionTTL: 100 * time.Millisecond, SweepInterval: 500 * time.Millisecond,
	}
}

func (s *space) open(change ...func(*consul.Options)) driver.Driver {
	s.t.Helper()
	o := s.options()
	for _, f := range change {
		f(&o)
	}
	return open(s.t, o)
}

func open(t *testing.T, o consul.Options) driver.Driver {
	t.Helper()
	d, _, err := consul.NewDriver(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func (s *space) get(group string) *api.KVPair {
	s.t.Helper()
	p, _, err := s.admin.KV().Get(s.key(group), &api.QueryOptions{RequireConsistent: true})
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}

func request(group string, ttl time.Duration) driver.AcquireRequest {
	return driver.AcquireRequest{Group: group, Participant: "p", Nonce: driver.NewNonce(), TTL: ttl}
}

func limit(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// win acquires a group that is free, or becomes free soon.
func win(t *testing.T, d driver.Driver, req driver.AcquireRequest) driver.Term {
	t.Helper()
	ctx := limit(t)
	for {
		g, err := d.Acquire(ctx, req)
		if err == nil {
			return driver.Term{Group: req.Group, Participant: req.Participant, Token: g.Token, Nonce: req.Nonce}
		}
		if ctx.Err() != nil {
			t.Fatalf("group %s was not granted: %v", req.Group, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func mustHeld(t *testing.T, d driver.Driver, group string, ttl time.Duration) {
	t.Helper()
	var held *driver.HeldError
	if g, err := d.Acquire(limit(t), request(group, ttl)); !errors.As(err, &held) {
		t.Fatalf("group %s: want *HeldError, got %+v, %v", group, g, err)
	}
}

func renew(t *testing.T, d driver.Driver, ttl time.Duration, terms ...driver.Term) []driver.RenewResult {
	t.Helper()
	reqs := make([]driver.RenewRequest, len(terms))
	res := make([]driver.RenewResult, len(terms))
	for i, term := range terms {
		reqs[i] = driver.RenewRequest{Term: term, TTL: ttl}
		res[i].Err = errors.New("not reported")
	}
	var mu sync.Mutex
	d.Renew(limit(t), reqs, func(r driver.RenewResult) {
		mu.Lock()
		defer mu.Unlock()
		res[r.Index] = r
	})
	return res
}

// keep renews terms until the returned function is called.
func keep(t *testing.T, d driver.Driver, ttl time.Duration, terms ...driver.Term) (stop func()) {
	t.Helper()
	done, quit := make(chan struct{}), make(chan struct{})
	reqs := make([]driver.RenewRequest, len(terms))
	for i, term := range terms {
		reqs[i] = driver.RenewRequest{Term: term, TTL: ttl}
	}
	go func() {
		defer close(done)
		for {
			select {
			case <-quit:
				return
			case <-time.After(ttl / 5):
			}
			ctx, cancel := context.WithTimeout(context.Background(), ttl)
			d.Renew(ctx, reqs, func(r driver.RenewResult) {
				if r.Err != nil {
					t.Errorf("renewal of %v: %v", terms[r.Index], r.Err)
				}
			})
			cancel()
		}
	}()
	var once sync.Once
	stop = func() { once.Do(func() { close(quit); <-done }) }
	t.Cleanup(stop)
	return stop
}

// sink notes what a watch says.
type sink struct {
	mu    sync.Mutex
	wakes map[string]int
	lost  map[driver.Nonce]time.Time
}

func watch(t *testing.T, d driver.Driver) (*sink, driver.Subscription) {
	t.Helper()
	s := &sink{wakes: make(map[string]int), lost: make(map[driver.Nonce]time.Time)}
	sub, err := d.(driver.Watcher).Watch(limit(t), s)
	if err != nil {
		t.Fatal(err)
	}
	return s, sub
}

func (s *sink) Wake(group string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wakes[group]++
}

func (s *sink) WakeAll() {}

func (s *sink) Lost(_ string, n driver.Nonce) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost[n] = time.Now()
}

func (s *sink) woken(group string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wakes[group]
}

func (s *sink) saidLost(n driver.Nonce) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.lost[n].IsZero()
}

// eventually waits for cond.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	end := time.Now().Add(patience)
	for !cond() {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, patience)
		}
		time.Sleep(2 * time.Millisecond)
	}
}
