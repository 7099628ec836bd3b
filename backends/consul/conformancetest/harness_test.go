package conformancetest

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/multilock/multilock-go/backends/consul"
	"github.com/multilock/multilock-go/conformance"
	"github.com/multilock/multilock-go/conformance/porcupinecheck"
	"github.com/multilock/multilock-go/core/driver"
	server "github.com/multilock/multilock-go/testservers/consul"
	"github.com/multilock/multilock-go/testservers/proc"
	"github.com/multilock/multilock-go/testservers/proxy"
)

// urlEnv names the variable that points the tests at a server of the user's,
// whose session_ttl_min must be 1 s or less. It is not restarted.
const urlEnv = "MULTILOCK_TEST_CONSUL_URL"

// ttl of the rules. A Consul server allows less than 10 s only if told to.
const ttl = 2 * time.Second

var (
	scope   proc.Scope
	once    sync.Once
	own     *server.Server // nil if the server is the user's
	spaces  atomic.Int64
	runID   = fmt.Sprintf("%x", time.Now().UnixNano())
	address string // host:port
)

// TestMain lets the kit run candidates in processes of their own, and stops the
// shared server at the end.
func TestMain(m *testing.M) { conformance.Main(m, consul.OpenURL, scope.Close) }

// shared returns host:port of the server that most tests share.
func shared(tb conformance.TB) string {
	tb.Helper()
	once.Do(func() {
		if raw := os.Getenv(urlEnv); raw != "" {
			u, err := url.Parse(raw)
			if err != nil || u.Host == "" {
				tb.Fatalf("%s must be a URL such as consul://localhost:8500", urlEnv)
			}
			address = u.Host
			return
		}
		own = server.Start(&scope, server.Options{SessionTTLMin: 100 * time.Millisecond, MaxConnsPerClient: 10000})
		address = own.Addr
	})
	if address == "" {
		tb.Fatalf("the Consul server did not start in an earlier test")
	}
	return address
}

func newHarness(tb conformance.TB) conformance.Harness {
	addr := shared(tb)
	prefix := fmt.Sprintf("multilock-test/%s/%d", runID, spaces.Add(1))
	admin := adminClient(tb, addr)
	counter := newCounter(tb, addr)

	options := func(addr string) consul.Options {
		return consul.Options{
			Address: "http://" + addr, KeyPrefix: prefix,
			MinSessionTTL: 100 * time.Millisecond, SweepInterval: time.Second,
		}
	}
	open := func(tb conformance.TB, addr string) (driver.Driver, driver.Info) {
		d, info, err := consul.NewDriver(options(addr))
		if err != nil {
			tb.Fatalf("open: %v", err)
		}
		return d, info
	}
	key := func(group string) string { return prefix + "/" + group }

	h := conformance.Harness{
		Name:      "consul",
		TTL:       ttl,
		NewDriver: func(tb conformance.TB) (driver.Driver, driver.Info) { return open(tb, counter.addr) },
		NewLinked: func(tb conformance.TB) (driver.Driver, driver.Info, conformance.Link) {
			p := proxy.Start(tb, addr)
			d, info := open(tb, p.Addr())
			return d, info, link{p}
		},
		RemoveRecord: func(tb conformance.TB, group string) {
			if _, err := admin.KV().Delete(key(group), nil); err != nil {
				tb.Fatalf("delete: %v", err)
			}
		},
		CorruptRecord: func(tb conformance.TB, group string) {
			if _, err := admin.KV().Put(&api.KVPair{Key: key(group), Value: []byte("{not ours")}, nil); err != nil {
				tb.Fatalf("put: %v", err)
			}
		},
		EndSession: func(tb conformance.TB, d driver.Driver) {
			for _, id := range heldSessions(tb, admin, prefix, d) {
				if _, err := admin.Session().Destroy(id, nil); err != nil {
					tb.Fatalf("destroy session: %v", err)
				}
			}
		},
		URL: fmt.Sprintf("consul://%s?multilock.key_prefix=%s&multilock.min_session_ttl=100ms&multilock.sweep_interval=1s",
			counter.addr, url.QueryEscape(prefix)),
		Requests: counter.requests.Load,
		Checker:  porcupinecheck.Checker{},
		Missing: map[conformance.Power]string{
			conformance.PowerLock:        "Consul has no locks that a transaction would wait for",
			conformance.PowerToken:       "the token is the Raft index, which nobody can set",
			conformance.PowerAge:         "nothing stored is compared with a clock",
			conformance.PowerStepClock:   "session timers are monotonic; there is no clock to step",
			conformance.PowerLoseData:    "the Raft index starts again in a cluster that lost its data, and the token with it, as the documentation says",
			conformance.PowerSnapshot:    "restoring a snapshot sets the Raft index back, and the token with it, as the documentation says",
			conformance.PowerManualClock: "the server's clock cannot be stopped",
		},
		IgnoreGoroutines: []string{"net/http.(*conn).serve", "net/http/httputil", "conformancetest.newCounter", "testservers/proc"},
	}
	if own != nil {
		h.Restart = func(tb conformance.TB) {
			own.Terminate()
			own.Start()
		}
	} else {
		h.Missing[conformance.PowerRestart] = "the server is not the tests' own"
	}
	return h
}

