package conformancetest

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/multilock/multilock-go/backends/redis"
	"github.com/multilock/multilock-go/backends/redis/internal/seam"
	"github.com/multilock/multilock-go/conformance"
	"github.com/multilock/multilock-go/conformance/porcupinecheck"
	"github.com/multilock/multilock-go/core/driver"
	"github.com/multilock/multilock-go/testservers/proxy"
	server "github.com/multilock/multilock-go/testservers/redis"
	goredis "github.com/redis/go-redis/v9"
)

// kitOptions: what is acknowledged survives a restart, and the clock can be set.
var kitOptions = server.Options{Persist: true, Faketime: true}

var kitServer = sync.OnceValue(func() *server.Server { return server.Start(scope, kitOptions) })

var kitCluster = sync.OnceValue(func() *server.Cluster { return server.StartCluster(scope, 3, kitOptions) })

// testURL points the rules at a server that is there already. What would disturb
// its other users is then left out.
const testURL = "MULTILOCK_TEST_REDIS_URL"

// newHarness is one server that persists, or that of testURL.
func newHarness(tb conformance.TB) conformance.Harness {
	if raw := os.Getenv(testURL); raw != "" {
		o, err := redis.ParseURL(raw)
		if err != nil {
			tb.Fatalf("%s: %v", testURL, err)
		}
		return newNamespace(tb, o).harness("redis at "+testURL, raw)
	}
	s := kitServer()
	return newNamespace(tb, redis.Options{Addrs: []string{s.Addr}}, s).harness("redis", s.URL())
}

// newClusterHarness is a cluster of three masters.
func newClusterHarness(tb conformance.TB) conformance.Harness {
	c := kitCluster()
	o := redis.Options{Addrs: c.Addrs(), Cluster: true}
	return newNamespace(tb, o, c.Servers...).harness("redis cluster", c.Servers[0].URL()+"?multilock.cluster=true")
}

// namespace is a key prefix of a store.
type namespace struct {
	o        redis.Options
	c        goredis.UniversalClient // for what a test does to the records
	servers  []*server.Server        // empty if they are not ours
	requests atomic.Int64
}

var namespaces atomic.Int64

func newNamespace(tb conformance.TB, o redis.Options, servers ...*server.Server) *namespace {
	o.KeyPrefix = fmt.Sprintf("kit-%d-%d", time.Now().UnixNano(), namespaces.Add(1))
	o.Grace = noGrace
	c := goredis.NewUniversalClient(&goredis.UniversalOptions{
		Addrs: o.Addrs, IsClusterMode: o.Cluster, MasterName: o.SentinelMaster, DB: o.Database,
		Username: o.Username, Password: o.Password, TLSConfig: o.TLSConfig,
		DialerRetries: 1,
	})
	tb.Cleanup(func() { _ = c.Close() })
	return &namespace{o: o, c: c, servers: servers}
}

func (n *namespace) key(group string) string { return n.o.KeyPrefix + ":{" + group + "}" }

func must[T any](tb conformance.TB) func(v T, err error) T {
	return func(v T, err error) T {
		tb.Helper()
		if err != nil {
			tb.Fatalf("harness: %v", err)
		}
		return v
	}
}

