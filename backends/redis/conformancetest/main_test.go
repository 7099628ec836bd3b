package conformancetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/multilock/multilock-go/backends/redis"
	"github.com/multilock/multilock-go/conformance"
	"github.com/multilock/multilock-go/core/driver"
	"github.com/multilock/multilock-go/testservers/proc"
	server "github.com/multilock/multilock-go/testservers/redis"
)

var scope = &proc.Scope{}

func TestMain(m *testing.M) {
	if url := os.Getenv(leadEnv); url != "" {
		lead(url)
	}
	conformance.Main(m, redis.OpenURL, scope.Close)
}

// shared is a server for tests that disturb nobody.
var shared = sync.OnceValue(func() *server.Server { return server.Start(scope, server.Options{}) })

// aged returns when the server says that it is so many seconds old.
func aged(s *server.Server, seconds int) {
	for {
		if n, _ := strconv.Atoi(s.Info("server", "uptime_in_seconds")); n >= seconds {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

const ttl = time.Minute

// noGrace lets a fresh server grant at once: it is less than the scripts count in.
const noGrace = time.Nanosecond

var groups atomic.Int64

func newGroup() string { return fmt.Sprintf("group-%d-%d", os.Getpid(), groups.Add(1)) }

func open(t *testing.T, o redis.Options) driver.Driver {
	t.Helper()
	if o.Grace == 0 {
		o.Grace = noGrace
	}
	d, _, err := redis.NewDriver(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return d
}

func at(s *server.Server) redis.Options { return redis.Options{Addrs: []string{s.Addr}} }

func patience(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func request(group, participant string) driver.AcquireRequest {
	return driver.AcquireRequest{Group: group, Participant: participant, Nonce: driver.NewNonce(), TTL: ttl}
}

func term(req driver.AcquireRequest, g driver.Grant) driver.Term {
	return driver.Term{Group: req.Group, Participant: req.Participant, Token: g.Token, Nonce: req.Nonce}
}

func acquire(t *testing.T, d driver.Driver, req driver.AcquireRequest) driver.Term {
	t.Helper()
	g, err := d.Acquire(patience(t), req)
	if err != nil {
		t.Fatalf("Acquire: %v", err)
	}
	return term(req, g)
}

func renew(t *testing.T, d driver.Driver, reqs ...driver.RenewRequest) []driver.RenewResult {
	t.Helper()
	return renewCtx(patience(t), d, reqs...)
}

var errUnreported = errors.New("not reported")

func renewCtx(ctx context.Context, d driver.Driver, reqs ...driver.RenewRequest) []driver.RenewResult {
	out := make([]driver.RenewResult, len(reqs))
	for i := range out {
		out[i].Err = errUnreported
	}
	var mu sync.Mutex
	d.Renew(ctx, reqs, func(r driver.RenewResult) {
		mu.Lock()
		defer mu.Unlock()
		out[r.Index] = r
	})
	mu.Lock()
	defer mu.Unlock()
	return out
}

func renewOne(t *testing.T, d driver.Driver, tm driver.Term, ttl time.Duration) (time.Duration, error) {
	t.Helper()
	r := renew(t, d, driver.RenewRequest{Term: tm, TTL: ttl})[0]
	return r.Granted, r.Err
}

func mustHold(t *testing.T, err error) driver.Record {
	t.Helper()
	var held *driver.HeldError
	if !errors.As(err, &held) {
		t.Fatalf("err = %v, want HeldError", err)
	}
	return held.Record
}

func want(t *testing.T, what string, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("%s: err = %v, want %v", what, err, target)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}