func adminClient(tb conformance.TB, addr string) *api.Client {
	tb.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	c, err := api.NewClient(&api.Config{Address: addr, Scheme: "http", HttpClient: &http.Client{Transport: transport}})
	if err != nil {
		tb.Fatalf("client: %v", err)
	}
	return c
}

// heldSessions are the sessions by which d keeps terms below prefix: those that
// lock a key. A rule that ends a session has only one client that leads.
func heldSessions(tb conformance.TB, admin *api.Client, prefix string, _ driver.Driver) []string {
	tb.Helper()
	pairs, _, err := admin.KV().List(prefix+"/", &api.QueryOptions{RequireConsistent: true})
	if err != nil {
		tb.Fatalf("list: %v", err)
	}
	seen := make(map[string]bool)
	var ids []string
	for _, p := range pairs {
		if p.Session != "" && !seen[p.Session] {
			seen[p.Session] = true
			ids = append(ids, p.Session)
		}
	}
	return ids
}

// link gives the kit the proxy of one client.
type link struct{ *proxy.Proxy }

func (l link) Blackhole(d conformance.Direction) {
	var to proxy.Direction
	if d&conformance.ToStore != 0 {
		to |= proxy.ToStore
	}
	if d&conformance.ToClient != 0 {
		to |= proxy.ToClient
	}
	l.Proxy.Blackhole(to)
}

// counter is a reverse proxy that counts requests.
type counter struct {
	addr     string
	requests atomic.Int64
	open     atomic.Int64 // requests without an answer yet
	mu       sync.Mutex
	paths    map[string]int
}

func newCounter(tb conformance.TB, target string) *counter {
	tb.Helper()
	c := &counter{addr: proc.Addr(proc.FreePort(tb)), paths: make(map[string]int)}
	transport := &http.Transport{MaxIdleConnsPerHost: 1000}
	forward := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "http", Host: target}) },
		Transport: transport,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) {
			w.WriteHeader(http.StatusBadGateway)
		},
	}
	srv := &http.Server{Addr: c.addr, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.open.Add(1)
		defer c.open.Add(-1)
		c.mu.Lock()
		c.paths[r.Method+" "+strings.Join(strings.SplitN(strings.TrimPrefix(r.URL.Path, "/v1/"), "/", 3)[:1], "/")]++
		c.mu.Unlock()
		c.requests.Add(1) // last: who sees it counted sees its path
		forward.ServeHTTP(w, r)
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.ListenAndServe() // until Close
	}()
	tb.Cleanup(func() {
		_ = srv.Close()
		<-done
		transport.CloseIdleConnections()
	})
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for proc.Dials(c.addr)(ctx) != nil {
		if ctx.Err() != nil {
			tb.Fatalf("the counting proxy does not listen")
		}
		time.Sleep(time.Millisecond)
	}
	return c
}

// kinds are the requests so far by method and first part of the path.
func (c *counter) kinds() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.paths)
}