func (n *namespace) harness(name, rawURL string) conformance.Harness {
	ctx := context.Background()
	open := func(tb conformance.TB, dial seam.Dialer) (driver.Driver, driver.Info) {
		tb.Helper()
		d, info, err := redis.NewDriver(n.o)
		if err != nil {
			tb.Fatalf("open: %v", err)
		}
		seam.SetDialer(d, n.counting(dial))
		return d, info
	}
	direct := new(net.Dialer).DialContext
	join := "?"
	if strings.Contains(rawURL, "?") {
		join = "&"
	}
	h := conformance.Harness{
		Name: name,
		TTL:  2 * time.Second,
		URL:  rawURL + join + "multilock.grace=" + noGrace.String() + "&multilock.key_prefix=" + n.o.KeyPrefix,
		NewDriver: func(tb conformance.TB) (driver.Driver, driver.Info) {
			return open(tb, direct)
		},
		NewLinked: func(tb conformance.TB) (driver.Driver, driver.Info, conformance.Link) {
			l := &link{}
			by := make(map[string]*proxy.Proxy)
			for _, addr := range n.o.Addrs {
				by[addr] = proxy.Start(tb, addr)
				l.proxies = append(l.proxies, by[addr])
			}
			d, info := open(tb, func(ctx context.Context, network, addr string) (net.Conn, error) {
				if p := by[addr]; p != nil {
					addr = p.Addr()
				}
				return direct(ctx, network, addr)
			})
			return d, info, l
		},
		RemoveRecord: func(tb conformance.TB, group string) {
			must[int64](tb)(n.c.Del(ctx, n.key(group)).Result())
		},
		CorruptRecord: func(tb conformance.TB, group string) {
			must[string](tb)(n.c.Set(ctx, n.key(group), `{"LeaderId":"somebody else's"}`, 0).Result())
		},
		SetToken: func(tb conformance.TB, group string, token uint64) {
			must[int64](tb)(n.c.HSet(ctx, n.key(group), "token", token).Result())
		},
		Age: func(tb conformance.TB, group string, d time.Duration) {
			for _, field := range []string{"expiry", "since"} {
				at := must[int64](tb)(n.c.HGet(ctx, n.key(group), field).Int64())
				must[int64](tb)(n.c.HSet(ctx, n.key(group), field, max(at-d.Microseconds(), 0)).Result())
			}
		},
		Snapshot: func(tb conformance.TB) func(conformance.TB) { return n.snapshot(tb) },
		Requests: n.requests.Load,
		Checker:  porcupinecheck.Checker{},
		Missing: map[conformance.Power]string{
			conformance.PowerLock:    "no lock on a record exists; a server that hangs is a stalled link",
			conformance.PowerSession: "no term hangs on a session or connection",
		},
		// The one that waits for a server that a rule has restarted.
		IgnoreGoroutines: []string{"testservers/proc.(*Process)"},
	}
	if len(n.servers) == 0 {
		for _, p := range []conformance.Power{conformance.PowerStepClock, conformance.PowerManualClock, conformance.PowerRestart, conformance.PowerLoseData} {
			h.Missing[p] = "the server of " + testURL + " is not ours"
		}
		return h
	}
	h.StepClock = func(tb conformance.TB, d time.Duration) {
		for _, s := range n.servers {
			s.StepClock(d)
		}
		tb.Cleanup(n.runClocks)
	}
	h.ManualClock = func(tb conformance.TB) (func(time.Duration), time.Duration) {
		for _, s := range n.servers {
			s.FreezeClock()
		}
		tb.Cleanup(n.runClocks)
		return func(d time.Duration) {
			for _, s := range n.servers {
				s.AdvanceClock(d)
			}
		}, time.Microsecond
	}
	h.Restart = func(conformance.TB) {
		for _, s := range n.servers {
			s.Kill()
		}
		for _, s := range n.servers {
			s.Start()
		}
		for _, s := range n.servers {
			s.WaitServing()
		}
	}
	h.LoseData = func(conformance.TB) {
		for _, s := range n.servers {
			s.Do("FLUSHALL")
		}
	}
	return h
}

func (n *namespace) runClocks() {
	for _, s := range n.servers {
		s.RunClock()
	}
}

// snapshot copies the records and returns what puts them back.
func (n *namespace) snapshot(tb conformance.TB) (restore func(conformance.TB)) {
	ctx := context.Background()
	keys := func(tb conformance.TB) []string {
		var mu sync.Mutex
		var all []string
		scan := func(ctx context.Context, c goredis.Cmdable) error {
			keys, err := c.Keys(ctx, n.o.KeyPrefix+":*").Result()
			mu.Lock()
			defer mu.Unlock()
			all = append(all, keys...)
			return err
		}
		err := error(nil)
		if cluster, ok := n.c.(*goredis.ClusterClient); ok {
			err = cluster.ForEachMaster(ctx, func(ctx context.Context, c *goredis.Client) error { return scan(ctx, c) })
		} else {
			err = scan(ctx, n.c)
		}
		if err != nil {
			tb.Fatalf("harness: %v", err)
		}
		return all
	}
	saved := make(map[string]string)
	for _, k := range keys(tb) {
		saved[k] = must[string](tb)(n.c.Dump(ctx, k).Result())
	}
	return func(tb conformance.TB) {
		for _, k := range keys(tb) {
			must[int64](tb)(n.c.Del(ctx, k).Result())
		}
		for k, v := range saved {
			must[string](tb)(n.c.Restore(ctx, k, 0, v).Result())
		}
	}
}

// counting counts writes: a pipeline is one.
func (n *namespace) counting(dial seam.Dialer) seam.Dialer {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &counted{c.(*net.TCPConn), &n.requests}, nil
	}
}

type counted struct {
	*net.TCPConn
	n *atomic.Int64
}

func (c *counted) Write(p []byte) (int, error) {
	c.n.Add(1)
	return c.TCPConn.Write(p)
}

// link is the network of one client: one proxy before each server.
type link struct{ proxies []*proxy.Proxy }

func (l *link) each(f func(*proxy.Proxy)) {
	for _, p := range l.proxies {
		f(p)
	}
}

func (l *link) Cut()                    { l.each((*proxy.Proxy).Cut) }
func (l *link) Reset()                  { l.each((*proxy.Proxy).Reset) }
func (l *link) Restore()                { l.each((*proxy.Proxy).Restore) }
func (l *link) Latency(d time.Duration) { l.each(func(p *proxy.Proxy) { p.Latency(d) }) }
func (l *link) Blackhole(d conformance.Direction) {
	l.each(func(p *proxy.Proxy) { p.Blackhole(proxy.Direction(d)) })
}

// Stall silences connection number n of all, by age.
func (l *link) Stall(n int) bool {
	type place struct {
		p      *proxy.Proxy
		n      int
		opened time.Time
	}
	var all []place
	for _, p := range l.proxies {
		for i, c := range p.Open() {
			all = append(all, place{p, i, c.Opened})
		}
	}
	slices.SortFunc(all, func(a, b place) int { return a.opened.Compare(b.opened) })
	return n < len(all) && all[n].p.Stall(all[n].n)
}
